//! What stands in the file.

use expect_test::expect;
use forebay_api::{SourceConfig, Wrong};
use serde_json::{Value, json};

use super::configured;
use crate::keys::KeyPattern;

/// Scenario: values that cannot be meant, and keys that say nothing next to each other.
/// Guarantees: they are found before anything is opened, with the key and what would have worked.
#[test]
fn wrong() {
    let queue = "https://sqs.eu-central-1.amazonaws.com/1/q";
    let cases: &[(&str, Value)] = &[
        ("https://host/logs", json!({})),
        ("file://host/logs", json!({})),
        ("", json!({})),
        ("s3://", json!({})),
        ("s3://a b/c", json!({})),
        (".", json!({ "line_bytes_max": "0B" })),
        (".", json!({ "line_bytes_max": "2GiB" })),
        (".", json!({ "poll": "0s" })),
        (".", json!({ "unknown_fields": "ignore" })),
        (".", json!({ "format": "parquet" })),
        (".", json!({ "mode": "notify", "queue": queue })),
        (".", json!({ "aws": {} })),
        (".", json!({ "tries_max": 3 })),
        ("s3://logs", json!({ "aws": { "region": "" } })),
        ("s3://logs", json!({ "mode": "notify" })),
        ("s3://logs", json!({ "queue": queue })),
        ("s3://logs", json!({ "visibility": "30s" })),
        ("s3://logs", json!({ "mode": "notify", "queue": "cdn-logs" })),
        ("s3://logs", json!({ "mode": "notify", "queue": "arn:aws:sqs:eu-central-1:1:cdn-logs" })),
        ("s3://logs", json!({ "mode": "notify", "queue": queue, "poll": "1m" })),
        ("s3://logs", json!({ "mode": "both", "queue": queue, "visibility": "1s" })),
        ("s3://logs", json!({ "mode": "both", "queue": queue, "visibility": "2500ms" })),
        ("s3://logs", json!({ "mode": "both", "queue": queue, "visibility": "13h" })),
    ];
    let mut found = String::new();
    for (path, more) in cases {
        let error = configured(path, more.clone()).schema().unwrap_err();
        let Wrong { key, what, hint, .. } = error.downcast_ref::<Wrong>().unwrap();
        found.push_str(&format!("{key}: {what} ({})\n", hint.as_deref().unwrap_or_default()));
    }
    expect![[r#"
        path: `https://` is no place for files: directories and `s3://` are (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        path: `file://host/logs` names a host (a `file://` URL has three slashes before the path: `file:///var/log`)
        path: `path` is empty (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        path: `` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . - (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        path: `a b` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . - (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        line_bytes_max: `line_bytes_max` must be between 1B and 1GiB ()
        line_bytes_max: `line_bytes_max` must be between 1B and 1GiB ()
        poll: `poll` must be longer than nothing ()
        unknown_fields: `unknown_fields` says nothing about `format = "lines"` (lines have one column, `message`; for named fields choose another format)
        columns: `columns` is missing: the columns are known before any file is (for example `columns = { "time" = "timestamp:rfc3339", "http.response.status_code" = "u16" }`)
        mode: a directory sends no notifications (it is for buckets: `path = "s3://bucket/prefix"`)
        aws: `aws` says nothing about a directory (it is for buckets: `path = "s3://bucket/prefix"`)
        tries_max: `tries_max` says nothing about a directory (it is for buckets: `path = "s3://bucket/prefix"`)
        aws.region: `region` is empty ()
        mode: notifications come from a `queue`, and none is given (write the queue's URL: `queue = "https://sqs.eu-central-1.amazonaws.com/…"`)
        queue: `queue` means nothing with `mode = "list"` (messages are read with `mode = "notify"` or `mode = "both"`)
        visibility: `visibility` means nothing without `queue` (messages are read with `mode = "notify"` or `mode = "both"`)
        queue: `cdn-logs` is not the URL of a queue (`aws sqs get-queue-url --queue-name …` tells it; a name or an ARN is not enough)
        queue: `arn:aws:sqs:eu-central-1:1:cdn-logs` is not the URL of a queue (`aws sqs get-queue-url --queue-name …` tells it; a name or an ARN is not enough)
        poll: `poll` says how often to list, which `mode = "notify"` does not do (leave `poll` away, or write `mode = "both"`)
        visibility: `visibility` must be whole seconds, between 2s and 12h ()
        visibility: `visibility` must be whole seconds, between 2s and 12h ()
        visibility: `visibility` must be whole seconds, between 2s and 12h ()
    "#]].assert_eq(&found);
    let pattern = KeyPattern::try_from("{a".to_owned()).unwrap_err();
    expect!["`{a` is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"]
        .assert_eq(&pattern);
}

/// Scenario: values that are meant.
/// Guarantees: they are accepted.
#[test]
fn right() {
    let queue = "https://sqs.eu-central-1.amazonaws.com/1/q";
    let cases = [
        ("s3://logs", json!({})),
        ("s3://logs/cdn/", json!({ "poll": "1m", "tries_max": 1 })),
        ("s3://Old_Bucket.name", json!({ "mode": "notify", "queue": queue })),
        (
            "s3://logs",
            json!({ "mode": "both", "queue": "http://127.0.0.1:4566/0/q", "poll": "1m", "visibility": "12h" }),
        ),
        ("file:///var/log", json!({ "include": "*.log" })),
    ];
    for (path, more) in cases {
        configured(path, more).schema().unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// Scenario: keys as buckets have them, with slashes in all places.
/// Guarantees: those that stand for directories, hidden and unfinished ones are passed over, and no others.
#[test]
fn keys() {
    let all = KeyPattern::default();
    for key in ["a", "a/b", "/a", "a//b", "a.tmp.gz", "\u{1f980}", "a b"] {
        assert!(all.is_match(key), "{key:?}");
    }
    for key in ["", "a/", "/", ".a", "_temporary/a", "a/.b/c", "a/b.tmp", "a.tmp/b"] {
        assert!(!all.is_match(key), "{key:?}");
    }
}

/// Scenario: patterns, and what is listed for them.
/// Guarantees: the literal head is part of every key that fits.
#[test]
fn literal_head() {
    for (pattern, head) in [("**", ""), ("2026/**/*.gz", "2026/"), ("E1.2026-*", "E1.2026-"), ("{a,b}", ""), ("a", "a")]
    {
        assert_eq!(KeyPattern::try_from(pattern.to_owned()).unwrap().literal_head(), head, "{pattern}");
    }
}

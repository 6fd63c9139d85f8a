//! What stands in the file.

use expect_test::{Expect, expect};
use forebay_api::{SourceConfig, Wrong};
use serde_json::{Value, json};

use crate::Kinesis;

fn check(keys: Value, expected: Expect) {
    let text = match serde_json::from_value::<Kinesis>(keys) {
        Err(error) => error.to_string(),
        Ok(source) => match source.schema() {
            Ok(schema) => {
                let field = |it: &std::sync::Arc<arrow_schema::Field>| format!("{}: {}", it.name(), it.data_type());
                schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")
            }
            Err(error) => {
                let wrong = error.downcast_ref::<Wrong>().expect("an error about the file knows its key");
                format!("[{}] {} ({})", wrong.key, wrong.what, wrong.hint.as_deref().unwrap_or("no hint"))
            }
        },
    };
    expected.assert_eq(&text);
}

/// Scenario: tables with keys that are fine, or wrong by themselves, or contradict each other.
/// Guarantees: the columns are known beforehand; what cannot be meant is said, with the key and what would have worked.
#[test]
fn keys() {
    check(json!({ "stream": "cdn-logs" }), expect!["message: Utf8"]);
    check(
        json!({ "streams": ["a", "arn:aws:kinesis:eu-central-1:123456789012:stream/b"], "columns": ["stream", "shard"] }),
        expect!["message: Utf8, stream: Dictionary(UInt16, Utf8), shard: Dictionary(UInt16, Utf8)"],
    );
    check(
        json!({}),
        expect![[
            r#"[] neither `stream` nor `streams` says what to read (write the stream's name: `stream = "cdn-logs"`)"#
        ]],
    );
    check(json!({ "streams": [] }), expect!["[streams] `streams` is empty (write at least one stream's name)"]);
    check(
        json!({ "stream": "a", "streams": ["b"] }),
        expect!["[streams] `stream` and `streams` both say what to read (keep one of them)"],
    );
    check(
        json!({ "streams": ["a", "arn:aws:kinesis:eu-central-1:123456789012:stream/a"] }),
        expect![
            "[streams] there are two streams of the name `a` (streams of one name in two accounts or regions are read by two sources)"
        ],
    );
    check(
        json!({ "stream": "a b" }),
        expect![[
            r#"`a b` is not a stream: write its name, or its ARN, such as "arn:aws:kinesis:eu-central-1:123456789012:stream/cdn-logs""#
        ]],
    );
    check(
        json!({ "stream": "arn:aws:firehose:eu-central-1:123456789012:deliverystream/a" }),
        expect![[
            r#"`arn:aws:firehose:eu-central-1:123456789012:deliverystream/a` is not a stream: write its name, or its ARN, such as "arn:aws:kinesis:eu-central-1:123456789012:stream/cdn-logs""#
        ]],
    );
    check(
        json!({ "stream": "a", "start": "yesterday" }),
        expect![[
            r#"`yesterday` is no start: write "trim_horizon", "latest", or a time, such as "2026-11-21T22:04:00Z""#
        ]],
    );
    check(json!({ "stream": "a", "start": "2026-11-21T22:04:00Z" }), expect!["message: Utf8"]);
    check(
        json!({ "stream": "a", "mode": "fan_out" }),
        expect![[
            r#"[mode] records are pushed to a `consumer`, and none is given (write a name that no other reader of the stream uses: `consumer = "forebay"`)"#
        ]],
    );
    check(
        json!({ "stream": "a", "mode": "auto", "consumer": "a b" }),
        expect![
            "[consumer] `a b` cannot be the name of a consumer (write up to 128 of the characters A-Z a-z 0-9 _ . -)"
        ],
    );
    check(
        json!({ "stream": "a", "consumer": "forebay" }),
        expect![[
            r#"[consumer] `consumer` means nothing with `mode = "polling"` (leave it away, or write `mode = "fan_out"`)"#
        ]],
    );
    check(
        json!({ "stream": "a", "mode": "fan_out", "consumer": "forebay", "records_max": 100 }),
        expect![[
            r#"[records_max] `records_max` means nothing with `mode = "fan_out"` (the service decides how many records it pushes at a time)"#
        ]],
    );
    check(
        json!({ "stream": "a", "records_max": 10_001 }),
        expect!["[records_max] `records_max` must be at most 10000 (no hint)"],
    );
    check(
        json!({ "stream": "a", "columns": ["shard", "shard"] }),
        expect!["[columns] the column `shard` is there twice (no hint)"],
    );
    check(
        json!({ "stream": "a", "columns": ["key"] }),
        expect![
            "unknown variant `key`, expected one of `partition_key`, `sequence_number`, `sub_sequence_number`, `shard`, `approximate_arrival_time`, `stream`"
        ],
    );
    check(json!({ "stream": "a", "leases": { "table": "cdn" } }), expect!["message: Utf8"]);
    check(
        json!({ "stream": "a", "leases": { "table": "cdn", "duration": "1h" } }),
        expect!["[leases.duration] a lease cannot last `1h` (write a time from `2s` to `10m`)"],
    );
    check(
        json!({ "stream": "a", "leases": { "table": "cdn" }, "end": "caught_up" }),
        expect![[
            r#"[end] `end = "caught_up"` means nothing with `leases` (others would go on with what this process leaves: leave one of them away)"#
        ]],
    );
    check(
        json!({ "stream": "a", "aws": { "region": "Frankfurt" } }),
        expect![[r#"[aws.region] `Frankfurt` is not a region (write the region as AWS does, such as "eu-central-1")"#]],
    );
}

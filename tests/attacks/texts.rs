//! Texts that would do harm where they end up: in paths, in names, in logs.

use std::collections::BTreeSet;

use forebay_testkit::CertifiedKey;
use forebay_testkit::proof::aws;
use forebay_testkit::services::{S3Server, SECRET_KEY};
use serde_json::Value;

use super::*;
use crate::harness::{files, run};

/// What would lead elsewhere, or could not be a name.
const PATHS: [&str; 16] = [
    "../../../../etc/cron.d/x",
    "..",
    ".",
    "/etc/passwd",
    "a/../../b",
    "..\\..\\x",
    "%2e%2e%2fx",
    "a\0b",
    "a\nb",
    "~/x",
    "$(touch x)",
    "C:\\x",
    ".staging",
    "x=y/z=../..",
    "ümläut/日本",
    "-rf",
];

fn post_all(address: SocketAddr, events: &[Value]) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let answer = Client::new(address).post("/beacon", "", lines.join("\n").as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Every file that there is in the program's directory and outside of it, but those of the spool, the state and the dead
/// letters.
fn names(attacked: &Attacked) -> BTreeSet<String> {
    let own = |it: &String| ["spool/", "refused/", ".forebay/"].iter().all(|own| !it.starts_with(own));
    let name = |it: &PathBuf| it.strip_prefix(attacked.path()).unwrap_or(it).display().to_string();
    files(attacked.above.path()).iter().map(name).filter(own).collect()
}

/// Whether the test or the sink makes a file of this name, whatever the events.
fn is_ours(name: &str) -> bool {
    ["pipeline.toml", "said"].contains(&name) || name.starts_with("lake/.staging/")
}

/// Scenario: events whose values lead out of the directory, and are what files are partitioned by, in both ways of naming
/// partitions.
/// Guarantees: every file is below the sink's path, as deep as the partition goes; with Hive partitions a reader has every
/// value back; nothing else is made anywhere.
#[test]
fn values_in_paths() {
    let events: Vec<Value> = PATHS.iter().map(|it| json!({ "message": it, "event.dataset": it })).collect();

    let hive = Attacked::start("", "partition = { columns = [\"event.dataset\"] }");
    post_all(hive.running.address(), &events);
    let found = hive.delivered("CASE WHEN message = \"event.dataset\" THEN 'same' ELSE message END");
    assert_eq!(found, ["same"; PATHS.len()]);
    for name in names(&hive) {
        let is_partition = |it: &str| it.split('/').count() == 3 && it.starts_with("lake/event.dataset=");
        assert!(is_ours(&name) || is_partition(&name), "{name}");
        assert!(!name.contains("/../") && name.is_ascii(), "{name}");
    }
    hive.running.stop();

    let firehose = Attacked::start(
        "",
        "prefix = \"data/!{partitionKeyFromQuery:event.dataset}/!{timestamp:yyyy}/\"\npartition = { time = \"@timestamp\" }",
    );
    let (path, mut seen) = (firehose.path(), BTreeSet::new());
    post_all(firehose.running.address(), &events);
    until("all rows are delivered or refused", || {
        let letters =
            files(&path.join("refused")).into_iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
        let refused: usize = letters.map(|it| fs::read_to_string(it).unwrap().lines().count()).sum();
        seen = names(&firehose);
        rows(&path.join("lake"), "1").len() + refused >= PATHS.len()
    });
    for name in seen {
        assert!(is_ours(&name) || name.starts_with("lake/data/"), "{name}");
    }
    firehose.running.stop();
}

/// Scenario: events with names that are none, too many, too long or too deep, in columns, labels and refusals; and texts
/// that would be lines of a log.
/// Guarantees: the process goes on; each event is a row or a dead letter; every dead letter and every line of the log is one
/// line, of which nothing but the program decides how it begins.
#[test]
fn odd_names() {
    let attacked = Attacked::start("limits = { body_bytes_max = \"4MiB\" }", "");
    let address = attacked.running.address();
    let forged = "x\n2026-11-22T08:00:00Z ERROR forged\r\n\u{1b}[31mforged\u{2028}";
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let many: Vec<String> = (0..20_000).map(|it| format!("\"k{it}\":1")).collect();
    let bodies = [
        json!({ "": 1, ".": 2, "..": 3, "a..b": 4, ".a": 5, "a.": 6 }).to_string(),
        json!({ "a\0b": 1, "a\nb": 2, "a\"b": 3, "a\\b": 4, "\u{202e}": 5, "__proto__": { "x": 6 } }).to_string(),
        json!({ "labels": { "labels": { "labels": 1 } }, "labels.labels": 2 }).to_string(),
        json!({ "@timestamp.x": 1, "event.id.x": 2, "event": { "id": { "x": 3 } } }).to_string(),
        json!({ "k".repeat(1_000_000): 1 }).to_string(),
        format!("{{{}}}", many.join(",")),
        format!("{{\"a\":{}}}", deep("[", "]")),
        deep("{\"a\":", "}"),
        deep("[", "]"),
        json!({ "event.duration": forged }).to_string(),
        json!({ "@timestamp": forged, forged: forged }).to_string(),
        format!("{forged}{{"),
        "{\"a\":1e999999999999}".to_owned(),
        "{\"event.duration\":123456789012345678901234567890}".to_owned(),
        "{\"event.id\":\"\\ud800\"}".to_owned(),
    ];
    for body in &bodies {
        let head = format!("User-Agent: {}\r\nReferer: {}\r\n", "u".repeat(8_000), "r".repeat(8_000));
        let answer = Client::new(address).post("/beacon", &head, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 204, "{answer:?} {}", &body[..body.len().min(100)]);
    }
    post_all(address, &[json!({ "message": "last" })]);
    until("the last event is there", || rows(&attacked.path().join("lake"), "message").contains(&json!(["last"])));
    let path = attacked.path();
    let Attacked { running, above: _above } = attacked;
    let said = running.said();
    running.stop();
    let letters = files(&path.join("refused"));
    let mut refused = Vec::new();
    for file in letters.iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let letter: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let reason = letter["reason"].as_str().unwrap();
            assert!(!reason.contains(char::is_control), "{reason:?}");
            refused.push(reason.to_owned());
        }
    }
    refused.sort();
    let delivered = rows(&path.join("lake"), "1").len();
    assert!(!said.contains("\u{1b}[31m") && !said.lines().any(|it| it.contains("ERROR forged")), "{said}");
    expect![[r#"
        7 delivered
        `@timestamp`: `x\n2026-11-22T08:00:00Z ERROR forged\r\n\u{1b}[31mforged ` is not a time of RFC 3339
        `event.duration`: `123456789012345678901234567890` is not a whole number of 64 bits
        `event.duration`: `x\n2026-11-22T08:00:00Z ERROR forged\r\n\u{1b}[31mforged ` is not a whole number of 64 bits
        it has a key of more than 1024 bytes, those around it included
        it has more than 1000 values
        it is a number, not an object
        it is a number, not an object
        it is a number, not an object
        it is not JSON: it is nested more than 64 deep at byte 321
        it is not JSON: it is nested more than 64 deep at byte 65
        it is not JSON: it is nested more than 64 deep at byte 69
        it is not JSON: there is no value at byte 1
        it is not JSON: there is no value at byte 1
        it is not JSON: there is no value at byte 1
    "#]]
    .assert_eq(&format!("{delivered} delivered\n{}\n", refused.join("\n")));
}

/// Scenario: a pipeline with a key of TLS and a secret of S3, which logs all that it can, is checked, drawn and run; a
/// file of it is wrong; the bucket refuses; events are refused.
/// Guarantees: neither the secret nor anything of the key is in what any command says, in the log, in the spool, in the state
/// or in dead letters.
#[test]
fn secrets() {
    let s3 = S3Server::start();
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let dir = dir.path();
    let CertifiedKey { certificate, key } = CertifiedKey::FIRST;
    fs::write(dir.join("cert.pem"), certificate).unwrap();
    fs::write(dir.join("private.pem"), key).unwrap();
    let pipeline = |more: &str| {
        format!(
            r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool" }}

[sources.safe]
type = "beacon"
listen = "127.0.0.1:{}"
spool = {{ directory = "./safe" }}
tls = {{ certificate = "./cert.pem", key = "./private.pem" }}

[sinks.lake]
type = "parquet"
inputs = ["pages", "safe"]
path = "s3://missing/web"
aws = {}
batch = {{ age_max = "100ms" }}
{more}
"#,
            free_port(),
            aws(&s3.endpoint())
        )
    };
    let mut said = String::new();
    let mut run_one = |text: String, arguments: &[&str]| {
        fs::write(dir.join("pipeline.toml"), text).unwrap();
        let told = run(forebay(dir).env("FOREBAY_LOG", "trace").args(arguments));
        said += &format!("{}{}", told.out, told.err);
        told.code
    };
    assert_eq!(run_one(pipeline("nonsense = 1"), &["check"]), Some(2));
    assert_eq!(run_one(pipeline(""), &["graph"]), Some(0));
    // Wrong in the line of the secret, which is then shown.
    assert_eq!(run_one(pipeline("").replace("secret_access_key", "secret_acces_key"), &["check"]), Some(2));
    assert_eq!(run_one(pipeline("").replace(SECRET_KEY, &format!("{SECRET_KEY}\\q")), &["check"]), Some(2));
    assert_eq!(run_one(pipeline(""), &["check"]), Some(0));

    let mut command = forebay(dir);
    command.env("FOREBAY_LOG", "trace").args(["run", "--quiet"]);
    let mut running = Running::start(dir, port, command);
    post_all(running.address(), &[json!({ "message": "m" }), json!({ "event.duration": "x" })]);
    until("the bucket is missed", || running.said().contains("NoSuchBucket"));
    running.runs();
    s3.create_bucket("missing");
    until("what was refused is there", || !files(&dir.join("refused")).is_empty());
    running.stop();
    let key_line = key.lines().nth(1).unwrap();
    let mut everything = vec![("what was said".to_owned(), said.into_bytes())];
    for file in files(dir) {
        let name = file.strip_prefix(dir).unwrap().display().to_string();
        if !["pipeline.toml", "private.pem", "cert.pem"].contains(&name.as_str()) {
            everything.push((name, fs::read(file).unwrap()));
        }
    }
    assert!(everything.iter().any(|it| it.0.starts_with("refused/")), "nothing was refused");
    for (name, bytes) in everything {
        for secret in [SECRET_KEY, key_line] {
            let at = bytes.windows(secret.len()).position(|it| it == secret.as_bytes());
            if let Some(at) = at {
                let around = &bytes[at.saturating_sub(200)..(at + 20).min(bytes.len())];
                panic!("{name} has a secret: …{}", String::from_utf8_lossy(around));
            }
        }
    }
}

//! What a running pipeline says about itself, read by Prometheus's own Python client and by `curl`'s kind of client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use expect_test::expect;
use forebay_testkit::proof::aws;
use forebay_testkit::services::{Fault, FaultProxy, Rule, S3Server};
use serde_json::Value;

use crate::beacon::{Client, Running, free_port, until};
use crate::harness::{forebay, run, succeed};

fn pipeline(port: u16, watched: u16, aws: &str) -> String {
    format!(
        r#"
name = "web"
dead_letters.path = "./refused"
metrics = {{ listen = "127.0.0.1:{watched}", stuck_after = "1s" }}

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
paths = ["/"]
spool = {{ directory = "./spool" }}

[transforms.browsers]
type = "user_agent"
inputs = ["pages"]

[sinks.lake]
type = "parquet"
inputs = ["browsers"]
path = "s3://lake/web"
aws = {aws}
batch = {{ age_max = "100ms" }}
retry = {{ wait_max = "500ms" }}
"#
    )
}

/// Asks for a path: the status and the body.
pub fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// All samples, by name, component and what else tells them apart, as Prometheus's own reader understands them.
pub fn samples(port: u16) -> BTreeMap<String, f64> {
    let (status, text) = get(port, "/metrics");
    assert_eq!(status, 200, "{text}");
    let script = "import json, sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as families\n\
        samples = [s for f in families(sys.stdin.read()) for s in f.samples]\n\
        key = lambda s: ' '.join([s.name] + [v for k, v in s.labels.items() if k != 'component_type'])\n\
        print(json.dumps({key(s): s.value for s in samples}))";
    let python = forebay_testkit::services::python(&["prometheus-client==0.25.0"]);
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let read = child.wait_with_output().unwrap();
    assert!(read.status.success(), "{text}");
    serde_json::from_slice(&read.stdout).unwrap()
}

/// Scenario: five events come, of which one is refused, while the bucket that they go to fails; then the bucket is well again.
/// Guarantees: the counters of each component are what came, went on and was refused, as Prometheus's own reader reads them;
/// `/health` is 503 and names the sink as long as its rows wait for longer than they may, and 200 before and afterwards; the
/// time that the oldest rows wait grows meanwhile, and is 0 afterwards.
#[test]
fn a_sink_that_is_stuck_is_seen() {
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let bucket = FaultProxy::start(&s3.endpoint(), vec![]);
    let dir = tempfile::tempdir().unwrap();
    let (dir, port, watched) = (dir.path(), free_port(), free_port());
    fs::write(dir.join("pipeline.toml"), pipeline(port, watched, &aws(&bucket.endpoint()))).unwrap();
    let mut command = forebay(dir);
    command.args(["run", "--quiet"]);
    let running = Running::start(dir, port, command);
    assert_eq!(get(watched, "/health").0, 200);

    bucket.set_rules(vec![Rule::new(Fault::Status(503, String::new()))]);
    let mut client = Client::new(running.address());
    for event in [r#"{"message":"one"}"#, r#"{"message":"two"}"#, "no json", r#"[{"message":"3"},{"message":"4"}]"#] {
        assert_eq!(client.post("/", "Content-Type: text/plain\r\n", event.as_bytes()).unwrap().status, 204);
    }
    until("it is ill", || get(watched, "/health").0 == 503);
    let ill: Value = serde_json::from_str(&get(watched, "/health").1).unwrap();
    assert_eq!((&ill["healthy"], &ill["sinks"]["lake"]["stuck"]), (&false.into(), &true.into()), "{ill}");
    // The client of S3 has a few tries of its own first.
    until("it is tried again", || samples(watched)["forebay_sink_retries_total lake"] > 0.0);
    assert!(samples(watched)["forebay_sink_waiting_seconds lake"] > 1.0);

    bucket.set_rules(vec![]);
    until("it is well", || get(watched, "/health").0 == 200);
    until("all is delivered", || samples(watched)["forebay_sink_delivered_rows_total lake"] == 4.0);
    until("the letter is kept", || samples(watched)["forebay_dead_letters_total"] == 1.0);
    let mut after = samples(watched);
    // Of these nobody knows the value.
    for name in ["forebay_sink_retries_total lake", "forebay_sink_deliveries_total lake", "forebay_uptime_seconds"] {
        assert!(after.remove(name).unwrap() > 0.0, "{name}");
    }
    assert!(after.remove("forebay_source_bytes_total pages").unwrap() > 0.0);
    let after: Vec<String> = after.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    expect![[r#"
        forebay_dead_letters_total: 1
        forebay_sink_delivered_rows_total lake: 4
        forebay_sink_rebuilt_total lake: 0
        forebay_sink_refused_rows_total lake: 0
        forebay_sink_rows_total lake: 4
        forebay_sink_waiting_seconds lake: 0
        forebay_source_partitions_ended_total pages: 0
        forebay_source_refused_rows_total pages: 1
        forebay_source_requests_total pages accepted: 4
        forebay_source_requests_total pages event: 1
        forebay_source_rows_total pages: 5
        forebay_transform_filtered_rows_total browsers: 0
        forebay_transform_refused_rows_total browsers: 0
        forebay_transform_rows_total browsers: 4
        forebay_transform_sent_rows_total browsers: 4
    "#]]
    .assert_eq(&after.concat());
    assert_eq!(get(watched, "/").0, 404);
    running.stop();
}

/// Scenario: a file that would be watched at the port of its source, and one with an address that is none.
/// Guarantees: `check` says so, with the place.
#[test]
fn ports_that_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let aws = "{ region = \"eu-central-1\" }";
    fs::write(dir.path().join("pipeline.toml"), pipeline(8080, 8080, aws)).unwrap();
    let taken = run(forebay(dir.path()).arg("check"));
    expect![[r#"
        error: port `127.0.0.1:8080` is used by `metrics` already
         --> pipeline.toml:8:10
          |
        8 | listen = "127.0.0.1:8080"
          |          ^^^^^^^^^^^^^^^^
          |
          = help: give source `pages` another one
    "#]]
    .assert_eq(&taken.err);
    let nowhere = pipeline(8080, 9464, aws).replace("127.0.0.1:9464", "localhost");
    fs::write(dir.path().join("pipeline.toml"), nowhere).unwrap();
    expect![[r#"
        error: invalid socket address syntax
         --> pipeline.toml:4:22
          |
        4 | metrics = { listen = "localhost", stuck_after = "1s" }
          |                      ^^^^^^^^^^^
          |
          = help: `listen`: The address and port to listen on, without TLS and without a password: what is said there is how many rows went where, never what is in them. For example `listen = "127.0.0.1:9464"`
    "#]].assert_eq(&run(forebay(dir.path()).arg("check")).err);
    fs::write(dir.path().join("pipeline.toml"), pipeline(8080, 9464, aws)).unwrap();
    succeed(forebay(dir.path()).arg("check"));
}

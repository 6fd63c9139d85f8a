//! Browser events through the whole program, under `kill -9`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::harness::{Random, files, forebay, python, run, signal, succeed};

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn pipeline(port: u16) -> String {
    format!(
        r#"
name = "web"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
paths = ["/"]
spool = {{ directory = "./spool" }}
limits = {{ requests_per_address = 100000 }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "./lake"
batch = {{ age_max = "100ms" }}
"#
    )
}

/// Posts a body and gives the status, if there is an answer.
fn post(port: u16, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn start(dir: &Path) -> Child {
    forebay(dir).args(["run", "--quiet"]).stderr(Stdio::null()).spawn().unwrap()
}

/// How often each event is in the Parquet files, by a reader of another make.
fn delivered(dir: &Path) -> BTreeMap<String, u64> {
    if !files(&dir.join("lake")).iter().any(|it| it.extension().is_some_and(|it| it == "parquet")) {
        return BTreeMap::new();
    }
    let script = format!(
        "import duckdb\nfor id, n in duckdb.execute(\"SELECT \\\"event.id\\\", count(*) FROM read_parquet('{}/lake/**/*.parquet') GROUP BY 1\").fetchall(): print(id, n)",
        dir.display()
    );
    let said = succeed(Command::new(python()).args(["-c", &script]));
    let pair = |line: &str| {
        let (id, n) = line.split_once(' ').unwrap();
        (id.to_owned(), n.parse().unwrap())
    };
    said.out.lines().map(pair).collect()
}

/// Scenario: a page posts events one after the other, each again under its id until it is answered; the program is killed
/// with `kill -9` twelve times at random moments, and started again.
/// Guarantees: every event that was answered with 2xx is in Parquet exactly once, those that were posted several times
/// too, and nothing else is; afterwards the spool holds nothing that is damaged.
#[test]
fn answered_events_survive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    std::fs::write(dir.join("pipeline.toml"), pipeline(port)).unwrap();
    let mut random = Random::new();
    let mut posted = 0;
    let mut answered = Vec::new();
    for _ in 0..12 {
        let mut child = start(dir);
        let lives = Duration::from_millis(300 + (random.fraction() * 1_200.0) as u64);
        let begun = Instant::now();
        while begun.elapsed() < lives {
            let id = format!("event-{posted}");
            let body =
                format!(r#"{{"@timestamp":"2026-11-22T08:00:00Z","event.id":"{id}","message":"number {posted}"}}"#);
            match post(port, &body) {
                Some(200..300) => {
                    answered.push(id);
                    posted += 1;
                }
                Some(status) => panic!("{id}: {status}"),
                // Not up yet, or killed: the same again.
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(answered.len() > 100, "only {} events were answered", answered.len());
    let mut child = start(dir);
    let begun = Instant::now();
    while (delivered(dir).len() as u64) < answered.len() as u64 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    let delivered = delivered(dir);
    let lost: Vec<&String> = answered.iter().filter(|it| !delivered.contains_key(*it)).collect();
    let doubled: Vec<&String> = delivered.iter().filter(|(_, n)| **n > 1).map(|(id, _)| id).collect();
    // The last one may have been taken before the kill and never answered.
    let unexpected: Vec<&String> =
        delivered.keys().filter(|it| !answered.contains(it) && **it != format!("event-{posted}")).collect();
    assert!(lost.is_empty() && doubled.is_empty() && unexpected.is_empty(), "{lost:?} {doubled:?} {unexpected:?}");
    assert_eq!(run(forebay(dir).args(["spool", "inspect", "./spool"])).code, Some(0));
}

/// Scenario: `forebay spool` on a directory that is none, on a spool, and on one with a byte that has changed.
/// Guarantees: what is there is told; damage gives exit code 1 and its place; a repair keeps what was.
#[test]
fn a_spool_is_inspected_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let none = run(forebay(dir).args(["spool", "inspect", "./spool"]));
    expect![[r#"
        Some(1) error: there is no directory `./spool`
        hint: name the one that stands in the file, under `spool`
    "#]]
    .assert_eq(&format!("{:?} {}", none.code, none.err));

    std::fs::write(dir.join("pipeline.toml"), pipeline(port)).unwrap();
    let mut child = start(dir);
    let body = |n: u32| format!(r#"{{"event.id":"{n}","message":"{}"}}"#, "x".repeat(200));
    let begun = Instant::now();
    let mut n = 0;
    while n < 20 && begun.elapsed() < Duration::from_secs(60) {
        match post(port, &body(n)) {
            Some(200..300) => n += 1,
            Some(status) => panic!("{status}"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = run(forebay(dir).args(["spool", "inspect", "./spool", "--json"]));
    assert_eq!(whole.code, Some(0), "{}{}", whole.out, whole.err);
    let inspected: serde_json::Value = serde_json::from_str(&whole.out).unwrap();
    let frames: u64 = inspected["segments"].as_array().unwrap().iter().map(|it| it["frames"].as_u64().unwrap()).sum();
    assert_eq!(frames, 20, "{inspected}");

    let name = inspected["segments"][0]["name"].as_str().unwrap().to_owned();
    let path = dir.join("spool").join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, &bytes).unwrap();
    let damaged = run(forebay(dir).args(["spool", "inspect", "./spool"]));
    assert_eq!(damaged.code, Some(1), "{}", damaged.out);
    assert!(damaged.out.contains("damaged: bytes "), "{}", damaged.out);
    let repaired = succeed(forebay(dir).args(["spool", "repair", "./spool"]));
    println!("{}", repaired.out);
}

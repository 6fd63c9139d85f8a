//! What Amazon Data Firehose delivers to the `firehose` source, through the whole program, under `kill -9`.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forebay_testkit::oracle::Oracle;
use serde_json::{Value, json};

use crate::beacon::{Killed, free_port, until};
use crate::harness::{forebay, signal, succeed};

/// Records of a request.
const RECORDS: u64 = 7;

/// A request of Firehose, whose id is always the same for these records.
fn request(oracle: &Oracle, ids: Range<u64>) -> Vec<u8> {
    let id = format!("request-{}", ids.start);
    let records: Vec<Value> = ids.map(|it| json!({ "data": BASE64_STANDARD.encode(oracle.line(it)) })).collect();
    let body = json!({ "requestId": id, "timestamp": 1_795_298_640_123_u64, "records": records }).to_string();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         X-Amz-Firehose-Protocol-Version: 1.0\r\nX-Amz-Firehose-Request-Id: {id}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// Scenario: connections send requests as Firehose does, each again under its id until it is answered; the program is killed
/// with `kill -9` five times at random moments, also while it starts, and is started again.
/// Guarantees: every record of a request that was answered with 200 is in Parquet exactly once, those that were sent several
/// times too, and nothing else is; afterwards the spool holds nothing that is damaged.
#[test]
fn answered_requests_survive_kills() {
    let port = free_port();
    let text = format!(
        r#"
name = "cdn"
dead_letters.path = "./refused"

[sources.cdn]
type = "firehose"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool" }}

[sinks.lake]
type = "parquet"
inputs = ["cdn"]
path = "./lake"
batch = {{ age_max = "100ms" }}
"#
    );
    let (kills, connections) = (5, 4);
    Killed { text, port, kills, connections, events: RECORDS, request, taken: 200, spool: "./spool/requests" }
        .survives();
}

/// Scenario: a process starts while the disk of its spool does not answer: a file of it is a pipe that nobody reads. It is asked
/// to stop; it is started again, and the disk answers. So for both sources that have a spool.
/// Guarantees: it says that the spool does not answer, and where it is; it can be stopped all the same; when the disk answers,
/// it listens.
#[test]
fn a_spool_that_does_not_answer() {
    thread::scope(|scope| {
        for (source, lock) in [("firehose", "spool/requests/lock"), ("beacon", "spool/lock")] {
            scope.spawn(move || opens_a_pipe(source, lock));
        }
    });
}

fn opens_a_pipe(source: &str, lock: &str) {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join(lock);
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    succeed(Command::new("mkfifo").arg(&pipe));
    let port = free_port();
    let text = format!(
        r#"
name = "requests"
drain_max = "1s"
dead_letters.path = "./refused"

[sources.requests]
type = "{source}"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool" }}

[sinks.lake]
type = "parquet"
inputs = ["requests"]
path = "./lake"
"#
    );
    fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    for answers in [false, true] {
        let mut command = forebay(dir.path());
        let child = command.args(["run", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = Ends(child.stderr(Stdio::piped()).spawn().unwrap());
        let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = said.find(|it| it.contains("does not answer")).expect("it is said");
        assert!(line.contains("the spool at `./spool` does not answer: it is not open after "), "{line}");
        // Once somebody may read it, those who want to write go on.
        let _reader = answers.then(|| OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
        if answers {
            until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        signal(&child.0, "TERM");
        until("it stops", || child.0.try_wait().unwrap().is_some());
    }
}

/// A process that does not outlive its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

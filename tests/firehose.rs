//! What Amazon Data Firehose delivers to the `firehose` source, through the whole program, under `kill -9`.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forebay_testkit::oracle::Oracle;
use serde_json::{Value, json};

use crate::beacon::{Killed, free_port};

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

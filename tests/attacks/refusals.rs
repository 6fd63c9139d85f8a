//! What is told of attacks: how many requests were refused, and why.

use std::collections::BTreeMap;

use super::*;

const KEYS: &str = r#"
origins = ["https://e.com"]
trusted_proxies = ["127.0.0.1/32"]
privacy = { gpc = "refuse", dnt = "refuse" }
limits = { body_bytes_max = "1KiB", body_timeout = "1s", requests_per_address = 5, requests_per_origin = 5 }
"#;

/// Requests after their `Host`, with the reason why they are refused and the answer.
const REFUSED: [(&str, &str, &str, u16); 17] = [
    ("path", "POST /x", "Content-Length: 2\r\n\r\n{}", 404),
    ("path", "GET /beacon.png", "\r\n", 404),
    ("method", "PUT /beacon", "Content-Length: 2\r\n\r\n{}", 405),
    ("method", "POST /beacon.gif", "Content-Length: 2\r\n\r\n{}", 405),
    ("method", "DELETE /health", "\r\n", 405),
    ("media_type", "POST /beacon", "Content-Length: 0\r\n\r\n", 415),
    ("media_type", "POST /beacon", "Content-Type: image/png\r\nContent-Length: 2\r\n\r\n{}", 415),
    ("media_type", "POST /beacon", "Content-Encoding: lzma\r\nContent-Length: 2\r\n\r\n{}", 415),
    ("too_large", "POST /beacon", "Content-Length: 1025\r\n\r\n", 413),
    ("undecodable", "POST /beacon", "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 400),
    ("incomplete", "POST /beacon", "Content-Length: 2\r\n\r\n{", 408),
    ("http", "POST /beacon", "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ("origin", "POST /beacon", "Origin: https://other.com\r\nContent-Length: 2\r\n\r\n{}", 403),
    ("origin", "OPTIONS /beacon", "Origin: null\r\n\r\n", 403),
    ("gpc", "POST /beacon", "Sec-GPC: 1\r\nContent-Length: 2\r\n\r\n{}", 204),
    ("gpc", "GET /beacon.gif", "Sec-GPC: 1\r\n\r\n", 200),
    ("dnt", "POST /beacon", "DNT: 1\r\nContent-Length: 2\r\n\r\n{}", 204),
];

/// Scenario: requests that are refused for every reason that a client can bring about by itself, some more than once; copies of
/// an event, and events that cannot be rows.
/// Guarantees: the log says how many of each there were, and how many requests were accepted.
#[test]
fn every_refusal_is_counted() {
    let attacked = Attacked::start(KEYS, "");
    let address = attacked.running.address();
    let mut clients = 0;
    // Each from an address of its own, unless it is said.
    let mut send = |line: &str, more: &str, from: Option<&str>| -> u16 {
        clients += 1;
        let from = from.map_or_else(|| format!("192.0.2.{clients}"), str::to_owned);
        let head = format!("{line} HTTP/1.1\r\nHost: b\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n");
        let answer = exchange(address, format!("{head}{more}").as_bytes());
        answer.split(' ').nth(1).unwrap_or_else(|| panic!("{line}: {answer:?}")).parse().unwrap()
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, line, more, status) in REFUSED {
        assert_eq!(send(line, more, None), status, "{reason}: {line}");
        *counts.entry(reason).or_default() += 1;
    }
    // What comes too often is refused for that, and otherwise for a wish, which costs no room on the disk.
    for (reason, more, from) in [
        ("address_rate", "Sec-GPC: 1\r\nContent-Length: 2\r\n\r\n{}", Some("198.51.100.1")),
        ("origin_rate", "Sec-GPC: 1\r\nOrigin: https://e.com\r\nContent-Length: 2\r\n\r\n{}", None),
    ] {
        let began = Instant::now();
        while counts.get(reason).is_none_or(|it| *it < 3) {
            assert!(began.elapsed() < PATIENCE, "no limit is met: {reason}");
            let reason = match send("POST /beacon", more, from) {
                429 => reason,
                status => {
                    assert_eq!(status, 204);
                    "gpc"
                }
            };
            *counts.entry(reason).or_default() += 1;
        }
    }
    for (body, events, copies) in [
        (r#"[{"event.id":"a"},{"event.id":"a"},{"event.id":"b"}]"#, 0, 1),
        (r#"[{"event.id":"b"},{"event.duration":"long"},7]"#, 2, 1),
    ] {
        let more = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(send("POST /beacon", &more, None), 204);
        *counts.entry("event").or_default() += events;
        *counts.entry("copy").or_default() += copies;
    }
    let counts: String = counts.iter().map(|(reason, count)| format!(" {reason}={count}")).collect();
    let line = format!("accepted=2{counts} ");
    println!("{line}");
    until("the counts are said", || attacked.running.said().contains(&line));
    attacked.running.stop();
}

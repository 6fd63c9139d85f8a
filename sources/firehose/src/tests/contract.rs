//! Requests and answers, as "HTTP endpoint delivery request and response specifications" has them.

use std::io::Write as _;

use bytes::Bytes;
use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::Resume;
use forebay_testkit::canonical;
use http_body_util::Full;
use hyper::Request;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{body, config, open, send};

type Changed = fn(http::request::Builder) -> http::request::Builder;

/// What is answered to a request with this body, changed in this way. The time is left out if it is one of now.
async fn answer(address: std::net::SocketAddr, changed: Changed, body: Vec<u8>) -> String {
    let builder = Request::post("/cdn")
        .header("host", "endpoint")
        .header("content-type", "application/json")
        .header("x-amz-firehose-protocol-version", "1.0")
        .header("x-amz-firehose-request-id", "r-1")
        .header("x-amz-firehose-source-arn", "arn:aws:firehose:eu-west-1:1:deliverystream/cdn")
        .header("x-amz-firehose-access-key", "open sesame");
    let request = changed(builder).body(Full::new(Bytes::from(body))).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (status, headers, text) = send(stream, request).await;
    assert_eq!(headers["content-length"].to_str().unwrap(), text.len().to_string());
    assert_eq!(headers.get("content-encoding"), None);
    if status == 200 && headers["content-type"] == "text/plain" {
        return format!("{status} {text}");
    }
    assert_eq!(headers["content-type"], "application/json");
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let time = json.as_object_mut().unwrap().shift_remove("timestamp").unwrap().as_i64().unwrap();
    assert!((now - 600_000..=now).contains(&time), "{time} is not now");
    let more =
        ["allow", "retry-after"].iter().filter_map(|it| Some(format!(" {it}: {}", headers.get(*it)?.to_str().ok()?)));
    format!("{status} {json}{}\n", more.collect::<String>())
}

async fn check(requests: Vec<(&str, Changed, Vec<u8>)>, expected: Expect) {
    let directory = TempDir::new().unwrap();
    let keys = "path = '/cdn'\naccess_key = 'open sesame'\nattributes = ['stage', 'team']\n\
                columns = ['request_id', 'request_time', 'source_arn']";
    let config = super::ending(directory.path(), keys);
    let (mut source, address) = open(&config, Resume::start()).await;
    let mut found = String::new();
    for (name, changed, body) in requests {
        found += &format!("{name}: {}", answer(address, changed, body).await);
    }
    while let Some(read) = source.next().await.unwrap() {
        found += &format!("{}\n{}\n", read.span.to, canonical(&[read.rows]).join("\n"));
    }
    expected.assert_eq(&found);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Scenario: requests as Firehose makes them: plain and gzip, with and without attributes, with empty records and none,
/// and the first one again.
/// Guarantees: each is answered as the specification says, and is there once, with its attributes as columns.
#[tokio::test]
async fn good_requests() {
    let second: Changed = |it| {
        let attributes = r#"{"commonAttributes":{"stage":"prod","other":"é"}}"#;
        replaced(it, "x-amz-firehose-request-id", "r-2").header("x-amz-firehose-common-attributes", attributes)
    };
    let gzipped: Changed = |it| replaced(it, "x-amz-firehose-request-id", "r-3").header("content-encoding", "gzip");
    check(
        vec![
            ("plain", |it| it, body("r-1", &[b"one\n", b"", b"two"])),
            ("again", |it| it, body("r-1", &[b"one\n", b"", b"two"])),
            ("attributes", second, body("r-2", &["drei é".as_bytes()])),
            ("gzip", gzipped, gzip(&body("r-3", &[b"four"]))),
            ("no records", |it| replaced(it, "x-amz-firehose-request-id", "r-4"), body("r-4", &[])),
            ("empty records", |it| replaced(it, "x-amz-firehose-request-id", "r-5"), body("r-5", &[b"", b"\n"])),
            (
                "no header",
                |mut it| {
                    it.headers_mut().unwrap().remove("x-amz-firehose-request-id");
                    it
                },
                body("r-6", &[b"six"]),
            ),
            ("health", |it| it.method("GET").uri("/health"), Vec::new()),
        ],
        expect![[r#"
            plain: 200 {"requestId":"r-1"}
            again: 200 {"requestId":"r-1"}
            attributes: 200 {"requestId":"r-2"}
            gzip: 200 {"requestId":"r-3"}
            no records: 200 {"requestId":"r-4"}
            empty records: 200 {"requestId":"r-5"}
            no header: 200 {"requestId":"r-6"}
            health: 200 ok
            1:3
            {"message":"one","request_id":"r-1","request_time":"2026-11-21T22:04:00.123Z","source_arn":"arn:aws:firehose:eu-west-1:1:deliverystream/cdn","stage":null,"team":null}
            {"message":"two","request_id":"r-1","request_time":"2026-11-21T22:04:00.123Z","source_arn":"arn:aws:firehose:eu-west-1:1:deliverystream/cdn","stage":null,"team":null}
            2:1
            {"message":"drei é","request_id":"r-2","request_time":"2026-11-21T22:04:00.123Z","source_arn":"arn:aws:firehose:eu-west-1:1:deliverystream/cdn","stage":"prod","team":null}
            3:1
            {"message":"four","request_id":"r-3","request_time":"2026-11-21T22:04:00.123Z","source_arn":"arn:aws:firehose:eu-west-1:1:deliverystream/cdn","stage":null,"team":null}
            4:0

            5:2

            6:1
            {"message":"six","request_id":"r-6","request_time":"2026-11-21T22:04:00.123Z","source_arn":"arn:aws:firehose:eu-west-1:1:deliverystream/cdn","stage":null,"team":null}
        "#]],
    )
    .await;
}

fn replaced(mut builder: http::request::Builder, name: &'static str, value: &'static str) -> http::request::Builder {
    builder.headers_mut().unwrap().insert(name, http::HeaderValue::from_static(value));
    builder
}

/// Scenario: requests with a fault each.
/// Guarantees: the answer has the id of the header and says what is wrong; what no second try makes better is 413; nothing
/// of them is taken.
#[tokio::test]
async fn bad_requests() {
    let good = || body("r-1", &[b"x"]);
    check(
        vec![
            ("path", |it| it.uri("/other"), good()),
            ("method", |it| it.method("PUT"), good()),
            ("key", |it| replaced(it, "x-amz-firehose-access-key", "open sesam!"), good()),
            (
                "no key",
                |mut it| {
                    it.headers_mut().unwrap().remove("x-amz-firehose-access-key");
                    it
                },
                good(),
            ),
            ("version", |it| replaced(it, "x-amz-firehose-protocol-version", "2.0"), good()),
            ("encoding", |it| it.header("content-encoding", "br"), good()),
            ("no gzip", |it| it.header("content-encoding", "gzip"), good()),
            ("cut gzip", |it| it.header("content-encoding", "gzip"), gzip(&good())[..30].to_vec()),
            ("attributes", |it| it.header("x-amz-firehose-common-attributes", "{\"a\":1}"), good()),
            ("no JSON", |it| it, b"{\"requestId".to_vec()),
            ("no records", |it| it, b"{\"requestId\":\"r-1\",\"timestamp\":1}".to_vec()),
            ("no time", |it| it, b"{\"requestId\":\"r-1\",\"records\":[]}".to_vec()),
            ("other id", |it| it, body("r-2", &[b"x"])),
            (
                "no id",
                |mut it| {
                    it.headers_mut().unwrap().remove("x-amz-firehose-request-id");
                    it
                },
                body("", &[b"x"]),
            ),
            (
                "no base64",
                |it| it,
                b"{\"requestId\":\"r-1\",\"timestamp\":1,\"records\":[{\"data\":\"eA==\"},{\"data\":\"?\"}]}".to_vec(),
            ),
            ("records", |it| it, body("r-1", &vec![&b"x"[..]; 10_001])),
            ("record", |it| it, body("r-1", &[&vec![b'x'; 1_024_003]])),
            ("bytes", |it| it, vec![b' '; (64 << 20) + 1]),
            ("bomb", |it| it.header("content-encoding", "gzip"), gzip(&vec![b' '; (64 << 20) + 1])),
        ],
        expect![[r#"
            path: 404 {"requestId":"r-1","errorMessage":"there is nothing at this path"}
            method: 405 {"requestId":"r-1","errorMessage":"requests of Firehose are POST"} allow: POST
            key: 401 {"requestId":"r-1","errorMessage":"the access key is not the one that is expected"}
            no key: 401 {"requestId":"r-1","errorMessage":"the access key is not the one that is expected"}
            version: 400 {"requestId":"r-1","errorMessage":"protocol version `2.0` is not known here, only `1.0`"}
            encoding: 400 {"requestId":"r-1","errorMessage":"content encoding `br` is not known here, only `gzip`"}
            no gzip: 400 {"requestId":"r-1","errorMessage":"the body cannot be decompressed: invalid gzip header"}
            cut gzip: 400 {"requestId":"r-1","errorMessage":"the body cannot be decompressed: incomplete deflate stream"}
            attributes: 400 {"requestId":"r-1","errorMessage":"the common attributes cannot be read: missing field `commonAttributes` at line 1 column 7"}
            no JSON: 400 {"requestId":"r-1","errorMessage":"the body cannot be read: EOF while parsing a string at line 1 column 11"}
            no records: 400 {"requestId":"r-1","errorMessage":"the body cannot be read: missing field `records` at line 1 column 33"}
            no time: 400 {"requestId":"r-1","errorMessage":"the body cannot be read: missing field `timestamp` at line 1 column 32"}
            other id: 400 {"requestId":"r-1","errorMessage":"`requestId` is not that of the header"}
            no id: 400 {"requestId":"","errorMessage":"`requestId` is empty, or too long"}
            no base64: 400 {"requestId":"r-1","errorMessage":"record 2 is not base64: Invalid symbol 63, offset 0"}
            records: 413 {"requestId":"r-1","errorMessage":"10001 records are more than 10000"}
            record: 413 {"requestId":"r-1","errorMessage":"record 1 is larger than 1000 KiB"}
            bytes: 413 {"requestId":"r-1","errorMessage":"the body is larger than 64 MiB"}
            bomb: 413 {"requestId":"r-1","errorMessage":"the body is larger than 64 MiB"}
        "#]],
    )
    .await;
}

/// Scenario: the largest request that Firehose may send, in records of the largest size.
/// Guarantees: it is taken, and all of it is read.
#[tokio::test]
async fn the_largest_request() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path(), "");
    config.tuning.ends = true;
    let (mut source, address) = open(&config, Resume::start()).await;
    let record = vec![b'x'; 1_024_000];
    let records = vec![record.as_slice(); 49];
    super::deliver(address, "r-1", &records).await;
    let mut rows = 0;
    while let Some(read) = source.next().await.unwrap() {
        rows += read.rows.num_rows();
    }
    assert_eq!(rows, 49);
}

/// Scenario: a request with as many records as Firehose may send; then one with a fault whose description would be longer than
/// Firehose takes, in letters of several bytes.
/// Guarantees: all records are read; the message of the answer has at most 8192 bytes, and is text.
#[tokio::test]
async fn limits_of_the_contract() {
    let directory = TempDir::new().unwrap();
    let (mut source, address) = open(&super::ending(directory.path(), ""), Resume::start()).await;
    super::deliver(address, "r-1", &vec![&b"x"[..]; 10_000]).await;
    let mut rows = 0;
    while let Some(read) = source.next().await.unwrap() {
        rows += read.rows.num_rows();
    }
    assert_eq!(rows, 10_000);
    // One byte more or less before them, so that the limit falls into a letter.
    for before in ["", "x"] {
        let version = format!("{before}{}", "ü".repeat(10_000));
        let (status, text) =
            super::post(address, &[("x-amz-firehose-protocol-version", &version)], body("r-2", &[b"x"])).await;
        assert_eq!(status, 400);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let message = answer["errorMessage"].as_str().unwrap();
        assert!((8191..=8192).contains(&message.len()), "{} bytes", message.len());
        assert!(message.starts_with(&format!("protocol version `{before}ü")), "{message}");
    }
}

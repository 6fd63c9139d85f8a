//! Requests that are nearly right.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::Resume;
use forebay_spool::simulated::Random;
use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{body, ending, open};

const REQUESTS: u64 = 10_000;

/// What a parser may stumble over.
const PIECES: [&[u8]; 14] = [
    b"\"", b"{", b"]", b":", b",", b"\\", b"\\ud800", b"null", b"-1e999", b"99999999999999999999", b"\"records\":[", b"\0", b"\xff",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Changes some bytes, takes some away, writes some twice, or puts in what does not belong there.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + 1 + random.below(12) as usize).min(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len() as u64) as usize].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request that is damaged somewhere, perhaps.
fn request(nth: u64, random: &mut Random) -> Request<Full<Bytes>> {
    let id = format!("r-{nth}");
    let records: [&[u8]; 3] = [b"one\n", b"", "zwei \u{fc}\nthree\n".as_bytes()];
    let mut sent = body(&id, &records[..random.below(4) as usize]);
    if !random.one_in(3) {
        damage(&mut sent, random);
    }
    let mut request = Request::post("/").header("host", "endpoint");
    if !random.one_in(4) {
        request = request.header("x-amz-firehose-request-id", &id);
    }
    if random.one_in(3) {
        let mut attributes = br#"{"commonAttributes":{"stage":"prod"}}"#.to_vec();
        damage(&mut attributes, random);
        // What is no header is none of a client's either.
        if let Ok(value) = HeaderValue::from_bytes(&attributes) {
            request = request.header("x-amz-firehose-common-attributes", value);
        }
    }
    if random.one_in(3) {
        sent = gzip(&sent);
        request = request.header("content-encoding", "gzip");
        if random.one_in(2) {
            damage(&mut sent, random);
        }
    }
    request.body(Full::new(sent.into())).unwrap()
}

/// Scenario: requests whose bodies and attributes were damaged before or after compression, one after the other.
/// Guarantees: each is answered in the form that Firehose reads, with the id that it has and what is wrong with it; what is
/// answered with 200 is read, and the endpoint goes on.
#[tokio::test]
async fn damaged_requests() {
    let directory = TempDir::new().unwrap();
    let config = ending(directory.path(), "columns = ['request_id']\nattributes = ['stage']\nframing = 'lines'");
    let (mut source, address) = open(&config, Resume::start()).await;
    let mut random = Random(4711);
    let mut connection: Option<SendRequest<Full<Bytes>>> = None;
    let (mut taken, mut refused) = (0, 0);
    for nth in 0..REQUESTS {
        let request = request(nth, &mut random);
        let id = request.headers().get("x-amz-firehose-request-id").cloned();
        let answering = async {
            let is_open = match &mut connection {
                Some(to) => to.ready().await.is_ok(),
                None => false,
            };
            if !is_open {
                let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
                let (to, driver) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                tokio::spawn(driver);
                connection = Some(to);
            }
            let to = connection.as_mut().unwrap();
            let (head, body) = to.send_request(request).await.unwrap().into_parts();
            (head, body.collect().await.unwrap().to_bytes())
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), answering).await;
        let (head, text) = answer.unwrap_or_else(|_| panic!("request {nth} is not answered"));
        assert_eq!(head.headers["content-type"], "application/json", "request {nth}");
        let mut answer: serde_json::Map<_, _> = serde_json::from_slice(&text).unwrap();
        assert!(answer.remove("timestamp").unwrap().is_i64(), "request {nth}");
        let answered = answer.remove("requestId").unwrap();
        let message = answer.remove("errorMessage");
        assert!(answer.is_empty(), "request {nth}: {answer:?}");
        if let Some(id) = id {
            assert_eq!(answered, id.to_str().unwrap());
        }
        match head.status.as_u16() {
            200 => {
                assert_eq!(message, None, "request {nth}");
                taken += 1;
            }
            400 => {
                assert!(message.unwrap().as_str().is_some_and(|it| !it.is_empty()), "request {nth}");
                refused += 1;
            }
            status => panic!("request {nth}: {status}"),
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} {refused}");
    super::deliver(address, "the last one", &[b"good"]).await;
    let mut last = None;
    while let Some(read) = source.next().await.unwrap() {
        assert_eq!(read.fault(), None);
        last = Some(read);
    }
    let last = forebay_testkit::canonical(&[last.unwrap().rows]);
    assert_eq!(last, [r#"{"message":"good","request_id":"the last one","stage":null}"#]);
}

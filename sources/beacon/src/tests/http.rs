//! Requests and answers.

use expect_test::expect;
use forebay_testkit::CertifiedKey;

use super::*;

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    brotli::BrotliCompress(&mut &body[..], &mut to, &Default::default()).unwrap();
    to
}

/// Scenario: requests of all kinds to all paths, good and bad.
/// Guarantees: each gets the answer that the reference page says, and a browser is told no more than it needs.
#[tokio::test]
async fn answers() {
    let mut beacon = beacon(json!({
        "origins": ["https://e.com", "https://*.e.org"],
        "limits": { "body_bytes_max": "1KiB", "decoded_bytes_max": "2KiB" },
    }));
    let served = serve(&mut beacon).await;
    let mut text = String::new();
    let mut show = |what: &str, answer: String| text += &format!("-- {what}\n{answer}");
    let event = r#"{"event.action": "pageview"}"#;
    let long = json!({ "message": "x".repeat(1500) }).to_string();
    let longer = json!({ "message": "x".repeat(2500) }).to_string();
    show("text", served.post("Content-Type: text/plain;charset=UTF-8\r\n", event).await);
    show("an allowed origin", served.post("Origin: https://e.com\r\n", event).await);
    show("a host below", served.post("Origin: https://a.b.e.org\r\nContent-Type: application/json\r\n", event).await);
    show("the host itself", served.post("Origin: https://e.org\r\n", event).await);
    show("another origin", served.post("Origin: https://evil.com\r\n", event).await);
    show("no origin that can be named", served.post("Origin: null\r\n", event).await);
    show("no body", served.post("", "").await);
    show("white space", served.post("", " \r\n ").await);
    show("a picture", served.post("Content-Type: multipart/form-data; boundary=x\r\n", event).await);
    show("a form", served.post("Content-Type: application/x-www-form-urlencoded\r\n", "event.action=x").await);
    show("gzip", served.post("Content-Encoding: gzip\r\n", gzip(long.as_bytes())).await);
    show("br", served.post("Content-Encoding: br\r\n", brotli(long.as_bytes())).await);
    show("zstd", served.post("Content-Encoding: zstd\r\n", zstd::encode_all(long.as_bytes(), 1).unwrap()).await);
    show("deflate", served.post("Content-Encoding: deflate\r\n", event).await);
    show("no gzip", served.post("Content-Encoding: gzip\r\n", event).await);
    show("half a gzip", served.post("Content-Encoding: gzip\r\n", &gzip(event.as_bytes())[..20]).await);
    show("too long", served.post("", &long).await);
    show("too long when decompressed", served.post("Content-Encoding: gzip\r\n", gzip(longer.as_bytes())).await);
    let request = |line: &str| format!("{line} HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n");
    let question = "Origin: https://e.com\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n";
    show("a preflight", served.send(request("OPTIONS /beacon") + question).await);
    show("of another origin", served.send(request("OPTIONS /beacon") + "Origin: https://evil.com\r\n\r\n").await);
    show("GET", served.send(request("GET /beacon") + "\r\n").await);
    show("another path", served.send(request("POST /other") + "\r\n").await);
    show("up", served.send(request("POST /beacon/../../etc/passwd") + "\r\n").await);
    show("the pixel", served.send(request("GET /beacon.gif?event.action=view") + "\r\n").await);
    show("a post to it", served.send(request("POST /beacon.gif") + "\r\n").await);
    show("health", served.send(request("GET /health") + "\r\n").await);
    expect![[r#"
        -- text
        HTTP/1.1 204 No Content
        vary: Origin

        -- an allowed origin
        HTTP/1.1 204 No Content
        vary: Origin
        access-control-allow-origin: https://e.com
        access-control-allow-credentials: true

        -- a host below
        HTTP/1.1 204 No Content
        vary: Origin
        access-control-allow-origin: https://a.b.e.org
        access-control-allow-credentials: true

        -- the host itself
        HTTP/1.1 403 Forbidden
        vary: Origin
        content-length: 0

        -- another origin
        HTTP/1.1 403 Forbidden
        vary: Origin
        content-length: 0

        -- no origin that can be named
        HTTP/1.1 403 Forbidden
        vary: Origin
        content-length: 0

        -- no body
        HTTP/1.1 415 Unsupported Media Type
        vary: Origin
        content-length: 0

        -- white space
        HTTP/1.1 415 Unsupported Media Type
        vary: Origin
        content-length: 0

        -- a picture
        HTTP/1.1 415 Unsupported Media Type
        vary: Origin
        content-length: 0

        -- a form
        HTTP/1.1 204 No Content
        vary: Origin

        -- gzip
        HTTP/1.1 204 No Content
        vary: Origin

        -- br
        HTTP/1.1 204 No Content
        vary: Origin

        -- zstd
        HTTP/1.1 204 No Content
        vary: Origin

        -- deflate
        HTTP/1.1 415 Unsupported Media Type
        vary: Origin
        content-length: 0

        -- no gzip
        HTTP/1.1 400 Bad Request
        vary: Origin
        content-length: 0

        -- half a gzip
        HTTP/1.1 400 Bad Request
        vary: Origin
        content-length: 0

        -- too long
        HTTP/1.1 413 Payload Too Large
        vary: Origin
        content-length: 0

        -- too long when decompressed
        HTTP/1.1 413 Payload Too Large
        vary: Origin
        content-length: 0

        -- a preflight
        HTTP/1.1 204 No Content
        allow: POST, OPTIONS
        access-control-allow-methods: POST
        access-control-allow-headers: content-type, content-encoding
        access-control-max-age: 7200
        vary: Origin
        access-control-allow-origin: https://e.com
        access-control-allow-credentials: true

        -- of another origin
        HTTP/1.1 403 Forbidden
        vary: Origin
        content-length: 0

        -- GET
        HTTP/1.1 405 Method Not Allowed
        allow: POST, OPTIONS
        vary: Origin
        content-length: 0

        -- another path
        HTTP/1.1 404 Not Found
        vary: Origin
        content-length: 0

        -- up
        HTTP/1.1 404 Not Found
        vary: Origin
        content-length: 0

        -- the pixel
        HTTP/1.1 200 OK
        content-type: image/gif
        cache-control: no-store
        vary: Origin
        content-length: 43

        GIF89a····�·····���!�······,···········D··;
        -- a post to it
        HTTP/1.1 405 Method Not Allowed
        allow: GET, HEAD
        vary: Origin
        content-length: 0

        -- health
        HTTP/1.1 200 OK
        content-type: text/plain; charset=utf-8
        cache-control: no-store
        vary: Origin
        content-length: 3

        ok
    "#]]
    .assert_eq(&text);
}

/// Scenario: requests with a fault each, from a page that may send and from one that may not.
/// Guarantees: the first page's `fetch` gets to see every status, so that it need not take a refusal for a broken
/// network and try for ever; the other one's sees none.
#[tokio::test]
async fn refusals_that_a_page_can_read() {
    let mut beacon = beacon(json!({ "origins": ["https://e.com"], "limits": { "body_bytes_max": "1KiB" } }));
    let served = serve(&mut beacon).await;
    let mut text = String::new();
    for origin in ["https://e.com", "https://evil.com"] {
        let request = |line: &str, more: &str, body: &str| {
            let length = body.len();
            format!("{line} HTTP/1.1\r\nHost: b\r\nOrigin: {origin}\r\nContent-Length: {length}\r\n{more}\r\n{body}")
        };
        for bytes in [
            request("POST /other", "", "{}"),
            request("PUT /beacon", "", "{}"),
            request("POST /beacon", "Content-Type: image/png\r\n", "{}"),
            request("POST /beacon", "Content-Encoding: gzip\r\n", "no gzip"),
            request("POST /beacon", "Host: c\r\n", "{}"),
            request("POST /beacon", "", &" ".repeat(100_000)),
        ] {
            let answer = served.send(&bytes).await;
            let readable = answer.lines().find_map(|it| it.strip_prefix("access-control-allow-origin: "));
            text += &format!("{}, for {}\n", status(&answer), readable.unwrap_or("nobody"));
        }
    }
    expect![[r#"
        404 Not Found, for https://e.com
        405 Method Not Allowed, for https://e.com
        415 Unsupported Media Type, for https://e.com
        400 Bad Request, for https://e.com
        400 Bad Request, for https://e.com
        413 Payload Too Large, for https://e.com
        404 Not Found, for nobody
        403 Forbidden, for nobody
        403 Forbidden, for nobody
        403 Forbidden, for nobody
        400 Bad Request, for nobody
        403 Forbidden, for nobody
    "#]]
    .assert_eq(&text);
}

/// Scenario: no origins are named, and pages of any origin send, one of none that can be named, and something that is no page.
/// Guarantees: all may; each page is named in its answer, with credentials, and never by a star, which browsers do not take
/// together with them.
#[tokio::test]
async fn pages_of_all_origins() {
    let mut beacon = beacon(json!({}));
    let served = serve(&mut beacon).await;
    let mut text = String::new();
    for origin in ["Origin: https://e.com\r\n", "Origin: http://localhost:3000\r\n", "Origin: null\r\n", ""] {
        let answer = served.post(origin, "{}").await;
        let allowed: Vec<&str> = answer.lines().filter_map(|it| it.strip_prefix("access-control-allow-")).collect();
        text += &format!("{}: {}\n", status(&answer), allowed.join(", "));
    }
    expect![[r#"
        204 No Content: origin: https://e.com, credentials: true
        204 No Content: origin: http://localhost:3000, credentials: true
        204 No Content: origin: null, credentials: true
        204 No Content: 
    "#]]
    .assert_eq(&text);
}

/// Scenario: requests that were answered, with what their heads say, are read.
/// Guarantees: every event that was answered with success is a row, with the page that it came from; and a request that was
/// not is none.
#[tokio::test]
async fn what_was_answered_is_read() {
    let mut beacon = beacon(json!({ "fields": ["message", "client.ip", "user_agent.original", "url.full"] }));
    let mut served = serve(&mut beacon).await;
    let head = "User-Agent: Firefox\r\nReferer: https://e.com/page\r\nX-Forwarded-For: 203.0.113.9\r\n";
    served.post(head, r#"{"message": "one"}"#).await;
    served.post(head, r#"{"message": "two", "url.full": "https://e.com/own"}"#).await;
    served.send("GET /beacon.gif?message=three HTTP/1.1\r\nHost: b\r\nReferer: https://e.com/\r\n\r\n").await;
    served.post("Content-Encoding: gzip\r\n", "nonsense").await;
    let mut lines = String::new();
    while lines.lines().count() < 3 {
        lines += &shown(&[served.next().await]);
    }
    expect![[r#"
        1:1 client.ip=127.0.0.1 message=one url.full=https://e.com/page
        2:1 client.ip=127.0.0.1 message=two url.full=https://e.com/own
        3:1 client.ip=127.0.0.1 message=three url.full=https://e.com/
    "#]]
    .assert_eq(&lines.lines().map(|it| remove_times(it) + "\n").collect::<String>());
}

/// Times of the wall.
fn remove_times(line: &str) -> String {
    line.split(' ')
        .filter(|it| !it.starts_with("@timestamp") && !it.starts_with("event.ingested"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Scenario: visitors ask not to be tracked, with every policy.
/// Guarantees: the answer is the same; of a refused one nothing is in the spool, of a stripped one neither the address nor the
/// user agent.
#[tokio::test]
async fn wishes() {
    let mut text = String::new();
    for policy in ["refuse", "strip", "ignore"] {
        let fields = ["message", "client.ip", "user_agent.original", "user.id"];
        let mut beacon = beacon(json!({ "fields": fields, "privacy": { "gpc": policy, "dnt": policy } }));
        let mut served = serve(&mut beacon).await;
        let agent = "User-Agent: Firefox\r\n";
        for wish in ["Sec-GPC: 1\r\n", "DNT: 1\r\n", "Sec-GPC: 0\r\n"] {
            let body = json!({ "message": wish.trim(), "user.id": "u" }).to_string();
            let answer = served.post(&format!("{agent}{wish}"), body).await;
            assert_eq!(status(&answer), "204 No Content");
        }
        served.post(agent, r#"{"message": "the last one"}"#).await;
        text += &format!("{policy}\n");
        loop {
            let lines = shown(&[served.next().await]);
            lines.lines().for_each(|it| text += &(remove_times(it) + "\n"));
            if lines.contains("the last one") {
                break;
            }
        }
    }
    expect![[r#"
        refuse
        1:1 client.ip=127.0.0.1 message=Sec-GPC: 0 user.id=u
        2:1 client.ip=127.0.0.1 message=the last one
        strip
        1:1 message=Sec-GPC: 1
        2:1 message=DNT: 1
        3:1 client.ip=127.0.0.1 message=Sec-GPC: 0 user.id=u
        4:1 client.ip=127.0.0.1 message=the last one
        ignore
        1:1 client.ip=127.0.0.1 message=Sec-GPC: 1 user.id=u
        2:1 client.ip=127.0.0.1 message=DNT: 1 user.id=u
        3:1 client.ip=127.0.0.1 message=Sec-GPC: 0 user.id=u
        4:1 client.ip=127.0.0.1 message=the last one
    "#]]
    .assert_eq(&text);
}

/// Scenario: addresses are hashed; the process starts again; the day changes.
/// Guarantees: an address has one hash for a day, in every process, another one the next day, and no two addresses share one.
#[tokio::test]
async fn hashes_of_a_day() {
    use crate::privacy::{AddressKept, Addresses};
    let disk = SimulatedDisk::new(1);
    let addresses = || Addresses::new(AddressKept::Hash, Arc::new(disk.clone()));
    let (one, other) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    let first = addresses();
    let day = 86_400_000;
    let hash = first.kept(one, 5 * day, PATIENCE).await.unwrap().0.unwrap();
    assert_eq!((hash.len(), hash.bytes().all(|it| it.is_ascii_hexdigit())), (32, true));
    assert_eq!(first.kept(one, 6 * day - 1, PATIENCE).await.unwrap().0.unwrap(), hash);
    assert_eq!(addresses().kept(one, 5 * day, PATIENCE).await.unwrap().0.unwrap(), hash);
    assert_ne!(first.kept(other, 5 * day, PATIENCE).await.unwrap().0.unwrap(), hash);
    assert_ne!(first.kept(one, 6 * day, PATIENCE).await.unwrap().0.unwrap(), hash);
    assert_ne!(
        addresses().kept(one, 5 * day, PATIENCE).await.unwrap().0.unwrap(),
        hash,
        "the salt of that day is gone"
    );
}

/// Scenario: addresses are hashed, and the disk takes no salt.
/// Guarantees: requests are answered with 503, and health says so.
#[tokio::test]
async fn no_salt() {
    let mut beacon = beacon(json!({ "privacy": { "address": "hash" } }));
    let disk = beacon.tuning.disk.clone().unwrap();
    let served = serve(&mut beacon).await;
    disk.fail_syncs(u32::MAX);
    let health = async || status(&served.send("GET /health HTTP/1.1\r\nHost: b\r\n\r\n").await).to_owned();
    assert_eq!(health().await, "200 OK");
    assert_eq!(status(&served.post("", "{}").await), "503 Service Unavailable");
    assert_eq!(health().await, "503 Service Unavailable");
    disk.fail_syncs(0);
    assert_eq!(status(&served.post("", "{}").await), "204 No Content");
    assert_eq!(health().await, "200 OK");
}

/// Scenario: more requests than one address, or one origin, may send in a second.
/// Guarantees: those that are too many are told to wait, others are served.
#[tokio::test]
async fn rates() {
    let keys = json!({ "limits": { "requests_per_address": 20, "requests_per_origin": 1 }, "trusted_proxies": ["127.0.0.0/8"] });
    let mut beacon = beacon(keys);
    let served = serve(&mut beacon).await;
    let mut counts = std::collections::BTreeMap::new();
    for nth in 0..30 {
        let head = format!("X-Forwarded-For: 192.0.2.{}\r\nOrigin: https://e.com\r\n", nth % 2);
        *counts.entry(status(&served.post(&head, "{}").await).to_owned()).or_insert(0) += 1;
    }
    // The buckets fill up a little meanwhile.
    assert!(counts["204 No Content"] >= 1 && counts["429 Too Many Requests"] > 1, "{counts:?}");
    let other = served.post("X-Forwarded-For: 192.0.2.9\r\nOrigin: https://e.org\r\n", "{}").await;
    assert_eq!(status(&other), "204 No Content");
}

/// Connects with TLS, whatever the certificate is.
async fn connect(address: SocketAddr, alpn: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Scenario: over HTTPS, one connection of HTTP/2 that posts many events at a time, and one of HTTP/1.1.
/// Guarantees: every request is answered, and every event is read.
#[tokio::test]
async fn http_2() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    std::fs::write(place("cert.pem"), CertifiedKey::FIRST.certificate).unwrap();
    std::fs::write(place("key.pem"), CertifiedKey::FIRST.key).unwrap();
    let mut beacon = beacon(json!({
        "tls": { "certificate": place("cert.pem"), "key": place("key.pem") },
        "fields": ["message"],
        "trusted_proxies": ["127.0.0.1"],
    }));
    let mut served = serve(&mut beacon).await;
    let stream = hyper_util::rt::TokioIo::new(connect(served.address, b"h2").await);
    let handshake = hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let posts = (0..100).map(|nth| {
        let mut sender = sender.clone();
        async move {
            let request =
                ::http::Request::post("https://localhost/beacon").header("x-forwarded-for", format!("192.0.2.{nth}"));
            let body = http_body_util::Full::new(Bytes::from(json!({ "message": nth }).to_string()));
            sender.ready().await.unwrap();
            sender.send_request(request.body(body).unwrap()).await.unwrap().status().as_u16()
        }
    });
    let answers = tokio::time::timeout(PATIENCE, futures_util::future::join_all(posts)).await.unwrap();
    assert_eq!(answers, [204; 100]);
    connection.abort();
    let mut stream = connect(served.address, b"http/1.1").await;
    stream
        .write_all(b"POST /beacon HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    assert_eq!(status(&text), "204 No Content");
    let mut rows = 0;
    while rows < 101 {
        rows += served.next().await.rows.num_rows();
    }
    assert_eq!(rows, 101);
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

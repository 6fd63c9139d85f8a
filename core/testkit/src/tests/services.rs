//! The servers, the interpreters and the proxy that tests stand on.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::services::{ACCESS_KEY, DynamoDb, Fault, FaultProxy, Ministack, Rule, S3Server, python, spark};

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

/// What a server says to `GET /path`, its head and its body, and how the connection ended.
fn ask(endpoint: &str, request: &str) -> (String, io::Result<()>) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut said = Vec::new();
    let ended = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(LONG))?;
        let (method, path) = request.split_once(' ').unwrap();
        let head = "Host: bucket.example:99\r\nX-Name: value\r\nConnection: close\r\nContent-Length: 4";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\nbody")?;
        stream.read_to_end(&mut said).map(drop)
    });
    (String::from_utf8(said).unwrap(), ended)
}

/// The status line and the body of an answer.
fn short(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    format!("{} {body}", head.lines().next().unwrap_or("nothing"))
}

/// A server that says what it was asked, or as many `x` as the path names.
fn echo() -> crate::services::Server {
    crate::services::Server::start("echo", 0, |stream| async {
        let answer = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
            let path = request.uri().to_string();
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let method = request.method().clone();
            let body = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
            let text = match path[1..].parse() {
                Ok(many) => "x".repeat(many),
                Err(_) => format!("{method} {path} for {host} with {}", String::from_utf8_lossy(&body)),
            };
            Ok::<_, hyper::Error>(hyper::Response::new(text))
        });
        let stream = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await;
    })
}

/// Scenario: requests through the proxy, with each of its faults in turn.
/// Guarantees: without a rule a request arrives as it was sent, `Host` included; each fault does what it says, and
/// whether the server was asked.
#[test]
fn faults() {
    let echo = echo();
    let proxy = FaultProxy::start(&format!("http://{}", echo.address()), vec![]);
    let asked = |fault: Option<Fault>, request: &str| {
        proxy.set_rules(fault.into_iter().map(Rule::new).collect());
        let (answer, ended) = ask(&proxy.endpoint(), request);
        format!("{} {}", short(&answer), ended.map_or_else(|error| error.kind().to_string(), |()| "end".into()))
    };
    let mut said = String::new();
    writeln!(said, "{}", asked(None, "PUT /a?b=c")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::Status(503, "<Error/>".into())), "PUT /a")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::AnswerLost), "PUT /a")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::Reset), "PUT /a")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::TruncateRequest(2)), "PUT /a")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::TruncateBody(7)), "GET /20")).unwrap();
    writeln!(said, "{}", asked(Some(Fault::TruncateBody(0)), "GET /20")).unwrap();
    let begun = Instant::now();
    writeln!(said, "{}", asked(Some(Fault::Delay(Duration::from_millis(200))), "GET /a")).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    expect![[r#"
        HTTP/1.1 200 OK PUT /a?b=c for bucket.example:99 with body end
        HTTP/1.1 503 Service Unavailable <Error/> end
        nothing  end
        nothing  connection reset
        nothing  end
        HTTP/1.1 200 OK xxxxxxx end
        HTTP/1.1 200 OK  end
        HTTP/1.1 200 OK GET /a for bucket.example:99 with body end
    "#]]
    .assert_eq(&said);
    assert_eq!((proxy.seen().len(), proxy.faults()), (8, 7));
}

/// Scenario: a long body is cut far behind what one packet holds.
/// Guarantees: exactly so many bytes arrive, and their announced length is still the whole.
#[test]
fn a_long_body_is_cut() {
    let echo = echo();
    let cut = vec![Rule::new(Fault::TruncateBody(1_000_000))];
    let proxy = FaultProxy::start(&format!("http://{}", echo.address()), cut);
    let (answer, _) = ask(&proxy.endpoint(), "GET /3000000");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 3000000"), "{head}");
    assert_eq!(body.len(), 1_000_000);
}

/// Scenario: a request into the black hole, and others beside it; then there is no hole any more, and another one.
/// Guarantees: it gets no answer and no end while there is a hole, and is passed on afterwards; the others are answered; the
/// proxy can end with a request in the hole.
#[test]
fn a_black_hole() {
    let echo = echo();
    let hole = Rule::new(Fault::Blackhole).path_contains("hole");
    let proxy = FaultProxy::start(&format!("http://{}", echo.address()), vec![hole.clone()]);
    let swallowed = || {
        let mut stream = TcpStream::connect(proxy.endpoint().strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(b"GET /hole HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    let mut stream = swallowed();
    assert_eq!(short(&ask(&proxy.endpoint(), "GET /a").0), "HTTP/1.1 200 OK GET /a for bucket.example:99 with body");
    proxy.set_rules(vec![]);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    proxy.set_rules(vec![hole]);
    let mut stream = swallowed();
    drop(proxy);
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "it was answered after all");
}

/// Scenario: rules with conditions and counts, changed on the way.
/// Guarantees: a rule breaks the requests that it names, after those that it lets pass, and no more than it says; the
/// first that is due wins; new rules count from 0.
#[test]
fn which_requests_are_broken() {
    let echo = echo();
    let busy = |text: &str| Rule::new(Fault::Status(503, text.into()));
    let proxy = FaultProxy::start(
        &format!("http://{}", echo.address()),
        vec![
            busy("second and third put").method("PUT").after(1).times(2),
            busy("any part").path_contains("partNumber="),
            busy("by header").header("x-name", "alu").method("DELETE"),
            busy("by another header").header("x-name", "other"),
        ],
    );
    let mut said = String::new();
    for request in ["GET /a", "PUT /a", "PUT /b", "PUT /a?partNumber=1", "PUT /c?partNumber=2", "PUT /d", "DELETE /a"] {
        writeln!(said, "{request}: {}", short(&ask(&proxy.endpoint(), request).0)).unwrap();
    }
    proxy.set_rules(vec![busy("the first").times(1)]);
    for request in ["GET /a", "GET /b"] {
        writeln!(said, "{request}: {}", short(&ask(&proxy.endpoint(), request).0)).unwrap();
    }
    expect![[r#"
        GET /a: HTTP/1.1 200 OK GET /a for bucket.example:99 with body
        PUT /a: HTTP/1.1 200 OK PUT /a for bucket.example:99 with body
        PUT /b: HTTP/1.1 503 Service Unavailable second and third put
        PUT /a?partNumber=1: HTTP/1.1 503 Service Unavailable second and third put
        PUT /c?partNumber=2: HTTP/1.1 503 Service Unavailable any part
        PUT /d: HTTP/1.1 200 OK PUT /d for bucket.example:99 with body
        DELETE /a: HTTP/1.1 503 Service Unavailable by header
        GET /a: HTTP/1.1 503 Service Unavailable the first
        GET /b: HTTP/1.1 200 OK GET /b for bucket.example:99 with body
    "#]]
    .assert_eq(&said);
}

/// Scenario: an S3 server is asked without a signature, stopped, and started again with what it had.
/// Guarantees: it refuses who does not sign, keeps port and objects, and is gone while it is stopped; a proxy before it
/// closes the connection then.
#[test]
fn an_s3_server() {
    let mut server = S3Server::start();
    server.create_bucket("logs");
    let endpoint = server.endpoint();
    let proxy = FaultProxy::start(&endpoint, vec![]);
    let refused = ask(&endpoint, "GET /logs").0;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("AccessDenied"), "{refused}");
    server.stop();
    assert_eq!(ask(&endpoint, "GET /logs").1.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&proxy.endpoint(), "GET /logs").0, "");
    server.restart();
    assert_eq!(server.endpoint(), endpoint);
    assert!(server.directory().join("logs").is_dir());
    assert!(ask(&proxy.endpoint(), "GET /logs").0.starts_with("HTTP/1.1 403"));
}

/// Scenario: a server of S3 and SQS is started twice; each is asked for its buckets, and one is ended.
/// Guarantees: they do not get in each other's way; one that is ended is gone at once.
#[test]
fn two_ministacks() {
    let (one, two) = (Ministack::start(), Ministack::start());
    let made = ask(&one.endpoint(), "PUT /logs").0;
    assert!(made.starts_with("HTTP/1.1 200"), "{made}\n{}", one.log());
    assert!(ask(&one.endpoint(), "GET /").0.contains("<Name>logs</Name>"), "{}", one.log());
    assert!(!ask(&two.endpoint(), "GET /").0.contains("<Name>logs</Name>"), "{}", two.log());
    let endpoint = one.endpoint();
    drop(one);
    assert_eq!(ask(&endpoint, "GET /").1.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Scenario: an interpreter with a package, asked for at the same time by several tests, and one with Spark.
/// Guarantees: it has exactly that package, and is made once.
#[test]
fn interpreters() {
    let version = |python: &std::path::Path, package: &str| {
        let program = format!("from importlib.metadata import version; print(version('{package}'))");
        let said = Command::new(python).args(["-c", &program]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    let same: Vec<_> = (0..3).map(|_| std::thread::spawn(|| python(&["ministack==1.5.33"]))).collect();
    for python in same {
        assert_eq!(version(&python.join().unwrap(), "ministack"), "1.5.33");
    }
    assert_eq!(version(&spark(), "pyspark"), "4.3.0");
}

/// Scenario: a package is asked for without its exact version.
/// Guarantees: that is refused, since it would be another one tomorrow.
#[test]
#[should_panic(expected = "`duckdb` names no exact version")]
fn versions_are_exact() {
    python(&["duckdb"]);
}

/// Scenario: DynamoDB is started, asked with the key that every server takes, and ended.
/// Guarantees: it answers; it is gone at once.
#[test]
fn a_dynamodb() {
    let server = DynamoDb::start();
    let endpoint = server.endpoint();
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\
         Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=00\r\n\r\n{{}}"
    )
    .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(short(&said), "HTTP/1.1 200 OK {\"TableNames\":[]}", "{}", server.log());
    drop(server);
    assert_eq!(ask(&endpoint, "GET /").1.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

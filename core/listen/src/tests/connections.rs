//! Connections: how long they may take, and how they end.

use std::net::Ipv4Addr;

use expect_test::expect;

use super::*;

/// Scenario: a connection is idle between two requests for longer than a head may take; before that, a body came that
/// nobody read.
/// Guarantees: it is still open, and nothing is counted: the time of a head begins with its first byte.
#[tokio::test]
async fn idle_is_no_slow_head() {
    let served = serve(Bounds { header_timeout: Duration::from_secs(3), ..BOUNDS }).await;
    let mut stream = served.connect().await;
    assert_eq!(ask(&mut stream, POST).await, "200 2");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ask(&mut stream, "POST /unread HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n{").await, "404 ");
    stream.write_all(b"   ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ask(&mut stream, POST).await, "200 2");
    served.counted("accepted=2").await;
}

/// Scenario: five hundred browsers come at once, before any of them is accepted.
/// Guarantees: all are connected: none has to send its first packet again a second later.
#[tokio::test]
async fn many_at_once() {
    let listener = crate::server::listener((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts, so whoever does not find room in the queue never gets any.
    let streams: Vec<_> = (0..500)
        .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("there is room"))
        .collect();
    assert_eq!(streams.len(), 500);
}

/// Scenario: connections on which nothing comes, or half a head, first or after a request; or nothing after one.
/// Guarantees: each is closed in its time, also while it sends a byte now and then, and those with half a head are counted.
#[tokio::test]
async fn slow_heads() {
    let short = Duration::from_secs(2);
    let served = serve(Bounds { header_timeout: short, idle_timeout: short, ..BOUNDS }).await;
    assert_eq!(rest(&mut served.connect().await).await, "");
    let mut stream = served.connect().await;
    ask(&mut stream, POST).await;
    assert_eq!(rest(&mut stream).await, "");
    served.counted("accepted=1").await;

    let served = serve(Bounds { header_timeout: short, ..BOUNDS }).await;
    for requests in 0..2 {
        let mut stream = served.connect().await;
        for _ in 0..requests {
            ask(&mut stream, POST).await;
        }
        let (mut from, mut to) = stream.split();
        let dripping = async {
            while to.write_all(b"P").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = rest(&mut from) => {}
            () = dripping => {}
        }
    }
    served.counted("accepted=1 head_timeout=2").await;
}

/// Scenario: things that are no HTTP, or too long a head, or one of more than a hundred lines.
/// Guarantees: the connection is closed, and they are counted.
#[tokio::test]
async fn no_http() {
    let served = serve(BOUNDS).await;
    let long = format!("GET / HTTP/1.1\r\nHost: b\r\nA: {}\r\n\r\n", "b".repeat(40 << 10));
    let lines = format!("GET / HTTP/1.1\r\nHost: b\r\n{}\r\n", "A: b\r\n".repeat(100));
    for bytes in ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", &long, &lines] {
        let mut stream = served.connect().await;
        let _ = stream.write_all(bytes.as_bytes()).await;
        rest(&mut stream).await;
    }
    served.counted("accepted=0 http=3").await;
}

/// Scenario: HTTP/2: a connection that ends after its settings; then one with a frame that has a wrong length, one with a
/// head on the stream of the connection itself, one whose preface is cut.
/// Guarantees: those with what may not come are counted as what is no HTTP is, and no other.
#[tokio::test]
async fn no_http_2() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let served = serve(BOUNDS).await;
    let send = async |bytes: &[&[u8]]| {
        let mut stream = served.connect().await;
        stream.write_all(&bytes.concat()).await.unwrap();
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
    };
    send(&[PREFACE, SETTINGS]).await;
    send(&[PREFACE, &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]]).await;
    served.counted("accepted=0 http=1").await;
    send(&[PREFACE, SETTINGS, &[0, 0, 1, 1, 4, 0, 0, 0, 0, 0x82]]).await;
    served.counted("accepted=0 http=2").await;
    send(&[&PREFACE[..18], b"XY\r\n\r\n"]).await;
    served.counted("accepted=0 http=3").await;
}

/// Scenario: a client speaks HTTP/2 from the first byte on, without TLS, to a server that does and to one that does not; another
/// one asks whether it may change to HTTP/2.
/// Guarantees: the first one is served, the second one is told that this is no HTTP; the third one is answered in HTTP/1.1.
#[tokio::test]
async fn http_2_without_tls() {
    for http_2 in [true, false] {
        let served = serve(Bounds { http_2, ..BOUNDS }).await;
        let (mut to, connection) = h2::client::handshake(served.connect().await).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::post("http://b/").body(()).unwrap();
        let (answer, mut body) = to.send_request(request, false).unwrap();
        let _ = body.send_data(Bytes::from("{}"), true);
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("there is an answer, or an end");
        assert_eq!(answer.ok().map(|it| it.status().as_u16()), http_2.then_some(200));
        connection.abort();
        let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        let mut stream = served.connect().await;
        assert_eq!(ask(&mut stream, &POST.replace("\r\n\r\n", &format!("\r\n{upgrade}\r\n"))).await, "200 2");
        served.counted(if http_2 { "accepted=2" } else { "accepted=1 http=1" }).await;
    }
}

/// Scenario: a server is to listen where another one does, and at an address that this machine does not have.
/// Guarantees: the error names the address, and says how to find who has it, or what to write.
#[tokio::test]
async fn addresses_that_cannot_be_had() {
    let first = serve(BOUNDS).await;
    let listen = async |address: SocketAddr| {
        let error = Server::start(address, None, BOUNDS, Arc::new(Length::default())).await.unwrap_err();
        error.to_string().replace(&address.port().to_string(), "PORT") + "\n"
    };
    let told = listen(first.address()).await + &listen("192.0.2.1:8080".parse().unwrap()).await;
    expect![[r#"
        `127.0.0.1:PORT` cannot be listened on: another process listens there; `ss -ltnp sport = :PORT` or `lsof -i :PORT` shows which
        `192.0.2.1:PORT` cannot be listened on: no interface of this machine has that address; `0.0.0.0` stands for all
    "#]]
    .assert_eq(&told);
}

/// Scenario: a client sends a whole large body before it reads, to a path where nobody reads it; then one that is larger
/// than what is read in vain.
/// Guarantees: the first one gets its answer, and the connection goes on; the second one is cut off.
#[tokio::test]
async fn bodies_that_nobody_wants() {
    let served = serve(BOUNDS).await;
    let post = |bytes: usize| {
        format!("POST /unread HTTP/1.1\r\nHost: b\r\nContent-Length: {bytes}\r\n\r\n{}", " ".repeat(bytes))
    };
    let mut stream = served.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, &post(1 << 20)).await, "404 ");
    }
    let mut stream = served.connect().await;
    let _ = stream.write_all(post(64 << 20).as_bytes()).await;
    rest(&mut stream).await;
}

/// Scenario: the server is let go while one connection is idle and a request comes on another one.
/// Guarantees: the idle one is closed, the request is answered, and nobody listens any more.
#[tokio::test]
async fn farewell() {
    let served = serve(BOUNDS).await;
    let (mut idle, mut busy) = (served.connect().await, served.connect().await);
    ask(&mut idle, POST).await;
    ask(&mut busy, POST).await;
    busy.write_all(b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    let mut said = [0; 25];
    busy.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    let address = served.address();
    drop(served);
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(ask(&mut busy, "{}").await, "200 2");
    assert_eq!(rest(&mut busy).await, "");
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

/// Scenario: heads as hyper hands them over.
/// Guarantees: those are told that a proxy in front could read in another way.
#[test]
fn two_ways_to_read() {
    let cases = [
        "HTTP/1.1, host: b",
        "HTTP/1.1, host: b, transfer-encoding: Chunked",
        "HTTP/1.1",
        "HTTP/1.1, host: b, host: b",
        "HTTP/1.1, host: b, transfer-encoding: gzip, transfer-encoding: chunked",
        "HTTP/1.1, host: b, transfer-encoding: x-chunked",
        "HTTP/1.0",
        "HTTP/1.0, host: b, host: b",
        "HTTP/2.0",
    ];
    let mut text = String::new();
    for case in cases {
        let mut request = http::Request::new(());
        let (version, lines) = case.split_once(", ").unwrap_or((case, ""));
        *request.version_mut() = match version {
            "HTTP/1.0" => http::Version::HTTP_10,
            "HTTP/1.1" => http::Version::HTTP_11,
            _ => http::Version::HTTP_2,
        };
        for (name, value) in lines.split(", ").filter_map(|it| it.split_once(": ")) {
            request.headers_mut().append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        text += &format!("{}: {case}\n", if crate::malformed(&request) { "malformed" } else { "good" });
    }
    expect![[r#"
        good: HTTP/1.1, host: b
        good: HTTP/1.1, host: b, transfer-encoding: Chunked
        malformed: HTTP/1.1
        malformed: HTTP/1.1, host: b, host: b
        malformed: HTTP/1.1, host: b, transfer-encoding: gzip, transfer-encoding: chunked
        malformed: HTTP/1.1, host: b, transfer-encoding: x-chunked
        good: HTTP/1.0
        malformed: HTTP/1.0, host: b, host: b
        good: HTTP/2.0
    "#]]
    .assert_eq(&text);
}

//! Clients that mean harm, while another one is served.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::expect;

use super::*;

/// A request that must be answered whatever others do.
async fn healthy(served: &Served) {
    let answer = served.post("", r#"{"message": "healthy"}"#).await;
    assert_eq!(status(&answer), "204 No Content");
}

/// Scenario: requests that two readers could read in two ways, each followed by a hidden one.
/// Guarantees: none is accepted together with what it hides: either it is refused, or the connection is closed behind it, or
/// RFC 9112 leaves only one way to read it. (Of a length and chunks together hyper takes the chunks, and closes: section 6.3.)
#[tokio::test]
async fn smuggling() {
    // Connections that are kept open are closed soon.
    let limits = json!({ "header_timeout": "2s", "body_timeout": "2s", "idle_timeout": "2s" });
    let mut beacon = beacon(json!({ "limits": limits }));
    let served = serve(&mut beacon).await;
    let hidden = "POST /hidden HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}";
    let chunked = "2\r\n{}\r\n0\r\n\r\n";
    let post = "POST /beacon HTTP/1.1\r\n";
    let cases = [
        (
            "both lengths",
            format!("{post}Host: b\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}{hidden}"),
        ),
        (
            "both, the other way round",
            format!("{post}Host: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{chunked}{hidden}"),
        ),
        ("two lengths", format!("{post}Host: b\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}x{hidden}")),
        ("two equal lengths", format!("{post}Host: b\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}{hidden}")),
        ("a list of lengths", format!("{post}Host: b\r\nContent-Length: 2, 2\r\n\r\n{{}}{hidden}")),
        ("a signed length", format!("{post}Host: b\r\nContent-Length: +2\r\n\r\n{{}}{hidden}")),
        ("a negative length", format!("{post}Host: b\r\nContent-Length: -2\r\n\r\n{{}}{hidden}")),
        ("a hexadecimal length", format!("{post}Host: b\r\nContent-Length: 0x2\r\n\r\n{{}}{hidden}")),
        ("a huge length", format!("{post}Host: b\r\nContent-Length: 99999999999999999999\r\n\r\n{{}}")),
        ("another coding", format!("{post}Host: b\r\nTransfer-Encoding: xchunked\r\n\r\n{chunked}{hidden}")),
        ("two codings", format!("{post}Host: b\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{chunked}{hidden}")),
        (
            "the coding twice",
            format!(
                "{post}Host: b\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunked}{hidden}"
            ),
        ),
        ("a space before the colon", format!("{post}Host: b\r\nTransfer-Encoding : chunked\r\n\r\n{chunked}{hidden}")),
        ("a folded line", format!("{post}Host: b\r\nX: y\r\n Content-Length: 2\r\n\r\n{{}}{hidden}")),
        ("a bare line feed in a value", format!("{post}Host: b\r\nX: y\nContent-Length: 2\r\n\r\n{{}}")),
        ("a bare carriage return", format!("{post}Host: b\r\nX: y\rContent-Length: 2\r\n\r\n{{}}{hidden}")),
        ("a zero byte", format!("{post}Host: b\r\nX: y\0\r\nContent-Length: 2\r\n\r\n{{}}{hidden}")),
        ("no host", format!("{post}Content-Length: 2\r\n\r\n{{}}{hidden}")),
        ("two hosts", format!("{post}Host: b\r\nHost: c\r\nContent-Length: 2\r\n\r\n{{}}{hidden}")),
        (
            "chunks in HTTP/1.0",
            format!("POST /beacon HTTP/1.0\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}{hidden}"),
        ),
        (
            "a chunk of a bad size",
            format!("{post}Host: b\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a chunk that is longer than it says",
            format!("{post}Host: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}xx\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a huge chunk",
            format!("{post}Host: b\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        ("another version", format!("POST /beacon HTTP/9.9\r\nHost: b\r\nContent-Length: 2\r\n\r\n{{}}{hidden}")),
        ("no version", "POST /beacon\r\n\r\n".to_owned()),
        ("nonsense", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned()),
        ("too many headers", format!("{post}Host: b\r\n{}\r\n{{}}", "A: b\r\n".repeat(200))),
        ("too long a header", format!("{post}Host: b\r\nA: {}\r\n\r\n{{}}", "b".repeat(100_000))),
        ("too long a target", format!("POST /{} HTTP/1.1\r\nHost: b\r\n\r\n", "b".repeat(100_000))),
    ];
    let mut text = String::new();
    for (what, bytes) in cases {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut all = Vec::new();
        // An answer may be lost when the server closes before it has read all.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the connection ends");
        let all = String::from_utf8_lossy(&all);
        let answers: Vec<&str> = all.lines().filter_map(|it| it.strip_prefix("HTTP/1.")?.get(2..)).collect();
        // Of a server that closes before it was sent everything, the answer may or may not arrive.
        let is_refused = answers.len() <= 1 && answers.first().is_none_or(|it| it.starts_with('4'));
        text += &format!("{what}: {}\n", if is_refused { "refused".to_owned() } else { answers.join(", then ") });
        healthy(&served).await;
    }
    expect![[r#"
        both lengths: 204 No Content
        both, the other way round: 204 No Content
        two lengths: refused
        two equal lengths: 204 No Content, then 404 Not Found
        a list of lengths: refused
        a signed length: refused
        a negative length: refused
        a hexadecimal length: refused
        a huge length: refused
        another coding: refused
        two codings: refused
        the coding twice: refused
        a space before the colon: refused
        a folded line: refused
        a bare line feed in a value: 204 No Content
        a bare carriage return: refused
        a zero byte: refused
        no host: refused
        two hosts: refused
        chunks in HTTP/1.0: refused
        a chunk of a bad size: refused
        a chunk that is longer than it says: refused
        a huge chunk: refused
        another version: refused
        no version: refused
        nonsense: refused
        too many headers: refused
        too long a header: refused
        too long a target: refused
    "#]]
    .assert_eq(&text);
}

/// Scenario: bombs of a gigabyte, in every coding.
/// Guarantees: each is refused after no more than the bytes that are allowed, and others are served.
#[tokio::test]
async fn bombs() {
    let mut beacon = beacon(json!({}));
    let served = serve(&mut beacon).await;
    let zeros = vec![0; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..64 {
        gzip.write_all(&zeros).unwrap();
        zstd.write_all(&zeros).unwrap();
    }
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd.finish().unwrap());
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &vec![0; 64 << 20][..], &mut brotli, &Default::default()).unwrap();
    // A frame that asks for a window of 2 GiB, of which it needs nothing.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    for (coding, body) in [("gzip", gzip), ("zstd", zstd), ("br", brotli)] {
        let answer = served.post(&format!("Content-Encoding: {coding}\r\n"), body).await;
        assert_eq!(status(&answer), "413 Payload Too Large", "{coding}");
        healthy(&served).await;
    }
    let answer = served.post("Content-Encoding: zstd\r\n", wide).await;
    assert_eq!(status(&answer), "400 Bad Request");
    healthy(&served).await;
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Scenario: 300 clients send a bomb each, at the same time.
/// Guarantees: no more is in memory than all bodies together may take and some decoders need, far less than if each took
/// what it may by itself; all are refused, and others are served then.
#[tokio::test(flavor = "multi_thread")]
async fn many_bombs() {
    let limits = json!({ "decoded_bytes_max": "8MiB", "bodies_bytes_max": "64MiB" });
    let mut beacon = beacon(json!({ "limits": limits, "trusted_proxies": ["127.0.0.0/8"] }));
    let served = serve(&mut beacon).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..32).for_each(|_| gzip.write_all(&[0; 1 << 20]).unwrap());
    let bomb = gzip.finish().unwrap();
    let before = resident();
    let most = AtomicU64::new(before);
    let posts = (0..300).map(async |nth| {
        let head = format!("Content-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.{}\r\n", nth % 250);
        status(&served.post(&head, &bomb).await).to_owned()
    });
    let watching = async {
        loop {
            most.fetch_max(resident(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let answers = tokio::select! {
        answers = futures_util::future::join_all(posts) => answers,
        () = watching => unreachable!("it watches for ever"),
    };
    let refused = ["413 Payload Too Large", "503 Service Unavailable"];
    assert!(answers.iter().all(|it| refused.contains(&it.as_str())), "{answers:?}");
    let more = most.into_inner() - before;
    assert!(more < 500 << 20, "{} MiB more", more >> 20);
    healthy(&served).await;
}

/// Scenario: a client sends a body in pieces of one byte, almost as many as all bodies together may have in pieces of
/// 1 KiB, and waits.
/// Guarantees: it holds no more memory than its bytes take; others are served meanwhile, and it is too.
#[tokio::test]
async fn pieces_of_one_byte() {
    let mut beacon = beacon(json!({ "limits": { "bodies_bytes_max": "64MiB", "body_timeout": "60s" } }));
    let served = serve(&mut beacon).await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"POST /beacon HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    slow.write_all("1\r\n \r\n".repeat(65_500).as_bytes()).await.unwrap();
    for _ in 0..50 {
        let answer = served.post("", json!({ "message": "x".repeat(200_000) }).to_string()).await;
        assert_eq!(status(&answer), "204 No Content");
    }
    slow.write_all(b"2\r\n{}\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(status(&answer(&mut slow).await), "204 No Content");
}

/// Scenario: clients that send their heads and bodies byte by byte or not at all, and more connections than one address may
/// have; a body that claims to be huge.
/// Guarantees: all of them are closed in time, and a client from another address is served all the while.
#[tokio::test]
async fn slow_clients() {
    let limits = json!({
        "header_timeout": "2s", "body_timeout": "2s", "idle_timeout": "2s", "connections_per_address_max": 40,
    });
    let mut beacon = beacon(json!({ "limits": limits }));
    let served = serve(&mut beacon).await;
    let starts = [
        "",
        "P",
        "POST /beacon HTTP/1.1\r\nHost: b\r\n",
        "POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: 100\r\n\r\n{",
        "POST /beacon HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // One request, and then nothing.
        "POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
    ];
    let slow = |nth: usize| {
        let start = starts[nth % starts.len()];
        async move {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let mut stream = socket.connect(served.address).await.unwrap();
            let _ = stream.write_all(start.as_bytes()).await;
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
        }
    };
    let attackers = futures_util::future::join_all((0..100).map(slow));
    let closed = async {
        let ended = tokio::time::timeout(PATIENCE, attackers).await;
        ended.expect("every slow connection is closed");
    };
    let served_meanwhile = async {
        for _ in 0..20 {
            healthy(&served).await;
        }
    };
    tokio::join!(closed, served_meanwhile);
    let answer = served.send("POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: 99999999999\r\n\r\n{").await;
    assert_eq!(status(&answer), "413 Payload Too Large");
    healthy(&served).await;
}

/// Scenario: a client that is no proxy says that it is another address, and names a file in every text that it can.
/// Guarantees: the row has the address of the connection; nothing but the spool is written, whatever texts say.
#[tokio::test]
async fn spoofed() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "fields": ["message", "client.ip"], "spool": { "directory": directory.path().join("spool") } });
    let mut beacon = beacon(keys);
    beacon.tuning.disk = None;
    let mut served = serve(&mut beacon).await;
    let head = "X-Forwarded-For: 8.8.8.8\r\nForwarded: for=8.8.8.8\r\nCloudFront-Viewer-Address: 8.8.8.8:1\r\n\
        X-Real-IP: 8.8.8.8\r\nOrigin: https://../../../x\r\nReferer: ../../../x\r\nUser-Agent: ../../../x\r\n";
    let body = json!({ "message": "../../../x", "event.id": "../../../x", "event.dataset": "../../../x" });
    assert_eq!(status(&served.post(head, body.to_string()).await), "204 No Content");
    let read = served.next().await;
    assert!(shown(&[read]).contains("client.ip=127.0.0.1"));
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    assert_eq!(names, ["spool"]);
}

/// Scenario: any bytes as bodies, and JSON in which a few bytes were changed.
/// Guarantees: nothing panics; every event of a request is a row, a copy or a refusal, at a place of its own.
#[tokio::test]
async fn any_bytes() {
    use forebay_spool::simulated::Random;
    let mut random = Random(7);
    let good = r#"[{"event.id":"a","event":{"duration":1.5e9,"category":["web","\u00f6"]},"x":{"y":[{},null]}},{"message":"m"}]"#;
    let mut frames = Vec::new();
    for nth in 0..2000 {
        let mut body = good.as_bytes().to_vec();
        for _ in 0..1 + random.below(4) {
            if body.is_empty() {
                break;
            }
            let at = random.below(body.len() as u64) as usize;
            match random.below(4) {
                0 => body[at] = random.any() as u8,
                1 => body.truncate(at + 1),
                2 => body.insert(at, b"[]{}\",:\\ \n0-"[random.below(12) as usize]),
                _ => drop(body.remove(at)),
            }
        }
        let kind = if random.one_in(4) { Kind::Form } else { Kind::Json };
        frames.push(Frame { kind, body: body.into(), ..frame(nth, "") });
    }
    let mut beacon = beacon(json!({ "dedupe": { "window": "0s" } }));
    beacon.tuning.segment_bytes = Some(1 << 20);
    put(&beacon, frames).await;
    let reads = read(&beacon).await;
    assert_eq!(end(&reads).to_string().split(':').next(), Some("2000"));
    let mut entries: usize = 0;
    for read in &reads {
        let rows = (0..read.rows.num_rows()).map(|it| read.position(it));
        let mut places: Vec<Position> = rows.chain(read.refused.iter().map(|it| it.position.clone())).collect();
        places.sort();
        assert!(places.windows(2).all(|it| it[0] < it[1]));
        entries += places.len();
    }
    assert!(entries > 2000, "{entries} events of 2000 requests");
}

/// Scenario: clients send most of large bodies and then stop, until all bodies together hold as much as they may.
/// Guarantees: those who come then are told to try again, and no more memory is taken; when the slow ones are closed, all is
/// as before.
#[tokio::test]
async fn memory() {
    let limits = json!({
        "body_bytes_max": "256KiB", "decoded_bytes_max": "1MiB", "bodies_bytes_max": "3MiB", "body_timeout": "5s",
    });
    let mut beacon = beacon(json!({ "limits": limits }));
    let served = serve(&mut beacon).await;
    let head = "POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: 262144\r\n\r\n";
    let mut slow = Vec::new();
    let told = async {
        loop {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b' '; 262_000]).await.unwrap();
            slow.push(stream);
            let answer = served.post("", "x".repeat(10_000)).await;
            if status(&answer) == "503 Service Unavailable" {
                return answer;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("the memory is used up");
    assert!(told.contains("retry-after: 5\n"), "{told}");
    drop(slow);
    let again = async {
        while status(&served.post("", "{}").await) != "204 No Content" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is memory again");
}

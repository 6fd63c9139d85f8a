//! Heads that are nearly right, and bytes that are none.

use std::sync::atomic::{AtomicU64, Ordering};

use forebay_testkit::oracle::Random;

use super::*;

/// So many are sent: the short form. `FOREBAY_FUZZ` sets it for the long one, `SEED` what they are.
const HEADS: u64 = 2_000;
/// So many connections have one each at a time; then a healthy client is served.
const BATCH: u64 = 100;
/// When those leave that have not said that nothing more comes.
const LEAVES_AFTER: Duration = Duration::from_millis(50);

const STARTS: [&str; 6] = [
    POST,
    "GET /x?y=z HTTP/1.1\r\nHost: b\r\nAccept: */*\r\nUser-Agent: f\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nA: b\r\n\r\n",
    "POST /unread HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "OPTIONS * HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\u{2}\0\0\x08\0\0\0\0\0",
];

/// What a parser may stumble over.
const PIECES: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\xff\xfe",
    b"%00",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: c\r\n",
    b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// A number below another one.
fn below(random: &mut Random, end: usize) -> usize {
    ((random.fraction() * end as f64) as usize).min(end.saturating_sub(1))
}

/// One of the starts, with bytes changed, taken away, written twice or put in; or bytes of any kind.
fn head(random: &mut Random) -> Vec<u8> {
    if below(random, 20) == 0 {
        return (0..below(random, 200)).map(|_| below(random, 256) as u8).collect();
    }
    let mut bytes = STARTS[below(random, STARTS.len())].as_bytes().to_vec();
    for _ in 0..=below(random, 5) {
        let at = below(random, bytes.len() + 1);
        let end = (at + 1 + below(random, 12)).min(bytes.len());
        match below(random, 5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => drop(bytes.splice(at..at, PIECES[below(random, PIECES.len())].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = below(random, 256) as u8;
                }
            }
        }
    }
    bytes
}

/// Counts the panics on this thread, on which the server runs: one that a task has is told to nobody else.
fn panics() -> Arc<AtomicU64> {
    let (count, thread, usual) = (Arc::new(AtomicU64::new(0)), std::thread::current().id(), std::panic::take_hook());
    let counted = count.clone();
    std::panic::set_hook(Box::new(move |it| {
        if std::thread::current().id() == thread {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        usual(it);
    }));
    count
}

/// Scenario: thousands of heads and beginnings of HTTP/2 with damage by chance, many connections at a time. Half of them
/// say that nothing more comes; half do not, and leave after a while.
/// Guarantees: the server closes all that can have no more requests, has no panic, and serves a healthy client after each
/// batch.
#[tokio::test]
async fn any_heads() {
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("it is a number"));
    let (heads, seed) = (number("FOREBAY_FUZZ").unwrap_or(HEADS), number("SEED").unwrap_or(4711));
    let (mut random, panics) = (Random::new(seed), panics());
    let served = serve(BOUNDS).await;
    for nth in 0..heads.div_ceil(BATCH) {
        let sent: Vec<Vec<u8>> = (0..BATCH).map(|_| head(&mut random)).collect();
        let sending = sent.iter().enumerate().map(|(nth, bytes)| {
            let (bytes, address) = (bytes.clone(), served.address());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // The server may have closed before it has all.
                let _ = stream.write_all(&bytes).await;
                let (is_all, mut answers) = (nth % 2 == 0, Vec::new());
                if is_all {
                    let _ = stream.shutdown().await;
                }
                let patience = if is_all { PATIENCE } else { LEAVES_AFTER };
                tokio::time::timeout(patience, stream.read_to_end(&mut answers)).await.is_ok() || !is_all
            })
        });
        let sending: Vec<_> = sending.collect();
        for (sent, one) in sent.iter().zip(sending) {
            assert!(one.await.unwrap(), "seed {seed}: it hangs after {}", sent.escape_ascii());
        }
        let mut healthy = served.connect().await;
        assert_eq!(ask(&mut healthy, POST).await, "200 2", "seed {seed}, batch {nth}");
        assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}, batch {nth}");
    }
}

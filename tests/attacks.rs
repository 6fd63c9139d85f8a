//! Clients that mean harm, against the whole program, while another one is served.
//!
//! The short forms are part of `cargo test`; `FOREBAY_LONG=1 cargo test -p forebay-cli --test forebay attacks` runs the
//! long ones: five thousand slow clients, and a bomb of ten gigabytes.

mod refusals;
mod requests;
mod texts;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::beacon::{Client, PATIENCE, Running, free_port, rows, until};
use crate::harness::forebay;

/// More than this is never resident: what a small machine has for it.
const RESIDENT_MIB_MAX: f64 = 256.0;

/// Where the program is: deeper than any path climbs.
const BELOW: &str = "of/the/program/that/is/attacked";

/// Whether the long forms run.
fn is_long() -> bool {
    std::env::var_os("FOREBAY_LONG").is_some()
}

/// The program in a directory of its own, far below another one that nothing else is in.
struct Attacked {
    above: TempDir,
    running: Running,
}

impl Attacked {
    /// With further keys of the source, and of the sink.
    fn start(source: &str, sink: &str) -> Self {
        let (above, port) = (tempfile::tempdir().unwrap(), free_port());
        let dir = above.path().join(BELOW);
        fs::create_dir_all(&dir).unwrap();
        let text = format!(
            r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool" }}
{source}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "./lake"
batch = {{ age_max = "100ms" }}
{sink}
"#
        );
        fs::write(dir.join("pipeline.toml"), text).unwrap();
        let mut command = forebay(&dir);
        command.args(["run", "--quiet"]);
        let running = Running::start(&dir, port, command);
        Self { above, running }
    }

    fn path(&self) -> PathBuf {
        self.above.path().join(BELOW)
    }

    /// What all rows have in a column, sorted, once everything that was answered so far is delivered.
    fn delivered(&self, column: &str) -> Vec<String> {
        let answer = Client::new(self.running.address()).post("/beacon", "", br#"{"event.id":"last"}"#).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        let selected = format!("{column}, \"event.id\"");
        let mut found = Vec::new();
        // Rows are delivered in the order in which they came, a delivery after the other.
        until("all rows are there", || {
            found = rows(&self.path().join("lake"), &selected);
            found.iter().any(|it| it[1] == "last")
        });
        let before = found.iter().filter(|it| it[1] != "last");
        let mut values: Vec<String> = before.map(|it| it[0].as_str().unwrap_or("null").to_owned()).collect();
        values.sort();
        values
    }
}

/// How often a healthy client sends before others attack, and afterwards.
const BASELINE_REQUESTS: usize = 100;
/// An attack may make a healthy client wait twice as long as it does otherwise, or for so much longer. The slowest of its
/// requests say that only where nothing else runs, as in the long forms; otherwise they meet other tests, and half of the
/// requests have to say it.
const HELD_UP_MAX: Duration = Duration::from_millis(250);
/// What the slowest ones may meet on a busy machine. Who waits for slow clients waits longer: for their timeout.
const HELD_UP_BUSY_MAX: Duration = Duration::from_secs(2);

/// A client that is served whatever others do: a connection and a request after the other.
struct Healthy {
    address: SocketAddr,
    before: Times,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Times>,
}

/// How long requests took, the shortest first.
struct Times(Vec<Duration>);

impl Times {
    /// Of requests that are all answered with 204, as long as there are to be more.
    fn take(address: SocketAddr, is_more: impl Fn(usize) -> bool) -> Self {
        let mut took = Vec::new();
        while is_more(took.len()) {
            let began = Instant::now();
            let answer = Client::new(address).post("/beacon", "", br#"{"message":"healthy"}"#).unwrap();
            assert_eq!(answer.status, 204, "{answer:?}");
            took.push(began.elapsed());
            sleep(Duration::from_millis(10));
        }
        took.sort();
        Self(took)
    }

    /// Within what so many of a hundred were answered.
    fn percentile(&self, percent: usize) -> Duration {
        self.0[self.0.len() * percent / 100]
    }
}

impl Healthy {
    /// Sends for a while, and goes on from here on, when the attack begins.
    fn start(address: SocketAddr) -> Self {
        let before = Times::take(address, |it| it < BASELINE_REQUESTS);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let run = move || Times::take(address, |it| !over.load(Ordering::Relaxed) || it < 20);
        Self { address, before, is_over, thread: std::thread::spawn(run) }
    }

    /// All were served. Says how long that took, and fails if it was much longer than before the attack and after it.
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let during = self.thread.join().expect("every request of a healthy client is answered with 204");
        let after = Times::take(self.address, |it| it < BASELINE_REQUESTS);
        println!("{} healthy requests, all answered 204", during.0.len());
        let slowest_max = if is_long() { HELD_UP_MAX } else { HELD_UP_BUSY_MAX };
        for (percent, more_max) in [(50, HELD_UP_MAX), (99, slowest_max)] {
            let [before, it, after] = [&self.before, &during, &after].map(|it| it.percentile(percent));
            println!("{percent} of 100 within {it:?}: before the attack within {before:?}, after it within {after:?}");
            let usual = before.max(after);
            assert!(it < (2 * usual).max(usual + more_max), "{percent}: {it:?}, and {usual:?} without the attack");
        }
    }
}

/// Scenario: many clients that send the head of a request byte by byte, for ever; half of them a body; from many addresses,
/// so that the limit for each does not help.
/// Guarantees: each of them is closed in time; a healthy client is served all the while; memory is bounded.
#[test]
fn slow_clients() {
    let sockets = if is_long() { 5_000 } else { 500 };
    let limits = "limits = { header_timeout = \"5s\", body_timeout = \"5s\", idle_timeout = \"5s\" }";
    let attacked = Attacked::start(limits, "");
    let address = attacked.running.address();
    let healthy = Healthy::start(address);
    let slow = move |nth: u32| async move {
        let socket = TcpSocket::new_v4().unwrap();
        let from = [127, 0, 1 + (nth / 100) as u8, 1];
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = "POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: 100000\r\n\r\n";
        let begin = if nth.is_multiple_of(2) { "P" } else { head };
        let _ = stream.write_all(begin.as_bytes()).await;
        let mut some = [0; 1024];
        loop {
            if stream.write_all(b"x").await.is_err() {
                break;
            }
            let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut some)).await;
            if let Ok(Ok(0) | Err(_)) = read {
                break;
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let all: Vec<_> = (0..sockets).map(|nth| tokio::spawn(slow(nth))).collect();
        for one in all {
            tokio::time::timeout(PATIENCE, one).await.expect("every slow client is closed").unwrap();
        }
    });
    println!("{sockets} slow clients, closed within {:?}", began.elapsed());
    healthy.end();
    let most = attacked.running.memory("VmHWM");
    println!("at most {most:.0} MiB were resident");
    assert!(most < RESIDENT_MIB_MAX);
    attacked.running.stop();
}

/// Zeros that become so much more, in members of a tenth of them.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..bytes / 10 / zeros.len() {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap().repeat(10)
}

/// Scenario: a body that is a gigabyte when it is decompressed, ten in the long form, in a source that takes bodies of that
/// size; and many clients that send, all at once, one that is as large as the usual limits allow.
/// Guarantees: each is refused, after no more than the bytes that are allowed; a healthy client is served all the while;
/// memory is bounded.
#[test]
fn bombs() {
    let big = bomb(if is_long() { 10_000 << 20 } else { 1_000 << 20 });
    println!("a bomb of {} bytes", big.len());
    let limits = "limits = { body_bytes_max = \"32MiB\", bodies_bytes_max = \"128MiB\", requests_per_address = 100000, connections_per_address_max = 2000 }";
    let attacked = Attacked::start(limits, "");
    let address = attacked.running.address();
    let healthy = Healthy::start(address);
    let send = |body: &[u8]| {
        // The server need not read all of what it refuses.
        match Client::new(address).post("/beacon", "Content-Encoding: gzip\r\n", body) {
            Ok(answer) => answer.status,
            Err(_) => 0,
        }
    };
    assert_eq!(send(&big), 413);
    let small = bomb(200 << 20);
    assert!(small.len() < 256 << 10, "{}", small.len());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        // Few enough that there is room for the bodies of the others beside theirs.
        let all: Vec<_> = (0..250).map(|_| scope.spawn(|| send(&small))).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|it| matches!(it, 0 | 413 | 503)), "{statuses:?}");
    healthy.end();
    let most = attacked.running.memory("VmHWM");
    println!("at most {most:.0} MiB were resident");
    assert!(most < RESIDENT_MIB_MAX, "{most} MiB");
    attacked.running.stop();
}

/// Scenario: one client sends as fast as it can, and says each time that it comes from another address; then, through a
/// proxy that is trusted, clients say that they are somebody else.
/// Guarantees: it is held back by the limit for its own address, and a client of another address is not; of a list, the
/// address counts that the proxy has put there.
#[test]
fn spoofed_addresses() {
    let attacked = Attacked::start(
        "limits = { requests_per_address = 50 }\ntrusted_proxies = [\"127.0.0.2/32\"]\nfields = [\"message\", \"client.ip\"]",
        "",
    );
    let address = attacked.running.address();
    let from = |from: [u8; 4], head: &str, message: &str| {
        let body = json!({ "message": message }).to_string();
        let length = body.len();
        let request = format!(
            "POST /beacon HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}"
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let mut statuses = Vec::new();
    let began = Instant::now();
    while !statuses.contains(&429) {
        assert!(began.elapsed() < PATIENCE, "no limit is met");
        let nth = statuses.len();
        let head = format!(
            "X-Forwarded-For: 10.0.{}.{}\r\nForwarded: for=10.1.1.{}\r\nX-Real-IP: 10.2.2.{}\r\nTrue-Client-IP: 10.3.3.3\r\n",
            nth / 250,
            nth % 250,
            nth % 250,
            nth % 250
        );
        statuses.push(from([127, 0, 0, 3], &head, "forger"));
    }
    assert_eq!(from([127, 0, 0, 4], "", "neighbour"), 204);
    for (list, message) in [
        ("203.0.113.7", "alone"),
        ("127.0.0.1, 10.0.0.1, 203.0.113.8", "forged on the left"),
        ("203.0.113.9, 127.0.0.2", "through two proxies"),
        ("203.0.113.10, nonsense", "nonsense on the right"),
        ("", "nothing"),
    ] {
        assert_eq!(from([127, 0, 0, 2], &format!("X-Forwarded-For: {list}\r\n"), message), 204);
    }
    let taken = statuses.iter().filter(|it| **it == 204).count();
    let found = attacked.delivered("message || ': ' || \"client.ip\"");
    let others: Vec<&String> = found.iter().filter(|it| **it != "forger: 127.0.0.3").collect();
    assert_eq!(found.len() - others.len(), taken, "{found:?}");
    expect![[r#"
        alone: 203.0.113.7
        forged on the left: 203.0.113.8
        neighbour: 127.0.0.4
        nonsense on the right: 127.0.0.2
        nothing: 127.0.0.2
        through two proxies: 203.0.113.9
    "#]]
    .assert_eq(&others.iter().map(|it| format!("{it}\n")).collect::<String>());
    attacked.running.stop();
}

/// One connection: all that comes back for some bytes until the server closes.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may close before it has all, and then an answer may be lost.
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(bytes) => all.extend_from_slice(&some[..bytes]),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection does not end: {error}");
                break;
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

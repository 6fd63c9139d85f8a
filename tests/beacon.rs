//! Browser events through the whole program: under `kill -9`, and under more load than the sink takes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use expect_test::expect;
use forebay_testkit::oracle::{Oracle, Random, Verdict};
use forebay_testkit::proof::aws;
use forebay_testkit::services::{Fault, FaultProxy, Rule, S3Server};
use serde_json::{Value, json};

use crate::harness::{files, forebay, python, run, seed, signal, succeed};

/// Longer than anything may take on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn pipeline(port: u16) -> String {
    format!(
        r#"
name = "web"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
paths = ["/"]
spool = {{ directory = "./spool" }}
limits = {{ requests_per_address = 100000 }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "./lake"
batch = {{ age_max = "100ms" }}
"#
    )
}

/// The program, which listens; killed when it is let go.
pub struct Running {
    child: Child,
    dir: PathBuf,
    /// Where it listens on the loopback address.
    pub port: u16,
}

impl Running {
    /// Starts a command in a directory, which has a pipeline that listens on this port, and waits until it does. What it
    /// says is kept in the file `said`.
    pub fn start(dir: &Path, port: u16, mut command: Command) -> Self {
        let said = File::options().create(true).append(true).open(dir.join("said")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let mut running = Self { child, dir: dir.to_owned(), port };
        until("it listens", || {
            running.runs();
            TcpStream::connect(running.address()).is_ok()
        });
        running
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Fails if it has ended by itself.
    pub fn runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the program has ended by itself, with {status}: {}", self.said());
        }
    }

    /// What it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("said")).unwrap()
    }

    /// A number of `/proc/<pid>/status`, in MiB: `VmRSS`, `VmHWM`.
    pub fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has, with exit code 0.
    pub fn stop(mut self) {
        self.runs();
        signal(&self.child, "TERM");
        let mut status = None;
        until("it stops", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.is_some_and(|it| it.success()), "{status:?}: {}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that must come.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(50));
    }
}

/// A connection that is kept open.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, in small letters.
    pub head: String,
}

impl Client {
    /// One that connects when it has something to send.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Posts a body to a path, with more lines of a head.
    pub fn post(&mut self, path: &str, head: &str, body: &[u8]) -> io::Result<Answer> {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{head}\r\n");
        self.send(&[head.as_bytes(), body].concat())
    }

    /// Sends the bytes of a request and takes its answer, which has no body, or one that nobody looks at.
    pub fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        if status == 204 && !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        Ok(Answer { status, head })
    }
}

/// Posts a body and gives the status, if there is an answer.
fn post(port: u16, body: &str) -> Option<u16> {
    let answer = Client::new(([127, 0, 0, 1], port).into()).post("/", "Content-Type: text/plain\r\n", body.as_bytes());
    answer.ok().map(|it| it.status)
}

fn start(dir: &Path) -> Child {
    forebay(dir).args(["run", "--quiet"]).stderr(Stdio::null()).spawn().unwrap()
}

/// The rows that a reader of another make finds in the Parquet files below a directory: what comes behind `SELECT`, of each a
/// list of values.
pub fn rows(lake: &Path, selected: &str) -> Vec<Value> {
    if !files(lake).iter().any(|it| it.extension().is_some_and(|it| it == "parquet")) {
        return Vec::new();
    }
    let script = "import duckdb, json, sys\n\
        rows = duckdb.execute(f\"SELECT {sys.argv[1]} FROM read_parquet('{sys.argv[2]}/**/*.parquet', hive_partitioning = true, \
        union_by_name = true)\")\n\
        for row in rows.fetchall(): print(json.dumps(row, default = str))";
    let said = succeed(Command::new(python()).args(["-c", script, selected]).arg(lake));
    said.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// An event of an oracle, as a page would send it.
pub fn event(oracle: &Oracle, id: u64) -> String {
    let padding = "x".repeat(300);
    json!({ "event.id": id.to_string(), "message": oracle.line(id), "labels": { "padding": padding } }).to_string()
}

/// Judges the Parquet files by the events that were answered.
pub fn judge(lake: &Path, oracle: &Oracle) -> Verdict {
    let mut judge = oracle.judge(|_| true);
    for row in rows(lake, "message") {
        judge.saw(row[0].as_str().unwrap_or_default());
    }
    judge.verdict()
}

/// So often is the program killed, and so many connections send meanwhile: the short form. `FOREBAY_KILLS` and
/// `FOREBAY_CONNECTIONS` set them for the long one.
const KILLS: u64 = 12;
const CONNECTIONS: u64 = 8;

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |it| it.parse().expect("it is a number"))
}

/// Posts events one after the other, each again under its id until it is answered, also while the program is killed; until
/// `is_over`, and then the last one to its end.
fn post_through_kills(address: SocketAddr, oracle: &Mutex<Oracle>, is_over: &AtomicBool) {
    let mut client = Client::new(address);
    while !is_over.load(Ordering::Relaxed) {
        let (id, body) = {
            let mut oracle = oracle.lock().unwrap();
            let id = oracle.claim(1).start;
            (id, event(&oracle, id))
        };
        loop {
            match client.post("/", "Content-Type: text/plain\r\n", body.as_bytes()) {
                Ok(answer) => {
                    assert_eq!(answer.status, 204, "{answer:?}");
                    break oracle.lock().unwrap().acknowledge([id]);
                }
                // It is not up yet, or was killed.
                Err(_) => sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// Scenario: connections post events, each again under its id until it is answered; the program is killed with `kill -9`
/// twelve times, or as often as `FOREBAY_KILLS` says, at random moments, one in four while it starts, and is started again.
/// Guarantees: every event that was answered with 204 is in Parquet exactly once, those that were posted several times
/// too, and nothing else is; afterwards the spool holds nothing that is damaged.
#[test]
fn answered_events_survive_kills() {
    let (kills, connections) = (asked("FOREBAY_KILLS", KILLS), asked("FOREBAY_CONNECTIONS", CONNECTIONS));
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let dir = dir.path();
    // A start reads again what is in reach. The events that are sent again come right behind those that they are copies of.
    let text = pipeline(port).replace("\n[sinks.lake]", "dedupe = { ids_max = 20000 }\n\n[sinks.lake]");
    fs::write(dir.join("pipeline.toml"), text).unwrap();
    let seed = seed();
    let (mut random, oracle) = (Random::new(seed), Mutex::new(Oracle::new(seed)));
    let is_over = AtomicBool::new(false);
    let running = || {
        let mut command = forebay(dir);
        command.args(["run", "--quiet"]);
        Running::start(dir, port, command)
    };
    let address = ([127, 0, 0, 1], port).into();
    let running = std::thread::scope(|scope| {
        (0..connections).for_each(|_| drop(scope.spawn(|| post_through_kills(address, &oracle, &is_over))));
        for _ in 0..kills {
            if random.fraction() < 0.25 {
                let mut child = start(dir);
                sleep(Duration::from_millis((random.fraction() * 500.0) as u64));
                child.kill().unwrap();
                child.wait().unwrap();
            } else {
                let running = running();
                sleep(Duration::from_millis((random.fraction() * 1000.0) as u64));
                running.kill();
            }
        }
        let running = running();
        is_over.store(true, Ordering::Relaxed);
        running
    });
    let oracle = oracle.into_inner().unwrap();
    let answered = oracle.claimed();
    assert!(answered > 100, "only {answered} events were answered");
    let lake = dir.join("lake");
    until("all is delivered", || rows(&lake, "count(*)").first().map_or(0, |it| it[0].as_u64().unwrap()) >= answered);
    running.stop();
    let verdict = judge(&lake, &oracle);
    println!("{kills} kills, {connections} connections, {answered} events answered: {verdict}");
    assert!(verdict.is_good(), "{verdict}");
    succeed(forebay(dir).args(["spool", "inspect", "./spool"]));
}

/// Scenario: `forebay spool` on a directory that is none, on a spool, and on one with a byte that has changed.
/// Guarantees: what is there is told; damage gives exit code 1 and its place; a repair keeps what was.
#[test]
fn a_spool_is_inspected_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let none = run(forebay(dir).args(["spool", "inspect", "./spool"]));
    expect![[r#"
        Some(1) error: there is no directory `./spool`
        hint: name the one that stands in the file, under `spool`
    "#]]
    .assert_eq(&format!("{:?} {}", none.code, none.err));

    fs::write(dir.join("pipeline.toml"), pipeline(port)).unwrap();
    let mut child = start(dir);
    let body = |n: u32| format!(r#"{{"event.id":"{n}","message":"{}"}}"#, "x".repeat(200));
    let begun = Instant::now();
    let mut n = 0;
    while n < 20 && begun.elapsed() < Duration::from_secs(60) {
        match post(port, &body(n)) {
            Some(200..300) => n += 1,
            Some(status) => panic!("{status}"),
            None => sleep(Duration::from_millis(20)),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = run(forebay(dir).args(["spool", "inspect", "./spool", "--json"]));
    assert_eq!(whole.code, Some(0), "{}{}", whole.out, whole.err);
    let inspected: serde_json::Value = serde_json::from_str(&whole.out).unwrap();
    let frames: u64 = inspected["segments"].as_array().unwrap().iter().map(|it| it["frames"].as_u64().unwrap()).sum();
    assert_eq!(frames, 20, "{inspected}");

    let name = inspected["segments"][0]["name"].as_str().unwrap().to_owned();
    let path = dir.join("spool").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let damaged = run(forebay(dir).args(["spool", "inspect", "./spool"]));
    assert_eq!(damaged.code, Some(1), "{}", damaged.out);
    assert!(damaged.out.contains("damaged: bytes "), "{}", damaged.out);
    let repaired = succeed(forebay(dir).args(["spool", "repair", "./spool"]));
    println!("{}", repaired.out);
}

/// Senders that send as much as they can for so long, each request with many events; what is refused with 503 is given up.
struct Flood {
    oracle: Mutex<Oracle>,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Events of a request.
const EVENTS: u64 = 20;
const SENDERS: usize = 8;

impl Flood {
    fn new() -> Self {
        Self { oracle: Mutex::new(Oracle::new(seed())), accepted: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    fn send(&self, address: SocketAddr, for_so_long: Duration) {
        let (mut client, began) = (Client::new(address), Instant::now());
        while began.elapsed() < for_so_long {
            let (ids, lines): (_, Vec<String>) = {
                let mut oracle = self.oracle.lock().unwrap();
                let ids = oracle.claim(EVENTS);
                (ids.clone(), ids.map(|it| event(&oracle, it)).collect())
            };
            let answer = client.post("/", "", lines.join("\n").as_bytes()).unwrap();
            match answer.status {
                204 => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    self.oracle.lock().unwrap().acknowledge(ids);
                }
                503 => {
                    assert!(answer.head.contains("retry-after: "), "{answer:?}");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(10));
                }
                _ => panic!("{answer:?}"),
            }
        }
    }
}

/// Scenario: for a quarter of a minute, events come in more than ten times as fast as a slow bucket takes them, until the
/// spool is full, and beyond that; then the bucket is quick again.
/// Guarantees: what does not fit is answered with 503 and `Retry-After`; the memory of the process stays within 256 MiB all
/// the while; in the end every event that was answered with 204 is in the bucket once, and nothing else, and the source
/// takes events again.
#[test]
fn ten_times_too_much() {
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let slow = Rule::new(Fault::Delay(Duration::from_secs(2)));
    let bucket = FaultProxy::start(&s3.endpoint(), vec![slow]);
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let text = pipeline(port)
        .replace("directory = \"./spool\"", "directory = \"./spool\", bytes_max = \"16MiB\"")
        .replace("limits = { ", "limits = { decoded_bytes_max = \"1MiB\", bodies_bytes_max = \"32MiB\", ")
        .replace("path = \"./lake\"", &format!("path = \"s3://lake/web\"\naws = {}", aws(&bucket.endpoint())))
        .replace("age_max = \"100ms\"", "rows_max = 200, age_max = \"100ms\"");
    fs::write(dir.join("pipeline.toml"), text).unwrap();
    let mut command = forebay(dir);
    command.args(["run", "--quiet"]);
    let mut running = Running::start(dir, port, command);
    let lake = s3.directory().join("lake/web");
    let (flood, address) = (Flood::new(), running.address());

    std::thread::scope(|scope| {
        (0..SENDERS).for_each(|_| drop(scope.spawn(|| flood.send(address, Duration::from_secs(15)))));
    });
    let taken = rows(&lake, "count(*)").first().map_or(0, |it| it[0].as_u64().unwrap());
    let (accepted, refused) = (flood.accepted.into_inner() * EVENTS, flood.refused.into_inner() * EVENTS);
    println!(
        "{} events came, {accepted} were accepted, {refused} refused; {taken} were in the bucket",
        accepted + refused
    );
    assert!(refused > 0, "the spool was never full");
    assert!(accepted + refused > 10 * taken, "the bucket was not slow enough");

    bucket.set_rules(vec![]);
    let mut oracle = flood.oracle.into_inner().unwrap();
    until("everything that was accepted is there", || rows(&lake, "1").len() as u64 >= accepted);
    let ids = oracle.claim(1);
    until("it takes events again", || post(port, &event(&oracle, ids.start)) == Some(204));
    oracle.acknowledge(ids);
    println!("at most {:.0} MiB were resident", running.memory("VmHWM"));
    assert!(running.memory("VmHWM") < 256.0);
    running.runs();
    running.stop();
    let verdict = judge(&lake, &oracle);
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

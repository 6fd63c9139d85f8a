//! Browser events through the whole program, under `kill -9`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use expect_test::expect;
use forebay_testkit::oracle::{Oracle, Random, Verdict};
use serde_json::{Value, json};

use crate::harness::{asked, files, forebay, python, run, seed, signal, succeed};

/// Longer than anything may take on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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

    /// Sends a part of a request, of which there is no answer yet.
    pub fn begin(&mut self, part: &[u8]) -> io::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(part)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends the bytes of a request, or what is left of them, and takes its answer, which has no body, or one that nobody
    /// looks at.
    pub fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.begin(request)?;
        let Some(mut stream) = self.stream.take() else { return Err(io::ErrorKind::NotConnected.into()) };
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

/// What clients send to the program while it is killed again and again.
pub struct Killed {
    /// The pipeline, which delivers to `./lake`.
    pub text: String,
    /// The port of its source.
    pub port: u16,
    /// How often it is killed.
    pub kills: u64,
    /// How many connections send.
    pub connections: u64,
    /// How many events a request has.
    pub events: u64,
    /// The request with the events of these ids.
    pub request: fn(&Oracle, Range<u64>) -> Vec<u8>,
    /// The status with which it is answered.
    pub taken: u16,
    /// Where the spool is that must be whole afterwards.
    pub spool: &'static str,
}

impl Killed {
    /// Sends requests one after the other, each again until it is answered, also while the program is killed; until
    /// `is_over`, and then the last one to its end.
    fn send(&self, oracle: &Mutex<Oracle>, is_over: &AtomicBool) {
        let mut client = Client::new(([127, 0, 0, 1], self.port).into());
        while !is_over.load(Ordering::Relaxed) {
            let (ids, request) = {
                let mut oracle = oracle.lock().unwrap();
                let ids = oracle.claim(self.events);
                (ids.clone(), (self.request)(&oracle, ids))
            };
            loop {
                match client.send(&request) {
                    Ok(answer) => {
                        assert_eq!(answer.status, self.taken, "{answer:?}");
                        break oracle.lock().unwrap().acknowledge(ids);
                    }
                    // It is not up yet, or was killed.
                    Err(_) => sleep(Duration::from_millis(5)),
                }
            }
        }
    }

    /// Kills at random moments, one in four while the program starts, and starts it again. Then every event that was
    /// answered is in Parquet exactly once, and nothing else is.
    pub fn survives(&self) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("pipeline.toml"), &self.text).unwrap();
        let seed = seed();
        let (mut random, oracle) = (Random::new(seed), Mutex::new(Oracle::new(seed)));
        let is_over = AtomicBool::new(false);
        let running = || {
            let mut command = forebay(dir);
            command.args(["run", "--quiet"]);
            Running::start(dir, self.port, command)
        };
        let running = std::thread::scope(|scope| {
            (0..self.connections).for_each(|_| drop(scope.spawn(|| self.send(&oracle, &is_over))));
            for _ in 0..self.kills {
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
        until("all is delivered", || {
            rows(&lake, "count(*)").first().map_or(0, |it| it[0].as_u64().unwrap()) >= answered
        });
        running.stop();
        let verdict = judge(&lake, &oracle);
        println!("{} kills, {} connections, {answered} events answered: {verdict}", self.kills, self.connections);
        assert!(verdict.is_good(), "{verdict}");
        succeed(forebay(dir).args(["spool", "inspect", self.spool]));
    }
}

/// One event of a page, under its id.
fn beacon(oracle: &Oracle, ids: Range<u64>) -> Vec<u8> {
    let body = event(oracle, ids.start);
    let length = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nContent-Type: text/plain\r\n\r\n");
    (head + &body).into_bytes()
}

/// Scenario: connections post events, each again under its id until it is answered; the program is killed with `kill -9`
/// twelve times, or as often as `FOREBAY_KILLS` says, at random moments, one in four while it starts, and is started again.
/// Guarantees: every event that was answered with 204 is in Parquet exactly once, those that were posted several times
/// too, and nothing else is; afterwards the spool holds nothing that is damaged.
#[test]
fn answered_events_survive_kills() {
    let (kills, connections) = (asked("FOREBAY_KILLS", KILLS), asked("FOREBAY_CONNECTIONS", CONNECTIONS));
    let port = free_port();
    // A start reads again what is in reach. The events that are sent again come right behind those that they are copies of.
    let text = pipeline(port).replace("\n[sinks.lake]", "dedupe = { ids_max = 20000 }\n\n[sinks.lake]");
    Killed { text, port, kills, connections, events: 1, request: beacon, taken: 204, spool: "./spool" }.survives();
}

/// Scenario: the same, five times, with `durability = "memory"`: events are answered before they are synced.
/// Guarantees: the same. The end of a process takes nothing from the operating system: only a power cut may cost events.
#[test]
fn events_in_memory_survive_kills() {
    let port = free_port();
    let keys = "directory = \"./spool\", durability = \"memory\"";
    let text = pipeline(port)
        .replace("directory = \"./spool\"", keys)
        .replace("\n[sinks.lake]", "dedupe = { ids_max = 20000 }\n\n[sinks.lake]");
    assert!(text.contains(keys));
    Killed { text, port, kills: 5, connections: 4, events: 1, request: beacon, taken: 204, spool: "./spool" }
        .survives();
}

/// Scenario: events are answered and not delivered, and the program is killed; `forebay spool` looks at a directory that is none,
/// at the spool, and at the spool with a byte that has changed; it repairs that, and the program starts again.
/// Guarantees: what is there is told; damage gives exit code 1 and its place; a repair says what it has done and where the
/// bytes are that it has set aside, and then the code is 0; the event that was hit is a dead letter, and all others arrive.
#[test]
fn a_spool_is_inspected_and_repaired() {
    const EVENTS: u32 = 20;
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let spool = |arguments: &[&str]| run(forebay(dir).arg("spool").args(arguments).arg("./spool"));
    let none = spool(&["inspect"]);
    expect![[r#"
        Some(1) error: there is no directory `./spool`
        hint: name the one that stands in the file, under `spool`
    "#]]
    .assert_eq(&format!("{:?} {}", none.code, none.err));

    let running = |age: &str| {
        fs::write(dir.join("pipeline.toml"), pipeline(port).replace("100ms", age)).unwrap();
        let mut command = forebay(dir);
        command.args(["run", "--quiet"]);
        Running::start(dir, port, command)
    };
    // Nothing is delivered before it is killed.
    let first = running("1h");
    for n in 0..EVENTS {
        assert_eq!(post(port, &format!(r#"{{"event.id":"{n}","message":"{}"}}"#, "x".repeat(200))), Some(204));
    }
    first.kill();
    let whole = spool(&["inspect", "--json"]);
    assert_eq!(whole.code, Some(0), "{}{}", whole.out, whole.err);
    let inspected: Value = serde_json::from_str(&whole.out).unwrap();
    let frames: u64 = inspected["segments"].as_array().unwrap().iter().map(|it| it["frames"].as_u64().unwrap()).sum();
    assert_eq!((frames, &inspected["set_aside"]), (EVENTS.into(), &json!([])), "{inspected}");

    let name = inspected["segments"][0]["name"].as_str().unwrap().to_owned();
    let path = dir.join("spool").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let damaged = spool(&["inspect"]);
    assert_eq!(damaged.code, Some(1), "{}", damaged.out);
    assert!(damaged.out.contains("damaged: bytes "), "{}", damaged.out);

    let mut told = String::new();
    for arguments in [["repair"], ["repair"], ["inspect"]] {
        let said = spool(&arguments);
        // The table depends on how long an event is.
        let lines = said.out.lines().filter(|it| !it.starts_with("segment") && !it.starts_with(&format!("{name} ")));
        told += &format!("{arguments:?} {:?}\n", said.code);
        lines.for_each(|it| told += &format!("{}\n", it.replace(&bytes.len().to_string(), "BYTES")));
    }
    expect![[r#"
        ["repair"] Some(0)
        0000000000000001.spool: written anew with its whole frames; as it was: 0000000000000001.spool.damaged
        nothing reads what ends with `.damaged`: remove it when nobody needs it any more
        ["repair"] Some(0)
        nothing is damaged; a torn tail is cut off at the next start
        ["inspect"] Some(0)
        0000000000000001.spool.damaged: BYTES bytes, set aside by a repair; nothing reads it, and it may be removed
    "#]]
    .assert_eq(&told);
    assert_eq!(fs::read(path.with_added_extension("damaged")).unwrap(), bytes);

    let second = running("100ms");
    let lake = dir.join("lake");
    let letters = || -> Vec<Value> {
        let files = files(&dir.join("refused")).into_iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
        let texts: String = files.map(|it| fs::read_to_string(it).unwrap()).collect();
        texts.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
    };
    until("all that is left arrives", || rows(&lake, "1").len() as u32 >= EVENTS - 1 && !letters().is_empty());
    second.stop();
    let arrived = rows(&lake, "\"event.id\"");
    let ids: BTreeSet<&str> = arrived.iter().map(|it| it[0].as_str().unwrap()).collect();
    assert_eq!((arrived.len() as u32, ids.len() as u32), (EVENTS - 1, EVENTS - 1));
    let lost = (0..EVENTS).find(|it| !ids.contains(it.to_string().as_str())).unwrap() + 1;
    let letters = letters();
    let reason = letters[0]["reason"].as_str().unwrap();
    assert_eq!(letters.len(), 1);
    assert!(reason.starts_with(&format!("the requests {lost} to {lost} of the spool cannot be read")), "{reason}");
}

/// Scenario: the program is to listen where another one does.
/// Guarantees: it ends with code 1, and says which address it is and how to find who has it.
#[test]
fn the_port_is_in_use() {
    let (dir, other) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = other.local_addr().unwrap().port();
    fs::write(dir.path().join("pipeline.toml"), pipeline(port)).unwrap();
    let said = run(forebay(dir.path()).env("FOREBAY_LOG", "error").args(["run", "--quiet"]));
    expect![[r#"
        Some(1)
        error: `pages` could not be opened
          caused by: `127.0.0.1:PORT` cannot be listened on: another process listens there; `ss -ltnp sport = :PORT` or `lsof -i :PORT` shows which
    "#]]
    .assert_eq(&format!("{:?}\n{}", said.code, said.err.replace(&port.to_string(), "PORT")));
}

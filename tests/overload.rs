//! More browser events than the sink takes, or a sink that takes none.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::Oracle;
use forebay_testkit::proof::aws;
use forebay_testkit::services::{Fault, FaultProxy, Rule, S3Server};

use crate::beacon::{Answer, Client, Running, event, free_port, judge, rows, until};
use crate::harness::{asked, forebay, seed};

/// For how long too much comes, in seconds: the short form. `FOREBAY_OVERLOAD_SECONDS` sets it for the long one.
const SECONDS: u64 = 15;

/// The room for what was answered: in the short form little, so that it is soon full, and requests no larger than go with
/// that. In the long form the least that the usual limits allow, and the usual limits.
const ROOM: [(&str, &str); 2] = [("16MiB", ", decoded_bytes_max = \"1MiB\""), ("64MiB", "")];

/// What a process may have in memory, in MiB, with the usual limits.
const RESIDENT_MIB_MAX: f64 = 256.0;

/// Clients that send as fast as they are answered, and the events of each of their requests.
const QUICK: u64 = 8;
const QUICK_EVENTS: u64 = 20;
/// They send a request again that was refused, so often, and give it up then.
const TRIES: u64 = 10;
/// Clients that send all but the last byte of a request, of as many events as a body may have, and hesitate. So their bodies
/// are in memory, all at a time, and then want to be written, all at a time.
const SLOW: u64 = 150;
const SLOW_EVENTS: u64 = 400;
const HESITATION: Duration = Duration::from_secs(2);

/// Events that come in for a while, and what became of them.
struct Flood {
    address: SocketAddr,
    end: Instant,
    oracle: Mutex<Oracle>,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Requests that were too late because of this machine, or whose connection broke.
    broken: AtomicU64,
}

impl Flood {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// A request with events that were not sent before.
    fn request(&self, events: u64) -> (Range<u64>, Vec<u8>) {
        let (ids, lines): (_, Vec<String>) = {
            let mut oracle = self.oracle.lock().unwrap();
            let ids = oracle.claim(events);
            (ids.clone(), ids.map(|it| event(&oracle, it)).collect())
        };
        let body = lines.join("\n");
        let length = body.len();
        (ids, format!("POST /beacon HTTP/1.1\r\nHost: b\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
    }

    /// Whether a request was taken; if it was not, it is told when to come again.
    fn is_taken(&self, ids: &Range<u64>, answer: &Answer) -> bool {
        let events = ids.end - ids.start;
        match answer.status {
            204 => {
                self.accepted.fetch_add(events, Ordering::Relaxed);
                self.oracle.lock().unwrap().acknowledge(ids.clone());
                true
            }
            503 => {
                assert!(answer.head.contains("retry-after: "), "{answer:?}");
                self.refused.fetch_add(events, Ordering::Relaxed);
                false
            }
            _ => panic!("{answer:?}"),
        }
    }

    /// A client that is in a hurry.
    fn send_quickly(&self) {
        let mut client = Client::new(self.address);
        while !self.is_over() {
            let (ids, request) = self.request(QUICK_EVENTS);
            for _ in 0..TRIES {
                if self.is_taken(&ids, &client.send(&request).unwrap()) {
                    break;
                }
                sleep(Duration::from_millis(10));
            }
        }
    }

    /// Many clients that are not.
    fn send_slowly(&self) {
        let mut all: Vec<_> = (0..SLOW).map(|_| (Client::new(self.address), self.request(SLOW_EVENTS))).collect();
        while !self.is_over() {
            let begun: Vec<bool> = all
                .iter_mut()
                .map(|(client, (_, request))| client.begin(&request[..request.len() - 1]).is_ok())
                .collect();
            sleep(HESITATION);
            for ((client, (ids, request)), has_begun) in all.iter_mut().zip(begun) {
                let answer = if has_begun { client.send(&request[request.len() - 1..]).ok() } else { None };
                match answer.filter(|it| it.status != 408) {
                    Some(answer) if self.is_taken(ids, &answer) => (*ids, *request) = self.request(SLOW_EVENTS),
                    Some(_) => {}
                    None => {
                        self.broken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// How many rows the bucket has.
fn count(lake: &Path) -> u64 {
    rows(lake, "count(*)").first().map_or(0, |it| it[0].as_u64().unwrap())
}

/// Scenario: for a quarter of a minute, or for as long as `FOREBAY_OVERLOAD_SECONDS` says, events come in more than ten times
/// as fast as a slow bucket takes them, until the spool is full, and beyond that; some in small requests, some in large ones
/// that come slowly, many at a time. Then the bucket is quick again. The limits of memory are the usual ones.
/// Guarantees: what does not fit is answered with 503 and `Retry-After`; the memory of the process stays within 256 MiB all
/// the while; in the end every event that was answered with 204 is in the bucket once, and nothing else, and the source
/// takes events again.
#[test]
fn ten_times_too_much() {
    let seconds = asked("FOREBAY_OVERLOAD_SECONDS", SECONDS);
    let (room, limits) = ROOM[usize::from(seconds > SECONDS)];
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let slow = Rule::new(Fault::Delay(Duration::from_secs(2)));
    let bucket = FaultProxy::start(&s3.endpoint(), vec![slow]);
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let text = format!(
        r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool", bytes_max = "{room}" }}
limits = {{ requests_per_address = 100000{limits} }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "s3://lake/web"
aws = {}
batch = {{ rows_max = 200, age_max = "100ms" }}
"#,
        aws(&bucket.endpoint())
    );
    fs::write(dir.join("pipeline.toml"), text).unwrap();
    let mut command = forebay(dir);
    command.args(["run", "--quiet"]);
    let mut running = Running::start(dir, port, command);
    let lake = s3.directory().join("lake/web");

    let flood = Flood {
        address: running.address(),
        end: Instant::now() + Duration::from_secs(seconds),
        oracle: Mutex::new(Oracle::new(seed())),
        accepted: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        broken: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        (0..QUICK).for_each(|_| drop(scope.spawn(|| flood.send_quickly())));
        scope.spawn(|| flood.send_slowly());
    });
    let taken = count(&lake);
    let (accepted, refused) = (flood.accepted.into_inner(), flood.refused.into_inner());
    println!(
        "{seconds} s: {} events came, {accepted} were accepted, {refused} refused; {taken} were in the bucket; {} requests \
         were too late, or broke",
        accepted + refused,
        flood.broken.into_inner()
    );
    println!("at most {:.0} MiB were resident", running.memory("VmHWM"));
    assert!(refused > 0, "the spool was never full");
    assert!(accepted + refused > 10 * taken, "the bucket was not slow enough");

    bucket.set_rules(vec![]);
    let back = Instant::now();
    let mut there = taken;
    while there < accepted {
        let before = there;
        until("more of what was accepted is there", || {
            there = count(&lake);
            there > before
        });
    }
    println!("all that was accepted was there {:?} after the bucket was quick again", back.elapsed());
    let mut oracle = flood.oracle.into_inner().unwrap();
    let (id, mut client) = (oracle.claim(1).start, Client::new(running.address()));
    let last = event(&oracle, id);
    until("it takes events again", || client.post("/beacon", "", last.as_bytes()).is_ok_and(|it| it.status == 204));
    oracle.acknowledge([id]);
    let most = running.memory("VmHWM");
    println!("at most {most:.0} MiB were resident");
    assert!(most < RESIDENT_MIB_MAX, "{most} MiB");
    running.runs();
    running.stop();
    let verdict = judge(&lake, &oracle);
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

/// Scenario: events come, and a delivery of them to a bucket is begun when the bucket goes away. The process is killed, and
/// started again while the bucket is still away; more events come.
/// Guarantees: events are answered with 204 all the while, also by the process that finds a delivery open and cannot make it;
/// when the bucket is back, every one of them is there once, and nothing else is.
#[test]
fn the_bucket_is_away_at_the_start() {
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let bucket = FaultProxy::start(&s3.endpoint(), vec![]);
    let dir = tempfile::tempdir().unwrap();
    let (dir, port) = (dir.path(), free_port());
    let text = format!(
        r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool" }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "s3://lake/web"
aws = {}
batch = {{ age_max = "100ms" }}
"#,
        aws(&bucket.endpoint())
    );
    fs::write(dir.join("pipeline.toml"), text).unwrap();
    let start = || {
        let mut command = forebay(dir);
        command.args(["run", "--quiet"]);
        Running::start(dir, port, command)
    };
    let mut oracle = Oracle::new(seed());
    let mut post = || {
        let mut client = Client::new(([127, 0, 0, 1], port).into());
        for id in oracle.claim(20) {
            assert_eq!(client.post("/beacon", "", event(&oracle, id).as_bytes()).unwrap().status, 204);
            oracle.acknowledge([id]);
        }
    };
    let running = start();
    post();
    let lake = s3.directory().join("lake/web");
    until("the first events are there", || count(&lake) >= 20);
    bucket.set_rules(vec![Rule::new(Fault::Status(503, String::new()))]);
    post();
    until("a delivery is begun", || running.said().contains("could not deliver"));
    running.kill();

    let running = start();
    post();
    until("it is begun again", || running.said().contains("rebuilding a delivery"));
    post();
    bucket.set_rules(vec![]);
    until("everything is there", || count(&lake) >= 80);
    running.stop();
    let verdict = judge(&lake, &oracle);
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

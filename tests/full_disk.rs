//! A file system that is full: the spool's own, and a real one.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::Oracle;

use crate::beacon::{Answer, Client, Running, event, free_port, judge, rows, until};
use crate::disks::SmallDisk;
use crate::harness::{asked, forebay, seed, succeed};

/// How long the disk stays full the first time, in seconds, while a page goes on sending: the short form.
/// `FOREBAY_FULL_SECONDS` sets it for the long one.
const SECONDS: u64 = 2;

/// The page sends so long after it was refused.
const PAUSE: Duration = Duration::from_millis(20);

/// So soon are 99 of 100 refused, in the long form, which has the machine for itself.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);

/// So soon after there is room again is an event taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// All bodies are of this length: a file system in memory gives room by the page, and behind an event that was refused a
/// shorter one could fit into the page that was begun.
const BODY_BYTES: usize = 800;

/// Events to Parquet, with the spool in a directory of its own.
fn pipeline(port: u16, spool: &str) -> String {
    format!(
        r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "{spool}", bytes_max = "16MiB" }}
limits = {{ requests_per_address = 100000, decoded_bytes_max = "1MiB", bodies_bytes_max = "32MiB" }}
dedupe = {{ window = "0s" }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "./lake"
batch = {{ age_max = "100ms" }}
"#
    )
}

/// Posts events one by one, each again under its id until it is answered with 204.
struct Page {
    client: Client,
    oracle: Oracle,
    /// How many were.
    answered: u64,
}

impl Page {
    fn post(&mut self, id: u64) -> Option<Answer> {
        let body = format!("{:BODY_BYTES$}", event(&self.oracle, id));
        assert_eq!(body.len(), BODY_BYTES);
        let answer = self.client.post("/beacon", "", body.as_bytes()).ok()?;
        if answer.status == 204 {
            self.oracle.acknowledge([id]);
            self.answered += 1;
        }
        Some(answer)
    }

    /// Until the source takes nothing more.
    fn post_until_refused(&mut self) -> u64 {
        let mut refused = 0;
        until("the disk is full", || {
            let id = self.oracle.claim(1).start;
            let answer = self.post(id).unwrap();
            assert!(matches!(answer.status, 204 | 503), "{answer:?}");
            if answer.status == 503 {
                assert!(answer.head.contains("retry-after: "), "{answer:?}");
                refused = id;
            }
            answer.status == 503
        });
        refused
    }

    /// Sends events for so long, of which none is taken: how long each was waited for, the shortest first.
    fn refused_for(&mut self, time: Duration) -> Vec<Duration> {
        let (mut waits, begun) = (Vec::new(), Instant::now());
        while begun.elapsed() < time {
            let (id, sent) = (self.oracle.claim(1).start, Instant::now());
            let answer = self.post(id).unwrap();
            waits.push(sent.elapsed());
            assert_eq!(answer.status, 503, "there is no room yet");
            assert!(answer.head.contains("retry-after: "), "{answer:?}");
            sleep(PAUSE);
        }
        waits.sort();
        waits
    }

    /// There is room again: sends an event until it is taken.
    fn taken_again(&mut self, id: u64) {
        let begun = Instant::now();
        until("events are taken again", || self.post(id).is_some_and(|it| it.status == 204));
        let took = begun.elapsed();
        println!("an event was taken {took:?} after there was room again");
        assert!(took < TAKEN_WITHIN, "{took:?}");
    }
}

/// Scenario: a source whose spool lies on a file system of 24 MiB, which is full when the source is first started; then there
/// is room, until something else fills it up, three times; the first time it stays full for two seconds, or for as long as
/// `FOREBAY_FULL_SECONDS` says, while a page goes on sending; the third time the process is killed then, and started again
/// on the full disk.
/// Guarantees: while it is full, the answer is 503 with `Retry-After`, soon; `/health` says so, and the process goes on; what
/// was answered before is delivered, without any room; when there is room again, events are taken again within five seconds,
/// without a restart; in the end every event that was answered with 204 is in Parquet once, and nothing else, and the spool
/// has no damage.
#[test]
fn a_full_disk_loses_nothing() {
    let seconds = asked("FOREBAY_FULL_SECONDS", SECONDS);
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let dir = dir.path();
    fs::write(dir.join("pipeline.toml"), pipeline(port, "./disk/spool")).unwrap();
    let disk = SmallDisk::mount(&dir.join("disk"), 24);
    let start = || {
        let mut command = forebay(dir);
        command.args(["run", "--quiet"]);
        Running::start(dir, port, disk.within(&command))
    };
    let lake = dir.join("lake");
    disk.fill();
    let mut running = start();
    let mut page = Page { client: Client::new(running.address()), oracle: Oracle::new(seed()), answered: 0 };
    let first = page.post_until_refused();
    assert_eq!(page.answered, 0, "there is no room for anything");
    disk.free();
    page.taken_again(first);
    for id in page.oracle.claim(500) {
        assert_eq!(page.post(id).unwrap().status, 204);
    }
    for round in 0..3 {
        disk.fill();
        let refused = page.post_until_refused();
        let health = || Client::new(([127, 0, 0, 1], port).into()).send(b"GET /health HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_eq!(health().unwrap().status, 503);
        let answered = page.answered;
        if round == 2 {
            running.kill();
            running = start();
            page.client = Client::new(running.address());
        }
        until("what was answered is delivered", || rows(&lake, "1").len() as u64 >= answered);
        running.runs();
        if round == 0 {
            let waits = page.refused_for(Duration::from_secs(seconds));
            let (half, most) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
            println!(
                "full for {seconds} s: {} events were refused, half of them within {half:?}, 99 of 100 within {most:?}, all within {:?}",
                waits.len(),
                waits[waits.len() - 1]
            );
            assert_eq!(health().unwrap().status, 503);
            assert!(seconds <= SECONDS || most < REFUSED_WITHIN, "{most:?}");
        }
        if round < 2 {
            assert_eq!(page.post(refused).unwrap().status, 503, "there is no room yet");
        }
        disk.free();
        page.taken_again(refused);
        assert_eq!(health().unwrap().status, 200);
        for id in page.oracle.claim(100) {
            assert_eq!(page.post(id).unwrap().status, 204);
        }
    }
    let answered = page.answered;
    until("all is delivered", || rows(&lake, "1").len() as u64 >= answered);
    running.stop();
    let mut inspect = forebay(dir);
    inspect.args(["spool", "inspect", "./disk/spool"]);
    succeed(&mut disk.within(&inspect));
    let verdict = judge(&lake, &page.oracle);
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

/// Scenario: everything that the program keeps (spool, state, dead letters, Parquet files) is on one file system of 32 MiB,
/// which something else fills up twice while a page sends; the second time the process is killed then, and started again on
/// the full disk.
/// Guarantees: while it is full, the answer is 503 with `Retry-After`, and the process goes on; when there is room again,
/// events are taken again within five seconds, without a restart; every event that was answered with 204 is in Parquet once,
/// and nothing else is.
#[test]
fn a_disk_that_is_full_of_everything() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let dir = dir.path();
    let place = dir.join("disk");
    let disk = SmallDisk::mount(&place, 32);
    fs::write(disk.seen_from_here().join("pipeline.toml"), pipeline(port, "./spool")).unwrap();
    let start = || {
        let mut command = forebay(&place);
        command.args(["run", "--quiet"]);
        Running::start(dir, port, disk.within(&command))
    };
    let lake = disk.seen_from_here().join("lake");
    let mut running = start();
    let mut page = Page { client: Client::new(running.address()), oracle: Oracle::new(seed()), answered: 0 };
    for round in 0..2 {
        for id in page.oracle.claim(200) {
            assert_eq!(page.post(id).unwrap().status, 204);
        }
        disk.fill();
        let refused = page.post_until_refused();
        if round == 1 {
            running.kill();
            running = start();
            page.client = Client::new(running.address());
        }
        // What the program tidies up is room again, for a moment.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(SECONDS) {
            let id = page.oracle.claim(1).start;
            match page.post(id).unwrap().status {
                204 => disk.fill(),
                status => assert_eq!(status, 503),
            }
            sleep(PAUSE);
        }
        running.runs();
        disk.free();
        page.taken_again(refused);
    }
    let answered = page.answered;
    until("all is delivered", || rows(&lake, "1").len() as u64 >= answered);
    running.stop();
    let verdict = judge(&lake, &page.oracle);
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

//! The power is cut, on a real file system.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use forebay_testkit::oracle::{Oracle, Random};

use crate::beacon::{Client, Running, event, free_port, judge, rows, until};
use crate::disks::ForgetfulDisk;
use crate::harness::{asked, forebay, seed, succeed};

/// So often is the power cut: the short form. `FOREBAY_CUTS` sets it for the long one.
const CUTS: u64 = 6;

/// So many connections send meanwhile, and rest so long before the next event: what a life of a second takes, the next one
/// must be able to deliver, in a build for development too.
const CONNECTIONS: u64 = 8;
const REST: Duration = Duration::from_millis(5);

/// Pages that send an event after the other, each again under its id until it is answered with 204.
struct Pages {
    port: u16,
    oracle: Mutex<Oracle>,
    /// How often the answer was 503.
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Pages {
    fn send(&self) {
        let mut client = Client::new(([127, 0, 0, 1], self.port).into());
        while !self.is_over.load(Ordering::Relaxed) {
            let (id, body) = {
                let mut oracle = self.oracle.lock().unwrap();
                let id = oracle.claim(1).start;
                (id, event(&oracle, id))
            };
            until("an event is answered with 204", || match client.post("/beacon", "", body.as_bytes()) {
                Ok(answer) if answer.status == 503 => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    false
                }
                Ok(answer) => {
                    assert_eq!(answer.status, 204, "{answer:?}");
                    true
                }
                // It is not up yet, or was killed.
                Err(_) => false,
            });
            self.oracle.lock().unwrap().acknowledge([id]);
            sleep(REST);
        }
    }
}

/// Scenario: everything that the program keeps (spool, state, dead letters, Parquet files) is on an ext4 file system whose disk
/// forgets what it was not told to keep. Connections post events, each again until it is answered; six times, or as often as
/// `FOREBAY_CUTS` says, the power is cut at a random moment, one time in four while the program starts; it goes on for a
/// moment on a disk that fails, and is killed unless it has ended. The file system is mounted again, and the program is started on what is left.
/// Guarantees: a file that was written and not synced is lost each time, so the power was cut indeed; every event that was
/// answered with 204 is in Parquet exactly once, and nothing else is; the program starts each time by itself; afterwards the
/// spool holds nothing that is damaged.
#[test]
fn answered_events_survive_power_cuts() {
    let cuts = asked("FOREBAY_CUTS", CUTS);
    let (dir, port, seed) = (tempfile::tempdir().unwrap(), free_port(), seed());
    let dir = dir.path();
    let disk = ForgetfulDisk::mount(dir, 96 + cuts);
    let text = format!(
        r#"
dead_letters.path = "./refused"

[sources.pages]
type = "beacon"
listen = "127.0.0.1:{port}"
spool = {{ directory = "./spool", bytes_max = "16MiB" }}
limits = {{ requests_per_address = 100000, decoded_bytes_max = "1MiB" }}
# A start reads again what is in reach. The events that are sent again come right behind those that they are copies of.
dedupe = {{ ids_max = 2000 }}

[sinks.lake]
type = "parquet"
inputs = ["pages"]
path = "./lake"
batch = {{ age_max = "100ms" }}
"#
    );
    let place = disk.seen_from_here();
    fs::write(place.join("pipeline.toml"), text).unwrap();
    File::open(place.join("pipeline.toml")).unwrap().sync_all().unwrap();
    File::open(&place).unwrap().sync_all().unwrap();
    let command = || {
        let mut command = forebay(&disk.path());
        command.args(["run", "--quiet"]);
        disk.within(&command)
    };
    let pages = Pages {
        port,
        oracle: Mutex::new(Oracle::new(seed)),
        refused: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let mut random = Random::new(seed);
    let mut moment = |millis: f64| Duration::from_millis((random.fraction() * millis) as u64);
    let running = scope(|scope| {
        (0..CONNECTIONS).for_each(|_| drop(scope.spawn(|| pages.send())));
        for cut in 0..cuts {
            let unsynced = place.join(format!("unsynced-{cut}"));
            let cut_off = || {
                File::create(&unsynced).unwrap().write_all(b"unsynced").unwrap();
                disk.cut(seed + cut);
            };
            if cut % 4 == 3 {
                let mut child = command().stderr(Stdio::null()).spawn().unwrap();
                sleep(moment(500.0));
                cut_off();
                sleep(moment(100.0));
                child.kill().unwrap();
                child.wait().unwrap();
            } else {
                let running = Running::start(dir, port, command());
                sleep(moment(1500.0));
                cut_off();
                sleep(moment(300.0));
                // It may have ended by itself: what could not be synced cannot be written again.
                drop(running);
            }
            disk.restore();
            assert!(fs::read(&unsynced).unwrap_or_default().is_empty(), "the power was not cut");
        }
        let running = Running::start(dir, port, command());
        pages.is_over.store(true, Ordering::Relaxed);
        running
    });
    let oracle = pages.oracle.into_inner().unwrap();
    let answered = oracle.claimed();
    let lake = place.join("lake");
    until("all is delivered", || rows(&lake, "count(*)").first().map_or(0, |it| it[0].as_u64().unwrap()) >= answered);
    running.stop();
    let verdict = judge(&lake, &oracle);
    println!("{cuts} cuts, {answered} events answered, {} times 503: {verdict}", pages.refused.into_inner());
    assert!(answered > 100, "only {answered} events were answered");
    assert!(verdict.is_good(), "{verdict}");
    let mut inspect = forebay(&disk.path());
    succeed(&mut disk.within(inspect.args(["spool", "inspect", "./spool"])));
}

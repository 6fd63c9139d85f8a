//! How a run ends: by itself, by a signal, by an error.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Said, files, forebay, python, root, run, signal, succeed};

/// An endless source, fast enough that something is always on its way.
const ENDLESS: &str = r#"
name = "endless"
drain_max = "20s"
dead_letters.path = "./refused"

[sources.lines]
type = "demo"
rate = 50000

[sinks.lake]
type = "parquet"
inputs = ["lines"]
path = "./data"
batch = { rows_max = 3000, age_max = "100ms" }
"#;

fn write(dir: &Path, pipeline: &str) {
    fs::write(dir.join("pipeline.toml"), pipeline).unwrap();
}

/// Runs until something new is delivered, then sends a signal, and gives what the program said and how long the stop took.
fn run_and_stop(dir: &Path, name: &str) -> (Said, Duration) {
    let mut command = forebay(dir);
    command.args(["run", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = files(&dir.join("data")).len();
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while files(&dir.join("data")).len() < before + 5 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is delivered");
        sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    signal(&child, name);
    let said = child.wait_with_output().unwrap().into();
    (said, began.elapsed())
}

/// Scenario: a pipeline without an end gets SIGTERM, is started again, gets SIGINT, and so on.
/// Guarantees: each run delivers what it has read and ends with code 0, well within `drain_max`; all runs together
/// delivered exactly the first rows of the source, none lost and none twice.
#[test]
fn a_signal_lets_everything_arrive() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), ENDLESS);
    let mut delivered = 0;
    for name in ["TERM", "INT", "TERM"] {
        let (said, took) = run_and_stop(dir.path(), name);
        assert_eq!(said.code, Some(0), "SIG{name}: {}", said.err);
        assert!(took < Duration::from_secs(15), "SIG{name}: the stop took {took:?}");
        let summary: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(summary["ending"], "drained", "{summary}");
        assert_eq!(summary["sources"]["lines"]["read"], summary["sinks"]["lake"]["delivered"], "{summary}");
        delivered += summary["sinks"]["lake"]["delivered"].as_u64().unwrap();
    }
    assert!(delivered > 0, "the runs were too short to deliver anything");

    let at_once = tempfile::tempdir().unwrap();
    write(at_once.path(), &ENDLESS.replace("rate = 50000", &format!("rows = {delivered}")));
    succeed(forebay(at_once.path()).arg("run"));
    let data = |it: &tempfile::TempDir| it.path().join("data");
    let compare = root().join("tests/compare.py");
    let found = succeed(Command::new(python()).arg(compare).args([data(&at_once), data(&dir)]));
    let report: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(report["rows"], delivered, "{report}");
    for fault in ["lost", "duplicated", "unexpected"] {
        assert_eq!(report[fault], 0, "{report}");
    }
}

/// Scenario: a sink that cannot go on, since nobody reads the pipe that it prints to; then SIGTERM, and SIGTERM again.
/// Guarantees: the stop takes no longer than `drain_max`, and a second signal ends the process at once.
#[test]
fn a_stuck_sink_does_not_hold_up_the_stop() {
    let stuck = |drain_max: &str| {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = ENDLESS.replace("\"20s\"", drain_max).replace("type = \"parquet\"", "type = \"console\"");
        write(dir.path(), &pipeline.replace("path = \"./data\"\n", ""));
        let mut command = forebay(dir.path());
        command.args(["run", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The first byte says that it prints; the rest stays in the pipe until that is full.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        sleep(Duration::from_millis(1000));
        signal(&child, "TERM");
        (child, dir)
    };
    let ended_within = |mut child: Child, limit: Duration| {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        panic!("the process had not ended after {limit:?}");
    };
    let (child, _dir) = stuck("\"1s\"");
    assert_eq!(ended_within(child, Duration::from_secs(10)), Some(0), "what is left is read again: no error");

    let (child, _dir) = stuck("\"60s\"");
    sleep(Duration::from_millis(500));
    signal(&child, "TERM");
    assert_eq!(ended_within(child, Duration::from_secs(10)), Some(1));
}

/// Scenario: a pipeline that ends by itself; one whose sink's directory is a file; one with a key that does not exist;
/// a file that is not there; and a command that does not exist.
/// Guarantees: 0 is good, 1 is the world, 2 is the file or the command line; what is wrong is said on standard error.
#[test]
fn exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let finite = ENDLESS.replace("rate = 50000", "rows = 100");
    let code = |pipeline: &str, arguments: &[&str]| {
        write(dir, pipeline);
        let said = run(forebay(dir).args(arguments));
        assert!(said.code == Some(0) || !said.err.is_empty(), "{said:?}");
        said.code
    };
    assert_eq!(code(&finite, &["run"]), Some(0));
    assert_eq!(code(&finite, &["check"]), Some(0));
    fs::write(dir.join("file"), "").unwrap();
    let elsewhere = finite.replace("./data", "./file").replace("endless", "elsewhere");
    assert_eq!(code(&elsewhere, &["check"]), Some(0));
    assert_eq!(code(&elsewhere, &["run"]), Some(1));
    let misspelt = finite.replace("rows =", "row =");
    assert_eq!(code(&misspelt, &["check"]), Some(2));
    assert_eq!(code(&misspelt, &["run"]), Some(2));
    assert_eq!(code(&finite, &["run", "nowhere.toml"]), Some(1));
    assert_eq!(code(&finite, &["fly"]), Some(2));
}

//! `kill -9` at random moments.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Random, copy_all, files, forebay, python, root, succeed};

const KILLS: usize = 100;

/// Several deliveries in a short run.
const SMALL: &str = "
[env.small]

[env.small.sinks.realtime_archive.batch]
rows_max = 1000

[env.small.sinks.standard_archive.batch]
rows_max = 500
";

/// A directory with the reference pipeline and an input of its own, which is larger than the example data.
fn workplace(input: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_all(input, &dir.path().join("examples/data"));
    let pipeline = fs::read_to_string(root().join("pipeline.toml")).unwrap();
    fs::write(dir.path().join("pipeline.toml"), pipeline + SMALL).unwrap();
    dir
}

fn command(dir: &Path) -> Command {
    let mut command = forebay(dir);
    command.args(["run", "--env", "small", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Waits for so long, or for the end.
fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let began = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return false;
        }
        sleep(left.min(Duration::from_millis(5)));
    }
}

/// All dead letters, whatever the files that they are in.
fn dead_letters(dir: &TempDir) -> Vec<String> {
    let letters = files(&dir.path().join("data/refused"));
    let mut letters: Vec<String> = letters
        .into_iter()
        .filter(|it| it.extension().is_some_and(|it| it == "jsonl"))
        .flat_map(|it| fs::read_to_string(it).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    letters.sort();
    letters
}

/// Scenario: the reference pipeline over many thousand lines; a hundred times the process gets SIGKILL at a moment
/// chosen at random over the time that a run takes, and is started again in the same place until it finishes.
/// Guarantees: every row is delivered once: none lost, none twice, none that should not be there; and every refused
/// row is in the dead letters once.
#[test]
fn killed_a_hundred_times() {
    let mut random = Random::new();
    let input = tempfile::tempdir().unwrap();
    let enlarge = root().join("tests/enlarge.py");
    succeed(Command::new(python()).arg(enlarge).arg(root().join("examples/data")).arg(input.path()));

    let undisturbed = workplace(input.path());
    succeed(&mut command(undisturbed.path()));
    // How long a run takes at least. Other tests are at work too, so this is learnt as runs go by.
    let mut duration = Duration::MAX;
    let mut finished = Vec::new();
    let mut kills = 0;
    while kills < KILLS {
        let dir = workplace(input.path());
        for start in 0.. {
            let began = Instant::now();
            let mut child = command(dir.path()).spawn().unwrap();
            let measures = finished.is_empty();
            if !measures && kills < KILLS && !ends_within(&mut child, duration.mul_f64(random.fraction())) {
                child.kill().unwrap();
                kills += 1;
            }
            let status = child.wait().unwrap();
            if status.success() {
                if start == 0 {
                    duration = duration.min(began.elapsed());
                }
                break;
            }
            assert_eq!(status.code(), None, "the run failed by itself");
        }
        finished.push(dir);
    }

    println!("{kills} kills in {} runs of {} ms", finished.len(), duration.as_millis());
    for log in ["realtime", "standard"] {
        let output = |dir: &TempDir| dir.path().join("data").join(log);
        let mut compare = Command::new(python());
        compare.arg(root().join("tests/compare.py")).arg(output(&undisturbed)).args(finished.iter().map(output));
        let report: serde_json::Value = serde_json::from_str(&succeed(&mut compare).out).unwrap();
        println!("{log}: {report}");
        assert_eq!(report["rows"], report["distinct"], "each row of the input must be another: {report}");
        for fault in ["lost", "duplicated", "unexpected"] {
            assert_eq!(report[fault], 0, "{report}");
        }
    }
    let expected = dead_letters(&undisturbed);
    assert!(!expected.is_empty(), "the input must hold lines that are refused");
    for dir in &finished {
        assert_eq!(dead_letters(dir), expected, "other dead letters than those of an undisturbed run");
    }
}

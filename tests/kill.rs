//! `kill -9` at random moments.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Random, forebay, python, quickstart, root, succeed};

const KILLS: usize = 100;

/// A directory with the reference pipeline and an input of its own, which is larger than the example data.
fn workplace(input: &Path) -> tempfile::TempDir {
    let dir = quickstart();
    let data = dir.path().join("examples/data");
    fs::remove_dir_all(&data).unwrap();
    crate::harness::copy_all(input, &data);
    // Several deliveries in a short run.
    let small = "\n[env.small.sinks.events.batch]\nrows_max = 1500\n";
    let pipeline = dir.path().join("pipeline.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&pipeline, text + small).unwrap();
    dir
}

fn command(dir: &Path) -> Command {
    let mut command = forebay(dir);
    command.args(["run", "--env", "small", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Scenario: the reference pipeline over many thousand lines; a hundred times the process gets SIGKILL at a moment
/// chosen at random over the time that a run takes, and is started again in the same place until it finishes.
/// Guarantees: every row is delivered once: none lost, none twice, none that should not be there; and every refused
/// row is in the dead letters.
#[test]
fn killed_a_hundred_times() {
    let mut random = Random::new();
    let input = tempfile::tempdir().unwrap();
    let enlarge = root().join("tests/enlarge.py");
    succeed(Command::new(python()).arg(enlarge).arg(root().join("examples/data")).arg(input.path()));

    let undisturbed = workplace(input.path());
    succeed(&mut command(undisturbed.path()));
    // The second time, the program is in the page cache.
    let measured = workplace(input.path());
    let began = Instant::now();
    succeed(&mut command(measured.path()));
    let duration = began.elapsed();

    let mut finished = vec![measured];
    let mut kills = 0;
    while kills < KILLS {
        let dir = workplace(input.path());
        loop {
            let mut child = command(dir.path()).spawn().unwrap();
            if kills < KILLS {
                sleep(Duration::from_secs_f64(duration.as_secs_f64() * random.fraction()));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    kills += 1;
                }
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            assert_eq!(status.code(), None, "the run failed by itself");
        }
        finished.push(dir);
    }

    let data = |dir: &tempfile::TempDir| dir.path().join("data");
    let compare = Command::new(python())
        .arg(root().join("tests/compare.py"))
        .arg(data(&undisturbed))
        .args(finished.iter().map(data))
        .output()
        .unwrap();
    assert!(compare.status.success(), "{}", String::from_utf8_lossy(&compare.stderr));
    let report: serde_json::Value = serde_json::from_slice(&compare.stdout).unwrap();
    println!("{kills} kills, {} ms a run: {report}", duration.as_millis());
    assert_eq!(report["rows"], report["distinct"], "each row of the input must be another: {report}");
    for fault in ["lost", "duplicated", "unexpected"] {
        assert_eq!(report[fault], 0, "{report}");
    }
}

//! What a newcomer does first, judged by readers that share no code with us.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::harness::{files, forebay, python, quickstart, root, succeed};

/// Every file that a reader could see, with its content and the time of its last change.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let content = |path: PathBuf| {
        let modified = path.metadata().unwrap().modified().unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, (bytes, modified))
    };
    let is_state = |path: &PathBuf| path.starts_with(dir.join(".forebay"));
    files(dir).into_iter().filter(|it| !is_state(it)).map(content).collect()
}

/// Scenario: `forebay run` on the example data, with no account and no server; then once more.
/// Guarantees: DuckDB and PyArrow find exactly the rows, columns, types, values and partitions that an implementation
/// in another language works out from the raw lines, and the dead letters name the lines that are none. The second run finds nothing new, says so, and touches no file.
#[test]
fn every_row_is_there_and_right() {
    let dir = quickstart();
    let said = succeed(forebay(dir.path()).args(["run", "--json"]));
    let summary: serde_json::Value = serde_json::from_str(&said.out).unwrap();

    let reference = root().join("tests/reference.py");
    let found = succeed(Command::new(python()).arg(reference).arg(dir.path()));
    println!("{}", found.out);
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    let mut refused = 0;
    for log in ["realtime", "standard"] {
        let expected = &found[log]["expected"];
        assert!(expected.as_u64().unwrap() > 1000, "too few rows to prove anything: {found}");
        assert_eq!(summary["sinks"][format!("{log}_archive")]["delivered"], *expected, "{summary}");
        refused += found[log]["refused"].as_u64().unwrap();
    }
    assert_eq!(summary["dead_letters"]["kept"], refused, "{summary}");

    let before = contents(&dir.path().join("data"));
    let again = succeed(forebay(dir.path()).arg("run"));
    assert!(again.err.contains("nothing new"), "{}", again.err);
    let json = succeed(forebay(dir.path()).args(["run", "--json"]));
    let summary: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(summary["nothing_new"], true, "{summary}");
    assert!(before == contents(&dir.path().join("data")), "a run that found nothing new changed the output");
}

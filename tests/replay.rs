//! Dead letters that go through the pipeline again.

use std::fs;
use std::path::Path;

use expect_test::expect;
use serde_json::Value;

use crate::harness::{files, forebay, run, succeed};

/// Two ways from one source: one of them understands only numbers.
const PIPELINE: &str = r#"
name = "orders"
dead_letters.path = "./refused"

[sources.lines]
type = "s3"
path = "./in"

[transforms.parse]
type = "regex"
inputs = ["lines"]
pattern = '^(?P<id>\d+) (?P<amount>\S+)$'
types = { id = "i64", amount = "i32" }

[sinks.all]
type = "parquet"
inputs = ["lines"]
path = "./all"

[sinks.parsed]
type = "parquet"
inputs = ["parse"]
path = "./parsed"
"#;

/// Rows of a directory of Parquet files, by a reader of another make.
fn count(dir: &Path, of: &str, what: &str) -> Value {
    let script = format!(
        "import duckdb; print(duckdb.execute(\"SELECT {what} FROM read_parquet('{}/{of}/**/*.parquet')\").fetchone()[0])",
        dir.display()
    );
    let said = succeed(std::process::Command::new(crate::harness::python()).args(["-c", &script]));
    said.out.trim().parse().unwrap()
}

fn letters(dir: &Path) -> Vec<Value> {
    let texts = files(&dir.join("refused")).into_iter().map(|it| fs::read_to_string(it).unwrap());
    texts.flat_map(|it| it.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

/// Scenario: a transform refuses some of a thousand rows; another sink has them all. A dry run; a replay that changes
/// nothing, since all are refused again; the file is mended so that most fit, and the replay is killed again and again
/// until one of them comes to its end; then once more.
/// Guarantees: the mended rows are in the sink behind the transform once, the other sink gets none of them again, what is
/// refused for good is kept with its first place and the new reason, and in the end only that is left.
#[test]
fn refused_rows_come_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    let line = |n: u32| match n % 10 {
        3 => format!("{n} {n}.5\n"),
        7 => format!("{n} no number\n"),
        _ => format!("{n} {n}\n"),
    };
    fs::write(dir.join("in/orders.log"), (0..1_000).map(line).collect::<String>()).unwrap();
    fs::write(dir.join("pipeline.toml"), PIPELINE).unwrap();

    let ran = succeed(forebay(dir).args(["run", "--json"]));
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["sinks"]["parsed"]["delivered"], 800, "{summary}");
    assert_eq!(letters(dir).len(), 200);
    let first = letters(dir);

    let dry = succeed(forebay(dir).args(["replay", "--dry-run", "--component", "parse"]));
    expect![[r#"
        200 dead letters would be replayed
    "#]]
    .assert_eq(&dry.out);
    let same = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        200 dead letters replayed: 0 rows delivered, 200 refused again and kept
    "#]]
    .assert_eq(&same.out);
    let again = letters(dir);
    let by_place = |mut letters: Vec<Value>| {
        letters.sort_by_key(|it| it["position"].as_str().unwrap().parse::<u64>().unwrap());
        letters
    };
    assert_eq!(by_place(again), by_place(first));

    // Amounts may have a fraction now.
    fs::write(dir.join("pipeline.toml"), PIPELINE.replace("\"i32\"", "\"f64\"")).unwrap();
    let mut killed = 0;
    for millis in (5..3_000).step_by(7) {
        let mut child = forebay(dir).args(["replay", "--reason", "", "--json"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
    }
    println!("killed {killed} times");
    let last = succeed(forebay(dir).args(["replay", "--reason", ""]));
    expect![[r#"
        100 dead letters replayed: 0 rows delivered, 100 refused again and kept
    "#]]
    .assert_eq(&last.out);

    assert_eq!(count(dir, "all", "count(*)"), 1_000);
    assert_eq!(count(dir, "parsed", "count(*)"), 900);
    assert_eq!(count(dir, "parsed", "count(DISTINCT id)"), 900);
    let left = letters(dir);
    assert_eq!(left.len(), 100);
    let one = left.iter().find(|it| it["payload"] == "7 no number").unwrap();
    expect![[r#"
        {
          "payload": "7 no number",
          "encoding": "text",
          "reason": "does not match the pattern",
          "component": "parse",
          "source": "lines",
          "partition": "orders.log@7181b2fcdf07fd1e3f0f2f2402d6da83:8591",
          "position": "8",
          "pipeline": "orders",
          "version": "c899bacb12197f04"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(one).unwrap());
    assert!(!dir.join(".forebay/orders/replay").try_exists().unwrap(), "{:?}", files(&dir.join(".forebay")));
}

/// Scenario: letters of another pipeline and of nodes that are not in the file; a file without dead letters; a replay of
/// other letters than that which was interrupted.
/// Guarantees: what cannot be replayed is left, with the reason; the rest says what to do.
#[test]
fn what_cannot_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("refused")).unwrap();
    let letter = |pipeline: &str, component: &str| {
        format!(
            r#"{{"payload":"1 2","encoding":"text","reason":"odd","component":"{component}","source":"lines","partition":"a","position":"1","pipeline":"{pipeline}"}}"#
        )
    };
    let kept = [letter("invoices", "parse"), letter("orders", "enrich"), letter("orders", "parse")].join("\n");
    fs::write(dir.join("refused/a.jsonl"), kept).unwrap();
    fs::write(dir.join("pipeline.toml"), PIPELINE).unwrap();
    let replayed = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        1 dead letter replayed: 1 row delivered, 0 refused again and kept
        left where they are: 1 letter, of the pipeline `invoices`
        left where they are: 1 letter, the file has no node `enrich`
    "#]]
    .assert_eq(&replayed.out);
    assert_eq!(letters(dir).len(), 2);

    fs::create_dir_all(dir.join(".forebay/orders/replay")).unwrap();
    let journal = r#"{"choice":{"component":"parse","reason":null},"from":"./refused","files":["a"]}"#;
    fs::write(dir.join(".forebay/orders/replay/journal.json"), journal).unwrap();
    let other = run(forebay(dir).arg("replay"));
    fs::write(dir.join("pipeline.toml"), PIPELINE.replace("dead_letters.path = \"./refused\"", "")).unwrap();
    let without = run(forebay(dir).arg("replay"));
    expect![[r#"
        Some(1) error: a replay of other letters was begun and is not finished
        hint: finish it first: `forebay replay --from ./refused --component 'parse'`

        Some(2) error: rows that `lines` refuses go nowhere
         --> pipeline.toml:5:10
          |
        5 | [sources.lines]
          |          ^^^^^
          |
          = help: keep them with a table `[dead_letters]` and in it `path = "./refused"`, or write `on_refused = "stop"` for each node
    "#]].assert_eq(&format!("{:?} {}\n{:?} {}", other.code, other.err, without.code, without.err));
}

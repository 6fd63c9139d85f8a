//! From Kinesis to ClickHouse and to Parquet, both at once, under faults: what went in is what came out.

mod churn;
mod faults;
mod library;
mod outages;
mod resharding;
mod shared;
mod sinks;
mod world;
mod zombies;

use std::fs;
use std::path::Path;
use std::time::Duration;

use forebay_testkit::oracle::Oracle;
use forebay_testkit::proof::{
    Due, Settings, judge_clickhouse, judge_letters, judge_parquet, killed, parquet_rows, settle, table_rows,
};
use forebay_testkit::services::ClickHouse;

use crate::harness::{asked, root, seed};

/// The program.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_forebay"))
}

/// Waits until every row is somewhere, and judges all places: none lost, duplicated, unexpected or corrupted.
fn check(clickhouse: &ClickHouse, lake: &Path, letters: &Path, oracle: &Oracle) {
    wait(clickhouse, lake, letters, oracle);
    let verdicts = [
        ("clickhouse", judge_clickhouse(clickhouse, oracle)),
        ("parquet", judge_parquet(lake, oracle)),
        ("dead letters", judge_letters(letters, oracle)),
    ];
    let told: String = verdicts.iter().map(|(place, verdict)| format!("{place}: {verdict}\n")).collect();
    println!("{told}");
    assert!(verdicts.iter().all(|it| it.1.is_good()), "{told}");
}

/// Waits until every row is somewhere.
fn wait(clickhouse: &ClickHouse, lake: &Path, letters: &Path, oracle: &Oracle) {
    let due = Due::of(oracle);
    settle(due.table, || table_rows(clickhouse));
    settle(due.lake, || parquet_rows(lake));
    settle(due.letters, || judge_letters(letters, oracle).rows);
}

/// Scenario: rows keep coming into a stream of four shards, in plain and in aggregated records, some of them wrong in one of
/// seven ways, which the source, the transform, the sink or ClickHouse itself must refuse; shards are split and merged; the program, which writes them to ClickHouse and to Parquet, is
/// killed at a random moment and started again, twelve times, and stopped by SIGTERM four times; then it runs until
/// everything is there.
/// Guarantees: ClickHouse and Parquet have every row once, intact, and nothing else; the dead letters have every row that
/// was refused, once, as it was, with who refused it, why, and where it stands. A stop comes to its end in order.
#[test]
fn killed_while_rows_come() {
    let settings = Settings {
        program: program(),
        seed: seed(),
        kills: 12,
        stops: 4,
        rows: 60_000,
        runs: Duration::from_millis(200)..Duration::from_millis(2_500),
        tell: &|it| println!("{it}"),
    };
    let killed = killed(&settings);
    println!("{killed}");
    assert!(killed.is_good(), "{killed}");
    assert_eq!(killed.rows, settings.rows);
    assert!(killed.runs_with_rows > 2, "the program was ended before it had done anything: {killed}");
}

/// Scenario: the page that says which failure is shown by which test.
/// Guarantees: every test that it names is there, in the file that it names.
#[test]
fn the_page_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("RELIABILITY.md")).unwrap();
    let mut named = 0;
    for line in page.lines() {
        // A link to a file, and behind it the names of tests in it.
        for (file, rest) in line.split("](").skip(1).filter_map(|it| it.split_once(')')) {
            let Some(names) = rest.strip_prefix(": ").filter(|_| file.ends_with(".rs")) else { continue };
            let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let names = names.split(';').next().unwrap_or_default();
            for name in names.split('`').skip(1).step_by(2) {
                assert!(text.contains(&format!("fn {name}(")), "{file} has no test `{name}`");
                named += 1;
            }
        }
    }
    assert!(named > 40, "only {named} tests were found: does this test still understand the page?");
}

//! What came out, read by others.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::poison::{self, Poison};
use super::{TABLE, letter};
use crate::oracle::{Judge, Oracle, Verdict};
use crate::services::{ClickHouse, python};

/// A reader of Parquet that shares no code with ours.
const DUCKDB: &str = "duckdb==2.0.0";

/// Judges the table: it is to have every row that is not wrong.
pub fn judge_clickhouse(clickhouse: &ClickHouse, oracle: &Oracle) -> Verdict {
    let mut judge = oracle.judge(|id| Poison::of(id).is_none());
    let columns = "id, toUnixTimestamp64Milli(moment), host, path, status, bytes, seal";
    clickhouse.each_line(&format!("SELECT {columns} FROM {TABLE} FORMAT TSVRaw"), |line| judge.saw(line));
    judge.verdict()
}

/// Judges the Parquet files under a directory: they are to have also what only the table does not take.
pub fn judge_parquet(directory: &Path, oracle: &Oracle) -> Verdict {
    let mut judge = oracle.judge(|id| Poison::of(id).is_none_or(Poison::is_of_table));
    let columns = "id, epoch_ms(moment), host, path, status, bytes, seal";
    let said = format!(
        "COPY (SELECT {columns} FROM {}) TO '/dev/stdout' (FORMAT csv, DELIMITER '\\t', HEADER false, QUOTE '')",
        files(directory)
    );
    duckdb(&said, |line| saw(&mut judge, oracle, line.as_bytes()));
    judge.verdict()
}

/// How many rows the Parquet files under a directory have.
pub fn parquet_rows(directory: &Path) -> u64 {
    let mut rows = 0;
    // No table can be made of no files.
    if has_parquet(directory) {
        let count =
            format!("COPY (SELECT count(*) FROM {}) TO '/dev/stdout' (FORMAT csv, HEADER false)", files(directory));
        duckdb(&count, |line| rows = line.parse().expect("a count is a number"));
    }
    rows
}

/// Judges the dead letters under a directory: every row that is wrong, once, as it was put, with the reason, the component
/// that refused it and its place in the stream; and nothing else.
pub fn judge_letters(directory: &Path, oracle: &Oracle) -> Verdict {
    let mut judge = oracle.judge(|id| Poison::of(id).is_some());
    for file in all_files(directory).into_iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl")) {
        for line in fs::read_to_string(file).expect("a file can be read").lines() {
            let letter: serde_json::Value = serde_json::from_str(line).expect("a letter is JSON");
            let row = letter::row(&letter);
            if let Some(poison) = id_of(&row).and_then(Poison::of) {
                letter::check(&letter, poison);
            }
            saw(&mut judge, oracle, &row);
        }
    }
    judge.verdict()
}

/// Shows a judge a row, which may be there as it was put: wrong.
fn saw(judge: &mut Judge<'_>, oracle: &Oracle, row: &[u8]) {
    match id_of(row).filter(|it| Poison::of(*it).is_some()) {
        Some(id) if poison::row(oracle, id) == row => judge.saw(&oracle.line(id)),
        // A row that was wrong and is not as it was put: corrupted, whatever it is now.
        Some(id) => judge.saw(&format!("{id}\t{}", String::from_utf8_lossy(row))),
        None => judge.saw(&String::from_utf8_lossy(row)),
    }
}

fn id_of(row: &[u8]) -> Option<u64> {
    let id = row.split(|it| *it == b'\t').next()?;
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn files(directory: &Path) -> String {
    format!("read_parquet('{}/**/*.parquet', hive_partitioning = true)", directory.display())
}

/// Runs a statement in a Python, and hands on every line that it prints.
fn duckdb(statement: &str, mut each: impl FnMut(&str)) {
    // What takes some seconds has a progress bar, which would go among the lines.
    let program = "import duckdb, sys; duckdb.execute('SET enable_progress_bar = false'); duckdb.execute(sys.argv[1])";
    let mut command = Command::new(python(&[DUCKDB]));
    command.args(["-c", program, statement]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let out = child.stdout.take().expect("it is piped");
    for line in BufReader::with_capacity(1 << 20, out).split(b'\n') {
        each(&String::from_utf8_lossy(&line.expect("a pipe can be read")));
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{statement}: {status}");
}

fn has_parquet(directory: &Path) -> bool {
    all_files(directory).iter().any(|it| it.extension().is_some_and(|it| it == "parquet"))
}

/// All files under a directory; none if it is not there. A file may go while it is looked at.
fn all_files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(all_files(&entry.path())),
            _ => all.push(entry.path()),
        }
    }
    all
}

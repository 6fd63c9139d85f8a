//! What Hive tables make of the files, by the statements that the program prints.

use std::fs;
use std::path::Path;
use std::process::Command;

use forebay_testkit::services::spark;
use serde_json::Value;

use crate::harness::{forebay, python, quickstart, root, succeed};

/// Carries out what `forebay ddl` prints for tables of a pipeline that ran in a directory: `--dialect duckdb` in DuckDB, and
/// `--dialect athena` in Spark with a Hive metastore. There partitions with names are found by `MSCK REPAIR TABLE`; others are
/// added, those that Athena would work out. A table: its name, its sink, and where its files are.
///
/// Fails unless Spark, by its own reader and by Hive's, DuckDB and PyArrow agree on columns, types, partitions and the values
/// of each row. Gives what they found: for each table the partitions with their rows.
pub fn agree(dir: &Path, pipeline: &str, tables: &[(&str, &str, &str)]) -> Value {
    let mut arguments = Vec::new();
    for (table, sink, files) in tables {
        for (dialect, mark) in [("athena", '`'), ("duckdb", '"')] {
            let said = succeed(forebay(dir).args(["ddl", "--dialect", dialect, "--sink", sink, pipeline]));
            let statement = said.out.replace(&format!("{mark}{sink}{mark}"), &format!("{mark}{table}{mark}"));
            fs::write(dir.join(format!("{table}.{dialect}.sql")), statement).unwrap();
        }
        arguments.push(format!("{table}={files}"));
    }
    let read = |interpreter, reader: &str| -> Value {
        let mut command = Command::new(interpreter);
        command.arg(root().join("tests/spark.py")).arg(reader).arg(dir).args(&arguments);
        command.current_dir(dir).env("TZ", "UTC").env("SPARK_LOCAL_IP", "127.0.0.1");
        let said = succeed(&mut command);
        let found = said.out.lines().last().unwrap_or_default();
        serde_json::from_str(found).unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err))
    };
    let files = read(python(), "files");
    let others = [("DuckDB", read(python(), "duckdb")), ("Spark", read(spark(), "hive"))];
    let mut partitions = serde_json::Map::new();
    for (table, ..) in tables {
        for (name, found) in &others {
            for table in [table.to_string(), format!("{table}_serde")] {
                for part in ["types", "partitions", "rows"] {
                    assert_eq!(found[&table][part], files[&table][part], "{name}, {table}: {part}");
                }
            }
        }
        partitions.insert(table.to_string(), files[table]["partitions"].clone());
    }
    partitions.into()
}

/// Scenario: `forebay run` on the example data; its tables are made in Spark by the statements of `forebay ddl`.
/// Guarantees: Spark finds the same columns, types, partitions and values in each row as PyArrow and DuckDB find in the
/// files, with its own reader, and with Hive's, where times are declared as numbers.
#[test]
fn hive_tables_are_the_files() {
    let dir = quickstart();
    succeed(forebay(dir.path()).arg("run"));
    let tables = [("realtime", "realtime_archive", "data/realtime"), ("standard", "standard_archive", "data/standard")];
    let partitions = agree(dir.path(), "pipeline.toml", &tables);
    for (table, ..) in tables {
        assert!(partitions[table].as_object().is_some_and(|it| !it.is_empty()), "{partitions}");
    }
}

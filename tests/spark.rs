//! What Hive tables make of the files, by the statements that the program prints.

use std::fs;
use std::process::Command;

use forebay_testkit::services::spark;

use crate::harness::{forebay, python, quickstart, root, succeed};

/// Scenario: `forebay run` on the example data; the statements of `forebay ddl --dialect athena` are carried out in Spark
/// with a Hive metastore, and the partitions found by `MSCK REPAIR TABLE`.
/// Guarantees: Spark finds the same columns, types, partitions and values in each row as PyArrow finds in the files, with
/// its own reader, and with Hive's, where times are declared as numbers.
#[test]
fn hive_tables_are_the_files() {
    let dir = quickstart();
    succeed(forebay(dir.path()).arg("run"));
    for log in ["realtime", "standard"] {
        let sink = format!("{log}_archive");
        let said = succeed(forebay(dir.path()).args(["ddl", "--dialect", "athena", "--sink", &sink]));
        fs::write(dir.path().join(format!("{log}.sql")), said.out.replace(&format!("`{sink}`"), &format!("`{log}`")))
            .unwrap();
    }
    let script = root().join("tests/spark.py");
    let read = |interpreter, reader: &str| -> serde_json::Value {
        let mut command = Command::new(interpreter);
        command
            .arg(&script)
            .arg(reader)
            .arg(dir.path())
            .current_dir(dir.path())
            .env("TZ", "UTC")
            .env("SPARK_LOCAL_IP", "127.0.0.1");
        let said = succeed(&mut command);
        let found = said.out.lines().last().unwrap_or_default();
        serde_json::from_str(found).unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err))
    };
    let files = read(python(), "files");
    let hive = read(spark(), "hive");
    for log in ["realtime", "realtime_serde", "standard", "standard_serde"] {
        assert!(files[log]["partitions"].as_object().is_some_and(|it| !it.is_empty()), "{files}");
        for part in ["types", "partitions", "rows"] {
            assert_eq!(hive[log][part], files[log][part], "{log}: {part}");
        }
    }
}

//! The playground plays.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::process::Command;

use serde_json::Value;

/// Scenario: visitors come for a few seconds, their lines put one by one, and aggregated at a higher rate.
/// Guarantees: `examples/cloudfront-clickhouse.toml` takes every line from Kinesis to ClickHouse once, without a hand on it.
#[test]
fn every_line_arrives_once() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for more in [&["--rate", "300"][..], &["--rate", "3000", "--aggregate", "40", "--shards", "2"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_playground"));
        let output = command.current_dir(root).args(["--seconds", "4", "--json"]).args(more).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{more:?}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
        let result: Value = serde_json::from_str(&said).unwrap();
        let put = result["put"].as_u64().unwrap();
        assert!(put > 1_000, "too few to prove anything: {result}");
        assert_eq!((&result["seen"], &result["different"]), (&put.into(), &put.into()), "{result}");
    }
}

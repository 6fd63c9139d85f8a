//! How many INSERTs a table of ClickHouse gets of rows that come a few at a time.

use std::fs;
use std::time::Instant;

use forebay_testkit::services::ClickHouse;

use crate::harness::{forebay, succeed};

const ROWS: u64 = 900;
const ROWS_A_SECOND: u64 = 300;

/// Takes [`ROWS`] lines into a table of their own, and says how many INSERTs that were, and in how many seconds.
fn inserts(server: &ClickHouse, batch: &str) -> (u64, f64) {
    let (dir, database, endpoint) = (tempfile::tempdir().unwrap(), server.database(), server.endpoint());
    let (user, password) = (ClickHouse::USER, ClickHouse::PASSWORD);
    let pipeline = format!(
        "dead_letters.path = './refused'\n[sources.lines]\ntype = 'demo'\nrows = {ROWS}\nrate = {ROWS_A_SECOND}\nfields = ['sc-status']\n\
         [sinks.table]\ntype = 'clickhouse'\ninputs = ['lines']\nendpoint = '{endpoint}'\ndatabase = '{database}'\n\
         table = 'lines'\nuser = '{user}'\npassword = '{password}'\ncreate = true\norder_by = []\n\
         {batch}\n"
    );
    fs::write(dir.path().join("pipeline.toml"), pipeline).unwrap();
    let begun = Instant::now();
    succeed(forebay(dir.path()).arg("run"));
    let took = begun.elapsed().as_secs_f64();
    let counts = server.query(&format!("SELECT count(), uniqExact(_delivery) FROM {database}.lines"));
    let (rows, inserts) = counts.split_once('\t').unwrap();
    assert_eq!(rows, ROWS.to_string());
    (inserts.parse().unwrap(), took)
}

/// Scenario: 300 rows a second come for three seconds, a few at a time, with the bounds of a delivery that the sink has by
/// itself, and with others.
/// Guarantees: by default, and with any `age_max`, there are no more INSERTs than `interval_min` lets through; what is to
/// wait for a minute is one INSERT; without `interval_min` there are as many as the source gives.
#[test]
fn inserts_are_few_however_the_rows_come() {
    let server = ClickHouse::shared();
    let mut most = 0;
    for (batch, seconds) in [("", 0.75), ("batch = { age_max = '1s' }", 1.0), ("batch = { age_max = '60s' }", 60.0)] {
        let (inserts, took) = inserts(server, batch);
        // The first one goes at once if it need not wait, and the last one when the input ends.
        let let_through = (took / seconds) as u64 + if seconds == 60.0 { 1 } else { 2 };
        assert!(inserts <= let_through, "{batch}: {inserts} INSERTs in {took} s");
        most = most.max(inserts);
    }
    let (inserts, took) = inserts(server, "batch = { interval_min = '0ms' }");
    assert!(inserts >= most, "{inserts} INSERTs in {took} s");
}

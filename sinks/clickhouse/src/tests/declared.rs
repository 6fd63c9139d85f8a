//! Tables that a file declares.

use expect_test::expect;
use forebay_api::{SinkConfig, Wrong};

use super::plan::{config, schema};
use crate::declared::tables;

const LOGS: &str = "\
-- What people see; CREATE TABLE in a comment is none.
CREATE DATABASE IF NOT EXISTS cdn;
/* CREATE TABLE cdn.old (a String) */
CREATE TABLE IF NOT EXISTS `cdn`.\"logs\" ON CLUSTER '{cluster}'
(
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)), -- when, and in which zone
    `c_ip` IPv6,
    sc_status Enum16('ok, (fine)' = 200, 'it''s gone' = 404) DEFAULT 'ok, (fine)',
    cs_host LowCardinality(Nullable(String)) COMMENT 'a, b',
    cs_method String NULL,
    `user_agent.original` String NOT NULL,
    sc_bytes UInt64,
    day DATE MATERIALIZED toDate(timestamp),
    tags Array(LowCardinality(String)),
    guessed DEFAULT concat('a', ')'),
    labels.name Array(String),
    _delivery LowCardinality(String),
    INDEX hosts cs_host TYPE bloom_filter(0.01) GRANULARITY 4,
    CONSTRAINT sane CHECK sc_bytes < 1000000,
    PROJECTION by_ip (SELECT * ORDER BY c_ip),
    PRIMARY KEY (cs_host)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/logs', '{replica}')
ORDER BY (cs_host, timestamp);
CREATE MATERIALIZED VIEW cdn.view TO cdn.hosts (cs_host String) AS SELECT cs_host FROM cdn.logs;
create or replace table hosts (`a``b` String, c UInt8);
";

/// Scenario: a file of statements with everything that may stand in them.
/// Guarantees: of the tables, the columns are known with their types, and those that the server makes; the rest is passed
/// over; what has no columns or no end is an error.
#[test]
fn statements() {
    let mut printed = String::new();
    for table in tables(LOGS).unwrap() {
        printed.push_str(&format!("{:?} {}\n", table.database, table.name));
        for it in table.columns {
            printed.push_str(&format!("    {}: {} {}\n", it.name, it.type_text, it.default_kind));
        }
    }
    for wrong in [
        "CREATE TABLE",
        "CREATE TABLE a",
        "CREATE TABLE a AS b",
        "CREATE TABLE a ENGINE = Memory AS SELECT (1)",
        "CREATE TABLE a (b String",
        "CREATE TABLE a (b Enum8('c' = 1)",
        "CREATE TABLE a (b String, c '",
        "CREATE TABLE `",
    ] {
        printed.push_str(&format!("{wrong}: {}\n", tables(wrong).unwrap_err()));
    }
    expect![[r#"
        Some("cdn") logs
            timestamp: DateTime64(3, 'UTC') 
            c_ip: IPv6 
            sc_status: Enum16('ok, (fine)' = 200, 'it''s gone' = 404) DEFAULT
            cs_host: LowCardinality(Nullable(String)) 
            cs_method: Nullable(String) 
            user_agent.original: String 
            sc_bytes: UInt64 
            day: DATE MATERIALIZED
            tags: Array(LowCardinality(String)) 
            guessed:  DEFAULT
            labels.name: Array(String) 
            _delivery: LowCardinality(String) 
        None hosts
            a`b: String 
            c: UInt8 
        CREATE TABLE: `CREATE TABLE` has no name behind it
        CREATE TABLE a: the statement of `a` has no list of columns
        CREATE TABLE a AS b: the statement of `a` has no list of columns
        CREATE TABLE a ENGINE = Memory AS SELECT (1): the statement of `a` has no list of columns
        CREATE TABLE a (b String: the statement of `a` has no end
        CREATE TABLE a (b Enum8('c' = 1): the statement of `a` has no end
        CREATE TABLE a (b String, c ': the statement of `a` has no end
        CREATE TABLE `: the statement of `` has no list of columns
    "#]]
    .assert_eq(&printed);
}

/// Scenario: tables that the rows fit, and that they do not; files that are not there, or have other tables.
/// Guarantees: it is known without a server, with the column and what can be done.
#[test]
fn rows_and_declared_tables() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tables.sql");
    let path_text = path.to_str().unwrap().to_owned();
    let fits = LOGS.replace("day DATE", "cs_uri_stem String, time_taken Float64, secure Bool, day DATE");
    let cases = [
        ("", fits.clone()),
        ("omit = ['cs_uri_stem', 'time_taken', 'secure']", LOGS.to_owned()),
        ("", LOGS.to_owned()),
        ("evolve = 'add_columns'", LOGS.to_owned()),
        ("", fits.replace("c_ip` IPv6", "c_ips` IPv6")),
        (
            "",
            fits.replace("sc_bytes UInt64", "sc_bytes Map(String, String)")
                .replace("secure Bool", "secure Array(Bool)"),
        ),
        ("", fits.replace("_delivery LowC", "_deliveries LowC")),
        ("exactly_once = false", fits.replace("_delivery LowC", "_deliveries LowC")),
        ("", fits.replace("`cdn`.", "`other`.")),
        ("", "SELECT 1".to_owned()),
        ("", "CREATE TABLE logs".to_owned()),
        ("create = true", fits.clone()),
        ("ddl = 'nowhere.sql'", fits.clone()),
    ];
    let mut printed = String::new();
    for (keys, text) in cases {
        std::fs::write(&path, text).unwrap();
        let ddl = if keys.contains("ddl = ") { String::new() } else { format!("ddl = '{path_text}'") };
        let answer = match config(&format!("database = 'cdn'\n{ddl}\n{keys}")).plan(&schema()) {
            Ok(()) => "fits".to_owned(),
            Err(error) => {
                let Wrong { key, what, label, hint } = error.downcast_ref::<Wrong>().unwrap();
                let more = [label, hint].into_iter().flatten().map(|it| format!(" ({it})")).collect::<String>();
                format!("[{key}] {what}{more}").replace(&path_text, "tables.sql")
            }
        };
        printed.push_str(&format!("{keys}: {answer}\n"));
    }
    expect![[r#"
        : fits
        omit = ['cs_uri_stem', 'time_taken', 'secure']: fits
        : [ddl] table `cdn`.`logs` has no columns `cs_uri_stem`, `time_taken`, `secure` (add them, by hand or with `evolve = "add_columns"`, or leave them out with `omit`)
        evolve = 'add_columns': fits
        : [ddl] table `cdn`.`logs` has no columns `c_ip` (did you mean `c_ips`?) (add them, by hand or with `evolve = "add_columns"`, or leave them out with `omit`)
        : [ddl] table `cdn`.`logs` cannot take `sc_bytes`, which holds UInt64, into Map(String, String); `secure`, which holds Boolean, into Array(Bool) (give the table's columns other types, make others upstream, or leave them out with `omit`)
        : [ddl] table `cdn`.`logs` has no column `_delivery` of text, by which deliveries are found again: `ALTER TABLE `cdn`.`logs` ADD COLUMN `_delivery` LowCardinality(String)` (or write `exactly_once = false`, which may double rows)
        exactly_once = false: fits
        : [ddl] `tables.sql` has no `CREATE TABLE` of `cdn`.`logs` (known: other.logs, hosts)
        : [ddl] `tables.sql` has no `CREATE TABLE` of `cdn`.`logs`
        : [ddl] in `tables.sql`, the statement of `logs` has no list of columns
        create = true: [ddl] `ddl` says what a table is like that others make, and `create` makes one (leave one of them out)
        ddl = 'nowhere.sql': [ddl] `nowhere.sql` cannot be read: No such file or directory (os error 2) (see the path)
    "#]].assert_eq(&printed);
}

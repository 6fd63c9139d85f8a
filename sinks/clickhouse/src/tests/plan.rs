//! What stands in the file, and what is found before anything is touched.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use expect_test::expect;
use forebay_api::{Batch, Dialect, Promise, SinkConfig, Wrong};

use crate::{ClickHouse, Compression};

/// Some columns of CloudFront's real-time logs, and what else there may be.
pub(super) fn schema() -> SchemaRef {
    let few = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    Arc::new(Schema::new(vec![
        Field::new("@timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("c_ip", DataType::Utf8, true),
        Field::new("sc_status", DataType::UInt16, true),
        Field::new("cs_host", DataType::Utf8, true),
        Field::new("cs_method", few, true),
        Field::new("cs_uri_stem", DataType::Utf8, true),
        Field::new("user_agent.original", DataType::Utf8, true),
        Field::new("sc_bytes", DataType::UInt64, false),
        Field::new("time_taken", DataType::Decimal128(18, 6), true),
        Field::new("secure", DataType::Boolean, true),
        Field::new("tags", DataType::List(item), true),
    ]))
}

pub(super) fn config(keys: &str) -> ClickHouse {
    let endpoint = if keys.contains("endpoint") { "" } else { "endpoint = 'http://127.0.0.1:8123'" };
    // Keys of inner tables come last.
    let table = if keys.contains("table = ") { "" } else { "table = 'logs'" };
    toml::from_str(&format!("{endpoint}\n{table}\n{keys}")).unwrap()
}

/// Scenario: a table with what must be there, and one with a key that is none.
/// Guarantees: defaults are as documented; unknown keys are errors; secrets do not print themselves.
#[test]
fn reads_its_table() {
    let default = config("password = 'hunter2'\n[headers]\nX-Team = 'secret'");
    assert_eq!((default.database.as_str(), default.user.as_str()), ("default", "default"));
    assert_eq!((default.compression, default.delivery_column.as_str()), (Compression::Lz4, "_delivery"));
    assert_eq!((default.exactly_once, default.create, default.evolve), (true, false, None));
    assert_eq!(default.timeout.to_string(), "5m");
    assert_eq!(default.promise(), Promise::OncePerId);
    assert_eq!(config("exactly_once = false").promise(), Promise::AtLeastOnce);
    let Batch { age_max, interval_min, .. } = default.batch();
    assert_eq!((age_max.to_string(), interval_min.to_string()), ("0ms".to_owned(), "750ms".to_owned()));
    let printed = format!("{default:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("secret"), "{printed}");
    default.plan(&schema()).unwrap();
    for wrong in ["tabel = 'x'", "compression = 'gzip'", "evolve = 'everything'", "tls = { ca = 'x' }"] {
        assert!(toml::from_str::<ClickHouse>(&format!("table = 'x'\n{wrong}")).is_err(), "{wrong}");
    }
}

/// Scenario: values that no check of types finds.
/// Guarantees: each is found while planning, with its key and what would have worked.
#[test]
fn finds_what_is_wrong() {
    let with = |name: &str, of: DataType| {
        let mut fields = schema().fields().to_vec();
        fields.push(Arc::new(Field::new(name, of, true)));
        Arc::new(Schema::new(fields))
    };
    let structure = DataType::Struct(vec![Field::new("a", DataType::Utf8, true)].into());
    let cases = [
        (schema(), "endpoints = []"),
        (schema(), "endpoint = 'http://a'\nendpoints = ['http://b']"),
        (schema(), "endpoint = '127.0.0.1:8123'"),
        (schema(), "endpoint = 'ftp://127.0.0.1'"),
        (schema(), "endpoint = 'http://user:hunter2@127.0.0.1'"),
        (schema(), "endpoint = 'http://127.0.0.1?database=x'"),
        (schema(), "database = ''"),
        (schema(), "table = ''"),
        (schema(), "table = { by = 'cs_host', tables = {} }"),
        (schema(), "table = { by = 'cs_host', tables = { a = '' } }"),
        (schema(), "table = { by = 'cs_host', tables = { a = 'a' }, others = '' }"),
        (schema(), "table = { by = 'cs_hosts', tables = { a = 'a' } }"),
        (schema(), "table = { by = 'sc_status', tables = { 200 = 'a' } }"),
        (schema(), "headers = { 'a b' = 'c' }"),
        (schema(), "tls = { roots = 'ca.pem' }"),
        (schema(), "endpoint = 'https://a'\ntls = { certificate = 'a.pem' }"),
        (schema(), "settings = { async_insert = '1' }"),
        (schema(), "settings = { insert_deduplication_token = 'x' }"),
        (schema(), "omit = ['cs_hosts']"),
        (schema(), "order_by = ['cs_host']"),
        (schema(), "create = true\nttl = '0s'"),
        (schema(), "create = true\nendpoints = ['http://a', 'http://b']"),
        (schema(), "create = true\nttl = '1d'\nomit = ['@timestamp']"),
        (schema(), "columns = { sc_satus = 'UInt16' }"),
        (schema(), "columns = { sc_status = 'UInt 16' }"),
        (schema(), "columns = { sc_status = 'IPv6' }"),
        (schema(), "columns = { cs_host = 'Map(String, String)' }"),
        (with("_delivery", DataType::Utf8), ""),
        (with("user_agent_original", DataType::Utf8), ""),
        (with("nested", structure), ""),
    ];
    let mut printed = String::new();
    for (schema, keys) in cases {
        let error = config(keys).plan(&schema).unwrap_err();
        let Wrong { key, what, label, hint } = error.downcast_ref::<Wrong>().unwrap();
        let more = [label, hint].into_iter().flatten().map(|it| format!(" ({it})")).collect::<String>();
        printed.push_str(&format!("{}: [{key}] {what}{more}\n", keys.replace('\n', " ")));
    }
    assert!(!printed.lines().any(|it| it.split_once(": [").is_some_and(|it| it.1.contains("hunter2"))));
    expect![[r#"
        endpoints = []: [] `endpoint` is missing (such as `endpoint = "http://127.0.0.1:8123"`)
        endpoint = 'http://a' endpoints = ['http://b']: [endpoint] `endpoint` and `endpoints` are one too many
        endpoint = '127.0.0.1:8123': [endpoint] `127.0.0.1:8123` is no URL of HTTP (such as `"http://127.0.0.1:8123"` or `"https://name.eu-west-1.aws.clickhouse.cloud:8443"`)
        endpoint = 'ftp://127.0.0.1': [endpoint] `ftp://127.0.0.1` is no URL of HTTP (such as `"http://127.0.0.1:8123"` or `"https://name.eu-west-1.aws.clickhouse.cloud:8443"`)
        endpoint = 'http://user:hunter2@127.0.0.1': [endpoint] a URL is no place for a password (write `user` and `password`)
        endpoint = 'http://127.0.0.1?database=x': [endpoint] a URL has no settings here (write `database` and `settings`)
        database = '': [database] a name is needed
        table = '': [table] a name is needed
        table = { by = 'cs_host', tables = {} }: [table.tables] there is no table in the list (write `table = "NAME"` if all rows go into one)
        table = { by = 'cs_host', tables = { a = '' } }: [table] a name is needed
        table = { by = 'cs_host', tables = { a = 'a' }, others = '' }: [table] a name is needed
        table = { by = 'cs_hosts', tables = { a = 'a' } }: [table.by] column `cs_hosts` does not exist (did you mean `cs_host`?) (known: @timestamp, c_ip, sc_status, cs_host, cs_method, cs_uri_stem, user_agent.original, sc_bytes, time_taken, secure, tags)
        table = { by = 'sc_status', tables = { 200 = 'a' } }: [table.by] column `sc_status` must hold text, but holds UInt16
        headers = { 'a b' = 'c' }: [headers.a b] `a b` is no header that can be sent
        tls = { roots = 'ca.pem' }: [tls] `tls` is for `https://`, which no endpoint has
        endpoint = 'https://a' tls = { certificate = 'a.pem' }: [tls] `certificate` and `key` belong together
        settings = { async_insert = '1' }: [settings.async_insert] `async_insert` is set by the sink itself, since rows would be lost or doubled otherwise
        settings = { insert_deduplication_token = 'x' }: [settings.insert_deduplication_token] `insert_deduplication_token` is set by the sink itself, since rows would be lost or doubled otherwise
        omit = ['cs_hosts']: [omit] column `cs_hosts` does not exist (did you mean `cs_host`?) (known: @timestamp, c_ip, sc_status, cs_host, cs_method, cs_uri_stem, user_agent.original, sc_bytes, time_taken, secure, tags)
        order_by = ['cs_host']: [order_by] `order_by` is for the table that the sink makes (write `create = true`, or leave it out)
        create = true ttl = '0s': [ttl] rows would be deleted at once
        create = true endpoints = ['http://a', 'http://b']: [create] `create` makes a table of one server's own, and there are several `endpoints` (make the same replicated table on all of them, as with the columns that `forebay ddl` prints, and leave `create` out)
        create = true ttl = '1d' omit = ['@timestamp']: [ttl] no column says when a row happened
        columns = { sc_satus = 'UInt16' }: [columns.sc_satus] column `sc_satus` does not exist (did you mean `sc_status`?) (known: c_ip, cs_host, cs_method, cs_uri_stem, sc_bytes, sc_status, secure, tags, time_taken, timestamp, user_agent_original)
        columns = { sc_status = 'UInt 16' }: [columns.sc_status] `UInt 16` is no type of ClickHouse
        columns = { sc_status = 'IPv6' }: [columns.sc_status] column `sc_status` holds UInt16, which is no IPv6
        columns = { cs_host = 'Map(String, String)' }: [columns.cs_host] column `cs_host` holds Utf8, which is no Map(String, String)
        : [delivery_column] the rows have a column `_delivery`, which is the sink's own (give this sink's column another name)
        : [omit] columns `user_agent.original` and `user_agent_original` would both be `user_agent_original` (leave one of them out)
        : [omit] column `nested` holds Struct("a": Utf8), for which ClickHouse has no type (make columns of it upstream, or leave it out with `omit`)
    "#]].assert_eq(&printed);
}

/// Scenario: a declared DDL that the rows fit.
/// Guarantees: it is taken for the columns that it names, under their names in the rows or in the table.
#[test]
fn declared_columns() {
    let config = config(
        "create = true\norder_by = ['cs_host', 'sc_status']\npartition_by = ''\n\
         columns = { sc_status = '''Enum16('200' = 200)''', user_agent_original = 'LowCardinality(String)', 'c_ip' = 'IPv4' }",
    );
    let statement = config.ddl("ignored", &schema(), Dialect::ClickHouse).unwrap().unwrap();
    expect![[r#"
        CREATE TABLE IF NOT EXISTS `default`.`logs` (
            `timestamp` DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
            `c_ip` IPv4,
            `sc_status` Enum16('200' = 200),
            `cs_host` LowCardinality(String),
            `cs_method` LowCardinality(String),
            `cs_uri_stem` String CODEC(ZSTD(1)),
            `user_agent_original` LowCardinality(String),
            `sc_bytes` UInt64,
            `time_taken` Nullable(Decimal(18, 6)),
            `secure` Nullable(Bool),
            `tags` Array(String),
            `_delivery` LowCardinality(String) CODEC(ZSTD(1))
        )
        ENGINE = MergeTree
        ORDER BY (cs_host, sc_status)
        SETTINGS non_replicated_deduplication_window = 10000;
    "#]]
    .assert_eq(&statement);
    assert_eq!(config.ddl("ignored", &schema(), Dialect::Athena).unwrap(), None);
    let at = config.whereabouts().unwrap();
    assert_eq!(at.at, "`default`.`logs` at http://127.0.0.1:8123");
    assert_eq!(at.query.unwrap(), "clickhouse client --query 'SELECT count() FROM default.logs'");
}

/// Scenario: tables that are chosen by a column; forms that are none.
/// Guarantees: rows may go by any column of text, be it a dictionary; `forebay ddl` has every table once, and so has what
/// a person is told; what is wrong within the inner table is found where it stands.
#[test]
fn tables_by_a_column() {
    let routed = "omit = ['tags', 'user_agent.original', 'time_taken', 'secure', 'cs_uri_stem']\ncreate = true\n\
                  table = { by = 'cs_method', tables = { GET = 'reads', HEAD = 'reads', POST = 'writes' }, others = 'rest' }";
    let statements = config(routed).ddl("ignored", &schema(), Dialect::ClickHouse).unwrap().unwrap();
    let first = statements.lines().filter(|it| it.starts_with("CREATE"));
    expect![[r#"
        CREATE TABLE IF NOT EXISTS `default`.`reads` (
        CREATE TABLE IF NOT EXISTS `default`.`rest` (
        CREATE TABLE IF NOT EXISTS `default`.`writes` ("#]]
    .assert_eq(&first.collect::<Vec<_>>().join("\n"));
    assert_eq!(statements.matches(";\n\nCREATE").count(), 2, "{statements}");
    let at = config(routed).whereabouts().unwrap();
    expect!["`default`.`reads`, `default`.`rest`, `default`.`writes` at http://127.0.0.1:8123"].assert_eq(&at.at);
    expect!["clickhouse client --query 'SELECT (SELECT count() FROM default.reads) AS `default.reads`, (SELECT count() FROM default.rest) AS `default.rest`, (SELECT count() FROM default.writes) AS `default.writes`'"].assert_eq(&at.query.unwrap());
    let mut printed = String::new();
    for wrong in [
        "table = 5",
        "table = ['a', 'b']",
        "table = { tables = { a = 'b' } }",
        "table = { by = 'a' }",
        "table = { by = 'a', tabels = { a = 'b' } }",
        "table = { by = 'a', tables = { a = 5 } }",
        "table = { by = 'a', tables = { a = 'b' }, others = 5 }",
    ] {
        printed.push_str(&toml::from_str::<ClickHouse>(wrong).unwrap_err().to_string());
    }
    expect![[r#"
        TOML parse error at line 1, column 9
          |
        1 | table = 5
          |         ^
        invalid type: integer `5`, expected the name of a table, or `{ by = …, tables = … }`
        TOML parse error at line 1, column 9
          |
        1 | table = ['a', 'b']
          |         ^^^^^^^^^^
        invalid type: sequence, expected the name of a table, or `{ by = …, tables = … }`
        TOML parse error at line 1, column 9
          |
        1 | table = { tables = { a = 'b' } }
          |         ^^^^^^^^^^^^^^^^^^^^^^^^
        missing field `by`
        TOML parse error at line 1, column 9
          |
        1 | table = { by = 'a' }
          |         ^^^^^^^^^^^^
        missing field `tables`
        TOML parse error at line 1, column 21
          |
        1 | table = { by = 'a', tabels = { a = 'b' } }
          |                     ^^^^^^
        unknown field `tabels`, expected one of `by`, `tables`, `others`
        TOML parse error at line 1, column 36
          |
        1 | table = { by = 'a', tables = { a = 5 } }
          |                                    ^
        invalid type: integer `5`, expected a string
        TOML parse error at line 1, column 52
          |
        1 | table = { by = 'a', tables = { a = 'b' }, others = 5 }
          |                                                    ^
        invalid type: integer `5`, expected a string
    "#]]
    .assert_eq(&printed);
}

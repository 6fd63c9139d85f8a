//! What stands in the file, and statements about the table.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use forebay_api::{Dialect, Promise, Resource, SinkConfig, Wrong};

use crate::{Compression, Parquet};

fn schema() -> SchemaRef {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    Arc::new(Schema::new(vec![
        Field::new("time", utc(TimeUnit::Millisecond), true),
        Field::new("country", DataType::Utf8, true),
        Field::new("status", DataType::UInt16, false),
        Field::new("bytes", DataType::Int64, true),
        Field::new("hits", DataType::UInt64, true),
        Field::new("taken", DataType::Float64, true),
        Field::new("price", DataType::Decimal128(18, 4), true),
        Field::new("secure", DataType::Boolean, true),
        Field::new("tags", DataType::List(item), true),
    ]))
}

fn config(keys: &str) -> Parquet {
    toml::from_str(&format!("path = './data/cdn'\n{keys}")).unwrap()
}

/// Scenario: an empty table, and one with everything in it.
/// Guarantees: defaults are as documented; unknown keys, also of the inner table, are errors.
#[test]
fn reads_its_table() {
    let default = config("");
    assert_eq!(default.compression, Compression::Zstd);
    assert_eq!(default.row_group_bytes_max.to_string(), "64MiB");
    assert_eq!((default.row_group_rows_max.get(), default.open_partitions_max.get()), (1_048_576, 128));
    assert_eq!(default.promise(), Promise::OncePerId);
    assert_eq!(default.resources(), [Resource::Directory("./data/cdn".into())]);
    default.plan(&schema()).unwrap();
    config("partition = { time = 'time', every = 'day', columns = ['country', 'status', 'secure'] }")
        .plan(&schema())
        .unwrap();
    for wrong in ["bucket = 1", "partition = { by = 'time' }", "compression = 'gzip'", "open_partitions_max = 0"] {
        assert!(toml::from_str::<Parquet>(&format!("path = 'x'\n{wrong}")).is_err(), "{wrong}");
    }
}

/// Scenario: values that no check of types finds.
/// Guarantees: each is found while planning, with its key and what would have worked.
#[test]
fn finds_what_is_wrong() {
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new("Month", DataType::Int32, true)));
    let with_month = Arc::new(Schema::new(fields));
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let with_seconds = Arc::new(Schema::new(vec![Field::new("at", seconds, true)]));
    let country = Arc::new(Schema::new(vec![Field::new("country", DataType::Utf8, true)]));
    let long = "x".repeat(240);
    let with_long = Arc::new(Schema::new(vec![Field::new(&long, DataType::Utf8, true)]));
    let shown: Vec<String> = [
        ("path = ''".to_owned(), schema()),
        ("path = 's3://logs/cdn'".to_owned(), schema()),
        ("path = 'x'\nrow_group_rows_max = 8191".to_owned(), schema()),
        ("path = 'x'\npartition = { every = 'day' }".to_owned(), schema()),
        ("path = 'x'\npartition = { time = 'tiem' }".to_owned(), schema()),
        ("path = 'x'\npartition = { time = 'country' }".to_owned(), schema()),
        ("path = 'x'\npartition = { time = 'time' }".to_owned(), with_month),
        ("path = 'x'\npartition = { columns = ['county'] }".to_owned(), schema()),
        ("path = 'x'\npartition = { columns = ['taken'] }".to_owned(), schema()),
        ("path = 'x'\npartition = { columns = ['country', 'country'] }".to_owned(), schema()),
        ("path = 'x'\npartition = { columns = ['country'] }".to_owned(), country),
        (format!("path = 'x'\npartition = {{ columns = ['{long}'] }}"), with_long),
        ("path = 'x'".to_owned(), with_seconds),
    ]
    .iter()
    .map(|(keys, schema)| {
        let error = toml::from_str::<Parquet>(keys).unwrap().plan(schema).unwrap_err();
        let wrong = error.downcast::<Wrong>().unwrap();
        let more = [&wrong.label, &wrong.hint].map(|it| it.clone().unwrap_or_default());
        format!("{}: {} | {}", wrong.key, wrong.what, more.join(" | ")).replace(&long, "LONG")
    })
    .collect();
    expect![[r#"
        path: a path is needed |  | for example "./data/cdn"
        path: `s3://` is not written to yet, only directories are |  | write to a directory, such as "./data"
        row_group_rows_max: a row group needs room for at least 8192 rows |  | 
        partition.every: `every` says nothing without `time` |  | name a timestamp column: `time = "timestamp"`
        partition.time: column `tiem` does not exist | did you mean `time`? | known: time, country, status, bytes, hits, taken, price, secure, tags
        partition.time: column `country` must hold a timestamp, but holds Utf8 |  | 
        partition.time: column `Month` has the name of a level of the path, `month=…` |  | give the column another name upstream
        partition.columns: column `county` does not exist | did you mean `country`? | known: time, country, status, bytes, hits, taken, price, secure, tags
        partition.columns: column `taken` must hold text, whole numbers or booleans, but holds Float64 |  | 
        partition.columns: column `country` is named twice |  | 
        partition.columns: every column is a level of the path, so the files would have none |  | 
        partition.columns: the name of column `LONG` is too long for a directory |  | 
        : Parquet has no type for column `at`, which holds Timestamp(s) |  | make it a timestamp in milliseconds upstream"#]].assert_eq(&shown.join("\n"));
}

/// Scenario: the statements for a table that is partitioned by time and by a column, and for a flat one.
/// Guarantees: they are as shown; partition columns are levels of the path, not columns of the file.
#[test]
fn statements() {
    fn check(keys: &str, dialect: Dialect, expected: Expect) {
        let statement = config(keys).ddl("cdn_logs", &schema(), dialect).unwrap().unwrap();
        expected.assert_eq(&statement);
    }
    let partitioned = "partition = { time = 'time', columns = ['country'] }";
    check(
        partitioned,
        Dialect::Athena,
        expect![[r#"
            -- Put the bucket that holds `./data/cdn` for BUCKET.
            -- Athena sees the years 2020 to 2040 only: see `projection.year.range`.
            -- Every query must say which values of `country` it wants, as they stand in the path: WHERE country = '…'.
            CREATE EXTERNAL TABLE `cdn_logs` (
              `time` timestamp,
              `status` int,
              `bytes` bigint,
              `hits` decimal(20,0),
              `taken` double,
              `price` decimal(18,4),
              `secure` boolean,
              `tags` array<string>
            )
            PARTITIONED BY (`year` int, `month` int, `day` int, `hour` int, `country` string)
            STORED AS PARQUET
            LOCATION 's3://BUCKET/data/cdn/'
            TBLPROPERTIES (
              'projection.enabled' = 'true',
              'projection.year.type' = 'integer',
              'projection.year.range' = '2020,2040',
              'projection.year.digits' = '4',
              'projection.month.type' = 'integer',
              'projection.month.range' = '1,12',
              'projection.month.digits' = '2',
              'projection.day.type' = 'integer',
              'projection.day.range' = '1,31',
              'projection.day.digits' = '2',
              'projection.hour.type' = 'integer',
              'projection.hour.range' = '0,23',
              'projection.hour.digits' = '2',
              'projection.country.type' = 'injected',
              'storage.location.template' = 's3://BUCKET/data/cdn/year=${year}/month=${month}/day=${day}/hour=${hour}/country=${country}/'
            );
        "#]],
    );
    check(
        partitioned,
        Dialect::ClickHouse,
        expect![[r#"
            CREATE TABLE `cdn_logs` (
                `time` DateTime64(3, 'UTC'),
                `status` UInt16,
                `bytes` Nullable(Int64),
                `hits` Nullable(UInt64),
                `taken` Nullable(Float64),
                `price` Nullable(Decimal(18, 4)),
                `secure` Nullable(Bool),
                `tags` Array(Nullable(String)),
                `country` Nullable(String)
            ) ENGINE = MergeTree ORDER BY `time`;
            -- Fill it where the server sees the files:
            -- INSERT INTO `cdn_logs` (`time`, `status`, `bytes`, `hits`, `taken`, `price`, `secure`, `tags`, `country`)
            -- SELECT `time`, `status`, `bytes`, `hits`, `taken`, `price`, `secure`, `tags`, decodeURLComponent(nullIf(extract(_path, '/country=([^/]*)/'), '__HIVE_DEFAULT_PARTITION__'))
            -- FROM file('./data/cdn/**/*.parquet', Parquet) SETTINGS use_hive_partitioning = 0;
        "#]],
    );
    check(
        partitioned,
        Dialect::DuckDb,
        expect![[r#"
        CREATE VIEW "cdn_logs" AS SELECT * FROM read_parquet('./data/cdn/**/*.parquet', hive_partitioning = true, hive_types = {'year': INTEGER, 'month': INTEGER, 'day': INTEGER, 'hour': INTEGER, 'country': VARCHAR});
    "#]],
    );
    check(
        "",
        Dialect::Athena,
        expect![[r#"
        -- Put the bucket that holds `./data/cdn` for BUCKET.
        CREATE EXTERNAL TABLE `cdn_logs` (
          `time` timestamp,
          `country` string,
          `status` int,
          `bytes` bigint,
          `hits` decimal(20,0),
          `taken` double,
          `price` decimal(18,4),
          `secure` boolean,
          `tags` array<string>
        )
        STORED AS PARQUET
        LOCATION 's3://BUCKET/data/cdn/';
    "#]],
    );
    check(
        "",
        Dialect::ClickHouse,
        expect![[r#"
            CREATE TABLE `cdn_logs` (
                `time` Nullable(DateTime64(3, 'UTC')),
                `country` Nullable(String),
                `status` UInt16,
                `bytes` Nullable(Int64),
                `hits` Nullable(UInt64),
                `taken` Nullable(Float64),
                `price` Nullable(Decimal(18, 4)),
                `secure` Nullable(Bool),
                `tags` Array(Nullable(String))
            ) ENGINE = MergeTree ORDER BY tuple();
            -- Fill it where the server sees the files:
            -- INSERT INTO `cdn_logs` (`time`, `country`, `status`, `bytes`, `hits`, `taken`, `price`, `secure`, `tags`)
            -- SELECT `time`, `country`, `status`, `bytes`, `hits`, `taken`, `price`, `secure`, `tags`
            -- FROM file('./data/cdn/**/*.parquet', Parquet) SETTINGS use_hive_partitioning = 0;
        "#]],
    );
    check(
        "",
        Dialect::DuckDb,
        expect![[r#"
        CREATE VIEW "cdn_logs" AS SELECT * FROM read_parquet('./data/cdn/**/*.parquet', hive_partitioning = false);
    "#]],
    );
}

/// Scenario: a column called `cs-uri`, a table called `O'Brien`, and a path with a quote in it.
/// Guarantees: Athena, which does not take such names, says what to do; the others quote them.
#[test]
fn strange_names() {
    let schema = Arc::new(Schema::new(vec![Field::new("cs-uri`\"", DataType::Utf8, true)]));
    let mut config = config("");
    config.path = "it's/".to_owned();
    let statement = |dialect| match config.ddl("O'Brien", &schema, dialect) {
        Ok(statement) => statement.unwrap_or_default(),
        Err(error) => format!("error: {error}\n"),
    };
    let all = [Dialect::Athena, Dialect::ClickHouse, Dialect::DuckDb].map(statement).concat();
    expect![[r#"
        error: table `O'Brien` does not fit Athena, which takes a-z, 0-9 and `_`
        CREATE TABLE `O'Brien` (
            `cs-uri``"` Nullable(String)
        ) ENGINE = MergeTree ORDER BY tuple();
        -- Fill it where the server sees the files:
        -- INSERT INTO `O'Brien` (`cs-uri``"`)
        -- SELECT `cs-uri``"`
        -- FROM file('it''s/**/*.parquet', Parquet) SETTINGS use_hive_partitioning = 0;
        CREATE VIEW "O'Brien" AS SELECT * FROM read_parquet('it''s/**/*.parquet', hive_partitioning = false);
    "#]]
    .assert_eq(&all);
    let error = config.ddl("cdn", &schema, Dialect::Athena).unwrap_err();
    expect![[r#"column `cs-uri`"` does not fit Athena, which takes a-z, 0-9 and `_`; the `ecs` transform gives such names with `names = "underscored"`"#]].assert_eq(&error.to_string());
    expect![[r#"duckdb -c "SELECT count(*) FROM read_parquet('it''s/**/*.parquet', hive_partitioning = true)""#]]
        .assert_eq(&config.whereabouts().unwrap().query.unwrap());
}

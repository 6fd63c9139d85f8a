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
    assert_eq!(default.memory_max.to_string(), "64MiB");
    assert_eq!((default.row_group_rows_max.get(), default.open_files_max.get()), (1_048_576, 128));
    assert_eq!(default.promise(), Promise::OncePerId);
    assert_eq!(default.resources(), [Resource::Directory("./data/cdn".into())]);
    default.plan(&schema()).unwrap();
    config("partition = { time = 'time', every = 'day', columns = ['country', 'status', 'secure'] }")
        .plan(&schema())
        .unwrap();
    for wrong in ["bucket = 1", "partition = { by = 'time' }", "compression = 'gzip'", "open_files_max = 0"] {
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
    let country = Arc::new(Schema::new(vec![Field::new("country", DataType::Utf8, true)]));
    let long = "x".repeat(240);
    let with_long = Arc::new(Schema::new(vec![Field::new(&long, DataType::Utf8, true)]));
    let duration = DataType::Duration(TimeUnit::Second);
    let with_duration = Arc::new(Schema::new(vec![Field::new("took", duration, true)]));
    let mut cases = vec![
        ("path = ''".to_owned(), schema()),
        ("path = 'gs://logs/cdn'".to_owned(), schema()),
        ("path = 's3://my logs/cdn'".to_owned(), schema()),
        ("path = 's3://logs/a//b'".to_owned(), schema()),
        ("path = 's3://logs/.hidden'".to_owned(), schema()),
        ("path = 's3://logs'\naws = { endpoint = 'localhost' }".to_owned(), schema()),
        ("path = 'x'\npartition = { time = 'time' }".to_owned(), with_month),
        ("path = 'x'\npartition = { columns = ['country'] }".to_owned(), country),
        (format!("path = 'x'\npartition = {{ columns = ['{long}'] }}"), with_long),
        ("path = 'x'".to_owned(), with_duration),
    ];
    let more = [
        "row_group_rows_max = 8191",
        "memory_max = '15MiB'",
        "compression = 'snappy'\ncompression_level = 3",
        "compression_level = 23",
        "sort = ['tiem']",
        "sort = ['tags']",
        "bloom_filters = ['secure']",
        "late = {}",
        "partition = { time = 'time' }\nlate = { to = 'prefix' }",
        "partition = { every = 'day' }",
        "partition = { time = 'tiem' }",
        "partition = { time = 'country' }",
        "partition = { columns = ['county'] }",
        "partition = { columns = ['taken'] }",
        "partition = { columns = ['country', 'country'] }",
        "partition = { columns = ['country'] }\nprefix = 'a/'",
        "prefix = 'a/'",
        "partition = { time = 'time' }\nprefix = 'a/!{timestamp:yyyy'",
        "partition = { time = 'time' }\nprefix = 'a/!{now}'",
        "partition = { time = 'time' }\nprefix = 'a/!{timestamp:YYYY}/'",
        "partition = { time = 'time' }\nprefix = 'a/!{timestamp:hhh}/'",
        "partition = { time = 'time' }\nprefix = \"!{timestamp:'y}/\"",
        "partition = { time = 'time' }\nprefix = '!{timestamp:[yyyy]}/'",
        "partition = { time = 'time' }\nprefix = '!{firehose:error-output-type}/'",
        "partition = { time = 'time' }\nprefix = '!{partitionKeyFromLambda:a}/'",
        "partition = { time = 'time' }\nprefix = '!{partitionKeyFromQuery:customer}/'",
        "partition = { time = 'time' }\nprefix = '!{partitionKeyFromQuery:taken}/'",
        "partition = { time = 'time' }\nprefix = '/a/'",
        "partition = { time = 'time' }\nprefix = 'a/../b/'",
        "partition = { time = 'time' }\nprefix = 'a/'\nerror_prefix = 'e/!{timestamp:yyyy}/'",
        "partition = { time = 'time' }\nprefix = 'a/'\nerror_prefix = 'e/!{firehose:error-output-type}!{partitionKeyFromQuery:country}'",
        "error_prefix = ''",
    ];
    cases.extend(more.map(|it| (format!("path = 'x'\n{it}"), schema())));
    let shown: Vec<String> = cases
        .iter()
        .map(|(keys, schema)| {
            let config = toml::from_str::<Parquet>(keys).unwrap();
            let Err(error) = config.plan(schema) else { panic!("this is accepted:\n{keys}") };
            let wrong = error.downcast::<Wrong>().unwrap();
            let more = [&wrong.label, &wrong.hint].map(|it| it.clone().unwrap_or_default());
            format!("{}: {} | {}", wrong.key, wrong.what, more.join(" | ")).replace(&long, "LONG")
        })
        .collect();
    expect![[r#"
        path: `path` is empty |  | write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix"
        path: `gs://` is no place for files: directories and `s3://` are |  | write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix"
        path: `my logs` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . - |  | write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix"
        path: `a//b/` has a level without a name, or one that begins with a dot |  | readers pass over files in such levels
        path: `.hidden/` has a level without a name, or one that begins with a dot |  | readers pass over files in such levels
        aws.endpoint: `endpoint` is not the URL of a server: it has no `http://` or `https://` |  | write scheme, host and port, such as "http://127.0.0.1:9000"
        partition.time: column `Month` has the name of a level of the path, `month=…` |  | give the column another name upstream
        partition.columns: every column is a level of the path, so the files would have none |  | 
        partition.columns: the name of column `LONG` is too long for a directory |  | 
        : Parquet has no type for column `took`, which holds Duration(s) |  | make it a timestamp upstream
        row_group_rows_max: a row group needs room for at least 8192 rows |  | 
        memory_max: a delivery needs at least 16MiB of memory |  | 
        compression_level: only `zstd` has levels |  | leave the level out, or write `compression = "zstd"`
        compression_level: `23` is not a level of zstd, which are 1 to 22 |  | 
        sort: column `tiem` does not exist | did you mean `time`? | known: time, country, status, bytes, hits, taken, price, secure, tags
        sort: column `tags` holds List(Utf8), which has no order |  | 
        bloom_filters: column `secure` holds Boolean, which needs no bloom filter |  | 
        late.after: nothing says which column holds the time of rows |  | for example `partition = { time = "timestamp" }`
        late.to: nothing says where late rows go |  | for example `error_prefix = "late/"`
        partition.every: `every` says nothing without `time` |  | name a timestamp column: `time = "timestamp"`
        partition.time: column `tiem` does not exist | did you mean `time`? | known: time, country, status, bytes, hits, taken, price, secure, tags
        partition.time: column `country` must hold a timestamp, but holds Utf8 |  | 
        partition.columns: column `county` does not exist | did you mean `country`? | known: time, country, status, bytes, hits, taken, price, secure, tags
        partition.columns: column `taken` must hold text, whole numbers or booleans, but holds Float64 |  | 
        partition.columns: column `country` is named twice |  | 
        partition.columns: `prefix` says how rows are spread over directories |  | beside `prefix`, `partition` holds `time` only
        partition.time: the prefix holds the time of rows, but nothing says which column that is |  | for example `partition = { time = "timestamp" }`
        prefix: an expression begins with `!{` and is not closed |  | write `!{timestamp:yyyy}`, for example
        prefix: `!{now}` has no `:` |  | write `!{timestamp:yyyy}`, for example
        prefix: `Y` is the year of the week, which differs around New Year: write `y` |  | for example `!{timestamp:yyyy/MM/dd/HH}`
        prefix: `h` stands 3 times, but at most 2 mean something |  | for example `!{timestamp:yyyy/MM/dd/HH}`
        prefix: an expression begins with `!{` and is not closed |  | write `!{timestamp:yyyy}`, for example
        prefix: `[` in the time pattern `[yyyy]` must stand between single quotes |  | for example `!{timestamp:yyyy/MM/dd/HH}`
        prefix: `!{firehose:error-output-type}` says nothing about rows that are as they should be |  | it is for `error_prefix`
        prefix: there is no Lambda here that could answer `!{partitionKeyFromLambda:a}` |  | make a column of it upstream, and write `!{partitionKeyFromQuery:column}`
        prefix: column `customer` does not exist |  | known: time, country, status, bytes, hits, taken, price, secure, tags
        prefix: column `taken` must hold text, whole numbers or booleans, but holds Float64 |  | 
        prefix: a prefix neither begins with `/` nor holds two in a row, as in `/a/2026/11/21/17/` |  | 
        prefix: no level of a prefix begins with a dot: readers pass over such files, as in `a/../b/2026/11/21/17/` |  | 
        error_prefix: an error prefix with expressions needs `!{firehose:error-output-type}` |  | for example `errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`
        error_prefix: `!{partitionKeyFromQuery:country}` is not for an error prefix |  | use `!{firehose:error-output-type}` and `!{timestamp:…}` there
        error_prefix: the error prefix is empty |  | for example `errors/`"#]].assert_eq(&shown.join("\n"));
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
            -- Times are INT64, which Athena, Trino and Spark read; Hive before 4 wants `bigint` for them.
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
            -- Times are INT64, which Athena, Trino and Spark read; Hive before 4 wants `bigint` for them.
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

/// Scenario: statements for tables in a bucket, under prefixes as Firehose has them.
/// Guarantees: the location is that of the bucket, levels of the prefix are partitions that Athena works out, times without
/// names are one, a column that is a level too is named once, and what cannot be worked out is said; other engines look where
/// the rows are, not beside it.
#[test]
fn statements_for_prefixes() {
    let statement = |prefix: &str, dialect| {
        let keys = format!("partition = {{ time = 'time' }}\nprefix = {prefix:?}");
        let mut config = config(&keys);
        config.path = "s3://logs/cdn".to_owned();
        match config.ddl("cdn_logs", &schema(), dialect) {
            Ok(statement) => statement.unwrap_or_default(),
            Err(error) => format!("error: {error}\n"),
        }
    };
    let short = |prefix: &str| {
        let statement = statement(prefix, Dialect::Athena);
        let lines = statement.lines().filter(|it| !it.starts_with("  `") && !it.starts_with("--"));
        lines.map(|it| format!("{it}\n")).collect::<String>()
    };
    let all = [
        short("data/ecs/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/"),
        short("raw/"),
        short("dt=!{timestamp:yyyy-MM-dd}/country=!{partitionKeyFromQuery:country}/part-"),
        short("!{timestamp:yyyy}/!{timestamp:MM}/"),
        short("a/!{timestamp:'b/year='yyyy'/month='MM}/!{timestamp:'day='dd}/c/"),
        short("dt=!{timestamp:yyyy/MM}/!{timestamp:dd}/c/!{timestamp:HH}/"),
        statement("raw/", Dialect::Athena).lines().take(3).map(|it| format!("{it}\n")).collect(),
        statement("raw/", Dialect::DuckDb),
        statement("dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/", Dialect::DuckDb),
        statement("raw/", Dialect::ClickHouse).lines().rev().take(1).collect(),
    ];
    expect![[r#"
        CREATE EXTERNAL TABLE `cdn_logs` (
        )
        PARTITIONED BY (`year` int, `month` int, `day` int, `hour` int)
        STORED AS PARQUET
        LOCATION 's3://logs/cdn/data/ecs/'
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
          'storage.location.template' = 's3://logs/cdn/data/ecs/year=${year}/month=${month}/day=${day}/hour=${hour}/'
        );

        CREATE EXTERNAL TABLE `cdn_logs` (
        )
        PARTITIONED BY (`datehour` string)
        STORED AS PARQUET
        LOCATION 's3://logs/cdn/raw/'
        TBLPROPERTIES (
          'projection.enabled' = 'true',
          'projection.datehour.type' = 'date',
          'projection.datehour.format' = 'yyyy/MM/dd/HH',
          'projection.datehour.range' = '2020/01/01/00,NOW',
          'projection.datehour.interval' = '1',
          'projection.datehour.interval.unit' = 'HOURS',
          'storage.location.template' = 's3://logs/cdn/raw/${datehour}/'
        );

        CREATE EXTERNAL TABLE `cdn_logs` (
        )
        PARTITIONED BY (`dt` string, `country` string)
        STORED AS PARQUET
        LOCATION 's3://logs/cdn/'
        TBLPROPERTIES (
          'projection.enabled' = 'true',
          'projection.dt.type' = 'date',
          'projection.dt.format' = 'yyyy-MM-dd',
          'projection.dt.range' = '2020-01-01,NOW',
          'projection.dt.interval' = '1',
          'projection.dt.interval.unit' = 'DAYS',
          'projection.country.type' = 'injected',
          'storage.location.template' = 's3://logs/cdn/dt=${dt}/country=${country}/'
        );

        CREATE EXTERNAL TABLE `cdn_logs` (
        )
        PARTITIONED BY (`datehour` string)
        STORED AS PARQUET
        LOCATION 's3://logs/cdn/'
        TBLPROPERTIES (
          'projection.enabled' = 'true',
          'projection.datehour.type' = 'date',
          'projection.datehour.format' = 'yyyy/MM',
          'projection.datehour.range' = '2020/01,NOW',
          'projection.datehour.interval' = '1',
          'projection.datehour.interval.unit' = 'MONTHS',
          'storage.location.template' = 's3://logs/cdn/${datehour}/'
        );

        CREATE EXTERNAL TABLE `cdn_logs` (
        )
        PARTITIONED BY (`year` int, `month` int, `day` int)
        STORED AS PARQUET
        LOCATION 's3://logs/cdn/a/b/'
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
          'storage.location.template' = 's3://logs/cdn/a/b/year=${year}/month=${month}/day=${day}/c/'
        );

        error: Athena cannot work out the levels of such a prefix; it takes `name=` and one expression, or one `!{timestamp:…}`, between two `/`

        -- Athena sees nothing before 2020 and nothing to come: see `projection.datehour.range`.
        -- Spark and Hive know no projection, and find no partitions here: each must be added with its place: ALTER TABLE `cdn_logs` ADD PARTITION (`datehour` = '2020/01/01/00') LOCATION 's3://logs/cdn/raw/2020/01/01/00/'.
        -- Times are INT64, which Athena, Trino and Spark read; Hive before 4 wants `bigint` for them.

        CREATE VIEW "cdn_logs" AS SELECT * FROM read_parquet('s3://logs/cdn/raw/**/*.parquet', hive_partitioning = false);

        CREATE VIEW "cdn_logs" AS SELECT * FROM read_parquet('s3://logs/cdn/**/*.parquet', hive_partitioning = true, hive_types = {'dt': VARCHAR, 'hour': INTEGER});

        -- FROM s3('s3://logs/cdn/raw/**/*.parquet', 'Parquet') SETTINGS use_hive_partitioning = 0;"#]].assert_eq(&all.join("\n"));
    let mut config = config("partition = { time = 'time' }\nprefix = 'data/ecs/part-!{timestamp:yyyy}/'");
    config.path = "lake".to_owned();
    expect![[
        r#"duckdb -c "SELECT count(*) FROM read_parquet('lake/data/ecs/**/*.parquet', hive_partitioning = true)""#
    ]]
    .assert_eq(&config.whereabouts().unwrap().query.unwrap());
}

//! Tables that the sink makes, and columns that it adds.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use expect_test::expect;
use forebay_api::{Dialect, SinkConfig};
use forebay_testkit::columns;

use super::plan::schema;
use super::{Place, deliver, numbers, said, staged};

/// One row of [`schema`].
fn row() -> RecordBatch {
    let values = [
        "2026-11-01T07:00:00.123Z",
        "203.0.113.7",
        "200",
        "www.example.com",
        "GET",
        "/a.js",
        "curl/8",
        "512",
        "0.001234",
        "true",
        "",
    ];
    let cast = |(field, value): (&Arc<arrow_schema::Field>, &str)| -> ArrayRef {
        match field.name().as_str() {
            "tags" => arrow_array::new_null_array(field.data_type(), 1),
            _ => arrow_cast::cast(&StringArray::from(vec![value]), field.data_type()).unwrap(),
        }
    };
    let columns = schema().fields().iter().zip(values).map(cast).collect();
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Scenario: `create = true` where there is no table, and no database either; the sink is opened again.
/// Guarantees: the table is the one that `forebay ddl` prints, has the shape for logs, and takes the rows; a table that
/// is there is left alone.
#[tokio::test]
async fn a_table_of_our_own() {
    let place = Place { database: "made `by` 'us'".to_owned(), ..Place::new() };
    let config = place.config("create = true\nttl = '30d'");
    let sink = config.open(schema()).await.unwrap();
    let ours = "database LIKE 'made%'";
    let statement = config.ddl("x", &schema(), Dialect::ClickHouse).unwrap().unwrap();
    expect![[r#"
        CREATE TABLE IF NOT EXISTS `made \`by\` 'us'`.`rows` (
            `timestamp` DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
            `c_ip` IPv6,
            `sc_status` Nullable(UInt16),
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
        PARTITION BY toDate(`timestamp`)
        ORDER BY (`cs_host`, toStartOfMinute(`timestamp`), `timestamp`)
        TTL toDateTime(`timestamp`) + INTERVAL 2592000 SECOND
        SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
    "#]]
    .assert_eq(&statement);
    let engine = place.server.query(&format!("SELECT engine_full FROM system.tables WHERE {ours} FORMAT TSVRaw"));
    expect!["MergeTree PARTITION BY toDate(timestamp) ORDER BY (cs_host, toStartOfMinute(timestamp), timestamp) TTL toDateTime(timestamp) + toIntervalSecond(2592000) SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, index_granularity = 8192"].assert_eq(&engine);
    deliver(sink.as_ref(), 1, &[row()]).await;
    deliver(config.open(schema()).await.unwrap().as_ref(), 1, &[row()]).await;
    let there = place.server.query("SELECT * FROM `made \\`by\\` 'us'`.rows FORMAT Vertical");
    expect![[r#"
        Row 1:
        ──────
        timestamp:           2026-11-01 07:00:00.123
        c_ip:                ::ffff:203.0.113.7
        sc_status:           200
        cs_host:             www.example.com
        cs_method:           GET
        cs_uri_stem:         /a.js
        user_agent_original: curl/8
        sc_bytes:            512
        time_taken:          0.001234
        secure:              true
        tags:                []
        _delivery:           00000000000000000000000000000001-0-1"#]]
    .assert_eq(&there);
    // What the server made of the types is what was meant.
    let types = place.server.query(&format!(
        "SELECT name, type, compression_codec FROM system.columns WHERE {ours} ORDER BY position FORMAT TSVRaw"
    ));
    for line in types.lines() {
        let mut parts = line.split('\t');
        let (name, of) = (parts.next().unwrap(), parts.next().unwrap());
        assert!(statement.contains(&format!("`{name}` {of}")), "{line}\n{statement}");
    }
}

/// Scenario: the table lacks columns of the rows, at the start and while the pipeline runs, with and without
/// `evolve = "add_columns"`.
/// Guarantees: they are added, with the types that the file names, if the file says so; nothing else is changed; older
/// rows have the defaults.
#[tokio::test]
async fn columns_are_added() {
    let place = Place::new();
    place.query(
        "CREATE TABLE rows (n Int64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000",
    );
    place.query("INSERT INTO rows VALUES (0)");
    let rows = numbers(1..3);
    let error = place.config("").open(rows.schema()).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("has no columns `text`"), "{error}");
    let config = place.config("evolve = 'add_columns'\ncolumns = { text = 'LowCardinality(String)' }");
    let sink = config.open(rows.schema()).await.unwrap();
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let types = "SELECT groupArray((name, type)) FROM system.columns WHERE database = currentDatabase()";
    let types = || place.query(&types.replace("currentDatabase()", &format!("'{}'", place.database)));
    expect!["[('n','Int64'),('text','LowCardinality(String)'),('_delivery','LowCardinality(String)')]"]
        .assert_eq(&types());
    place.query("ALTER TABLE rows DROP COLUMN text");
    let mut draft = staged(sink.as_ref(), 2, &[numbers(3..5)]).await;
    assert!(said(draft.commit().await).contains("Code: 16."));
    assert_eq!(said(draft.commit().await), "done");
    expect!["[('n','Int64'),('_delivery','LowCardinality(String)'),('text','LowCardinality(String)')]"]
        .assert_eq(&types());
    assert_eq!(
        place.query("SELECT groupArray((n, text)) FROM (SELECT n, text FROM rows ORDER BY n)"),
        "[(0,''),(1,''),(2,''),(3,'text 3'),(4,'text 4')]"
    );
    let wide = columns([
        ("n", Arc::new(Int64Array::from(vec![9])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec!["x"]))),
        ("client.ip", Arc::new(StringArray::from(vec!["192.0.2.1"]))),
    ]);
    deliver(config.open(wide.schema()).await.unwrap().as_ref(), 3, std::slice::from_ref(&wide)).await;
    assert_eq!(place.query("SELECT client_ip, text FROM rows WHERE n = 9"), "::ffff:192.0.2.1\tx");
}

/// Scenario: keys of columns that may be missing; keys, partitions and columns that the server does not understand.
/// Guarantees: key columns are never null; what cannot work is said at the start.
#[tokio::test]
async fn keys_of_our_own() {
    let mut printed = String::new();
    for keys in [
        "order_by = ['intDiv(sc_status, 100)', '`time_taken`', 'cs_host']\npartition_by = 'secure'",
        "order_by = []\npartition_by = ''",
        "order_by = ['cs_hosts']",
        "order_by = ['cs_host,,']",
        "partition_by = 'toMonth(timestamp) +'",
        "columns = { sc_status = 'Decimal(1, 9)' }",
        "columns = { sc_status = 'Number' }",
        "evolve = 'add_columns'\ncolumns = { sc_status = 'Number' }",
    ] {
        let place = Place::new();
        if keys.contains("evolve") {
            place.query("CREATE TABLE rows (cs_host String) ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100");
        }
        let config = place.config(&format!("create = true\n{keys}"));
        let answer = match config.plan(&schema()) {
            Err(wrong) => format!("not planned: {wrong}"),
            Ok(()) => match config.open(schema()).await {
                Ok(sink) => said(staged(sink.as_ref(), 1, &[row()]).await.commit().await),
                Err(error) => format!("not opened: {error}").replace(&place.database, "database"),
            },
        };
        let answer: String = answer.split(". ").take(3).collect::<Vec<_>>().join(". ").chars().take(190).collect();
        printed.push_str(&format!("{}: {answer}\n", keys.replace('\n', " ")));
    }
    expect![[r#"
        order_by = ['intDiv(sc_status, 100)', '`time_taken`', 'cs_host'] partition_by = 'secure': done
        order_by = [] partition_by = '': done
        order_by = ['cs_hosts']: not opened: looking at table `database`.`rows`: Code: 47. DB::Exception: Missing columns: 'cs_hosts' while processing: '(cs_hosts)', required columns: 'cs_hosts', available columns: '_block_
        order_by = ['cs_host,,']: not opened: looking at table `database`.`rows`: Code: 62. DB::Exception: Syntax error: failed at position 573 (,) (line 17, col 19): ,) SETTINGS non_replicated_deduplication_window = 10000. 
        partition_by = 'toMonth(timestamp) +': not opened: looking at table `database`.`rows`: Code: 62. DB::Exception: Syntax error: failed at position 562 (BY) (line 17, col 7): BY (`cs_host`, toStartOfMinute(`timestamp`), `timestamp`)
        columns = { sc_status = 'Decimal(1, 9)' }: not planned: column `sc_status` holds UInt16, which is no Decimal(1, 9)
        columns = { sc_status = 'Number' }: not opened: looking at table `database`.`rows`: Code: 50. DB::Exception: Unknown data type family: Number. (UNKNOWN_TYPE) (version 26.7.2.1)
        evolve = 'add_columns' columns = { sc_status = 'Number' }: not opened: looking at table `database`.`rows`: Code: 50. DB::Exception: Unknown data type family: Number. (UNKNOWN_TYPE) (version 26.7.2.1)
    "#]].assert_eq(&printed);
}

//! Servers and users that would do otherwise if they were not told, or cannot be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, Int64Array, StringArray};
use expect_test::expect;
use forebay_api::SinkConfig;
use forebay_testkit::columns;
use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};

use super::front::{Parrot, front, passed_on};
use super::once::{again, commit};
use super::{NUMBERS, Place, deliver, id, numbers, open, said, staged};

/// Scenario: the user's profile cuts INSERTs, deduplicates none, answers before they are made, and takes few partitions.
/// Guarantees: what the sink sends along is stronger: a delivery is one block, is there when the sink says so, and is
/// there once, in a view as well.
#[tokio::test]
async fn a_profile_that_cuts() {
    let place = Place::new();
    place.table_with(
        &format!("{NUMBERS}, fixed UInt8 DEFAULT 7, few LowCardinality(String)"),
        "PARTITION BY n % 3 ORDER BY n",
    );
    place.query(
        "CREATE TABLE other (n Int64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100",
    );
    place.query(&format!("CREATE MATERIALIZED VIEW view TO other AS SELECT n FROM {}.rows", place.database));
    for table in ["rows", "other"] {
        place.query(&format!("SYSTEM STOP MERGES {}.{table}", place.database));
    }
    let cutter = format!("user = '{}'\npassword = '{}'", Server::CUTTER, Server::PASSWORD);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["some text"; 3000]));
    let rows = columns([
        ("n", Arc::new(Int64Array::from_iter_values(0..3000)) as ArrayRef),
        ("text", text.clone()),
        ("fixed", arrow_array::new_null_array(&arrow_schema::DataType::UInt8, 3000)),
        ("few", text),
    ]);
    let sink = place.open(&cutter, &rows).await;
    for _ in 0..2 {
        deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        let parts = |table: &str| {
            let here = format!("database = '{}' AND table = '{table}'", place.database);
            place.query(&format!("SELECT groupArray(rows) FROM system.parts WHERE {here} AND active"))
        };
        assert_eq!((parts("rows").as_str(), parts("other").as_str()), ("[1000,1000,1000]", "[3000]"));
        assert_eq!(place.query("SELECT count(), uniqExact(n), sum(fixed) FROM rows"), "3000\t3000\t21000");
    }
    // What the test is about: without being told, this user's INSERTs are cut.
    let client = clickhouse::Client::default().with_url(place.server.endpoint()).with_user(Server::CUTTER);
    let client = client.with_password(Server::PASSWORD).with_compression(clickhouse::Compression::None);
    let sql = format!("INSERT INTO {}.other SELECT number FROM numbers(3000)", place.database);
    client.query(&sql).execute().await.unwrap();
    let here = format!("database = '{}' AND table = 'other'", place.database);
    let parts: u64 = place.query(&format!("SELECT count() FROM system.parts WHERE {here} AND active")).parse().unwrap();
    assert!(parts > 2, "{parts}");
}

/// What a server answers that has this version, this engine, and these settings.
fn answers(version: &str, engine: &str, window: (&str, u64)) -> Vec<(String, String)> {
    let name = engine.split(['(', ' ']).next().unwrap();
    let columns = ["n\tInt64", "text\tString", "_delivery\tString"].map(|it| format!("{it}\t\t0\n"));
    let (setting, value) = window;
    [
        ("SELECT version()", version.to_owned()),
        ("FROM system.tables", format!("{name}\t{}\t\t", engine.replace('\'', "\\'"))),
        ("FROM system.columns", columns.concat()),
        ("FROM system.settings", "insert_deduplication_token\t\t0\nasync_insert\t1\t0\n".to_owned()),
        ("window_seconds'", "3600".to_owned()),
        (setting, value.to_string()),
    ]
    .map(|(words, answer)| (words.to_owned(), answer))
    .into()
}

/// Scenario: servers of several versions, and tables of the engines that need several servers.
/// Guarantees: too old ones and engines that do not deduplicate are found out at the start; for the others it is known
/// which settings count, and where a forgotten delivery is looked for.
#[tokio::test]
async fn versions_and_engines() {
    let own = ("non_replicated_deduplication_window", 0);
    let replicated = ("replicated_deduplication_window", 10_000);
    let replicated_tree = "ReplicatedMergeTree('/clickhouse/{uuid}', '{replica}') ORDER BY n";
    let cases = [
        ("23.8.16.40", "MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100", own),
        ("24.3.1.1", "MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100", own),
        ("26.7.2.1", replicated_tree, replicated),
        ("26.7.2.1", &format!("{replicated_tree} SETTINGS replicated_deduplication_window = 10"), replicated),
        ("26.7.2.1", "SharedReplacingMergeTree('/c', 'r', version) ORDER BY n", replicated),
        ("26.7.2.1", "SharedAggregatingMergeTree('/c', 'r') ORDER BY n", replicated),
        ("26.7.2.1", "Distributed('cluster', 'cdn', 'logs')", replicated),
        ("<html>no such page</html>", "MergeTree", own),
    ];
    let mut printed = String::new();
    for (version, engine, window) in cases {
        let parrot = Parrot::new(answers(version, engine, window));
        let config: crate::ClickHouse =
            toml::from_str(&format!("endpoint = '{}'\ndatabase = 'cdn'\ntable = 'logs'", parrot.endpoint())).unwrap();
        let rows = numbers(0..10);
        let answer = match config.open(rows.schema()).await {
            Ok(sink) => said(again(sink.as_ref(), 1, &[rows]).await.commit().await),
            Err(error) => error.to_string(),
        };
        let synced = parrot.count("SYSTEM SYNC REPLICA `cdn`.`logs` LIGHTWEIGHT");
        let consistent = parrot.count("select_sequential_consistency=1");
        let name = engine.split('(').next().unwrap();
        printed.push_str(&format!("{version}, {name}: {answer}; {synced} syncs, {consistent} consistent questions\n"));
    }
    expect![[r#"
        23.8.16.40, MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100: the server is ClickHouse 23.8.16.40, and exactly once needs 24.3 (hint: or write `exactly_once = false`, which may double rows); 0 syncs, 0 consistent questions
        24.3.1.1, MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100: done; 0 syncs, 0 consistent questions
        26.7.2.1, ReplicatedMergeTree: done; 2 syncs, 0 consistent questions
        26.7.2.1, ReplicatedMergeTree: table `cdn`.`logs` remembers 10 blocks, and must remember 100 at least: `ALTER TABLE `cdn`.`logs` MODIFY SETTING replicated_deduplication_window = 10000` (hint: or write `exactly_once = false`, which may double rows); 0 syncs, 0 consistent questions
        26.7.2.1, SharedReplacingMergeTree: done; 0 syncs, 1 consistent questions
        26.7.2.1, SharedAggregatingMergeTree: table `cdn`.`logs` has the engine SharedAggregatingMergeTree, which joins rows, so that a delivery cannot be found in it again: write into a `MergeTree`, and feed this table by a materialized view (hint: or write `exactly_once = false`, which may double rows); 0 syncs, 0 consistent questions
        26.7.2.1, Distributed: table `cdn`.`logs` has the engine Distributed, which spreads blocks over tables: write into those (hint: or write `exactly_once = false`, which may double rows); 0 syncs, 0 consistent questions
        <html>no such page</html>, MergeTree: the server is ClickHouse <html>no such page</html>, and exactly once needs 24.3 (hint: or write `exactly_once = false`, which may double rows); 0 syncs, 0 consistent questions
    "#]].assert_eq(&printed);
}

/// Scenario: rows that do not compress, and rows that do, some of more bytes than go into a frame, packed in each way.
/// Guarantees: they arrive; what is damaged on its way is found out and sent again.
#[tokio::test]
async fn compression() {
    for codec in ["lz4", "zstd", "none"] {
        let place = Place::new();
        place.table(NUMBERS);
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (0..300_000).map(|it: i64| it.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)),
        ));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..300_000).map(|it| format!("text {}", it / 1000))));
        let rows = columns([("n", n), ("text", texts)]);
        let port: u16 = place.server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        let damages = AtomicUsize::new(usize::from(codec != "none"));
        let damaging = front(None, move |head, body| {
            let mut body = body.to_vec();
            let is_last = |left: usize| left.checked_sub(1);
            if head.contains("INSERT") && damages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_last).is_ok() {
                // In the last frame: the server has read all before it answers.
                let near_the_end = body.len() - 64;
                body[near_the_end] ^= 1;
            }
            passed_on(port, head, &body)
        });
        let keys = format!("compression = '{codec}'");
        let sink = open(&place.config_at(&format!("http://127.0.0.1:{damaging}"), &keys), &rows).await;
        let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        if codec != "none" {
            let damaged = said(draft.commit().await);
            assert!(damaged.starts_with("retry: ") && damaged.contains("Checksum doesn't match"), "{damaged}");
        }
        assert_eq!(said(draft.commit().await), "done", "{codec}");
        let sums = "SELECT count(), uniqExact(n), uniqExact(text), sum(cityHash64(n)) FROM rows";
        let expected = "SELECT count(), uniqExact(n), 300, sum(cityHash64(n)) FROM \
                        (SELECT toInt64(number * toUInt64(0x9e3779b97f4a7c15)) AS n FROM numbers(300000))";
        assert_eq!(place.query(sums), place.query(expected), "{codec}");
    }
}

/// Scenario: something stands before the server that wants a header.
/// Guarantees: every request has it.
#[tokio::test]
async fn headers() {
    let place = Place::new();
    place.table(NUMBERS);
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let sink = open(&place.config_at(&proxy.endpoint(), "headers = { X-Team = 'cdn' }"), &numbers(0..1)).await;
    proxy.set_rules(vec![Rule::new(Fault::Status(403, "not you".into())).header("x-team", "cdn").times(1)]);
    let mut draft = staged(sink.as_ref(), 1, &[numbers(0..10)]).await;
    assert_eq!(
        said(draft.commit().await).replace(&place.database, "database"),
        "retry: inserting 10 rows into `database`.`rows`: not you"
    );
    commit(&mut draft).await;
    assert_eq!(proxy.faults(), 1);
    let token = format!("insert_deduplication_token={}-0-10", id(1));
    assert!(proxy.seen().iter().any(|it| it.path.contains(&token)));
}

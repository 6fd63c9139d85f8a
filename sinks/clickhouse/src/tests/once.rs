//! Every row is there once, whatever happens on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt8Array};
use expect_test::expect;
use forebay_api::{Draft, Promise, Refused, Sink, SinkError};
use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};
use forebay_testkit::{columns, cut};

use super::{NUMBERS, Place, deliver, id, numbers, open, said, staged};

/// Commits until it works, as the engine does.
pub(super) async fn commit(draft: &mut Box<dyn Draft>) -> Refused {
    for _ in 0..600 {
        match draft.commit().await {
            Ok(refused) => return refused,
            Err(SinkError::Retry(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(SinkError::Stop(error)) => panic!("{error}"),
        }
    }
    panic!("600 tries were not enough");
}

/// Makes a delivery again that a crash left open just now.
pub(super) async fn again(sink: &dyn Sink, n: u64, batches: &[RecordBatch]) -> Box<dyn Draft> {
    again_since(sink, n, batches, Some(SystemTime::now())).await
}

/// The same, of a crash that was after `intended`.
async fn again_since(sink: &dyn Sink, n: u64, batches: &[RecordBatch], intended: Option<SystemTime>) -> Box<dyn Draft> {
    let mut draft = sink.begin_again(&id(n), intended).await.unwrap();
    for batch in batches {
        draft.stage(batch.clone()).await.unwrap();
    }
    draft
}

/// Scenario: the suite for sinks.
/// Guarantees: nothing is visible before the commit, all of it after it, and the same delivery twice once.
#[tokio::test]
async fn conformance() {
    let place = Place::new();
    place.table(NUMBERS);
    let input = [numbers(0..5), numbers(5..6), numbers(6..40)];
    forebay_testkit::sink(
        Promise::OncePerId,
        &input,
        async || place.open("", &input[0]).await,
        async || place.query("SELECT n, text FROM rows FORMAT JSONEachRow").lines().map(str::to_owned).collect(),
    )
    .await;
}

/// Scenario: the same suite, on a table that remembers nothing and has no column for names.
/// Guarantees: all the same, save that what is delivered twice may be there twice: a declared downgrade.
#[tokio::test]
async fn conformance_at_least_once() {
    let place = Place::new();
    place.query(&format!("CREATE TABLE rows ({NUMBERS}) ENGINE = MergeTree ORDER BY n"));
    let input = [numbers(0..5), numbers(5..40)];
    forebay_testkit::sink(
        Promise::AtLeastOnce,
        &input,
        async || place.open("exactly_once = false", &input[0]).await,
        async || place.query("SELECT n, text FROM rows FORMAT JSONEachRow").lines().map(str::to_owned).collect(),
    )
    .await;
}

/// Scenario: 60 deliveries through a proxy that loses answers, cuts requests in the middle, and resets connections.
/// Guarantees: each row is there once.
#[tokio::test]
async fn answers_are_lost() {
    let place = Place::new();
    place.table(NUMBERS);
    let rules = vec![
        Rule::new(Fault::AnswerLost).path_contains("INSERT").after(1).times(15),
        Rule::new(Fault::TruncateRequest(3000)).path_contains("INSERT").times(15),
        Rule::new(Fault::Reset).times(15),
        Rule::new(Fault::Status(502, "bad gateway".into())).path_contains("INSERT").times(15),
    ];
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let sink = open(&place.config_at(&proxy.endpoint(), ""), &numbers(0..1)).await;
    proxy.set_rules(rules);
    for n in 0..60 {
        let first = n as i64 * 1000;
        let mut draft =
            staged(sink.as_ref(), n, &[numbers(first..first + 400), numbers(first + 400..first + 1000)]).await;
        assert!(commit(&mut draft).await.is_empty());
    }
    assert_eq!(proxy.faults(), 60);
    assert_eq!(place.count(), "60000\t60000");
}

/// Scenario: deliveries are made again by another process, in other batches, of which the server has all, some or
/// nothing.
/// Guarantees: each row is there once.
#[tokio::test]
async fn other_batches() {
    let place = Place::new();
    place.table(NUMBERS);
    let rows = numbers(0..3000);
    let sink = place.open("", &rows).await;
    deliver(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 70)).await;
    for rows_max in [1000, 3000, 1] {
        let sink = place.open("", &rows).await;
        let batches = cut(std::slice::from_ref(&rows), rows_max);
        deliver(sink.as_ref(), 1, &batches).await;
        commit(&mut again(sink.as_ref(), 1, &batches).await).await;
    }
    let sink = place.open("", &rows).await;
    commit(&mut again(sink.as_ref(), 2, &[numbers(3000..4000)]).await).await;
    assert_eq!(place.count(), "4000\t4000");
}

/// Scenario: a delivery is made again after the table has forgotten it, however fast that went: by another process, and
/// by the same one, whose first answer was lost.
/// Guarantees: each row is there once.
#[tokio::test]
async fn the_table_has_forgotten() {
    let place = Place::new();
    place.query(
        "CREATE TABLE rows (n Int64, text String, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 100",
    );
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let sink = open(&place.config_at(&proxy.endpoint(), ""), &numbers(0..1)).await;
    deliver(sink.as_ref(), 1, &[numbers(0..10)]).await;
    let mut open_still = staged(sink.as_ref(), 2, &[numbers(10..20)]).await;
    proxy.set_rules(vec![Rule::new(Fault::AnswerLost).times(1)]);
    assert!(said(open_still.commit().await).starts_with("retry: inserting 10 rows"));
    for n in 3..113 {
        deliver(sink.as_ref(), n, &[numbers(n as i64 * 10 - 10..n as i64 * 10)]).await;
    }
    assert!(open_still.commit().await.unwrap().is_empty());
    let sink = place.open("", &numbers(0..1)).await;
    commit(&mut again(sink.as_ref(), 1, &[numbers(0..3), numbers(3..10)]).await).await;
    assert_eq!(place.count(), "1120\t1120");
    // What the test is about: the token alone does not help any more.
    deliver(sink.as_ref(), 1, &[numbers(0..10)]).await;
    assert_eq!(place.query("SELECT count() FROM rows"), "1130");
}

/// A table of partitions, two of three of which have their rows of a delivery, and all rows of it.
fn two_of_three(key: &str) -> (Place<'static>, RecordBatch) {
    let place = Place::new();
    place.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, fixed UInt8 DEFAULT 7, _delivery LowCardinality(String)) ENGINE = MergeTree \
         PARTITION BY {key} ORDER BY n SETTINGS non_replicated_deduplication_window = 100, allow_nullable_key = 1"
    ));
    let name = format!("{}-0-100", id(1));
    place.query(&format!(
        "INSERT INTO rows SELECT number, concat('text ', toString(number)), 7, '{name}' FROM numbers(100) \
         WHERE number % 3 != 2"
    ));
    let columns = numbers(0..100);
    let rows = forebay_testkit::columns([
        ("n", columns.column(0).clone()),
        ("text", columns.column(1).clone()),
        ("fixed", Arc::new(UInt8Array::new_null(100)) as ArrayRef),
    ]);
    (place, rows)
}

/// Scenario: of a delivery of three partitions the server has two when it is made again, and has forgotten them.
/// Guarantees: the third is completed, and each row is there once, with the server's defaults.
#[tokio::test]
async fn some_partitions_are_there() {
    for key in ["n % 3", "(n % 3, text > 'text 5')", "nullIf(n % 3, 2)"] {
        let (place, rows) = two_of_three(key);
        let sink = place.open("", &rows).await;
        for _ in 0..2 {
            commit(&mut again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await).await;
            assert_eq!(place.query("SELECT count(), uniqExact(*), sum(fixed) FROM rows"), "100\t100\t700", "{key}");
        }
    }
}

/// Scenario: the same long after, but a column of the partitions gets its value from the server.
/// Guarantees: the sink stops and says so: nobody knows which rows are missing.
#[tokio::test]
async fn partitions_that_nobody_knows() {
    let (place, rows) = two_of_three("(n % 3, fixed)");
    let sink = place.open("", &rows).await;
    let stopped = said(again_since(sink.as_ref(), 1, &[rows], None).await.commit().await);
    expect!["stop: some partitions of table `database`.`rows` have rows of `00000000000000000000000000000001-0-100`, others may lack them, and the rows do not have the column `fixed` that tells which (hint: look at them, and run once with `exactly_once = false` to send all of it again)"].assert_eq(&stopped.replace(&place.database, "database"));
}

/// A table of which a view feeds another one, which does not take the row 7.
fn with_a_view(window: u32) -> Place<'static> {
    let place = Place::new();
    place.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = {window}"
    ));
    place.query("CREATE TABLE other (n Int64, CONSTRAINT odd CHECK n != 7) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100");
    place.query(&format!("CREATE MATERIALIZED VIEW view TO other AS SELECT n FROM {}.rows", place.database));
    place
}

/// Scenario: a materialized view does not take a row that its table has taken; then it is mended, while the process
/// waits, or after it has ended.
/// Guarantees: the sink waits and says so, without doubling rows; the view gets what it lacks.
#[tokio::test]
async fn a_view_that_does_not_take_rows() {
    for restarts in [false, true] {
        let place = with_a_view(1000);
        let rows = numbers(0..100);
        let sink = place.open("", &rows).await;
        let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        for _ in 0..3 {
            let waiting = said(draft.commit().await);
            assert!(
                waiting.starts_with("retry: the table has the rows, and what it feeds does not take them"),
                "{waiting}"
            );
            assert_eq!(place.count(), "100\t100");
        }
        place.query("ALTER TABLE other DROP CONSTRAINT odd");
        if restarts {
            let sink = place.open("", &rows).await;
            draft = again(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 30)).await;
        }
        commit(&mut draft).await;
        assert_eq!(place.count(), "100\t100", "restarts: {restarts}");
        assert_eq!(place.query("SELECT count(), uniqExact(n) FROM other"), "100\t100", "restarts: {restarts}");
    }
}

/// Scenario: the same, but it is not certain any more that the table remembers: others have inserted, it was long ago, or
/// nobody knows when it was.
/// Guarantees: no row is doubled, neither in the table nor in what it feeds.
#[tokio::test]
async fn a_view_that_may_lack_rows() {
    for (others, intended) in [
        (120, Some(SystemTime::now())),
        (0, None),
        (0, Some(SystemTime::now() + Duration::from_secs(3600))),
        (60, Some(SystemTime::now() - Duration::from_secs(3600))),
    ] {
        let place = with_a_view(100);
        let rows = numbers(0..10);
        let sink = place.open("", &rows).await;
        let failed = said(staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.commit().await);
        assert!(failed.starts_with("retry: the table has the rows"), "{failed}");
        place.query("ALTER TABLE other DROP CONSTRAINT odd");
        for n in 0..others {
            deliver(sink.as_ref(), n + 2, &[numbers(n as i64 + 100..n as i64 + 101)]).await;
        }
        let sink = place.open("", &rows).await;
        commit(&mut again_since(sink.as_ref(), 1, std::slice::from_ref(&rows), intended).await).await;
        let expected = others + 10;
        assert_eq!(place.count(), format!("{expected}\t{expected}"), "{others} others, {intended:?}");
        assert_eq!(place.query("SELECT count(), uniqExact(n) FROM other"), format!("{others}\t{others}"));
    }
}

/// Scenario: after a crash, a user makes a delivery again who may not ask how many blocks the table has taken.
/// Guarantees: that is said at the start, with what to do; no row is doubled.
#[tokio::test]
async fn a_user_who_may_not_count_blocks() {
    let place = with_a_view(100);
    let (config, rows) =
        (place.config(&format!("user = '{}'\npassword = '{}'", Server::GRANTED, Server::PASSWORD)), numbers(10..20));
    let servers = crate::server::Servers::new(&config).unwrap();
    let warnings = crate::table::look(&config, "rows", &servers, &rows.schema()).await.unwrap().warnings.join("\n");
    assert!(warnings.ends_with("(hint: the user needs the right `SELECT ON system.parts`)"), "{warnings}");
    let sink = open(&config, &rows).await;
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    commit(&mut again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await).await;
    assert_eq!(place.count(), "10\t10");
    assert_eq!(place.query("SELECT count(), uniqExact(n) FROM other"), "10\t10");
}

/// Scenario: an answer is lost on the way to a table of which a view feeds a table that remembers no blocks.
/// Guarantees: neither of them has a row twice.
#[tokio::test]
async fn a_view_that_would_take_rows_twice() {
    let place = Place::new();
    place.table(NUMBERS);
    place.query("CREATE TABLE other (n Int64) ENGINE = MergeTree ORDER BY n");
    place.query(&format!("CREATE MATERIALIZED VIEW view TO other AS SELECT n FROM {}.rows", place.database));
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let sink = open(&place.config_at(&proxy.endpoint(), ""), &numbers(0..1)).await;
    proxy.set_rules(vec![Rule::new(Fault::AnswerLost).path_contains("INSERT").times(1)]);
    commit(&mut staged(sink.as_ref(), 1, &[numbers(0..10)]).await).await;
    assert_eq!(place.count(), "10\t10");
    assert_eq!(place.query("SELECT count(), uniqExact(n) FROM other"), "10\t10");
}

/// Scenario: a process stands still between the intent of a delivery and its INSERT; meanwhile another one takes the
/// delivery over, and the table forgets it.
/// Guarantees: what goes out late has no effect.
#[tokio::test]
async fn a_process_that_stood_still() {
    let place = Place::new();
    place.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 100"
    ));
    let rows = numbers(0..10);
    let (paused, other) = (place.open("", &rows).await, place.open("", &rows).await);
    let mut late = staged(paused.as_ref(), 1, std::slice::from_ref(&rows)).await;
    commit(&mut again(other.as_ref(), 1, std::slice::from_ref(&rows)).await).await;
    for n in 1..111 {
        deliver(other.as_ref(), n + 1, &[numbers(n as i64 * 10..n as i64 * 10 + 10)]).await;
    }
    tokio::time::sleep(crate::portion::PROMPT).await;
    assert!(late.commit().await.unwrap().is_empty());
    assert_eq!(place.count(), "1110\t1110");
}

/// Scenario: rows wait for others to come, longer than a process may stand still unnoticed; then their delivery is intended
/// and sent.
/// Guarantees: nobody else can have made it, and the table is not searched for it.
#[tokio::test]
async fn a_delivery_that_waited_for_rows() {
    let place = Place::new();
    place.table(NUMBERS);
    let rows = numbers(0..10);
    let sink = place.open("", &rows).await;
    // On a busy machine a try may really stand still.
    for n in 0..60 {
        let before = place.searches();
        let mut draft = sink.begin(&id(n)).await.unwrap();
        draft.stage(rows.clone()).await.unwrap();
        tokio::time::sleep(crate::portion::PROMPT).await;
        draft.intended(SystemTime::now());
        commit(&mut draft).await;
        if place.searches() == before {
            return;
        }
    }
    panic!("the table was searched for every delivery");
}

/// Scenario: views feed tables that remember blocks and tables that do not, their own and others.
/// Guarantees: the sink says which ones get rows twice if an INSERT is repeated; the others do not.
#[tokio::test]
async fn views_that_forget() {
    let place = Place::new();
    place.table_with(NUMBERS, "ORDER BY n");
    let database = &place.database;
    let remembering = "SETTINGS non_replicated_deduplication_window = 100";
    for (name, rest) in [("good", remembering), ("bad", "")] {
        place.query(&format!("CREATE TABLE {database}.{name} (n Int64) ENGINE = MergeTree ORDER BY n {rest}"));
    }
    for (view, rest) in [
        ("to_good", format!("TO {database}.good AS SELECT n")),
        ("to_bad", format!("TO {database}.bad AS SELECT n")),
        ("good_itself", format!("ENGINE = SummingMergeTree ORDER BY tuple() {remembering} AS SELECT sum(n) AS n")),
        ("bad_itself", "ENGINE = SummingMergeTree ORDER BY tuple() AS SELECT sum(n) AS n".to_owned()),
    ] {
        place.query(&format!("CREATE MATERIALIZED VIEW {database}.{view} {rest} FROM {database}.rows"));
    }
    let (config, rows) = (place.config(""), numbers(0..10));
    let servers = crate::server::Servers::new(&config).unwrap();
    let mut warnings = crate::table::look(&config, "rows", &servers, &rows.schema()).await.unwrap().warnings;
    warnings.sort();
    let inner =
        place.query(&format!("SELECT uuid FROM system.tables WHERE database = '{database}' AND name = 'bad_itself'"));
    let warnings = warnings.join("\n").replace(database, "database").replace(&inner, "uuid");
    expect![[r#"
        an INSERT that is repeated doubles rows in table `database`.`.inner_id.uuid`, which view `bad_itself` feeds (hint: `ALTER TABLE `database`.`.inner_id.uuid` MODIFY SETTING non_replicated_deduplication_window = 10000`)
        an INSERT that is repeated doubles rows in table `database`.`bad`, which view `to_bad` feeds (hint: `ALTER TABLE `database`.`bad` MODIFY SETTING non_replicated_deduplication_window = 10000`)"#]].assert_eq(&warnings);
    let sink = place.open("", &rows).await;
    for _ in 0..2 {
        deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    }
    let sums = ["good", "bad", "good_itself", "bad_itself"].map(|it| format!("(SELECT sum(n) FROM {database}.{it})"));
    assert_eq!(place.query(&format!("SELECT {}", sums.join(", "))), "45\t90\t45\t90");
}

/// Scenario: a value does not fit; before the delivery is made again, the column takes it.
/// Guarantees: the sink stops and says why, since nobody knows what became of the row; when what it names was taken
/// away, all rows are inserted, once.
#[tokio::test]
async fn columns_change_between_two_tries() {
    let place = Place::new();
    place.table("n UInt8, text String");
    let rows = numbers(250..260);
    let sink = place.open("", &rows).await;
    assert_eq!(deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.len(), 4);
    place.query("ALTER TABLE rows MODIFY COLUMN n UInt16");
    let sink = place.open("", &rows).await;
    let stopped = said(again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.commit().await);
    expect!["stop: delivery 00000000000000000000000000000001 was begun when the columns of table `database`.`rows` were others: it has rows of `00000000000000000000000000000001-0-10-085b8aaf55249317`, which are not those of `00000000000000000000000000000001-0-10` (hint: take them away, so that all of it is sent again: `DELETE FROM `database`.`rows` WHERE `_delivery` = '00000000000000000000000000000001-0-10-085b8aaf55249317'`)"].assert_eq(&stopped.replace(&place.database, "database"));
    assert_eq!(place.count(), "6\t6");
    let hint = stopped.split_once("sent again: `").unwrap().1.strip_suffix("`)").unwrap();
    place.query(hint);
    assert!(commit(&mut again(sink.as_ref(), 1, &[rows]).await).await.is_empty());
    assert_eq!(place.count(), "10\t10");
}

/// Scenario: rows for 150 partitions go into a table that remembers 100 blocks, and the answer is lost.
/// Guarantees: each row is there once, since the table is looked at; where it remembers, it is asked again.
#[tokio::test]
async fn more_partitions_than_are_remembered() {
    for partitions in [150, 3] {
        let place = Place::new();
        place.query(&format!(
            "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) ENGINE = MergeTree \
             PARTITION BY n % {partitions} ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
        ));
        let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
        let sink = open(&place.config_at(&proxy.endpoint(), ""), &numbers(0..1)).await;
        proxy.set_rules(vec![Rule::new(Fault::AnswerLost).path_contains("INSERT").times(1)]);
        let mut draft = staged(sink.as_ref(), 1, &[numbers(0..3000)]).await;
        assert!(said(draft.commit().await).starts_with("retry: inserting 3000 rows"));
        assert!(commit(&mut draft).await.is_empty());
        assert_eq!(place.count(), "3000\t3000", "{partitions} partitions");
        let inserts = proxy.seen().iter().filter(|it| it.path.contains("INSERT")).count();
        assert!(partitions == 3 || inserts == 1, "{partitions} partitions: {inserts} INSERTs");
    }
}

/// Scenario: more rows than a block takes, with text of which there is much.
/// Guarantees: each chunk is one INSERT of one block, and each block one part.
#[tokio::test]
async fn one_insert_is_one_block() {
    let place = Place::new();
    place.table("n Int64, text String");
    place.query(&format!("SYSTEM STOP MERGES {}.rows", place.database));
    let batches: Vec<RecordBatch> = (0..12)
        .map(|nth| {
            let n: ArrayRef = Arc::new(Int64Array::from_iter_values(nth * 100_000..(nth + 1) * 100_000));
            columns([
                ("n", n),
                ("text", Arc::new(StringArray::from(vec!["the same text, again and again"; 100_000])) as ArrayRef),
            ])
        })
        .collect();
    let sink = place.open("compression = 'zstd'", &batches[0]).await;
    deliver(sink.as_ref(), 1, &batches).await;
    let here = format!("database = '{}'", place.database);
    assert_eq!(
        place.query(&format!(
            "SELECT groupArray(rows) FROM (SELECT rows FROM system.parts WHERE {here} AND level = 0 ORDER BY name)"
        )),
        "[1000000,200000]"
    );
    assert_eq!(place.query("SELECT count(), uniqExact(n), uniqExact(_delivery) FROM rows"), "1200000\t1200000\t2");
}

/// Scenario: the process ends at each step of a delivery of three chunks: before a request, with its answer lost, in the
/// middle of it, at any moment; the next process makes the delivery again, in other batches.
/// Guarantees: after it each row is there once, whatever the first process left running.
#[tokio::test]
async fn the_process_is_killed() {
    let rows = numbers_alone(2_100_000);
    let faults = [Fault::Reset, Fault::AnswerLost, Fault::TruncateRequest(200_000)];
    let steps = (0..3).flat_map(|requests| faults.iter().map(move |it| Step::Request(requests, it.clone())));
    let moments = [1, 20, 70, 150, 400, 900].map(|it| Step::Moment(Duration::from_millis(it)));
    for step in steps.chain(moments) {
        let place = Place::new();
        place.table("n Int64");
        let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
        let sink = open(&place.config_at(&proxy.endpoint(), ""), &rows).await;
        let mut draft = staged(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 300_000)).await;
        match &step {
            Step::Request(requests, fault) => {
                proxy.set_rules(vec![Rule::new(fault.clone()).path_contains("INSERT").after(*requests)]);
                assert!(said(draft.commit().await).starts_with("retry: inserting"), "{step:?}");
            }
            // It may also be done by then.
            Step::Moment(time) => drop(tokio::time::timeout(*time, draft.commit()).await),
        }
        drop((draft, sink));
        let sink = place.open("", &rows).await;
        assert!(commit(&mut again(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 65_536)).await).await.is_empty());
        assert_eq!(place.query("SELECT count(), uniqExact(n) FROM rows"), "2100000\t2100000", "{step:?}");
    }
}

/// When a process ends.
#[derive(Debug)]
enum Step {
    /// After so many requests, the next one of which meets a fault.
    Request(usize, Fault),
    /// So long after it began to commit.
    Moment(Duration),
}

fn numbers_alone(rows: i64) -> RecordBatch {
    columns([("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)])
}

/// Scenario: deliveries go on while the server is killed and started again, five times.
/// Guarantees: each row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed() {
    let mut server = Server::start();
    let place = Place::on(&server);
    place.table(NUMBERS);
    let (database, endpoint) = (place.database.clone(), server.endpoint());
    let config = place.config_at(&endpoint, "");
    let ended = Arc::new(AtomicBool::new(false));
    let over = ended.clone();
    let writer = tokio::spawn(async move {
        let sink = open(&config, &numbers(0..1)).await;
        let mut n = 0;
        while !over.load(Ordering::Relaxed) || n < 40 {
            let first = n as i64 * 5000;
            commit(&mut staged(sink.as_ref(), n, &[numbers(first..first + 5000)]).await).await;
            n += 1;
        }
        n
    });
    for pause in [300, 100, 500, 50, 200] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        tokio::task::block_in_place(|| server.restart());
    }
    ended.store(true, Ordering::Relaxed);
    let rows = writer.await.unwrap() * 5000;
    let there = server.query(&format!("SELECT count(), uniqExact(n) FROM {database}.rows"));
    assert_eq!(there, format!("{rows}\t{rows}"));
}

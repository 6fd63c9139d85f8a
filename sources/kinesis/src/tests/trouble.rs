//! Streams where something goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_api::{BoxError, Partition, Position, Read, Resume, Source, SourceConfig, Span};
use forebay_testkit::services::{Fault, FaultProxy, KinesisLimits, KinesisMishap, KinesisServer, Rule};
use serde_json::json;
use tokio::sync::mpsc;

use super::remote::{ends, server};
use super::{messages, next, rows, shown, source, until};
use crate::api::Limits;
use crate::replay::Replay;
use crate::source::{Everything, seen_through};
use crate::{End, Kinesis};

async fn all(source: &mut dyn Source) -> Vec<Read> {
    let mut reads = Vec::new();
    while let Some(read) = next(source).await {
        reads.push(read);
    }
    reads
}

fn set(rows: Vec<String>) -> BTreeSet<String> {
    let (count, set) = (rows.len(), rows.into_iter().collect::<BTreeSet<_>>());
    assert_eq!(set.len(), count, "rows came twice");
    set
}

/// Scenario: calls of every kind fail, with errors of the service, without an answer, with a cut one, or find nothing.
/// Guarantees: every row comes once, in the order of its shard.
#[tokio::test]
async fn what_passes_by_itself() {
    let server = server(3);
    let rows: Vec<(String, String)> = (0..3000).map(|it| (format!("{it}"), format!("row {it}"))).collect();
    server.put_directly("cdn", rows);
    let error = |code: &str| KinesisMishap::Error(400, code.into());
    for call in ["ListShards", "GetShardIterator", "GetRecords"] {
        server.fail(call, 1, KinesisMishap::Error(500, "InternalFailure".into()));
        server.fail(call, 1, KinesisMishap::AnswerLost);
        server.fail(call, 1, error("LimitExceededException"));
        server.fail(call, 1, error("AccessDeniedException"));
        server.fail(call, 1, error("KMSThrottlingException"));
    }
    for mishap in
        [KinesisMishap::Nothing, error("ProvisionedThroughputExceededException"), error("ExpiredIteratorException")]
    {
        server.fail("GetRecords", 4, mishap);
    }
    let at = |call: &str, fault, after| Rule::new(fault).header("x-amz-target", call).after(after).times(1);
    let rules = vec![
        at("ListShards", Fault::TruncateBody(300), 0),
        at("ListShards", Fault::Reset, 0),
        at("GetShardIterator", Fault::AnswerLost, 1),
        at("GetRecords", Fault::TruncateBody(10_000), 2),
        at("GetRecords", Fault::Status(503, "busy".into()), 2),
        at("GetRecords", Fault::Reset, 4),
    ];
    let proxy = FaultProxy::start(&server.endpoint(), rules);
    let config = source(&proxy.endpoint(), json!({ "records_max": 250 }));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(set(messages(&reads)), (0..3000).map(|it| format!("row {it}")).collect());
    assert_eq!(proxy.faults(), 6);
}

/// Scenario: more shards than one page lists, and pages that fail or expire.
/// Guarantees: all shards are found, and those that were found are read meanwhile.
#[tokio::test]
async fn discovery_converges() {
    let server = KinesisServer::with(KinesisLimits { shards_per_page: 4, ..KinesisLimits::without_rates() });
    server.create_stream("cdn", 15);
    let rows: Vec<(String, String)> = (0..300).map(|it| (format!("{it}"), format!("row {it}"))).collect();
    server.put_directly("cdn", rows);
    let proxy = FaultProxy::start(
        &server.endpoint(),
        vec![Rule::new(Fault::Status(500, "failure".into())).header("x-amz-target", "ListShards").after(2).times(3)],
    );
    server.fail("ListShards", 1, KinesisMishap::Error(400, "ExpiredNextTokenException".into()));
    let config = source(&proxy.endpoint(), json!({}));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(set(messages(&reads)).len(), 300);
    assert_eq!(ends(&reads).len(), 15);
}

/// Scenario: calls of every kind are never answered, over connections that stay open.
/// Guarantees: each is given up after its own time, and made again; every row comes.
#[tokio::test]
async fn silence() {
    let server = server(2);
    let rows: Vec<(String, String)> = (0..100).map(|it| (format!("{it}"), format!("row {it}"))).collect();
    server.put_directly("cdn", rows);
    let silent = |call: &str| Rule::new(Fault::Blackhole).header("x-amz-target", call).times(2);
    let rules = ["ListShards", "GetShardIterator", "GetRecords"].map(silent).into();
    let proxy = FaultProxy::start(&server.endpoint(), rules);
    let mut config = source(&proxy.endpoint(), json!({}));
    config.tuning.limits = Limits { small: Duration::from_secs(1), large: Duration::from_secs(1) };
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(set(messages(&reads)).len(), 100);
    assert_eq!(proxy.faults(), 6);
}

/// Scenario: a server with the service's limits, one reader; then two of the same stream, as fast as they may.
/// Guarantees: one reader is not refused once; two both read everything.
#[tokio::test]
async fn throttling() {
    let server = KinesisServer::start();
    server.create_stream("cdn", 1);
    let rows: Vec<(String, String)> =
        (0..40).map(|it| (format!("{it}"), format!("row {it:05} {}", "x".repeat(60_000)))).collect();
    server.put_directly("cdn", rows);
    let mut config = source(&server.endpoint(), json!({ "records_max": 10 }));
    config.tuning.interval = crate::pace::INTERVAL;
    let one = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(messages(&one).len(), 40);
    assert_eq!(server.calls("GetRecords").refused, 0);
    let read = || async { all(&mut *config.open(Resume::start()).await.unwrap()).await };
    let (left, right) = tokio::join!(read(), read());
    assert_eq!((messages(&left), messages(&right)), (messages(&one), messages(&one)));
}

/// Scenario: a shard in which there is nothing, and then one in which there is something now and then, is polled for a while;
/// meanwhile calls fail in every way, and in the end all of it is read again, and again.
/// Guarantees: never more than five calls a second.
#[tokio::test]
async fn five_calls_a_second() {
    let server = server(1);
    let mut config = source(&server.endpoint(), json!({ "end": "never" }));
    config.tuning.interval = crate::pace::INTERVAL;
    for code in ["ExpiredIteratorException", "InvalidArgumentException", "AccessDeniedException", "InternalFailure"] {
        server.fail("GetRecords", 1, KinesisMishap::Error(400, code.into()));
        server.fail("GetRecords", 1, KinesisMishap::AnswerLost);
        server.fail("GetRecords", 1, KinesisMishap::Nothing);
    }
    let calls = || server.calls("GetRecords").answered + server.calls("GetRecords").refused;
    let begun = Instant::now();
    let mut source = config.open(Resume::start()).await.unwrap();
    until("everything has failed", || calls() > 12).await;
    let nothing = tokio::time::timeout(Duration::from_secs(1), source.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    for nth in 0..3 {
        server.put("cdn", "a", format!("row {nth}"));
        assert_eq!(rows(&mut *source, 1).await, [format!("row {nth}")]);
    }
    drop(source);
    let reads = all(&mut *Kinesis { end: End::CaughtUp, ..config.clone() }.open(Resume::start()).await.unwrap()).await;
    let span = reads.last().unwrap().span.clone();
    for _ in 0..3 {
        assert_eq!(replayed(&config, &span).await.unwrap().len(), 1);
    }
    let (calls, seconds) = (calls(), begun.elapsed().as_secs_f64());
    assert!(calls as f64 <= seconds * 5.0 + 1.0, "{calls} calls in {seconds} s");
}

/// Scenario: iterators expire while nobody asks, with and without records before and behind.
/// Guarantees: reading goes on with the next record; none comes twice.
#[tokio::test]
async fn expired_iterators() {
    let server = server(1);
    let config = source(&server.endpoint(), json!({ "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    for nth in 0..4 {
        let put = format!("row {nth}");
        server.put("cdn", "a", put.clone());
        assert_eq!(rows(&mut *source, 1).await, [put]);
        server.advance(Duration::from_secs(301));
        server.put("cdn", "a", "between");
        assert_eq!(rows(&mut *source, 1).await, ["between"]);
        server.advance(Duration::from_secs(301));
    }
}

/// Scenario: records expire that were not read, then the shard itself, and a position is of a stream that was deleted.
/// Guarantees: reading goes on with the oldest record; a shard that is gone is finished.
#[tokio::test]
async fn expired_records() {
    let server = server(1);
    for row in ["one", "two", "three", "four"] {
        server.put("cdn", "a", row);
    }
    let config = source(&server.endpoint(), json!({ "records_max": 1 }));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    let shard = server.open_shards("cdn")[0].clone();
    let first = Resume::After([(reads[1].span.partition.clone(), reads[1].span.to.clone())].into());
    server.trim("cdn", &shard, 2);
    let rest = all(&mut *config.open(first.clone()).await.unwrap()).await;
    expect_test::expect![[r#"
        cdn/shardId-000000000000 (#1:1..#2:0]
        cdn/shardId-000000000000 (#2:0..#2:1]
          #2:1 "three"
        cdn/shardId-000000000000 (#2:1..#3:1]
          #3:1 "four"
    "#]]
    .assert_eq(&shown(&rest));
    // As of another stream of the same name.
    let strange = Position::sequence("17", 1).unwrap();
    let strange = Resume::After([(reads[1].span.partition.clone(), strange)].into());
    let rest = all(&mut *config.open(strange).await.unwrap()).await;
    assert_eq!(messages(&rest), ["three", "four"]);
    server.split("cdn", &shard);
    server.advance(Duration::from_secs(25 * 3600));
    let rest = all(&mut *config.open(first).await.unwrap()).await;
    expect_test::expect![[r#"
        cdn/shardId-000000000000 (#1:1..end]
    "#]]
    .assert_eq(&shown(&rest));
}

async fn replayed(config: &crate::Kinesis, span: &Span) -> Result<Vec<Read>, BoxError> {
    let mut source = config.open(Resume::Exactly(vec![span.clone()])).await?;
    let mut reads = Vec::new();
    while let Some(read) = source.next().await? {
        reads.push(read);
    }
    Ok(reads)
}

/// Scenario: spans are read again when the record before them has expired, some of their own, or all; or the shard has.
/// Guarantees: what is there is read; where the last record is not, an error says so. (That rows are missing before it is found
/// by whoever knows how many there were: `a_replay_that_brings_fewer_rows` of the engine.)
#[tokio::test]
async fn a_replay_of_what_is_gone() {
    let server = server(1);
    for row in ["one", "two", "three", "four"] {
        server.put("cdn", "a", row);
    }
    let config = source(&server.endpoint(), json!({ "records_max": 1 }));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    let span = |from: usize, to: usize| {
        let (from, to) = (&reads[from].span, &reads[to].span);
        Span::new(from.partition.clone(), from.to.clone(), to.to.clone())
    };
    assert_eq!(messages(&replayed(&config, &span(1, 3)).await.unwrap()), ["two", "three"]);
    let shard = server.open_shards("cdn")[0].clone();
    server.trim("cdn", &shard, 1);
    assert_eq!(messages(&replayed(&config, &span(1, 3)).await.unwrap()), ["two", "three"]);
    assert_eq!(messages(&replayed(&config, &span(2, 4)).await.unwrap()), ["three", "four"]);
    server.trim("cdn", &shard, 1);
    assert_eq!(messages(&replayed(&config, &span(1, 3)).await.unwrap()), ["three"]);
    server.trim("cdn", &shard, 2);
    for (from, to) in [(1, 3), (2, 4)] {
        let why = replayed(&config, &span(from, to)).await.unwrap_err().to_string();
        assert!(why.contains("have expired from the stream since they were read"), "{why}");
    }
    server.split("cdn", &shard);
    server.advance(Duration::from_secs(25 * 3600));
    let why = replayed(&config, &span(1, 3)).await.unwrap_err().to_string();
    assert!(why.ends_with("the shard is gone"), "{why}");
}

/// Scenario: the stream is not there at first. Then there are a hundred shards with ten megabytes each, of which nothing is
/// known, and whoever takes the rows takes his time.
/// Guarantees: it is waited for. What was answered and is not taken yet is never more than there is room for, from the first
/// answer on; a single answer may be ten megabytes long.
#[tokio::test(flavor = "multi_thread")]
async fn waits() {
    const SHARDS: usize = 100;
    const ROOM: usize = 24 << 20;
    let server = KinesisServer::with(KinesisLimits::without_rates());
    let mut config = source(&server.endpoint(), json!({ "end": "never" }));
    config.tuning.room_bytes = ROOM as u64;
    let mut source = config.open(Resume::start()).await.unwrap();
    while server.calls("ListShards").refused < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.create_stream("cdn", SHARDS as u32);
    let record = Bytes::from("x".repeat(10 << 10));
    server.put_directly("cdn", (0..SHARDS << 10).map(|it| (format!("{it}"), record.clone())));
    let mut taken = 0;
    while taken < 48 << 20 {
        if taken % (8 << 20) == 0 {
            // Time to ask for everything that will be asked for.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // Four letters for three bytes, and a little around each record.
        let held = (server.calls("GetRecords").bytes * 3 / 4).saturating_sub(taken);
        assert!(held < ROOM * 11 / 10, "{held} bytes in memory, {taken} taken");
        taken += rows(&mut *source, 1).await.iter().map(String::len).sum::<usize>();
    }
}

/// Scenario: a delivery had two times five records of each of a hundred shards, by turns; they are read again, when ten
/// megabytes lie in each of the shards, and there is room for little.
/// Guarantees: every row comes, though not all of what was asked for can be kept for later; less than a third of what lies there is
/// asked for; in the end nothing is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_holds_little() {
    const SHARDS: usize = 100;
    const ROOM: usize = 12 << 20;
    let server = KinesisServer::with(KinesisLimits::without_rates());
    server.create_stream("cdn", SHARDS as u32);
    let record = Bytes::from("x".repeat(10 << 10));
    server.put_directly("cdn", (0..SHARDS << 10).map(|it| (format!("{it}"), record.clone())));
    let config = source(&server.endpoint(), json!({ "records_max": 5 }));
    let mut beginning = config.open(Resume::start()).await.unwrap();
    let mut begun: BTreeMap<Partition, Vec<Span>> = BTreeMap::new();
    // The first of a shard says where its first record is.
    while begun.len() < SHARDS || begun.values().any(|it| it.len() < 3) {
        let span = next(&mut *beginning).await.unwrap().span;
        begun.entry(span.partition.clone()).or_default().push(span);
    }
    drop(beginning);
    let spans: Vec<Span> = (0..3).flat_map(|nth| begun.values().map(move |it| it[nth].clone())).collect();

    let mut config = source(&server.endpoint(), json!({}));
    config.tuning.room_bytes = ROOM as u64;
    let context = config.context().await.unwrap();
    let before = server.calls("GetRecords").bytes;
    let mut replay = Replay::new(context.clone(), &config.streams().unwrap(), spans);
    let mut found = 0;
    while let Some(read) = replay.next().await.unwrap() {
        found += read.rows.num_rows();
    }
    assert_eq!(found, SHARDS * 10);
    let (asked, there) = (server.calls("GetRecords").bytes - before, SHARDS * (10 << 20));
    assert!(asked < there * 3 / 10, "{asked} of {there} bytes");
    assert!(context.room.try_take(ROOM as u64).is_some(), "something is held still");
}

/// Scenario: a record holds the smallest rows that there are, and nobody takes them.
/// Guarantees: what the rows take in memory counts, not what the record does: the shard is not asked again before there is room.
#[tokio::test]
async fn small_rows_take_much_room() {
    let server = server(1);
    server.put("cdn", "a", "x\n".repeat(50_000));
    server.put("cdn", "a", "y");
    let mut config = source(&server.endpoint(), json!({ "framing": "lines", "records_max": 1, "end": "never" }));
    // For ten such records.
    config.tuning.room_bytes = 1 << 20;
    let context = config.context().await.unwrap();
    let (streams, way) = (config.streams().unwrap(), config.way().unwrap());
    let mut source = Everything::begin(context.clone(), &streams, &way, &BTreeMap::new());
    until("something is read", || server.calls("GetRecords").bytes > 100_000).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(context.room.try_take(1).is_none());
    assert_eq!(server.calls("GetRecords").answered, 1);
    assert_eq!(rows(&mut source, 50_001).await.len(), 50_001);
    drop(source);
    until("nothing is held", || context.room.try_take(1 << 20).is_some()).await;
}

/// Scenario: what reads a stream fails by a fault of this program, while another stream is read, and alone.
/// Guarantees: whoever wants the rows gets an error, not the end.
#[tokio::test]
async fn a_fault_of_this_program() {
    for others in [0, 1] {
        let (to, mut from) = mpsc::channel(4);
        let others = vec![to.clone(); others];
        tokio::spawn(seen_through("cdn".to_owned(), async { panic!("of one shard there were two") }, to));
        let error = from.recv().await.unwrap().unwrap_err().to_string();
        assert!(
            error.starts_with("reading `cdn` failed: ") && error.contains("of one shard there were two"),
            "{error}"
        );
        drop(others);
        assert!(from.recv().await.is_none());
    }
}

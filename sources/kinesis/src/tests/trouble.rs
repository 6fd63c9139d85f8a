//! Streams where something goes wrong.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use forebay_api::{BoxError, Position, Read, Resume, Source, SourceConfig, Span};
use forebay_testkit::services::{Fault, FaultProxy, KinesisLimits, KinesisMishap, KinesisServer, Rule};
use serde_json::json;

use super::remote::{ends, server};
use super::{messages, next, rows, shown, source};
use crate::api::Limits;

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

/// Scenario: a shard in which there is nothing, and then one in which there is something now and then, is polled for a while.
/// Guarantees: never more than five calls a second.
#[tokio::test]
async fn five_calls_a_second() {
    let server = server(1);
    let mut config = source(&server.endpoint(), json!({ "end": "never" }));
    config.tuning.interval = crate::pace::INTERVAL;
    let begun = Instant::now();
    let mut source = config.open(Resume::start()).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_secs(1), source.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    for nth in 0..3 {
        server.put("cdn", "a", format!("row {nth}"));
        assert_eq!(rows(&mut *source, 1).await, [format!("row {nth}")]);
    }
    let (calls, seconds) = (server.calls("GetRecords").answered, begun.elapsed().as_secs_f64());
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
    let mut source = config.open(Resume::Replay(vec![span.clone()])).await?;
    let mut reads = Vec::new();
    while let Some(read) = source.next().await? {
        reads.push(read);
    }
    Ok(reads)
}

/// Scenario: spans are read again of which records have expired, in the beginning or all of them; or the shard has.
/// Guarantees: an error that says so; never fewer rows.
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
    let of_first = replayed(&config, &span(1, 3)).await.unwrap_err().to_string();
    assert!(of_first.contains("have expired from the stream since they were read"), "{of_first}");
    assert_eq!(messages(&replayed(&config, &span(2, 4)).await.unwrap()), ["three", "four"]);
    server.trim("cdn", &shard, 3);
    for (from, to) in [(1, 3), (2, 4)] {
        let why = replayed(&config, &span(from, to)).await.unwrap_err().to_string();
        assert!(why.contains("have expired from the stream since they were read"), "{why}");
    }
    server.split("cdn", &shard);
    server.advance(Duration::from_secs(25 * 3600));
    let why = replayed(&config, &span(1, 3)).await.unwrap_err().to_string();
    assert!(why.ends_with("the shard is gone"), "{why}");
}

/// Scenario: the stream is not there at first; a source that has far more to read than it may hold in memory, and whoever
/// takes it takes its time.
/// Guarantees: it is waited for; what is not taken is not asked for.
#[tokio::test]
async fn waits() {
    let server = KinesisServer::with(KinesisLimits::without_rates());
    let mut config = source(&server.endpoint(), json!({ "end": "never", "records_max": 20 }));
    config.tuning.room_bytes = 1 << 20;
    let mut source = config.open(Resume::start()).await.unwrap();
    while server.calls("ListShards").refused < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.create_stream("cdn", 4);
    let row = |it: usize| format!("row {it} {}", "x".repeat(50_000));
    server.put_directly("cdn", (0..400).map(|it| (format!("{it}"), row(it))));
    let first = rows(&mut *source, 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let calls = server.calls("GetRecords").answered;
    assert!(calls <= 8, "{calls} calls of 1 MB each");
    let rest = rows(&mut *source, 400 - first.len()).await;
    assert_eq!(set(first.into_iter().chain(rest).collect()), (0..400).map(row).collect());
}

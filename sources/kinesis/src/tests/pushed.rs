//! Enhanced fan-out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_api::{Partition, Position, Resume, Source, SourceConfig, Span};
use forebay_testkit::services::{KinesisLimits, KinesisMishap, KinesisServer};
use serde_json::{Value, json};

use super::remote::{eventful, server};
use super::{next, rows, source, until};
use crate::Kinesis;

fn fan_out(more: Value) -> Value {
    let mut keys = json!({ "mode": "fan_out", "consumer": "forebay" });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys
}

/// Scenario: a source over a stream that was split and merged, with plain, aggregated, damaged and empty records, which
/// are pushed to a consumer that is there.
/// Guarantees: it keeps the contract of a source.
#[tokio::test]
async fn conformance() {
    let server = eventful();
    server.set_limits(KinesisLimits { subscription_idle: Duration::from_millis(5), ..KinesisLimits::without_rates() });
    let config = source(&server.endpoint(), fan_out(json!({})));
    register(&config).await;
    forebay_testkit::source(&config).await;
    assert!(server.calls("SubscribeToShard").answered > 0);
}

/// Registers the consumer, as an operator does.
async fn register(config: &Kinesis) {
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/cdn";
    client.register_stream_consumer().stream_arn(arn).consumer_name("forebay").send().await.unwrap();
}

/// Scenario: subscriptions break, run out, are refused because an earlier one is not over, or fail in every other way.
/// Guarantees: every row comes once, in order.
#[tokio::test]
async fn what_passes_by_itself() {
    let limits = KinesisLimits {
        subscription_lifetime: Duration::from_secs(300),
        subscription_pause: Duration::from_millis(300),
        ..KinesisLimits::without_rates()
    };
    let server = KinesisServer::with(limits);
    server.create_stream("cdn", 1);
    for (call, code) in [
        ("DescribeStreamSummary", "InternalFailure"),
        ("RegisterStreamConsumer", "LimitExceededException"),
        ("DescribeStreamConsumer", "InternalFailure"),
        ("SubscribeToShard", "InternalFailure"),
        ("SubscribeToShard", "AccessDeniedException"),
    ] {
        server.fail(call, 1, KinesisMishap::Error(400, code.into()));
    }
    server.fail("SubscribeToShard", 1, KinesisMishap::AnswerLost);
    let config = source(&server.endpoint(), fan_out(json!({ "end": "never" })));
    let (mut source, _) = open(&config, &BTreeMap::new()).await;
    let mut put = 0;
    for round in 0..4 {
        for _ in 0..50 {
            server.put("cdn", "a", format!("row {put}"));
            put += 1;
        }
        let found = rows(&mut *source, 50).await;
        assert_eq!(found, (put - 50..put).map(|it| format!("row {it}")).collect::<Vec<_>>());
        match round % 2 {
            0 => server.break_subscriptions(),
            _ => server.advance(Duration::from_secs(301)),
        }
    }
}

/// Scenario: subscriptions that could go on for long, while records come; those of the source are to be renewed after a
/// moment, in place of nearly five minutes.
/// Guarantees: they are renewed before the service ends them, and every row comes once, in order.
#[tokio::test]
async fn renewed_in_time() {
    assert!(crate::push::RENEWED_AFTER < Duration::from_secs(300));
    let server = server(1);
    let mut config = source(&server.endpoint(), fan_out(json!({ "end": "never" })));
    config.tuning.renewed_after = Duration::from_millis(40);
    let (mut source, _) = open(&config, &BTreeMap::new()).await;
    let mut put = 0;
    while server.calls("SubscribeToShard").answered < 5 {
        server.put("cdn", "a", format!("row {put}"));
        assert_eq!(rows(&mut *source, 1).await, [format!("row {put}")]);
        put += 1;
    }
}

/// Opens a source, and makes durable what it says first: which consumer is ours.
async fn open(config: &Kinesis, after: &BTreeMap<Partition, Position>) -> (Box<dyn Source>, Span) {
    let mut source = config.open(Resume::After(after.clone())).await.unwrap();
    let mut settler = source.settler().unwrap();
    let noted = next(&mut *source).await.unwrap().span;
    assert_eq!(noted.partition.as_str(), "cdn/consumer/forebay");
    settler.settled(&noted.partition, &noted.to).await.unwrap();
    (source, noted)
}

/// How many consumers there are.
async fn consumers(config: &Kinesis) -> usize {
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/cdn";
    client.list_stream_consumers().stream_arn(arn).send().await.unwrap().consumers().len()
}

/// Scenario: a consumer is registered by the source, which is closed; by one that is killed, and goes on; by one that is closed
/// while it is busy with that; by somebody else, before the source is opened, or between two lives of it.
/// Guarantees: nothing is pushed before it is durable that the consumer is ours; it is gone when a source is closed that has
/// registered it in this life or the one before; somebody else's stays.
#[tokio::test]
async fn only_ours_is_removed() {
    let server = server(1);
    server.put("cdn", "a", "one");
    let config = source(&server.endpoint(), fan_out(json!({ "end": "never" })));
    let start = BTreeMap::new();

    let mut ours = config.open(Resume::start()).await.unwrap();
    let mut settler = ours.settler().unwrap();
    let noted = next(&mut *ours).await.unwrap().span;
    let early = tokio::time::timeout(Duration::from_millis(100), ours.next()).await;
    assert!(early.is_err(), "{early:?}");
    settler.settled(&noted.partition, &noted.to).await.unwrap();
    assert_eq!(rows(&mut *ours, 1).await, ["one"]);
    ours.close().await;
    assert_eq!(consumers(&config).await, 0);

    let after = BTreeMap::from([(noted.partition, noted.to)]);
    let (killed, noted) = open(&config, &after).await;
    let after = BTreeMap::from([(noted.partition, noted.to)]);
    drop(killed);
    assert_eq!(consumers(&config).await, 1);
    let mut again = config.open(Resume::After(after.clone())).await.unwrap();
    assert_eq!(rows(&mut *again, 1).await, ["one"]);
    again.close().await;
    assert_eq!(consumers(&config).await, 0);

    let registered = server.calls("RegisterStreamConsumer").answered;
    let mut hasty = config.open(Resume::start()).await.unwrap();
    until("it is registered", || server.calls("RegisterStreamConsumer").answered > registered).await;
    hasty.close().await;
    assert_eq!(consumers(&config).await, 0);

    // In another second: the name of a consumer has the time at which it was made.
    server.advance(Duration::from_secs(1));
    register(&config).await;
    for after in [start, after] {
        let mut theirs = config.open(Resume::After(after)).await.unwrap();
        assert_eq!(rows(&mut *theirs, 1).await, ["one"]);
        theirs.close().await;
        assert_eq!(consumers(&config).await, 1);
    }
}

/// Scenario: `mode = "auto"` without the right to register a consumer; with it, but without the right to subscribe.
/// Guarantees: the stream is polled, and every row comes.
#[tokio::test]
async fn polled_if_it_must_be() {
    for call in ["RegisterStreamConsumer", "SubscribeToShard"] {
        let server = server(2);
        server.put("cdn", "a", "one");
        server.put("cdn", "b", "two");
        server.fail(call, 100, KinesisMishap::Error(400, "AccessDeniedException".into()));
        let config = source(&server.endpoint(), json!({ "mode": "auto", "consumer": "forebay" }));
        let mut source = match call {
            "SubscribeToShard" => open(&config, &BTreeMap::new()).await.0,
            _ => config.open(Resume::start()).await.unwrap(),
        };
        let found: BTreeSet<String> = rows(&mut *source, 2).await.into_iter().collect();
        assert_eq!(found, ["one", "two"].map(str::to_owned).into());
        assert!(server.calls("GetRecords").answered > 0);
    }
}

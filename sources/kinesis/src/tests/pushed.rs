//! Enhanced fan-out.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_api::{Resume, SourceConfig};
use forebay_testkit::services::{KinesisLimits, KinesisMishap, KinesisServer};
use serde_json::{Value, json};

use super::remote::{eventful, server};
use super::{rows, source, until};

fn fan_out(more: Value) -> Value {
    let mut keys = json!({ "mode": "fan_out", "consumer": "forebay" });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys
}

/// Scenario: a source over a stream that was split and merged, with plain, aggregated, damaged and empty records, which
/// are pushed.
/// Guarantees: it keeps the contract of a source.
#[tokio::test]
async fn conformance() {
    let server = eventful();
    server.set_limits(KinesisLimits { subscription_idle: Duration::from_millis(5), ..KinesisLimits::without_rates() });
    forebay_testkit::source(&source(&server.endpoint(), fan_out(json!({})))).await;
    assert!(server.calls("SubscribeToShard").answered > 0);
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
    let mut source = config.open(Resume::start()).await.unwrap();
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
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut put = 0;
    while server.calls("SubscribeToShard").answered < 5 {
        server.put("cdn", "a", format!("row {put}"));
        assert_eq!(rows(&mut *source, 1).await, [format!("row {put}")]);
        put += 1;
    }
}

/// Scenario: a consumer is registered by the source, or was there before; the source is stopped.
/// Guarantees: only one that the source has registered is removed.
#[tokio::test]
async fn only_ours_is_removed() {
    let server = server(1);
    server.put("cdn", "a", "one");
    let config = source(&server.endpoint(), fan_out(json!({ "end": "never" })));
    let mut ours = config.open(Resume::start()).await.unwrap();
    assert_eq!(rows(&mut *ours, 1).await, ["one"]);
    drop(ours);
    until("the consumer is removed", || server.calls("DeregisterStreamConsumer").answered == 1).await;
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/cdn";
    client.register_stream_consumer().stream_arn(arn).consumer_name("forebay").send().await.unwrap();
    let mut again = config.open(Resume::start()).await.unwrap();
    assert_eq!(rows(&mut *again, 1).await, ["one"]);
    drop(again);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.calls("DeregisterStreamConsumer").answered, 1);
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
        let mut source = config.open(Resume::start()).await.unwrap();
        let found: BTreeSet<String> = rows(&mut *source, 2).await.into_iter().collect();
        assert_eq!(found, ["one", "two"].map(str::to_owned).into());
        assert!(server.calls("GetRecords").answered > 0);
    }
}

//! Tables of the Kinesis Client Library: taken over, and given back.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use expect_test::expect;
use forebay_api::{Claims, Position, Resume};

use super::{SERVER, Streams, aws, found, join, keep, next, rows, shards, stream, table};
use crate::checkpoint::Begin;

/// Short, since the leases of the library's workers must run out first.
const TIMES: [u64; 2] = [8, 600];

/// A table as the library leaves it when all workers are stopped: attributes and types of its class
/// `DynamoDBLeaseSerializer`. `shard-0` was written by version 1 and `shard-1` to `shard-6` by version 2; the rest by version
/// 3.5: `shard-7` in the middle of a hand-over, and rows that are no leases.
const TABLE: &str = r"
shard-0: checkpoint=4950 checkpointSubSequenceNumber=#0 leaseCounter=#17 leaseOwner=w1 ownerSwitchesSinceCheckpoint=#2
shard-1: checkpoint=4959 checkpointSubSequenceNumber=#3 endingHashKey=99 leaseCounter=#812 leaseOwner=w1 ownerSwitchesSinceCheckpoint=#1 pendingCheckpoint=4960 pendingCheckpointState=#5 pendingCheckpointSubSequenceNumber=#0 startingHashKey=0
shard-2: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 endingHashKey=199 leaseCounter=#0 ownerSwitchesSinceCheckpoint=#0 startingHashKey=100
shard-3: checkpoint=LATEST checkpointSubSequenceNumber=#0 endingHashKey=299 leaseCounter=#3 leaseOwner=w2 ownerSwitchesSinceCheckpoint=#0 startingHashKey=200
shard-4: checkpoint=AT_TIMESTAMP checkpointSubSequenceNumber=#0 endingHashKey=399 leaseCounter=#3 leaseOwner=w2 ownerSwitchesSinceCheckpoint=#0 startingHashKey=300
shard-5: checkpoint=SHARD_END checkpointSubSequenceNumber=#0 childShardIds={shard-6,shard-8} endingHashKey=499 leaseCounter=#99 ownerSwitchesSinceCheckpoint=#0 startingHashKey=400
shard-6: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 endingHashKey=449 leaseCounter=#0 ownerSwitchesSinceCheckpoint=#0 parentShardId={shard-5} startingHashKey=400
shard-7: checkpoint=4970 checkpointOwner=w1 checkpointSubSequenceNumber=#0 endingHashKey=599 entityType=LEASE leaseCounter=#5 leaseOwner=w2 ownerSwitchesSinceCheckpoint=#0 startingHashKey=500 throughputKBps=#12.5
Leader: entityType=LEADER leaderName=w1
w1-metrics: entityType=WORKER_METRIC_STATS lut=#1795300000 wid=w1
odd: checkpoint=yesterday leaseCounter=#0
";

/// Writes rows; `#1` is a number, `{a,b}` a set.
async fn put(client: &Client, table: &str, rows: &str) {
    for line in rows.lines().filter(|it| !it.is_empty()) {
        let (key, attributes) = line.split_once(": ").unwrap();
        let mut call = client.put_item().table_name(table).item("leaseKey", AttributeValue::S(key.into()));
        for attribute in attributes.split(' ') {
            let (name, value) = attribute.split_once('=').unwrap();
            let value = match (value.strip_prefix('#'), value.strip_prefix('{').and_then(|it| it.strip_suffix('}'))) {
                (Some(number), _) => AttributeValue::N(number.into()),
                (_, Some(set)) => AttributeValue::Ss(set.split(',').map(str::to_owned).collect()),
                _ => AttributeValue::S(value.into()),
            };
            call = call.item(name, value);
        }
        call.send().await.unwrap();
    }
}

/// Rows without their counters, and these.
async fn without_counters(name: &str) -> (String, BTreeMap<String, u64>) {
    let mut counters = BTreeMap::new();
    let mut told = String::new();
    for row in rows(&SERVER.endpoint(), name).await.lines() {
        let (key, _) = row.split_once(": ").unwrap();
        for word in row.split(' ') {
            match word.strip_prefix("leaseCounter=#") {
                Some(counter) => drop(counters.insert(key.to_owned(), counter.parse().unwrap())),
                None => told += &format!("{word} "),
            }
        }
        told = format!("{}\n", told.trim_end());
    }
    (told, counters)
}

/// Scenario: the library's workers are stopped; a process takes their table over, does some of it, and is stopped; the
/// library moves one checkpoint on, and a process comes again.
/// Guarantees: every shard goes on where its row says, in due order; what is no lease is let be; afterwards every row is one
/// that the library could have written, free, with what it does not know in one more attribute; where it has moved on, that
/// counts, and elsewhere what was kept.
#[tokio::test]
async fn there_and_back() {
    let endpoint = SERVER.endpoint();
    let client = aws(&endpoint).dynamodb().await.unwrap();
    table(&endpoint, "kcl").await.prepare().await.unwrap();
    put(&client, "kcl", TABLE).await;
    let (_, before) = without_counters("kcl").await;

    let listed =
        "shard-0; shard-1; shard-2; shard-3; shard-4; shard-5; shard-6 <- shard-5; shard-7; shard-8 <- shard-5";
    let streams = stream(listed);
    let mut claims = join(&endpoint, "kcl", "forebay", &streams, TIMES).await;
    let held = next(&mut claims, 8).await;
    let mut told = String::new();
    for claim in &held {
        let asked = claim.open(Resume::start()).await.err().unwrap().to_string();
        let (_, begin) = asked.split_once(" begun at ").unwrap();
        told += &format!("{}, else from {}\n", found(claim.as_ref()), begin.replace(", After({})", ""));
    }
    expect![[r#"
        cdn/shard-0: - @ 4950:1, else from TrimHorizon
        cdn/shard-1: - @ 4959:4, else from TrimHorizon
        cdn/shard-2: - @ -, else from TrimHorizon
        cdn/shard-3: - @ -, else from Latest
        cdn/shard-4: - @ -, else from AtTimestamp
        cdn/shard-6: - @ -, else from TrimHorizon
        cdn/shard-7: - @ 4970:1, else from TrimHorizon
        cdn/shard-8: - @ -, else from TrimHorizon
    "#]]
    .assert_eq(&told);

    let of = |shard: &str| held.iter().find(|it| it.partition().as_str() == format!("cdn/{shard}")).unwrap().as_ref();
    of("shard-0").keep(b"a", &Position::sequence("4951", 0).unwrap()).await.unwrap();
    of("shard-1").keep(b"b", &Position::sequence("4970", 5).unwrap()).await.unwrap();
    keep(of("shard-2"), "c", "4900").await.unwrap();
    of("shard-7").keep(b"d", &Position::End).await.unwrap();
    drop(held);
    claims.leave().await.unwrap();
    let (told, after) = without_counters("kcl").await;
    expect![[r#"
        Leader: entityType=LEADER leaderName=w1
        odd: checkpoint=yesterday
        shard-0: checkpoint=4950 checkpointSubSequenceNumber=#0 forebay="forebay 1\ncdn/shard-0\n4950\n0\n4951:0\na" ownerSwitchesSinceCheckpoint=#3
        shard-1: checkpoint=4970 checkpointSubSequenceNumber=#4 endingHashKey=99 forebay="forebay 1\ncdn/shard-1\n4970\n4\n4970:5\nb" ownerSwitchesSinceCheckpoint=#0 startingHashKey=0
        shard-2: checkpoint=4900 checkpointSubSequenceNumber=#0 endingHashKey=199 forebay="forebay 1\ncdn/shard-2\n4900\n0\n4900:1\nc" ownerSwitchesSinceCheckpoint=#0 startingHashKey=100
        shard-3: checkpoint=LATEST checkpointSubSequenceNumber=#0 endingHashKey=299 ownerSwitchesSinceCheckpoint=#1 startingHashKey=200
        shard-4: checkpoint=AT_TIMESTAMP checkpointSubSequenceNumber=#0 endingHashKey=399 ownerSwitchesSinceCheckpoint=#1 startingHashKey=300
        shard-5: checkpoint=SHARD_END checkpointSubSequenceNumber=#0 childShardIds={"shard-6", "shard-8"} endingHashKey=499 ownerSwitchesSinceCheckpoint=#0 startingHashKey=400
        shard-6: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 endingHashKey=449 ownerSwitchesSinceCheckpoint=#0 parentShardId={"shard-5"} startingHashKey=400
        shard-7: checkpoint=SHARD_END checkpointSubSequenceNumber=#0 endingHashKey=599 entityType=LEASE forebay="forebay 1\ncdn/shard-7\nSHARD_END\n0\nend\nd" ownerSwitchesSinceCheckpoint=#0 startingHashKey=500 throughputKBps=#12.5
        shard-8: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 endingHashKey=340282366920938463463374607431768211455 entityType=LEASE ownerSwitchesSinceCheckpoint=#0 parentShardId={"shard-5"} startingHashKey=0
        w1-metrics: entityType=WORKER_METRIC_STATS lut=#1795300000 wid=w1
    "#]].assert_eq(&told);
    for (key, counter) in before.iter().filter(|it| !["odd", "shard-5"].contains(&it.0.as_str())) {
        assert!(after[key] > *counter, "{key}");
    }

    let call = client.update_item().table_name("kcl").key("leaseKey", AttributeValue::S("shard-1".into()));
    let call =
        call.update_expression("SET checkpoint = :at, checkpointSubSequenceNumber = :sub, leaseCounter = :counter");
    let call = call.expression_attribute_values(":at", AttributeValue::S("5000".into()));
    let call = call.expression_attribute_values(":sub", AttributeValue::N("1".into()));
    call.expression_attribute_values(":counter", AttributeValue::N("4000".into())).send().await.unwrap();
    let mut claims = join(&endpoint, "kcl", "again", &streams, TIMES).await;
    let held = next(&mut claims, 7).await;
    let told: Vec<String> = held.iter().map(|it| found(it.as_ref())).collect();
    expect![[r#"
        cdn/shard-0: a @ 4951:0
        cdn/shard-1: - @ 5000:2
        cdn/shard-2: c @ 4900:1
        cdn/shard-3: - @ -
        cdn/shard-4: - @ -
        cdn/shard-6: - @ -
        cdn/shard-8: - @ -"#]]
    .assert_eq(&told.join("\n"));
}

/// Scenario: one of several streams that nobody has begun; its shards are merged, and end.
/// Guarantees: the row of the new shard has what the library writes in a table for several streams.
#[tokio::test]
async fn made_here() {
    let streams = Streams { begin: Begin::Latest, ..Arc::into_inner(stream("a; b")).unwrap() };
    let streams = Arc::new(Streams { names: vec![Some("1234:cdn:17".into())], ..streams });
    let mut claims = join(&SERVER.endpoint(), "made-here", "forebay", &streams, TIMES).await;
    let held = next(&mut claims, 2).await;
    *streams.shards.lock().unwrap() = shards("a; b; c <- a b");
    for claim in &held {
        claim.keep(b"", &Position::End).await.unwrap();
        claim.release().await.unwrap();
    }
    let child = next(&mut claims, 1).await;
    assert_eq!(child[0].partition().as_str(), "1234:cdn:17/c");
    drop(child);
    claims.leave().await.unwrap();
    let (told, _) = without_counters("made-here").await;
    let child = told.lines().last().unwrap();
    expect![[r#"1234:cdn:17:c: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 endingHashKey=340282366920938463463374607431768211455 entityType=LEASE ownerSwitchesSinceCheckpoint=#0 parentShardId={"a", "b"} shardId=c startingHashKey=0 streamName=1234:cdn:17"#]].assert_eq(child);
}

//! Streams that several processes share, with leases in a real DynamoDB.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use forebay_api::{BoxError, Claim, ClaimError, Position, Resume, Source, SourceConfig};
use forebay_leases::{Begin, LeasedShard, Shards};
use forebay_testkit::services::{ACCESS_KEY, DynamoDb, KinesisServer, SECRET_KEY, aggregate};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::remote::{eventful, server};
use super::{messages, next, source, until};
use crate::Kinesis;
use crate::record::ALL_HASH_KEYS;

/// One server for all tests; each has tables of its own. It ends with the process.
fn dynamo() -> &'static DynamoDb {
    static DYNAMO: OnceLock<DynamoDb> = OnceLock::new();
    DYNAMO.get_or_init(DynamoDb::start)
}

/// The source of the stream `cdn`, shared by leases in a table.
fn shared(server: &KinesisServer, table: &str, more: Value) -> Kinesis {
    let aws = json!({
        "region": "us-east-1", "endpoint": dynamo().endpoint(), "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY
    });
    let leases = json!({ "table": table, "duration": "3s", "aws": aws });
    let mut keys = json!({ "end": "never", "leases": leases });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    source(&server.endpoint(), keys)
}

async fn client(config: &Kinesis) -> aws_sdk_dynamodb::Client {
    config.leases.as_ref().unwrap().aws.as_ref().unwrap().dynamodb().await.unwrap()
}

/// The items of the table, by their keys.
async fn items(config: &Kinesis) -> BTreeMap<String, HashMap<String, AttributeValue>> {
    let table = &config.leases.as_ref().unwrap().table;
    let all = client(config).await.scan().table_name(table).consistent_read(true).send().await.unwrap();
    all.items().iter().map(|it| (it["leaseKey"].as_s().unwrap().clone(), it.clone())).collect()
}

/// The rows that were done, in this order, each with the process that did it.
type Done = Arc<Mutex<Vec<(usize, String)>>>;

fn count(done: &Done, who: impl Fn(usize) -> bool) -> usize {
    done.lock().unwrap().iter().filter(|it| who(it.0)).count()
}

/// A process: holds what it is given, and does what it reads.
struct Process {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(config: &Kinesis, who: usize, done: &Done) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(process(config.clone(), who, done.clone(), stopped)) }
    }

    /// Finishes what is under way, gives everything up, and leaves.
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }

    /// Is gone in the middle of whatever it does.
    fn kill(self) {
        self.task.abort();
    }
}

async fn process(config: Kinesis, who: usize, done: Done, mut stop: watch::Receiver<bool>) {
    let mut claims = config.claims("pipeline", &BTreeMap::new()).await.unwrap();
    let mut held = JoinSet::new();
    loop {
        let stopped = stop.clone();
        tokio::select! {
            _ = stop.wait_for(|it| *it) => break,
            Some(ended) = held.join_next(), if !held.is_empty() => ended.unwrap(),
            claim = claims.next() => {
                let claim = claim.unwrap().unwrap();
                held.spawn(hold(claim, who, done.clone(), stopped));
            }
        }
    }
    while let Some(ended) = held.join_next().await {
        ended.unwrap();
    }
    claims.leave().await.unwrap();
}

/// Where a claim says that its partition is to be read on.
fn resume(claim: &dyn Claim) -> Resume {
    Resume::After(claim.kept().committed.iter().map(|it| (claim.partition().clone(), it.clone())).collect())
}

async fn hold(claim: Box<dyn Claim>, who: usize, done: Done, mut stop: watch::Receiver<bool>) {
    let mut source = claim.open(resume(&*claim)).await.unwrap();
    let mut settler = source.settler().unwrap();
    loop {
        let read = tokio::select! {
            read = source.next() => read.unwrap(),
            () = claim.wanted() => break,
            () = claim.lost() => break,
            _ = stop.wait_for(|it| *it) => break,
        };
        let Some(read) = read else { break };
        // It is done when it is kept: nobody does it again, and nobody has done it before.
        match claim.keep(b"", &read.span.to).await {
            Ok(()) => {}
            Err(ClaimError::Lost) => break,
            Err(error) => panic!("{error}"),
        }
        done.lock().unwrap().extend(messages(std::slice::from_ref(&read)).into_iter().map(|it| (who, it)));
        settler.settled(&read.span.partition, &read.span.to).await.unwrap();
    }
    claim.release().await.unwrap();
}

/// Every row that was put is there once, and those of a key in their order. A row is `key number`.
fn check_all(done: &Done, put: usize) {
    let done = done.lock().unwrap();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, row) in done.iter() {
        let (key, nth) = row.split_once(' ').unwrap();
        let nth: usize = nth.parse().unwrap();
        let before = last.insert(key, nth);
        assert!(before.is_none_or(|it| it < nth), "key {key}: {nth} comes after {before:?}");
    }
    assert_eq!(done.iter().map(|it| &it.1).collect::<BTreeSet<_>>().len(), put);
    assert_eq!(done.len(), put);
}

/// Scenario: a process reads a stream alone; a second one joins; shards are split and merged while both read; the first
/// one leaves; a third one joins, and the second one dies.
/// Guarantees: they share the shards, and take over from each other; every row is done once, and the rows of a key in the
/// order in which they were put, whoever did them.
#[tokio::test(flavor = "multi_thread")]
async fn processes_come_and_go() {
    const KEYS: usize = 12;
    let server = server(4);
    let config = shared(&server, "come-and-go", json!({}));
    let done = Done::default();
    let mut put = 0;
    let mut put_some = |rows: usize| {
        for _ in 0..rows {
            server.put("cdn", &format!("key {}", put % KEYS), format!("{} {put}", put % KEYS));
            put += 1;
        }
        put
    };
    let first = Process::start(&config, 1, &done);
    let all = put_some(100);
    until("one does everything", || count(&done, |_| true) == all).await;

    let second = Process::start(&config, 2, &done);
    let mut has_part = 0;
    while has_part < 40 {
        put_some(20);
        tokio::time::sleep(Duration::from_millis(20)).await;
        has_part = count(&done, |who| who == 2);
    }
    let shards = server.open_shards("cdn");
    let [_, right] = server.split("cdn", &shards[0]);
    put_some(100);
    server.merge("cdn", &right, &shards[1]);
    server.split("cdn", &shards[3]);
    let all = put_some(100);
    until("two do everything", || count(&done, |_| true) == all).await;

    first.stop().await;
    let all = put_some(100);
    until("the second one does everything", || count(&done, |_| true) == all).await;
    assert!(items(&config).await.values().all(|it| it.contains_key("leaseCounter")));

    let third = Process::start(&config, 3, &done);
    second.kill();
    let all = put_some(100);
    until("the third one does everything", || count(&done, |_| true) == all).await;
    third.stop().await;
    check_all(&done, all);
    assert!(items(&config).await.values().all(|it| !it.contains_key("leaseOwner")), "leases stay with somebody");
}

/// A table as the Kinesis Client Library makes it.
async fn library_table(config: &Kinesis, leases: &[&[(&str, AttributeValue)]]) {
    let (client, table) = (client(config).await, &config.leases.as_ref().unwrap().table);
    let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build().unwrap();
    let definition = AttributeDefinition::builder().attribute_name("leaseKey");
    let definition = definition.attribute_type(ScalarAttributeType::S).build().unwrap();
    let call = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    call.key_schema(key).attribute_definitions(definition).send().await.unwrap();
    for lease in leases {
        let item = lease.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Scenario: a table of leases as the Kinesis Client Library leaves it when it is stopped: one shard done up to a plain
/// record, by a worker that did not give its lease up; one up to the second of four aggregated records, without the hash
/// keys that older versions did not write; one done to its end, which was split, with children that were not begun and of
/// which one has no lease; and a row that is no lease.
/// Guarantees: everything after that is read, and nothing before it; afterwards the table says how far it came, to the
/// library as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_library_is_taken_over() {
    let server = server(3);
    let config = shared(&server, "taken-over", json!({}));
    let shards = server.open_shards("cdn");
    // In the first, second and third shard.
    let [a, b, c] = ["a", "b", "z"].map(|key| move |data: &[u8]| (key, data.to_vec()));
    let put = |(key, data): (&str, Vec<u8>)| server.put("cdn", key, data);
    let four = |name: &str| -> Vec<u8> {
        let rows: Vec<String> = (1..=4).map(|it| format!("{name} {it}")).collect();
        let rows: Vec<(&str, Option<&str>, &[u8])> = rows.iter().map(|it| ("b", None, it.as_bytes())).collect();
        aggregate(&rows)
    };
    let plain: Vec<(String, String)> = (0..6).map(|it| put(a(format!("plain {it}").as_bytes()))).collect();
    let aggregated = put(b(&four("early")));
    let last_aggregated = put(b(&four("late")));
    let old = put(c(b"old 1"));
    assert_eq!([&plain[0].0, &aggregated.0, &old.0].into_iter().collect::<BTreeSet<_>>(), shards.iter().collect());
    let closed = old.0.clone();
    let [left, right] = server.split("cdn", &closed);
    put(c(b"new 1"));
    let is_lease = |shard: &str, checkpoint: &str, sub: u64| {
        vec![
            ("leaseKey", text(shard)),
            ("entityType", text("LEASE")),
            ("leaseCounter", number(4711)),
            ("checkpoint", text(checkpoint)),
            ("checkpointSubSequenceNumber", number(sub)),
            ("ownerSwitchesSinceCheckpoint", number(0)),
        ]
    };
    let mut of_plain = is_lease(&plain[2].0, &plain[2].1, 0);
    of_plain.push(("leaseOwner", text("worker-of-the-library")));
    of_plain.push(("throughputKBps", number(3)));
    let hash_keys = |shard: &str| {
        let client = config.aws.clone().unwrap();
        let shard = shard.to_owned();
        async move {
            let listed = client.kinesis().await.unwrap().list_shards().stream_name("cdn").send().await.unwrap();
            let found = listed.shards().iter().find(|it| it.shard_id == shard).unwrap().hash_key_range.clone().unwrap();
            [("startingHashKey", text(&found.starting_hash_key)), ("endingHashKey", text(&found.ending_hash_key))]
        }
    };
    of_plain.extend(hash_keys(&plain[2].0).await);
    let of_aggregated = is_lease(&aggregated.0, &aggregated.1, 1);
    let mut of_closed = is_lease(&closed, "SHARD_END", 0);
    of_closed.push(("childShardIds", AttributeValue::Ss(vec![left.clone(), right.clone()])));
    let mut of_left = is_lease(&left, "TRIM_HORIZON", 0);
    of_left.push(("parentShardId", AttributeValue::Ss(vec![closed.clone()])));
    of_left.extend(hash_keys(&left).await);
    let metrics = [("leaseKey", text("worker-of-the-library")), ("entityType", text("WORKER_METRICS"))];
    library_table(&config, &[&of_plain, &of_aggregated, &of_closed, &of_left, &metrics]).await;

    let done = Done::default();
    let process = Process::start(&config, 1, &done);
    let expected =
        ["plain 3", "plain 4", "plain 5", "early 3", "early 4", "late 1", "late 2", "late 3", "late 4", "new 1"];
    until("it is all there", || count(&done, |_| true) >= expected.len()).await;
    process.stop().await;
    let found: Vec<String> = done.lock().unwrap().iter().map(|it| it.1.clone()).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.into());
    assert_eq!(found.len(), expected.len());
    let items = items(&config).await;
    let says = |shard: &str| {
        let item = &items[shard];
        let sub = item["checkpointSubSequenceNumber"].as_n().unwrap();
        (item["checkpoint"].as_s().unwrap().as_str(), sub.as_str(), item.contains_key("leaseOwner"))
    };
    assert_eq!(says(&plain[5].0), (plain[5].1.as_str(), "0", false));
    assert_eq!(items[&plain[5].0]["throughputKBps"], number(3));
    assert_eq!(says(&last_aggregated.0), (last_aggregated.1.as_str(), "3", false));
    assert_eq!(items["worker-of-the-library"].len(), 2);
}

/// Scenario: two streams in one table, one of which is made only later.
/// Guarantees: the other one is read meanwhile; rows of the table are called as the Kinesis Client Library calls them, and
/// partitions as they are without leases.
#[tokio::test(flavor = "multi_thread")]
async fn several_streams() {
    let server = server(1);
    let mut config = shared(&server, "several", json!({}));
    config.stream = None;
    config.streams = Some(["cdn", "other"].map(|it| it.to_owned().try_into().unwrap()).into());
    server.put("cdn", "a", "one");
    let done = Done::default();
    let process = Process::start(&config, 1, &done);
    until("one stream is read", || count(&done, |_| true) == 1).await;
    server.create_stream("other", 1);
    server.put("other", "a", "two");
    until("both are", || count(&done, |_| true) == 2).await;
    process.stop().await;
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    let mut expected = BTreeSet::new();
    for stream in ["cdn", "other"] {
        let found = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
        let made = found.stream_description_summary.unwrap().stream_creation_timestamp.secs();
        expected.insert(format!("000000000000:{stream}:{made}:shardId-000000000000"));
    }
    let items = items(&config).await;
    assert_eq!(items.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (key, item) in &items {
        let stream = key.strip_suffix(":shardId-000000000000").unwrap();
        assert_eq!(
            (item["streamName"].as_s().unwrap().as_str(), item["shardId"].as_s().unwrap().as_str()),
            (stream, "shardId-000000000000")
        );
    }
    let mut claims = config.claims("pipeline", &BTreeMap::new()).await.unwrap();
    let claim = tokio::time::timeout(super::PATIENCE, claims.next()).await.unwrap().unwrap().unwrap();
    let name = claim.partition().as_str();
    assert!(["cdn/shardId-000000000000", "other/shardId-000000000000"].contains(&name), "{name}");
    claim.release().await.unwrap();
    claims.leave().await.unwrap();
}

/// Scenario: a process reads a stream alone, from its latest records on. While it is stopped more records come; the one shard
/// that has records is split, and more come to its children. Then it shares the stream, with a table that is new.
/// Guarantees: it goes on where it stood: what it has not read of the shard comes, and after that what its children have, all of
/// it; what was there before the first start does not.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_read_alone() {
    let server = server(2);
    let (shard, _) = server.put("cdn", "a", "old");
    let more = json!({ "start": "latest", "end": "never" });
    let mut alone = source(&server.endpoint(), more.clone()).open(Resume::After(BTreeMap::new())).await.unwrap();
    let mut settler = alone.settler().unwrap();
    let mut known = BTreeMap::new();
    // Where it begins is settled first.
    while known.len() < 2 {
        let read = next(&mut *alone).await.unwrap();
        settler.settled(&read.span.partition, &read.span.to).await.unwrap();
        known.insert(read.span.partition, read.span.to);
    }
    server.put("cdn", "a", "one");
    loop {
        let read = next(&mut *alone).await.unwrap();
        let rows = read.rows.num_rows();
        known.insert(read.span.partition, read.span.to);
        if rows > 0 {
            break;
        }
    }
    alone.close().await;
    drop(alone);

    server.put("cdn", "a", "two");
    let children = server.split("cdn", &shard);
    let (child, _) = server.put("cdn", "a", "three");
    assert!(children.contains(&child), "{child}");
    let config = shared(&server, "alone-before", more);
    let mut claims = config.claims("pipeline", &known).await.unwrap();
    let mut rows = Vec::new();
    while rows.len() < 2 {
        let claim = tokio::time::timeout(super::PATIENCE, claims.next()).await.unwrap().unwrap().unwrap();
        // As the engine hands over what it knows.
        let at = claim.kept().committed.clone().or_else(|| known.get(claim.partition()).cloned());
        let resume = Resume::After(at.into_iter().map(|at| (claim.partition().clone(), at)).collect());
        let mut source = claim.open(resume).await.unwrap();
        let has_rows = [&shard, &child].iter().any(|it| claim.partition().as_str().ends_with(it.as_str()));
        if has_rows {
            loop {
                let read = next(&mut *source).await.unwrap();
                claim.keep(b"", &read.span.to).await.unwrap();
                rows.extend(messages(std::slice::from_ref(&read)));
                if read.span.to == Position::End || rows.len() == 2 {
                    break;
                }
            }
        }
        claim.release().await.unwrap();
    }
    assert_eq!(rows, ["two", "three"]);
    claims.leave().await.unwrap();
}

/// Scenario: streams that are shared and begun at their latest records, or at a time before that of all shards; the process
/// leaves before any record came, and another one takes over.
/// Guarantees: what was there before is not read in the first case, and all of it in the second; what comes while nobody
/// reads is read.
#[tokio::test(flavor = "multi_thread")]
async fn where_it_begins() {
    for (table, start, before) in [("latest", "latest", false), ("at-a-time", "2026-01-01T00:00:00Z", true)] {
        let server = server(1);
        server.put("cdn", "a", "old");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let config = shared(&server, table, json!({ "start": start }));
        let mut claims = config.claims("pipeline", &BTreeMap::new()).await.unwrap();
        server.put("cdn", "a", "one");
        let claim = tokio::time::timeout(super::PATIENCE, claims.next()).await.unwrap().unwrap().unwrap();
        let mut source = claim.open(resume(&*claim)).await.unwrap();
        let begun = next(&mut *source).await.unwrap();
        assert_eq!((begun.span.from, begun.rows.num_rows()), (Position::Start, 0));
        claim.keep(b"", &begun.span.to).await.unwrap();
        drop(source);
        claim.release().await.unwrap();
        claims.leave().await.unwrap();
        server.put("cdn", "a", "two");
        let done = Done::default();
        let process = Process::start(&config, 1, &done);
        until("everything is done", || count(&done, |_| true) == 2 + usize::from(before)).await;
        process.stop().await;
        let found: Vec<String> = done.lock().unwrap().iter().map(|it| it.1.clone()).collect();
        assert_eq!(found, if before { vec!["old", "one", "two"] } else { vec!["one", "two"] });
    }
}

/// Scenario: two processes that share a stream and get records pushed; one leaves, then the other.
/// Guarantees: they use the same consumer, of which neither removes it; every row is done once.
#[tokio::test(flavor = "multi_thread")]
async fn pushed() {
    let server = server(2);
    let config = shared(&server, "pushed", json!({ "mode": "fan_out", "consumer": "forebay" }));
    let done = Done::default();
    let put = |row: usize| drop(server.put("cdn", &format!("key {row}"), format!("{row} 1")));
    let first = Process::start(&config, 1, &done);
    (0..20).for_each(put);
    until("one does everything", || count(&done, |_| true) == 20).await;
    let second = Process::start(&config, 2, &done);
    let mut rows = 20;
    while count(&done, |who| who == 2) == 0 {
        put(rows);
        rows += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.stop().await;
    (rows..rows + 20).for_each(put);
    rows += 20;
    until("the other one does the rest", || count(&done, |_| true) == rows).await;
    second.stop().await;
    check_all(&done, rows);
    assert_eq!(server.calls("GetRecords").answered, 0);
    assert_eq!(server.calls("DeregisterStreamConsumer").answered, 0);
}

/// One shard of a stream as a source.
struct OneShard(Kinesis, LeasedShard);

#[async_trait]
impl SourceConfig for OneShard {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.0.schema()
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        self.0.shared(&BTreeMap::new()).await?.open(&self.1, resume).await
    }
}

/// Scenario: each shard of a stream that was split and merged, with plain, aggregated, damaged and empty records, alone.
/// Guarantees: it keeps the contract of a source, with the hash keys that a lease may have or not.
#[tokio::test]
async fn conformance() {
    let server = eventful();
    let config = source(&server.endpoint(), json!({}));
    let shards = config.shared(&BTreeMap::new()).await.unwrap();
    for (nth, listed) in shards.list(None).await.unwrap().into_iter().enumerate() {
        let shard = LeasedShard {
            stream: None,
            partition: shards.partition(None, &listed.id),
            id: listed.id,
            hash_keys: (nth % 2 == 0).then_some(listed.hash_keys),
            begin: Begin::TrimHorizon,
        };
        assert_ne!(shard.hash_keys, Some(ALL_HASH_KEYS));
        let one = OneShard(config.clone(), shard);
        if forebay_testkit::read(&one, Resume::start()).await.iter().all(|it| it.rows.num_rows() == 0) {
            continue;
        }
        forebay_testkit::source(&one).await;
    }
}

//! Streams at a server that keeps the service's rules, where nothing goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use arrow_array::cast::AsArray;
use forebay_api::{Partition, Position, Read, Resume, SourceConfig, Span};
use forebay_testkit::services::{KinesisLimits, KinesisLocal, KinesisServer, Ministack, aggregate};
use serde_json::json;

use super::{messages, next, rows, source, until};

/// A server with a stream `cdn` of so many shards, and no limits on rates.
pub fn server(shards: u32) -> KinesisServer {
    let server = KinesisServer::with(KinesisLimits::without_rates());
    server.create_stream("cdn", shards);
    server
}

/// A stream that was split and merged, with plain, aggregated, damaged and empty records.
pub fn eventful() -> KinesisServer {
    let server = server(2);
    let put = |key: &str, data: &[u8]| server.put("cdn", key, data.to_vec());
    put("a", b"one\n");
    put("b", b"two\r\n");
    put("c", b"\xff");
    put("d", &aggregate(&[("d", None, b"three\n"), ("d", None, b"four"), ("d", None, b"\xfe"), ("d", None, b"five")]));
    put("e", b"");
    put("f", b"\xf3\x89\x9a\xc2damaged");
    let shards = server.open_shards("cdn");
    let [left, right] = server.split("cdn", &shards[0]);
    put("a", b"six");
    put("z", b"seven");
    server.merge("cdn", &left, &right);
    put("b", b"eight");
    put("y", &aggregate(&[("y", None, b"nine"), ("y", Some("0"), b"ten"), ("y", None, b"eleven")]));
    server
}

/// Scenario: a source over a stream that was split and merged, with plain, aggregated, damaged and empty records.
/// Guarantees: it keeps the contract of a source, whatever is asked for at a time and however it is begun.
#[tokio::test]
async fn conformance() {
    let server = eventful();
    for more in [
        json!({}),
        json!({ "records_max": 1, "columns": ["sequence_number"], "start": "2026-01-01T00:00:00Z" }),
        json!({ "framing": "lines", "other_shards": "keep" }),
    ] {
        forebay_testkit::source(&source(&server.endpoint(), more)).await;
    }
}

/// Where each partition ends.
pub fn ends(reads: &[Read]) -> BTreeMap<Partition, Position> {
    reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())).collect()
}

/// Scenario: two streams, one of them named by its ARN, with columns that tell them apart.
/// Guarantees: both are read, and partitions are named after stream and shard.
#[tokio::test]
async fn several_streams() {
    let server = server(1);
    server.create_stream("other", 1);
    server.put("cdn", "a", "one");
    server.put("other", "a", "two");
    let mut config = source(&server.endpoint(), json!({ "columns": ["stream"] }));
    config.stream = None;
    let names = ["cdn", "arn:aws:kinesis:us-east-1:000000000000:stream/other"];
    config.streams = Some(names.map(|it| it.to_owned().try_into().unwrap()).into());
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    let mut found: Vec<(String, String, String)> = Vec::new();
    for read in reads.iter().filter(|it| it.rows.num_rows() > 0) {
        let column = read.rows.column(1).as_any_dictionary().values().as_string::<i32>().value(0).to_owned();
        found.push((read.span.partition.to_string(), messages(std::slice::from_ref(read)).concat(), column));
    }
    found.sort();
    let row = |stream: &str, row: &str| (format!("{stream}/shardId-000000000000"), row.to_owned(), stream.to_owned());
    assert_eq!(found, [row("cdn", "one"), row("other", "two")]);
}

/// Scenario: a source that starts at the latest record, is stopped before any record came, or after one shard had one, and
/// is started again.
/// Guarantees: what was there at the first start is not read, and everything after that is, whatever the shard. Nothing is
/// read before it is durable where that was, and what was read comes again when it is asked for.
#[tokio::test]
async fn latest_is_of_the_first_start() {
    let server = server(2);
    server.put("cdn", "a", "old");
    server.put("cdn", "b", "old");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let config = source(&server.endpoint(), json!({ "start": "latest", "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut settler = source.settler().unwrap();
    let begun = [next(&mut *source).await.unwrap(), next(&mut *source).await.unwrap()];
    assert!(begun.iter().all(|it| it.span.from == Position::Start && it.rows.num_rows() == 0));
    let after = ends(&begun);
    assert_eq!(after.len(), 2);
    // `a` and `b` belong to different shards.
    server.put("cdn", "a", "one");
    let early = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(early.is_err(), "{early:?}");
    for (partition, position) in &after {
        settler.settled(partition, position).await.unwrap();
    }
    assert_eq!(rows(&mut *source, 1).await, ["one"]);
    drop(source);
    let mut source = config.open(Resume::After(after.clone())).await.unwrap();
    let mut reads = Vec::new();
    while messages(&reads).is_empty() {
        reads.push(next(&mut *source).await.unwrap());
    }
    assert_eq!(messages(&reads), ["one"]);
    let spans: Vec<Span> = reads.iter().map(|it| it.span.clone()).collect();
    let whole = Span::new(spans[0].partition.clone(), spans[0].from.clone(), spans[spans.len() - 1].to.clone());
    assert_eq!(messages(&forebay_testkit::read(&config, Resume::Exactly(vec![whole])).await), ["one"]);
    drop(source);
    server.put("cdn", "b", "two");
    let mut source = config.open(Resume::After(after)).await.unwrap();
    let both: BTreeSet<String> = rows(&mut *source, 2).await.into_iter().collect();
    assert_eq!(both, ["one", "two"].map(str::to_owned).into());
}

/// Scenario: the clock of the service is an hour ahead of this machine's; a stream that has records is begun with its latest,
/// by a source that polls.
/// Guarantees: what came before is not read, and what comes then is: the time is the service's.
#[tokio::test]
async fn latest_is_by_the_clock_of_the_service() {
    let server = server(1);
    server.advance(Duration::from_secs(3600));
    server.put("cdn", "a", "old");
    // The service says what time it is to the second.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let config = source(&server.endpoint(), json!({ "start": "latest", "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut settler = source.settler().unwrap();
    let begun = next(&mut *source).await.unwrap().span;
    settler.settled(&begun.partition, &begun.to).await.unwrap();
    server.put("cdn", "a", "new");
    assert_eq!(rows(&mut *source, 1).await, ["new"]);
}

/// Scenario: a source that starts at the latest record is killed when it is durable of one of two shards where that was, and is
/// started again.
/// Guarantees: nothing is read before it is durable of both; what was there at the first start is not read, and everything
/// after that is.
#[tokio::test]
async fn a_first_start_that_is_cut_short() {
    let server = server(2);
    server.put("cdn", "a", "old");
    server.put("cdn", "b", "old");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let config = source(&server.endpoint(), json!({ "start": "latest", "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut settler = source.settler().unwrap();
    let begun = [next(&mut *source).await.unwrap(), next(&mut *source).await.unwrap()];
    // They belong to different shards.
    server.put("cdn", "a", "one");
    server.put("cdn", "b", "two");
    let span = &begun[0].span;
    settler.settled(&span.partition, &span.to).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(early.is_err(), "{early:?}");
    drop(source);

    let mut source = config.open(Resume::After([(span.partition.clone(), span.to.clone())].into())).await.unwrap();
    let mut settler = source.settler().unwrap();
    let other = next(&mut *source).await.unwrap();
    assert_eq!((&other.span.partition, &other.span.to), (&begun[1].span.partition, &begun[1].span.to));
    settler.settled(&other.span.partition, &other.span.to).await.unwrap();
    let both: BTreeSet<String> = rows(&mut *source, 2).await.into_iter().collect();
    assert_eq!(both, ["one", "two"].map(str::to_owned).into());
}

/// Scenario: records that came before, at and after a time, at which a source starts; a shard that was closed before it.
/// Guarantees: what arrived at this time or later is read, and nothing else.
#[tokio::test]
async fn starts_at_a_time() {
    let server = server(2);
    let shards = server.open_shards("cdn");
    server.put("cdn", "a", "old");
    server.put("cdn", "b", "old");
    server.split("cdn", &shards[0]);
    server.advance(Duration::from_secs(3600));
    let start = SystemTime::now() + Duration::from_secs(1800);
    let start = jiff::Timestamp::try_from(start).unwrap().to_string();
    server.put("cdn", "a", "one");
    server.put("cdn", "b", "two");
    let reads = forebay_testkit::read(&source(&server.endpoint(), json!({ "start": start })), Resume::start()).await;
    let found: BTreeSet<String> = messages(&reads).into_iter().collect();
    assert_eq!(found, ["one", "two"].map(str::to_owned).into());
}

/// Scenario: a shard is read while it is split and its children are merged, again and again, under load.
/// Guarantees: every record comes once, and those of one key in the order in which they were put.
#[tokio::test]
async fn order_is_kept_over_splits_and_merges() {
    const KEYS: usize = 16;
    let server = server(1);
    let config = source(&server.endpoint(), json!({ "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut put = 0;
    let mut put_some = |server: &KinesisServer| {
        for _ in 0..200 {
            server.put("cdn", &format!("key {}", put % KEYS), format!("{} {put}", put % KEYS));
            put += 1;
        }
    };
    let mut found: Vec<String> = Vec::new();
    for _ in 0..4 {
        put_some(&server);
        let open = server.open_shards("cdn");
        let [left, right] = server.split("cdn", &open[0]);
        put_some(&server);
        found.extend(rows(&mut *source, 100).await);
        let [_, middle] = server.split("cdn", &left);
        put_some(&server);
        server.merge("cdn", &middle, &right);
        put_some(&server);
        let open = server.open_shards("cdn");
        server.merge("cdn", &open[0], &open[1]);
    }
    let rest = put - found.len();
    found.extend(rows(&mut *source, rest).await);
    let mut last = BTreeMap::new();
    for row in &found {
        let (key, nth) = row.split_once(' ').unwrap();
        let (nth, before) = (nth.parse::<usize>().unwrap(), last.get(key).copied());
        assert!(before.is_none_or(|it| it < nth), "key {key}: {nth} comes after {before:?}");
        last.insert(key, nth);
    }
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), put);
}

/// Scenario: two other servers that speak the API; in one of them shards are split and merged, and records are polled and
/// pushed.
/// Guarantees: the same rows, in order, with the numbers that putting them gave.
#[tokio::test]
async fn other_servers() {
    let server = Ministack::start();
    let config = source(&server.endpoint(), json!({}));
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    client.create_stream().stream_name("cdn").shard_count(1).send().await.unwrap();
    for row in ["one\n", "two", "three"] {
        let put = client.put_record().stream_name("cdn").partition_key("a").data(row.as_bytes().into());
        put.send().await.unwrap();
    }
    assert_eq!(messages(&forebay_testkit::read(&config, Resume::start()).await), ["one", "two", "three"]);

    let server = KinesisLocal::start();
    let config = source(&server.endpoint(), json!({}));
    let client = config.aws.clone().unwrap().kinesis().await.unwrap();
    client.create_stream().stream_name("cdn").shard_count(1).send().await.unwrap();
    let mut expected: Vec<(String, String)> = Vec::new();
    let mut put = async |rows: &[&str]| {
        let aggregated: Vec<(&str, Option<&str>, &[u8])> = rows.iter().map(|it| ("a", None, it.as_bytes())).collect();
        let call = client.put_record().stream_name("cdn").partition_key("a").data(aggregate(&aggregated).into());
        let answer = settled(|| call.clone().send()).await;
        let number = |nth: usize| format!("{}:{}", answer.sequence_number, nth + 1);
        expected.extend(rows.iter().enumerate().map(|(nth, row)| (number(nth), (*row).to_owned())));
    };
    let shard = |nth: usize| format!("shardId-{nth:012}");
    put(&["one", "two"]).await;
    let middle = (u128::MAX / 2 + 1).to_string();
    let split = client.split_shard().stream_name("cdn").shard_to_split(shard(0)).new_starting_hash_key(middle);
    settled(|| split.clone().send()).await;
    put(&["three"]).await;
    let merge = client.merge_shards().stream_name("cdn").shard_to_merge(shard(1)).adjacent_shard_to_merge(shard(2));
    settled(|| merge.clone().send()).await;
    put(&["four", "five"]).await;
    let described = client.describe_stream_summary().stream_name("cdn").send().await.unwrap();
    let arn = described.stream_description_summary.unwrap().stream_arn;
    let register = client.register_stream_consumer().stream_arn(arn).consumer_name("forebay");
    settled(|| register.clone().send()).await;
    for more in [json!({}), json!({ "mode": "fan_out", "consumer": "forebay" })] {
        let reads = forebay_testkit::read(&source(&server.endpoint(), more), Resume::start()).await;
        let place = |read: &Read| (0..read.rows.num_rows()).map(|it| read.position(it).to_string()).collect::<Vec<_>>();
        let found: Vec<(String, String)> = reads.iter().flat_map(place).zip(messages(&reads)).collect();
        assert_eq!(found, expected);
        assert_eq!(ends(&reads).values().filter(|it| **it == Position::End).count(), 3);
    }
}

/// What a call answers once the stream is not about to change any more.
async fn settled<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(call: impl Fn() -> F) -> T {
    for _ in 0..100 {
        if let Ok(answer) = call().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    call().await.unwrap()
}

/// Scenario: many records lie in two shards for one hour and for two hours; nobody takes what is read of them, then somebody
/// does, and then one of the shards is split.
/// Guarantees: the source says how long the oldest has waited of those that it has not read; in the end nothing, and shards that
/// were read to their end do not count.
#[tokio::test]
async fn how_far_it_is_behind() {
    let server = server(2);
    // `a` and `b` belong to different shards.
    let put = |key: &str| server.put_directly("cdn", (0..1000).map(|it| (key.to_owned(), format!("row {it}"))));
    put("a");
    server.advance(Duration::from_secs(3600));
    put("b");
    server.advance(Duration::from_secs(3600));
    let config = source(&server.endpoint(), json!({ "records_max": 1, "end": "never" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let stats = source.stats().unwrap();
    let minutes = || stats.behind().map(|it| it.as_secs() / 60);
    assert_eq!(minutes(), None);
    until("it is two hours behind", || minutes() == Some(120)).await;
    assert_eq!(rows(&mut *source, 2000).await.len(), 2000);
    until("it is not behind", || minutes() == Some(0)).await;
    server.split("cdn", &server.open_shards("cdn")[0]);
    server.put("cdn", "a", "one");
    server.put("cdn", "b", "two");
    assert_eq!(rows(&mut *source, 2).await.len(), 2);
    assert_eq!(minutes(), Some(0));
}

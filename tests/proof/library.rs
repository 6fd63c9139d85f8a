//! A table of the Kinesis Client Library: taken over while rows keep coming, given back, and taken over again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{
    Put, STREAM, TABLE, judge_clickhouse, judge_parquet, parquet_rows, put, settle, table_rows,
};

use super::world::{Row, World};
use crate::harness::seed;

/// Fewer than the first poison row has for its number.
const ROWS: u64 = 900;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// What went through the stream, and how far the library has come in it.
struct Stream {
    oracle: Oracle,
    random: Random,
    records: Vec<Put>,
    /// Rows that the library has done, and nobody else may.
    done: BTreeSet<u64>,
}

impl Stream {
    /// Puts records under keys of all shards until there are so many rows in all.
    fn put(&mut self, world: &World, rows: u64) {
        while self.oracle.claimed() < rows {
            let count = (rows - self.oracle.claimed()).min(1 + self.random.number() % 12);
            let key = format!("key {}", self.random.number() % 40);
            self.records.push(put(&world.kinesis, &mut self.oracle, &key, count));
        }
    }

    /// The records of a shard.
    fn of<'a>(&'a self, shard: &'a str) -> impl Iterator<Item = &'a Put> {
        self.records.iter().filter(move |it| it.shard == shard)
    }

    /// What lies behind a checkpoint of a shard: what a worker of the library would go on with.
    fn behind(&self, shard: &str, checkpoint: &str, sub: u64) -> BTreeSet<u64> {
        let rest = |it: &Put| -> Range<u64> {
            match (it.sequence.as_str(), checkpoint) {
                (_, "SHARD_END") => it.ids.end..it.ids.end,
                (_, "TRIM_HORIZON") => it.ids.clone(),
                // Sequence numbers of one stream have the same length here.
                (sequence, checkpoint) if sequence == checkpoint => (it.ids.start + sub + 1)..it.ids.end,
                (sequence, checkpoint) if sequence < checkpoint => it.ids.end..it.ids.end,
                _ => it.ids.clone(),
            }
        };
        self.of(shard).flat_map(rest).collect()
    }

    /// The library does a shard up to about a half of what lies behind a checkpoint. Where it stands then.
    fn do_some(&mut self, shard: &str, checkpoint: &str, sub: u64) -> (String, u64) {
        let behind: Vec<u64> = self.behind(shard, checkpoint, sub).into_iter().collect();
        let last = behind[behind.len() / 2];
        self.done.extend(behind.iter().filter(|it| **it <= last));
        let record = self.of(shard).find(|it| it.ids.contains(&last)).unwrap();
        (record.sequence.clone(), last - record.ids.start)
    }
}

/// A row as the library writes it.
fn lease(shard: &str, checkpoint: &str, sub: u64, more: &[(&str, AttributeValue)]) -> Row {
    let of_all = [
        ("leaseKey", text(shard)),
        ("checkpoint", text(checkpoint)),
        ("checkpointSubSequenceNumber", number(sub)),
        ("leaseCounter", number(4711)),
        ("ownerSwitchesSinceCheckpoint", number(0)),
    ];
    of_all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// What a lease says about the progress of its shard.
fn checkpoint(lease: &Row) -> (String, u64) {
    let sub = lease["checkpointSubSequenceNumber"].as_n().unwrap().parse().unwrap();
    (lease["checkpoint"].as_s().unwrap().clone(), sub)
}

/// The rows of the table.
fn in_table(world: &World) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    world.clickhouse.each_line(&format!("SELECT id FROM {TABLE}"), |line| {
        assert!(ids.insert(line.parse().unwrap()), "{line} is there twice");
    });
    ids
}

/// Scenario: workers of the Kinesis Client Library, of versions 2 and 3.5, have done a part of a stream, and are stopped:
/// in two shards up to the middle, perhaps of an aggregated record; a third one to its end, which was split, with a lease
/// for one of its children. The program takes their table over while rows keep coming, and is stopped in the middle of
/// them. The library goes on where the table says, for a while, as if it knew nothing of us; the program comes again.
/// Guarantees: nothing that the library did is in ClickHouse or Parquet, and everything else is, once; when the program
/// is stopped, what lies behind the checkpoints is exactly what it has not delivered, so that the library misses nothing
/// and does nothing twice; no lease stays with anybody.
#[test]
fn taken_over_and_given_back() {
    let seed = seed();
    let world = World::start(3);
    let mut stream =
        Stream { oracle: Oracle::new(seed), random: Random::new(seed), records: Vec::new(), done: BTreeSet::new() };
    let [first, second, third] = &world.kinesis.open_shards(STREAM)[..] else { panic!("there are three shards") };
    stream.put(&world, ROWS / 4);
    stream.done = stream.of(third).flat_map(|it| it.ids.clone()).collect();
    let [left, right] = world.kinesis.split(STREAM, third);
    stream.put(&world, ROWS / 2);

    let keys = world.hash_keys();
    let hash_keys = |shard: &String| {
        let [from, to] = &keys[shard];
        [("startingHashKey", text(from)), ("endingHashKey", text(to))]
    };
    let [of_first, of_second] = [first, second].map(|it| stream.do_some(it, "TRIM_HORIZON", 0));
    let [from, to] = hash_keys(first);
    let by_version_3 = [from, to, ("leaseOwner", text("worker 1")), ("throughputKBps", number(12))];
    let children = ("childShardIds", AttributeValue::Ss(vec![left.clone(), right.clone()]));
    let [from, to] = hash_keys(&left);
    let parent = ("parentShardId", AttributeValue::Ss(vec![third.clone()]));
    let metrics = [("leaseKey", text("worker 1")), ("entityType", text("WORKER_METRIC_STATS"))];
    world.leases.make(vec![
        lease(first, &of_first.0, of_first.1, &by_version_3),
        lease(second, &of_second.0, of_second.1, &[("leaseOwner", text("worker 2"))]),
        lease(third, "SHARD_END", 0, &[children]),
        lease(&left, "TRIM_HORIZON", 0, &[from, to, parent]),
        metrics.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    ]);

    let place = world.place();
    let process = place.start();
    let begun = Instant::now();
    // On a busy machine some leases are looked at long enough only when rows of others are there already.
    let is_theirs = |it: &Row| it.get("leaseOwner").is_some_and(|it| it.as_s().unwrap().starts_with("worker "));
    while table_rows(&world.clickhouse) < ROWS / 10 || world.leases.leases().values().any(is_theirs) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is taken over: {}", place.said());
        sleep(Duration::from_millis(50));
    }
    for rows in (ROWS / 2..ROWS * 3 / 4).step_by(10) {
        stream.put(&world, rows);
        sleep(Duration::from_millis(20));
    }
    process.stop();

    let (delivered, leases) = (in_table(&world), world.leases.leases());
    assert!(leases.values().all(|it| !it.contains_key("leaseOwner")), "{leases:?}");
    let mut rest = BTreeSet::new();
    for (shard, lease) in &leases {
        let (checkpoint, sub) = checkpoint(lease);
        rest.extend(stream.behind(shard, &checkpoint, sub));
    }
    println!("{} rows by the library, {} by us, {} to come", stream.done.len(), delivered.len(), rest.len());
    let all: BTreeSet<u64> = (0..stream.oracle.claimed()).filter(|it| !stream.done.contains(it)).collect();
    assert_eq!(delivered.union(&rest).copied().collect::<BTreeSet<_>>(), all, "the library would miss rows");
    assert_eq!(delivered.intersection(&rest).count(), 0, "the library would do rows twice");

    stream.put(&world, ROWS);
    for shard in [first, &left] {
        let mut row = leases[shard].clone();
        let (before, sub) = checkpoint(&row);
        let (after, sub) = stream.do_some(shard, &before, sub);
        row.extend(lease(shard, &after, sub, &[]));
        row.insert("leaseCounter".to_owned(), number(1_000_000));
        world.leases.put(row);
    }
    let process = place.start();
    let Stream { mut oracle, done, .. } = stream;
    oracle.acknowledge((0..oracle.claimed()).filter(|it| !done.contains(it)).collect::<Vec<_>>());
    let due = ROWS - done.len() as u64;
    let lake = world.objects("rows");
    settle(due, || table_rows(&world.clickhouse));
    settle(due, || parquet_rows(&lake));
    process.stop();
    for verdict in [judge_clickhouse(&world.clickhouse, &oracle), judge_parquet(&lake, &oracle)] {
        println!("{verdict}");
        assert!(verdict.is_good(), "{verdict}");
        assert_eq!(verdict.recovered, 0, "rows that the library did: {verdict}");
    }
}

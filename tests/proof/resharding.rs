//! Shards are split and merged, and the rows of a key stay in order.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Pipeline, Place, STREAM, TABLE, put};
use forebay_testkit::services::{ClickHouse, KinesisServer};

use super::{asked, check, program};
use crate::harness::seed;

const KEYS: u64 = 100;

/// Rows of an aggregated record at most.
const ROWS_MAX: u64 = 30;

/// For how long rows come between two reshardings, in seconds: the short form. `FOREBAY_RESHARDING_SECONDS` sets it for the
/// long one.
const SECONDS: u64 = 3;

/// How often a record is put.
const TICK: Duration = Duration::from_millis(8);

/// A table that keeps rows in the order in which they were inserted, and can say which that was.
const TABLE_IN_ORDER: &str = "\
    id UInt64, moment DateTime64(3), host LowCardinality(String), path String, status UInt16, bytes UInt32, seal String, \
    _delivery LowCardinality(String), CONSTRAINT status_is_one CHECK status < 600) ENGINE = MergeTree ORDER BY tuple() \
    SETTINGS non_replicated_deduplication_window = 1000, enable_block_number_column = 1, enable_block_offset_column = 1";

/// What went into the stream.
struct Stream {
    kinesis: Arc<KinesisServer>,
    oracle: Oracle,
    random: Random,
    /// The partition key of each row, by its number.
    keys: Vec<u64>,
}

impl Stream {
    /// Puts records for so long.
    fn put(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let key = self.random.number() % KEYS;
            let rows = 1 + self.random.number() % ROWS_MAX;
            let ids = put(&self.kinesis, &mut self.oracle, &format!("key {key}"), rows).ids;
            self.keys.extend(ids.clone().map(|_| key));
            self.oracle.acknowledge(ids);
            sleep(TICK);
        }
    }

    /// Splits every open shard.
    fn split(&self) {
        for shard in self.kinesis.open_shards(STREAM) {
            self.kinesis.split(STREAM, &shard);
        }
    }

    /// Merges the two halves of each shard that was split last.
    fn merge(&self) {
        for pair in self.kinesis.open_shards(STREAM).chunks(2) {
            self.kinesis.merge(STREAM, &pair[0], &pair[1]);
        }
    }
}

/// Scenario: rows of a hundred partition keys keep coming into a stream of one shard, which becomes four, two, and eight,
/// each three seconds after the other, or as many as `FOREBAY_RESHARDING_SECONDS` says; the sink makes one delivery after the
/// other (`in_flight_max = 1`); the program is killed in the middle.
/// Guarantees: the rows of each partition key are in the table in the order in which they were put, across all parents
/// and children; ClickHouse, Parquet and the dead letters have every row once, intact, and nothing else.
#[test]
fn one_shard_becomes_four_two_and_eight() {
    let stage = Duration::from_secs(asked("FOREBAY_RESHARDING_SECONDS", SECONDS));
    let seed = seed();
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, 1);
    let clickhouse = ClickHouse::start();
    clickhouse.query(&format!("CREATE TABLE {TABLE} ({TABLE_IN_ORDER}"));
    let warehouse = "in_flight_max = 1\nbatch = { age_max = \"200ms\" }".to_owned();
    let place = Place::new(program(), &Pipeline { warehouse, ..Pipeline::local(&kinesis, &clickhouse) });
    let process = place.start();
    let (oracle, random) = (Oracle::new(seed), Random::new(seed));
    let mut stream = Stream { kinesis, oracle, random, keys: Vec::new() };

    stream.put(stage);
    stream.split();
    stream.put(stage / 3);
    stream.split();
    assert_eq!(stream.kinesis.open_shards(STREAM).len(), 4);
    stream.put(stage / 2);
    process.kill();
    let process = place.start();
    stream.put(stage / 2);
    stream.merge();
    assert_eq!(stream.kinesis.open_shards(STREAM).len(), 2);
    stream.put(stage);
    stream.split();
    stream.split();
    assert_eq!(stream.kinesis.open_shards(STREAM).len(), 8);
    stream.put(stage);

    let (lake, letters) = (place.home().join("lake"), place.home().join("refused"));
    check(&clickhouse, &lake, &letters, &stream.oracle);
    process.stop();
    let mut last = vec![None; KEYS as usize];
    let (mut rows, mut early) = (0, Vec::new());
    clickhouse.each_line(
        &format!("SELECT id FROM {TABLE} ORDER BY _block_number, _block_offset FORMAT TSVRaw"),
        |line| {
            let id: u64 = line.parse().unwrap();
            let key = stream.keys[id as usize] as usize;
            if last[key].is_some_and(|it| it > id) {
                early.push((key, last[key], id));
            }
            last[key] = Some(id);
            rows += 1;
        },
    );
    let deliveries = clickhouse.query(&format!("SELECT uniq(_delivery) FROM {TABLE}"));
    println!("{rows} rows of {KEYS} keys in {deliveries} deliveries, {} out of order", early.len());
    assert!(
        early.is_empty(),
        "a later row of a key was there before an earlier one: {:?}",
        &early[..early.len().min(9)]
    );
}

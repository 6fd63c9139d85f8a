//! One of two sinks is away, and comes back.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::Oracle;
use forebay_testkit::proof::{
    KINDS, Pipeline, Place, Process, Producer, RARITY, STREAM, create_table, parquet_rows, table_rows,
};
use forebay_testkit::services::{ClickHouse, Fault, FaultProxy, KinesisServer, Rule};

use super::{asked, check, program};
use crate::harness::{files, seed};

/// How long ClickHouse is away, in seconds: the short form. `FOREBAY_AWAY_SECONDS` sets it for the long one.
const SECONDS: u64 = 24;

/// Small deliveries, so that what may wait for ClickHouse is soon as much as may wait. An INSERT that was swallowed is sent
/// again after some seconds.
const WAREHOUSE: &str = "\
    batch = { rows_max = 1_000, age_max = \"200ms\" }\n\
    retry = { wait_max = \"500ms\" }\n\
    timeout = \"5s\"";

/// What a process may have in memory, whatever it reads from and writes to.
const MEMORY: u64 = 256 << 20;

/// Rows by which the machine is measured.
const TRIAL: u64 = 40_000;

/// Rows come at this part of the speed at which the program takes them, so that it can catch up.
const SHARE: f64 = 0.1;

/// When ClickHouse is back, rows go into it so much faster than new ones come, at least: in the long form, which has the
/// machine for itself. The short one has to catch up, and tells how fast.
const CATCH_UP: [f64; 2] = [3.0, 1.0];

/// A sink that has written nothing for so long holds.
const HOLDS: Duration = Duration::from_secs(4);

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was seen of the program while ClickHouse was away.
struct Away {
    process: Process,
    /// The most memory that was resident.
    resident: u64,
    /// How many files Parquet had, and since when.
    files: (usize, Instant),
}

impl Away {
    /// Looks on for so long.
    fn watch(&mut self, lake: &Path, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            sleep(Duration::from_millis(200));
            self.process.runs();
            self.resident = self.resident.max(self.process.resident());
            let found = files(lake).len();
            if found > self.files.0 {
                self.files = (found, Instant::now());
            }
        }
    }
}

/// How many of so many rows are to be in the table.
fn due(rows: u64) -> u64 {
    rows - rows.div_ceil(RARITY) * KINDS.len() as u64
}

/// Waits until the table has so many rows.
fn until(clickhouse: &ClickHouse, place: &Place, rows: impl Fn() -> u64) {
    let begun = Instant::now();
    while table_rows(clickhouse) < rows() {
        assert!(begun.elapsed() < PATIENCE, "{} of {} rows: {}", table_rows(clickhouse), rows(), place.said());
        sleep(Duration::from_millis(20));
    }
}

/// Scenario: rows come as fast as a machine that is not to fall behind can be given, a tenth of what it was seen to take.
/// ClickHouse stands still, then is killed, then swallows whatever is sent and answers nothing; Parquet is well all the
/// time. Then ClickHouse is back. In all it is away for 24 s, or for as long as `FOREBAY_AWAY_SECONDS` says.
/// Guarantees: Parquet goes on while there is room for what waits for ClickHouse, and then holds, with far fewer rows ahead
/// than have come; less than 256 MiB are resident at any time; when ClickHouse is back, rows go into it faster than new ones
/// come, in the long form three times as fast, until none is late; both have every row once, intact, and nothing else.
#[test]
fn one_of_two_sinks_is_away() {
    let seconds = asked("FOREBAY_AWAY_SECONDS", SECONDS);
    let third = Duration::from_secs(seconds) / 3;
    let least = CATCH_UP[usize::from(seconds <= SECONDS)];
    let seed = seed();
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, 4);
    let mut clickhouse = ClickHouse::start();
    create_table(&clickhouse, 1_000);
    let way = FaultProxy::start(&clickhouse.endpoint(), vec![]);
    let pipeline = Pipeline {
        clickhouse: way.endpoint(),
        warehouse: WAREHOUSE.to_owned(),
        ..Pipeline::local(&kinesis, &clickhouse)
    };
    let place = Place::new(program(), &pipeline);
    let (lake, letters) = (place.home().join("lake"), place.home().join("refused"));

    // What the machine can do today.
    let oracle = Producer::start(&kinesis, Oracle::new(seed), TRIAL, f64::INFINITY).finish();
    let process = place.start();
    until(&clickhouse, &place, || 1);
    let (first, begun) = (table_rows(&clickhouse), Instant::now());
    until(&clickhouse, &place, || due(TRIAL));
    let most = (due(TRIAL) - first) as f64 / begun.elapsed().as_secs_f64();
    let arrival = most * SHARE;
    let producer = Producer::start(&kinesis, oracle, u64::MAX, arrival);
    until(&clickhouse, &place, || TRIAL + arrival as u64);

    let (there, put_before) = (table_rows(&clickhouse), producer.put());
    let mut away = Away { process, resident: 0, files: (files(&lake).len(), Instant::now()) };
    clickhouse.pause();
    away.watch(&lake, third);
    clickhouse.kill();
    away.watch(&lake, third);
    way.set_rules(vec![Rule::new(Fault::Blackhole)]);
    clickhouse.restart();
    away.watch(&lake, third);
    let (came, still) = (producer.put() - put_before, away.files.1.elapsed());
    let ahead = parquet_rows(&lake).saturating_sub(there);

    way.set_rules(vec![]);
    let back = Instant::now();
    let left = table_rows(&clickhouse);
    until(&clickhouse, &place, || left + 1);
    let (first, begun) = (table_rows(&clickhouse), Instant::now());
    // No row is late any more: what is not there has come in the last two seconds.
    until(&clickhouse, &place, || due(TRIAL + producer.put()) - (2.0 * arrival) as u64);
    let caught_up = (table_rows(&clickhouse) - first) as f64 / begun.elapsed().as_secs_f64() / arrival;
    println!(
        "{most:.0} rows/s at most, {arrival:.0} rows/s came, {came} while ClickHouse was away for {:?}",
        third * 3
    );
    println!("Parquet was {ahead} rows ahead of it then, and had written nothing for {still:?}");
    println!("{} MiB resident at most", away.resident >> 20);
    println!("caught up {:?} after it was back, {caught_up:.1} times as fast as rows came", back.elapsed());
    assert!(ahead > 0, "Parquet has stopped at once");
    assert!(still > HOLDS && ahead < came / 2, "nothing holds Parquet back: {ahead} of {came} rows ahead");
    assert!(away.resident < MEMORY, "{} bytes are resident", away.resident);
    assert!(caught_up >= least, "it catches up {caught_up:.1} times as fast as rows come");

    let oracle = producer.end();
    check(&clickhouse, &lake, &letters, &oracle);
    away.process.stop();
}

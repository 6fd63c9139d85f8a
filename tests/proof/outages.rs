//! What lies around the program fails.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Pipeline, Place, Producer, STREAM, TABLE, aws, table_rows};
use forebay_testkit::services::{ClickHouse, FaultProxy, KinesisMishap, KinesisServer, S3Server};

use super::faults::{any, faults};
use super::{check, program};
use crate::harness::{files, seed};

/// A table that remembers as few INSERTs as the sink allows.
const FORGETFUL: &str = "\
    id UInt64, moment DateTime64(3), host LowCardinality(String), path String, status UInt16, bytes UInt64, seal String, \
    _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100";

/// What the stream may answer.
fn mishap(random: &mut Random) -> KinesisMishap {
    let error = |status, code: &str| KinesisMishap::Error(status, code.to_owned());
    let mishaps = [
        error(400, "ProvisionedThroughputExceededException"),
        error(400, "ExpiredIteratorException"),
        error(500, "InternalFailure"),
        KinesisMishap::AnswerLost,
        KinesisMishap::Nothing,
    ];
    any(random, &mishaps)
}

/// Scenario: for a while, while rows keep coming, at each moment something else at random: answers of ClickHouse and of S3
/// are lost, their requests cut, reset, delayed, refused; ClickHouse stands still, is killed, is stopped; Kinesis
/// throttles, lets iterators expire, loses answers, finds nothing; a shard is split; the program is killed. The table
/// remembers few INSERTs, and the user's profile cuts them into small blocks and deduplicates none, where the program lets
/// it.
/// Guarantees: when all that is over, ClickHouse, Parquet and the dead letters have every row once, intact, and nothing
/// else. The program ends by none of it, and leaves no note of a delivery behind in the bucket.
#[test]
fn everything_fails_now_and_then() {
    let seed = seed();
    let mut random = Random::new(seed);
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, 3);
    let mut clickhouse = ClickHouse::start();
    clickhouse.query(&format!("CREATE TABLE {TABLE} ({FORGETFUL}"));
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let before_table = FaultProxy::start(&clickhouse.endpoint(), vec![]);
    let before_bucket = FaultProxy::start(&s3.endpoint(), vec![]);
    let place = Place::new(
        program(),
        &Pipeline {
            clickhouse: before_table.endpoint(),
            warehouse: format!("user = \"{}\"\npassword = \"{}\"", ClickHouse::CUTTER, ClickHouse::PASSWORD),
            lake: format!("path = \"s3://lake/rows\"\naws = {}", aws(&before_bucket.endpoint())),
            letters: format!("path = \"s3://lake/refused\"\naws = {}", aws(&before_bucket.endpoint())),
            ..Pipeline::local(&kinesis, &clickhouse)
        },
    );
    let mut process = place.start();
    let producer = Producer::start(&kinesis, Oracle::new(seed), u64::MAX, 2_000.0);
    for nth in 0..60 {
        sleep(Duration::from_millis(500).mul_f64(random.fraction()));
        process.runs();
        match random.number() % 16 {
            0..5 => before_table.set_rules(faults(&mut random, |it| it.path_contains("INSERT"))),
            5..9 => before_bucket.set_rules(faults(&mut random, |it| it.method("PUT"))),
            9..13 => {
                let operation = any(&mut random, &["GetRecords", "GetRecords", "GetShardIterator", "ListShards"]);
                kinesis.fail(operation, 1 + (random.number() % 4) as usize, mishap(&mut random));
            }
            13 => {
                clickhouse.pause();
                sleep(Duration::from_secs(2).mul_f64(random.fraction()));
                clickhouse.resume();
            }
            14 => match nth % 2 {
                0 => clickhouse.restart(),
                _ => {
                    clickhouse.stop();
                    sleep(Duration::from_millis(500));
                    clickhouse.restart();
                }
            },
            _ => {
                process.kill();
                process = place.start();
            }
        }
        if nth == 30 {
            kinesis.split(STREAM, &kinesis.open_shards(STREAM)[1]);
        }
    }
    let oracle = producer.end();
    before_table.set_rules(vec![]);
    before_bucket.set_rules(vec![]);
    println!("{} rows; {} and {} faults", oracle.claimed(), before_table.faults(), before_bucket.faults());
    assert!(before_table.faults() + before_bucket.faults() > 10, "hardly anything has failed");
    let bucket = s3.directory().join("lake");
    check(&clickhouse, &bucket.join("rows"), &bucket.join("refused"), &oracle);
    process.stop();
    let left: Vec<_> = files(&bucket).into_iter().filter(|it| it.to_string_lossy().contains(".staging")).collect();
    assert!(left.is_empty(), "notes of deliveries that are done: {left:?}");
}

/// Scenario: ClickHouse stands still, is killed, and stays away, all at full load; Parquet is well all the time. Then it
/// comes back.
/// Guarantees: the program keeps running within 512 MiB of memory; Parquet goes on until what waits for ClickHouse is as
/// much as may wait, and not a row of it is doubled or lost for that; when ClickHouse is back, everything arrives, once.
#[test]
fn one_of_two_sinks_is_away() {
    const MEMORY: u64 = 512 << 20;
    let seed = seed();
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, 4);
    let mut clickhouse = ClickHouse::start();
    let place = Place::new(program(), &Pipeline::local(&kinesis, &clickhouse));
    let (lake, letters) = (place.home().join("lake"), place.home().join("refused"));
    let mut process = place.start();
    let producer = Producer::start(&kinesis, Oracle::new(seed), u64::MAX, 6_000.0);
    let begun = Instant::now();
    while table_rows(&clickhouse) < 5_000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing arrives: {}", place.said());
        sleep(Duration::from_millis(50));
    }
    let before = files(&lake).len();
    let mut most = 0;
    let mut stay_away = |process: &mut forebay_testkit::proof::Process| {
        for _ in 0..25 {
            sleep(Duration::from_millis(200));
            process.runs();
            most = most.max(process.resident());
        }
    };
    clickhouse.pause();
    stay_away(&mut process);
    clickhouse.kill();
    stay_away(&mut process);
    let meanwhile = files(&lake).len();
    let put = producer.put();
    clickhouse.restart();
    let back = Instant::now();
    while table_rows(&clickhouse) < put * 9 / 10 {
        assert!(back.elapsed() < Duration::from_secs(90), "it does not catch up: {}", place.said());
        sleep(Duration::from_millis(50));
    }
    println!("{} MiB at most; {put} rows had come, nearly all are there after {:?}", most >> 20, back.elapsed());
    assert!(most < MEMORY, "{most} bytes are resident");
    assert!(meanwhile > before, "Parquet has stopped at once");
    let oracle = producer.end();
    check(&clickhouse, &lake, &letters, &oracle);
    process.stop();
}

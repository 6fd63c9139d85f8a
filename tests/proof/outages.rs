//! What lies around the program fails.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Pipeline, Place, Producer, STREAM, WAREHOUSE, aws, create_table};
use forebay_testkit::services::{ClickHouse, FaultProxy, KinesisMishap, KinesisServer, S3Server};

use super::faults::{any, faults};
use super::{check, program};
use crate::harness::{files, seed};

/// As few INSERTs as the sink allows the table to remember.
const FEW: u32 = 100;

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
    create_table(&clickhouse, FEW);
    let s3 = S3Server::start();
    s3.create_bucket("lake");
    let before_table = FaultProxy::start(&clickhouse.endpoint(), vec![]);
    let before_bucket = FaultProxy::start(&s3.endpoint(), vec![]);
    let place = Place::new(
        program(),
        &Pipeline {
            clickhouse: before_table.endpoint(),
            warehouse: format!(
                "user = \"{}\"\npassword = \"{}\"\n{WAREHOUSE}",
                ClickHouse::CUTTER,
                ClickHouse::PASSWORD
            ),
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

//! Records that are pushed: the whole program with enhanced fan-out.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_api::Secret;
use forebay_aws::Aws;
use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{
    Due, Pipeline, Place, Producer, STREAM, create_table, judge_clickhouse, judge_letters, judge_parquet, parquet_rows,
    settle, table_rows,
};
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, KinesisServer, SECRET_KEY};

use crate::harness::seed;

const KILLS: usize = 4;

/// Longer than anything may take; a shard can be subscribed to again only after five seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// The names of the stream's consumers.
fn consumers(kinesis: &KinesisServer) -> Vec<String> {
    let aws = Aws {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(kinesis.endpoint()),
        access_key_id: Some(Secret::new(ACCESS_KEY)),
        secret_access_key: Some(Secret::new(SECRET_KEY)),
        ..Aws::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async {
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
        aws.kinesis().await.unwrap().list_stream_consumers().stream_arn(arn).send().await.unwrap()
    });
    answer.consumers().iter().map(|it| it.consumer_name().to_owned()).collect()
}

/// Scenario: rows keep coming into a stream of three shards and are pushed to the program, which writes them to ClickHouse and
/// to Parquet; it is killed at random moments and started again; a shard is split. In the end it is stopped.
/// Guarantees: both have every row once, intact, and nothing else; as long as the program runs there is one consumer, and when
/// it has stopped there is none, though it was registered by a process that was killed.
#[test]
fn pushed_over_kills() {
    let seed = seed();
    let mut random = Random::new(seed);
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, 3);
    let clickhouse = ClickHouse::start();
    create_table(&clickhouse, 1_000);
    let source = "mode = \"fan_out\"\nconsumer = \"forebay\"".to_owned();
    let program = Path::new(env!("CARGO_BIN_EXE_forebay"));
    let place = Place::new(program, &Pipeline { source, ..Pipeline::local(&kinesis, &clickhouse) });
    let producer = Producer::start(&kinesis, Oracle::new(seed), u64::MAX, 1_000.0);
    for nth in 0..KILLS {
        let process = place.start();
        let (before, begun) = (table_rows(&clickhouse), Instant::now());
        while table_rows(&clickhouse) == before {
            assert!(begun.elapsed() < PATIENCE, "nothing is pushed: {}", place.said());
            sleep(Duration::from_millis(50));
        }
        sleep(Duration::from_millis(500).mul_f64(random.fraction()));
        assert_eq!(consumers(&kinesis), ["forebay"]);
        process.kill();
        if nth == 1 {
            kinesis.split(STREAM, &kinesis.open_shards(STREAM)[1]);
        }
    }
    let process = place.start();
    let oracle = producer.end();
    let due = Due::of(&oracle);
    let (lake, letters) = (place.home().join("lake"), place.home().join("refused"));
    settle(due.table, || table_rows(&clickhouse));
    settle(due.lake, || parquet_rows(&lake));
    settle(due.letters, || judge_letters(&letters, &oracle).rows);
    println!("{} rows; stopped within {:?}", oracle.claimed(), process.stop());
    for verdict in
        [judge_clickhouse(&clickhouse, &oracle), judge_parquet(&lake, &oracle), judge_letters(&letters, &oracle)]
    {
        assert!(verdict.is_good(), "{verdict}");
    }
    assert!(kinesis.calls("SubscribeToShard").answered > KILLS);
    assert_eq!(kinesis.calls("RegisterStreamConsumer").answered, 1);
    assert!(consumers(&kinesis).is_empty(), "a consumer stays: {}", place.said());
}

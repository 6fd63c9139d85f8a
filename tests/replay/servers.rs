//! Dead letters of whole pipelines between servers.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use expect_test::expect;
use forebay_testkit::proof::aws;
use forebay_testkit::services::{ClickHouse, KinesisServer, S3Server};

use super::{PIPELINE, count, letters, refused_two};
use crate::harness::{files, forebay, run, signal, succeed};

/// How many lines go into the stream.
const ROWS: u64 = 400;

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts a replay again and again, and kills it a little later each time, until one of them comes to its end.
fn replay_and_kill(dir: &std::path::Path, component: &str) {
    let mut killed = 0;
    for millis in (20..).step_by(40) {
        let mut replay = forebay(dir);
        replay.args(["replay", "--component", component]).stdout(Stdio::null());
        let mut child = replay.spawn().unwrap();
        sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.code(), None, "it has ended by itself");
        killed += 1;
    }
    println!("a replay of `{component}` was killed {killed} times");
}

/// Scenario: lines of a stream, with the names of their shard and stream beside them, become events in ClickHouse, whose
/// table does not take some of them; some lines are other than the pattern. The constraint is dropped, and the letters of
/// the sink are replayed; the pattern is mended, and those of the transform are; both are killed again and again.
/// Guarantees: every line is in the table once, with its shard and its stream, and no letter is left.
#[test]
fn refused_by_the_server() {
    let (kinesis, clickhouse) = (KinesisServer::start(), ClickHouse::shared());
    let database = clickhouse.database();
    kinesis.create_stream("cdn", 3);
    let line = |id: u64| match id % 10 {
        3 => format!("{id} 999"),
        7 => format!("{id} 200 late"),
        _ => format!("{id} 200"),
    };
    kinesis.put_directly("cdn", (0..ROWS).map(|id| (format!("key {}", id % 40), line(id))));
    clickhouse.query(&format!(
        "CREATE TABLE {database}.shop (shop_id Int64, shop_shard LowCardinality(String), shop_stream String, \
         http_response_status_code Int64, ecs_version String, _delivery LowCardinality(String), \
         CONSTRAINT plausible CHECK http_response_status_code < 600) ENGINE = MergeTree ORDER BY shop_id \
         SETTINGS non_replicated_deduplication_window = 10000"
    ));
    let pipeline = format!(
        r#"
name = "shop"
dead_letters.path = "./refused"

[sources.logs]
type = "kinesis"
stream = "cdn"
columns = ["shard", "stream"]
aws = {aws}

[transforms.parse]
type = "regex"
inputs = ["logs"]
pattern = '^(?P<id>\d+) (?P<status>\d+)$'
types = {{ id = "i64", status = "u16" }}
keep = ["shard", "stream"]

[transforms.event]
type = "ecs"
inputs = ["parse"]
map = {{ id = "shop.id", shard = "shop.shard", stream = "shop.stream", status = "http.response.status_code" }}
custom = {{ "shop.id" = "long", "shop.shard" = "keyword", "shop.stream" = "keyword" }}
names = "underscored"

[sinks.warehouse]
type = "clickhouse"
inputs = ["event"]
endpoint = "{endpoint}"
database = "{database}"
table = "shop"
batch = {{ rows_max = 50 }}
"#,
        aws = aws(&kinesis.endpoint()),
        endpoint = clickhouse.endpoint(),
    );
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("pipeline.toml"), &pipeline).unwrap();
    let rows = |what: &str| clickhouse.query(&format!("SELECT {what} FROM {database}.shop"));
    let mut process = forebay(dir).args(["run", "--quiet"]).spawn().unwrap();
    let begun = Instant::now();
    while rows("count()") != (ROWS * 8 / 10).to_string() || (letters(dir).len() as u64) < ROWS * 2 / 10 {
        assert!(begun.elapsed() < PATIENCE, "{} rows, {} letters", rows("count()"), letters(dir).len());
        assert_eq!(process.try_wait().unwrap(), None);
        sleep(Duration::from_millis(100));
    }
    signal(&process, "TERM");
    assert!(process.wait().unwrap().success());
    let of_parse =
        letters(dir).into_iter().find(|it| it["payload"].as_str().unwrap().contains("\"7 200 late")).unwrap();
    expect![[r#"{"message":"7 200 late","shard":"shardId-000000000000","stream":"cdn"}"#]]
        .assert_eq(of_parse["payload"].as_str().unwrap());

    clickhouse.query(&format!("ALTER TABLE {database}.shop DROP CONSTRAINT plausible"));
    replay_and_kill(dir, "warehouse");
    assert_eq!(rows("count(), uniqExact(shop_id)"), format!("{0}\t{0}", ROWS * 9 / 10));
    fs::write(dir.join("pipeline.toml"), pipeline.replace(r"(?P<status>\d+)$", r"(?P<status>\d+)( late)?$")).unwrap();
    replay_and_kill(dir, "parse");
    let last = succeed(forebay(dir).arg("replay"));
    assert_eq!(last.out, "no dead letters to replay\n");

    assert_eq!(rows("count(), uniqExact(shop_id), max(shop_id)"), format!("{ROWS}\t{ROWS}\t{}", ROWS - 1));
    assert_eq!(rows("uniqExact(shop_shard), uniqExact(shop_stream), any(shop_stream)"), "3\t1\tcdn");
    assert_eq!(rows("countIf(http_response_status_code = 999)"), (ROWS / 10).to_string());
    assert_eq!(letters(dir).len(), 0);
}

/// Scenario: letters were copied to a bucket, and the pipeline's own are gone; they are replayed from there; then once more,
/// after somebody copied them again.
/// Guarantees: they are replayed from where the command says, once; what is refused again is kept where the pipeline keeps
/// its letters. The bucket has a mark in the end, and neither letters nor a lock.
#[test]
fn from_a_bucket() {
    let server = S3Server::start();
    server.create_bucket("archive");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mended = refused_two(dir);
    let archive = server.directory().join("archive/refused");
    let copy = |copied: &[(String, Vec<u8>)]| {
        fs::create_dir_all(&archive).unwrap();
        copied.iter().for_each(|(name, text)| fs::write(archive.join(name), text).unwrap());
    };
    let copied: Vec<(String, Vec<u8>)> = files(&dir.join("refused"))
        .into_iter()
        .map(|it| (it.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(it).unwrap()))
        .collect();
    copy(&copied);
    fs::remove_dir_all(dir.join("refused")).unwrap();

    let account = format!("dead_letters = {{ path = \"./refused\", aws = {} }}", aws(&server.endpoint()));
    let with_account = |file: &str| file.replace("dead_letters.path = \"./refused\"", &account);
    fs::write(dir.join("pipeline.toml"), with_account(PIPELINE)).unwrap();
    let place = "s3://archive/refused";
    let dry = succeed(forebay(dir).args(["replay", "--from", place, "--dry-run"]));
    assert_eq!(dry.out, "2 dead letters would be replayed\n");
    fs::write(dir.join("pipeline.toml"), with_account(&mended)).unwrap();
    let replayed = succeed(forebay(dir).args(["replay", "--from", place]));
    expect![[r#"
        2 dead letters replayed: 1 row delivered, 1 refused again and kept
    "#]]
    .assert_eq(&replayed.out);
    copy(&copied);
    let again = run(forebay(dir).args(["replay", "--from", place]));
    expect![[r#"
        no dead letters to replay
    "#]]
    .assert_eq(&again.out);

    assert_eq!(count(dir, "parsed", "count(*)"), 2);
    assert_eq!(letters(dir).len(), 1);
    let in_bucket = files(&archive).into_iter().map(|it| it.extension().unwrap().to_str().unwrap().to_owned());
    assert_eq!(in_bucket.collect::<Vec<_>>(), ["taken"]);
}

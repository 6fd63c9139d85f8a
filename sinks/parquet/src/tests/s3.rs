//! The same on S3, and what fails there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use expect_test::expect;
use forebay_api::{Draft, Promise, Sink, SinkConfig, SinkError};
use forebay_testkit::services::{ACCESS_KEY, Fault, FaultProxy, Ministack, Rule, S3Server, SECRET_KEY};
use forebay_testkit::{canonical, columns, cut, delivery};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{HOUR, SEVEN, begin, deliver, events};
use crate::Parquet;

const BUCKET: &str = "logs";

/// The sink's table in a bucket of a server.
fn config(endpoint: &str, keys: &str) -> Parquet {
    let aws = format!(
        "aws = {{ endpoint = '{endpoint}', access_key_id = '{ACCESS_KEY}', secret_access_key = '{SECRET_KEY}' }}"
    );
    toml::from_str(&format!("path = 's3://{BUCKET}/cdn'\n{aws}\n{keys}")).unwrap()
}

async fn open(endpoint: &str, keys: &str, rows: &RecordBatch) -> Box<dyn Sink> {
    let config = config(endpoint, keys);
    config.plan(&rows.schema()).unwrap();
    config.open(rows.schema()).await.unwrap()
}

async fn client(endpoint: &str) -> Client {
    config(endpoint, "").aws.s3().await.unwrap()
}

/// All objects of the bucket, as a reader sees them.
async fn objects(client: &Client) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let mut pages = client.list_objects_v2().bucket(BUCKET).into_paginator().send();
    while let Some(page) = pages.next().await {
        for key in page.unwrap().contents().iter().filter_map(|it| it.key()) {
            let object = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
            objects.insert(key.to_owned(), object.body.collect().await.unwrap().to_vec());
        }
    }
    objects
}

fn rows_of(objects: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut rows = Vec::new();
    for bytes in objects.iter().filter(|it| it.0.ends_with(".parquet")).map(|it| it.1) {
        let bytes = bytes::Bytes::from(bytes.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        rows.extend(canonical(&reader.map(|it| it.unwrap()).collect::<Vec<_>>()));
    }
    rows.sort();
    rows
}

fn sorted(rows: &RecordBatch) -> Vec<String> {
    let mut rows = canonical(std::slice::from_ref(rows));
    rows.sort();
    rows
}

/// What uploads that were neither completed nor aborted leave in the server's directory.
fn uploads(server: &S3Server) -> Vec<String> {
    let entries = fs::read_dir(server.directory()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    entries.filter(|it| it.starts_with(".upload") && !it.contains("metadata")).collect()
}

fn server() -> S3Server {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    server
}

/// Rows of 6 KiB that do not compress, each in the partition that its number gives.
fn large_rows(rows: i64, partition: impl Fn(i64) -> i64) -> RecordBatch {
    let mut seed = 7_u64;
    let mut text = || {
        let digits = (0..384).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{seed:016x}")
        });
        digits.collect::<String>()
    };
    let texts: Vec<String> = (0..rows).map(|_| text()).collect();
    columns([
        ("part", Arc::new((0..rows).map(|it| Some(partition(it))).collect::<Int64Array>()) as ArrayRef),
        ("text", Arc::new(texts.iter().map(Some).collect::<StringArray>())),
    ])
}

/// 12 MiB in two partitions of unlike size, the larger one of several parts.
fn large() -> RecordBatch {
    large_rows(2_000, |it| i64::from(it % 100 == 0))
}

/// 18 MiB in partitions that are too many for the memory.
fn many() -> RecordBatch {
    large_rows(3_000, |it| it * 31 % 120)
}

/// Row groups are ended early, so that there are parts before the commit.
const MANY: &str = "partition = { columns = ['part'] }\nmemory_max = '16MiB'\ncompression = 'none'";
const LARGE: &str = "partition = { columns = ['part'] }\nmemory_max = '16MiB'\ncompression = 'none'\nsort = ['text']\nrow_group_bytes_max = '4MiB'";

async fn commit(draft: &mut Box<dyn Draft>) {
    for _ in 0..20 {
        match draft.commit().await {
            Ok(_) => return,
            Err(SinkError::Retry(_)) => {}
            Err(SinkError::Stop(error)) => panic!("{error}"),
        }
    }
    panic!("20 tries were not enough");
}

async fn stage(draft: &mut Box<dyn Draft>, rows: &RecordBatch) {
    for batch in cut(std::slice::from_ref(rows), 500) {
        for attempt in 0.. {
            match draft.stage(batch.clone()).await {
                Ok(_) => break,
                Err(SinkError::Retry(_)) if attempt < 20 => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Scenario: the conformance suite for sinks against a real S3 server, flat, in partitions, and with large files.
/// Guarantees: nothing is visible before `commit`, everything after it, and the same delivery twice once; no upload and
/// no note is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let small = events(&[
        (Some(SEVEN), Some("de")),
        (Some(SEVEN + HOUR), None),
        (None, Some("fr")),
        (Some(-1), Some("de")),
        (Some(SEVEN), Some("it")),
    ]);
    for (keys, rows, batch) in [("", &small, 2), ("partition = { time = 'time' }", &small, 2)] {
        let server = server();
        let client = client(&server.endpoint()).await;
        let input = cut(std::slice::from_ref(rows), batch);
        let visible = async || rows_of(&objects(&client).await);
        forebay_testkit::sink(Promise::OncePerId, &input, async || open(&server.endpoint(), keys, rows).await, visible)
            .await;
        assert!(objects(&client).await.keys().all(|it| it.ends_with(".parquet")));
        assert_eq!(uploads(&server), Vec::<String>::new());
    }
}

/// Scenario: a large delivery, let go, made, and made again by another process, whole and in other batches: with large
/// files, and with more files than fit into memory.
/// Guarantees: some of it is on the server before the commit, and nothing is visible; the objects have the same keys and
/// bytes each time, which are those of a directory, save where a file ends for want of memory; nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_are_uploads() {
    let mut found = Vec::new();
    for (keys, rows) in [(LARGE, large()), (MANY, many())] {
        let server = server();
        let client = client(&server.endpoint()).await;
        let sink = open(&server.endpoint(), keys, &rows).await;
        let mut draft = begin(sink.as_ref(), 1).await;
        stage(&mut draft, &rows).await;
        assert!(!uploads(&server).is_empty());
        assert!(objects(&client).await.is_empty());
        drop(draft);
        deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        let first = objects(&client).await;
        assert_eq!(rows_of(&first).len(), rows.num_rows());
        let again = open(&server.endpoint(), keys, &rows).await;
        deliver(again.as_ref(), 1, &cut(std::slice::from_ref(&rows), 77)).await;
        assert!(objects(&client).await == first);
        assert_eq!(uploads(&server), Vec::<String>::new());
        let largest = first.values().map(Vec::len).max().unwrap_or_default() >> 10;
        found.push(format!("{} objects of up to {largest} KiB", first.len()));
        if keys == LARGE {
            let place = super::Place::new();
            let sink = place.open(keys, &rows).await;
            deliver(sink.as_ref(), 1, &[rows]).await;
            let files = place.files().into_iter();
            let files: BTreeMap<String, Vec<u8>> =
                files.map(|(name, path)| (format!("cdn/{name}"), fs::read(path).unwrap())).collect();
            assert!(files == first);
        }
    }
    expect![[r#"
        2 objects of up to 11890 KiB
        153 objects of up to 150 KiB"#]]
    .assert_eq(&found.join("\n"));
}

/// Scenario: each kind of request in turn is refused twice with 503 (`SlowDown`), is carried out but its answer lost, or
/// has its connection reset, while a large delivery and a small one are made; then both are made again.
/// Guarantees: the objects are those of an undisturbed run, key by key and byte by byte, before and after; no upload is
/// left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_leave_no_trace() {
    let slow_down = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let (rows, few) = (large(), events(&[(Some(SEVEN), Some("de")), (Some(SEVEN + HOUR), None)]));
    let make = async |endpoint: &str| {
        let sink = open(endpoint, LARGE, &rows).await;
        let mut draft = retrying(sink.as_ref(), 1).await;
        stage(&mut draft, &rows).await;
        commit(&mut draft).await;
        let sink = open(endpoint, "partition = { time = 'time' }", &few).await;
        let mut draft = retrying(sink.as_ref(), 2).await;
        stage(&mut draft, &few).await;
        commit(&mut draft).await;
    };
    let undisturbed = server();
    make(&undisturbed.endpoint()).await;
    let expected = objects(&client(&undisturbed.endpoint()).await).await;
    let requests: [(&str, &str); 6] = [
        ("PUT", "x-id=PutObject"),
        ("PUT", "partNumber="),
        ("POST", "uploads"),
        ("POST", "uploadId="),
        ("HEAD", ""),
        ("DELETE", ""),
    ];
    for (method, path) in requests {
        for fault in [Fault::Status(503, slow_down.into()), Fault::AnswerLost, Fault::Reset] {
            // An upload that was begun without an answer has an id that nobody knows: a rule of the bucket ends it.
            let orphans = usize::from(path == "uploads" && fault == Fault::AnswerLost);
            let server = server();
            let rule = Rule::new(fault.clone()).method(method).path_contains(path).times(2);
            let proxy = FaultProxy::start(&server.endpoint(), vec![rule]);
            make(&proxy.endpoint()).await;
            assert!(proxy.faults() > 0 || matches!(method, "HEAD" | "DELETE"), "{method} {path}: {:?}", proxy.seen());
            let direct = client(&server.endpoint()).await;
            assert!(objects(&direct).await == expected, "{fault:?} of {method} {path}");
            make(&server.endpoint()).await;
            assert!(objects(&direct).await == expected, "{fault:?} of {method} {path}, made again");
            let left: BTreeSet<String> = uploads(&server).into_iter().collect();
            assert!(left.len() <= 2 * orphans, "{fault:?} of {method} {path}: {left:?}");
        }
    }
}

async fn retrying(sink: &dyn Sink, id: u64) -> Box<dyn Draft> {
    for _ in 0..20 {
        match sink.begin(&delivery(id)).await {
            Ok(draft) => return draft,
            Err(SinkError::Retry(_)) => {}
            Err(SinkError::Stop(error)) => panic!("{error}"),
        }
    }
    panic!("20 tries were not enough");
}

/// Scenario: a commit that is cut short after the first of two objects, by a server that is gone for good; the next
/// process has the same layout or another one.
/// Guarantees: `Retry` as long as there is no server; after the next process has made the delivery again every row is
/// there once, and another delivery stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_mid_commit_leaves_one_copy() {
    const HOURLY: &str = "partition = { time = 'time' }";
    let rows = events(&[(Some(SEVEN), Some("de")), (Some(SEVEN + HOUR), Some("fr"))]);
    for layout in [HOURLY, "partition = { time = 'time', every = 'day' }", ""] {
        let server = server();
        let direct = client(&server.endpoint()).await;
        deliver(open(&server.endpoint(), HOURLY, &rows).await.as_ref(), 2, std::slice::from_ref(&rows)).await;
        let down = Rule::new(Fault::Status(503, String::new())).method("PUT").path_contains("hour%3D08");
        let proxy = FaultProxy::start(&server.endpoint(), vec![down.clone()]);
        let sink = open(&proxy.endpoint(), HOURLY, &rows).await;
        let mut draft = begin(sink.as_ref(), 1).await;
        draft.stage(rows.clone()).await.unwrap();
        let error = draft.commit().await.unwrap_err();
        assert!(matches!(error, SinkError::Retry(_)), "{error}");
        std::mem::forget(draft);
        assert_eq!(rows_of(&objects(&direct).await).len(), 3, "{:?}", proxy.seen());

        let sink = open(&server.endpoint(), layout, &rows).await;
        deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        let objects = objects(&direct).await;
        let mut expected = [sorted(&rows), sorted(&rows)].concat();
        expected.sort();
        assert_eq!(rows_of(&objects), expected, "{layout}");
        assert!(objects.keys().all(|it| it.ends_with(".parquet")), "{:?}", objects.keys());
    }
}

/// Scenario: an object of the delivery's name is there already: the same, and with other content.
/// Guarantees: the same one is not written again; the other one is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_looked_at() {
    let server = server();
    let direct = client(&server.endpoint()).await;
    let rows = events(&[(Some(SEVEN), Some("de"))]);
    let proxy = FaultProxy::start(&server.endpoint(), vec![]);
    let sink = open(&proxy.endpoint(), "", &rows).await;
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let first = objects(&direct).await;
    let key = first.keys().next().unwrap().clone();
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert!(proxy.seen().iter().any(|it| it.method == "HEAD"));
    assert!(objects(&direct).await == first);
    direct.put_object().bucket(BUCKET).key(&key).body(ByteStream::from_static(b"other")).send().await.unwrap();
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert!(objects(&direct).await == first);
}

/// Scenario: a server that answers 501 to every condition.
/// Guarantees: names are given without it, after a look at them; a delivery that is made again is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_without_conditions() {
    let server = server();
    let direct = client(&server.endpoint()).await;
    let unknown = "<?xml version=\"1.0\"?><Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>";
    let rule = Rule::new(Fault::Status(501, unknown.into())).header("if-none-match", "*");
    let proxy = FaultProxy::start(&server.endpoint(), vec![rule]);
    for (keys, rows) in [("partition = { time = 'time' }", events(&[(Some(SEVEN), Some("de"))])), (LARGE, large())] {
        let sink = open(&proxy.endpoint(), keys, &rows).await;
        let id = rows.num_rows() as u64;
        deliver(sink.as_ref(), id, std::slice::from_ref(&rows)).await;
        let (first, faults) = (objects(&direct).await, proxy.faults());
        deliver(sink.as_ref(), id, std::slice::from_ref(&rows)).await;
        assert!(objects(&direct).await == first);
        assert_eq!(proxy.faults(), faults, "a condition is sent again after the server has refused it");
    }
    assert_eq!(uploads(&server), Vec::<String>::new());
}

/// Scenario: no bucket, keys that the server does not know, and no server at all; then the bucket is made.
/// Guarantees: `open` does not fail; every error says `Retry` and what is missing; once it is there all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_parts_of_the_world_are_waited_for() {
    let server = S3Server::start();
    let rows = events(&[(Some(SEVEN), Some("de"))]);
    let sink = open(&server.endpoint(), "", &rows).await;
    let why = |error: Option<SinkError>| match error {
        Some(SinkError::Retry(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let no_bucket = why(sink.begin(&delivery(1)).await.err());
    assert!(no_bucket.contains("NoSuchBucket") && no_bucket.contains("s3://logs"), "{no_bucket}");
    let mut stranger = config(&server.endpoint(), "");
    stranger.aws.access_key_id = Some(forebay_api::Secret::new("stranger"));
    let stranger = stranger.open(rows.schema()).await.unwrap();
    let no_rights = why(stranger.begin(&delivery(1)).await.err());
    assert!(!no_rights.is_empty());
    let nobody = open("http://127.0.0.1:9", "", &rows).await;
    let no_server = why(nobody.begin(&delivery(1)).await.err());
    assert!(no_server.contains("no answer"), "{no_server}");
    server.create_bucket(BUCKET);
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert_eq!(rows_of(&objects(&client(&server.endpoint()).await).await), sorted(&rows));
}

/// Scenario: uploads that crashed processes left: one of a delivery that is made again, one of another delivery, one of
/// another program, one beside the table.
/// Guarantees: the first one is aborted when its delivery is made again; the others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_a_crash_left() {
    let server = Ministack::start();
    let client = client(&server.endpoint()).await;
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let (own, other) = (delivery(1), delivery(2));
    let left = [
        format!("cdn/{own}-0.parquet"),
        format!("cdn/{other}-0.parquet"),
        "cdn/backup-1.parquet".to_owned(),
        format!("elsewhere/{own}-0.parquet"),
    ];
    for key in &left {
        client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    }
    let rows = events(&[(Some(SEVEN), Some("de"))]);
    let sink = open(&server.endpoint(), "", &rows).await;
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let listed = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let keys: BTreeSet<&str> = listed.uploads().iter().filter_map(|it| it.key()).collect();
    assert_eq!(keys, left[1..].iter().map(String::as_str).collect());
}

//! A bucket, at a real server, where nothing goes wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use expect_test::expect;
use forebay_api::{Partition, Position, Resume, SourceConfig, Span};
use forebay_testkit::services::{Fault, FaultProxy, Rule};
use serde_json::json;

use super::{PATIENCE, check, failure, gzip, messages, next, put_into, remote, server, shown};

/// Scenario: a source over objects of every kind in a bucket: plain, compressed, damaged, empty, with refused lines; in
/// one request each, and in ranges.
/// Guarantees: it keeps the contract of a source.
#[tokio::test]
async fn conformance() {
    let many: String = (0..9000).map(|it| format!("row {it}\n")).collect();
    let server = server(&[
        ("cdn/2026/11/a.log", b"one\n\xff\n\nfour"),
        ("cdn/2026/11/b.gz", &[gzip("five\nsix"), gzip("\nseven\n")].concat()),
        ("cdn/2026/11/damaged.gz", &gzip(&many)[..9000]),
        ("cdn/2026/12/empty", b""),
        ("cdn/many", many.as_bytes()),
    ]);
    let mut config = remote(&server.endpoint(), "s3://logs/cdn", json!({}));
    forebay_testkit::source(&config).await;
    config.tuning.chunk_bytes = 5000;
    config.include = "2026/11/*.gz".to_owned().try_into().unwrap();
    forebay_testkit::source(&config).await;
}

/// Scenario: keys that are meant, beside others, and names that are hard to write in a URL.
/// Guarantees: they come sorted by key; what is not meant, hidden or unfinished is passed over; a prefix ends at a slash.
#[tokio::test]
async fn keys() {
    let server = server(&[
        ("cdn/b/1", b"b1\n"),
        ("cdn/b.1", b"b.1\n"),
        ("cdn/a b+c%41@d", b"odd\n"),
        ("cdn/\u{fc}\u{1f980}", b"unicode\n"),
        ("cdn/b/2.tmp", b"unfinished"),
        ("cdn/b/.hidden", b"hidden"),
        ("cdn/_temporary/c", b"hidden"),
        ("cdn/empty", b""),
        ("cdn/empty.gz", b""),
        ("cdn/empty-inside.gz", &gzip("")),
        ("cdn-old/a", b"another\n"),
        ("a", b"another\n"),
    ]);
    let config = |path: &str, include: &str| remote(&server.endpoint(), path, json!({ "include": include }));
    check(
        &config("s3://logs/cdn", "**"),
        expect![[r#"
        s3://logs/cdn/a b+c%41@d (start..end] odd
        s3://logs/cdn/b.1 (start..end] b.1
        s3://logs/cdn/b/1 (start..end] b1
        s3://logs/cdn/empty (start..end] 
        s3://logs/cdn/empty-inside.gz (start..end] 
        s3://logs/cdn/empty.gz (start..end] 
        s3://logs/cdn/ü🦀 (start..end] unicode
    "#]],
    )
    .await;
    check(
        &config("s3://logs/cdn/", "b*"),
        expect![[r#"
        s3://logs/cdn/b.1 (start..end] b.1
    "#]],
    )
    .await;
    check(
        &config("s3://logs", "{a,cdn-*/**}"),
        expect![[r#"
        s3://logs/a (start..end] another
        s3://logs/cdn-old/a (start..end] another
    "#]],
    )
    .await;
}

/// Scenario: a Parquet object in a bucket, small enough for one request and not; and the same in a directory.
/// Guarantees: it is read, of a large one by ranges only what is needed; rows and positions are the same everywhere.
#[tokio::test]
async fn parquet() {
    let ids: Vec<i64> = (0..50_000).map(|it| it * it).collect();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(ids.clone()))]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let server = server(&[("a.parquet", &bytes)]);
    let more = json!({ "format": "parquet", "columns": { "id": "i64" } });
    let mut config = remote(&server.endpoint(), "s3://logs", more.clone());
    let local = super::configured(server.directory().join("logs").to_str().unwrap(), more);
    let whole = forebay_testkit::read(&config, Resume::start()).await;
    config.tuning.chunk_bytes = 10_000;
    let in_ranges = forebay_testkit::read(&config, Resume::start()).await;
    let from_file = forebay_testkit::read(&local, Resume::start()).await;
    for reads in [&whole, &in_ranges, &from_file] {
        let batches: Vec<RecordBatch> = reads.iter().map(|it| it.rows.clone()).collect();
        let rows = forebay_testkit::canonical(&batches);
        let expected: Vec<String> = ids.iter().map(|it| format!("{{\"id\":{it}}}")).collect();
        assert!(rows == expected, "{} rows", rows.len());
    }
    let from = whole[0].span.partition.clone();
    let after = Resume::After([(from, Position::row(49_999))].into());
    let rest = forebay_testkit::read(&config, after).await;
    assert_eq!((rest.len(), rest[0].rows.num_rows()), (1, 1));
}

/// Scenario: rows were read, then objects are copied over with the same content, rewritten, added before, and removed.
/// Guarantees: only content decides: the same is not read again, another is another object, and late keys are read.
#[tokio::test]
async fn identity() {
    let server = server(&[("b", b"one\ntwo\n"), ("c", b"three\n"), ("d", b"four\n")]);
    let config = remote(&server.endpoint(), "s3://logs", json!({ "poll": "10ms" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut reads = Vec::new();
    for _ in 0..3 {
        reads.push(next(&mut *source).await.unwrap());
    }
    expect!["s3://logs/b@2094b601daac3d68f5aed51d3c20f7cd:8"].assert_eq(reads[0].span.partition.as_str());
    let after = reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())).collect();
    for (key, bytes) in [("b", b"one\ntwo\n" as &[u8]), ("c", b"three\nfour\n"), ("a", b"zero\n")] {
        put_into(&server, key, bytes);
    }
    let mut later = vec![shown(&[next(&mut *source).await.unwrap()]), shown(&[next(&mut *source).await.unwrap()])];
    later.sort();
    assert_eq!(later, ["s3://logs/a (start..end] zero\n", "s3://logs/c (start..end] three four\n"]);
    // In another life as well.
    let config = remote(&server.endpoint(), "s3://logs", json!({}));
    let reads = forebay_testkit::read(&config, Resume::After(after)).await;
    assert_eq!(shown(&reads), "s3://logs/a (start..end] zero\ns3://logs/c (start..end] three four\n");
}

/// Scenario: many small objects, at a server that takes its time.
/// Guarantees: many are asked for before the first one has been read, and they come in their order.
#[tokio::test]
async fn small_objects_are_fetched_ahead() {
    let server = server(&[]);
    for nth in 0..100 {
        put_into(&server, &format!("{nth:03}"), format!("row {nth}\n").as_bytes());
    }
    let slow = Rule::new(Fault::Delay(Duration::from_millis(50))).method("GET").path_contains("/logs/0");
    let proxy = FaultProxy::start(&server.endpoint(), vec![slow]);
    let config = remote(&proxy.endpoint(), "s3://logs", json!({}));
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut reads = vec![next(&mut *source).await.unwrap()];
    let begun = Instant::now();
    let asked = || proxy.seen().iter().filter(|it| it.method == "GET" && it.path.contains("/logs/0")).count();
    while asked() < 10 {
        assert!(begun.elapsed() < PATIENCE, "only {} were asked for", asked());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while let Some(read) = next(&mut *source).await {
        reads.push(read);
    }
    let expected: Vec<String> = (0..100).map(|it| format!("row {it}")).collect();
    assert_eq!(messages(&reads), expected);
}

/// Scenario: an object of 64 MiB is read, and nobody takes the rows for a while.
/// Guarantees: no more than the ranges that are meant to be in memory were asked for; then all rows come, each once.
#[tokio::test]
async fn large_object() {
    const LINES: usize = 64 << 10;
    let line = |nth: usize| format!("{nth:07} {}\n", "x".repeat(1024 - 9));
    let mut bytes = Vec::with_capacity(LINES << 10);
    for nth in 0..LINES {
        bytes.extend_from_slice(line(nth).as_bytes());
    }
    let server = server(&[("large", &bytes)]);
    let proxy = FaultProxy::start(&server.endpoint(), Vec::new());
    let mut config = remote(&proxy.endpoint(), "s3://logs", json!({}));
    config.tuning.chunk_bytes = 4 << 20;
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut rows = 0;
    let mut read = next(&mut *source).await.unwrap();
    let asked = || proxy.seen().iter().filter(|it| it.method == "GET" && it.path.contains("large")).count();
    // Three reads of 4 MiB at most are ready: they took four ranges at most, and three more may be in memory.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!((2..=7).contains(&asked()), "{} of 16 ranges were asked for", asked());
    loop {
        for text in messages(&[read]) {
            assert!(text.starts_with(&format!("{rows:07} ")), "{rows}: {}", &text[..10]);
            rows += 1;
        }
        match next(&mut *source).await {
            Some(more) => read = more,
            None => break,
        }
    }
    assert_eq!((rows, asked()), (LINES, 16));
}

/// Scenario: what a delivery holds must be read again, but the object is gone, changed, or never was one.
/// Guarantees: an error that names the object, and says what to do.
#[tokio::test]
async fn replay_of_what_is_gone() {
    let server = server(&[("a", b"one\ntwo\n"), ("b", b"three\n")]);
    let config = remote(&server.endpoint(), "s3://logs", json!({}));
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    put_into(&server, "a", b"another\n");
    std::fs::remove_file(server.directory().join("logs/b")).unwrap();
    let mut found = String::new();
    let partitions = reads.iter().map(|it| it.span.partition.clone());
    let strange = ["demo-0", "s3://other/b@00:1", "s3://logs/b@00:x"].map(Partition::from);
    for partition in partitions.chain(strange) {
        let span = Span::new(partition, Position::Start, Position::row(1));
        found.push_str(&failure(&config, Resume::Exactly(vec![span])).await);
        found.push('\n');
    }
    expect![[r#"
        `s3://logs/a` was changed, but rows of it are on their way to a sink and must be read again: put the object back whose ETag is `2094b601daac3d68f5aed51d3c20f7cd`
        `s3://logs/b` is gone, but rows of it are on their way to a sink and must be read again: put the object back whose ETag is `febe6995bad457991331348f7b9c85fa`
        `demo-0` is not an object of this source
        `s3://other/b@00:1` is not an object of this source
        `s3://logs/b@00:x` is not an object of this source
    "#]].assert_eq(&found);
}

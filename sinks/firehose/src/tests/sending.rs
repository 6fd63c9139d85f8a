//! Against a server.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use expect_test::expect;
use forebay_api::{Promise, Sink, SinkConfig, SinkError};
use forebay_testkit::services::{ACCESS_KEY, FirehoseMishap, FirehoseServer, SECRET_KEY};
use forebay_testkit::{canonical, columns, cut, delivery};

use super::config;

const STREAM: &str = "events";

fn at(server: &FirehoseServer, keys: &str) -> crate::Firehose {
    let endpoint = server.endpoint();
    let keys_of = format!("access_key_id = '{ACCESS_KEY}', secret_access_key = '{SECRET_KEY}'");
    config(&format!("stream = '{STREAM}'\naws = {{ endpoint = '{endpoint}', {keys_of} }}\n{keys}"))
}

fn server() -> FirehoseServer {
    let server = FirehoseServer::start();
    server.create_stream(STREAM);
    server
}

async fn open(server: &FirehoseServer, keys: &str, rows: &RecordBatch) -> Box<dyn Sink> {
    let config = at(server, keys);
    config.plan(&rows.schema()).unwrap();
    config.open(rows.schema()).await.unwrap()
}

/// Rows with a number, the last of which is too large for a record if `oversized`.
fn rows(count: i64, oversized: bool) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..count);
    let texts = (0..count).map(|nth| match oversized && nth + 1 == count {
        true => "x".repeat(1_024_000),
        false => format!("row {nth}"),
    });
    columns([("n", Arc::new(numbers) as ArrayRef), ("text", Arc::new(StringArray::from_iter_values(texts)))])
}

fn seen(server: &FirehoseServer) -> Vec<String> {
    let text = server.records(STREAM).concat();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

/// Delivers rows in two batches, trying again as the engine would. How often that was needed.
async fn deliver(sink: &dyn Sink, rows: &RecordBatch) -> usize {
    let mut draft = sink.begin(&delivery(1)).await.unwrap();
    for part in cut(std::slice::from_ref(rows), rows.num_rows().div_ceil(2)) {
        assert!(draft.stage(part).await.unwrap().is_empty());
    }
    let mut tries = 0;
    loop {
        match draft.commit().await {
            Ok(refused) => {
                assert!(refused.is_empty());
                return tries;
            }
            Err(SinkError::Retry(_)) => tries += 1,
            Err(SinkError::Stop(error)) => panic!("{error}"),
        }
    }
}

/// Scenario: the suite for sinks, with rows apart and packed, one of them too large.
/// Guarantees: the contract of a sink that delivers at least once.
#[tokio::test]
async fn conformance() {
    for keys in ["", "pack = '5KiB'"] {
        let server = server();
        let input = cut(&[rows(1500, true)], 700);
        forebay_testkit::sink(
            Promise::AtLeastOnce,
            &input,
            async || open(&server, keys, &input[0]).await,
            async || seen(&server),
        )
        .await;
    }
}

/// Scenario: a row that is a byte too large for a record, and one that is not.
/// Guarantees: the one is refused with its sizes, the other delivered.
#[tokio::test]
async fn too_large() {
    let server = server();
    let frame = "{\"t\":\"\"}\n".len();
    let texts = [1_024_000, 1_024_001].map(|bytes| "x".repeat(bytes - frame));
    let rows = columns([("t", Arc::new(StringArray::from_iter_values(&texts)) as ArrayRef)]);
    let sink = open(&server, "", &rows).await;
    let mut draft = sink.begin(&delivery(1)).await.unwrap();
    draft.stage(rows).await.unwrap();
    let refused = draft.commit().await.unwrap();
    let whys: Vec<(u64, &str)> = refused.iter().map(|it| (it.row, it.why.as_str())).collect();
    expect![[r#"[(1, "the row has 1024001 bytes as JSON, and Firehose takes up to 1024000")]"#]]
        .assert_eq(&format!("{whys:?}"));
    assert_eq!(server.records(STREAM).iter().map(|it| it.len()).collect::<Vec<_>>(), [1_024_000]);
}

/// Scenario: of a request of six records two are not taken, and of those one again not.
/// Guarantees: only what was not taken is sent again, in its order, before the next request.
#[tokio::test]
async fn only_what_failed_is_sent_again() {
    let server = server();
    server.fail("PutRecordBatch", 1, FirehoseMishap::Records(vec![1, 499]));
    server.fail("PutRecordBatch", 1, FirehoseMishap::Records(vec![0]));
    let rows = rows(502, false);
    let sink = open(&server, "", &rows).await;
    assert_eq!(deliver(sink.as_ref(), &rows).await, 0);
    let calls = server.calls(STREAM).into_iter().map(|call| {
        let records: Vec<String> = call.records.iter().map(|it| String::from_utf8_lossy(it).trim().into()).collect();
        let shown = if records.len() > 3 { vec![format!("{} records", records.len())] } else { records };
        format!("{} failed {:?}\n", shown.join(" "), call.failed)
    });
    expect![[r#"
        500 records failed [1, 499]
        {"n":1,"text":"row 1"} {"n":499,"text":"row 499"} failed [0]
        {"n":1,"text":"row 1"} failed []
        {"n":500,"text":"row 500"} {"n":501,"text":"row 501"} failed []
    "#]]
    .assert_eq(&calls.collect::<String>());
}

/// Scenario: for many requests 30 of 100 records are not taken.
/// Guarantees: each row arrives exactly once, packed or not.
#[tokio::test]
async fn partial_failures() {
    for keys in ["", "pack = '5KiB'"] {
        let server = server();
        server.fail("PutRecordBatch", usize::MAX, FirehoseMishap::Share(30));
        let rows = rows(1200, false);
        let sink = open(&server, keys, &rows).await;
        deliver(sink.as_ref(), &rows).await;
        let mut found = seen(&server);
        let mut expected = canonical(&[rows]);
        found.sort();
        expected.sort();
        assert!(found == expected, "{} rows of {}", found.len(), expected.len());
        assert!(server.calls(STREAM).iter().any(|it| !it.failed.is_empty()));
    }
}

/// Scenario: of a request nothing is taken, or some of it each time, many times.
/// Guarantees: each wait is longer than the one before; only where nothing is taken at all the engine is told.
#[test]
fn waits() {
    let waits = |taken: &str| {
        let mut tries = crate::write::Tries::default();
        let waits = taken.chars().map_while(|it| tries.again(it == 's')).map(|it| it.to_string());
        waits.collect::<Vec<_>>().join(" ")
    };
    expect_test::expect!["0 1 2 3"].assert_eq(&waits("nnnnnnnn"));
    expect_test::expect!["0 1 2 3 4 5 6 7"].assert_eq(&waits("ssssssss"));
    expect_test::expect!["0 1 2 3 4 5"].assert_eq(&waits("nnsnnnnn"));
}

/// Scenario: the service throttles whole calls, for a short while and for longer; later an answer is lost.
/// Guarantees: a short while is not noticed, a longer one is the engine's to wait for; what was taken before is not sent
/// again, and of a call whose answer was lost all is there, twice.
#[tokio::test]
async fn throttled_and_lost() {
    let throttled = || FirehoseMishap::Error(503, "ServiceUnavailableException".into());
    let server = server();
    let rows = rows(1000, false);
    let sink = open(&server, "", &rows).await;
    server.fail("PutRecordBatch", 2, throttled());
    assert_eq!(deliver(sink.as_ref(), &rows).await, 0);
    assert_eq!(seen(&server), canonical(std::slice::from_ref(&rows)));

    server.fail("PutRecordBatch", 1, FirehoseMishap::Records((1..500).collect()));
    server.fail("PutRecordBatch", 12, throttled());
    assert_eq!(deliver(sink.as_ref(), &rows).await, 2);
    assert_eq!(seen(&server).len(), 2000);

    server.fail("PutRecordBatch", 1, FirehoseMishap::AnswerLost);
    deliver(sink.as_ref(), &rows).await;
    assert_eq!(seen(&server).len(), 3500);
}

/// Scenario: a stream that is missing, one that takes its records from elsewhere, missing rights, and a wrong call.
/// Guarantees: what somebody can mend is waited for, from the start on; the rest stops the pipeline. Each says what was
/// tried and what the service said.
#[tokio::test]
async fn other_troubles() {
    let rows = rows(2, false);
    let mut found = String::new();
    let server = FirehoseServer::start();
    let sink = open(&server, "", &rows).await;
    let mut draft = sink.begin(&delivery(1)).await.unwrap();
    draft.stage(rows.clone()).await.unwrap();
    for code in ["", "AccessDeniedException", "InvalidKMSResourceException", "InvalidArgumentException"] {
        if !code.is_empty() {
            server.fail("PutRecordBatch", 1, FirehoseMishap::Error(400, code.into()));
        }
        found += &match draft.commit().await.unwrap_err() {
            SinkError::Retry(error) => format!("retry: {error}\n"),
            SinkError::Stop(error) => format!("stop: {error}\n"),
        };
    }
    server.create_stream(STREAM);
    draft.commit().await.unwrap();
    assert_eq!(seen(&server), canonical(std::slice::from_ref(&rows)));

    let server = FirehoseServer::start();
    server.create_stream_of(STREAM, "KinesisStreamAsSource");
    let opened = at(&server, "").open(rows.schema()).await;
    found += &format!("{}\n", opened.err().unwrap());
    server.fail("DescribeDeliveryStream", 1, FirehoseMishap::Error(400, "AccessDeniedException".into()));
    at(&server, "").open(rows.schema()).await.unwrap();
    expect![[r#"
        retry: sending 2 records to stream `events`: `ResourceNotFoundException`: Firehose events under account 000000000000 not found (status 400, request `00000000-0000-0000-0000-000000000000`)
        retry: sending 2 records to stream `events`: `AccessDeniedException`: this went wrong on request (status 400, request `00000000-0000-0000-0000-000000000000`)
        retry: sending 2 records to stream `events`: `InvalidKMSResourceException`: this went wrong on request (status 400, request `00000000-0000-0000-0000-000000000000`)
        stop: sending 2 records to stream `events`: `InvalidArgumentException`: this went wrong on request (status 400, request `00000000-0000-0000-0000-000000000000`)
        stream `events` is of type `KinesisStreamAsSource`: it takes no records but from there
    "#]].assert_eq(&found);
}

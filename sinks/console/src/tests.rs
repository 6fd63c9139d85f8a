use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};

use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Int32Array, PrimitiveArray, RecordBatch, StringArray};
use expect_test::{Expect, expect};
use forebay_api::{Age, Config, Promise, Sink, SinkConfig, SinkError, whole};

use super::Console;
use crate::print::Printer;

/// A stream that can be looked at, or that fails.
#[derive(Clone, Default)]
struct Stream {
    written: Arc<Mutex<Vec<u8>>>,
    fails: Arc<Mutex<Option<ErrorKind>>>,
}

impl Stream {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = *self.fails.lock().unwrap() {
            return Err(kind.into());
        }
        self.written.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(config: &str, out: &Stream, notes: &Stream) -> Box<dyn Sink> {
    let config: Console = toml::from_str(config).unwrap();
    whole(Printer::new(&config, Box::new(out.clone()), Box::new(notes.clone())))
}

async fn deliver(sink: &dyn Sink, n: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
    let mut draft = sink.begin(&forebay_testkit::delivery(n)).await?;
    for batch in rows {
        draft.stage(batch.clone()).await?;
    }
    assert!(draft.commit().await?.is_empty());
    Ok(())
}

fn rows() -> RecordBatch {
    let times = PrimitiveArray::<TimestampMillisecondType>::from(vec![0, 1_793_516_400_000, -1]).with_timezone("UTC");
    forebay_testkit::columns([
        ("time", Arc::new(times) as ArrayRef),
        ("status", Arc::new(Int32Array::from(vec![Some(200), None, Some(404)])) as ArrayRef),
        ("path", Arc::new(StringArray::from(vec!["/", "/\u{1b}[2J\n", &"x".repeat(70)])) as ArrayRef),
    ])
}

/// Scenario: two deliveries of the same three rows, with nulls, a control sequence and a long value.
/// Guarantees: JSON lines without nulls; or a table whose header comes once while its columns fit, with control
/// characters written out and long values cut. With `rows_max` the rest is counted at the end.
#[tokio::test]
async fn prints() {
    async fn check(config: &str, expected: Expect) {
        let (out, notes) = (Stream::default(), Stream::default());
        let sink = open(config, &out, &notes);
        for n in 0..2 {
            deliver(sink.as_ref(), n, &[rows().slice(0, 1), rows().slice(1, 2)]).await.unwrap();
        }
        drop(sink);
        expected.assert_eq(&format!("{}---\n{}", out.text(), notes.text()));
    }
    check("", expect![[r#"
        {"time":"1970-01-01T00:00:00Z","status":200,"path":"/"}
        {"time":"2026-11-01T07:00:00Z","path":"/\u001b[2J\n"}
        {"time":"1969-12-31T23:59:59.999Z","status":404,"path":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
        {"time":"1970-01-01T00:00:00Z","status":200,"path":"/"}
        {"time":"2026-11-01T07:00:00Z","path":"/\u001b[2J\n"}
        {"time":"1969-12-31T23:59:59.999Z","status":404,"path":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
        ---
    "#]]).await;
    check(
        "format = \"table\"",
        expect![[r#"
        time                      status  path
        1970-01-01T00:00:00Z      200     /
        2026-11-01T07:00:00Z              /\u{1b}[2J\n
        1969-12-31T23:59:59.999Z  404     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        1970-01-01T00:00:00Z      200     /
        2026-11-01T07:00:00Z              /\u{1b}[2J\n
        1969-12-31T23:59:59.999Z  404     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        ---
    "#]],
    )
    .await;
    check("format = \"json\"\nrows_max = 4", expect![[r#"
        {"time":"1970-01-01T00:00:00Z","status":200,"path":"/"}
        {"time":"2026-11-01T07:00:00Z","path":"/\u001b[2J\n"}
        {"time":"1969-12-31T23:59:59.999Z","status":404,"path":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
        {"time":"1970-01-01T00:00:00Z","status":200,"path":"/"}
        ---
        2 more rows were delivered, but not shown (`rows_max`)
    "#]]).await;
}

/// Scenario: the reader of the pipe goes away.
/// Guarantees: that is no error; rows are delivered unseen, and nobody is told.
#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    let (out, notes) = (Stream::default(), Stream::default());
    let sink = open("rows_max = 2", &out, &notes);
    *out.fails.lock().unwrap() = Some(ErrorKind::BrokenPipe);
    for n in 0..3 {
        deliver(sink.as_ref(), n, &[rows()]).await.unwrap();
    }
    drop(sink);
    assert_eq!(out.text() + &notes.text(), "");
}

/// Scenario: standard output is a file on a full disk, and one that cannot be written to at all.
/// Guarantees: the first is waited for, the second stops the pipeline.
#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let (out, notes) = (Stream::default(), Stream::default());
    let sink = open("", &out, &notes);
    *out.fails.lock().unwrap() = Some(ErrorKind::StorageFull);
    assert!(matches!(deliver(sink.as_ref(), 1, &[rows()]).await, Err(SinkError::Retry(_))));
    *out.fails.lock().unwrap() = Some(ErrorKind::PermissionDenied);
    assert!(matches!(deliver(sink.as_ref(), 1, &[rows()]).await, Err(SinkError::Stop(_))));
    *out.fails.lock().unwrap() = None;
    deliver(sink.as_ref(), 1, &[rows()]).await.unwrap();
    assert_eq!(out.text().lines().count(), 3);
}

/// Scenario: the conformance suite for sinks.
/// Guarantees: nothing is printed before `commit`, everything after it.
#[tokio::test]
async fn keeps_the_contract() {
    let input = [forebay_testkit::text("message", ["one", "two"]), forebay_testkit::text("message", ["three"])];
    let out = Stream::default();
    forebay_testkit::sink(
        Promise::AtLeastOnce,
        &input,
        async || open("", &out, &Stream::default()),
        async || out.text().lines().map(str::to_owned).collect(),
    )
    .await;
}

/// Scenario: what stands in the file.
/// Guarantees: the defaults; unknown formats and keys are errors; printable columns are planned.
#[test]
fn reads_its_table() {
    let console: Console = toml::from_str("").unwrap();
    assert_eq!(Console::TYPE, "console");
    assert_eq!(console.promise(), Promise::AtLeastOnce);
    assert_eq!(console.batch().age_max, Age::millis(200));
    console.plan(&rows().schema()).unwrap();
    assert!(toml::from_str::<Console>("format = \"xml\"").is_err());
    assert!(toml::from_str::<Console>("row_max = 1").is_err());
}

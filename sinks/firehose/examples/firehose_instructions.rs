//! What a row costs: delivers page views to a server in this process so many times, for an instruction counter to watch.
//!
//! ```text
//! cargo build --release -p sink-firehose --example firehose_instructions
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
//!     target/release/examples/firehose_instructions single 3
//! ```
//!
//! The instructions that were counted, divided by the rows (so many times [`ROWS`]), are the price. The server runs on
//! a thread of its own, which is not counted.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use forebay_api::{BoxError, Draft, SinkConfig, SinkError};
use forebay_testkit::services::{ACCESS_KEY, FirehoseServer, SECRET_KEY};
use forebay_testkit::{columns, cut, delivery};
use sink_firehose::Firehose;
use tokio::runtime::{Builder, Runtime};

/// As many as the sink asks for where the file says nothing.
const ROWS: i64 = 20_000;

/// 2026-11-22T08:00:00Z in milliseconds.
const START: i64 = 1_795_334_400_000;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let job = arguments.next().ok_or("which job: `single` or `packed`?")?;
    let times: u64 = arguments.next().ok_or("how many times?")?.parse()?;
    let pack = match job.as_str() {
        "single" => "",
        "packed" => "pack = '100KB'",
        other => return Err(format!("`{other}` is no job").into()),
    };
    let server = FirehoseServer::start();
    server.create_stream("events");
    let config: Firehose = toml::from_str(&format!(
        "stream = 'events'\naws = {{ region = 'us-east-1', endpoint = '{}', access_key_id = '{ACCESS_KEY}', \
         secret_access_key = '{SECRET_KEY}' }}\n{pack}",
        server.endpoint()
    ))?;
    let rows = views();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let sink = runtime.block_on(config.open(rows.schema()))?;
    for nth in 0..times {
        let mut draft = runtime.block_on(sink.begin(&delivery(nth)))?;
        measured(&runtime, draft.as_mut(), cut(std::slice::from_ref(&rows), 8192))?;
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn measured(runtime: &Runtime, draft: &mut dyn Draft, batches: Vec<RecordBatch>) -> Result<(), SinkError> {
    runtime.block_on(async {
        for rows in batches {
            draft.stage(rows).await?;
        }
        assert!(draft.commit().await?.is_empty());
        Ok(())
    })
}

/// What pages say of views.
fn views() -> RecordBatch {
    let texts = |text: fn(i64) -> String| Arc::new(StringArray::from_iter_values((0..ROWS).map(text))) as ArrayRef;
    let times = TimestampMillisecondArray::from_iter_values((0..ROWS).map(|it| START + it / 7));
    let durations = Int64Array::from_iter_values((0..ROWS).map(|it| 1_000_000 + it * 977_123 % 17_000_000_000));
    columns([
        ("@timestamp", Arc::new(times.with_timezone("UTC")) as ArrayRef),
        ("event.id", texts(|it| format!("0b1e5c7a-93d4-4f6e-8a21-{it:012}"))),
        ("event.action", texts(|_| "pageview".into())),
        (
            "url.full",
            texts(|it| format!("https://www.example.com/articles/{}/how-to-measure?utm_source=letter", it * 31 % 256)),
        ),
        ("transaction.id", texts(|it| format!("5f0d1c2b-77aa-4c1d-9e3f-{it:012}"))),
        ("http.request.referrer", texts(|_| "https://www.example.com/articles".into())),
        ("event.duration", Arc::new(durations)),
        ("service.name", texts(|_| "blog".into())),
        ("service.version", texts(|_| "2026.11.3".into())),
    ])
}

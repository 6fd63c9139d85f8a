//! Nothing grows: an endless source in front of a sink that does not take anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow_array::{FixedSizeBinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::plan::{Input, OnRefused, PlannedSink, PlannedSource, Port, Retry};
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Deliver, DeliveryId, Plan, Promise, Read, Resume, Sink, SinkConfig, SinkError,
    Source, SourceConfig, whole,
};
use forebay_state::MemoryStore;
use tokio_util::sync::CancellationToken;

use crate::outlet::QUEUED_BYTES_MAX;
use crate::{Counters, Ending, Options, run};

const READ_BYTES: u64 = 1 << 20;
const BATCH_BYTES: u64 = 8 << 20;
const IN_FLIGHT_MAX: u64 = 2;
const WORKERS: u64 = 3;

/// Gives a mebibyte in one row whenever it is asked, and counts.
struct Endless {
    given: Arc<AtomicU64>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("blob", DataType::FixedSizeBinary(READ_BYTES as i32), false)]))
}

#[async_trait]
impl SourceConfig for Endless {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(schema())
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(Endless { given: self.given.clone() }))
    }
}

#[async_trait]
impl Source for Endless {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let blob = FixedSizeBinaryArray::try_from_iter(std::iter::once(vec![0_u8; READ_BYTES as usize]))?;
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(blob)])?;
        Ok(Some(Read::counted("log", self.given.fetch_add(1, Relaxed), rows)))
    }
}

/// A server that is down.
struct Down;

#[async_trait]
impl Deliver for Down {
    async fn deliver(&self, _id: &DeliveryId, _rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        Err(SinkError::Retry("connection refused".into()))
    }
}

#[async_trait]
impl SinkConfig for Down {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(whole(Down))
    }
}

/// Scenario: a server is down for ten minutes while the source could give without end; then a stop is asked for.
/// Guarantees: what is held has a bound in bytes (queue, or a share that is larger; delivery being filled, deliveries
/// in flight, a read for each worker and one at each end); the stop does not wait longer than it may, and nothing counts as committed.
#[tokio::test(start_paused = true)]
async fn a_dead_server_holds_the_source_back() {
    let given = Arc::new(AtomicU64::new(0));
    let batch = Batch { rows_max: u64::MAX, bytes_max: ByteSize(BATCH_BYTES), ..Batch::default() };
    let plan = Plan {
        name: "bounds".into(),
        version: "v".into(),
        sources: vec![PlannedSource {
            name: "endless".into(),
            kind: "endless".into(),
            config: Arc::new(Endless { given: given.clone() }),
            schema: schema(),
            on_refused: OnRefused::Stop,
            fingerprint: String::new(),
        }],
        transforms: vec![],
        sinks: vec![PlannedSink {
            name: "down".into(),
            kind: "down".into(),
            inputs: vec![Input { node: "endless".into(), port: Port::Rows }],
            config: Arc::new(Down),
            input: schema(),
            batch,
            retry: Retry::default(),
            in_flight_max: IN_FLIGHT_MAX as usize,
            on_refused: OnRefused::Stop,
            fingerprint: String::new(),
        }],
        dead_letters: None,
        state: "never-written".into(),
        drain_max: Age::seconds(10),
    };
    let counters = Arc::new(Counters::new(&plan));
    let store = Arc::new(MemoryStore::default());
    let stop = CancellationToken::new();
    let (stop_it, counters_of_it) = (stop.clone(), counters.clone());
    let options = Options {
        letters: None,
        store: store.clone(),
        stop: stop_it,
        counters: counters_of_it,
        workers: WORKERS as usize,
        jitter_seed: 0,
        abandon_pending: false,
    };
    let ten_minutes = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        stop.cancel();
        tokio::time::Instant::now()
    };
    let (ending, stopped_at) = tokio::join!(run(&plan, options), ten_minutes);
    assert_eq!(ending.unwrap(), Ending::DrainCut);
    assert!(stopped_at.elapsed() <= Duration::from_secs(10));
    let counts = counters.node("down").counts();
    assert!(counts.queued_bytes_peak <= QUEUED_BYTES_MAX, "{counts:?}");
    assert!(counts.retries > 20, "{counts:?}");
    let held = given.load(Relaxed) * READ_BYTES;
    let bound = QUEUED_BYTES_MAX.max(READ_BYTES) + (1 + IN_FLIGHT_MAX) * BATCH_BYTES + (WORKERS + 2) * READ_BYTES;
    assert!(held <= bound, "{held} bytes were taken in, {bound} may be");
    assert!(store.snapshot().committed.is_empty());
    assert_eq!(store.snapshot().pending.len() as u64, IN_FLIGHT_MAX);
}

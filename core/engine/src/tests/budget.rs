//! What the parts of a shared source hold together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::plan::{Input, OnRefused, PlannedSink, PlannedSource, Port, Retry};
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Claim, ClaimError, Claims, Deliver, DeliveryId, Kept, Partition, Plan, Position,
    Promise, Read, Resume, Sink, SinkConfig, SinkError, Source, SourceConfig, Span, whole,
};
use forebay_state::MemoryStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::of_one_part;
use crate::outlet::QUEUED_BYTES_MAX;
use crate::{Counters, Ending, Options, run};

const PARTITIONS: i64 = 32;
const ROWS: u64 = 200;
/// A read is one row.
const ROW_BYTES: u64 = 16 << 10;
const BATCH: Batch = Batch {
    rows_max: 1_000,
    bytes_max: ByteSize(1 << 20),
    // None is ever so old in this test.
    age_max: Age::seconds(24 * 3_600),
    interval_min: Age::millis(0),
};
const IN_FLIGHT_MAX: usize = 2;

/// What is outside of the process.
#[derive(Default)]
struct World {
    kept: Mutex<BTreeMap<Partition, Kept>>,
    is_up: AtomicBool,
    delivered: Mutex<BTreeMap<DeliveryId, Vec<i64>>>,
    /// Rows that were read, and rows that were let go since, of this process.
    read: AtomicU64,
    let_go: AtomicU64,
}

/// Shares some partitions with nobody.
struct Logs {
    world: Arc<World>,
    partitions: Vec<i64>,
}

fn schema() -> SchemaRef {
    let blob = Field::new("blob", DataType::FixedSizeBinary(ROW_BYTES as i32), false);
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), blob]))
}

#[async_trait]
impl SourceConfig for Logs {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(schema())
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Err("only claims open it".into())
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn claims(&self, _pipeline: &str) -> Result<Box<dyn Claims>, BoxError> {
        Ok(Box::new(Logs { world: self.world.clone(), partitions: self.partitions.clone() }))
    }
}

#[async_trait]
impl Claims for Logs {
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError> {
        let Some(number) = self.partitions.pop() else { return Ok(None) };
        let partition = Partition::from(number.to_string().as_str());
        let kept = self.world.kept.lock().unwrap().get(&partition).cloned().unwrap_or_default();
        Ok(Some(Box::new(Held { world: self.world.clone(), number, partition, kept })))
    }

    async fn leave(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Held {
    world: Arc<World>,
    number: i64,
    partition: Partition,
    kept: Kept,
}

#[async_trait]
impl Claim for Held {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError> {
        let kept = Kept { state: Some(state.to_vec()), committed: Some(committed.clone()) };
        self.world.kept.lock().unwrap().insert(self.partition.clone(), kept);
        Ok(())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let whole = Span::new(self.partition.as_str(), Position::Start, Position::row(ROWS));
        let spans = match resume {
            Resume::After(after) => {
                let from = after.get(&self.partition).cloned().unwrap_or(Position::Start);
                vec![Span { from, ..whole }]
            }
            Resume::Replay(spans) => spans,
        };
        let places = spans.iter().flat_map(|it| it.from.counted().unwrap()..it.to.counted().unwrap());
        let places: Vec<u64> = places.collect();
        let blob = FixedSizeBinaryArray::try_from_iter(std::iter::once(vec![0_u8; ROW_BYTES as usize]))?;
        Ok(Box::new(Log { world: self.world.clone(), number: self.number, places: places.into_iter(), blob }))
    }

    async fn wanted(&self) {
        std::future::pending().await
    }

    async fn lost(&self) {
        std::future::pending().await
    }

    async fn release(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Log {
    world: Arc<World>,
    number: i64,
    /// How many rows are before each that is to be read.
    places: std::vec::IntoIter<u64>,
    blob: FixedSizeBinaryArray,
}

#[async_trait]
impl Source for Log {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let Some(before) = self.places.next() else { return Ok(None) };
        self.world.read.fetch_add(1, Relaxed);
        let id = Int64Array::from(vec![self.number * 1_000 + before as i64]);
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(id), Arc::new(self.blob.clone())])?;
        Ok(Some(Read::counted(self.number.to_string().as_str(), before, rows)))
    }
}

#[derive(Clone)]
struct Server(Arc<World>);

#[async_trait]
impl Deliver for Server {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        if !self.0.is_up.load(Relaxed) {
            return Err(SinkError::Retry("connection refused".into()));
        }
        let ids: Vec<i64> =
            rows.iter().flat_map(|it| it.column(0).as_primitive::<Int64Type>().values()).copied().collect();
        self.0.let_go.fetch_add(ids.len() as u64, Relaxed);
        self.0.delivered.lock().unwrap().insert(id.clone(), ids);
        Ok(Vec::new())
    }
}

#[async_trait]
impl SinkConfig for Server {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(whole(self.clone()))
    }
}

fn plan(world: &Arc<World>, partitions: Vec<i64>) -> Plan {
    Plan {
        name: "budget".into(),
        version: "v".into(),
        sources: vec![PlannedSource {
            name: "logs".into(),
            kind: "logs".into(),
            config: Arc::new(Logs { world: world.clone(), partitions }),
            schema: schema(),
            on_refused: OnRefused::Stop,
            fingerprint: String::new(),
        }],
        transforms: vec![],
        sinks: vec![PlannedSink {
            name: "server".into(),
            kind: "server".into(),
            inputs: vec![Input { node: "logs".into(), port: Port::Rows }],
            config: Arc::new(Server(world.clone())),
            input: schema(),
            batch: BATCH,
            retry: Retry::default(),
            in_flight_max: IN_FLIGHT_MAX,
            on_refused: OnRefused::Stop,
            fingerprint: String::new(),
        }],
        dead_letters: None,
        state: "never-written".into(),
        drain_max: Age::seconds(10),
    }
}

fn options(plan: &Plan) -> Options {
    Options {
        store: Arc::new(MemoryStore::default()),
        letters: None,
        stop: CancellationToken::new(),
        counters: Arc::new(Counters::new(plan)),
        workers: 1,
        jitter_seed: 0,
        abandon_pending: false,
    }
}

/// Reads all partitions while the server is down for ten minutes, then up. It holds no more than it may, and is done
/// soon afterwards; every row is there once.
async fn live_to_the_end(world: &Arc<World>) {
    world.read.store(0, Relaxed);
    let plan = plan(world, (0..PARTITIONS).collect());
    let ten_minutes = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        let held = (world.read.load(Relaxed) - world.let_go.load(Relaxed)) * (ROW_BYTES + 8);
        // Of each partition two reads have not come to the queue, and one more is just read.
        let bound = of_one_part(QUEUED_BYTES_MAX, &BATCH, IN_FLIGHT_MAX) + PARTITIONS as u64 * 3 * (ROW_BYTES + 8);
        assert!(held <= bound, "{held} bytes were held, {bound} may be");
        world.is_up.store(true, Relaxed);
        Instant::now()
    };
    let (ending, up_at) = tokio::join!(run(&plan, options(&plan)), ten_minutes);
    assert_eq!(ending.unwrap(), Ending::InputEnded);
    assert!(up_at.elapsed() < Duration::from_secs(600), "{:?}", up_at.elapsed());
    let delivered = world.delivered.lock().unwrap();
    let ids: BTreeSet<i64> = delivered.values().flatten().copied().collect();
    assert_eq!(ids.len() as u64, PARTITIONS as u64 * ROWS);
    assert_eq!(delivered.values().map(Vec::len).sum::<usize>(), ids.len());
}

/// Scenario: one process has all partitions of a shared source, and the server that they are for is down for ten minutes.
/// Guarantees: all of them together hold what one alone may; when the server is up, nobody waits for a delivery to get
/// full or old, and every row comes once.
#[tokio::test(start_paused = true)]
async fn shared_partitions_have_one_budget() {
    live_to_the_end(&Arc::default()).await;
}

/// Scenario: before that, each partition was another process's, which crashed and left as many deliveries open as it may.
/// Guarantees: the same, though there is far more to rebuild than may be held.
#[tokio::test(start_paused = true)]
async fn rebuilt_deliveries_take_turns() {
    let world: Arc<World> = Arc::default();
    for partition in 0..PARTITIONS {
        let plan = plan(&world, vec![partition]);
        let crashed = tokio::time::timeout(Duration::from_secs(60), run(&plan, options(&plan))).await;
        assert!(crashed.is_err(), "it waits for the server");
    }
    live_to_the_end(&world).await;
}

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
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Deliver, DeliveryId, Plan, Position, Read, Resume, SinkError, Source, Span,
};
use tokio::time::Instant;

use super::claims::{self, Register, Shared};
use super::fakes::{To, options};
use crate::budget::of_one_part;
use crate::outlet::QUEUED_BYTES_MAX;
use crate::{Ending, run};

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
    register: Register,
    is_up: AtomicBool,
    delivered: Mutex<BTreeMap<DeliveryId, Vec<i64>>>,
    /// Rows that were read, and rows that were let go since, of this process.
    read: AtomicU64,
    let_go: AtomicU64,
}

fn schema() -> SchemaRef {
    let blob = Field::new("blob", DataType::FixedSizeBinary(ROW_BYTES as i32), false);
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), blob]))
}

struct Log {
    world: Arc<World>,
    number: i64,
    /// How many rows are before each that is to be read.
    places: std::vec::IntoIter<u64>,
    blob: FixedSizeBinaryArray,
}

impl Log {
    fn open(world: Arc<World>, number: i64, resume: Resume) -> Self {
        let partition = number.to_string();
        let whole = Span::new(partition.as_str(), Position::Start, Position::row(ROWS));
        let spans = match resume {
            Resume::After(after) => {
                let from = after.get(&whole.partition).cloned().unwrap_or(Position::Start);
                vec![Span { from, ..whole }]
            }
            Resume::Exactly(spans) => spans,
        };
        let places = spans.iter().flat_map(|it| it.from.counted().unwrap()..it.to.counted().unwrap());
        let places: Vec<u64> = places.collect();
        let blob = FixedSizeBinaryArray::try_from_iter(std::iter::once(vec![0_u8; ROW_BYTES as usize])).unwrap();
        Self { world, number, places: places.into_iter(), blob }
    }
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

fn plan(world: &Arc<World>, partitions: Vec<i64>) -> Plan {
    let logs = world.clone();
    let log = move |number, resume| -> Box<dyn Source> { Box::new(Log::open(logs.clone(), number, resume)) };
    let source = Shared { partitions, schema: schema(), register: world.register.clone(), log: Arc::new(log) };
    claims::plan(source, To(Server(world.clone())), BATCH, IN_FLIGHT_MAX)
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

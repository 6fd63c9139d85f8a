//! How often deliveries go out that are not full.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, Batch, BoxError, ByteSize, Deliver, DeliveryId, Read, SinkError, Source};
use tokio::time::Instant;

use super::claims::{self, Register, Shared};
use super::fakes::{To, numbers, options};
use crate::{Ending, run};

/// How long rows come.
const MILLIS: u64 = 60_000;
const INTERVAL_MIN: u64 = 750;
const ROWS_MAX: u64 = 100;

/// How rows come to a partition.
#[derive(Clone, Copy)]
struct Flow {
    rows: u64,
    every_millis: u64,
}

/// What came of it, by partition.
#[derive(Default)]
struct Seen {
    deliveries: u64,
    /// Those that were not full.
    small: u64,
    rows: u64,
    longest_wait: u64,
}

/// A row is its partition, and when it came, in milliseconds from the beginning.
fn schema() -> SchemaRef {
    numbers(&["partition", "came"])
}

struct Log {
    begun: Instant,
    number: i64,
    flow: Flow,
    read: u64,
}

#[async_trait]
impl Source for Log {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let Flow { rows, every_millis } = self.flow;
        let came = self.read / rows * every_millis;
        if came >= MILLIS {
            return Ok(None);
        }
        tokio::time::sleep_until(self.begun + Duration::from_millis(came)).await;
        let column = |value: i64| Arc::new(Int64Array::from(vec![value; rows as usize]));
        let batch = RecordBatch::try_new(schema(), vec![column(self.number), column(came as i64)])?;
        let before = self.read;
        self.read += rows;
        Ok(Some(Read::counted(self.number.to_string().as_str(), before, batch)))
    }
}

#[derive(Clone)]
struct Server {
    begun: Instant,
    seen: Arc<Mutex<BTreeMap<i64, Seen>>>,
}

#[async_trait]
impl Deliver for Server {
    async fn deliver(&self, _id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let values =
            |column: usize| rows.iter().flat_map(move |it| it.column(column).as_primitive::<Int64Type>().values());
        let (partition, first) = (*values(0).next().unwrap(), *values(1).min().unwrap() as u64);
        let mut seen = self.seen.lock().unwrap();
        let seen = seen.entry(partition).or_default();
        let count = values(0).count() as u64;
        seen.deliveries += 1;
        seen.small += u64::from(count < ROWS_MAX);
        seen.rows += count;
        seen.longest_wait = seen.longest_wait.max(self.begun.elapsed().as_millis() as u64 - first);
        Ok(Vec::new())
    }
}

/// Runs partitions to their end, each with its flow of rows, and says what the sink saw of them.
async fn seen(flows: &[Flow], age_max: u64) -> Vec<Seen> {
    let begun = Instant::now();
    let server = Server { begun, seen: Arc::default() };
    let of_partition = flows.to_vec();
    let log = move |number, _| -> Box<dyn Source> {
        Box::new(Log { begun, number, flow: of_partition[number as usize], read: 0 })
    };
    let partitions = (0..flows.len() as i64).collect();
    let source = Shared { partitions, schema: schema(), register: Register::default(), log: Arc::new(log) };
    let batch = Batch {
        rows_max: ROWS_MAX,
        bytes_max: ByteSize::mib(1),
        age_max: Age::millis(age_max),
        interval_min: Age::millis(INTERVAL_MIN),
    };
    let plan = claims::plan(source, To(server.clone()), batch, 2);
    assert_eq!(run(&plan, options(&plan)).await.unwrap(), Ending::InputEnded);
    let seen: Vec<Seen> = std::mem::take(&mut *server.seen.lock().unwrap()).into_values().collect();
    for (seen, flow) in seen.iter().zip(flows) {
        assert_eq!(seen.rows, MILLIS.div_ceil(flow.every_millis) * flow.rows);
    }
    seen
}

/// Scenario: rows come to one partition, and to eight, a few at a time; with several `age_max`.
/// Guarantees: all partitions together have a delivery for each `interval_min`, and none is missed; each of them has its
/// turn in time, so that no row waits for longer than all of them take.
#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    for (partitions, age_max) in [(1, 0), (8, 0), (8, 1_000), (8, 20_000)] {
        let seen = seen(&vec![Flow { rows: 1, every_millis: 1_000 }; partitions], age_max).await;
        let deliveries: u64 = seen.iter().map(|it| it.deliveries).sum();
        let turns = MILLIS / INTERVAL_MIN;
        // Each ends with one that needs no turn.
        let most = turns + 1 + partitions as u64;
        assert!(deliveries <= most, "{partitions} partitions, {age_max} ms: {deliveries} deliveries, {most} may be");
        if partitions == 8 && age_max <= 1_000 {
            assert!(deliveries >= turns - 8, "{age_max} ms: {deliveries} deliveries in {turns} turns");
        }
        let longest = age_max + partitions as u64 * INTERVAL_MIN;
        for it in seen {
            assert!(it.longest_wait <= longest, "{partitions} partitions, {age_max} ms: {} ms", it.longest_wait);
        }
    }
}

/// Scenario: beside seven partitions with a row every ten seconds there is one that fills ten deliveries a second.
/// Guarantees: full ones go at once, and however many there are, the others have their turns.
#[tokio::test(start_paused = true)]
async fn full_deliveries_need_no_turn_and_take_none() {
    let mut flows = vec![Flow { rows: 1, every_millis: 10_000 }; 8];
    flows[3] = Flow { rows: ROWS_MAX, every_millis: 100 };
    for (partition, it) in seen(&flows, 0).await.into_iter().enumerate() {
        match partition {
            3 => assert!(it.small == 0 && it.longest_wait == 0, "{} ms", it.longest_wait),
            _ => assert!(it.deliveries == 6 && it.longest_wait <= 7 * INTERVAL_MIN, "{} ms", it.longest_wait),
        }
    }
}

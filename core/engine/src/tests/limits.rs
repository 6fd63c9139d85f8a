//! Sinks that are given up.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use expect_test::expect;
use forebay_api::plan::{OnRefused, Retry};
use forebay_api::{Age, BoxError, Deliver, DeliveryId, Draft, Refused, RefusedRow, Sink, SinkError, Span};

use crate::counters::NodeCounters;
use crate::delivery::{Delivery, SinkSide};
use crate::flow::{Places, ReadPlaces, Share};

use super::position;

/// Refuses row 1 when it is staged, and fails in one step so many times.
struct Failing {
    step: &'static str,
    times: u32,
    failed: Arc<AtomicU32>,
}

impl Failing {
    fn fail(&self, step: &str) -> Result<(), SinkError> {
        if step == self.step && self.failed.fetch_add(1, Ordering::Relaxed) < self.times {
            return Err(SinkError::Retry("no room".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Failing {
    async fn begin(&self, _id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        self.fail("begin")?;
        Ok(Box::new(FailingDraft { sink: Self { failed: self.failed.clone(), ..*self }, staged: 0 }))
    }
}

struct FailingDraft {
    sink: Failing,
    staged: u64,
}

#[async_trait]
impl Draft for FailingDraft {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        // The second batch is the one.
        if self.staged > 0 {
            self.sink.fail("stage")?;
        }
        let first = self.staged == 0;
        self.staged += rows.num_rows() as u64;
        let refused = RefusedRow { row: 1, payload: rows.slice(1, 1), why: "odd".into() };
        Ok(if first { vec![refused] } else { Vec::new() })
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        self.sink.fail("commit")?;
        Ok(Refused::new())
    }
}

/// Keeps reasons and places.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

#[async_trait]
impl Deliver for Kept {
    async fn deliver(&self, _id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let text = |rows: &RecordBatch, name: &str, row: usize| {
            rows.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned()
        };
        let mut kept = self.0.lock().unwrap();
        for rows in rows {
            let line = |row| {
                format!("{} {}: {}", text(rows, "position", row), text(rows, "payload", row), text(rows, "reason", row))
            };
            kept.extend((0..rows.num_rows()).map(line));
        }
        Ok(Vec::new())
    }
}

fn share(from: u64, to: u64) -> Share {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let ids = Int64Array::from_iter_values(from as i64 + 1..=to as i64);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(ids)]).unwrap();
    let places = Places { of_read: Arc::new(ReadPlaces::Counted { before: from }), picked: None };
    Share { source: "cdn".into(), span: Span::new("a", position(from), position(to)), rows: vec![(rows, places)] }
}

async fn deliver(step: &'static str, times: u32, retry: Retry) -> Result<String, BoxError> {
    let kept = Arc::new(Kept::default());
    let side = SinkSide {
        pipeline: "p".into(),
        version: "v".into(),
        name: "s".into(),
        sink: Box::new(Failing { step, times, failed: Arc::default() }),
        retry,
        on_refused: OnRefused::DeadLetters,
        letters: Some(kept.clone()),
        jitter_seed: 0,
    };
    let counters = NodeCounters::default();
    let id = DeliveryId::derive("p", "s", "f", "cdn", &Span::new("a", position(0), position(5)));
    let mut delivery = Delivery::new(0, id);
    delivery.join(&side, &counters, share(0, 3)).await?;
    delivery.join(&side, &counters, share(3, 5)).await?;
    delivery.commit(&side, &counters).await?;
    let counts = counters.counts();
    let kept = kept.0.lock().unwrap().join("\n  ");
    Ok(format!("{} delivered, {} refused, {} tries more\n  {kept}\n", counts.rows_out, counts.refused, counts.retries))
}

/// Scenario: a sink that refuses a row fails at each step, less often than its limit, more often, and for too long.
/// Guarantees: within the limit all is delivered as if nothing had been; beyond it every row of the delivery is in the dead
/// letters once, with its place, the row that was refused with the sink's own reason, and the rest with the last failure.
#[tokio::test(start_paused = true)]
async fn a_limit_sends_rows_to_the_letters() {
    let three = Retry { tries_max: NonZeroU32::new(3), ..Retry::default() };
    let minute = Retry { age_max: Some(Age::seconds(60)), ..Retry::default() };
    let mut said = String::new();
    for (step, times, retry) in
        [("commit", 2, three), ("begin", 3, three), ("stage", 3, three), ("commit", 3, three), ("commit", 1000, minute)]
    {
        said += &format!("{step} fails {times} times: {}", deliver(step, times, retry).await.unwrap());
    }
    expect![[r#"
        commit fails 2 times: 4 delivered, 1 refused, 2 tries more
          2 {"id":2}: odd
        begin fails 3 times: 0 delivered, 5 refused, 2 tries more
          1 {"id":1}: given up after 3 tries: could not begin a delivery: no room
          2 {"id":2}: given up after 3 tries: could not begin a delivery: no room
          3 {"id":3}: given up after 3 tries: could not begin a delivery: no room
          4 {"id":4}: given up after 3 tries: could not begin a delivery: no room
          5 {"id":5}: given up after 3 tries: could not begin a delivery: no room
        stage fails 3 times: 0 delivered, 5 refused, 2 tries more
          2 {"id":2}: odd
          1 {"id":1}: given up after 3 tries: could not stage rows: no room
          3 {"id":3}: given up after 3 tries: could not stage rows: no room
          4 {"id":4}: given up after 3 tries: could not stage rows: no room
          5 {"id":5}: given up after 3 tries: could not stage rows: no room
        commit fails 3 times: 0 delivered, 5 refused, 2 tries more
          2 {"id":2}: odd
          1 {"id":1}: given up after 3 tries: could not deliver: no room
          3 {"id":3}: given up after 3 tries: could not deliver: no room
          4 {"id":4}: given up after 3 tries: could not deliver: no room
          5 {"id":5}: given up after 3 tries: could not deliver: no room
        commit fails 1000 times: 0 delivered, 5 refused, 9 tries more
          2 {"id":2}: odd
          1 {"id":1}: given up after 10 tries: could not deliver: no room
          3 {"id":3}: given up after 10 tries: could not deliver: no room
          4 {"id":4}: given up after 10 tries: could not deliver: no room
          5 {"id":5}: given up after 10 tries: could not deliver: no room
    "#]]
    .assert_eq(&said);
}

//! Sinks that are given up.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use expect_test::expect;
use forebay_api::plan::{OnRefused, Retry};
use forebay_api::{Age, Deliver, DeliveryId, Draft, Refused, RefusedRow, Sink, SinkError, Span, causes};

use crate::RunError;
use crate::counters::{Counts, NodeCounters};
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
        let refuse = || RefusedRow { row: 1, payload: rows.slice(1, 1), why: "odd".into() };
        Ok((first && rows.num_rows() > 1).then(refuse).into_iter().collect())
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        self.sink.fail("commit")?;
        Ok(Refused::new())
    }
}

/// Keeps reasons and places, by the id under which they came.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<DeliveryId, Vec<String>>>);

#[async_trait]
impl Deliver for Kept {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let text = |rows: &RecordBatch, name: &str, row: usize| {
            rows.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned()
        };
        let mut kept = Vec::new();
        for rows in rows {
            let line = |row| {
                format!("{} {}: {}", text(rows, "position", row), text(rows, "payload", row), text(rows, "reason", row))
            };
            kept.extend((0..rows.num_rows()).map(line));
        }
        self.0.lock().unwrap().insert(id.clone(), kept);
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

/// A sink that fails so many times in a step.
fn side(step: &'static str, times: u32, retry: Retry, on_refused: OnRefused, kept: &Arc<Kept>) -> SinkSide {
    SinkSide {
        pipeline: "p".into(),
        version: "v".into(),
        name: "s".into(),
        sink: Box::new(Failing { step, times, failed: Arc::default() }),
        retry,
        on_refused,
        letters: Some(kept.clone()),
        jitter_seed: 0,
    }
}

/// Delivers shares of so many rows.
async fn deliver(side: &SinkSide, shares: &[u64]) -> Result<Counts, RunError> {
    let counters = NodeCounters::default();
    let id = DeliveryId::derive("p", "s", "f", "cdn", &Span::new("a", position(0), position(5)));
    let mut delivery = Delivery::new(0, id);
    let mut before = 0;
    for rows in shares {
        delivery.join(side, &counters, share(before, before + rows)).await?;
        before += rows;
    }
    delivery.commit(side, &counters).await?;
    Ok(counters.counts())
}

fn three() -> Retry {
    Retry { tries_max: NonZeroU32::new(3), ..Retry::default() }
}

/// Scenario: a sink that refuses a row fails at each step, less often than its limit, more often, and for too long.
/// Guarantees: within the limit all is delivered as if nothing had been; beyond it every row of the delivery is in the dead
/// letters once, with its place, the row that was refused with the sink's own reason, and the rest with the last failure.
#[tokio::test(start_paused = true)]
async fn a_limit_sends_rows_to_the_letters() {
    let three = three();
    let minute = Retry { age_max: Some(Age::seconds(60)), ..Retry::default() };
    let mut said = String::new();
    for (step, times, retry) in
        [("commit", 2, three), ("begin", 3, three), ("stage", 3, three), ("commit", 3, three), ("commit", 1000, minute)]
    {
        let kept = Arc::new(Kept::default());
        let side = side(step, times, retry, OnRefused::DeadLetters, &kept);
        let Counts { rows_out, refused, retries, .. } = deliver(&side, &[3, 2]).await.unwrap();
        said += &format!("{step} fails {times} times: {rows_out} delivered, {refused} refused, {retries} tries more\n");
        kept.0.lock().unwrap().values().flatten().for_each(|it| said += &format!("  {it}\n"));
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
          1 {"id":1}: given up after 3 tries: could not stage rows: no room
          2 {"id":2}: odd
          3 {"id":3}: given up after 3 tries: could not stage rows: no room
          4 {"id":4}: given up after 3 tries: could not stage rows: no room
          5 {"id":5}: given up after 3 tries: could not stage rows: no room
        commit fails 3 times: 0 delivered, 5 refused, 2 tries more
          1 {"id":1}: given up after 3 tries: could not deliver: no room
          2 {"id":2}: odd
          3 {"id":3}: given up after 3 tries: could not deliver: no room
          4 {"id":4}: given up after 3 tries: could not deliver: no room
          5 {"id":5}: given up after 3 tries: could not deliver: no room
        commit fails 1000 times: 0 delivered, 5 refused, 9 tries more
          1 {"id":1}: given up after 10 tries: could not deliver: no room
          2 {"id":2}: odd
          3 {"id":3}: given up after 10 tries: could not deliver: no room
          4 {"id":4}: given up after 10 tries: could not deliver: no room
          5 {"id":5}: given up after 10 tries: could not deliver: no room
    "#]]
    .assert_eq(&said);
}

/// Scenario: a delivery of 2,500 rows is given up, twice, as after a crash.
/// Guarantees: letters are made and kept for 1,000 rows at a time, each row once, the second time under the same ids.
#[tokio::test(start_paused = true)]
async fn letters_about_many_rows_are_kept_in_parts() {
    let kept = Arc::new(Kept::default());
    for _ in 0..2 {
        let side = side("commit", 1000, three(), OnRefused::DeadLetters, &kept);
        assert_eq!(deliver(&side, &[700, 1800]).await.unwrap().refused, 2500);
    }
    let kept = kept.0.lock().unwrap();
    let mut sizes: Vec<usize> = kept.values().map(Vec::len).collect();
    sizes.sort();
    assert_eq!(sizes, [500, 1000, 1000]);
    let places: BTreeSet<&str> = kept.values().flatten().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(places.len(), 2500);
}

/// Scenario: a sink fails for longer than its limit, and its refused rows are to stop the pipeline.
/// Guarantees: the error says that it was given up, why, and what to do; nothing is in the dead letters.
#[tokio::test(start_paused = true)]
async fn a_limit_stops_the_run() {
    let kept = Arc::new(Kept::default());
    let mut said = String::new();
    for step in ["begin", "commit"] {
        let error = deliver(&side(step, 1000, three(), OnRefused::Stop, &kept), &[1]).await.unwrap_err();
        said += &format!("{}\n  {}\n", causes(&error), error.hint.unwrap());
    }
    expect![[r#"
        `s` could not begin a delivery and was given up after 3 tries, and `on_refused` says stop: no room
          the next start makes the delivery again; without a limit in `retry` it is tried for ever, and with `on_refused = "dead_letters"` its rows are kept there and the rest goes on
        `s` could not deliver and was given up after 3 tries, and `on_refused` says stop: no room
          the next start makes the delivery again; without a limit in `retry` it is tried for ever, and with `on_refused = "dead_letters"` its rows are kept there and the rest goes on
    "#]].assert_eq(&said);
    assert!(kept.0.lock().unwrap().is_empty());
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use expect_test::expect;
use forebay_api::{DeliveryId, Draft, Promise, Refused, RefusedRow, Sink, SinkConfig, SinkError};

use super::{check, verdict};
use crate::{Memory, canonical, text};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    ShowsWhatIsStaged,
    ShowsWhatIsLetGo,
    LosesTheLastBatch,
    IgnoresTheId,
    ForgetsIdsWhenClosed,
    KeepsWhatWasFirst,
    SharesOneBuffer,
    NamesTheWrongRow,
    NamesTheRowWithinTheBatch,
    ShowsRefusedRows,
    FailsWithoutRows,
    AddsToWhatWasLetGo,
    OneFileForEachBatch,
}

const BUGS: [Bug; 13] = [
    Bug::ShowsWhatIsStaged,
    Bug::ShowsWhatIsLetGo,
    Bug::LosesTheLastBatch,
    Bug::IgnoresTheId,
    Bug::ForgetsIdsWhenClosed,
    Bug::KeepsWhatWasFirst,
    Bug::SharesOneBuffer,
    Bug::NamesTheWrongRow,
    Bug::NamesTheRowWithinTheBatch,
    Bug::ShowsRefusedRows,
    Bug::FailsWithoutRows,
    Bug::AddsToWhatWasLetGo,
    Bug::OneFileForEachBatch,
];

/// Where a broken sink writes: files by name.
#[derive(Default)]
struct Place {
    files: BTreeMap<String, Vec<RecordBatch>>,
    buffers: BTreeMap<String, Vec<RecordBatch>>,
    files_made: usize,
}

struct Broken {
    bug: Bug,
    place: Arc<Mutex<Place>>,
    known: Arc<Mutex<BTreeSet<DeliveryId>>>,
}

#[async_trait]
impl Sink for Broken {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        let place = self.place.clone();
        let known = self.known.clone();
        Ok(Box::new(BrokenDraft { bug: self.bug, place, known, id: id.clone(), staged: 0, rows: Vec::new() }))
    }
}

struct BrokenDraft {
    bug: Bug,
    place: Arc<Mutex<Place>>,
    known: Arc<Mutex<BTreeSet<DeliveryId>>>,
    id: DeliveryId,
    staged: u64,
    rows: Vec<RecordBatch>,
}

impl BrokenDraft {
    fn buffer(&self) -> String {
        if self.bug == Bug::SharesOneBuffer { String::new() } else { self.id.to_string() }
    }
}

/// Rows with this text cannot be taken.
const BAD: &str = r#"{"message":"bad"}"#;

#[async_trait]
impl Draft for BrokenDraft {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        if self.bug == Bug::FailsWithoutRows && rows.num_rows() == 0 {
            return Err(SinkError::Retry("no rows".into()));
        }
        let mut refused = Refused::new();
        let mut taken = Vec::new();
        for (nth, line) in canonical(std::slice::from_ref(&rows)).into_iter().enumerate() {
            let payload = rows.slice(nth, 1);
            if line != BAD || self.bug == Bug::ShowsRefusedRows {
                taken.push(payload.clone());
            }
            if line == BAD {
                let row = match self.bug {
                    Bug::NamesTheWrongRow => 0,
                    Bug::NamesTheRowWithinTheBatch => nth as u64,
                    _ => self.staged,
                };
                refused.push(RefusedRow { row, payload, why: "bad".into() });
            }
            self.staged += 1;
        }
        let mut place = self.place.lock().unwrap();
        match self.bug {
            Bug::ShowsWhatIsStaged => place.files.entry(self.id.to_string()).or_default().extend(taken),
            Bug::SharesOneBuffer | Bug::AddsToWhatWasLetGo => {
                place.buffers.entry(self.buffer()).or_default().extend(taken);
            }
            _ => self.rows.push(arrow_select::concat::concat_batches(&rows.schema(), &taken).unwrap()),
        }
        Ok(refused)
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        let mut place = self.place.lock().unwrap();
        let mut rows = std::mem::take(&mut self.rows);
        let mut name = self.id.to_string();
        match self.bug {
            Bug::ShowsWhatIsStaged => return Ok(Refused::new()),
            Bug::LosesTheLastBatch => drop(rows.pop()),
            Bug::SharesOneBuffer | Bug::AddsToWhatWasLetGo => {
                rows = place.buffers.remove(&self.buffer()).unwrap_or_default();
            }
            Bug::IgnoresTheId => {
                place.files_made += 1;
                name = place.files_made.to_string();
            }
            Bug::ForgetsIdsWhenClosed if !self.known.lock().unwrap().insert(self.id.clone()) => {
                return Ok(Refused::new());
            }
            Bug::ForgetsIdsWhenClosed => {
                place.files_made += 1;
                name = place.files_made.to_string();
            }
            Bug::KeepsWhatWasFirst => rows.truncate(1),
            Bug::OneFileForEachBatch => {
                for (nth, batch) in rows.into_iter().enumerate() {
                    let same = place.files.insert(format!("{name}-{nth}"), vec![batch.clone()]);
                    // It compares file by file, and takes another size for another file.
                    if let Some(other) = same.filter(|it| it[0].num_rows() != batch.num_rows()) {
                        place.files.insert(format!("{name}-{nth}-other"), other);
                    }
                }
                return Ok(Refused::new());
            }
            _ => {}
        }
        place.files.insert(name, rows);
        Ok(Refused::new())
    }
}

impl Drop for BrokenDraft {
    fn drop(&mut self) {
        if self.bug == Bug::ShowsWhatIsLetGo && !self.rows.is_empty() {
            self.place.lock().unwrap().files.insert(self.id.to_string(), std::mem::take(&mut self.rows));
        }
    }
}

fn input() -> Vec<RecordBatch> {
    vec![text("message", ["one", "two", "bad"]), text("message", ["three", "bad", "one"])]
}

fn run(bug: Bug, promise: Promise) -> String {
    let place = Arc::new(Mutex::new(Place::default()));
    verdict(crate::sink(
        promise,
        &input(),
        async || Box::new(Broken { bug, place: place.clone(), known: Arc::default() }) as Box<dyn Sink>,
        async || {
            let rows: Vec<RecordBatch> = place.lock().unwrap().files.values().flatten().cloned().collect();
            canonical(&rows)
        },
    ))
}

/// Scenario: the memory sink, with and without refused rows; and one that is there twice but promises no better.
/// Guarantees: sinks that keep the contract pass.
#[test]
fn right_sinks_pass() {
    for refuses in [false, true] {
        let memory = Memory::new()
            .refusing(move |row| (refuses && canonical(std::slice::from_ref(row)) == [BAD]).then(|| "bad".to_owned()));
        let input = input();
        let schema = input[0].schema();
        let suite = crate::sink(
            Promise::OncePerId,
            &input,
            async || memory.open(schema.clone()).await.unwrap(),
            async || canonical(&memory.rows()),
        );
        assert_eq!(verdict(suite), "passes");
        assert_eq!(memory.deliveries().len(), 7);
    }
    assert_eq!(run(Bug::None, Promise::OncePerId), "passes");
    assert_eq!(run(Bug::IgnoresTheId, Promise::AtLeastOnce), "passes");
}

/// Scenario: sinks that are wrong in one thing each.
/// Guarantees: the suite catches every one of them, and says what is broken and when.
#[test]
fn each_wrong_sink_is_caught() {
    check(
        BUGS.map(|bug| (format!("{bug:?}"), run(bug, Promise::OncePerId))),
        expect![[r#"
            ShowsWhatIsStaged
                sink: before `commit`: a row is visible that should not be (or too often): {"message":"one"}
            ShowsWhatIsLetGo
                sink: after a draft was let go: a row is visible that should not be (or too often): {"message":"one"}
            LosesTheLastBatch
                sink: after `commit`: a row is not visible that should be: {"message":"one"}
            IgnoresTheId
                sink: delivered again row by row: a row is visible that should not be (or too often): {"message":"one"}
            ForgetsIdsWhenClosed
                sink: delivered again row by row: a row is visible that should not be (or too often): {"message":"one"}
            KeepsWhatWasFirst
                sink: after `commit`: a row is not visible that should be: {"message":"one"}
            SharesOneBuffer
                sink: after a delivery that was let go before: a row is visible that should not be (or too often): {"message":"one"}
            NamesTheWrongRow
                sink: `stage` refused row 0, which is {"message":"one"}, with the payload {"message":"bad"}
            NamesTheRowWithinTheBatch
                sink: `stage` refused row 1, which is {"message":"two"}, with the payload {"message":"bad"}
            ShowsRefusedRows
                sink: after `commit`: a row is visible that should not be (or too often): {"message":"bad"}
            FailsWithoutRows
                sink: `stage` failed 20 times: no rows
            AddsToWhatWasLetGo
                sink: after a delivery that was let go before: a row is visible that should not be (or too often): {"message":"one"}
            OneFileForEachBatch
                sink: delivered again row by row: a row is visible that should not be (or too often): {"message":"one"}
        "#]],
    );
}

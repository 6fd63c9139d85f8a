//! A transform: planned against a schema before any data, then a pure function of a batch.

use std::collections::BTreeSet;

use arrow_array::{BooleanArray, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;

use crate::BoxError;

/// What stands in the file about a transform.
pub trait TransformConfig: Send + Sync {
    /// Makes the transform. Opens nothing. Called once for each source that feeds it, since each lane has its own.
    fn build(&self) -> Result<Box<dyn Transform>, BoxError>;

    /// How it will do its work, where that is worth knowing: a line each, for `forebay check --explain`. Opens nothing.
    fn explain(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A pure function of a batch: no I/O, no clock, no state that outlives a batch.
///
/// After a crash rows are transformed again, and must come out the same.
pub trait Transform: Send {
    /// The columns that come out for the columns that go in. Called once, before any rows; opens nothing.
    ///
    /// Return a [`Wrong`](crate::Wrong) to point at the key that is to blame, for example by [`crate::column`].
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError>;

    /// The input columns that the work depends on, once it is planned; `None`: all of them.
    ///
    /// What stands before may then leave the others out.
    fn uses(&self) -> Option<BTreeSet<String>> {
        None
    }

    /// Told, after [`Transform::plan`] and before any rows, which columns are used of what comes out. May leave out
    /// others, and gives the columns that come out then. Which rows are refused stays as it was: it may not depend on
    /// who else reads them.
    fn narrow(&mut self, _used: &BTreeSet<String>) -> Option<SchemaRef> {
        None
    }

    /// Told once that rows will come, when it is planned and before the source is opened. What takes long to make, such
    /// as many patterns that must be compiled, is made here: neither `forebay check` nor the first rows wait for it.
    fn prepare(&mut self) {}

    /// Sends rows on with the planned columns, and refuses those that it cannot turn into such.
    /// Input rows that are neither sent nor refused count as filtered. An error ends the pipeline.
    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError>;
}

/// Where a transform puts its rows.
#[derive(Debug, Default)]
pub struct Outputs {
    input_rows: usize,
    sent: Vec<(RecordBatch, Option<UInt32Array>)>,
    refused: Vec<(usize, String)>,
}

impl Outputs {
    /// For an input of so many rows. The engine and the conformance suite make these.
    pub fn new(input_rows: usize) -> Self {
        Self { input_rows, ..Self::default() }
    }

    /// Sends every input row on: row `i` of `rows` came from input row `i`.
    ///
    /// # Panics
    ///
    /// If `rows` has another number of rows than the input: say which with [`Outputs::send_picked`].
    pub fn send(&mut self, rows: RecordBatch) {
        assert_eq!(rows.num_rows(), self.input_rows, "`send` is for one row out of each row in");
        self.sent.push((rows, None));
    }

    /// Sends rows of which row `i` came from input row `picked[i]`. No rows are fine too.
    ///
    /// The origin of each row is what lets a dead letter name its place in the source.
    pub fn send_picked(&mut self, rows: RecordBatch, picked: UInt32Array) {
        assert_eq!(rows.num_rows(), picked.len(), "one origin for each row");
        assert!(picked.values().iter().all(|it| (*it as usize) < self.input_rows), "an origin is not an input row");
        self.sent.push((rows, Some(picked)));
    }

    /// Sends rows that are left after the input rows where `kept` is not true were taken out.
    pub fn send_kept(&mut self, rows: RecordBatch, kept: &BooleanArray) {
        assert_eq!(kept.len(), self.input_rows, "one flag for each input row");
        let picked = (0..kept.len() as u32).filter(|it| kept.is_valid_at(*it as usize)).collect();
        self.send_picked(rows, picked);
    }

    /// Refuses one input row, which goes to the dead letters with this reason.
    pub fn refuse(&mut self, row: usize, why: impl Into<String>) {
        assert!(row < self.input_rows, "row {row} is not an input row");
        self.refused.push((row, why.into()));
    }

    /// How many rows the input has.
    pub fn input_rows(&self) -> usize {
        self.input_rows
    }

    /// What was sent, each with the input row of each of its rows (`None`: the same one).
    pub fn sent(&self) -> &[(RecordBatch, Option<UInt32Array>)] {
        &self.sent
    }

    /// What was refused: input rows and reasons.
    pub fn refused(&self) -> &[(usize, String)] {
        &self.refused
    }

    /// Takes both apart.
    #[allow(clippy::type_complexity, reason = "the two lists above")]
    pub fn into_parts(self) -> (Vec<(RecordBatch, Option<UInt32Array>)>, Vec<(usize, String)>) {
        (self.sent, self.refused)
    }
}

/// `true` and not null.
trait ValidAt {
    fn is_valid_at(&self, row: usize) -> bool;
}

impl ValidAt for BooleanArray {
    fn is_valid_at(&self, row: usize) -> bool {
        use arrow_array::Array;
        self.is_valid(row) && self.value(row)
    }
}

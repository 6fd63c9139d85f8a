//! A sink: stages rows, then makes them visible under an id.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Age, BoxError, ByteSize, Dialect, Resource, Span, Whereabouts};

/// What stands in the file about a sink.
#[async_trait]
pub trait SinkConfig: Send + Sync {
    /// Checks the columns that will come. Opens nothing.
    ///
    /// Return a [`Wrong`](crate::Wrong) to point at the key that is to blame.
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError>;

    /// What this sink does with the same delivery sent twice.
    fn promise(&self) -> Promise;

    /// How large and how old a delivery gets, where the file says nothing.
    fn batch(&self) -> Batch {
        Batch::default()
    }

    /// What no other component may use at the same time: ports, directories.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// The statement that makes the table which these rows fill, where that makes sense.
    fn ddl(&self, _name: &str, _input: &SchemaRef, _dialect: Dialect) -> Result<Option<String>, BoxError> {
        Ok(None)
    }

    /// Where a person finds what was delivered, for the end of a run.
    fn whereabouts(&self) -> Option<Whereabouts> {
        None
    }

    /// Opens the sink. The first to touch the world; an error here is about the world.
    async fn open(&self, input: SchemaRef) -> Result<Box<dyn Sink>, BoxError>;
}

/// What a sink does with the same delivery sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// A delivery that is sent again may be there twice.
    AtLeastOnce,
    /// A delivery that is sent again under the same id is there once.
    OncePerId,
}

/// Writes deliveries.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Begins a delivery. Nothing is visible before its draft is committed. Several drafts may be open at a time.
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError>;

    /// Begins a delivery that may have been made before, whole, in part or not at all, by a process that ended in the
    /// middle, and however long ago. `intended` is when that process was about to commit it, by its clock; `None`:
    /// nobody knows.
    ///
    /// For a sink that promises [`Promise::OncePerId`] only for a while if it does not look.
    async fn begin_again(&self, id: &DeliveryId, _intended: Option<SystemTime>) -> Result<Box<dyn Draft>, SinkError> {
        self.begin(id).await
    }
}

/// A delivery being written. To let it go (drop it) is to abandon it: then nothing of it may become visible.
///
/// What a draft makes of its rows may depend on the sequence of the rows, never on how they were cut into
/// batches: after a crash the same rows come in the same order, in other batches.
#[async_trait]
pub trait Draft: Send {
    /// Takes rows in; may upload. Nothing is visible yet.
    ///
    /// Rows that cannot be taken are named in the answer, all others are in.
    /// After [`SinkError::Retry`] none of them is in, and the same rows are staged again.
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError>;

    /// Whether the delivery should end here, for a reason that its rows and bytes do not tell. Asked after rows were
    /// staged; unlike what becomes of the rows, this may depend on how they were cut.
    fn is_full(&self) -> bool {
        false
    }

    /// Told once before the commit of a draft of [`Sink::begin`], when all rows are staged: from now on, by the clock of
    /// this process, but not before, another process may make the same delivery, if this one is taken for dead.
    fn intended(&mut self, _now: SystemTime) {}

    /// Makes all staged rows durable and visible, except those that are named in the answer.
    /// Called again after [`SinkError::Retry`].
    async fn commit(&mut self) -> Result<Refused, SinkError>;
}

/// Rows that the far side cannot take. They go to the dead letters, and the rest goes on.
pub type Refused = Vec<RefusedRow>;

/// A row that the far side cannot take.
#[derive(Clone, Debug)]
pub struct RefusedRow {
    /// Its number among the rows staged into the draft, from 0.
    pub row: u64,
    /// The row, alone in a batch.
    pub payload: RecordBatch,
    /// Why it was refused, in words for the operator.
    pub why: String,
}

/// Why a sink could not do it, by what the engine does next.
#[derive(Debug)]
pub enum SinkError {
    /// It may pass: wait, then the same again under the same id.
    Retry(BoxError),
    /// It will not pass by waiting: stop the pipeline and say so. Nothing is lost; the next start goes on.
    Stop(BoxError),
}

impl SinkError {
    /// What happened, whatever is to be done about it.
    pub fn into_error(self) -> BoxError {
        match self {
            Self::Retry(error) | Self::Stop(error) => error,
        }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(error) | Self::Stop(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Retry(error) | Self::Stop(error) => error.source(),
        }
    }
}

/// The name of a delivery: 32 hexadecimal digits, the same for the same rows after any crash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(Arc<str>);

impl DeliveryId {
    /// Derives the id of the delivery that begins after `first.from` of `source`.
    ///
    /// `fingerprint` stands for everything that decides what the rows look like: rows that a changed pipeline
    /// makes from the same span are another delivery.
    pub fn derive(pipeline: &str, sink: &str, fingerprint: &str, source: &str, first: &Span) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for part in [pipeline, sink, fingerprint, source, first.partition.as_str(), &first.from.to_string()] {
            // The length keeps `ab`+`c` and `a`+`bc` apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(format!("{:032x}", hasher.digest128()).into())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeliveryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.len() == 32 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.into())) } else { Err(format!("`{text}` is not a delivery id")) }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a delivery is full: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At so many rows.
    pub rows_max: u64,
    /// At so many bytes of Arrow data.
    pub bytes_max: ByteSize,
    /// So long after its first row came.
    pub age_max: Age,
    /// Its age is not enough until so long after the sink's last delivery went out: until then it grows. Deliveries that
    /// are filled side by side take turns.
    pub interval_min: Age,
}

impl Default for Batch {
    fn default() -> Self {
        Self { rows_max: 100_000, bytes_max: ByteSize::mib(16), age_max: Age::seconds(1), interval_min: Age::millis(0) }
    }
}

/// A sink that wants a delivery whole: one INSERT, one request. [`whole`] makes a [`Sink`] of it.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Writes all rows under the id, durably and visibly, except those named in the answer by their number
    /// over all batches, from 0, with the reason. Called again with the same rows after [`SinkError::Retry`].
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError>;
}

#[async_trait]
impl<D: Deliver + ?Sized> Deliver for Arc<D> {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        (**self).deliver(id, rows).await
    }
}

/// Makes a [`Sink`] of something that delivers whole.
pub fn whole(deliver: impl Deliver + 'static) -> Box<dyn Sink> {
    Box::new(Whole { deliver: Arc::new(deliver) })
}

struct Whole<D> {
    deliver: Arc<D>,
}

#[async_trait]
impl<D: Deliver + 'static> Sink for Whole<D> {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        Ok(Box::new(WholeDraft { deliver: self.deliver.clone(), id: id.clone(), rows: Vec::new() }))
    }
}

struct WholeDraft<D> {
    deliver: Arc<D>,
    id: DeliveryId,
    rows: Vec<RecordBatch>,
}

#[async_trait]
impl<D: Deliver> Draft for WholeDraft<D> {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        self.rows.push(rows);
        Ok(Refused::new())
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        let refused = self.deliver.deliver(&self.id, &self.rows).await?;
        Ok(refused.into_iter().map(|(row, why)| RefusedRow { row, payload: nth_row(&self.rows, row), why }).collect())
    }
}

/// The `row`th row over all batches, alone: for [`RefusedRow::payload`].
///
/// # Panics
///
/// If there is none.
pub fn nth_row(batches: &[RecordBatch], row: u64) -> RecordBatch {
    let mut before = row as usize;
    for batch in batches {
        if before < batch.num_rows() {
            return batch.slice(before, 1);
        }
        before -= batch.num_rows();
    }
    panic!("row {row} was refused, but was never staged")
}

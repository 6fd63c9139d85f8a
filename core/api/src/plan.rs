//! The graph after checking. The config crate makes it, the engine runs it.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;

use crate::{Age, Batch, BoxError, Deliver, SinkConfig, SourceConfig, TransformConfig};

/// A pipeline that was checked: every name is known, every schema fits, there is no cycle.
pub struct Plan {
    /// The pipeline's name; part of every delivery id.
    pub name: String,
    /// Stands for everything in the file that decides what rows look like. Dead letters hold it.
    pub version: String,
    /// Where rows come from.
    pub sources: Vec<PlannedSource>,
    /// What is done to them, inputs before outputs.
    pub transforms: Vec<PlannedTransform>,
    /// Where they go.
    pub sinks: Vec<PlannedSink>,
    /// Where refused rows go that no node reads. `None` only if nothing can need it.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
    /// Where committed positions and pending deliveries are kept.
    pub state: PathBuf,
    /// How long a drain may take before what is in flight is abandoned (and read again at the next start).
    pub drain_max: Age,
}

/// A source in its place.
#[derive(Clone)]
pub struct PlannedSource {
    /// Its name in the file.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// Opens it.
    pub config: Arc<dyn SourceConfig>,
    /// The columns it gives.
    pub schema: SchemaRef,
    /// What becomes of rows that it refuses.
    pub on_refused: OnRefused,
    /// Stands for everything that decides which rows it gives and which it refuses.
    pub fingerprint: String,
}

/// A transform in its place.
#[derive(Clone)]
pub struct PlannedTransform {
    /// Its name in the file.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// Where its rows come from.
    pub inputs: Vec<Input>,
    /// Builds it.
    pub config: Arc<dyn TransformConfig>,
    /// The columns that go in.
    pub input: SchemaRef,
    /// The columns that come out.
    pub output: SchemaRef,
    /// What becomes of rows that it refuses.
    pub on_refused: OnRefused,
    /// Stands for everything, itself and all upstream, that decides which rows it sends and which it refuses.
    pub fingerprint: String,
}

/// A sink in its place.
#[derive(Clone)]
pub struct PlannedSink {
    /// Its name in the file.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// Where its rows come from.
    pub inputs: Vec<Input>,
    /// Opens it.
    pub config: Arc<dyn SinkConfig>,
    /// The columns that go in.
    pub input: SchemaRef,
    /// When a delivery is full.
    pub batch: Batch,
    /// How failures are retried.
    pub retry: Retry,
    /// How many deliveries may be on their way at a time.
    pub in_flight_max: usize,
    /// What becomes of rows that it refuses.
    pub on_refused: OnRefused,
    /// Stands for everything upstream that decides what the rows look like; part of new delivery ids.
    pub fingerprint: String,
}

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Input {
    /// The node that the rows come from.
    pub node: String,
    /// Which of its ports.
    pub port: Port,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Port::Rows => f.write_str(&self.node),
            Port::Refused => write!(f, "{}.refused", self.node),
        }
    }
}

/// A port of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// What it sends.
    Rows,
    /// What it refuses, as [`letter_schema`] rows.
    Refused,
}

/// What becomes of rows that a node refuses and that no other node reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefused {
    /// They are kept in the dead letters.
    #[default]
    DeadLetters,
    /// The pipeline stops and says so.
    Stop,
}

/// How failures of a sink are retried: the wait doubles from `wait_min` to `wait_max`, with jitter; for ever, unless there
/// is a limit, after which the rows of the delivery go to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait.
    pub wait_min: Age,
    /// The longest wait.
    pub wait_max: Age,
    /// So many tries at most.
    pub tries_max: Option<NonZeroU32>,
    /// No try that begins later than so long after the first one.
    pub age_max: Option<Age>,
}

impl Retry {
    /// Whether a delivery may ever be given up.
    pub fn has_limit(&self) -> bool {
        self.tries_max.is_some() || self.age_max.is_some()
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { wait_min: Age::millis(200), wait_max: Age::seconds(30), tries_max: None, age_max: None }
    }
}

/// Where refused rows are kept.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Where that is, in words.
    fn at(&self) -> String;

    /// Takes batches of [`letter_schema`].
    async fn open(&self) -> Result<Arc<dyn Deliver>, BoxError>;
}

/// The columns of a refused row, the same for every `refused` port and for the dead letters.
///
/// - `payload`: the source's row: the line itself if the source has one text column, else a JSON object. Of a row that a
///   sink refused: the row as the sink got it; the place says which row of the source it was.
/// - `encoding`: how to read `payload`: `text`, `json` or `base64`; `debug`, of which there is no way back, for types that have none of these.
/// - `reason`: why it was refused.
/// - `component`: the node that refused it.
/// - `source`, `partition`, `position`: where it stands in the source.
/// - `pipeline`, `version`: the pipeline's name, and [`Plan::version`].
pub fn letter_schema() -> SchemaRef {
    let names =
        ["payload", "encoding", "reason", "component", "source", "partition", "position", "pipeline", "version"];
    Arc::new(Schema::new(names.map(|it| Field::new(it, DataType::Utf8, false)).to_vec()))
}

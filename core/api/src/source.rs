//! A source: pulled, inert, says where its rows came from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;

use crate::{BoxError, Claims, Partition, Position, Resource, Span};

/// What stands in the file about a source.
#[async_trait]
pub trait SourceConfig: Send + Sync {
    /// The columns of every [`Read`], fixed for the life of the pipeline. Opens nothing.
    ///
    /// Return a [`Wrong`](crate::Wrong) to point at the key that is to blame.
    fn schema(&self) -> Result<SchemaRef, BoxError>;

    /// What no other component may use at the same time: ports, directories.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// Opens the source. The first to touch the world; an error here is about the world.
    ///
    /// Called once for normal reading, and before that once for each delivery that a crash left open; where
    /// [`SourceConfig::is_sent_to`], first for normal reading, and nothing is read until those are made.
    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError>;

    /// Whether others send to the source, and it keeps what they send until it is read: then it is opened before anything
    /// else. What a crash left open may wait for long for a sink that is away, and they are not to wait with it. What was
    /// kept before must stay until the first [`Source::next`], wherever the source was opened: it may be read again.
    fn is_sent_to(&self) -> bool {
        false
    }

    /// Whether other processes read the same partitions, each its own: then they come from [`SourceConfig::claims`],
    /// and [`SourceConfig::open`] is called only for what this process has left open when it read them alone.
    fn is_shared(&self) -> bool {
        false
    }

    /// Joins the processes that share the partitions, for the pipeline of this name. `alone`: how far this process has read
    /// partitions when it read them alone, if nobody has claimed them here since: nothing of them must be passed over only
    /// because nobody has begun with the partitions yet.
    async fn claims(
        &self,
        _pipeline: &str,
        _alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        Err("this source does not share its partitions".into())
    }
}

/// What a source is asked to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Each named partition from after its position (`End`: nothing more of it), every other one from its start.
    After(BTreeMap<Partition, Position>),
    /// Exactly these spans, in this order, and then the end. Rows and their order are as they were the first time;
    /// how they are cut into reads is free, as long as no read crosses the end of a span.
    Exactly(Vec<Span>),
}

impl Resume {
    /// From the start of everything.
    pub fn start() -> Self {
        Self::After(BTreeMap::new())
    }
}

/// A replayable log, or several.
#[async_trait]
pub trait Source: Send {
    /// The next rows, or `None` when the input has ended. May wait as long as it likes for rows to come.
    ///
    /// Reads of one partition follow each other without a gap: each span begins where the last one ended,
    /// the first where [`Resume`] said. A stretch in which there is no row is a read without rows.
    /// An error ends the pipeline; what passes by itself is retried by the source.
    ///
    /// On shutdown the future is let go in the middle; `next` is not called after that.
    async fn next(&mut self) -> Result<Option<Read>, BoxError>;

    /// Hands over the part that wants to hear when rows are safe, if there is one. Called once, before `next`.
    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        None
    }

    /// Called once, after the last `next`, when reading ends in good order: lets go of what was made elsewhere for this
    /// source. It is waited for, for as long as a drain may take. After a crash or a failure it is not called, nor for
    /// [`Resume::Exactly`].
    async fn close(&mut self) {}

    /// What the source knows of itself, if it is of use to whoever watches the pipeline. Called once, before `next`.
    fn stats(&self) -> Option<Arc<dyn Stats>> {
        None
    }
}

/// What a source knows of itself beside the rows that it gives. It is looked at from outside, at any time, and as long as
/// the source lives.
pub trait Stats: Send + Sync {
    /// How many requests came since the start, by what became of them: `accepted`, or why not, as `too_large`. Only of
    /// sources that others send to.
    fn requests(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    /// For how long the oldest row has waited to be read, where the far side says so.
    fn behind(&self) -> Option<Duration> {
        None
    }
}

/// The part of a source that lets go of what is behind settled rows: deletes the message, answers the caller,
/// frees the segment. Apart from [`Source`], so that a `next` that waits does not delay it.
#[async_trait]
pub trait Settler: Send {
    /// Every sink has everything of `partition` up to `to`, durably, and the checkpoint says so.
    async fn settled(&mut self, partition: &Partition, to: &Position) -> Result<(), BoxError>;
}

/// Rows, and where they came from.
#[derive(Clone, Debug)]
pub struct Read {
    /// What this read covers, refused rows included.
    pub span: Span,
    /// The rows, in order, with the columns of [`SourceConfig::schema`].
    pub rows: RecordBatch,
    /// Where each row of `rows` stands.
    pub positions: Positions,
    /// Rows in the span that could not become rows, in order.
    pub refused: Vec<Refusal>,
}

/// Where each row of a [`Read`] stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Row `i` is the `i + 1`st after the span's `from`, in a log that is merely counted, and none was refused.
    Counted,
    /// One position for each row, rising, all within the span.
    Listed(Vec<Position>),
}

/// A row that a source could not turn into a row: a line that is not UTF-8, a damaged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands.
    pub position: Position,
    /// Its bytes, as far as they could be had.
    pub payload: Vec<u8>,
    /// Why it was refused, in words for the operator.
    pub why: String,
}

impl Read {
    /// Rows of a counted log that follow after the first `before` ones.
    ///
    /// # Panics
    ///
    /// If there are no rows: use [`Read::end`] for the end of a partition.
    pub fn counted(partition: impl Into<Partition>, before: u64, rows: RecordBatch) -> Self {
        let to = Position::row(before + rows.num_rows() as u64);
        let span = Span::new(partition, Position::row(before), to);
        Self { span, rows, positions: Positions::Counted, refused: Vec::new() }
    }

    /// No rows, and never any more: closes a partition after `from`.
    pub fn end(partition: impl Into<Partition>, from: Position, schema: SchemaRef) -> Self {
        let rows = RecordBatch::new_empty(schema);
        Self {
            span: Span::new(partition, from, Position::End),
            rows,
            positions: Positions::Listed(Vec::new()),
            refused: Vec::new(),
        }
    }

    /// Makes this the last read of its partition.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.span.to = Position::End;
        self
    }

    /// The position of row `row` of [`Read::rows`].
    pub fn position(&self, row: usize) -> Position {
        match &self.positions {
            Positions::Listed(positions) => positions[row].clone(),
            Positions::Counted => {
                let before = self.span.from.counted().expect("a counted read begins at a counted position");
                Position::row(before + row as u64 + 1)
            }
        }
    }

    /// Cuts the read in two after `at`, which must lie inside the span: `(from, at]` and `(at, to]`.
    pub fn split(self, at: &Position) -> (Self, Self) {
        assert!(self.span.from < *at && *at < self.span.to, "{at} is not inside {}", self.span);
        let Self { span, rows, positions, mut refused } = self;
        let (first, last) = match positions {
            Positions::Listed(mut first) => {
                let last = first.split_off(first.partition_point(|it| it <= at));
                (Positions::Listed(first), Positions::Listed(last))
            }
            Positions::Counted => (Positions::Counted, Positions::Counted),
        };
        let cut = match &first {
            Positions::Listed(first) => first.len(),
            Positions::Counted => {
                let counted = |it: &Position| it.counted().expect("a counted log is cut at a counted position");
                // A read that ends its partition may be cut after its last row.
                ((counted(at) - counted(&span.from)) as usize).min(rows.num_rows())
            }
        };
        let refused_last = refused.split_off(refused.partition_point(|it| it.position <= *at));
        let Span { partition, from, to } = span;
        let head = Self {
            span: Span::new(partition.clone(), from, at.clone()),
            rows: rows.slice(0, cut),
            positions: first,
            refused,
        };
        let tail = Self {
            span: Span::new(partition, at.clone(), to),
            rows: rows.slice(cut, rows.num_rows() - cut),
            positions: last,
            refused: refused_last,
        };
        (head, tail)
    }

    /// What a source broke of its contract in this read, if anything.
    pub fn fault(&self) -> Option<String> {
        let n = self.rows.num_rows();
        match &self.positions {
            Positions::Counted => {
                let Some(before) = self.span.from.counted() else {
                    return Some(format!("{} does not begin at a counted position", self.span));
                };
                if !self.refused.is_empty() {
                    return Some("a counted read cannot hold refused rows: list the positions".into());
                }
                let to = Position::row(before + n as u64);
                (self.span.to != to && self.span.to != Position::End)
                    .then(|| format!("{} does not hold the {n} rows that came with it", self.span))
            }
            Positions::Listed(positions) => {
                if positions.len() != n {
                    return Some(format!("{} positions for {n} rows", positions.len()));
                }
                let outside = positions.iter().find(|it| !self.span.contains(it));
                if let Some(outside) = outside {
                    return Some(format!("row {outside} is not in {}", self.span));
                }
                let falls = positions.windows(2).find(|pair| pair[0] >= pair[1]);
                falls.map(|pair| format!("row {} comes after row {}", pair[1], pair[0]))
            }
        }
    }
}

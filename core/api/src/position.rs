//! Where a row stands in a log.
//!
//! A source reads one or more *partitions*: a Kinesis shard, an S3 object, a spool segment.
//! Inside a partition rows have *positions*, which are ordered and never used twice.
//! A *span* `(from, to]` names a stretch of a partition: `from` is not in it, `to` is.
//! Spans that follow each other (`a.to == b.from`) leave no gap, so "everything up to `to`" is one comparison.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A source's own name for one of its logs, unique within the source and stable over restarts.
///
/// An S3 object is named by key, etag and size, so that an object that was written anew is another partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(Arc<str>);

impl Partition {
    /// Names a partition.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Partition {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A place in a partition. Ordered: `Start` < every `At` < `End`.
///
/// Its text form is `start`, `end`, `17` (a counted row) or `4959…:17` (a sequence number and a row in it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Before the first row.
    Start,
    /// At one row.
    At {
        /// The log's own number of the record, as decimal digits; empty where rows are merely counted.
        /// Kinesis numbers have up to 129 digits, so this is no machine integer.
        sequence: Sequence,
        /// The row within the record, or the count of rows from 1.
        row: u64,
    },
    /// After the last row of a partition that is closed for good: a drained shard, a whole object.
    End,
}

/// The sequence number of no record.
const NO_RECORD: &str = "0";

impl Position {
    /// The position of the `n`th row, counted from 1, of a log that is merely counted. `0` is the start.
    pub fn row(n: u64) -> Self {
        match n {
            0 => Self::Start,
            n => Self::At { sequence: Sequence::default(), row: n },
        }
    }

    /// The position of one row inside a numbered record. `None` if `sequence` is not a decimal number.
    pub fn sequence(sequence: &str, row: u64) -> Option<Self> {
        Some(Self::At { sequence: Sequence::new(sequence)?, row })
    }

    /// Before the first row of a numbered record. No row stands here: a log is begun here whose first record is known.
    pub fn before(sequence: &Sequence) -> Self {
        Self::At { sequence: sequence.clone(), row: 0 }
    }

    /// A point in time, in milliseconds since 1970, before every record of a log of numbered records. No row stands here:
    /// a log is begun here of which no record has come yet. Its text form is that of a row of record 0, which no log has.
    pub fn time(millis: u64) -> Self {
        Self::At { sequence: Sequence(NO_RECORD.into()), row: millis }
    }

    /// The milliseconds of [`Position::time`].
    pub fn as_time(&self) -> Option<u64> {
        match self {
            Self::At { sequence, row } if &*sequence.0 == NO_RECORD => Some(*row),
            _ => None,
        }
    }

    /// Whether no row stands here, because the position was made up: [`Position::before`] or [`Position::time`].
    pub fn is_made_up(&self) -> bool {
        match self {
            Self::At { sequence, row } => !sequence.0.is_empty() && *row == 0 || self.as_time().is_some(),
            Self::Start | Self::End => false,
        }
    }

    /// How many rows of a counted log lie at or before this position. `None` where that cannot be said.
    pub fn counted(&self) -> Option<u64> {
        match self {
            Self::Start => Some(0),
            Self::At { sequence, row } if sequence.0.is_empty() => Some(*row),
            Self::At { .. } | Self::End => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::At { sequence, row } if sequence.0.is_empty() => write!(f, "{row}"),
            Self::At { sequence, row } => write!(f, "{}:{row}", sequence.0),
            Self::End => f.write_str("end"),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a position");
        let parsed = match text {
            "start" => Some(Self::Start),
            "end" => Some(Self::End),
            _ => match text.split_once(':') {
                Some((sequence, row)) => Self::sequence(sequence, row.parse().map_err(|_| bad())?),
                None => Some(Self::row(text.parse().map_err(|_| bad())?)),
            },
        };
        parsed.ok_or_else(bad)
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A decimal number of any length, without leading zeros, ordered as a number.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Sequence(Arc<str>);

impl Sequence {
    /// Takes decimal digits; `None` for anything else, the empty text included.
    pub fn new(digits: &str) -> Option<Self> {
        if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        Some(Self(if significant.is_empty() { "0" } else { significant }.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without leading zeros the longer number is the larger one.
        (self.0.len(), &*self.0).cmp(&(other.0.len(), &*other.0))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A stretch of a partition: the rows in `(from, to]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The log that the rows came from.
    pub partition: Partition,
    /// The position before the first row; not in the span.
    pub from: Position,
    /// The position of the last row; in the span.
    pub to: Position,
}

impl Span {
    /// Names a stretch.
    ///
    /// # Panics
    ///
    /// If `from` is not before `to`: an empty span cannot be told from a forgotten one.
    pub fn new(partition: impl Into<Partition>, from: Position, to: Position) -> Self {
        let partition = partition.into();
        assert!(from < to, "the span {partition}:({from}..{to}] is empty or runs backwards");
        Self { partition, from, to }
    }

    /// Whether the row at `position` is in the span.
    pub fn contains(&self, position: &Position) -> bool {
        self.from < *position && *position <= self.to
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:({}..{}]", self.partition, self.from, self.to)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

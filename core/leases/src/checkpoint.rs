//! How far a shard is done, in the words of the Kinesis Client Library and in ours.
//!
//! The library says "everything up to and including user record `sub` of record `sequence`", counted from 0; a position
//! of ours says "everything up to and including row `row` of record `sequence`", counted from 1. Some positions have no
//! such words: before the first row of a record, and points in time. Then the checkpoint stays where it was, which is
//! earlier: a library that goes on from there reads some rows again, and misses none. (Only where it is `LATEST` still,
//! because no record of the shard is done yet, the library begins with what comes then, as it does with its own.)

use std::fmt;

use forebay_api::Position;
use forebay_api::position::Sequence;

/// After every user record of a record. The library compares this number with those of user records, and no record has so
/// many.
const ALL_OF_IT: u64 = i64::MAX as u64;

/// How far a shard is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checkpoint {
    /// Nothing is; begin somewhere.
    Begin(Begin),
    /// Everything up to and including a user record.
    At {
        /// The number of the record.
        sequence: Sequence,
        /// The user record in it, from 0.
        sub: u64,
    },
    /// The shard is closed, and all of it is done.
    ShardEnd,
}

/// Where a shard is begun of which nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Begin {
    /// With the oldest record that there is.
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With what came at a certain time or later. Which time that is, the table does not say: every application has
    /// its own.
    AtTimestamp,
}

/// What the rows of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsAre {
    /// The user records that its producer put, in order, each of them one row.
    UserRecords,
    /// Something else, such as lines: a user record may be several rows.
    PartsOfThem,
}

impl Checkpoint {
    /// Reads the attributes `checkpoint` and `checkpointSubSequenceNumber`.
    pub fn parse(text: &str, sub: Option<u64>) -> Option<Self> {
        Some(match text {
            "TRIM_HORIZON" => Self::Begin(Begin::TrimHorizon),
            "LATEST" => Self::Begin(Begin::Latest),
            "AT_TIMESTAMP" => Self::Begin(Begin::AtTimestamp),
            "SHARD_END" => Self::ShardEnd,
            digits => Self::At { sequence: Sequence::new(digits)?, sub: sub.unwrap_or(0) },
        })
    }

    /// What stands in `checkpointSubSequenceNumber`.
    pub fn sub(&self) -> u64 {
        match self {
            Self::At { sub, .. } => *sub,
            Self::Begin(_) | Self::ShardEnd => 0,
        }
    }

    /// Whether a library that goes on from here would do nothing that is done already, and miss nothing of what comes
    /// after `before` was done and then `committed`.
    pub fn after(&self, before: Option<&Position>, committed: &Position, rows: RowsAre) -> Self {
        let Position::At { sequence, row } = committed else {
            return if *committed == Position::End { Self::ShardEnd } else { self.clone() };
        };
        if sequence.as_str().is_empty() || committed.as_time().is_some() {
            return self.clone();
        }
        let done = match rows {
            RowsAre::UserRecords => row.checked_sub(1).map(|sub| Self::At { sequence: sequence.clone(), sub }),
            // Whether this record is done cannot be told. The one before it is.
            RowsAre::PartsOfThem => match before {
                Some(before @ Position::At { sequence: earlier, .. }) if !before.is_made_up() && earlier < sequence => {
                    Some(Self::At { sequence: earlier.clone(), sub: ALL_OF_IT })
                }
                _ => None,
            },
        };
        done.filter(|it| it > self).unwrap_or_else(|| self.clone())
    }

    /// The position that says the same; `None`: nothing is done.
    pub fn position(&self, rows: RowsAre) -> Option<Position> {
        match self {
            Self::Begin(_) => None,
            Self::ShardEnd => Some(Position::End),
            Self::At { sequence, sub } => {
                let row = match rows {
                    _ if *sub == ALL_OF_IT => u64::MAX,
                    RowsAre::UserRecords => sub + 1,
                    // Which rows the user record is, is not known: the record is read again.
                    RowsAre::PartsOfThem => 0,
                };
                Some(Position::At { sequence: sequence.clone(), row })
            }
        }
    }
}

/// The attribute `checkpoint`.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin(Begin::TrimHorizon) => "TRIM_HORIZON",
            Self::Begin(Begin::Latest) => "LATEST",
            Self::Begin(Begin::AtTimestamp) => "AT_TIMESTAMP",
            Self::At { sequence, .. } => sequence.as_str(),
            Self::ShardEnd => "SHARD_END",
        })
    }
}

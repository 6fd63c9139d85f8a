//! Where committed positions and pending deliveries live.
//!
//! Two things survive a crash, and both are kept per sink, so that a slow or failed sink never makes another one
//! duplicate:
//!
//! - the *committed position* of each partition: the sink has every row up to there;
//! - the *pending deliveries*: which spans, in which order, were joined under which id, written before the
//!   delivery is made visible. After a crash they are rebuilt exactly so, since a source does not cut its rows
//!   twice in the same way.
//!
//! A [`Store`] applies a [`Change`] whole or not at all, durably, and moves a committed position only from the
//! place where the writer believes it to be: a second writer is found out, not merged.
//!
//! [`FileStore`] is for one process: a file of the embedded database `redb`, one fsync a change. What cannot be written
//! since the disk is full or fails waits until it can be.
//! [`ClaimStore`] is for partitions that several processes share: it travels with the claim.
//! [`MemoryStore`] keeps nothing and is for tests.

mod claimed;
mod file;
mod memory;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use forebay_api::{BoxError, DeliveryId, Partition, Position, Span};
use serde::{Deserialize, Serialize};

pub use claimed::ClaimStore;
pub use file::{FileStore, create_directory, new_epoch, write_whole};
pub use memory::MemoryStore;

/// Keeps what must survive a crash.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything, as of the last change.
    async fn load(&self) -> Result<Snapshot, StoreError>;

    /// Makes a change durable, whole or not at all.
    async fn apply(&self, change: Change) -> Result<(), StoreError>;
}

/// One sink's view of one log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogKey {
    /// The sink's name in the file.
    pub sink: String,
    /// The source's name in the file.
    pub source: String,
    /// The source's partition.
    pub partition: Partition,
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} for sink `{}`", self.source, self.partition, self.sink)
    }
}

/// A span and the source that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpan {
    /// The source's name in the file.
    pub source: String,
    /// The stretch.
    pub span: Span,
}

/// A delivery that may have become visible, and must be rebuilt exactly so if it is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The sink's name in the file.
    pub sink: String,
    /// Counts the sink's deliveries, without end; the order in which they take up where the last one ended.
    pub number: u64,
    /// What the sink knows the delivery by.
    pub id: DeliveryId,
    /// What the rows were made by: see [`forebay_api::plan::PlannedSink::fingerprint`].
    pub fingerprint: String,
    /// What was joined, in the order in which it was staged.
    pub spans: Vec<SourceSpan>,
    /// How many rows were staged.
    pub rows: u64,
    /// When it was about to be made visible for the first time; `None` if the version that wrote it did not say.
    #[serde(default)]
    pub intended: Option<SystemTime>,
    /// Whether the delivery is known to be visible, and only waits for earlier ones.
    pub settled: bool,
}

/// Which way the rows of a source took through a node when its positions were last moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// See [`forebay_api::plan::PlannedTransform::fingerprint`].
    pub fingerprint: String,
    /// The sinks behind the node, those included that keep what it refuses.
    pub sinks: BTreeSet<String>,
}

/// A source and a node behind it, or the source itself once more.
pub type WayKey = (String, String);

/// Everything that a store keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Drawn at random when the store was made, and part of every delivery id. With a state that was lost and made
    /// anew, rows come again under other ids: they may be there twice, but a sink never takes new rows for old ones.
    /// For the same reason another one is drawn when deliveries are given up that may be visible.
    pub epoch: String,
    /// Up to where each sink has each log. What is not in it is at [`Position::Start`].
    pub committed: BTreeMap<LogKey, Position>,
    /// The deliveries on their way, by sink and number.
    pub pending: BTreeMap<(String, u64), Pending>,
    /// The ways of the rows through the nodes that refuse some; none where an older version wrote the state.
    pub ways: BTreeMap<WayKey, Way>,
}

/// Moves one committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Whose.
    pub key: LogKey,
    /// Where it is now, as the writer believes.
    pub from: Position,
    /// Where it goes.
    pub to: Position,
}

/// What is written in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A delivery that is about to be made visible.
    pub intend: Option<Pending>,
    /// Pending deliveries (sink, number) that are visible, but wait for earlier ones.
    pub settle: Vec<(String, u64)>,
    /// Pending deliveries (sink, number) that every committed position has passed.
    pub forget: Vec<(String, u64)>,
    /// Committed positions that move.
    pub advance: Vec<Advance>,
    /// Ways that are new or have changed.
    pub ways: Vec<(WayKey, Way)>,
    /// Another epoch.
    pub epoch: Option<String>,
}

impl Change {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the store.
    #[error("the state at `{path}` is in use by another process")]
    Busy {
        /// The store's place.
        path: String,
    },
    /// A position is not where the writer believes it to be: somebody else has moved it.
    #[error("{key} stands at {found}, not at {expected}: another process has moved it")]
    Moved {
        /// The position.
        key: Box<LogKey>,
        /// Where the writer believed it to be.
        expected: Position,
        /// Where it is.
        found: Position,
    },
    /// The store belongs to something else, or to a version that this one cannot read.
    #[error("{0}")]
    Foreign(String),
    /// The state is another process's now, as partitions are that several share.
    #[error("{place} is another process's now")]
    Lost {
        /// The store's place.
        place: String,
    },
    /// The disk, the network, the database.
    #[error("the state at `{path}` could not be {doing}")]
    Failed {
        /// The store's place.
        path: String,
        /// What was tried: `read`, `written`, `opened`.
        doing: &'static str,
        /// Why not.
        #[source]
        source: BoxError,
    },
}

impl Snapshot {
    /// Says which position has moved, if one has that the change builds on.
    pub(crate) fn check(&self, change: &Change) -> Result<(), StoreError> {
        for Advance { key, from, .. } in &change.advance {
            let found = self.committed.get(key).unwrap_or(&Position::Start);
            if found != from {
                let (key, expected, found) = (Box::new(key.clone()), from.clone(), found.clone());
                return Err(StoreError::Moved { key, expected, found });
            }
        }
        Ok(())
    }

    /// Applies a change in memory, or says which position has moved. Every store behaves like this.
    pub fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        self.check(&change)?;
        self.committed.extend(change.advance.into_iter().map(|it| (it.key, it.to)));
        if let Some(pending) = change.intend {
            self.pending.insert((pending.sink.clone(), pending.number), pending);
        }
        for key in change.settle {
            if let Some(pending) = self.pending.get_mut(&key) {
                pending.settled = true;
            }
        }
        for key in change.forget {
            self.pending.remove(&key);
        }
        self.ways.extend(change.ways);
        if let Some(epoch) = change.epoch {
            self.epoch = epoch;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

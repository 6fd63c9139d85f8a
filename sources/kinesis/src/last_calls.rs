//! When shards were asked last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_api::Partition;
use tokio::time::Instant;

/// When each shard was asked for records last, by whatever reads it in this process: what was under way is read again before
/// the rest is read, and both together must not ask more often than one of them.
#[derive(Clone, Debug, Default)]
pub struct LastCalls(Arc<Mutex<BTreeMap<Partition, Instant>>>);

impl LastCalls {
    /// A shard is asked now.
    pub fn note(&self, shard: &Partition, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.clone(), now);
    }

    /// When it was asked last.
    pub fn of(&self, shard: &Partition) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(shard).copied()
    }
}

//! A store that keeps nothing: for tests.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::{Change, Snapshot, Store, StoreError};

/// Keeps its state for as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Snapshot>);

impl MemoryStore {
    /// A copy of what is kept.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        Ok(self.snapshot())
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).apply(change)
    }
}

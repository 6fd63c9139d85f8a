//! Waits until it is durable where a shard was begun, or which consumer is ours.
//!
//! Only the first read of a shard that is begun at its latest record says where that was. What is read again after a crash
//! is a stretch, and one from the start of the shard does not say it. So nothing of the stream is read before no stretch can
//! begin there any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Settler};
use tokio::sync::oneshot;

/// The partitions that wait.
#[derive(Clone, Debug, Default)]
pub struct Durable(Arc<Mutex<BTreeMap<Partition, oneshot::Sender<()>>>>);

/// Ends when a position is durable, or when nobody can say so any more.
#[derive(Debug)]
pub struct Settling(oneshot::Receiver<()>);

impl Durable {
    /// Waits for the first position of a partition.
    pub fn expect(&self, partition: Partition) -> Settling {
        let (to, settled) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, to);
        Settling(settled)
    }
}

impl Settling {
    pub async fn wait(self) {
        // An error: everything is about to end.
        let _ = self.0.await;
    }
}

#[async_trait]
impl Settler for Durable {
    async fn settled(&mut self, partition: &Partition, _to: &Position) -> Result<(), BoxError> {
        if let Some(waiting) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(partition) {
            // An error: the shard is not read any more.
            let _ = waiting.send(());
        }
        Ok(())
    }
}

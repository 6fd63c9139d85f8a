//! Which requests of the spool somebody still needs, and who lets go of the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Settler};
use forebay_spool::Spool;

use crate::ids::Ids;
use crate::seen::Id;

/// A request of which all rows were read.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sequence: u64,
    /// Where its last row stands.
    pub(crate) end: Position,
    /// `None` if it cannot be read.
    pub(crate) id: Option<Id>,
}

/// Where a reading has come to.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Requests that were read and not let go.
    read: VecDeque<Ended>,
    /// Every row up to here is settled.
    settled: Position,
    /// Every request up to this is settled, and its id is kept.
    done: u64,
}

impl Retention {
    /// A reading begins here: all before it is settled.
    pub(crate) fn begin(from: Position) -> Self {
        Self { read: VecDeque::new(), settled: from, done: 0 }
    }

    /// All rows of a request were read.
    pub(crate) fn read(&mut self, ended: Ended) {
        self.read.push_back(ended);
    }

    /// The requests that are settled and were not taken before.
    fn take(&mut self) -> Vec<Ended> {
        std::iter::from_fn(|| self.read.pop_front_if(|it| it.end <= self.settled)).collect()
    }
}

/// The retention, whatever became of who had it last.
pub(crate) fn lock(retention: &Mutex<Retention>) -> MutexGuard<'_, Retention> {
    retention.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets go of requests that every sink has, as long as there is a spool.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) spool: Weak<Spool>,
    pub(crate) ids: Weak<Ids>,
    pub(crate) retention: Arc<Mutex<Retention>>,
}

impl Keeper {
    /// The last request that nobody needs any more. The ids of all up to it are kept, since a request must never be gone
    /// before its id is.
    async fn done(&self) -> u64 {
        let settled = lock(&self.retention).take();
        let last = settled.last().map_or(0, |it| it.sequence);
        let ids: Vec<Id> = settled.into_iter().filter_map(|it| it.id).collect();
        if let Some(kept) = self.ids.upgrade() {
            kept.append(&ids).await;
        }
        let mut retention = lock(&self.retention);
        retention.done = retention.done.max(last);
        retention.done
    }

    /// Lets go of what stands in the segment that is written to as well, so that nothing stays for want of what comes
    /// after it.
    pub(crate) async fn run(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let done = self.done().await;
            let Some(spool) = self.spool.upgrade() else { return };
            spool.release_all(done);
        }
    }
}

#[async_trait]
impl Settler for Keeper {
    async fn settled(&mut self, _partition: &Partition, to: &Position) -> Result<(), BoxError> {
        {
            let mut retention = lock(&self.retention);
            retention.settled = retention.settled.clone().max(to.clone());
        }
        let done = self.done().await;
        if let Some(spool) = self.spool.upgrade() {
            spool.release(done);
        }
        Ok(())
    }
}

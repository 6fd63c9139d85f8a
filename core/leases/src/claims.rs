//! Leases as [`Claims`], for a source whose partitions are shards.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::{BoxError, Claim, ClaimError, Claims, Kept, Partition, Position, Resume, Source};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::checkpoint::{Begin, Checkpoint, RowsAre};
use crate::decide::Worker;
use crate::held::{Held, LeaseContext, Times};
use crate::keeper::Keeper;
use crate::lineage::ListedShard;
use crate::table::LeaseTable;

/// What leases need to know of the streams, and how a shard is read. A `kinesis` source implements it.
///
/// A stream is named here as the Kinesis Client Library names it in a table for several of them,
/// `account:name:creation` (the time in seconds since 1970), or not at all if it is the only one of the table.
#[async_trait]
pub trait Shards: Send + Sync + 'static {
    /// The streams: one without a name, or several with names.
    fn streams(&self) -> Vec<Option<String>>;

    /// All shards of a stream that can be read, closed ones too. Ends within a reasonable time, if need be with an error;
    /// it is called again.
    async fn list(&self, stream: Option<&str>) -> Result<Vec<ListedShard>, BoxError>;

    /// The IDs of the shards with which to begin if nothing of the stream was read yet, and how: those that were open at
    /// the time at which it is to be begun (`ListShards` with a `ShardFilter` of `AT_TRIM_HORIZON`, `AT_LATEST` or
    /// `AT_TIMESTAMP`). What comes after them is read from its first record on.
    async fn first(&self, stream: Option<&str>) -> Result<(BTreeSet<String>, Begin), BoxError>;

    /// What a shard is called among all that the source reads.
    fn partition(&self, stream: Option<&str>, shard: &str) -> Partition;

    /// What the rows of a record are.
    fn rows_are(&self) -> RowsAre;

    /// Opens the source for one shard alone. `resume` names its partition, or nothing: then the shard is begun as
    /// `shard.begin` says.
    async fn open(&self, shard: &LeasedShard, resume: Resume) -> Result<Box<dyn Source>, BoxError>;
}

/// So many leases are taken at most before the first of them is fetched.
const UNFETCHED_MAX: usize = 64;

/// A shard whose lease is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedShard {
    /// As in [`Shards::streams`].
    pub stream: Option<String>,
    /// Its ID.
    pub id: String,
    /// As [`Shards::partition`] has it.
    pub partition: Partition,
    /// The hash keys that it takes; older versions of the Kinesis Client Library did not write them.
    pub hash_keys: Option<RangeInclusive<u128>>,
    /// How to begin, if nothing of it was done yet. [`Begin::AtTimestamp`]: at the time that the source's own
    /// configuration says.
    pub begin: Begin,
}

/// Leases on shards, taken and given up by a task in the background.
pub struct LeaseClaims {
    shards: Arc<dyn Shards>,
    taken: mpsc::Receiver<Result<Arc<Held>, BoxError>>,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl LeaseClaims {
    /// Starts to take leases, within a Tokio runtime.
    pub(crate) fn start(
        table: LeaseTable,
        shards: Arc<dyn Shards>,
        worker: Worker,
        times: Times,
        list_every: Duration,
    ) -> Self {
        let (to, taken) = mpsc::channel(UNFETCHED_MAX);
        let (stop, stopped) = watch::channel(false);
        let me = worker.id.as_str().into();
        let context = LeaseContext { table, me, rows: shards.rows_are(), times, wakeup: Arc::default() };
        let keeper = Keeper::new(context, shards.clone(), worker, list_every, to);
        Self { shards, taken, stop, keeper: tokio::spawn(keeper.run(stopped)) }
    }
}

#[async_trait]
impl Claims for LeaseClaims {
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError> {
        loop {
            let held = self.taken.recv().await.ok_or("the task that takes leases has ended")??;
            // It may have waited here for too long.
            if held.is_over() {
                held.let_go();
                continue;
            }
            let lease = held.lease().await;
            let begin = match lease.checkpoint {
                Checkpoint::Begin(begin) => begin,
                Checkpoint::At { .. } | Checkpoint::ShardEnd => Begin::TrimHorizon,
            };
            let shard = LeasedShard {
                stream: lease.stream,
                id: lease.shard,
                partition: held.partition.clone(),
                hash_keys: lease.hash_keys,
                begin,
            };
            return Ok(Some(Box::new(LeaseClaim { held, shard, shards: self.shards.clone() })));
        }
    }

    fn enough(&mut self) {
        // The keeper takes only what can be fetched.
        self.taken.close();
        while let Ok(taken) = self.taken.try_recv() {
            if let Ok(held) = taken {
                held.let_go();
            }
        }
    }

    async fn leave(&mut self) -> Result<(), BoxError> {
        // An error: it has ended already.
        let _ = self.stop.send(true);
        (&mut self.keeper).await.map_err(|error| format!("the task that takes leases: {error}").into())
    }
}

/// Without [`Claims::leave`] the leases stay, and run out.
impl Drop for LeaseClaims {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A lease in the hands of the engine.
struct LeaseClaim {
    held: Arc<Held>,
    shard: LeasedShard,
    shards: Arc<dyn Shards>,
}

#[async_trait]
impl Claim for LeaseClaim {
    fn partition(&self) -> &Partition {
        &self.held.partition
    }

    fn kept(&self) -> &Kept {
        &self.held.kept
    }

    async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError> {
        self.held.keep(state, committed).await
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        self.shards.open(&self.shard, resume).await
    }

    async fn wanted(&self) {
        self.held.wanted().await;
    }

    async fn lost(&self) {
        self.held.lost().await;
    }

    async fn release(&self) -> Result<(), BoxError> {
        self.held.release().await;
        Ok(())
    }
}

/// What was forgotten is given up all the same.
impl Drop for LeaseClaim {
    fn drop(&mut self) {
        self.held.let_go();
    }
}

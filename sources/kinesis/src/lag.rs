//! How far the reading of a stream is behind what is put into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_api::{Partition, Stats};
use tokio::time::Instant;

/// Of a shard in which there was nothing more, so long it is not taken for behind though it has not answered again. As long
/// as all is well, answers come more often than that, pushed ones too.
const QUIET: Duration = Duration::from_secs(40);

/// How far the shards are behind that are read.
#[derive(Clone, Debug, Default)]
pub struct Lag(Arc<Mutex<BTreeMap<Partition, Said>>>);

/// What the service has said of a shard.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// How old the next record was that was there; nothing: there was none.
    behind: Duration,
    at: Instant,
}

/// One shard, for as long as it is read.
#[derive(Debug)]
pub struct LagOf {
    lag: Lag,
    shard: Partition,
}

impl Lag {
    /// A shard is read from now on, and counts as read up to its end until the service says something else.
    pub fn begin(&self, shard: &Partition) -> LagOf {
        let lag = LagOf { lag: self.clone(), shard: shard.clone() };
        lag.note(Some(0));
        lag
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LagOf {
    /// Takes notice of an answer: in milliseconds, how old the next record is that is there.
    pub fn note(&self, behind_millis: Option<u64>) {
        if let Some(millis) = behind_millis {
            let said = Said { behind: Duration::from_millis(millis), at: Instant::now() };
            self.lag.lock().insert(self.shard.clone(), said);
        }
    }
}

impl Drop for LagOf {
    fn drop(&mut self) {
        self.lag.lock().remove(&self.shard);
    }
}

impl Stats for Lag {
    /// That of the shard that is furthest behind. A record that is not read gets older whether the service answers or not.
    fn behind(&self) -> Option<Duration> {
        let of_shard = |said: &Said| match (said.behind, said.at.elapsed()) {
            (Duration::ZERO, silent) if silent < QUIET => Duration::ZERO,
            (behind, silent) => behind + silent,
        };
        self.lock().values().map(of_shard).max()
    }
}

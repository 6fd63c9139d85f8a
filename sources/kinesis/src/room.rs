//! How much may be in memory before it is asked for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is given in units of this.
const UNIT: u64 = 1 << 10;

/// A number of bytes that all shards share.
#[derive(Clone, Debug)]
pub struct Room {
    units: Arc<Semaphore>,
    all: u32,
}

/// A part of it, which goes back when this is let go.
#[derive(Debug)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Room {
    pub fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { units: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits for so much, or for all of it if that is less. First come, first served.
    pub async fn take(&self, bytes: u64) -> Taken {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.all);
        // An error: it is never closed.
        Taken(self.units.clone().acquire_many_owned(units).await.ok())
    }
}

impl Taken {
    /// A part of it. What is not there is not counted: it was less than expected, and nobody waits with hands full.
    pub fn split(&mut self, bytes: usize) -> Self {
        let units = (bytes as u64).div_ceil(UNIT) as usize;
        Self(self.0.as_mut().and_then(|it| it.split(units.min(it.num_permits()))))
    }
}

//! How much of requests is in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted: a piece of memory is rounded up to it.
const UNIT: usize = 1 << 10;

/// The memory that requests may take, all together.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

/// There is no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl Memory {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Nothing of it yet.
    pub fn hold(&self) -> Held {
        Held { memory: self.clone(), permit: None }
    }
}

/// What a request takes of a [`Memory`], until it is let go.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// How many bytes there is room for.
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, |it| it.num_permits() * UNIT)
    }

    /// Makes it so many bytes at least. To be called before they are there.
    ///
    /// # Errors
    ///
    /// If there is not so much left. Nobody waits for memory while holding some: others would wait for that.
    pub fn at_least(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let more = bytes.saturating_sub(self.bytes()).div_ceil(UNIT);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| NoMemory)?;
        let permit = self.memory.0.clone().try_acquire_many_owned(more).map_err(|_| NoMemory)?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }

    /// Gives back what is more than so many bytes.
    pub fn at_most(&mut self, bytes: usize) {
        let Some(permit) = &mut self.permit else { return };
        drop(permit.split(permit.num_permits().saturating_sub(bytes.div_ceil(UNIT))));
    }
}

//! How much of requests is in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::Problem;

/// So much at a time, of all requests together. A request of 5 MB, which is usual, takes 15 MB while it is read.
const BYTES_MAX: usize = 512 << 20;

/// What is counted.
const UNIT: usize = 4 << 10;

/// The memory that requests may take.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES_MAX / UNIT)))
    }
}

/// What a request takes of it, until it is let go.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
    /// How many bytes there is room for.
    bytes: usize,
}

impl Memory {
    /// Nothing yet.
    pub(crate) fn hold(&self) -> Held {
        Held { memory: self.clone(), permit: None, bytes: 0 }
    }
}

impl Held {
    /// Makes it so many bytes at least. Nobody waits for memory while holding some: others would wait for that.
    pub(crate) fn at_least(&mut self, bytes: usize) -> Result<(), Problem> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|it| *it > 0) else { return Ok(()) };
        let units = more.div_ceil(UNIT);
        let permit = self.memory.0.clone().try_acquire_many_owned(units as u32);
        let permit = permit.map_err(|_| Problem::unavailable("there is too much at once"))?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.bytes += units * UNIT;
        Ok(())
    }
}

//! What all parts of a run may hold in memory for one sink.
//!
//! A part alone has its bounds: its queue, the delivery being filled, those on their way. Where partitions are shared
//! there is a part for each that this process holds, and all of them together get what one alone may hold. Whoever waits
//! for some of it presses the others to send what they have, so that nobody waits for a delivery to get full or old.

use std::sync::Arc;

use forebay_api::Batch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Bytes are counted in pieces of this size, since a semaphore's counter is small.
pub(crate) const UNIT: u64 = 1 << 10;

/// A semaphore counts no further on small machines.
const UNITS_MAX: u32 = 1 << 28;

/// The bytes that one sink may hold.
#[derive(Clone)]
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    units: u32,
    load: watch::Sender<Load>,
}

/// How a budget is used.
#[derive(Default)]
struct Load {
    /// How many wait for some of it.
    waiting: usize,
    /// Units of deliveries that are on their way, and so will be free before long.
    leaving: u32,
}

/// A part of a budget. It is free again when this is let go.
#[derive(Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

/// What is on its way holds a part of a budget.
pub(crate) struct Leaving {
    held: Held,
    units: u32,
    budget: Budget,
}

/// Somebody waits.
struct Waiting<'a>(&'a watch::Sender<Load>);

impl Budget {
    /// A budget of so many bytes, at least one piece.
    pub fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, UNITS_MAX);
        Self { room: Arc::new(Semaphore::new(units as usize)), units, load: watch::channel(Load::default()).0 }
    }

    /// Waits until so many bytes are free, in the order of those who ask. What is larger than all of it is let in alone.
    pub async fn take(&self, bytes: u64) -> Held {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        if let Ok(held) = self.room.clone().try_acquire_many_owned(units) {
            return Held(Some(held));
        }
        let _waiting = Waiting::new(&self.load);
        Held(self.room.clone().acquire_many_owned(units).await.ok())
    }

    /// Notes that what is held is on its way.
    pub fn leave(&self, held: Held) -> Leaving {
        let units = held.0.as_ref().map_or(0, |it| it.num_permits() as u32);
        self.load.send_modify(|it| it.leaving += units);
        Leaving { held, units, budget: self.clone() }
    }

    /// Whether somebody waits, and too little is on its way to help.
    pub fn presses(&self) -> bool {
        self.is_pressing(&self.load.borrow())
    }

    /// Returns when it presses.
    pub async fn pressed(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.load.subscribe().wait_for(|it| self.is_pressing(it)).await;
    }

    fn is_pressing(&self, load: &Load) -> bool {
        // Where some is free, those who wait have got theirs and only do not know it yet.
        load.waiting > 0 && self.room.available_permits() == 0 && load.leaving < self.units.div_ceil(2)
    }
}

impl Held {
    /// Both together.
    pub fn join(&mut self, more: Held) {
        match (&mut self.0, more.0) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = held.take().or(more),
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // First what is free, then the news that it is.
        drop(std::mem::take(&mut self.held));
        self.budget.load.send_modify(|it| it.leaving -= self.units);
    }
}

impl<'a> Waiting<'a> {
    fn new(load: &'a watch::Sender<Load>) -> Self {
        load.send_modify(|it| it.waiting += 1);
        Self(load)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|it| it.waiting -= 1);
    }
}

/// What one part alone may hold for a sink: its queue, the delivery being filled, and those on their way.
pub(crate) fn of_one_part(queued_bytes_max: u64, batch: &Batch, in_flight_max: usize) -> u64 {
    queued_bytes_max.saturating_add(batch.bytes_max.bytes().saturating_mul(1 + in_flight_max as u64))
}

//! How long rows have been waiting for a sink: whether it gets on, seen from outside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The deliveries of one sink that have rows and are not visible yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    /// Since when each of them has had rows.
    since: BTreeMap<u64, Instant>,
    next: u64,
}

/// A delivery has rows. It waits no more when this is let go, whatever became of it.
#[derive(Debug)]
pub(crate) struct Waits {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Waiting {
    /// Notes that a delivery has rows from now on.
    pub fn begin(self: &Arc<Self>) -> Waits {
        let mut begun = self.lock();
        let number = begun.next;
        begun.next += 1;
        begun.since.insert(number, Instant::now());
        Waits { waiting: self.clone(), number }
    }

    /// For how long the oldest one has waited.
    pub fn longest(&self) -> Option<Duration> {
        // Numbers are given in the order of time.
        self.lock().since.first_key_value().map(|it| it.1.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.waiting.lock().since.remove(&self.number);
    }
}

//! How often deliveries of one sink go out.
//!
//! What a sink makes of a delivery costs the far side something, however few rows are in it: a file, a part of a table.
//! `interval_min` is for the sink, and not for each part that fills deliveries of its own. So those whose age lets them go
//! take turns, in the order in which they got so old, and grow until it is theirs. Those that are full do not wait, and
//! those that wait do so for no more than `interval_min` each, however many full ones go by.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The turns of one sink.
#[derive(Clone)]
pub(crate) struct Pace {
    interval_min: Duration,
    /// Held by whoever is next. Fair: the others follow in the order in which they came.
    next: Arc<tokio::sync::Mutex<()>>,
    /// When the last delivery went out.
    last: Arc<Mutex<Option<Instant>>>,
}

/// Ends when it is the turn of whoever asked. To let it go before is to leave the queue.
pub(crate) type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pace {
    pub fn new(interval_min: Duration) -> Self {
        Self { interval_min, next: Arc::default(), last: Arc::default() }
    }

    /// Queues for a turn.
    pub fn turn(&self) -> Turn {
        let Self { interval_min, next, last } = self.clone();
        Box::pin(async move {
            if interval_min.is_zero() {
                return;
            }
            let _next = next.lock().await;
            let due = last.lock().unwrap_or_else(PoisonError::into_inner).map(|it| it + interval_min);
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            // Before anybody else is next.
            note(&last);
        })
    }

    /// Notes that a delivery goes out, whether it waited for its turn or not.
    pub fn goes_out(&self) {
        note(&self.last);
    }
}

fn note(last: &Mutex<Option<Instant>>) {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

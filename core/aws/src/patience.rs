//! Waits between tries, and says so once in a while.

use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Trouble, backoff};

/// What passes by itself is not worth a line until it has failed so often in a row.
const QUIET_TRIES: u32 = 3;

/// Waits longer after each failure in a row, and says what has failed: what needs somebody's help at once, what passes by
/// itself when it has not passed for a while.
#[derive(Debug)]
pub struct Patience {
    attempt: u32,
    seed: u64,
    /// How many random numbers were drawn.
    drawn: u64,
}

impl Patience {
    /// For something of this name: others do not come back at the same time.
    pub fn new(of: &str) -> Self {
        Self { attempt: 0, seed: xxh3_64(of.as_bytes()) ^ u64::from(std::process::id()), drawn: 0 }
    }

    /// Says what has failed, and waits.
    pub async fn wait(&mut self, trouble: &Trouble) {
        tokio::time::sleep(self.failed_with(trouble)).await;
    }

    /// Says what has failed, and waits, but not beyond `end`.
    pub async fn wait_until(&mut self, trouble: &Trouble, end: Instant) {
        let again = Instant::now() + self.failed_with(trouble);
        tokio::time::sleep_until(again.min(end)).await;
    }

    /// Says what has failed. How long to wait.
    pub fn failed_with(&mut self, trouble: &Trouble) -> Duration {
        let wait = backoff(self.attempt, self.seed).max(Duration::from_millis(1));
        self.attempt = self.attempt.saturating_add(1);
        match trouble {
            Trouble::Retry(error) if self.attempt > QUIET_TRIES => tracing::warn!(?wait, "{error}: it is tried again"),
            Trouble::Retry(error) => tracing::debug!(?wait, "{error}: it is tried again"),
            error => tracing::warn!(?wait, "{error}: this needs somebody's help; it is tried again until then"),
        }
        wait
    }

    /// Something from 0 to 1 that others do not draw at the same time.
    pub fn fraction(&mut self) -> f64 {
        self.drawn = self.drawn.wrapping_add(1);
        xxh3_64(&(self.seed ^ self.drawn).to_le_bytes()) as f64 / u64::MAX as f64
    }

    /// It goes on: the next wait is a short one.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

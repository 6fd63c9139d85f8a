//! Shards that are asked one after the other instead of all at once. Pure.
//!
//! All shards are begun at the same moment, and whatever stops the process for a moment lets all of them go on at the same
//! one. Each would be asked again an interval later, so that they stayed together for ever: answers would come in bursts,
//! the last of which waits for the sinks to have taken the first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Those who ask, and when the last of them did or will.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    askers: u32,
    last: Option<Instant>,
}

/// One who asks again and again, for as long as this is kept.
#[derive(Debug)]
pub struct Asker(Turns);

impl Turns {
    /// One more of them.
    pub fn join(&self) -> Asker {
        self.lock().askers += 1;
        Asker(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker {
    /// When to ask, for one who might do so now, and again after each `interval`.
    ///
    /// Those who come together are set apart by a little less than what spreads them evenly. So whoever is apart from the
    /// others waits for nobody, and there is always some time in which one who came too late finds a place.
    pub fn turn(&self, now: Instant, interval: Duration) -> Instant {
        let mut state = self.0.lock();
        let apart = interval / state.askers * 3 / 4;
        let turn = state.last.map_or(now, |it| now.max(it + apart));
        state.last = Some(turn);
        turn
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.lock().askers -= 1;
    }
}

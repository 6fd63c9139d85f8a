//! Which frames of the spool somebody still needs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_api::Position;

use crate::reading::place;

/// Where a reading has come to, for who lets go of frames.
#[derive(Default)]
pub struct Retention {
    /// The frames that were read and are not settled.
    open: VecDeque<Open>,
    /// The frames that have ids in reach of what comes next, and when they came.
    in_reach: VecDeque<(u64, u64)>,
    /// Every frame up to this is settled.
    settled: u64,
    /// Every frame up to this was read.
    read: u64,
    /// Whether the reading goes on: until then, somebody may read again what is settled by then.
    is_begun: bool,
}

struct Open {
    sequence: u64,
    /// The row behind which nothing of it is left, when that is known.
    end: Option<u64>,
    /// The first frame that decides which of its events are copies.
    reaches_to: u64,
}

impl Retention {
    /// A reading begins in a frame: all before it is settled.
    pub fn begin(&mut self, sequence: u64) {
        self.settled = sequence.saturating_sub(1);
        self.read = self.settled;
    }

    /// From here on nobody reads again what stands before.
    pub fn go_on(&mut self) {
        self.is_begun = true;
    }

    /// A frame is read. `tick_millis`: when it came, if later frames have it in reach.
    pub fn read(&mut self, sequence: u64, reaches_to: u64, tick_millis: Option<u64>) {
        self.open.push_back(Open { sequence, end: None, reaches_to });
        self.read = sequence;
        let Some(tick_millis) = tick_millis else { return };
        self.in_reach.push_back((sequence, tick_millis));
        while self.in_reach.front().is_some_and(|it| it.0 < reaches_to) {
            self.in_reach.pop_front();
        }
    }

    /// The frame that was read last was read to its end, which is this row.
    pub fn ended(&mut self, row: u64) {
        if let Some(open) = self.open.back_mut() {
            open.end = Some(row);
        }
    }

    /// Everything up to a position is settled.
    pub fn settle(&mut self, to: &Position) {
        let Some((sequence, row)) = place(to) else { return };
        let is_settled = |it: &Open| it.end.is_some_and(|end| (it.sequence, end) <= (sequence, row));
        while let Some(open) = self.open.front().filter(|it| is_settled(it)) {
            self.settled = open.sequence;
            self.open.pop_front();
        }
    }

    /// The last frame that nobody needs any more, if frames that came before `since_millis` are out of reach of those that
    /// come behind `last`. Those up to there may be as old as they are, and reach as far back from then.
    pub fn done(&mut self, since_millis: u64, last: u64) -> u64 {
        while self.read >= last && self.in_reach.front().is_some_and(|it| it.1 < since_millis) {
            self.in_reach.pop_front();
        }
        let next = match self.open.front() {
            _ if !self.is_begun => 0,
            Some(open) => open.reaches_to.min(open.sequence),
            None => self.in_reach.front().map_or(u64::MAX, |it| it.0).min(self.settled + 1),
        };
        next.saturating_sub(1)
    }
}

/// The retention, whatever became of who had it last.
pub fn lock(retention: &Mutex<Retention>) -> MutexGuard<'_, Retention> {
    retention.lock().unwrap_or_else(PoisonError::into_inner)
}

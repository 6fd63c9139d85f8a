//! What was seen of the table, and since when it has not changed. Pure.
//!
//! A lease has run out when its counter has stood still for long enough before these eyes, by this process's monotonic clock.
//! No time is ever written or read, so clocks may differ as they like. Between two looks no more time counts than lies between
//! them as a rule: so a clock that jumps ahead takes nobody's lease, and after an absence a lease is looked on for a while
//! before it is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lease::Lease;

/// The table as it was read last.
#[derive(Debug)]
pub struct Seen {
    /// Each with the time that had been spent looking when its counter moved.
    leases: BTreeMap<String, (Lease, Duration)>,
    /// The time spent looking, up to the last look.
    spent: Duration,
    /// When that was, by the clock.
    looked: Duration,
    /// So much counts at most from one look to the next.
    gap_max: Duration,
}

impl Seen {
    /// Begins to look at `now`. From one look to the next at most `gap_max` counts.
    pub fn new(gap_max: Duration, now: Duration) -> Self {
        Self { leases: BTreeMap::new(), spent: Duration::ZERO, looked: now, gap_max }
    }

    fn spent_by(&self, now: Duration) -> Duration {
        self.spent + now.saturating_sub(self.looked).min(self.gap_max)
    }

    /// Takes note of the whole table, which was read by `now`.
    pub fn note(&mut self, leases: Vec<Lease>, now: Duration) {
        (self.spent, self.looked) = (self.spent_by(now), now);
        let mut before = std::mem::take(&mut self.leases);
        for lease in leases {
            let since = match before.remove(&lease.key) {
                Some((it, since)) if it.counter == lease.counter => since,
                _ => self.spent,
            };
            self.leases.insert(lease.key.clone(), (lease, since));
        }
    }

    /// Takes note of one row that was read or written.
    pub fn note_one(&mut self, lease: Lease, now: Duration) {
        let since = match self.leases.get(&lease.key) {
            Some((it, since)) if it.counter == lease.counter => *since,
            _ => self.spent_by(now),
        };
        self.leases.insert(lease.key.clone(), (lease, since));
    }

    /// A row is gone.
    pub fn forget(&mut self, key: &str) {
        self.leases.remove(key);
    }

    /// All leases, in the order of their keys.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values().map(|it| &it.0)
    }

    /// One lease.
    pub fn get(&self, key: &str) -> Option<&Lease> {
        self.leases.get(key).map(|it| &it.0)
    }

    /// For how long its counter had stood still at the last look.
    pub fn still_for(&self, key: &str) -> Duration {
        self.leases.get(key).map_or(Duration::ZERO, |it| self.spent.saturating_sub(it.1))
    }

    /// Whether anybody may take it: it is nobody's, or its holder has not been heard of for as long as a lease lasts.
    pub fn is_free(&self, lease: &Lease, duration: Duration) -> bool {
        lease.owner.is_none() || self.still_for(&lease.key) >= duration
    }

    /// Whether its shard may be read: every shard that it was made of is done with, or forgotten.
    pub fn is_due(&self, lease: &Lease) -> bool {
        let is_open = |parent: &String| self.get(&lease.key_of(parent)).is_some_and(|it| !it.is_finished());
        !lease.is_finished() && !lease.parents.iter().any(is_open)
    }
}

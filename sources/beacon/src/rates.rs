//! How often somebody may send: a bucket for each that fills up by the second.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many are remembered. When there are more, those that have not sent for longest are forgotten: their buckets are
/// most likely full.
const REMEMBERED_MAX: usize = 1 << 16;

/// How many requests are left to each.
pub struct Rates<K> {
    per_second: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// So many a second, and as many at once.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Whether one more request may be taken.
    pub fn take(&self, who: K, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED_MAX && !buckets.contains_key(&who) {
            self.forget(&mut buckets, now);
        }
        let bucket = buckets.entry(who).or_insert(Bucket { left: self.per_second, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * self.per_second).min(self.per_second);
        bucket.at = now;
        let is_left = bucket.left >= 1.0;
        if is_left {
            bucket.left -= 1.0;
        }
        is_left
    }

    /// Those whose buckets are full again lose nothing by it. If that does not make room, all are forgotten.
    fn forget(&self, buckets: &mut HashMap<K, Bucket>, now: Instant) {
        buckets.retain(|_, it| {
            now.saturating_duration_since(it.at).as_secs_f64() * self.per_second + it.left < self.per_second
        });
        if buckets.len() >= REMEMBERED_MAX {
            buckets.clear();
        }
    }
}

//! How much a shard takes and gives in a second.

use std::collections::VecDeque;
use std::time::Duration;

/// What a [`KinesisServer`](super::KinesisServer) allows, and for how long things last.
///
/// The default is what the service does: "Quotas and limits" of the Amazon Kinesis Data Streams developer guide, and
/// the API reference. A rate of `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisLimits {
    /// `GetRecords` calls of one shard that are answered in any second; default 5.
    pub reads_per_second: Option<usize>,
    /// Bytes that `GetRecords` gives of one shard in a second, and `SubscribeToShard` to one consumer; default 2 MiB.
    /// One call may give more, up to 10 MiB: then the calls of the next seconds are refused.
    pub read_bytes_per_second: Option<usize>,
    /// `GetShardIterator` calls of one shard that are answered in any second; default 5.
    pub iterators_per_second: Option<usize>,
    /// Records that one shard takes in a second; default 1000.
    pub writes_per_second: Option<usize>,
    /// Bytes, partition keys included, that one shard takes in a second; default 1 MiB.
    pub write_bytes_per_second: Option<usize>,
    /// The largest record, partition key not included; default 1 MiB.
    pub record_bytes_max: usize,
    /// The most shards that `ListShards` gives at once; default 1000.
    pub shards_per_page: usize,
    /// How long an iterator can be used; default 5 minutes.
    pub iterator_lifetime: Duration,
    /// After what time `SubscribeToShard` ends; default 5 minutes.
    pub subscription_lifetime: Duration,
    /// How soon one consumer may subscribe to the same shard again; default 5 seconds.
    pub subscription_pause: Duration,
    /// How often a subscription says that there is nothing new; default 5 seconds.
    pub subscription_idle: Duration,
    /// How long records, and shards that are closed, are kept; default 24 hours.
    pub retention: Duration,
    /// How long a new stream, a resharded one, a new consumer is not yet `ACTIVE`; default 0.
    pub transition: Duration,
}

impl Default for KinesisLimits {
    fn default() -> Self {
        Self {
            reads_per_second: Some(5),
            read_bytes_per_second: Some(2 << 20),
            iterators_per_second: Some(5),
            writes_per_second: Some(1000),
            write_bytes_per_second: Some(1 << 20),
            record_bytes_max: 1 << 20,
            shards_per_page: 1000,
            iterator_lifetime: Duration::from_secs(300),
            subscription_lifetime: Duration::from_secs(300),
            subscription_pause: Duration::from_secs(5),
            subscription_idle: Duration::from_secs(5),
            retention: Duration::from_secs(24 * 3600),
            transition: Duration::ZERO,
        }
    }
}

impl KinesisLimits {
    /// The same without rates: for tests that are about something else.
    pub fn without_rates() -> Self {
        Self {
            reads_per_second: None,
            read_bytes_per_second: None,
            iterators_per_second: None,
            writes_per_second: None,
            write_bytes_per_second: None,
            subscription_pause: Duration::ZERO,
            ..Self::default()
        }
    }
}

/// Calls of the last second.
#[derive(Debug, Default)]
pub struct Calls(VecDeque<u64>);

impl Calls {
    /// Whether another call at this time, in milliseconds, is allowed; then it counts.
    pub fn take(&mut self, now: u64, per_second: Option<usize>) -> bool {
        while self.0.front().is_some_and(|it| it + 1000 <= now) {
            self.0.pop_front();
        }
        let allowed = per_second.is_none_or(|max| self.0.len() < max);
        if allowed && per_second.is_some() {
            self.0.push_back(now);
        }
        allowed
    }
}

/// An allowance that fills up in a second, and can be overdrawn.
#[derive(Debug, Default)]
pub struct Allowance {
    /// What was used of it, less what has come back since.
    used: f64,
    at: u64,
}

impl Allowance {
    fn settle(&mut self, now: u64, per_second: usize) {
        let back = (now - self.at.min(now)) as f64 / 1000.0 * per_second as f64;
        self.used = (self.used - back).max(0.0);
        self.at = now;
    }

    /// Whether anything is left of it.
    pub fn is_left(&mut self, now: u64, per_second: Option<usize>) -> bool {
        let Some(per_second) = per_second else { return true };
        self.settle(now, per_second);
        self.used < per_second as f64
    }

    /// Whether so much is left of it, or all of it.
    pub fn holds(&mut self, now: u64, per_second: Option<usize>, amount: usize) -> bool {
        let Some(per_second) = per_second else { return true };
        self.settle(now, per_second);
        self.used == 0.0 || self.used + amount as f64 <= per_second as f64
    }

    /// Uses so much, whether it is there or not.
    pub fn take(&mut self, amount: usize) {
        self.used += amount as f64;
    }
}

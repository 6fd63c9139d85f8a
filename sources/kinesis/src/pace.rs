//! When a shard is asked again, and for how much. Pure.
//!
//! A shard answers five `GetRecords` a second and gives 2 MiB a second, to all who poll it together ("Quotas and limits",
//! Amazon Kinesis Data Streams developer guide). Who takes more at once is refused for as long as it would have taken.

use std::time::Duration;

/// The service counts five calls a second; a little more between them, since they do not arrive as evenly as they leave.
pub const INTERVAL: Duration = Duration::from_millis(205);

/// So much of a shard's data comes in a second.
const BYTES_PER_SECOND: u64 = 2 << 20;

/// After being refused, the interval grows by half each time, up to this. Several readers find their shares so.
const INTERVAL_MAX: Duration = Duration::from_secs(2);

/// What an answer is meant to hold at most: what a shard gives in a second.
const ANSWER_BYTES: u64 = BYTES_PER_SECOND;

/// What an answer holds at most, whatever was meant.
const ANSWER_BYTES_MAX: u64 = 10 << 20;

/// So much comes into a shard in a second.
const ARRIVING_PER_SECOND: u64 = 1 << 20;

/// So many records are asked for when nothing is known of them.
const FIRST_RECORDS: u32 = 100;

/// The most records that one call may ask for.
pub const RECORDS_MAX: u32 = 10_000;

/// How fast one shard is polled.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    records_max: u32,
    /// Between two calls, as long as there is no trouble.
    interval_min: Duration,
    interval: Duration,
    /// Of recent records, on average; 0: none were seen.
    record_bytes: u64,
}

impl Pace {
    /// Asks for at most so many records at a time, and not more often than so.
    pub fn new(records_max: u32, interval: Duration) -> Self {
        Self { records_max: records_max.min(RECORDS_MAX), interval_min: interval, interval, record_bytes: 0 }
    }

    /// How many records to ask for, so that the answer holds about what the shard gives in a second: less than the 10 MiB
    /// that the service would give at once, for which memory would have to be kept.
    pub fn records(&self) -> u32 {
        match self.record_bytes {
            0 => self.records_max.min(FIRST_RECORDS),
            bytes => u32::try_from(ANSWER_BYTES / bytes).unwrap_or(u32::MAX).clamp(1, self.records_max),
        }
    }

    /// About how many bytes the next answer will hold. `idle`: for how long it may have gathered what it has, if everything
    /// before that was read.
    pub fn answer_bytes(&self, idle: Option<Duration>) -> u64 {
        let most = match self.record_bytes {
            0 => ANSWER_BYTES_MAX,
            bytes => bytes * u64::from(self.records()),
        };
        let arrived = idle.map_or(u64::MAX, |it| it.as_millis() as u64 * ARRIVING_PER_SECOND / 1000);
        arrived.min(most)
    }

    /// How long after a call the next one may follow, whatever became of it.
    pub fn interval_min(&self) -> Duration {
        self.interval_min
    }

    /// Takes notice of an answer. How long after the call it was given the next one may follow.
    pub fn answered(&mut self, records: usize, bytes: u64) -> Duration {
        if records > 0 {
            let of_these = (bytes / records as u64).max(1);
            self.record_bytes = match self.record_bytes {
                0 => of_these,
                before => (3 * before + of_these) / 4,
            };
        }
        let as_given = Duration::from_micros(bytes * 1_000_000 / BYTES_PER_SECOND);
        let wait = as_given.max(self.interval);
        self.interval = (self.interval - self.interval / 8).max(self.interval_min);
        wait
    }

    /// Takes notice of being refused for asking too much. How long after the call the next one may follow, if `fraction`,
    /// from 0 to 1, is random.
    pub fn throttled(&mut self, fraction: f64) -> Duration {
        self.interval = (self.interval + self.interval / 2).min(INTERVAL_MAX);
        self.interval.mul_f64(1.0 + fraction)
    }
}

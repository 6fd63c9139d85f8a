//! Rows on their way into a stream.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::{STREAM, poison};
use crate::oracle::{Oracle, Random};
use crate::services::{KinesisServer, aggregate};

/// Rows of an aggregated record at most, and partition keys.
const ROWS_MAX: u64 = 60;
const KEYS: u64 = 400;

/// How often it puts something.
const TICK: Duration = Duration::from_millis(5);

/// Puts rows into [`STREAM`] at a steady rate, on a thread of its own: plain records, and aggregated ones of many rows,
/// under many partition keys; some rows are wrong, as [`Poison::of`](super::Poison::of) says.
pub struct Producer {
    oracle: Arc<Mutex<Oracle>>,
    put: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    /// Begins to put `rows` rows, so many of them a second.
    pub fn start(kinesis: &Arc<KinesisServer>, oracle: Oracle, rows: u64, per_second: f64) -> Self {
        let mut random = Random::new(oracle.seed());
        let oracle = Arc::new(Mutex::new(oracle));
        let (count, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (kinesis, to, counted, ended) = (kinesis.clone(), oracle.clone(), count.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            while counted.load(Ordering::Relaxed) < rows && !ended.load(Ordering::Relaxed) {
                let due = rows.min((begun.elapsed().as_secs_f64() * per_second) as u64);
                let mut left = due.saturating_sub(counted.load(Ordering::Relaxed));
                while left > 0 {
                    let count = left.min(1 + random.number() % ROWS_MAX);
                    let key = format!("key {}", random.number() % KEYS);
                    let mut oracle = to.lock().unwrap_or_else(PoisonError::into_inner);
                    let ids = put(&kinesis, &mut oracle, &key, count).ids;
                    oracle.acknowledge(ids);
                    counted.fetch_add(count, Ordering::Relaxed);
                    left -= count;
                }
                sleep(TICK);
            }
        });
        Self { oracle, put: count, end, thread: Some(thread) }
    }

    /// How many rows were put so far.
    pub fn put(&self) -> u64 {
        self.put.load(Ordering::Relaxed)
    }

    /// Waits until all rows were put. Who knows them.
    pub fn finish(mut self) -> Oracle {
        self.thread.take().into_iter().for_each(|it| it.join().expect("the producer does not panic"));
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts no more. Who knows the rows that were put.
    pub fn end(self) -> Oracle {
        self.end.store(true, Ordering::Relaxed);
        self.finish()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// A record that was put.
pub struct Put {
    /// The shard that it went to.
    pub shard: String,
    /// Its sequence number.
    pub sequence: String,
    /// Its rows, in order.
    pub ids: Range<u64>,
}

/// Puts the next rows as one record, aggregated if there are several. They are not acknowledged yet.
pub fn put(kinesis: &KinesisServer, oracle: &mut Oracle, key: &str, rows: u64) -> Put {
    let ids = oracle.claim(rows);
    let rows: Vec<Vec<u8>> = ids.clone().map(|id| poison::row(oracle, id)).collect();
    let data = match &rows[..] {
        [one] => one.clone(),
        // The keys within are those of the record: others could belong to other shards, and be filtered there.
        many => aggregate(&many.iter().map(|it| (key, None, &it[..])).collect::<Vec<_>>()),
    };
    let (shard, sequence) = kinesis.put(STREAM, key, data);
    Put { shard, sequence, ids }
}

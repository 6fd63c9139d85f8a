//! How long rows take from the stream to the table.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Times from put to seen. Rows are counted, not known apart: as many as were put by a moment are seen at another one.
#[derive(Debug, Default)]
pub struct Latency {
    /// How many rows had been put, and when, as long as fewer are seen.
    put: VecDeque<(u64, Instant)>,
    seen: Vec<Duration>,
    /// How many of `seen` were told already.
    told: usize,
}

impl Latency {
    /// So many rows are in the stream now.
    pub fn put(&mut self, count: u64) {
        self.put.push_back((count, Instant::now()));
    }

    /// So many rows are in the table now.
    pub fn seen(&mut self, count: u64) {
        while let Some((_, when)) = self.put.pop_front_if(|(put, _)| *put <= count) {
            self.seen.push(when.elapsed());
        }
    }

    /// Of all rows: this part of them was seen within this time.
    pub fn quantile(&self, part: f64) -> Duration {
        quantile(&self.seen, part)
    }

    /// In words, since this was asked last.
    pub fn recent(&mut self) -> String {
        let recent = text(&self.seen[self.told..]);
        self.told = self.seen.len();
        recent
    }

    /// In words, over all.
    pub fn all(&self) -> String {
        text(&self.seen)
    }
}

fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}

fn text(times: &[Duration]) -> String {
    if times.is_empty() {
        return "none yet".to_owned();
    }
    let (median, p99) = (quantile(times, 0.5).as_millis(), quantile(times, 0.99).as_millis());
    format!("median {median} ms, 99 % within {p99} ms")
}

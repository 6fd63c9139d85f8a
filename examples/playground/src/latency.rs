//! How long rows take from the stream to the table.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Times from put to seen. Rows are counted, not known apart: as many as were put by a moment are seen at another one.
///
/// What was put before any row was seen is not among the times: it has waited for the program to start, to make the table
/// and to find the stream, which is a time of its own.
#[derive(Debug)]
pub struct Latency {
    begun: Instant,
    /// When the first row was seen.
    first: Option<Instant>,
    /// How many rows had been put.
    count: u64,
    /// As long as they are not seen: how many rows had been put, how many of them just then, and when.
    put: VecDeque<(u64, u64, Instant)>,
    seen: Vec<Seen>,
    /// How many of `seen` were told already.
    told: usize,
}

/// How long some rows took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    after: Duration,
    rows: u64,
}

impl Latency {
    /// The program is started now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), first: None, count: 0, put: VecDeque::new(), seen: Vec::new(), told: 0 }
    }

    /// So many rows are in the stream now.
    pub fn put(&mut self, count: u64) {
        if self.first.is_some() {
            self.put.push_back((count, count - self.count, Instant::now()));
        }
        self.count = count;
    }

    /// So many rows are in the table now.
    pub fn seen(&mut self, count: u64) {
        if count > 0 {
            self.first.get_or_insert_with(Instant::now);
        }
        while let Some((_, rows, when)) = self.put.pop_front_if(|(put, ..)| *put <= count) {
            self.seen.push(Seen { after: when.elapsed(), rows });
        }
    }

    /// From the start of the program to the first row that was seen.
    pub fn start(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |it| it - self.begun)
    }

    /// Of all rows that count: this part of them was seen within this time.
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

fn quantile(seen: &[Seen], part: f64) -> Duration {
    let mut sorted = seen.to_vec();
    sorted.sort_unstable();
    let all: u64 = sorted.iter().map(|it| it.rows).sum();
    let mut left = (all as f64 * part).ceil() as u64;
    let reached = sorted.iter().find(|it| {
        left = left.saturating_sub(it.rows);
        left == 0
    });
    reached.map_or(Duration::ZERO, |it| it.after)
}

fn text(seen: &[Seen]) -> String {
    if seen.is_empty() {
        return "none yet".to_owned();
    }
    let (median, p99) = (quantile(seen, 0.5).as_millis(), quantile(seen, 0.99).as_millis());
    format!("median {median} ms, 99 % within {p99} ms")
}

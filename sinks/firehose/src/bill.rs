//! What Firehose bills.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pack::Record;

/// A record is billed as if its size were the next multiple of this: "Amazon Data Firehose pricing", where 1 KB is 1024
/// bytes.
pub(crate) const STEP: u64 = 5 << 10;

/// As how many bytes a record is billed.
pub(crate) fn billed(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(STEP)
}

/// What was sent, and what it costs. Each is the sum over records that Firehose took.
#[derive(Debug, Default)]
pub(crate) struct Bill {
    rows: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    billed: AtomicU64,
    /// As how many bytes the rows would have been billed, had each been a record.
    billed_apart: AtomicU64,
    /// Records that Firehose did not take when they were sent, and that were sent again.
    resent: AtomicU64,
}

impl Bill {
    /// Firehose took a record.
    pub(crate) fn add(&self, record: &Record) {
        for (sum, more) in [
            (&self.rows, record.rows),
            (&self.records, 1),
            (&self.bytes, record.data.len() as u64),
            (&self.billed, billed(record.data.len())),
            (&self.billed_apart, record.billed_apart),
        ] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Firehose did not take so many records of a request.
    pub(crate) fn add_failed(&self, records: usize) {
        self.resent.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// A line for the end, if anything was sent.
    pub(crate) fn told(&self, stream: &str) -> Option<String> {
        let [rows, records, bytes, billed, apart, resent] =
            [&self.rows, &self.records, &self.bytes, &self.billed, &self.billed_apart, &self.resent]
                .map(|it| it.load(Ordering::Relaxed));
        if records == 0 {
            return None;
        }
        let mut told = format!(
            "sent {rows} rows to `{stream}` in {records} records, {} billed as {}",
            shown(bytes),
            shown(billed)
        );
        if rows > records {
            told += &format!(", {} less than in a record each", shown(apart - billed));
        } else if billed > 2 * bytes {
            told += ": `pack` would make it cheaper";
        }
        if resent > 0 {
            told += &format!("; {resent} records had to be sent again");
        }
        Some(told)
    }
}

/// With three digits: `1.23 GiB`.
fn shown(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

//! The decisions on which "exactly once" rests, each a pure function.
//!
//! They stand in a struct so that the simulation can break them one at a time and show that it notices
//! (`sim/mutants.rs`). A program has one set: [`Rules::default`].

use std::time::Duration;

use forebay_api::plan::Retry;
use forebay_api::{Batch, DeliveryId};
use forebay_state::{Pending, SourceSpan};

use crate::ledger::{self, Log};

/// One set of decisions.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Names a new delivery.
    pub name: fn(&Naming<'_>) -> DeliveryId,
    /// Decides what is written down before a delivery is made visible.
    pub intend: fn(Pending) -> Option<Pending>,
    /// Judges a delivery by the answer that came, if one came.
    pub judge: fn(Answer) -> Verdict,
    /// Takes the entries off a log that its committed position may pass.
    pub pass: fn(&mut Log) -> ledger::Passed,
    /// How many bytes all parts together may hold for a sink of which one part alone may hold so many.
    pub budget: fn(u64) -> u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { name: name_by_first_span, intend: Some, judge, pass: ledger::pass_settled_prefix, budget: |it| it }
    }
}

/// What a delivery can be named by.
pub(crate) struct Naming<'a> {
    pub pipeline: &'a str,
    pub sink: &'a str,
    /// Epoch of the state and fingerprint of the pipeline.
    pub fingerprint: &'a str,
    pub first: &'a SourceSpan,
    /// How many deliveries this process has named for the sink before; no part of a name that must outlive it.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by a mutant"))]
    pub named_before: u64,
}

/// Two deliveries of a sink never begin at the same place, and the same one begins there after a crash.
fn name_by_first_span(it: &Naming<'_>) -> DeliveryId {
    DeliveryId::derive(it.pipeline, it.sink, it.fingerprint, &it.first.source, &it.first.span)
}

/// What is known of a delivery in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The sink said that it is durable and visible.
    Done,
    /// The sink said that it will not do it.
    Failed,
    /// Nobody said anything: the task that carried it is gone.
    Silence,
}

/// What a delivery counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// It is read and delivered again.
    Abandoned,
}

/// Law: a lost answer costs a redelivery, never a row.
pub(crate) fn judge(answer: Answer) -> Verdict {
    match answer {
        Answer::Done => Verdict::Delivered,
        Answer::Failed | Answer::Silence => Verdict::Abandoned,
    }
}

/// How full a delivery is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    pub rows: u64,
    pub bytes: u64,
    /// Spans as they came, before neighbours are joined.
    pub spans: usize,
    /// Rows that the sink refused while they were staged; their letters are held until the delivery is made.
    pub refused: u64,
    /// Whether the sink says that it should end.
    pub full: bool,
    /// Since its first row came; without rows, since its first span came.
    pub age: Duration,
}

/// What to do with a delivery that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing has come yet.
    Empty,
    /// It is full: take nothing more before it is flushed.
    Now,
    /// It is old enough to go, and may grow until it can and it is its turn: see [`crate::pace`].
    MayGrow,
    /// Not before so long from now.
    In(Duration),
}

/// A pending entry lists its spans, so their number has a bound too.
pub(crate) const SPANS_MAX: usize = 4096;

/// Letters are text, and larger than the rows: so many are held at a time.
pub(crate) const REFUSED_MAX: u64 = 1000;

/// A delivery without rows only moves a position, which is worth a write to the state about once a second.
const ROWLESS_AGE_MIN: Duration = Duration::from_secs(1);

/// Decides whether a delivery is to be flushed.
pub(crate) fn flush(fill: Fill, batch: &Batch) -> Flush {
    if fill.spans == 0 {
        return Flush::Empty;
    }
    let full = fill.full || fill.rows >= batch.rows_max || fill.bytes >= batch.bytes_max.bytes();
    if full || fill.spans >= SPANS_MAX || fill.refused >= REFUSED_MAX {
        return Flush::Now;
    }
    let age_max = batch.age_max.duration();
    let age_max = if fill.rows == 0 { age_max.max(ROWLESS_AGE_MIN) } else { age_max };
    match age_max.saturating_sub(fill.age) {
        Duration::ZERO => Flush::MayGrow,
        left => Flush::In(left),
    }
}

/// Whether so many rows more still fit, so that a delivery never has more than `rows_max` unless one read has.
pub(crate) fn fits(fill: Fill, more: u64, batch: &Batch) -> bool {
    fill.rows == 0 || fill.rows + more <= batch.rows_max
}

/// How long to wait before try `failures + 1`: doubling, between half and all of it by `jitter` (0 to 1).
pub(crate) fn back_off(failures: u32, retry: &Retry, jitter: f64) -> Duration {
    let doubled = retry.wait_min.duration().saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX));
    let whole = doubled.clamp(retry.wait_min.duration(), retry.wait_max.duration().max(retry.wait_min.duration()));
    whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Whether a delivery is given up that has failed so often, when another try would begin so long after the first one.
pub(crate) fn is_given_up(retry: &Retry, failures: u32, age: Duration) -> bool {
    retry.tries_max.is_some_and(|it| failures >= it.get()) || retry.age_max.is_some_and(|it| age > it.duration())
}

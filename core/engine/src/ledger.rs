//! What one sink has: per log a committed position, and behind it what is on its way. Pure.
//!
//! Entries are opened in the order of the log and settled in any order. The committed position passes an entry
//! only when it and everything before it is settled, so a checkpoint never passes a row that is not safe.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_api::{Partition, Position, Span};
use forebay_state::{Advance, Change, LogKey, Pending, SourceSpan};

use crate::rules::Rules;

/// The books of one sink.
pub(crate) struct Ledger {
    sink: String,
    rules: Rules,
    logs: BTreeMap<LogName, Log>,
    /// The deliveries that have entries which no committed position has passed yet.
    open: BTreeMap<u64, OpenDelivery>,
}

/// Source and partition.
type LogName = (String, Partition);

#[derive(Default)]
struct OpenDelivery {
    /// Entries not passed yet.
    entries: usize,
    logs: BTreeSet<LogName>,
}

/// One log as one sink sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The sink has everything up to here, and the state says so or is about to.
    pub committed: Position,
    /// What comes next, without a gap.
    pub entries: VecDeque<Entry>,
}

/// A span on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub to: Position,
    pub delivery: u64,
    pub settled: bool,
}

/// What a committed position has passed: the new position, and for each entry its delivery.
pub(crate) type Passed = Option<(Position, Vec<u64>)>;

/// A span does not begin where the last one ended: something in between was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{span} of source `{source_name}` does not follow {expected}: what lies between was forgotten")]
pub(crate) struct Gap {
    pub source_name: String,
    pub span: String,
    pub expected: Position,
}

/// What is to be written when deliveries were settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub advance: Vec<Advance>,
    /// Deliveries that every position has passed.
    pub done: Vec<u64>,
}

impl Ledger {
    /// Opens the books at what the state has.
    pub fn new<'a>(sink: &str, rules: Rules, committed: impl IntoIterator<Item = (&'a LogKey, &'a Position)>) -> Self {
        let of_sink = committed.into_iter().filter(|(key, _)| key.sink == sink);
        let named = |(key, at): (&LogKey, &Position)| {
            ((key.source.clone(), key.partition.clone()), Log { committed: at.clone(), entries: VecDeque::new() })
        };
        Self { sink: sink.into(), rules, logs: of_sink.map(named).collect(), open: BTreeMap::new() }
    }

    /// Enters a span that is on its way in a delivery.
    pub fn enter(&mut self, delivery: u64, source: &str, span: &Span) -> Result<(), Gap> {
        let name = (source.to_owned(), span.partition.clone());
        let new = || Log { committed: Position::Start, entries: VecDeque::new() };
        let log = self.logs.entry(name.clone()).or_insert_with(new);
        let end = log.entries.back().map_or(&log.committed, |it| &it.to);
        if *end != span.from {
            let (source_name, span) = (source.to_owned(), span.to_string());
            return Err(Gap { source_name, span, expected: end.clone() });
        }
        log.entries.push_back(Entry { to: span.to.clone(), delivery, settled: false });
        let open = self.open.entry(delivery).or_default();
        open.entries += 1;
        open.logs.insert(name);
        Ok(())
    }

    /// Enters what the state has of a delivery. Where it joined several logs, the positions of some may have passed it
    /// while another still waits for an earlier delivery.
    pub fn enter_again(&mut self, pending: &Pending) -> Result<(), Gap> {
        for SourceSpan { source, span } in &pending.spans {
            let log = self.logs.get(&(source.clone(), span.partition.clone()));
            if log.is_none_or(|it| it.committed < span.to) {
                self.enter(pending.number, source, span)?;
            }
        }
        Ok(())
    }

    /// Settles a delivery, and moves the positions that may move.
    pub fn settle(&mut self, delivery: u64) -> Moves {
        let mut moves = Moves::default();
        let touched = self.open.get(&delivery).map(|it| it.logs.clone()).unwrap_or_default();
        for name in touched {
            let log = self.logs.get_mut(&name).expect("a log lives as long as it has entries");
            log.entries.iter_mut().filter(|it| it.delivery == delivery).for_each(|it| it.settled = true);
            let from = log.committed.clone();
            let Some((to, passed)) = (self.rules.pass)(log) else { continue };
            if to == Position::End {
                // It is never entered again: the state remembers it, the books need not.
                self.logs.remove(&name);
            }
            for delivery in passed {
                let open = self.open.get_mut(&delivery).expect("an entry belongs to an open delivery");
                open.entries -= 1;
                if open.entries == 0 {
                    self.open.remove(&delivery);
                    moves.done.push(delivery);
                }
            }
            let (source, partition) = name;
            moves.advance.push(Advance { key: LogKey { sink: self.sink.clone(), source, partition }, from, to });
        }
        moves
    }

    /// Whether everything that was entered is settled and passed.
    pub fn is_square(&self) -> bool {
        self.open.is_empty()
    }
}

impl Moves {
    /// What to write when `settled` was settled: it is forgotten once every position has passed it,
    /// and remembered as visible until then.
    pub fn into_change(self, sink: &str, settled: u64) -> Change {
        let waits = !self.done.contains(&settled);
        let key = |number: u64| (sink.to_owned(), number);
        Change {
            settle: waits.then(|| key(settled)).into_iter().collect(),
            forget: self.done.into_iter().map(key).collect(),
            advance: self.advance,
            ..Change::default()
        }
    }
}

/// Takes the settled entries off the front.
pub(crate) fn pass_settled_prefix(log: &mut Log) -> Passed {
    let settled = log.entries.iter().take_while(|it| it.settled).count();
    let passed: Vec<Entry> = log.entries.drain(..settled).collect();
    log.committed = passed.last()?.to.clone();
    Some((log.committed.clone(), passed.into_iter().map(|it| it.delivery).collect()))
}

//! What to do after a start, decided from what the state has. Pure.
//!
//! 1. Deliveries that may or may not be visible are rebuilt exactly as they were: the same id, the same spans, in
//!    the same order.
//! 2. Then each source goes on where the least advanced of its sinks is, and each sink takes only what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use forebay_api::{Partition, Position, Read};
use forebay_state::{Pending, Snapshot};

/// What has to be rebuilt before anything new is read, sink by sink, in the order of the deliveries.
///
/// What the state has of sinks that are no longer in the file is left as it is.
pub(crate) fn unfinished<'a>(snapshot: &'a Snapshot, sink: &'a str) -> impl Iterator<Item = &'a Pending> {
    snapshot.pending.values().filter(move |it| it.sink == sink)
}

/// Up to where each sink has the logs of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing(BTreeMap<Partition, BTreeMap<usize, Position>>);

impl Standing {
    /// Notes where a sink stands.
    pub fn set(&mut self, sink: usize, partition: &Partition, position: &Position) {
        self.0.entry(partition.clone()).or_default().insert(sink, position.clone());
    }

    /// Where a sink stands.
    pub fn of(&self, sink: usize, partition: &Partition) -> &Position {
        self.0.get(partition).and_then(|it| it.get(&sink)).unwrap_or(&Position::Start)
    }

    /// Where the least advanced of `sinks` stands.
    pub fn least(&self, sinks: &BTreeSet<usize>, partition: &Partition) -> Position {
        sinks.iter().map(|it| self.of(*it, partition)).min().cloned().unwrap_or(Position::Start)
    }

    /// Forgets a partition that every sink has to its end.
    pub fn forget(&mut self, partition: &Partition) {
        self.0.remove(partition);
    }

    /// Where the source goes on for `sinks`: partitions that one of them does not know begin at their start.
    pub fn resume(&self, sinks: &BTreeSet<usize>) -> BTreeMap<Partition, Position> {
        let all = self.0.keys().map(|partition| (partition.clone(), self.least(sinks, partition)));
        all.filter(|(_, position)| *position != Position::Start).collect()
    }

    /// Cuts a read where a sink stands inside it, so that each piece is wanted whole or not at all by each sink.
    pub fn pieces(&self, sinks: &BTreeSet<usize>, read: Read) -> Vec<(Read, BTreeSet<usize>)> {
        let Some(known) = self.0.get(&read.span.partition) else { return vec![(read, sinks.clone())] };
        let inside = |it: &&Position| read.span.from < **it && **it < read.span.to;
        let cuts: BTreeSet<Position> = known.values().filter(inside).cloned().collect();
        let mut pieces = Vec::with_capacity(cuts.len() + 1);
        let mut rest = read;
        for cut in cuts {
            let (head, tail) = rest.split(&cut);
            pieces.push(head);
            rest = tail;
        }
        pieces.push(rest);
        let wanting = |piece: &Read| {
            let lacks = |it: &&usize| *self.of(**it, &piece.span.partition) <= piece.span.from;
            sinks.iter().filter(lacks).copied().collect()
        };
        pieces
            .into_iter()
            .map(|piece| {
                let wanted = wanting(&piece);
                (piece, wanted)
            })
            .collect()
    }
}

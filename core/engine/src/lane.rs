//! One source at work: pulls, transforms, hands out.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_api::{Partition, Position, Read, Source};
use tokio_util::sync::CancellationToken;

use crate::RunError;
use crate::counters::{Counters, add};
use crate::flow::Flow;
use crate::outlet::{Gone, Inlet};
use crate::recovery::Standing;

/// A source, its way to the sinks, and where they stand.
pub(crate) struct Lane {
    pub source: Box<dyn Source>,
    pub flow: Flow,
    pub standing: Standing,
    /// By the sink's number in the plan.
    pub inlets: BTreeMap<usize, Inlet>,
    pub counters: Arc<Counters>,
    pub stop: CancellationToken,
}

impl Lane {
    /// Reads until the input ends or a stop is asked for.
    pub async fn run(mut self) -> Result<(), RunError> {
        let sinks = self.flow.sinks();
        let mut ends = Ends(self.standing.resume(&sinks));
        loop {
            let read = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                read = self.source.next() => read,
            };
            let failed = |error| RunError::new(&self.flow.source, "could not read", error);
            let Some(read) = read.map_err(failed)? else { return Ok(()) };
            ends.follow(&read).map_err(|what| broken(&self.flow.source, what))?;
            if read.span.to == Position::End {
                add(&self.counters.node(&self.flow.source).partitions_ended, 1);
            }
            for (piece, wanted) in self.standing.pieces(&sinks, read) {
                if wanted.is_empty() {
                    continue;
                }
                for (sink, share) in self.flow.apply(piece, &wanted)? {
                    if let Err(Gone) = self.inlets[&sink].send(share).await {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Where the last read of each partition ended. Holds sources to their contract.
pub(crate) struct Ends(pub BTreeMap<Partition, Position>);

impl Ends {
    /// Checks that a read is whole and follows the one before it.
    pub fn follow(&mut self, read: &Read) -> Result<(), String> {
        if let Some(fault) = read.fault() {
            return Err(fault);
        }
        let span = &read.span;
        let end = self.0.get(&span.partition).unwrap_or(&Position::Start);
        if *end != span.from {
            return Err(format!("the read {span} does not follow {end}"));
        }
        self.0.insert(span.partition.clone(), span.to.clone());
        Ok(())
    }
}

/// A source did not keep its contract.
pub(crate) fn broken(source: &str, what: String) -> RunError {
    RunError::new(source, "broke its contract", what.into()).hint("this is a bug in the source: please report it")
}

//! After a crash: rebuilds the deliveries that may or may not be visible, exactly as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::{Plan, Promise, Resume, Span};
use forebay_state::{Pending, Snapshot, Store};

use crate::RunError;
use crate::counters::{Counters, add};
use crate::delivery::{Delivery, SinkSide};
use crate::flow::Flow;
use crate::lane::broken;
use crate::ledger::Ledger;
use crate::outlet::write;
use crate::recovery::unfinished;
use crate::rules::Rules;

/// What to do about a delivery that cannot be rebuilt.
const GIVE_UP: &str = "a crash left it open: run once more with the file and the input as they were then; \
    or give it up with `--abandon-pending`, which reads its rows again as far as they are there, and may double some";

/// What every rebuilt delivery needs.
pub(crate) struct Replay<'a> {
    pub plan: &'a Plan,
    /// The numbers of the sinks that keep the dead letters, by node.
    pub letters: &'a BTreeMap<String, usize>,
    pub store: &'a dyn Store,
    pub snapshot: &'a Snapshot,
    pub counters: &'a Arc<Counters>,
    pub rules: Rules,
}

impl Replay<'_> {
    /// Rebuilds what is pending for the sink number `index`, delivery by delivery, in their order.
    ///
    /// A delivery that was recorded under another pipeline cannot be rebuilt as it was. Where that could double or
    /// lose rows it is an error; `fingerprint` is that of the pipeline now.
    pub async fn sink(
        &self,
        index: usize,
        side: &SinkSide,
        promise: Promise,
        fingerprint: &str,
    ) -> Result<(), RunError> {
        let mut ledger = Ledger::new(&side.name, self.rules, &self.snapshot.committed);
        for pending in unfinished(self.snapshot, &side.name) {
            let failed = |gap| RunError::new(&side.name, "found a gap in its progress", Box::new(gap));
            ledger.enter_again(pending).map_err(failed)?;
        }
        for pending in unfinished(self.snapshot, &side.name) {
            if !pending.settled {
                if promise == Promise::OncePerId && pending.fingerprint != fingerprint {
                    let what = format!("delivery {} was begun by another version of the pipeline", pending.id);
                    return Err(RunError::new(&side.name, "could not rebuild a delivery", what.into()).hint(GIVE_UP));
                }
                self.delivery(index, side, pending).await?;
                add(&self.counters.node(&side.name).rebuilt, 1);
            }
            let moves = ledger.settle(pending.number);
            write(self.store, &side.name, moves.into_change(&side.name, pending.number)).await?;
        }
        Ok(())
    }

    /// Rebuilds one delivery and makes it visible.
    async fn delivery(&self, index: usize, side: &SinkSide, pending: &Pending) -> Result<(), RunError> {
        let (id, rows) = (&pending.id, pending.rows);
        tracing::info!(sink = side.name, %id, rows, "rebuilding a delivery that a crash left open");
        let counters = self.counters.node(&side.name);
        let mut delivery = Delivery::new(pending.number, id.clone());
        for stretch in pending.spans.chunk_by(|a, b| a.source == b.source) {
            let spans = stretch.iter().map(|it| it.span.clone()).collect();
            self.stretch(index, side, &stretch[0].source, spans, &mut delivery).await?;
        }
        if delivery.rows != rows {
            let is = delivery.rows;
            tracing::warn!(sink = side.name, %id, was = rows, is, "a rebuilt delivery has another number of rows: the pipeline has changed since");
        }
        delivery.commit(side, counters).await
    }

    /// Reads spans of one source again and joins their rows to the delivery.
    async fn stretch(
        &self,
        index: usize,
        side: &SinkSide,
        name: &str,
        spans: Vec<Span>,
        delivery: &mut Delivery,
    ) -> Result<(), RunError> {
        let lost = |what: String| RunError::new(&side.name, "could not rebuild a delivery", what.into()).hint(GIVE_UP);
        let Some(planned) = self.plan.sources.iter().find(|it| it.name == name) else {
            return Err(lost(format!("the source `{name}` is not in the file any more")));
        };
        let mut flow = Flow::new(self.plan, planned, self.letters, self.counters.clone())?;
        if !flow.sinks().contains(&index) {
            return Err(lost(format!("rows of the source `{name}` do not reach the sink any more")));
        }
        let opened = planned.config.open(Resume::Replay(spans.clone())).await;
        let unread = |error| RunError::new(name, "could not read again what it had read", error).hint(GIVE_UP);
        let mut source = opened.map_err(unread)?;
        let mut expected = spans.into_iter();
        let mut left: Option<Span> = expected.next();
        loop {
            let Some(read) = source.next().await.map_err(unread)? else { break };
            let fault = read.fault().or_else(|| follows(&mut left, &mut expected, &read.span));
            if let Some(fault) = fault {
                return Err(broken(name, fault));
            }
            for (_, share) in flow.apply(read, &BTreeSet::from([index]))? {
                delivery.join(side, self.counters.node(&side.name), share).await?;
            }
        }
        left.map_or(Ok(()), |it| Err(lost(format!("{it} of `{name}` is not to be had any more"))))
    }
}

/// Takes a read off what is expected, or says how it differs.
fn follows(left: &mut Option<Span>, expected: &mut impl Iterator<Item = Span>, read: &Span) -> Option<String> {
    let fits =
        left.as_ref().is_some_and(|it| it.partition == read.partition && it.from == read.from && read.to <= it.to);
    let Some(span) = left.as_mut().filter(|_| fits) else {
        return Some(match left {
            Some(left) => format!("asked for {left}, it read {read}"),
            None => format!("asked for nothing more, it read {read}"),
        });
    };
    if read.to == span.to {
        *left = expected.next();
    } else {
        span.from = read.to.clone();
    }
    None
}

//! After a crash: rebuilds the deliveries that may or may not be visible, exactly as they were.

use std::collections::{BTreeMap, BTreeSet};

use forebay_api::{BoxError, Promise, Resume, Source, Span};
use forebay_state::{Pending, Snapshot, SourceSpan, Store};

use crate::RunError;
use crate::counters::add;
use crate::delivery::{Delivery, SinkSide};
use crate::flow::Flow;
use crate::lane::broken;
use crate::ledger::Ledger;
use crate::outlet::write;
use crate::part::Origin;
use crate::pipeline::Graph;
use crate::recovery::unfinished;

/// What to do about a delivery that cannot be rebuilt.
const GIVE_UP: &str = "a crash left it open: run once more with the file and the input as they were then; \
    or give it up with `--abandon-pending`, which reads its rows again as far as they are there, and may double some";

/// What every rebuilt delivery needs.
pub(crate) struct Replay<'a> {
    pub graph: &'a Graph<'a>,
    pub sources: &'a [Origin<'a>],
    pub store: &'a dyn Store,
    pub snapshot: &'a Snapshot,
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
        let mut ledger = Ledger::new(&side.name, self.graph.rules, &self.snapshot.committed);
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
                add(&self.graph.counters.node(&side.name).rebuilt, 1);
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
        let counters = self.graph.counters.node(&side.name);
        let mut delivery = Delivery::again(pending.number, id.clone());
        let mut sources = BTreeMap::new();
        for SourceSpan { source, .. } in &pending.spans {
            if !sources.contains_key(source.as_str()) {
                sources.insert(source.as_str(), self.open(index, side, source, pending).await?);
            }
        }
        for SourceSpan { source, span } in &pending.spans {
            let again = sources.get_mut(source.as_str()).expect("every source of the delivery is open");
            self.span(index, side, again, span.clone(), &mut delivery).await?;
        }
        if delivery.rows != rows {
            // Not the delivery that may be visible: some of its rows are not to be had any more, or others have come.
            let is = delivery.rows;
            return Err(lost(side, format!("of the {rows} rows that `{id}` had, {is} could be read again")));
        }
        delivery.commit(side, counters).await
    }

    /// Opens a source for all that the delivery has of it, in the order in which it is wanted.
    async fn open(&self, index: usize, side: &SinkSide, name: &str, pending: &Pending) -> Result<Again, RunError> {
        let Some(origin) = self.sources.iter().find(|it| it.planned.name == name) else {
            return Err(lost(side, format!("the source `{name}` is not in the file any more")));
        };
        let flow = Flow::new(self.graph.plan, origin.planned, &self.graph.letters_of, self.graph.counters.clone())?;
        if !flow.sinks().contains(&index) {
            return Err(lost(side, format!("rows of the source `{name}` do not reach the sink any more")));
        }
        let spans = pending.spans.iter().filter(|it| it.source == name).map(|it| it.span.clone()).collect();
        let source = origin.open(Resume::Replay(spans)).await.map_err(|error| unread(name, error))?;
        Ok(Again { source, flow })
    }

    /// Reads one span again and joins its rows to the delivery.
    async fn span(
        &self,
        index: usize,
        side: &SinkSide,
        again: &mut Again,
        span: Span,
        delivery: &mut Delivery,
    ) -> Result<(), RunError> {
        let Again { source, flow } = again;
        let name = flow.source.clone();
        let mut left = Some(span);
        while let Some(expected) = &left {
            let Some(read) = source.next().await.map_err(|error| unread(&name, error))? else {
                return Err(lost(side, format!("{expected} of `{name}` is not to be had any more")));
            };
            if let Some(fault) = read.fault() {
                return Err(broken(&name, fault));
            }
            left = follow(expected, &read.span).map_err(|what| broken(&name, what))?;
            for (_, share) in flow.apply(read, &BTreeSet::from([index]))? {
                delivery.join(side, self.graph.counters.node(&side.name), share).await?;
            }
        }
        Ok(())
    }
}

/// A source that is read again, and the way of its rows. Open once for a delivery, however often its sources take turns.
struct Again {
    source: Box<dyn Source>,
    flow: Flow,
}

fn lost(side: &SinkSide, what: String) -> RunError {
    RunError::new(&side.name, "could not rebuild a delivery", what.into()).hint(GIVE_UP)
}

fn unread(source: &str, error: BoxError) -> RunError {
    RunError::new(source, "could not read again what it had read", error).hint(GIVE_UP)
}

/// What is left of `expected` after a read, or how the read differs from what was asked for.
fn follow(expected: &Span, read: &Span) -> Result<Option<Span>, String> {
    if (&read.partition, &read.from) != (&expected.partition, &expected.from) || read.to > expected.to {
        return Err(format!("asked for {expected}, it read {read}"));
    }
    let from = read.to.clone();
    Ok((from < expected.to).then(|| Span { from, ..expected.clone() }))
}

//! After a crash: rebuilds the deliveries that may or may not be visible, exactly as they were.

use std::collections::{BTreeMap, BTreeSet};

use forebay_api::{BoxError, Plan, Promise, Resume, Source, Span};
use forebay_state::{Change, Pending, Snapshot, SourceSpan, Store, new_epoch};
use futures_util::future::try_join_all;

use crate::RunError;
use crate::counters::add;
use crate::delivery::{Delivery, SinkSide};
use crate::flow::Flow;
use crate::handover::{SHARED, check_not_shared_before};
use crate::lane::broken;
use crate::ledger::Ledger;
use crate::outlet::write;
use crate::part::{Origin, load};
use crate::pipeline::{Graph, SinkNode};
use crate::recovery::unfinished;
use crate::way::check_ways;

/// What to do about a delivery that cannot be rebuilt.
const GIVE_UP: &str = "a crash left it open: run once more with the file and the input as they were then; \
    or give it up with `--abandon-pending`, which reads its rows again as far as they are there, and may double some";

/// Gives up what a crash left open. It may be visible under its ids, and its rows come again cut otherwise: another epoch
/// makes other ids of them, so that no sink takes new rows for old ones.
async fn abandon(store: &dyn Store, snapshot: &Snapshot) -> Result<(), RunError> {
    if snapshot.pending.is_empty() {
        return Ok(());
    }
    for ((sink, _), pending) in &snapshot.pending {
        let (id, rows) = (&pending.id, pending.rows);
        tracing::warn!(sink, %id, rows, "a delivery that a crash left open is given up; its rows are read again");
    }
    let forget = snapshot.pending.keys().cloned().collect();
    write(store, "[state]", Change { forget, epoch: Some(new_epoch()), ..Change::default() }).await
}

/// Says which names of the state the file does not have: a node that was renamed begins anew, and that may double rows.
fn warn_of_strangers(plan: &Plan, snapshot: &Snapshot, nodes: &[SinkNode]) {
    let sinks: BTreeSet<&str> = snapshot.committed.keys().map(|it| it.sink.as_str()).collect();
    let sources: BTreeSet<&str> = snapshot.committed.keys().map(|it| it.source.as_str()).collect();
    for sink in sinks.into_iter().filter(|sink| *sink != SHARED && !nodes.iter().any(|it| it.side.name == *sink)) {
        tracing::warn!(sink, "the state knows a sink that is not in the file; under another name it begins anew");
    }
    for source in sources.into_iter().filter(|source| !plan.sources.iter().any(|it| it.name == *source)) {
        tracing::warn!(source, "the state knows a source that is not in the file; under another name it begins anew");
    }
}

/// What is pending in a store, and what it takes to make it.
pub(crate) struct Rebuild<'a> {
    graph: &'a Graph<'a>,
    sources: &'a [Origin<'a>],
    store: &'a dyn Store,
    snapshot: Snapshot,
}

impl<'a> Rebuild<'a> {
    /// Looks at what is pending, and refuses what this pipeline cannot go on with. `sources` are all that the store may hold
    /// rows of.
    pub async fn begin(
        graph: &'a Graph<'a>,
        sources: &'a [Origin<'a>],
        store: &'a dyn Store,
    ) -> Result<Self, RunError> {
        let mut snapshot = load(store).await?;
        check_not_shared_before(graph.plan, &snapshot)?;
        check_ways(graph, sources, store, &snapshot).await?;
        if graph.abandon_pending {
            abandon(store, &snapshot).await?;
            snapshot = load(store).await?;
        }
        warn_of_strangers(graph.plan, &snapshot, &graph.nodes);
        Ok(Self { graph, sources, store, snapshot })
    }

    /// What the store will have when all of it is made.
    pub fn foreseen(&self) -> Result<Snapshot, RunError> {
        let mut foreseen = self.snapshot.clone();
        for node in &self.graph.nodes {
            let sink = &node.side.name;
            let mut ledger = self.ledger(sink)?;
            for pending in unfinished(&self.snapshot, sink) {
                let change = ledger.settle(pending.number).into_change(sink, pending.number);
                foreseen.apply(change).expect("a ledger builds on the state that it was made of");
            }
        }
        Ok(foreseen)
    }

    /// Makes all of it, all sinks at the same time.
    pub async fn run(&self) -> Result<(), RunError> {
        // Side by side, so that a sink that is down does not keep the others from what was begun for them.
        try_join_all(self.graph.nodes.iter().enumerate().map(|(index, node)| self.sink(index, node))).await?;
        Ok(())
    }

    /// The books of a sink, with what is pending.
    fn ledger(&self, sink: &str) -> Result<Ledger, RunError> {
        let mut ledger = Ledger::new(sink, self.graph.rules, &self.snapshot.committed);
        for pending in unfinished(&self.snapshot, sink) {
            let failed = |gap| RunError::new(sink, "found a gap in its progress", Box::new(gap));
            ledger.enter_again(pending).map_err(failed)?;
        }
        Ok(ledger)
    }

    /// Rebuilds what is pending for the sink number `index`, delivery by delivery, in their order.
    ///
    /// A delivery that was recorded under another pipeline cannot be rebuilt as it was. Where that could double or
    /// lose rows it is an error.
    async fn sink(&self, index: usize, node: &SinkNode) -> Result<(), RunError> {
        let side = &*node.side;
        let mut ledger = self.ledger(&side.name)?;
        for pending in unfinished(&self.snapshot, &side.name) {
            if !pending.settled {
                if node.promise == Promise::OncePerId && pending.fingerprint != node.fingerprint {
                    let what = format!("delivery {} was begun by another version of the pipeline", pending.id);
                    return Err(RunError::new(&side.name, "could not rebuild a delivery", what.into()).hint(GIVE_UP));
                }
                // How large it will be is known only in the end; not much larger than this.
                let _held = match &node.budget {
                    Some(budget) => Some(budget.leave(budget.take(node.batch.bytes_max.bytes()).await)),
                    None => None,
                };
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
        let mut delivery = Delivery::again(pending.number, id.clone(), pending.intended);
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
        let route = self.graph.route(name);
        if !route.sinks.contains_key(&index) {
            return Err(lost(side, format!("rows of the source `{name}` do not reach the sink any more")));
        }
        let spans = pending.spans.iter().filter(|it| it.source == name).map(|it| it.span.clone()).collect();
        let source = origin.open(Resume::Exactly(spans)).await.map_err(|error| unread(name, error))?;
        let flow = Flow::new(self.graph.plan, route.clone(), self.graph.counters.clone())?;
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
        let name = flow.route.source.clone();
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

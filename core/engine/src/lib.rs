//! Runs a plan. The only crate that moves positions.
//!
//! - A [`lane`] for each source pulls reads, takes them through all transforms ([`flow`]), and hands each sink its share.
//! - An [`outlet`] for each sink joins shares into a [`delivery`], writes the intent down, makes the delivery
//!   visible, and keeps the books ([`ledger`]).
//! - After a start, what may or may not be visible is rebuilt exactly ([`replay`]) before anything new is read.
//!
//! What is decided, is decided by pure functions: [`rules`], [`ledger`], [`recovery`]. The seeded simulation in
//! `sim/` runs all of this and pulls the plug before any poll of any task.
//!
//! Time is tokio's, so that the simulation can stop it; nothing here reads the clock of the wall.

mod counters;
mod delivery;
mod flow;
mod lane;
mod ledger;
mod letters;
mod outlet;
mod recovery;
mod replay;
mod rules;
mod settle;
mod tasks;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use forebay_api::plan::{OnRefused, Retry, letter_schema};
use forebay_api::{Age, Batch, BoxError, ByteSize, Deliver, Plan, Position, Resume, Sink, Source, whole};
use forebay_state::{Snapshot, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use counters::{Counters, Counts, DEAD_LETTERS, NodeCounters};

use crate::delivery::SinkSide;
use crate::flow::Flow;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::letters::LetterDirectory;
use crate::outlet::{Inlet, Outlet, OutletSettings};
use crate::recovery::Standing;
use crate::replay::Replay;
use crate::rules::Rules;
use crate::settle::Settlements;

/// What a run needs besides the plan.
pub struct Options {
    /// Where progress is kept.
    pub store: Arc<dyn Store>,
    /// Cancelled to stop reading, deliver what was read, and end.
    pub stop: CancellationToken,
    /// Counts what happens; made by [`Counters::new`] for the same plan.
    pub counters: Arc<Counters>,
    /// Spreads the waits of several processes that failed together.
    pub jitter_seed: u64,
}

/// How a run ended that nothing went wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every source ended, and all of it is delivered.
    InputEnded,
    /// A stop was asked for, and everything read is delivered.
    Drained,
    /// A stop was asked for, and the time to drain was over: what was in flight is read again at the next start.
    DrainCut,
}

/// Why a run ended early. No row is lost: the next start goes on where the state says.
#[derive(Debug)]
pub struct RunError {
    /// The node that it is about.
    pub node: String,
    /// What it could not do, in words that follow its name.
    pub what: String,
    /// Why not.
    pub cause: BoxError,
    /// What to do about it.
    pub hint: Option<String>,
}

impl RunError {
    pub(crate) fn new(node: &str, what: &str, cause: BoxError) -> Self {
        Self { node: node.into(), what: what.into(), cause, hint: None }
    }

    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.node, self.what)
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// An error and everything behind it, in one line.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |it: &&(dyn Error + 'static)| (*it).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs a plan until its input ends, a stop is asked for, or something goes wrong that waiting does not mend.
pub async fn run(plan: &Plan, options: Options) -> Result<Ending, RunError> {
    let letters =
        plan.dead_letters.as_ref().map(|it| -> Arc<dyn Deliver> { Arc::new(LetterDirectory::new(it.path.clone())) });
    run_by(plan, options, letters, Rules::default()).await
}

/// As [`run`], with the dead letters and the rules that the simulation wants.
async fn run_by(
    plan: &Plan,
    options: Options,
    letters: Option<Arc<dyn Deliver>>,
    rules: Rules,
) -> Result<Ending, RunError> {
    let stop = options.stop.clone();
    let drain = async {
        stop.cancelled().await;
        tokio::time::sleep(plan.drain_max.duration()).await;
    };
    tokio::select! {
        biased;
        ended = pipeline(plan, options, letters, rules) => ended,
        () = drain => Ok(Ending::DrainCut),
    }
}

async fn pipeline(
    plan: &Plan,
    options: Options,
    letters: Option<Arc<dyn Deliver>>,
    rules: Rules,
) -> Result<Ending, RunError> {
    let Options { store, stop, counters, jitter_seed } = options;
    let nodes = sink_nodes(plan, letters, jitter_seed, &stop).await?;
    let Some(nodes) = nodes else { return Ok(Ending::Drained) };
    let letters = nodes.iter().position(|it| it.side.name == DEAD_LETTERS);

    let snapshot = load(&*store).await?;
    let replay = Replay { plan, letters, store: &*store, snapshot: &snapshot, counters: &counters, rules };
    let rebuilt = async {
        for (index, node) in nodes.iter().enumerate() {
            replay.sink(index, &node.side).await?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        rebuilt = rebuilt => rebuilt?,
        () = stop.cancelled() => return Ok(Ending::Drained),
    }

    let snapshot = load(&*store).await?;
    let mut settlements = Settlements::default();
    let mut settlers = Vec::new();
    let mut opened: Vec<(Box<dyn Source>, Flow, Standing)> = Vec::new();
    for planned in &plan.sources {
        let flow = Flow::new(plan, planned, letters, counters.clone())?;
        let standing = standing(&snapshot, &planned.name, &nodes);
        let resume = standing.resume(&flow.sinks());
        let known = resume.values().filter(|it| **it == Position::End).count() as u64;
        counters::add(&counters.node(&planned.name).partitions_known, known);
        let source = planned.config.open(Resume::After(resume)).await;
        let mut source = source.map_err(|error| RunError::new(&planned.name, "could not be opened", error))?;
        if let Some(settler) = source.settler() {
            settlements.enter(&planned.name, flow.sinks(), standing.clone());
            settlers.push((planned.name.clone(), settler));
        }
        opened.push((source, flow, standing));
    }
    let settlements = Arc::new(settlements);

    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    let mut inlets = BTreeMap::new();
    let reached: BTreeSet<usize> = opened.iter().flat_map(|(_, flow, _)| flow.sinks()).collect();
    for (index, node) in nodes.into_iter().enumerate().filter(|(index, _)| reached.contains(index)) {
        let (inlet, queue) = Inlet::new(&node.side.name, counters.clone());
        inlets.insert(index, inlet);
        let settings = OutletSettings {
            index,
            batch: node.batch,
            in_flight_max: node.in_flight_max,
            fingerprint: node.fingerprint,
            rules,
        };
        let ledger = Ledger::new(&node.side.name, rules, &snapshot.committed);
        let outlet =
            Outlet::new(settings, Arc::new(node.side), store.clone(), counters.clone(), settlements.clone(), ledger);
        tasks.spawn(tasks::observed(outlet.run(queue)));
    }
    for (source, flow, standing) in opened {
        let inlets = inlets.clone();
        let lane = Lane { source, flow, standing, inlets, counters: counters.clone(), stop: stop.clone() };
        tasks.spawn(tasks::observed(lane.run()));
    }
    // The lanes hold the only ways in now: when they are done, the outlets see the end.
    drop(inlets);
    let mut telling: JoinSet<Result<(), RunError>> = JoinSet::new();
    for (name, settler) in settlers {
        let settlements = settlements.clone();
        telling.spawn(tasks::observed(async move { settlements.tell(&name, settler).await }));
    }

    while !tasks.is_empty() {
        tokio::select! {
            biased;
            Some(told) = telling.join_next() => finish(told)?,
            Some(done) = tasks.join_next() => finish(done)?,
        }
    }
    settlements.close();
    while let Some(told) = telling.join_next().await {
        finish(told)?;
    }
    Ok(if stop.is_cancelled() { Ending::Drained } else { Ending::InputEnded })
}

/// A sink that is open, and how its deliveries are made.
struct SinkNode {
    side: SinkSide,
    batch: Batch,
    in_flight_max: usize,
    fingerprint: String,
}

/// Opens every sink of the plan, and the one that keeps the dead letters last. `None` if a stop came first.
async fn sink_nodes(
    plan: &Plan,
    letters: Option<Arc<dyn Deliver>>,
    jitter_seed: u64,
    stop: &CancellationToken,
) -> Result<Option<Vec<SinkNode>>, RunError> {
    let side = |name: &str, sink: Box<dyn Sink>, retry, on_refused, letters| SinkSide {
        pipeline: plan.name.clone(),
        name: name.into(),
        sink,
        retry,
        on_refused,
        letters,
        jitter_seed,
    };
    let mut nodes = Vec::new();
    for planned in &plan.sinks {
        let sink = tokio::select! {
            biased;
            sink = planned.config.open(planned.input.clone()) => sink,
            () = stop.cancelled() => return Ok(None),
        };
        let sink = sink.map_err(|error| RunError::new(&planned.name, "could not be opened", error))?;
        nodes.push(SinkNode {
            side: side(&planned.name, sink, planned.retry, planned.on_refused, letters.clone()),
            batch: planned.batch,
            in_flight_max: planned.in_flight_max,
            fingerprint: planned.fingerprint.clone(),
        });
    }
    if let Some(letters) = letters {
        nodes.push(SinkNode {
            side: side(DEAD_LETTERS, whole(letters), Retry::default(), OnRefused::Stop, None),
            batch: Batch { rows_max: 10_000, bytes_max: ByteSize::mib(8), age_max: Age::seconds(1) },
            in_flight_max: 1,
            fingerprint: letter_schema().to_string(),
        });
    }
    Ok(Some(nodes))
}

async fn load(store: &dyn Store) -> Result<Snapshot, RunError> {
    store.load().await.map_err(|error| RunError::new("[state]", "could not be read", Box::new(error)))
}

/// Where each sink has the logs of a source.
fn standing(snapshot: &Snapshot, source: &str, nodes: &[SinkNode]) -> Standing {
    let mut standing = Standing::default();
    for (key, position) in snapshot.committed.iter().filter(|(key, _)| key.source == source) {
        if let Some(sink) = nodes.iter().position(|it| it.side.name == key.sink) {
            standing.set(sink, &key.partition, position);
        }
    }
    standing
}

fn finish(done: Result<Result<(), RunError>, tokio::task::JoinError>) -> Result<(), RunError> {
    done.unwrap_or_else(|gone| Err(tasks::gone("engine", gone)))
}

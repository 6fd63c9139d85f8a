//! Opens the sinks of a plan, and sees its parts through.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use forebay_api::plan::{OnRefused, PlannedSource, Retry};
use forebay_api::{Batch, ByteSize, Deliver, Plan, Promise, Sink, whole};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::budget::{self, Budget};
use crate::counters::{Counters, DEAD_LETTERS};
use crate::delivery::SinkSide;
use crate::halt::Halt;
use crate::handover::Handover;
use crate::outlet::QUEUED_BYTES_MAX;
use crate::pace::Pace;
use crate::part::{Origin, Part};
use crate::route::{Route, is_refused_port_read};
use crate::rules::Rules;
use crate::share::Sharing;
use crate::{Ending, Options, RunError};

/// Everything of a pipeline that its parts have in common.
pub(crate) struct Graph<'a> {
    pub plan: &'a Plan,
    /// The sinks of the plan by their numbers, and behind them those for the dead letters.
    pub nodes: Vec<SinkNode>,
    /// The numbers of the sinks that keep the dead letters, by node.
    pub letters_of: BTreeMap<String, usize>,
    /// The ways of the rows, by source.
    routes: BTreeMap<String, Arc<Route>>,
    pub counters: Arc<Counters>,
    pub workers: usize,
    pub rules: Rules,
    /// See [`Options::abandon_pending`].
    pub abandon_pending: bool,
    pub halt: Halt,
}

impl Graph<'_> {
    /// The way of the rows of a source of the plan.
    pub fn route(&self, source: &str) -> &Arc<Route> {
        &self.routes[source]
    }
}

/// Runs until the input ends, a stop is asked for, or something goes wrong.
pub(crate) async fn run(plan: &Plan, options: Options, rules: Rules) -> Result<Ending, RunError> {
    let Options { store, letters, stop, counters, workers, jitter_seed, abandon_pending } = options;
    let kept = if letters.is_some() { refusing_nodes(plan) } else { Vec::new() };
    let letters_of: BTreeMap<String, usize> =
        kept.iter().enumerate().map(|(nth, node)| (node.clone(), plan.sinks.len() + nth)).collect();
    let mut nodes = tokio::select! {
        biased;
        nodes = open_sinks(plan, letters, &kept, jitter_seed) => nodes?,
        () = stop.cancelled() => return Ok(Ending::DrainCut),
    };
    let halt = Halt::new(&stop, plan.drain_max.duration());
    let route = |it| Arc::new(Route::new(plan, it, &letters_of));
    let routes: BTreeMap<String, Arc<Route>> = plan.sources.iter().map(|it| (it.name.clone(), route(it))).collect();
    let of_shared = plan.sources.iter().filter(|it| it.config.is_shared()).map(|it| &routes[&it.name]);
    let of_shared: BTreeSet<usize> = of_shared.flat_map(|it| it.sinks()).collect();
    of_shared.into_iter().for_each(|it| nodes[it].limit(&rules));
    let graph = Graph { plan, nodes, letters_of, routes, counters, workers, rules, abandon_pending, halt };

    let (shared, own): (Vec<&PlannedSource>, _) = plan.sources.iter().partition(|it| it.config.is_shared());
    let handover = tokio::select! {
        biased;
        handover = Handover::prepare(&graph, &store) => handover?,
        () = stop.cancelled() => return Ok(Ending::DrainCut),
    };
    let mut parts: FuturesUnordered<PartRun<'_>> = FuturesUnordered::new();
    if !own.is_empty() {
        let sources = own.into_iter().map(|planned| Origin { planned, claim: None }).collect();
        let part = Part { graph: &graph, sources, store };
        parts.push(Box::pin(graph.halt.limit(part.run(graph.halt.token()))));
    }
    for planned in shared {
        let sharing = Sharing { graph: &graph, planned, handover: &handover };
        parts.push(Box::pin(sharing.run()));
    }
    let mut ending = Ending::InputEnded;
    while let Some(ended) = parts.next().await {
        match ended {
            Ok(ended) => ending = ending.max(ended),
            Err(error) => graph.halt.fail(error),
        }
    }
    drop(parts);
    graph.halt.into_failure().map_or(Ok(ending), Err)
}

type PartRun<'a> = Pin<Box<dyn Future<Output = Result<Ending, RunError>> + 'a>>;

/// A sink that is open, and how its deliveries are made.
pub(crate) struct SinkNode {
    pub side: Arc<SinkSide>,
    pub promise: Promise,
    pub batch: Batch,
    pub in_flight_max: usize,
    pub fingerprint: String,
    /// What all parts may hold for it, if there may be several: see [`crate::budget`].
    pub budget: Option<Budget>,
    /// When deliveries go out whose age lets them, of whichever part.
    pub pace: Pace,
}

impl SinkNode {
    /// Gives the sink what one part alone may hold, for all of them.
    fn limit(&mut self, rules: &Rules) {
        let alone = budget::of_one_part(QUEUED_BYTES_MAX, &self.batch, self.in_flight_max);
        self.budget = Some(Budget::new((rules.budget)(alone)));
    }
}

/// The nodes whose refused rows go to the dead letters.
fn refusing_nodes(plan: &Plan) -> Vec<String> {
    let sources = plan.sources.iter().map(|it| (&it.name, it.on_refused));
    let transforms = plan.transforms.iter().map(|it| (&it.name, it.on_refused));
    let kept = |(name, on_refused): &(&String, OnRefused)| {
        *on_refused == OnRefused::DeadLetters && !is_refused_port_read(plan, name)
    };
    sources.chain(transforms).filter(kept).map(|(name, _)| name.clone()).collect()
}

/// The name under which the state knows the dead letters of a node.
pub(crate) fn letters_name(node: &str) -> String {
    format!("{DEAD_LETTERS} {node}")
}

/// Opens every sink of the plan, and behind them those for the dead letters of `kept` nodes.
async fn open_sinks(
    plan: &Plan,
    letters: Option<Arc<dyn Deliver>>,
    kept: &[String],
    jitter_seed: u64,
) -> Result<Vec<SinkNode>, RunError> {
    let side = |name: &str, sink: Box<dyn Sink>, retry, on_refused, letters| {
        let (pipeline, version, name) = (plan.name.clone(), plan.version.clone(), name.into());
        Arc::new(SinkSide { pipeline, version, name, sink, retry, on_refused, letters, jitter_seed })
    };
    let mut nodes = Vec::new();
    for planned in &plan.sinks {
        let sink = planned.config.open(planned.input.clone()).await;
        let sink = sink.map_err(|error| RunError::new(&planned.name, "could not be opened", error))?;
        nodes.push(SinkNode {
            side: side(&planned.name, sink, planned.retry, planned.on_refused, letters.clone()),
            promise: planned.config.promise(),
            batch: planned.batch,
            in_flight_max: planned.in_flight_max,
            fingerprint: planned.fingerprint.clone(),
            budget: None,
            pace: Pace::new(planned.batch.interval_min.duration()),
        });
    }
    // Which rows are refused follows from anything upstream; the sinks' fingerprints together stand for all of it.
    let fingerprint = plan.sinks.iter().map(|it| it.fingerprint.as_str()).collect::<Vec<_>>().join(" ");
    for node in kept {
        let Some(letters) = &letters else { continue };
        let batch = Batch { rows_max: 10_000, bytes_max: ByteSize::mib(8), ..Batch::default() };
        nodes.push(SinkNode {
            side: side(&letters_name(node), whole(letters.clone()), Retry::default(), OnRefused::Stop, None),
            promise: Promise::OncePerId,
            batch,
            in_flight_max: 1,
            fingerprint: format!("{:032x}", xxhash_rust::xxh3::xxh3_128(fingerprint.as_bytes())),
            budget: None,
            pace: Pace::new(batch.interval_min.duration()),
        });
    }
    Ok(nodes)
}

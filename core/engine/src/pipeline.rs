//! Opens the sinks of a plan, and sees its parts through.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use forebay_api::plan::{OnRefused, PlannedSource, Retry};
use forebay_api::{Batch, ByteSize, Deliver, Plan, Promise, Sink, whole};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::counters::{Counters, DEAD_LETTERS};
use crate::delivery::SinkSide;
use crate::flow::is_refused_port_read;
use crate::part::{Origin, Part};
use crate::rules::Rules;
use crate::share::share;
use crate::{Ending, Options, RunError};

/// Everything of a pipeline that its parts have in common.
pub(crate) struct Graph<'a> {
    pub plan: &'a Plan,
    /// The sinks of the plan by their numbers, and behind them those for the dead letters.
    pub nodes: Vec<SinkNode>,
    /// The numbers of the sinks that keep the dead letters, by node.
    pub letters_of: BTreeMap<String, usize>,
    pub counters: Arc<Counters>,
    pub workers: usize,
    pub rules: Rules,
}

/// Runs until the input ends, a stop is asked for, or something goes wrong.
pub(crate) async fn run(plan: &Plan, options: Options, rules: Rules) -> Result<Ending, RunError> {
    let Options { store, letters, stop, counters, workers, jitter_seed, abandon_pending } = options;
    let kept = if letters.is_some() { refusing_nodes(plan) } else { Vec::new() };
    let letters_of = kept.iter().enumerate().map(|(nth, node)| (node.clone(), plan.sinks.len() + nth)).collect();
    let nodes = tokio::select! {
        biased;
        nodes = open_sinks(plan, letters, &kept, jitter_seed) => nodes?,
        () = stop.cancelled() => return Ok(Ending::DrainCut),
    };
    let graph = Graph { plan, nodes, letters_of, counters, workers, rules };

    let (shared, own): (Vec<&PlannedSource>, _) = plan.sources.iter().partition(|it| it.config.is_shared());
    let halt = stop.child_token();
    let mut parts: FuturesUnordered<PartRun<'_>> = FuturesUnordered::new();
    if !own.is_empty() {
        let sources = own.into_iter().map(|planned| Origin { planned, claim: None }).collect();
        let part = Part { graph: &graph, sources, store, abandon_pending };
        parts.push(Box::pin(part.run(&halt)));
    }
    for planned in shared {
        parts.push(Box::pin(share(&graph, planned, abandon_pending, &halt)));
    }
    let mut ending = Ending::InputEnded;
    let mut failed = None;
    while let Some(ended) = parts.next().await {
        match ended {
            Ok(ended) => ending = ending.max(ended),
            Err(error) => {
                failed.get_or_insert(error);
                // What the others have read is delivered.
                halt.cancel();
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(ending),
    }
}

type PartRun<'a> = Pin<Box<dyn Future<Output = Result<Ending, RunError>> + 'a>>;

/// A sink that is open, and how its deliveries are made.
pub(crate) struct SinkNode {
    pub side: Arc<SinkSide>,
    pub promise: Promise,
    pub batch: Batch,
    pub in_flight_max: usize,
    pub fingerprint: String,
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
        });
    }
    // Which rows are refused follows from anything upstream; the sinks' fingerprints together stand for all of it.
    let fingerprint = plan.sinks.iter().map(|it| it.fingerprint.as_str()).collect::<Vec<_>>().join(" ");
    for node in kept {
        let Some(letters) = &letters else { continue };
        nodes.push(SinkNode {
            side: side(&letters_name(node), whole(letters.clone()), Retry::default(), OnRefused::Stop, None),
            promise: Promise::OncePerId,
            batch: Batch { rows_max: 10_000, bytes_max: ByteSize::mib(8), ..Batch::default() },
            in_flight_max: 1,
            fingerprint: format!("{:032x}", xxhash_rust::xxh3::xxh3_128(fingerprint.as_bytes())),
        });
    }
    Ok(nodes)
}

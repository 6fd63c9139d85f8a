//! A source whose partitions several processes share: each partition that this process holds is a part of its own.
//!
//! So a delivery has rows of one partition only, and what is pending travels with the claim to it. A claim that is lost
//! takes its part along, in the middle of whatever it does: what was not made visible is made by the next owner, under
//! the same id.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_api::Claim;
use forebay_api::plan::PlannedSource;
use forebay_state::{ClaimStore, StoreError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::flow::Flow;
use crate::part::{Origin, Part};
use crate::pipeline::Graph;
use crate::{Ending, RunError};

/// Reads the partitions that this process is given, until there are no more or a stop is asked for.
pub(crate) async fn share(
    graph: &Graph<'_>,
    planned: &PlannedSource,
    abandon_pending: bool,
    stop: &CancellationToken,
) -> Result<Ending, RunError> {
    let name = &planned.name;
    let joined = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Ending::DrainCut),
        joined = planned.config.claims(&graph.plan.name) => joined,
    };
    let mut claims = joined.map_err(|error| RunError::new(name, "could not be joined", error))?;
    let halt = stop.child_token();
    let mut held = FuturesUnordered::new();
    let mut failed = None;
    let mut ending = Ending::InputEnded;
    let mut more = true;
    while more || !held.is_empty() {
        tokio::select! {
            biased;
            () = halt.cancelled(), if more => more = false,
            Some(ended) = held.next(), if !held.is_empty() => match ended {
                Ok(ended) => ending = ending.max(ended),
                Err(error) => {
                    failed.get_or_insert(error);
                    halt.cancel();
                }
            },
            claim = claims.next(), if more => match claim {
                Ok(Some(claim)) => held.push(hold(graph, planned, Arc::from(claim), abandon_pending, &halt)),
                Ok(None) => more = false,
                Err(error) => {
                    failed.get_or_insert(RunError::new(name, "could not be shared", error));
                    halt.cancel();
                }
            },
        }
    }
    if let Err(error) = claims.leave().await {
        tracing::warn!(source = name, "could not say that this process leaves: {}", crate::causes(error.as_ref()));
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(if stop.is_cancelled() { ending.max(Ending::Drained) } else { ending }),
    }
}

/// Reads one partition until it ends, somebody else is to have it, or somebody else has it.
async fn hold(
    graph: &Graph<'_>,
    planned: &PlannedSource,
    claim: Arc<dyn Claim>,
    abandon_pending: bool,
    stop: &CancellationToken,
) -> Result<Ending, RunError> {
    let (name, partition) = (&planned.name, claim.partition().clone());
    let let_go = stop.child_token();
    let part = async {
        let store = ClaimStore::open(claim.clone(), &graph.plan.name, name, sinks_of(graph, planned)?);
        let store = store.map_err(|error| RunError::new(name, "could not take a partition over", Box::new(error)))?;
        let sources = vec![Origin { planned, claim: Some(claim.clone()) }];
        Part { graph, sources, store: Arc::new(store), abandon_pending }.run(&let_go).await
    };
    let wanted = async {
        claim.wanted().await;
        tracing::info!(source = name, %partition, "another process is to have this partition: finishing what is under way");
        let_go.cancel();
        std::future::pending::<()>().await;
    };
    let watched = async {
        tokio::select! {
            biased;
            () = claim.lost() => None,
            ended = part => Some(ended),
            () = wanted => None,
        }
    };
    let ended = match watched.await {
        Some(Err(error)) if is_lost(&error) => None,
        other => other,
    };
    let Some(ended) = ended else {
        tracing::info!(source = name, %partition, "another process has this partition now: what was under way is its to finish");
        return Ok(Ending::InputEnded);
    };
    // Also after a failure: others may go on at once.
    if let Err(error) = claim.release().await {
        let causes = crate::causes(error.as_ref());
        tracing::warn!(source = name, %partition, "could not release the partition, others wait until the claim runs out: {causes}");
    }
    // That it went to another process is no reason for this one to say that it was stopped.
    if stop.is_cancelled() { ended } else { ended.map(|_| Ending::InputEnded) }
}

/// The sinks that rows of a source reach, those for dead letters included.
fn sinks_of(graph: &Graph<'_>, planned: &PlannedSource) -> Result<BTreeSet<String>, RunError> {
    let flow = Flow::new(graph.plan, planned, &graph.letters_of, graph.counters.clone())?;
    Ok(flow.sinks().into_iter().map(|it| graph.nodes[it].side.name.clone()).collect())
}

/// Whether a part ended because its partition is somebody else's.
fn is_lost(error: &RunError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.cause.as_ref());
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(StoreError::Lost { .. })) {
            return true;
        }
        cause = error.source();
    }
    false
}

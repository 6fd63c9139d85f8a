//! A source whose partitions several processes share: each partition that this process holds is a part of its own.
//!
//! So a delivery has rows of one partition only, and what is pending travels with the claim to it. A claim that is lost
//! takes its part along, in the middle of whatever it does: what was not made visible is made by the next owner, under
//! the same id.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_api::plan::PlannedSource;
use forebay_api::{BoxError, Claim, Claims, causes, chain};
use forebay_state::{ClaimStore, StoreError};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::handover::Handover;
use crate::part::{Origin, Part};
use crate::pipeline::Graph;
use crate::{Ending, RunError};

/// A source whose partitions several processes share, as this one sees it.
pub(crate) struct Sharing<'a> {
    pub graph: &'a Graph<'a>,
    pub planned: &'a PlannedSource,
    pub handover: &'a Handover,
}

impl Sharing<'_> {
    /// Reads the partitions that this process is given, until there are no more or the run halts.
    pub async fn run(self) -> Result<Ending, RunError> {
        let (name, halt) = (&self.planned.name, &self.graph.halt);
        let joined = tokio::select! {
            biased;
            () = halt.token().cancelled() => return Ok(Ending::DrainCut),
            joined = self.join() => joined,
        };
        let mut claims = joined.map_err(|error| RunError::new(name, "could not be joined", error))?;
        let ended = halt.limit(self.hold_all(&mut *claims)).await;
        if let Err(error) = claims.leave().await {
            tracing::warn!(source = name, "could not say that this process leaves: {}", causes(error.as_ref()));
        }
        ended
    }

    async fn join(&self) -> Result<Box<dyn Claims>, BoxError> {
        let alone = self.handover.known(&self.planned.name).await;
        self.planned.config.claims(&self.graph.plan.name, &alone).await
    }

    /// Reads the partitions side by side.
    async fn hold_all(&self, claims: &mut dyn Claims) -> Result<Ending, RunError> {
        let halt = &self.graph.halt;
        let mut held = FuturesUnordered::new();
        let mut ending = Ending::InputEnded;
        let mut more = true;
        while more || !held.is_empty() {
            tokio::select! {
                biased;
                () = halt.token().cancelled(), if more => {
                    more = false;
                    claims.enough();
                }
                Some(ended) = held.next(), if !held.is_empty() => match ended {
                    Ok(ended) => ending = ending.max(ended),
                    Err(error) => halt.fail(error),
                },
                claim = claims.next(), if more => match claim {
                    Ok(Some(claim)) => held.push(self.hold(Arc::from(claim))),
                    Ok(None) => more = false,
                    Err(error) => halt.fail(RunError::new(&self.planned.name, "could not be shared", error)),
                },
            }
        }
        Ok(if halt.token().is_cancelled() { ending.max(Ending::Drained) } else { ending })
    }

    /// Reads one partition until it ends, somebody else is to have it, or somebody else has it.
    async fn hold(&self, claim: Arc<dyn Claim>) -> Result<Ending, RunError> {
        let Self { graph, planned, handover } = self;
        let (name, partition) = (&planned.name, claim.partition().clone());
        let stop = graph.halt.token();
        let let_go = stop.child_token();
        let part = async {
            let store = ClaimStore::open(claim.clone(), &graph.plan.name, name, self.sinks());
            let store =
                store.map_err(|error| RunError::new(name, "could not take a partition over", Box::new(error)))?;
            handover.give(name, &*claim, &store).await?;
            let sources = vec![Origin { planned, claim: Some(claim.clone()) }];
            Part { graph, sources, store: Arc::new(store) }.run(&let_go).await
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
            let causes = causes(error.as_ref());
            tracing::warn!(source = name, %partition, "could not release the partition, others wait until the claim runs out: {causes}");
        }
        // That it went to another process is no reason for this one to say that it was stopped.
        if stop.is_cancelled() { ended } else { ended.map(|_| Ending::InputEnded) }
    }

    /// The sinks that rows of the source reach, those for dead letters included.
    fn sinks(&self) -> BTreeSet<String> {
        let Graph { nodes, .. } = self.graph;
        self.graph.route(&self.planned.name).sinks.keys().map(|it| nodes[*it].side.name.clone()).collect()
    }
}

/// Whether a part ended because its partition is somebody else's.
fn is_lost(error: &RunError) -> bool {
    chain(error).any(|it| matches!(it.downcast_ref(), Some(StoreError::Lost { .. })))
}

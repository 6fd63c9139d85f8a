//! A store that travels with a claim: what is kept about one partition that several processes share.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Claim, ClaimError, Position};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{Change, LogKey, Pending, Snapshot, Store, StoreError, Way, WayKey};

/// The layout of what is kept.
const FORMAT: u32 = 1;

/// Keeps the state of one partition where the claim to it is kept.
pub struct ClaimStore {
    pipeline: String,
    claim: Arc<dyn Claim>,
    source: String,
    sinks: BTreeSet<String>,
    snapshot: Mutex<Snapshot>,
}

/// What is kept, as JSON: a partition has few positions and deliveries.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    pipeline: String,
    epoch: String,
    committed: Vec<(LogKey, Position)>,
    pending: Vec<Pending>,
    #[serde(default)]
    ways: Vec<(WayKey, Way)>,
}

impl ClaimStore {
    /// The store of a claim to a partition of `source`, of which `sinks` have rows.
    ///
    /// Where the last owner kept nothing that can be used, every sink stands where the claim says.
    pub fn open(
        claim: Arc<dyn Claim>,
        pipeline: &str,
        source: &str,
        sinks: BTreeSet<String>,
    ) -> Result<Self, StoreError> {
        let place = || format!("the claim to {source}/{}", claim.partition());
        let kept = claim.kept();
        let snapshot = match &kept.state {
            Some(bytes) => {
                let unread = |error: serde_json::Error| failed(&place(), "read", error.into());
                let Kept { format, pipeline: owner, epoch, committed, pending, ways } =
                    serde_json::from_slice(bytes).map_err(unread)?;
                if format != FORMAT {
                    let what = format!("{} holds layout {format}, and this version reads {FORMAT}", place());
                    return Err(StoreError::Foreign(what));
                }
                if owner != pipeline {
                    let what = format!("{} belongs to the pipeline `{owner}`, not `{pipeline}`", place());
                    return Err(StoreError::Foreign(what));
                }
                let pending = pending.into_iter().map(|it| ((it.sink.clone(), it.number), it)).collect();
                let (committed, ways) = (committed.into_iter().collect(), ways.into_iter().collect());
                Snapshot { epoch, committed, pending, ways }
            }
            None => {
                let at = kept.committed.clone().unwrap_or(Position::Start);
                let key = |sink: &String| LogKey {
                    sink: sink.clone(),
                    source: source.to_owned(),
                    partition: claim.partition().clone(),
                };
                let committed = match at {
                    Position::Start => Default::default(),
                    at => sinks.iter().map(|it| (key(it), at.clone())).collect(),
                };
                Snapshot { epoch: crate::file::new_epoch(), committed, ..Snapshot::default() }
            }
        };
        let pipeline = pipeline.to_owned();
        Ok(Self { pipeline, claim, source: source.to_owned(), sinks, snapshot: Mutex::new(snapshot) })
    }

    /// The position that every sink has reached.
    fn least(&self, snapshot: &Snapshot) -> Position {
        let of = |sink: &String| {
            let partition = self.claim.partition().clone();
            let key = LogKey { sink: sink.clone(), source: self.source.clone(), partition };
            snapshot.committed.get(&key).cloned().unwrap_or(Position::Start)
        };
        self.sinks.iter().map(of).min().unwrap_or(Position::Start)
    }
}

#[async_trait]
impl Store for ClaimStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        Ok(self.snapshot.lock().await.clone())
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        // Held over the write: changes are made durable in the order in which they build on each other.
        let mut snapshot = self.snapshot.lock().await;
        let mut next = snapshot.clone();
        next.apply(change)?;
        let place = || format!("the claim to {}/{}", self.source, self.claim.partition());
        let kept = Kept {
            format: FORMAT,
            pipeline: self.pipeline.clone(),
            epoch: next.epoch.clone(),
            committed: next.committed.iter().map(|(key, at)| (key.clone(), at.clone())).collect(),
            pending: next.pending.values().cloned().collect(),
            ways: next.ways.iter().map(|(key, way)| (key.clone(), way.clone())).collect(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(&place(), "written", error.into()))?;
        match self.claim.keep(&bytes, &self.least(&next)).await {
            Ok(()) => {}
            Err(ClaimError::Lost) => return Err(StoreError::Lost { place: place() }),
            Err(error) => return Err(failed(&place(), "written", error.into())),
        }
        *snapshot = next;
        Ok(())
    }
}

fn failed(path: &str, doing: &'static str, source: BoxError) -> StoreError {
    StoreError::Failed { path: path.to_owned(), doing, source }
}

//! From reading a source alone to sharing it: what this process knows of a partition goes along with the first claim
//! that it wins to it.
//!
//! From then on only the claims know how far the partition is read. So there is no way back: a source that is to be read
//! alone again would go on where it stood before it was shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::{Claim, Kept, Partition, Plan, Position};
use forebay_state::{Advance, Change, ClaimStore, LogKey, Snapshot, Store, StoreError, Way, WayKey};
use tokio::sync::Mutex;

use crate::RunError;
use crate::outlet::write;
use crate::part::{Origin, begun_mark, load};
use crate::pipeline::Graph;
use crate::rebuild::Rebuild;

/// In place of a sink's name the state notes under this one which partitions this process has claimed. No node of a file
/// can have such a name.
pub(crate) const SHARED: &str = "[shared]";

/// What the state of this process knows of the sources that are shared.
pub(crate) struct Handover {
    store: Arc<dyn Store>,
    committed: Mutex<Committed>,
    ways: BTreeMap<WayKey, Way>,
}

/// As in [`Snapshot`].
type Committed = BTreeMap<LogKey, Position>;

impl Handover {
    /// Reads the state. Deliveries that it has begun alone are made first: they may hold rows of many partitions, and
    /// no claim to one of them could take them along.
    pub async fn prepare(graph: &Graph<'_>, store: &Arc<dyn Store>) -> Result<Self, RunError> {
        let is_shared = |source: &str| is_shared(graph.plan, source);
        if !graph.plan.sources.iter().any(|it| is_shared(&it.name)) {
            return Ok(Self { store: store.clone(), committed: Mutex::default(), ways: BTreeMap::new() });
        }
        let mut snapshot = load(&**store).await?;
        if snapshot.pending.values().any(|it| it.spans.iter().any(|it| is_shared(&it.source))) {
            let sources: Vec<Origin<'_>> =
                graph.plan.sources.iter().map(|planned| Origin { planned, claim: None }).collect();
            Rebuild::begin(graph, &sources, &**store).await?.run().await?;
            snapshot = load(&**store).await?;
        }
        snapshot.committed.retain(|key, _| is_shared(&key.source));
        Ok(Self { store: store.clone(), committed: Mutex::new(snapshot.committed), ways: snapshot.ways })
    }

    /// How far at least the sinks have the partitions of a source that this process has read alone, and has not claimed
    /// since.
    pub async fn known(&self, source: &str) -> BTreeMap<Partition, Position> {
        let committed = self.committed.lock().await;
        let of_source = || committed.iter().filter(|(key, _)| key.source == source && key.partition != begun_mark());
        let claimed: BTreeSet<&Partition> =
            of_source().filter(|(key, _)| key.sink == SHARED).map(|(key, _)| &key.partition).collect();
        let mut known: BTreeMap<Partition, Position> = BTreeMap::new();
        for (key, at) in of_source().filter(|(key, _)| !claimed.contains(&key.partition)) {
            let least = known.entry(key.partition.clone()).or_insert_with(|| at.clone());
            *least = at.min(least).clone();
        }
        known
    }

    /// Called with each claim that is won: hands over what is known of its partition, once. It is durable there before
    /// it is noted here that it was.
    pub async fn give(&self, source: &str, claim: &dyn Claim, store: &ClaimStore) -> Result<(), RunError> {
        let partition = claim.partition();
        let key = |sink: &str| LogKey { sink: sink.into(), source: source.into(), partition: partition.clone() };
        // Held over the writes: a claim that is lost without knowing it and the next one may be here at the same time.
        let mut committed = self.committed.lock().await;
        if committed.contains_key(&key(SHARED)) {
            return Ok(());
        }
        let known = known(&committed, source, partition);
        if known.keys().any(|it| it.partition == *partition) {
            if *claim.kept() == Kept::default() {
                tracing::info!(source, %partition, "this process has read it alone before: what it knows goes along with the claim");
                let advance = known.into_iter().map(|(key, to)| Advance { key, from: Position::Start, to }).collect();
                let of_source = |(key, way): (&WayKey, &Way)| (key.0 == source).then(|| (key.clone(), way.clone()));
                let ways = self.ways.iter().filter_map(of_source).collect();
                write(store, source, Change { advance, ways, ..Change::default() }).await?;
            } else {
                tracing::warn!(
                    source, %partition,
                    "this process has read it alone before, but it has been claimed since: it goes on from what the claim says"
                );
            }
        }
        let claimed = Advance { key: key(SHARED), from: Position::Start, to: Position::End };
        let noted = self.store.apply(Change { advance: vec![claimed], ..Change::default() }).await;
        match noted {
            // Moved: an earlier claim to it was lost just here.
            Ok(()) | Err(StoreError::Moved { .. }) => {}
            Err(error) => return Err(RunError::new(source, "could not note that it is shared", Box::new(error))),
        }
        committed.insert(key(SHARED), Position::End);
        Ok(())
    }
}

/// Where the sinks have a partition, and for which nodes dead letters are kept.
fn known(committed: &Committed, source: &str, partition: &Partition) -> Committed {
    let is_of_it = |it: &LogKey| it.source == source && [partition, &begun_mark()].contains(&&it.partition);
    committed.iter().filter(|(key, _)| is_of_it(key)).map(|(key, at)| (key.clone(), at.clone())).collect()
}

/// Refuses to read a source alone of which this process has claimed a partition before.
pub(crate) fn check_not_shared_before(plan: &Plan, snapshot: &Snapshot) -> Result<(), RunError> {
    let is_alone = |source: &str| plan.sources.iter().any(|it| it.name == source) && !is_shared(plan, source);
    let before = snapshot.committed.keys().find(|it| it.sink == SHARED && is_alone(&it.source));
    before.map_or(Ok(()), |key| {
        let what = format!("how far `{}` was read is kept with the claims to it, and not here", key.partition);
        Err(RunError::new(&key.source, "was shared with other processes, and cannot be read alone", what.into())
            .hint("share it again, with the `leases` that it had; or give it another name, under which it begins anew"))
    })
}

fn is_shared(plan: &Plan, source: &str) -> bool {
    plan.sources.iter().any(|it| it.name == source && it.config.is_shared())
}

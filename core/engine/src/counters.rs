//! What happened, counted: for progress, for the summary, for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use forebay_api::Plan;
use serde::Serialize;

use crate::waiting::Waiting;
use crate::watched::Watched;

/// The counters of every node of a pipeline, by name. Shared while the pipeline runs.
#[derive(Debug, Default)]
pub struct Counters {
    nodes: BTreeMap<String, NodeCounters>,
}

/// The counters of one node. Which of them move depends on the kind of node.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// Sources: rows read that a sink still lacked. Transforms and sinks: rows that came in.
    pub rows_in: AtomicU64,
    /// Bytes of Arrow data of those rows.
    pub bytes_in: AtomicU64,
    /// Rows sent on; for sinks: rows delivered.
    pub rows_out: AtomicU64,
    /// Rows that a transform neither sent nor refused.
    pub filtered: AtomicU64,
    /// Rows refused.
    pub refused: AtomicU64,
    /// Sinks: deliveries made visible.
    pub deliveries: AtomicU64,
    /// Sinks: deliveries of an earlier run that were rebuilt.
    pub rebuilt: AtomicU64,
    /// Sinks: tries that failed and were made again.
    pub retries: AtomicU64,
    /// Sources: partitions read to their end in this run.
    pub partitions_ended: AtomicU64,
    /// Sources: partitions that every sink had to their end before this run.
    pub partitions_known: AtomicU64,
    /// Sinks: the most bytes that ever waited to be staged.
    pub queued_bytes_peak: AtomicU64,
    /// Sinks: what has rows and is not delivered.
    pub(crate) waiting: Arc<Waiting>,
    /// Sources: what they say themselves.
    pub(crate) watched: Watched,
}

/// The counters of one node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "as in `NodeCounters`")]
pub struct Counts {
    pub rows_in: u64,
    pub bytes_in: u64,
    pub rows_out: u64,
    pub filtered: u64,
    pub refused: u64,
    pub deliveries: u64,
    pub rebuilt: u64,
    pub retries: u64,
    pub partitions_ended: u64,
    pub partitions_known: u64,
    pub queued_bytes_peak: u64,
    /// For how many milliseconds the oldest delivery of a sink that has rows has not been made; 0 if there is none.
    pub waiting_millis: u64,
    /// Requests that came to a source, by what became of them: see [`forebay_api::Stats::requests`].
    pub requests: BTreeMap<&'static str, u64>,
    /// How far a source is behind, if it knows: see [`forebay_api::Stats::behind`].
    pub behind_millis: Option<u64>,
}

/// The name under which all dead letters are counted; in the state the node that refuses follows it. No node of a
/// file can have such a name.
pub const DEAD_LETTERS: &str = "[dead_letters]";

impl Counters {
    /// Counters for every node of the plan, all zero.
    pub fn new(plan: &Plan) -> Self {
        let sources = plan.sources.iter().map(|it| &it.name);
        let transforms = plan.transforms.iter().map(|it| &it.name);
        let sinks = plan.sinks.iter().map(|it| &it.name);
        let names = sources.chain(transforms).chain(sinks).cloned().chain([DEAD_LETTERS.to_owned()]);
        Self { nodes: names.map(|it| (it, NodeCounters::default())).collect() }
    }

    /// The counters of a node.
    ///
    /// # Panics
    ///
    /// If the plan has no such node.
    pub fn node(&self, name: &str) -> &NodeCounters {
        let name = if name.starts_with(DEAD_LETTERS) { DEAD_LETTERS } else { name };
        self.nodes.get(name).unwrap_or_else(|| panic!("the plan has no node `{name}`"))
    }

    /// All of them, at this moment.
    pub fn counts(&self) -> BTreeMap<&str, Counts> {
        self.nodes.iter().map(|(name, it)| (name.as_str(), it.counts())).collect()
    }
}

impl NodeCounters {
    /// All of them, at this moment.
    pub fn counts(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            deliveries: self.deliveries.load(Relaxed),
            rebuilt: self.rebuilt.load(Relaxed),
            retries: self.retries.load(Relaxed),
            partitions_ended: self.partitions_ended.load(Relaxed),
            partitions_known: self.partitions_known.load(Relaxed),
            queued_bytes_peak: self.queued_bytes_peak.load(Relaxed),
            waiting_millis: self.waiting.longest().map_or(0, |it| it.as_millis() as u64),
            requests: self.watched.requests(),
            behind_millis: self.watched.behind().map(|it| it.as_millis() as u64),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

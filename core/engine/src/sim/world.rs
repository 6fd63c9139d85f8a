//! What outlives a crash, and the oracle that judges it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use forebay_api::{DeliveryId, Partition, Position, Promise};
use forebay_state::{Change, Snapshot, StoreError};

use super::scenario::{
    Fate, Scenario, partition_name, refused_by_sink, row_id, sink_name, source_name, transform_name,
};
use crate::pipeline::letters_name;

/// A sink writes so many rows at a time; what it shows is known by delivery and chunk. So it notices when the same
/// delivery comes with other rows, or with the same rows in another order.
pub const CHUNK_ROWS: usize = 3;

pub struct World {
    pub scenario: Scenario,
    inner: Mutex<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    state: Snapshot,
    /// What each once-per-id sink shows.
    chunks: BTreeMap<(usize, DeliveryId, usize), Vec<i64>>,
    /// What each at-least-once sink shows: rows and how often.
    shown: BTreeMap<(usize, i64), usize>,
    /// Dead letters: component and row.
    letters: BTreeMap<DeliveryId, Vec<(String, i64)>>,
    /// The first thing that was broken.
    broken: Option<String>,
}

impl World {
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, inner: Mutex::default() }
    }

    /// The same world after the file was changed.
    pub fn under(&self, scenario: Scenario) -> Self {
        Self { scenario, inner: Mutex::new(self.inner.lock().unwrap().clone()) }
    }

    /// Says what was broken on the way, if anything.
    pub fn verdict(&self) -> Result<(), String> {
        self.inner.lock().unwrap().broken.clone().map_or(Ok(()), Err)
    }

    pub fn describe(&self) -> String {
        format!("{:#?}", self.inner.lock().unwrap().state)
    }

    pub fn load(&self) -> Snapshot {
        self.inner.lock().unwrap().state.clone()
    }

    /// Applies a change, and looks whether every row that it passes is safe.
    pub fn change(&self, change: Change) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().unwrap();
        for advance in &change.advance {
            let key = &advance.key;
            if let Some(what) = self.unsafe_row(&inner, &key.sink, &key.source, &key.partition, &advance.to) {
                inner.broken.get_or_insert(format!("{key} moved to {} past {what}", advance.to));
            }
        }
        inner.state.apply(change)
    }

    /// A source was told that everything up to `to` is safe everywhere.
    pub fn told(&self, source: usize, partition: &Partition, to: &Position) {
        let mut inner = self.inner.lock().unwrap();
        let letters = (0..=self.scenario.transforms).map(|node| letters_name(&self.node_name(node, source)));
        for sink in (0..self.scenario.sinks.len()).map(sink_name).chain(letters) {
            if let Some(what) = self.unsafe_row(&inner, &sink, &source_name(source), partition, to) {
                inner.broken.get_or_insert(format!("the source was told {to} of {partition}, past {what}"));
            }
        }
    }

    pub fn show_chunk(&self, sink: usize, id: &DeliveryId, chunk: usize, rows: &[i64]) {
        let mut inner = self.inner.lock().unwrap();
        match self.scenario.sinks[sink].promise {
            Promise::AtLeastOnce => rows.iter().for_each(|it| *inner.shown.entry((sink, *it)).or_default() += 1),
            Promise::OncePerId => {
                let shown = inner.chunks.entry((sink, id.clone(), chunk)).or_insert_with(|| rows.to_vec());
                if !self.scenario.sinks[sink].keeps_first {
                    *shown = rows.to_vec();
                }
            }
        }
    }

    pub fn keep_letters(&self, id: &DeliveryId, letters: Vec<(String, i64)>) {
        self.inner.lock().unwrap().letters.insert(id.clone(), letters);
    }

    /// The number of the row that a letter is about.
    pub fn row_of(&self, source: &str, partition: &str, position: &Position) -> i64 {
        let source = (0..self.scenario.sources.len()).find(|it| source_name(*it) == source).expect("a known source");
        let shape = &self.scenario.sources[source];
        let partition =
            (0..shape.partitions.len()).find(|it| partition_name(*it) == partition).expect("a known partition");
        row_id(source, partition, shape.place(partition, position))
    }

    /// A row at or before `to` that the sink neither shows nor refused, in words.
    fn unsafe_row(
        &self,
        inner: &Inner,
        sink: &str,
        source: &str,
        partition: &Partition,
        to: &Position,
    ) -> Option<String> {
        let source = (0..self.scenario.sources.len()).find(|it| source_name(*it) == source)?;
        let shape = &self.scenario.sources[source];
        let partition = (0..shape.partitions.len()).find(|it| partition_name(*it) == partition.as_str())?;
        let rows = (1..=shape.place(partition, to)).map(|it| row_id(source, partition, it));
        let lettered = |component: &str, id: i64| {
            inner.letters.values().flatten().any(|(name, it)| name == component && *it == id)
        };
        let number = (0..self.scenario.sinks.len()).find(|it| sink_name(*it) == sink);
        for id in rows.filter(|it| shape.fate(*it) != Fate::Hole) {
            let safe = match number {
                Some(sink) if self.scenario.shown_by(sink, source, id) => shows(inner, sink, id),
                Some(sink) if self.scenario.reaches(sink, source, id) => lettered(&sink_name(sink), id),
                Some(_) => true,
                None => {
                    let due = self.letters_due(source, id);
                    due.iter().all(|component| letters_name(component) != sink || lettered(component, id))
                }
            };
            if !safe {
                return Some(format!("row {id}, which `{sink}` does not have"));
            }
        }
        None
    }

    /// The components, apart from sinks, that are to have written a letter about a row.
    fn letters_due(&self, source: usize, id: i64) -> Vec<String> {
        let name = |node: usize| self.node_name(node, source);
        let nodes = 0..=self.scenario.transforms;
        let due = |node: &usize| self.scenario.refused_at(*node, source, id) && self.scenario.letters_of(*node);
        // A node that feeds nothing is not run.
        nodes.filter(due).filter(|node| *node == 0 || self.is_fed(*node)).map(name).collect()
    }

    /// The name of node `node` (0: the source, n: transform n - 1).
    fn node_name(&self, node: usize, source: usize) -> String {
        node.checked_sub(1).map_or_else(|| source_name(source), transform_name)
    }

    /// Whether a node's rows or letters can reach any sink, the one for dead letters included.
    fn is_fed(&self, node: usize) -> bool {
        self.scenario.letters_of(node) || self.scenario.sinks.iter().any(|it| it.reads.is_some_and(|it| it + 1 >= node))
    }

    /// After the end of the input: everything is there, and nothing else.
    pub fn complete(&self) -> Result<(), String> {
        self.verdict()?;
        let inner = self.inner.lock().unwrap();
        let mut expected_letters: BTreeMap<(String, i64), usize> = BTreeMap::new();
        let mut expected_rows: BTreeMap<(usize, i64), usize> = BTreeMap::new();
        for (source, shape) in self.scenario.sources.iter().enumerate() {
            for (partition, places) in shape.partitions.iter().enumerate() {
                for id in (1..=*places).map(|it| row_id(source, partition, it)) {
                    for component in self.letters_due(source, id) {
                        expected_letters.insert((component, id), 1);
                    }
                    for sink in 0..self.scenario.sinks.len() {
                        if self.scenario.shown_by(sink, source, id) {
                            expected_rows.insert((sink, id), 1);
                        } else if self.scenario.reaches(sink, source, id) && refused_by_sink(sink, id).is_some() {
                            expected_letters.insert((sink_name(sink), id), 1);
                        }
                    }
                }
            }
        }
        let mut letters: BTreeMap<(String, i64), usize> = BTreeMap::new();
        inner.letters.values().flatten().for_each(|it| *letters.entry(it.clone()).or_default() += 1);
        compare("dead letters", &expected_letters, &letters)?;

        let mut rows: BTreeMap<(usize, i64), usize> = BTreeMap::new();
        for ((sink, ..), chunk) in &inner.chunks {
            chunk.iter().for_each(|it| *rows.entry((*sink, *it)).or_default() += 1);
        }
        // What may be there more than once counts as once.
        rows.extend(inner.shown.keys().map(|it| (*it, 1)));
        compare("rows", &expected_rows, &rows)?;

        if let Some(pending) = inner.state.pending.values().next() {
            return Err(format!("still pending: {pending:?}"));
        }
        let open = inner.state.committed.iter().find(|(_, at)| **at != Position::End);
        open.map_or(Ok(()), |(key, at)| Err(format!("{key} stands at {at}, not at the end")))
    }
}

fn shows(inner: &Inner, sink: usize, id: i64) -> bool {
    inner.shown.contains_key(&(sink, id))
        || inner.chunks.iter().any(|((of, ..), rows)| *of == sink && rows.contains(&id))
}

fn compare<K: Ord + std::fmt::Debug>(
    what: &str,
    expected: &BTreeMap<K, usize>,
    found: &BTreeMap<K, usize>,
) -> Result<(), String> {
    if let Some((key, _)) = expected.iter().find(|(key, _)| !found.contains_key(key)) {
        return Err(format!("{what}: {key:?} is lost"));
    }
    if let Some((key, _)) = found.iter().find(|(key, _)| !expected.contains_key(key)) {
        return Err(format!("{what}: {key:?} is unexpected"));
    }
    match found.iter().find(|(_, times)| **times > 1) {
        Some((key, times)) => Err(format!("{what}: {key:?} is there {times} times")),
        None => Ok(()),
    }
}

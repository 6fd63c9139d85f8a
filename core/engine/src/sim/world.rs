//! What outlives a crash, and the oracle that judges it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use forebay_api::{DeliveryId, Partition, Position, Promise};
use forebay_state::{Change, Snapshot, StoreError};

use super::scenario::{Fate, Scenario, partition_name, row_id, sink_name, source_name, transform_name};
use crate::pipeline::letters_name;

/// A sink writes so many rows at a time; what it shows is known by delivery and chunk. So it notices when the same
/// delivery comes with other rows, or with the same rows in another order.
pub const CHUNK_ROWS: usize = 3;

pub struct World {
    pub scenario: Scenario,
    /// What it was before the file was changed in the middle of things: each row may have gone either way, but one.
    former: Option<Scenario>,
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
        Self { scenario, former: None, inner: Mutex::default() }
    }

    /// The same world after the file was changed.
    pub fn under(&self, scenario: Scenario) -> Self {
        Self { scenario, former: None, inner: Mutex::new(self.inner.lock().unwrap().clone()) }
    }

    /// The same world after the file was changed before its end.
    pub fn edited(&self, scenario: Scenario) -> Self {
        Self { former: Some(self.scenario.clone()), ..self.under(scenario) }
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
        let letters = (0..=self.scenario.transforms).map(|node| letters_name(&node_name(node, source)));
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
            let is_safe = |scenario: &Scenario| match number {
                Some(sink) if scenario.shown_by(sink, source, id) => shows(inner, sink, id),
                Some(sink) if scenario.reaches(sink, source, id) => lettered(&sink_name(sink), id),
                Some(_) => true,
                None => {
                    let due = letters_due(scenario, source, id);
                    due.iter().all(|component| letters_name(component) != sink || lettered(component, id))
                }
            };
            if !is_safe(&self.scenario) && !self.former.as_ref().is_some_and(is_safe) {
                return Some(format!("row {id}, which `{sink}` does not have"));
            }
        }
        None
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
                    let went = |it: &&Scenario| places_due(it, source, id) == inner.places(id);
                    let scenario = self.former.as_ref().filter(went).unwrap_or(&self.scenario);
                    let (components, sinks) = places_due(scenario, source, id);
                    expected_letters.extend(components.into_iter().map(|it| ((it, id), 1)));
                    expected_rows.extend(sinks.into_iter().map(|it| ((it, id), 1)));
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

impl Inner {
    /// Where a row is: the components that have written a letter about it, and the sinks that show it.
    fn places(&self, id: i64) -> (BTreeSet<String>, BTreeSet<usize>) {
        let letters = self.letters.values().flatten().filter(|it| it.1 == id).map(|it| it.0.clone());
        let chunks = self.chunks.iter().filter(|it| it.1.contains(&id)).map(|((sink, ..), _)| *sink);
        let shown = self.shown.keys().filter(|it| it.1 == id).map(|it| it.0);
        (letters.collect(), chunks.chain(shown).collect())
    }
}

/// Where a row is to be in the end: the components that write a letter about it, and the sinks that show it.
fn places_due(scenario: &Scenario, source: usize, id: i64) -> (BTreeSet<String>, BTreeSet<usize>) {
    let sinks = || (0..scenario.sinks.len()).filter(|it| scenario.reaches(*it, source, id));
    let (shown, refused): (BTreeSet<usize>, BTreeSet<usize>) =
        sinks().partition(|it| scenario.shown_by(*it, source, id));
    let refused = refused.into_iter().map(sink_name);
    (letters_due(scenario, source, id).into_iter().chain(refused).collect(), shown)
}

/// The components, apart from sinks, that are to have written a letter about a row.
fn letters_due(scenario: &Scenario, source: usize, id: i64) -> Vec<String> {
    let nodes = 0..=scenario.transforms;
    let due = |node: &usize| scenario.refused_at(*node, source, id) && scenario.letters_of(*node);
    // A node that feeds nothing is not run.
    let due = nodes.filter(due).filter(|node| *node == 0 || is_fed(scenario, *node));
    due.map(|node| node_name(node, source)).collect()
}

/// The name of node `node` (0: the source, n: transform n - 1).
fn node_name(node: usize, source: usize) -> String {
    node.checked_sub(1).map_or_else(|| source_name(source), transform_name)
}

/// Whether a node's rows or letters can reach any sink, the one for dead letters included.
fn is_fed(scenario: &Scenario, node: usize) -> bool {
    scenario.letters_of(node) || scenario.sinks.iter().any(|it| it.reads.is_some_and(|it| it + 1 >= node))
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

//! The way of rows through the nodes that refuse some, held against the way that they took before the start.
//!
//! A row that comes to such a node goes to the sinks behind it or to those that keep what it refuses, and each sink has
//! its own progress. If the file was changed so that the node decides otherwise, and a crash has left one sink further
//! than another, then a row between them may be wanted by none of them, or by both. No sink can tell; so what was begun
//! one way is finished that way, or given up.

use std::collections::BTreeSet;

use forebay_api::{Partition, Position};
use forebay_state::{Change, LogKey, Snapshot, Store, Way, WayKey};

use crate::RunError;
use crate::outlet::write;
use crate::part::{Origin, begun_mark};
use crate::pipeline::Graph;
use crate::route::{Route, is_refused_port_read};

/// What to do about sinks that were left apart by another way.
const FINISH: &str = "a crash left some sinks behind others: run the former file once to its end; \
    or give up with `--abandon-pending`, which goes on by the new way, and may lose or double rows between them";

/// Refuses to go on where a way has changed while sinks behind it are apart, and notes the ways as they are now.
pub(crate) async fn check_ways(
    graph: &Graph<'_>,
    sources: &[Origin<'_>],
    store: &dyn Store,
    snapshot: &Snapshot,
) -> Result<(), RunError> {
    let mut changed = Vec::new();
    for route in sources.iter().map(|it| graph.route(&it.planned.name)) {
        for (key, way) in ways(graph, route) {
            let former = snapshot.ways.get(&key);
            if former == Some(&way) {
                continue;
            }
            if let Some(former) = former.filter(|it| it.fingerprint != way.fingerprint) {
                // A sink that is new has nothing by the former way, one that is gone wants nothing by the new one.
                let sinks: BTreeSet<&str> = former.sinks.intersection(&way.sinks).map(String::as_str).collect();
                if let Some(partition) = apart(snapshot, &key.0, &sinks) {
                    tell(graph, &key, &partition)?;
                }
            }
            changed.push((key, way));
        }
    }
    match changed.is_empty() {
        true => Ok(()),
        false => write(store, "[state]", Change { ways: changed, ..Change::default() }).await,
    }
}

/// The ways through the nodes of a route that refuse rows to somewhere.
fn ways(graph: &Graph<'_>, route: &Route) -> Vec<(WayKey, Way)> {
    let source = graph.plan.sources.iter().filter(|it| it.name == *route.source);
    let source = source.map(|it| (&it.name, &it.fingerprint));
    let steps = route.steps.iter().map(|it| &graph.plan.transforms[it.transform]);
    let nodes = source.chain(steps.map(|it| (&it.name, &it.fingerprint)));
    let refuses = |node: &str| graph.letters_of.contains_key(node) || is_refused_port_read(graph.plan, node);
    let way = |(node, fingerprint): (&String, &String)| {
        let sinks = route.fed_by(node).into_iter().map(|it| graph.nodes[it].side.name.clone()).collect();
        ((route.source.to_string(), node.clone()), Way { fingerprint: fingerprint.clone(), sinks })
    };
    nodes.filter(|(node, _)| refuses(node)).map(way).collect()
}

/// A partition in which the sinks are not at one place.
fn apart(snapshot: &Snapshot, source: &str, sinks: &BTreeSet<&str>) -> Option<Partition> {
    let is_of_source = |it: &&LogKey| it.source == source && sinks.contains(it.sink.as_str());
    let known = snapshot.committed.keys().filter(is_of_source).map(|it| &it.partition);
    let partitions: BTreeSet<&Partition> = known.filter(|it| **it != begun_mark()).collect();
    let at = |sink: &str, partition: &Partition| {
        let key = LogKey { sink: sink.into(), source: source.into(), partition: partition.clone() };
        snapshot.committed.get(&key).cloned().unwrap_or(Position::Start)
    };
    let is_apart = |it: &&&Partition| sinks.iter().map(|sink| at(sink, it)).collect::<BTreeSet<_>>().len() > 1;
    let apart = partitions.iter().find(is_apart).map(|it| (*it).clone());
    // What is visible ahead of a sink's position was made by the former way too.
    let ahead = snapshot.pending.values().filter(|it| it.settled && sinks.contains(it.sink.as_str()));
    apart.or_else(|| ahead.flat_map(|it| &it.spans).find(|it| it.source == source).map(|it| it.span.partition.clone()))
}

/// An error, or a warning if it is to go on all the same.
fn tell(graph: &Graph<'_>, (source, node): &WayKey, partition: &Partition) -> Result<(), RunError> {
    if graph.abandon_pending {
        tracing::warn!(
            source, node, %partition,
            "what decides which rows this node refuses was changed while some sinks were behind others: \
             rows between them may be lost or doubled"
        );
        return Ok(());
    }
    let what = format!(
        "it, or what is before it, was changed while the sinks behind it were at different places of `{source}/{partition}`: \
         rows between them might go to none of them, or be refused and delivered"
    );
    Err(RunError::new(node, "cannot go on from where it was", what.into()).hint(FINISH))
}

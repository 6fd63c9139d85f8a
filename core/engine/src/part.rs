//! A part of a pipeline whose positions are kept in one store: rebuild, open, run, end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::plan::PlannedSource;
use forebay_api::{BoxError, Claim, Partition, Position, Resume, Settler, Source};
use forebay_state::{Advance, Change, LogKey, Snapshot, Store};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, DEAD_LETTERS, add};
use crate::flow::Flow;
use crate::halt::Halt;
use crate::handover::SHARED;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::outlet::{Inlet, Outlet, OutletSettings, write};
use crate::pipeline::{Graph, SinkNode};
use crate::rebuild::Rebuild;
use crate::recovery::Standing;
use crate::route::Route;
use crate::rules::Rules;
use crate::settle::Settlements;
use crate::watched::Watching;
use crate::{Ending, RunError, tasks};

/// Sources whose positions are kept in one store, and that run together.
pub(crate) struct Part<'a> {
    pub graph: &'a Graph<'a>,
    pub sources: Vec<Origin<'a>>,
    pub store: Arc<dyn Store>,
}

/// A source of the plan, and who opens it.
#[derive(Clone)]
pub(crate) struct Origin<'a> {
    pub planned: &'a PlannedSource,
    /// The claim to the one partition that is read, if several processes share them.
    pub claim: Option<Arc<dyn Claim>>,
}

impl Origin<'_> {
    /// See [`forebay_api::SourceConfig::is_sent_to`].
    fn is_sent_to(&self) -> bool {
        self.claim.is_none() && self.planned.config.is_sent_to()
    }

    /// Opens the source.
    pub async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        match &self.claim {
            None => self.planned.config.open(resume).await,
            Some(claim) => claim.open(resume).await,
        }
    }
}

impl Part<'_> {
    /// Runs until the input ends, a stop is asked for, or something goes wrong.
    pub async fn run(self, stop: &CancellationToken) -> Result<Ending, RunError> {
        let Self { graph, sources, store } = self;
        let Graph { plan, nodes, counters, workers, rules, halt, .. } = graph;
        let ready = async {
            let rebuild = Rebuild::begin(graph, &sources, &*store).await?;
            let mut foreseen = rebuild.foreseen()?;
            for (_, change) in letters_begin(graph, &foreseen, &sources) {
                foreseen.apply(change).expect("it builds on what is foreseen");
            }
            let mut due = Vec::new();
            for origin in &sources {
                let route = graph.route(&origin.planned.name);
                let flow = |_| Flow::new(plan, route.clone(), counters.clone());
                let flows = (0..(*workers).max(1)).map(flow).collect::<Result<Vec<_>, _>>()?;
                due.push((origin, route, flows, None));
            }
            // A sink that is away may keep what is pending from being made for long.
            for (origin, .., early) in due.iter_mut().filter(|(origin, ..)| origin.is_sent_to()) {
                *early = Some(Open::new(graph, origin, &foreseen).await?);
            }
            rebuild.run().await?;
            Ok::<_, RunError>((due, foreseen))
        };
        let (due, foreseen) = tokio::select! {
            biased;
            ready = ready => ready?,
            // What is pending stays so.
            () = stop.cancelled() => return Ok(Ending::DrainCut),
        };

        let snapshot = load(&*store).await?;
        for (sink, change) in letters_begin(graph, &snapshot, &sources) {
            write(&*store, &sink, change).await?;
        }
        let snapshot = load(&*store).await?;
        // What is claimed meanwhile is noted beside.
        let of_sinks =
            |it: &Snapshot| it.committed.clone().into_iter().filter(|it| it.0.sink != SHARED).collect::<Vec<_>>();
        debug_assert_eq!(of_sinks(&snapshot), of_sinks(&foreseen), "what was foreseen has come about");
        let (mut lanes, mut watching) = (Vec::new(), Vec::new());
        for (origin, route, flows, early) in due {
            let Open { source, watched } = match early {
                Some(early) => early,
                None => Open::new(graph, origin, &snapshot).await?,
            };
            watching.push(watched);
            let standing = standing(&snapshot, &origin.planned.name, nodes);
            lanes.push(OpenLane { route: route.clone(), source, flows, standing });
        }
        let tasks = Tasks::start(nodes, lanes, &snapshot, &store, counters, stop, *rules);
        tasks.finish(halt).await?;
        drop(watching);
        Ok(if stop.is_cancelled() { Ending::Drained } else { Ending::InputEnded })
    }
}

/// A source that is open.
struct Open<'a> {
    source: Box<dyn Source>,
    watched: Option<Watching<'a>>,
}

impl<'a> Open<'a> {
    /// Opens a source where its sinks stand.
    async fn new(graph: &'a Graph<'a>, origin: &Origin<'_>, snapshot: &Snapshot) -> Result<Self, RunError> {
        let name = &origin.planned.name;
        let counters = graph.counters.node(name);
        let resume = standing(snapshot, name, &graph.nodes).resume(&graph.route(name).sinks());
        add(&counters.partitions_known, resume.values().filter(|it| **it == Position::End).count() as u64);
        let source = origin.open(Resume::After(resume)).await;
        let source = source.map_err(|error| RunError::new(name, "could not be opened", error))?;
        let watched = source.stats().map(|it| counters.watched.watch(it));
        Ok(Self { source, watched })
    }
}

/// The state notes under this partition, which no source has, that a node's dead letters are kept from here on.
pub(crate) fn begun_mark() -> Partition {
    Partition::from("")
}

/// Lets the dead letters of nodes that are new begin where the least advanced of the sinks is that the node feeds:
/// what those have passed was never refused by it, and what they lack is yet to come by it.
fn letters_begin(graph: &Graph<'_>, snapshot: &Snapshot, sources: &[Origin<'_>]) -> Vec<(String, Change)> {
    let nodes = &graph.nodes;
    let mut changes = Vec::new();
    for route in sources.iter().map(|it| graph.route(&it.planned.name)) {
        let standing = standing(snapshot, &route.source, nodes);
        for (node, index) in graph.letters_of.iter().filter(|(_, index)| route.sinks.contains_key(index)) {
            let sink = &nodes[*index].side.name;
            let key = |partition| LogKey { sink: sink.clone(), source: route.source.to_string(), partition };
            if snapshot.committed.contains_key(&key(begun_mark())) {
                continue;
            }
            let others: BTreeSet<usize> =
                route.fed_by(node).into_iter().filter(|it| !is_letters(&nodes[*it])).collect();
            let begins = standing.resume(&others).into_iter().chain([(begun_mark(), Position::End)]);
            let advance = begins.map(|(partition, to)| {
                let key = key(partition);
                let from = snapshot.committed.get(&key).cloned().unwrap_or(Position::Start);
                Advance { key, from, to }
            });
            let advance = advance.filter(|it| it.from < it.to).collect();
            changes.push((sink.clone(), Change { advance, ..Change::default() }));
        }
    }
    changes
}

fn is_letters(node: &SinkNode) -> bool {
    node.side.name.starts_with(DEAD_LETTERS)
}

pub(crate) async fn load(store: &dyn Store) -> Result<Snapshot, RunError> {
    store.load().await.map_err(|error| RunError::new("[state]", "could not be read", Box::new(error)))
}

/// Where each sink has the logs of a source.
fn standing(snapshot: &Snapshot, source: &str, nodes: &[SinkNode]) -> Standing {
    let mut standing = Standing::default();
    let of_source = snapshot.committed.iter().filter(|(key, _)| key.source == source && key.partition != begun_mark());
    for (key, position) in of_source {
        if let Some(sink) = nodes.iter().position(|it| it.side.name == key.sink) {
            standing.set(sink, &key.partition, position);
        }
    }
    standing
}

/// A source that is open, its way to the sinks, and where they stand.
struct OpenLane {
    route: Arc<Route>,
    source: Box<dyn Source>,
    flows: Vec<Flow>,
    standing: Standing,
}

/// Everything that runs.
struct Tasks {
    lanes: JoinSet<Result<(), RunError>>,
    outlets: JoinSet<Result<(), RunError>>,
    settlers: JoinSet<Result<(), RunError>>,
    settlements: Arc<Settlements>,
}

impl Tasks {
    fn start(
        nodes: &[SinkNode],
        mut lanes: Vec<OpenLane>,
        snapshot: &Snapshot,
        store: &Arc<dyn Store>,
        counters: &Arc<Counters>,
        stop: &CancellationToken,
        rules: Rules,
    ) -> Self {
        let mut settlements = Settlements::default();
        let mut settlers: Vec<(Arc<str>, Box<dyn Settler>)> = Vec::new();
        for lane in &mut lanes {
            if let Some(settler) = lane.source.settler() {
                settlements.enter(&lane.route.source, lane.route.sinks(), lane.standing.clone());
                settlers.push((lane.route.source.clone(), settler));
            }
        }
        let settlements = Arc::new(settlements);
        let mut tasks = Self {
            lanes: JoinSet::new(),
            outlets: JoinSet::new(),
            settlers: JoinSet::new(),
            settlements: settlements.clone(),
        };
        let mut inlets = BTreeMap::new();
        let reached: BTreeSet<usize> = lanes.iter().flat_map(|it| it.route.sinks()).collect();
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| reached.contains(index)) {
            let (inlet, queue) = Inlet::new(&node.side.name, node.budget.clone(), counters.clone());
            inlets.insert(index, inlet);
            let ledger = Ledger::new(&node.side.name, rules, &snapshot.committed);
            let settings = OutletSettings {
                index,
                batch: node.batch,
                in_flight_max: node.in_flight_max,
                fingerprint: node.fingerprint.clone(),
                epoch: snapshot.epoch.clone(),
                budget: node.budget.clone(),
                pace: node.pace.clone(),
                rules,
            };
            let outlet =
                Outlet::new(settings, node.side.clone(), store.clone(), counters.clone(), settlements.clone(), ledger);
            tasks.outlets.spawn(tasks::observed(outlet.run(queue)));
        }
        for OpenLane { route, source, flows, standing } in lanes {
            // The lanes hold the only ways in: when they are done, the outlets see the end.
            let (inlets, counters, stop) = (inlets.clone(), counters.clone(), stop.clone());
            let lane = Lane { route, source, flows, standing, inlets, counters, stop };
            tasks.lanes.spawn(tasks::observed(lane.run()));
        }
        for (name, settler) in settlers {
            let settlements = settlements.clone();
            tasks.settlers.spawn(tasks::observed(async move { settlements.tell(&name, settler).await }));
        }
        tasks
    }

    /// Sees everything to its end. What a lane could not read does not keep what was read from being delivered;
    /// what a sink could not deliver ends all of this part at once.
    async fn finish(mut self, halt: &Halt) -> Result<(), RunError> {
        while !self.lanes.is_empty() || !self.outlets.is_empty() {
            tokio::select! {
                biased;
                Some(done) = self.outlets.join_next() => ended(done)?,
                Some(told) = self.settlers.join_next() => ended(told)?,
                Some(done) = self.lanes.join_next() => {
                    if let Err(error) = ended(done) {
                        halt.fail(error);
                    }
                }
            }
        }
        self.settlements.close();
        while let Some(told) = self.settlers.join_next().await {
            ended(told)?;
        }
        Ok(())
    }
}

pub(crate) fn ended(done: Result<Result<(), RunError>, JoinError>) -> Result<(), RunError> {
    done.unwrap_or_else(|gone| Err(tasks::gone("engine", gone)))
}

//! One source at work: pulls, transforms, hands out.
//!
//! Reads are pulled one after the other, transformed several at a time, and handed out in the order in which they were
//! pulled. Who transforms holds one of the lane's [`Flow`]s; their number bounds how many reads are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::{Partition, Position, Read, Source};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, add};
use crate::flow::{Flow, Share};
use crate::outlet::{Gone, Inlet};
use crate::recovery::Standing;
use crate::route::Route;
use crate::{RunError, tasks};

/// A source, its way to the sinks, and where they stand.
pub(crate) struct Lane {
    pub route: Arc<Route>,
    pub source: Box<dyn Source>,
    /// As many as reads may be under way at a time.
    pub flows: Vec<Flow>,
    pub standing: Standing,
    /// By the sink's number in the plan.
    pub inlets: BTreeMap<usize, Inlet>,
    pub counters: Arc<Counters>,
    pub stop: CancellationToken,
}

/// A read being transformed, and the flow that does it.
type Transformed = JoinHandle<(Flow, Result<Vec<(usize, Share)>, RunError>)>;

impl Lane {
    /// Reads until the input ends or a stop is asked for.
    pub async fn run(self) -> Result<(), RunError> {
        let Self { route, source, flows, standing, inlets, counters, stop } = self;
        let (name, sinks) = (route.source.clone(), route.sinks());
        let (free, idle) = mpsc::channel(flows.len());
        let (begun, under_way) = mpsc::channel(flows.len());
        for flow in flows {
            free.try_send(flow).expect("there is room for every flow");
        }
        let mut puller = Puller { name: name.clone(), source, sinks, standing, counters, idle, begun };
        let pulled = async {
            let pulled = tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                pulled = puller.run() => pulled,
            };
            let Puller { mut source, begun, .. } = puller;
            // What was read is handed out meanwhile, to its end.
            drop(begun);
            if pulled.is_ok() {
                source.close().await;
            }
            pulled
        };
        // What could not be read does not keep what was read from being handed out; the other way round it does.
        let pulled = async { Ok(pulled.await) };
        let (pulled, ()) = tokio::try_join!(pulled, hand_out(&name, under_way, free, inlets))?;
        pulled
    }
}

/// The first half of a lane: pulls reads and gives them to flows.
struct Puller {
    name: Arc<str>,
    source: Box<dyn Source>,
    sinks: BTreeSet<usize>,
    standing: Standing,
    counters: Arc<Counters>,
    idle: mpsc::Receiver<Flow>,
    begun: mpsc::Sender<Transformed>,
}

impl Puller {
    async fn run(&mut self) -> Result<(), RunError> {
        let begun = self.standing.resume(&self.sinks).into_iter().filter(|it| it.1 != Position::End);
        let mut ends = Ends(begun.collect());
        loop {
            let read = self.source.next().await;
            let Some(read) = read.map_err(|error| RunError::new(&self.name, "could not read", error))? else {
                return Ok(());
            };
            ends.follow(&read).map_err(|what| broken(&self.name, what))?;
            if read.span.to == Position::End {
                add(&self.counters.node(&self.name).partitions_ended, 1);
            }
            for (piece, wanted) in self.standing.pieces(&self.sinks, read) {
                if wanted.is_empty() {
                    continue;
                }
                // The other half is gone if a sink is, and has said why.
                let Some(mut flow) = self.idle.recv().await else { return Ok(()) };
                let transform = async move {
                    let shares = flow.apply(piece, &wanted);
                    (flow, shares)
                };
                if self.begun.send(tokio::spawn(tasks::observed(transform))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The second half of a lane: waits for each read in its turn, and hands the sinks their shares.
async fn hand_out(
    name: &str,
    mut under_way: mpsc::Receiver<Transformed>,
    free: mpsc::Sender<Flow>,
    inlets: BTreeMap<usize, Inlet>,
) -> Result<(), RunError> {
    while let Some(transformed) = under_way.recv().await {
        let (flow, shares) = transformed.await.map_err(|error| tasks::gone(name, error))?;
        for (sink, share) in shares? {
            if let Err(Gone) = inlets[&sink].send(share).await {
                return Ok(());
            }
        }
        // Not before: what waits for a sink counts as under way. The first half may have ended.
        let _ = free.try_send(flow);
    }
    Ok(())
}

/// Where the last read of each partition ended. Holds sources to their contract.
pub(crate) struct Ends(pub BTreeMap<Partition, Position>);

impl Ends {
    /// Checks that a read is whole and follows the one before it.
    pub fn follow(&mut self, read: &Read) -> Result<(), String> {
        if let Some(fault) = read.fault() {
            return Err(fault);
        }
        let span = &read.span;
        let end = self.0.get(&span.partition).unwrap_or(&Position::Start);
        if *end != span.from {
            return Err(format!("the read {span} does not follow {end}"));
        }
        match span.to {
            // It never comes again, and there may be millions of them; if it does, the state finds out.
            Position::End => self.0.remove(&span.partition),
            _ => self.0.insert(span.partition.clone(), span.to.clone()),
        };
        Ok(())
    }
}

/// A source did not keep its contract.
pub(crate) fn broken(source: &str, what: String) -> RunError {
    RunError::new(source, "broke its contract", what.into()).hint("this is a bug in the source: please report it")
}

//! The usual task: reads whatever is there and was not read yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source, Stats};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::consumer::{Consumer, Note};
use crate::durable::Durable;
use crate::family::Family;
use crate::lag::Lag;
use crate::reading::{Context, HeldRead, Outlet, Reading};
use crate::record::Shard;
use crate::start::Start;
use crate::stream::Stream;
use crate::watch::Watch;

/// Reads that wait to be taken. What they hold is bounded by [`crate::room::Room`].
const READS_MAX: usize = 64;

/// Some shards, as their records come.
pub struct Everything {
    from: mpsc::Receiver<Result<HeldRead, BoxError>>,
    durable: Durable,
    lag: Lag,
    /// What works for this source ends with it.
    tasks: JoinSet<()>,
    /// Those that are this source's alone.
    consumers: Vec<Arc<Consumer>>,
}

/// How a source gets at records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It asks for them.
    Polling,
    /// They are pushed to a consumer of this name.
    FanOut { consumer: String, is_optional: bool },
}

impl Everything {
    /// Begins to read all shards of these streams after these positions.
    pub fn begin(context: Arc<Context>, streams: &[Stream], way: &Way, after: &BTreeMap<Partition, Position>) -> Self {
        let (to, from) = mpsc::channel(READS_MAX);
        let (mut tasks, durable) = (JoinSet::new(), Durable::default());
        let mut consumers = Vec::new();
        let opened = Moment::now();
        for stream in streams {
            let of_stream = |(partition, position): (&Partition, &Position)| {
                Some((stream.shard(partition)?.to_owned(), position.clone()))
            };
            let after_shards: BTreeMap<String, Position> = after.iter().filter_map(of_stream).collect();
            let consumer = match way {
                Way::Polling => None,
                Way::FanOut { consumer, .. } => {
                    let partition = stream.consumer_partition(consumer);
                    let last = after.get(&partition).cloned().unwrap_or(Position::Start);
                    let note = Note::new(partition, last, context.cutter.clone(), durable.clone(), &to);
                    Consumer::new(context.api.clone(), stream.clone(), way, Some(note))
                }
            };
            consumers.extend(consumer.clone());
            let (context, stream, durable) = (context.clone(), Arc::new(stream.clone()), durable.clone());
            let (given, name) = (to.clone(), stream.to_string());
            let reading = async move {
                let now = match context.start {
                    Start::Latest if after_shards.is_empty() => opened.at_service(&context.api, &stream).await,
                    // Nothing is begun now.
                    _ => opened.wall,
                };
                let family = Family::new(after_shards, context.start.position(now));
                let consumer = registered(consumer).await;
                Watch::new(context, stream, family, consumer, durable, given).run().await;
            };
            tasks.spawn(seen_through(name, reading, to.clone()));
        }
        Self { from, durable, lag: context.lag.clone(), tasks, consumers }
    }

    /// Begins to read one shard after a position; its start stands for `first`, if there is one. `consumer`: who gets the
    /// records pushed, once it is known; others use it too.
    pub fn of_shard(
        context: Arc<Context>,
        shard: Arc<Shard>,
        consumer: impl Future<Output = Option<Arc<Consumer>>> + Send + 'static,
        first: Option<Position>,
        after: Position,
    ) -> Self {
        let (to, from) = mpsc::channel(READS_MAX);
        let (mut tasks, durable) = (JoinSet::new(), Durable::default());
        let first = first.filter(|_| after == Position::Start);
        let begun = first.map(|it| (it, durable.expect(shard.partition.clone())));
        let lag = context.lag.clone();
        // Nothing comes after the end.
        if after != Position::End {
            let (given, name) = (to.clone(), shard.partition.to_string());
            let reading = async move {
                let mut after = after;
                if let Some((first, settling)) = begun {
                    let read = context.cutter.empty(&shard.partition, &after, first.clone());
                    // An error: nobody wants to know.
                    let _ = given.send(Ok(HeldRead { read, _permit: None })).await;
                    settling.wait().await;
                    after = first;
                }
                Reading::new(context, shard, consumer.await, after, given).run().await;
            };
            tasks.spawn(seen_through(name, reading, to));
        }
        Self { from, durable, lag, tasks, consumers: Vec::new() }
    }
}

/// Reads to the end. If that fails by a fault of this program, whoever wants the rows is told: without a word it would look
/// as if there were no more.
pub async fn seen_through(what: String, reading: impl Future<Output = ()> + Send + 'static, to: Outlet) {
    let mut task = JoinSet::new();
    task.spawn(reading);
    if let Some(Err(panicked)) = task.join_next().await {
        // An error: nobody wants to know.
        let _ = to.send(Err(format!("reading `{what}` failed: {panicked}").into())).await;
    }
}

/// A consumer, once it is ready.
pub async fn registered(consumer: Option<Arc<Consumer>>) -> Option<Arc<Consumer>> {
    let consumer = consumer?;
    consumer.register().await.then_some(consumer)
}

#[async_trait]
impl Source for Everything {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.from.recv().await.transpose().map(|it| it.map(|it| it.read))
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        Some(Box::new(self.durable.clone()))
    }

    fn stats(&self) -> Option<Arc<dyn Stats>> {
        Some(Arc::new(self.lag.clone()))
    }

    async fn close(&mut self) {
        self.tasks.shutdown().await;
        let mut removing = JoinSet::new();
        for consumer in self.consumers.drain(..) {
            removing.spawn(async move { consumer.remove().await });
        }
        while removing.join_next().await.is_some() {}
    }
}

//! The usual task: reads whatever is there and was not read yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::consumer::{Consumer, Note};
use crate::durable::Durable;
use crate::family::Family;
use crate::reading::{Context, HeldRead, Reading};
use crate::record::Shard;
use crate::stream::Stream;
use crate::watch::Watch;

/// Reads that wait to be taken. What they hold is bounded by [`crate::room::Room`].
const READS_MAX: usize = 64;

/// Some shards, as their records come.
pub struct Everything {
    from: mpsc::Receiver<Result<HeldRead, BoxError>>,
    durable: Durable,
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
        let first = context.start.position(SystemTime::now());
        for stream in streams {
            let of_stream = |(partition, position): (&Partition, &Position)| {
                Some((stream.shard(partition)?.to_owned(), position.clone()))
            };
            let family = Family::new(after.iter().filter_map(of_stream).collect(), first.clone());
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
            let to = to.clone();
            tasks.spawn(async move {
                let consumer = registered(consumer).await;
                Watch::new(context, stream, family, consumer, durable, to).run().await;
            });
        }
        Self { from, durable, tasks, consumers }
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
        // Nothing comes after the end.
        if after != Position::End {
            tasks.spawn(async move {
                let partition = shard.partition.clone();
                let mut reading = JoinSet::new();
                let given = to.clone();
                reading.spawn(async move {
                    let mut after = after;
                    if let Some((first, settling)) = begun {
                        let read = context.cutter.empty(&shard.partition, &after, first.clone());
                        // An error: nobody wants to know.
                        let _ = given.send(Ok(HeldRead { read, _permit: None })).await;
                        settling.wait().await;
                        after = first;
                    }
                    Reading::new(context, shard, consumer.await, after, given).run().await
                });
                if let Some(Err(panicked)) = reading.join_next().await {
                    // An error: nobody wants to know.
                    let _ = to.send(Err(format!("reading `{partition}` failed: {panicked}").into())).await;
                }
            });
        }
        Self { from, durable, tasks, consumers: Vec::new() }
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

    async fn close(&mut self) {
        self.tasks.shutdown().await;
        let mut removing = JoinSet::new();
        for consumer in self.consumers.drain(..) {
            removing.spawn(async move { consumer.remove().await });
        }
        while removing.join_next().await.is_some() {}
    }
}

//! The usual task: reads whatever is there and was not read yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::consumer::Consumer;
use crate::durable::Durable;
use crate::family::Family;
use crate::reading::{Context, Given, Reading};
use crate::record::Shard;
use crate::stream::Stream;
use crate::watch::Watch;

/// Reads that wait to be taken. What they hold is bounded by [`crate::room::Room`].
const READS_MAX: usize = 64;

/// Some shards, as their records come.
pub struct Everything {
    from: mpsc::Receiver<Result<Given, BoxError>>,
    durable: Durable,
    /// What works for this source ends with it.
    _tasks: JoinSet<()>,
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
        let first = context.start.position(SystemTime::now());
        for stream in streams {
            let of_stream = |(partition, position): (&Partition, &Position)| {
                Some((stream.shard(partition)?.to_owned(), position.clone()))
            };
            let family = Family::new(after.iter().filter_map(of_stream).collect(), first.clone());
            let (context, stream, way, to) = (context.clone(), stream.clone(), way.clone(), to.clone());
            let durable = durable.clone();
            tasks.spawn(async move {
                let consumer = Consumer::open(context.api.clone(), stream.clone(), &way, false).await.map(Arc::new);
                Watch::new(context, Arc::new(stream), family, consumer, durable, to).run().await;
            });
        }
        Self { from, durable, _tasks: tasks }
    }

    /// Begins to read one shard after a position; its start stands for `first`, if there is one. `consumer`: who gets the
    /// records pushed, once it is known.
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
        if after == Position::End {
            // Nothing comes after that.
            return Self { from, durable, _tasks: tasks };
        }
        tasks.spawn(async move {
            let partition = shard.partition.clone();
            let mut reading = JoinSet::new();
            let given = to.clone();
            reading.spawn(async move {
                let mut after = after;
                if let Some((first, settling)) = begun {
                    let read = context.cutter.empty(&shard.partition, &after, first.clone());
                    // An error: nobody wants to know.
                    let _ = given.send(Ok(Given { read, _room: None })).await;
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
        Self { from, durable, _tasks: tasks }
    }
}

#[async_trait]
impl Source for Everything {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.from.recv().await.transpose().map(|it| it.map(|it| it.read))
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        Some(Box::new(self.durable.clone()))
    }
}

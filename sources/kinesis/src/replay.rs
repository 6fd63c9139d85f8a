//! The task after a crash: reads exactly the spans that are asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Source, Span};

use crate::patience::Patience;
use crate::poll::{Polled, Poller};
use crate::reading::Context;
use crate::record::{Found, Record, Shard};
use crate::start::Place;
use crate::stream::Stream;

/// Spans, in their order.
pub struct Replay {
    context: Arc<Context>,
    streams: Vec<Arc<Stream>>,
    due: VecDeque<Span>,
    /// Shards of which something was read, by partition. The spans of one mostly follow each other.
    open: BTreeMap<Partition, Open>,
    /// The shards that are known: those of each stream that had its turn.
    known: BTreeMap<Partition, Arc<Shard>>,
}

/// A shard that is read again.
struct Open {
    shard: Arc<Shard>,
    poller: Poller,
    /// Up to where it was given.
    at: Position,
    /// Records behind that.
    records: VecDeque<Record>,
    /// Whether there were none after these.
    is_caught_up: bool,
}

impl Replay {
    pub fn new(context: Arc<Context>, streams: &[Stream], spans: Vec<Span>) -> Self {
        let streams = streams.iter().cloned().map(Arc::new).collect();
        Self { context, streams, due: spans.into(), open: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Of one shard alone.
    pub fn of_shard(context: Arc<Context>, shard: Arc<Shard>, spans: Vec<Span>) -> Self {
        let known = BTreeMap::from([(shard.partition.clone(), shard)]);
        Self { context, streams: Vec::new(), due: spans.into(), open: BTreeMap::new(), known }
    }

    /// The next rows of a span.
    async fn read(&mut self, span: &Span) -> Result<Read, BoxError> {
        if Place::is_just_before(&span.to) {
            return Ok(self.context.cutter.empty(&span.partition, &span.from, span.to.clone()));
        }
        let mut open = match self.open.remove(&span.partition) {
            Some(open) if open.at == span.from => open,
            _ => self.begin(span).await?,
        };
        let read = open.read(&self.context, span).await;
        self.open.insert(span.partition.clone(), open);
        read
    }

    async fn begin(&mut self, span: &Span) -> Result<Open, BoxError> {
        let shard = self.shard(&span.partition).await?;
        let poller = Poller::new(&self.context, shard.clone());
        Ok(Open { shard, poller, at: span.from.clone(), records: VecDeque::new(), is_caught_up: false })
    }

    /// The shard of a partition, with the hash keys that decide what is a row of it.
    async fn shard(&mut self, partition: &Partition) -> Result<Arc<Shard>, BoxError> {
        if let Some(shard) = self.known.get(partition) {
            return Ok(shard.clone());
        }
        let stream = self.streams.iter().find(|it| it.shard(partition).is_some()).ok_or_else(|| {
            format!("`{partition}` was read, but its stream is not one of those that the file names now")
        })?;
        for Found { id, hash_keys, is_open, .. } in self.list(stream).await {
            let shard = Arc::new(Shard::new(stream.clone(), id, hash_keys, !is_open));
            self.known.insert(shard.partition.clone(), shard);
        }
        self.known.get(partition).cloned().ok_or_else(|| expired(partition, "the shard is gone"))
    }

    async fn list(&self, stream: &Stream) -> Vec<Found> {
        let mut patience = Patience::new(stream.name());
        loop {
            match self.context.api.all_shards(stream, None).await {
                Ok(listed) => return listed,
                Err(trouble) => patience.wait(&trouble).await,
            }
        }
    }
}

impl Open {
    async fn read(&mut self, context: &Context, span: &Span) -> Result<Read, BoxError> {
        let partition = &span.partition;
        loop {
            if let Some(cut) = context.cutter.cut(&self.shard, &self.at, &mut self.records, &span.to) {
                self.at = cut.read.span.to.clone();
                return Ok(cut.read);
            }
            if let Some(next) = self.records.front() {
                let what = format!("record {} comes where {} was read", next.sequence.as_str(), span.to);
                return Err(expired(partition, &what));
            }
            if self.is_caught_up && span.to != Position::End {
                return Err(expired(partition, &format!("there is nothing up to {}", span.to)));
            }
            match self.poller.next(&self.at).await {
                Polled::Later => {}
                Polled::Records(polled) => {
                    if let (Some(Place::Record(asked)), Some(first)) = (&polled.asked, polled.records.front())
                        && first.sequence != *asked
                    {
                        let (asked, first) = (asked.as_str(), first.sequence.as_str());
                        return Err(expired(partition, &format!("record {asked} is gone, the oldest one is {first}")));
                    }
                    self.is_caught_up = polled.is_caught_up && !self.shard.is_closed;
                    self.records = polled.records;
                }
                Polled::Ended(_) if span.to == Position::End => {
                    let read = context.cutter.empty(partition, &self.at, Position::End);
                    self.at = Position::End;
                    return Ok(read);
                }
                Polled::Ended(_) => return Err(expired(partition, &format!("it ends before {}", span.to))),
                Polled::Gone => return Err(expired(partition, "the shard is gone")),
            }
        }
    }
}

/// What was read once cannot be read again.
fn expired(partition: &Partition, what: &str) -> BoxError {
    format!("records of `{partition}` have expired from the stream since they were read: {what}").into()
}

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let Some(span) = self.due.pop_front() else { return Ok(None) };
        let read = self.read(&span).await?;
        if read.span.to < span.to {
            self.due.push_front(Span { from: read.span.to.clone(), ..span });
        }
        Ok(Some(read))
    }
}

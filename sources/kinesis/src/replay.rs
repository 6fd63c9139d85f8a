//! The task after a crash: reads exactly the spans that are asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Source, Span};
use forebay_aws::Patience;

use crate::poll::{Polled, Poller, Records};
use crate::reading::Context;
use crate::record::{Found, Record, Shard};
use crate::room::Permit;
use crate::stream::Stream;

/// Spans, in their order.
pub struct Replay {
    context: Arc<Context>,
    streams: Vec<Arc<Stream>>,
    due: VecDeque<Span>,
    /// Shards of which there is more to be read, by partition. Their spans mostly follow each other.
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
    /// Records behind that, and the room that they take.
    records: VecDeque<Record>,
    _permit: Option<Permit>,
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
    ///
    /// Whether all of them are there still is not judged here: a record that has expired need not have been one of the span,
    /// and whoever wants it again knows how many rows it had.
    async fn read(&mut self, span: &Span) -> Result<Read, BoxError> {
        if span.to.is_made_up() {
            return Ok(self.context.cutter.empty(&span.partition, &span.from, span.to.clone()));
        }
        let mut open = match self.open.remove(&span.partition) {
            Some(open) if open.at == span.from => open,
            _ => match self.shard(&span.partition).await? {
                Some(shard) => Open::new(&self.context, shard, span.from.clone()),
                None => return self.gone(span),
            },
        };
        let read = self.read_open(&mut open, span).await?;
        open.at = read.span.to.clone();
        let is_wanted = open.at < span.to || self.due.iter().any(|it| it.partition == span.partition);
        if is_wanted {
            self.open.insert(span.partition.clone(), open);
        }
        Ok(read)
    }

    async fn read_open(&mut self, open: &mut Open, span: &Span) -> Result<Read, BoxError> {
        let (partition, cutter) = (&span.partition, &self.context.cutter);
        loop {
            if let Some(cut) = cutter.cut(&open.shard, &open.at, &mut open.records, &span.to) {
                return Ok(cut.read);
            }
            if let Some(next) = open.records.front() {
                let what = format!("record {} comes where {} was read", next.sequence.as_str(), span.to);
                return Err(expired(partition, &what));
            }
            if open.is_caught_up && span.to != Position::End {
                return Err(expired(partition, &format!("there is nothing up to {}", span.to)));
            }
            open._permit = None;
            let permit = room(&self.context, &mut self.open, open.poller.due().await).await;
            match open.poller.next(&open.at).await {
                Polled::Later => {}
                Polled::Records(polled) => open.take(polled, permit),
                Polled::Ended(_) if span.to == Position::End => {
                    return Ok(cutter.empty(partition, &open.at, Position::End));
                }
                Polled::Ended(_) => return Err(expired(partition, &format!("it ends before {}", span.to))),
                Polled::Gone => return self.gone(&Span { from: open.at.clone(), ..span.clone() }),
            }
        }
    }

    /// The rest of a shard that has expired.
    fn gone(&self, span: &Span) -> Result<Read, BoxError> {
        match span.to {
            Position::End => Ok(self.context.cutter.empty(&span.partition, &span.from, Position::End)),
            _ => Err(expired(&span.partition, "the shard is gone")),
        }
    }

    /// The shard of a partition, with the hash keys that decide what is a row of it; `None`: it has expired.
    async fn shard(&mut self, partition: &Partition) -> Result<Option<Arc<Shard>>, BoxError> {
        if let Some(shard) = self.known.get(partition) {
            return Ok(Some(shard.clone()));
        }
        let stream = self.streams.iter().find(|it| it.shard(partition).is_some()).ok_or_else(|| {
            format!("`{partition}` was read, but its stream is not one of those that the file names now")
        })?;
        for Found { id, hash_keys, is_open, .. } in self.list(stream).await {
            let shard = Arc::new(Shard::new(stream.clone(), id, hash_keys, !is_open));
            self.known.insert(shard.partition.clone(), shard);
        }
        Ok(self.known.get(partition).cloned())
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

/// Room for an answer. What is kept for later goes if there is none otherwise: it can be asked for once more, and nobody waits
/// for others who wait for the same.
async fn room(context: &Context, kept: &mut BTreeMap<Partition, Open>, bytes: u64) -> Permit {
    if let Some(permit) = context.room.try_take(bytes) {
        return permit;
    }
    kept.clear();
    context.room.take(bytes).await
}

impl Open {
    fn new(context: &Context, shard: Arc<Shard>, at: Position) -> Self {
        let poller = Poller::new(context, shard.clone());
        Self { shard, poller, at, records: VecDeque::new(), _permit: None, is_caught_up: false }
    }

    fn take(&mut self, polled: Records, mut permit: Permit) {
        permit.resize(polled.bytes());
        self._permit = Some(permit);
        self.is_caught_up = polled.is_caught_up && !self.shard.is_closed;
        self.records = polled.records;
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

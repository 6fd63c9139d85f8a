//! Streams whose shards several processes read: each shard by itself, for as long as this process holds its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Resume, Source};
use forebay_aws::{Patience, Trouble};
use forebay_leases::{Begin, LeasedShard, ListedShard, RowsAre, Shards};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;

use crate::api::{Described, open_at};
use crate::clock::Moment;
use crate::consumer::Consumer;
use crate::cut::Framing;
use crate::family::Family;
use crate::lag::Lag;
use crate::reading::Context;
use crate::record::{ALL_HASH_KEYS, Shard};
use crate::replay::Replay;
use crate::source::{Everything, Way, registered};
use crate::start::Start;
use crate::stream::Stream;

/// The streams as the leases see them.
pub struct Shared {
    context: Arc<Context>,
    way: Way,
    /// When this process has joined the others. A shard that is begun at its latest record is begun here: what came since
    /// then, until its lease was there and taken, is read.
    joined: Moment,
    /// The same by the service's clock, once somebody wanted to know it.
    joined_at_service: OnceCell<SystemTime>,
    /// How far this process has read shards when it read them alone.
    alone: BTreeMap<Partition, Position>,
    members: Members,
    /// What finds out the names of streams ends with this.
    _naming: JoinSet<()>,
}

/// By their names among the leases, the streams whose names are known.
type Members = Arc<Mutex<BTreeMap<Option<String>, Arc<Member>>>>;

struct Member {
    stream: Arc<Stream>,
    /// Who gets its records pushed, once somebody wanted to know. All shards have it in common.
    consumer: OnceCell<Option<Arc<Consumer>>>,
    /// The IDs of shards that were closed when all were listed last.
    closed: Mutex<BTreeSet<String>>,
}

impl Member {
    fn new(stream: Stream) -> Arc<Self> {
        Arc::new(Self { stream: Arc::new(stream), consumer: OnceCell::new(), closed: Mutex::default() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The only stream of a table of leases.
    pub fn one(context: Arc<Context>, way: Way, alone: BTreeMap<Partition, Position>, stream: Stream) -> Self {
        let members = BTreeMap::from([(None, Member::new(stream))]);
        let members = Arc::new(Mutex::new(members));
        Self::new(context, way, Moment::now(), alone, members, JoinSet::new())
    }

    /// Several streams in one table of leases. The service is asked for their names, and one of them is waited for; the
    /// others join when their names are known.
    pub async fn several(
        context: Arc<Context>,
        way: Way,
        alone: BTreeMap<Partition, Position>,
        streams: Vec<Stream>,
    ) -> Self {
        let joined = Moment::now();
        let members = Members::default();
        let mut naming = JoinSet::new();
        let (named, mut any) = watch::channel(false);
        for stream in streams {
            let (context, members, named) = (context.clone(), members.clone(), named.clone());
            naming.spawn(async move {
                let name = name(&context, &stream).await;
                lock(&members).insert(Some(name), Member::new(stream));
                named.send_replace(true);
            });
        }
        drop(named);
        // An error: there are no streams, and there never will be.
        let _ = any.wait_for(|it| *it).await;
        Self::new(context, way, joined, alone, members, naming)
    }

    fn new(
        context: Arc<Context>,
        way: Way,
        joined: Moment,
        alone: BTreeMap<Partition, Position>,
        members: Members,
        _naming: JoinSet<()>,
    ) -> Self {
        Self { context, way, joined, joined_at_service: OnceCell::new(), alone, members, _naming }
    }

    /// When this process has joined the others, by the service's clock.
    async fn joined_at_service(&self, stream: &Stream) -> SystemTime {
        *self.joined_at_service.get_or_init(|| self.joined.at_service(&self.context.api, stream)).await
    }

    fn member(&self, stream: Option<&str>) -> Result<Arc<Member>, BoxError> {
        let found = lock(&self.members).get(&stream.map(str::to_owned)).cloned();
        found.ok_or_else(|| format!("`{}` is not one of the streams", stream.unwrap_or_default()).into())
    }

    /// The hash keys of a shard, by asking the service for them.
    async fn hash_keys(&self, stream: &Stream, id: &str) -> RangeInclusive<u128> {
        let mut patience = Patience::new(stream.name());
        loop {
            match self.context.api.all_shards(stream, None).await {
                // If it has expired, whoever reads it will find that out.
                Ok(found) => {
                    return found.into_iter().find(|it| it.id == id).map_or(ALL_HASH_KEYS, |it| it.hash_keys);
                }
                Err(trouble) => patience.wait(&trouble).await,
            }
        }
    }

    /// The shards at which to go on with a stream that this process has read alone; what was made of them comes after them.
    /// `None`: it has not. The shards that it knows are begun where they stand, which goes along with their leases, and the
    /// others have been made since.
    async fn go_on(&self, member: &Member) -> Result<Option<(BTreeSet<String>, Begin)>, BoxError> {
        let of_stream = |(partition, position): (&Partition, &Position)| {
            Some((member.stream.shard(partition)?.to_owned(), position.clone()))
        };
        let mut after: BTreeMap<String, Position> = self.alone.iter().filter_map(of_stream).collect();
        if after.is_empty() {
            return Ok(None);
        }
        let found = self.context.api.all_shards(&member.stream, None).await.map_err(Trouble::into_error)?;
        let names: BTreeSet<String> = found.iter().map(|it| it.id.clone()).collect();
        // What has expired has no lease, and nothing waits for it.
        after.retain(|shard, position| *position == Position::End || names.contains(shard));
        let mut family = Family::new(after, self.context.start.position(self.joined.wall));
        family.learn(found);
        // If some are begun at a point in time, nothing of the stream was read before the process was stopped.
        let is_begun = family.listed(&names).is_empty();
        let begin = if is_begun { Begin::TrimHorizon } else { begin(self.context.start) };
        Ok(Some((family.begin().into_iter().map(|it| it.shard.id).collect(), begin)))
    }

    async fn listed(&self, member: &Member, start: Option<Start>) -> Result<Vec<ListedShard>, BoxError> {
        let only = start.and_then(open_at);
        let found = self.context.api.all_shards(&member.stream, only.as_ref()).await.map_err(Trouble::into_error)?;
        if start.is_none() {
            *lock(&member.closed) = found.iter().filter(|it| !it.is_open).map(|it| it.id.clone()).collect();
        }
        let listed = found.into_iter().map(|it| ListedShard {
            id: it.id,
            parents: it.parents.into_iter().collect(),
            hash_keys: it.hash_keys,
        });
        Ok(listed.collect())
    }
}

/// How shards are begun that are there when a stream is begun.
fn begin(start: Start) -> Begin {
    match start {
        Start::TrimHorizon => Begin::TrimHorizon,
        Start::Latest => Begin::Latest,
        Start::At(_) => Begin::AtTimestamp,
    }
}

/// What a stream is called in a table for several: `account:name:creation` (the class `StreamIdentifier` of the Kinesis
/// Client Library).
async fn name(context: &Context, stream: &Stream) -> String {
    let mut patience = Patience::new(stream.name());
    loop {
        match context.api.describe(stream).await {
            Ok(Described { arn, created }) => {
                // `arn:partition:kinesis:region:account:stream/name`
                let account = arn.split(':').nth(4).unwrap_or_default();
                return format!("{account}:{}:{created}", stream.name());
            }
            Err(trouble) => patience.wait(&trouble).await,
        }
    }
}

#[async_trait]
impl Shards for Shared {
    fn streams(&self) -> Vec<Option<String>> {
        lock(&self.members).keys().cloned().collect()
    }

    async fn list(&self, stream: Option<&str>) -> Result<Vec<ListedShard>, BoxError> {
        self.listed(&*self.member(stream)?, None).await
    }

    async fn first(&self, stream: Option<&str>) -> Result<(BTreeSet<String>, Begin), BoxError> {
        let (member, start) = (self.member(stream)?, self.context.start);
        if let Some(first) = self.go_on(&member).await? {
            return Ok(first);
        }
        let mut first = self.listed(&member, Some(start)).await?;
        if first.is_empty() && matches!(start, Start::At(_)) {
            // The time is before that of the oldest shard.
            first = self.listed(&member, Some(Start::TrimHorizon)).await?;
        }
        Ok((first.into_iter().map(|it| it.id).collect(), begin(start)))
    }

    fn partition(&self, stream: Option<&str>, shard: &str) -> Partition {
        match self.member(stream) {
            Ok(member) => member.stream.partition(shard),
            // Nobody asks for shards of other streams.
            Err(_) => Partition::new(shard),
        }
    }

    fn rows_are(&self) -> RowsAre {
        match self.context.cutter.framing {
            Framing::Record => RowsAre::UserRecords,
            Framing::Lines => RowsAre::PartsOfThem,
        }
    }

    async fn open(&self, shard: &LeasedShard, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let member = self.member(shard.stream.as_deref())?;
        let hash_keys = match &shard.hash_keys {
            Some(hash_keys) => hash_keys.clone(),
            None => self.hash_keys(&member.stream, &shard.id).await,
        };
        let start = match (shard.begin, self.context.start) {
            (Begin::TrimHorizon, _) => Start::TrimHorizon,
            (Begin::Latest, _) | (Begin::AtTimestamp, Start::Latest) => Start::Latest,
            (Begin::AtTimestamp, start) => start,
        };
        let context = Arc::new(Context { start, lag: Lag::default(), ..(*self.context).clone() });
        let is_closed = lock(&member.closed).contains(&shard.id);
        let shard = Arc::new(Shard::new(member.stream.clone(), shard.id.clone(), hash_keys, is_closed));
        match resume {
            Resume::After(mut after) => {
                let after = after.remove(&shard.partition).unwrap_or(Position::Start);
                let first = match (&after, start) {
                    (Position::Start, Start::Latest) => start.position(self.joined_at_service(&member.stream).await),
                    _ => None,
                };
                let (api, stream, way) = (context.api.clone(), (*member.stream).clone(), self.way.clone());
                let consumer = async move {
                    let consumer = Consumer::new(api, stream, &way, None);
                    member.consumer.get_or_init(|| registered(consumer)).await.clone()
                };
                Ok(Box::new(Everything::of_shard(context, shard, consumer, first, after)))
            }
            Resume::Exactly(spans) => Ok(Box::new(Replay::of_shard(context, shard, spans))),
        }
    }
}

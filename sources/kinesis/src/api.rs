//! The calls, each with a limit to its time.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{self, HashKeyRange, ShardFilter, ShardFilterType, ShardIteratorType};
use forebay_api::position::Sequence;
use forebay_aws::{Patience, Trouble, within};
use tokio::time::Instant;

use crate::aggregate::are_aggregates;
use crate::answer_date::AnswerDate;
use crate::clock::Answered;
use crate::lift::LiftData;
use crate::record::{ALL_HASH_KEYS, Found, Record, Shard};
use crate::start::{Place, Start};
use crate::stream::Stream;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For answers that hold little.
    pub small: Duration,
    /// For answers that may hold 10 MiB.
    pub large: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { small: Duration::from_secs(15), large: Duration::from_secs(60) }
    }
}

/// For so long pages of a listing are asked for again. One that cannot be had does not spoil the others.
const LISTING: Duration = Duration::from_secs(60);

/// The most that the service gives on one page.
const SHARDS_PER_PAGE: i32 = 1000;

/// Kinesis.
#[derive(Clone, Debug)]
pub struct Api {
    pub client: Client,
    pub limits: Limits,
}

/// An answer to `GetRecords`.
#[derive(Debug)]
pub struct Answer {
    pub records: Vec<Record>,
    /// The iterator for what follows; `None`: the shard is closed, and this was all.
    pub next: Option<String>,
    /// How old the next record is that is there; 0: there is none.
    pub behind_millis: Option<u64>,
    /// At the end: the shards that follow.
    pub children: Vec<Found>,
}

/// What a stream is called elsewhere.
#[derive(Clone, Debug)]
pub struct Described {
    pub arn: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// Some of a stream's shards.
#[derive(Debug)]
pub struct Page {
    pub shards: Vec<Found>,
    /// For the next page, for five minutes.
    pub token: Option<String>,
}

impl Api {
    /// A page of the shards of a stream, perhaps only of some: the first, or the one of a token.
    pub async fn list_shards(
        &self,
        stream: &Stream,
        only: Option<&ShardFilter>,
        token: Option<String>,
    ) -> Result<Page, Trouble> {
        let doing = format!("listing the shards of `{stream}`");
        let call = self.client.list_shards();
        let call = match token {
            // A token stands for all the rest, too: the API takes one or the other.
            Some(token) => call.next_token(token),
            None => {
                let call = call.set_stream_name(stream.name_only()).set_stream_arn(stream.arn());
                call.set_shard_filter(only.cloned()).max_results(SHARDS_PER_PAGE)
            }
        };
        let answer = within(self.limits.small, &doing, call.send()).await?;
        let found = |it: types::Shard| -> Result<Found, Trouble> {
            let hash_keys = hash_keys(it.hash_key_range.as_ref()).map_err(|why| odd(&doing, why))?;
            let parents = it.parent_shard_id.into_iter().chain(it.adjacent_parent_shard_id).collect();
            let is_open = it.sequence_number_range.is_none_or(|it| it.ending_sequence_number.is_none());
            Ok(Found { id: it.shard_id, parents, hash_keys, is_open })
        };
        let shards = answer.shards.unwrap_or_default().into_iter().map(found).collect::<Result<_, _>>()?;
        Ok(Page { shards, token: answer.next_token })
    }

    /// All shards of a stream, or some. What passes by itself is tried again for a while.
    pub async fn all_shards(&self, stream: &Stream, only: Option<&ShardFilter>) -> Result<Vec<Found>, Trouble> {
        let begun = Instant::now();
        let mut patience = Patience::new(stream.name());
        let mut all = Vec::new();
        let mut token = None;
        loop {
            match self.list_shards(stream, only, token.clone()).await {
                Ok(page) => {
                    patience.reset();
                    all.extend(page.shards);
                    token = page.token;
                    if token.is_none() {
                        return Ok(all);
                    }
                }
                Err(trouble @ Trouble::Retry(_)) if begun.elapsed() < LISTING => patience.wait(&trouble).await,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Asks something small about a stream, only to learn when it was answered; `None`: the answer does not say.
    pub async fn answered(&self, stream: &Stream) -> Result<Option<Answered>, Trouble> {
        let doing = format!("asking for the time at `{stream}`");
        let call = self.client.list_shards().set_stream_name(stream.name_only()).set_stream_arn(stream.arn());
        let (date, asked) = (AnswerDate::default(), Instant::now());
        let call = call.max_results(1).customize().interceptor(date.clone()).send();
        within(self.limits.small, &doing, call).await?;
        Ok(date.get().map(|date| Answered { date, asked, came: Instant::now() }))
    }

    /// What else a stream is called.
    pub async fn describe(&self, stream: &Stream) -> Result<Described, Trouble> {
        let doing = format!("looking for `{stream}`");
        let call = self.client.describe_stream_summary();
        let call = call.set_stream_name(stream.name_only()).set_stream_arn(stream.arn());
        let answer = within(self.limits.small, &doing, call.send()).await?;
        let summary = answer.stream_description_summary.ok_or_else(|| odd(&doing, "it describes no stream"))?;
        Ok(Described { arn: summary.stream_arn, created: summary.stream_creation_timestamp.secs() })
    }

    /// An iterator, which is valid for five minutes.
    pub async fn iterator(&self, shard: &Shard, place: &Place) -> Result<String, Trouble> {
        let doing = format!("asking where to read `{}`", shard.partition);
        let (kind, sequence, time) = starting(place);
        let call = self.client.get_shard_iterator();
        let call = call.set_stream_name(shard.stream.name_only()).set_stream_arn(shard.stream.arn());
        let call = call.shard_id(&shard.id).shard_iterator_type(kind);
        let call = call.set_starting_sequence_number(sequence).set_timestamp(time);
        let answer = within(self.limits.small, &doing, call.send()).await?;
        answer.shard_iterator.ok_or_else(|| odd(&doing, "it has no iterator"))
    }

    /// At most so many records.
    pub async fn records(&self, shard: &Shard, iterator: &str, records_max: u32) -> Result<Answer, Trouble> {
        let doing = format!("reading `{}`", shard.partition);
        let call = self.client.get_records().set_stream_arn(shard.stream.arn());
        let call = call.shard_iterator(iterator).limit(records_max as i32);
        let call = call.customize().interceptor(LiftData).send();
        let answer = within(self.limits.large, &doing, call).await?;
        Ok(Answer {
            records: records(answer.records).map_err(|why| odd(&doing, why))?,
            next: answer.next_shard_iterator.filter(|it| !it.is_empty()),
            behind_millis: answer.millis_behind_latest.map(i64::unsigned_abs),
            children: children(answer.child_shards.unwrap_or_default()).map_err(|why| odd(&doing, why))?,
        })
    }
}

/// An answer that nothing can be done with. The next one may be another.
pub fn odd(doing: &str, why: impl Display) -> Trouble {
    Trouble::Retry(format!("{doing}: the answer makes no sense: {why}").into())
}

/// A place in the words of the API.
pub fn starting(place: &Place) -> (ShardIteratorType, Option<String>, Option<DateTime>) {
    match place {
        Place::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
        Place::Time(millis) => (ShardIteratorType::AtTimestamp, None, Some(DateTime::from_millis(*millis as i64))),
        Place::Record(sequence) => (ShardIteratorType::AtSequenceNumber, Some(sequence.as_str().to_owned()), None),
    }
}

/// The shards that were open where a stream is begun, in the words of the API.
pub fn open_at(start: Start) -> Option<ShardFilter> {
    let only = ShardFilter::builder();
    let only = match start {
        Start::TrimHorizon => only.r#type(ShardFilterType::AtTrimHorizon),
        Start::Latest => only.r#type(ShardFilterType::AtLatest),
        Start::At(millis) => only.r#type(ShardFilterType::AtTimestamp).timestamp(DateTime::from_millis(millis as i64)),
    };
    // An error cannot be: the type is given.
    only.build().ok()
}

/// Records out of an answer.
pub fn records(answer: Vec<types::Record>) -> Result<Vec<Record>, String> {
    let record = |it: types::Record| {
        let sequence = Sequence::new(&it.sequence_number);
        let sequence = sequence.ok_or_else(|| format!("`{}` is not a sequence number", it.sequence_number))?;
        let arrival_millis = it.approximate_arrival_timestamp.and_then(|it| it.to_millis().ok());
        let (partition_key, data) = (it.partition_key, it.data.into_inner());
        Ok(Record { sequence, partition_key, arrival_millis, data, is_aggregate: false, is_of_shard: None })
    };
    let mut records: Vec<Record> = answer.into_iter().map(record).collect::<Result<_, String>>()?;
    let found = are_aggregates(&records.iter().map(|it| &*it.data).collect::<Vec<_>>());
    records.iter_mut().zip(found).for_each(|(record, is_aggregate)| record.is_aggregate = is_aggregate);
    Ok(records)
}

/// The shards that follow one that has ended.
pub fn children(answer: Vec<types::ChildShard>) -> Result<Vec<Found>, String> {
    let child = |it: types::ChildShard| {
        let hash_keys = hash_keys(it.hash_key_range.as_ref())?;
        Ok(Found { hash_keys, id: it.shard_id, parents: it.parent_shards, is_open: true })
    };
    answer.into_iter().map(child).collect()
}

fn hash_keys(range: Option<&HashKeyRange>) -> Result<RangeInclusive<u128>, String> {
    let Some(HashKeyRange { starting_hash_key, ending_hash_key, .. }) = range else { return Ok(ALL_HASH_KEYS) };
    let key = |it: &str| it.parse::<u128>().map_err(|_| format!("`{it}` is not a hash key"));
    Ok(key(starting_hash_key)?..=key(ending_hash_key)?)
}

//! The `kinesis` source: records of Kinesis streams, polled or pushed.

mod aggregate;
mod answer_date;
mod api;
mod asking;
mod clock;
mod columns;
mod consumer;
mod cut;
mod digests;
mod durable;
mod family;
mod lag;
mod last_calls;
mod lift;
mod pace;
mod poll;
mod presence;
mod protobuf;
mod push;
mod reading;
mod record;
mod replay;
mod room;
mod shared;
mod source;
mod start;
mod stream;
#[cfg(test)]
mod tests;
mod turns;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{BoxError, Claims, Config, Partition, Position, Resume, Source, SourceConfig, Wrong};
use forebay_aws::Aws;
use forebay_leases::Leases;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{Api, Limits};
use crate::columns::Column;
use crate::cut::{Cutter, Framing, OtherShards};
use crate::lag::Lag;
use crate::last_calls::LastCalls;
use crate::pace::{INTERVAL, RECORDS_MAX};
use crate::presence::GONE_AFTER;
use crate::push::RENEWED_AFTER;
use crate::reading::Context;
use crate::replay::Replay;
use crate::room::Room;
use crate::shared::Shared;
use crate::source::{Everything, Way};
use crate::start::Start;
use crate::stream::Stream;
use crate::turns::Turns;

/// Reads the records of Kinesis data streams, each of them once, by polling or by enhanced fan-out.
///
/// A row is a record: its data as text in the column `message`, without the line end that it may have. Records that the
/// Kinesis Producer Library has aggregated are taken apart, and each of them is a row; one that is damaged is a record like
/// any other. What is not UTF-8 is refused. A row's position is the sequence number of its record and its place in it.
///
/// The shards of a stream are read side by side. Splits and merges are followed: the rows of a shard are read when all rows
/// of the shards that it was made of were read, so that the records of a partition key are read in the order in which they
/// were put. Deliveries of a sink that are under way at the same time may become visible in another order than they were
/// begun in; with `in_flight_max = 1` they do not. A shard that was never read, because it has been made since, is read from
/// its first record on, whatever `start` says.
///
/// Polling asks a shard up to five times a second, as often as the service allows to all who poll it together, and takes
/// from it what it gives in a second, 2 MiB. A row is read a fifth of a second after it has arrived, at the latest, unless
/// others poll the same stream: then each gets its share. Enhanced fan-out (`mode = "fan_out"`) pushes rows faster than that
/// and is not shared, but is paid for by shard and hour.
///
/// With `leases`, several processes share the shards: each shard is read by one of them, and goes to another one when that
/// has failed, is stopped, or has more than its share. What is known of a shard goes with it, so that its rows are in the
/// sinks once, whoever reads them. Shards follow those that they were made of all the same.
///
/// What passes by itself is waited for: a server that is down, throttling, a stream or a right that is missing. Records
/// that expire before they were read, because the pipeline stood still for longer than the stream keeps them, are lost:
/// a warning says after which record that may have been, and the metrics say before it how long the oldest record has
/// waited. After a crash, records that were on their way to a sink are read again; if any has expired meanwhile, the
/// pipeline says so and stops.
///
/// The rights that it needs are `kinesis:ListShards`, `kinesis:GetShardIterator` and `kinesis:GetRecords` on the stream; for
/// fan-out `kinesis:DescribeStreamSummary`, `kinesis:RegisterStreamConsumer`, `kinesis:DescribeStreamConsumer`,
/// `kinesis:DeregisterStreamConsumer` and, on the consumer, `kinesis:SubscribeToShard`; for several streams that are shared
/// `kinesis:DescribeStreamSummary`; and `kms:Decrypt` on the key of an encrypted stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kinesis {
    /// The stream, by its name or its ARN, such as `"cdn-logs"`. A stream of another account is named by its ARN.
    stream: Option<Stream>,
    /// Several streams in place of one, such as `["cdn-logs-eu", "cdn-logs-us"]`. Their names must differ.
    streams: Option<Vec<Stream>>,
    /// Where to begin with a stream of which nothing was read yet. By default `"trim_horizon"`: with the oldest records
    /// that are there. `"latest"`: with those that arrive from now on; the first of them are read when it is durable
    /// where that was, which takes as long as the `age_max` of the sinks. The service is asked what time that is:
    /// where the clock of this machine disagrees by more than a second, it begins up to a second earlier than now, never
    /// later. A time, such as `"2026-11-21T22:04:00Z"`: with those that arrived then or later.
    #[serde(default)]
    start: Start,
    /// Whether the source ends. By default `"never"`; with `"caught_up"` it does when everything was read that is there,
    /// which is not to be had together with `leases`: others would go on with what this process leaves.
    #[serde(default)]
    end: End,
    /// How records are got. By default `"polling"`: they are asked for. `"fan_out"`: they are pushed to a `consumer` of the
    /// stream. `"auto"`: they are pushed, or polled if that is not allowed or the stream has as many consumers as it can.
    #[serde(default)]
    mode: Mode,
    /// For `mode = "fan_out"` and `"auto"`: the name of the consumer, such as `"forebay"`, which no other reader of the
    /// stream may use at the same time. If it is not there it is registered, and then removed when the pipeline is stopped;
    /// after a crash, when the next run is. One that was there stays. With `leases` all processes use the same one; it stays
    /// when they are stopped, since none knows that it is the last.
    consumer: Option<String>,
    /// How many records to ask for at a time, when polling. By default `10000`, the most that the service gives.
    records_max: Option<NonZeroU32>,
    /// What is a row. By default `"record"`: a record is, without the line end that it may have. `"lines"`: each line of a
    /// record is; empty ones give none.
    #[serde(default)]
    framing: Framing,
    /// What becomes of records that were aggregated, if the hash key of any of them belongs to another shard. By default
    /// `"filter"`: all of them are passed over, as the Kinesis Client Library does, because the Kinesis Producer Library sends
    /// all of them again when it finds out that a shard was split or merged. `"keep"`: they are rows, which is right for other
    /// producers, that aggregate records of any key.
    #[serde(default)]
    other_shards: OtherShards,
    /// More columns, such as `["partition_key", "approximate_arrival_time"]`. By default there is only `message`.
    #[serde(default)]
    columns: Vec<Column>,
    /// Shares the shards among the processes that have the same `leases`, such as `{ table = "cdn-to-clickhouse" }`, a table
    /// in DynamoDB. By default this process reads all shards. What this process knows of the shards goes along with the first
    /// leases that it takes: start the process that has read them alone first, by itself.
    leases: Option<Leases>,
    /// The account of the streams: region, endpoint, credentials. By default those that all AWS programs find.
    aws: Option<Aws>,
    /// What tests make small.
    #[serde(skip)]
    #[schemars(skip)]
    tuning: Tuning,
    /// When the shards were asked last, by any of the sources that are opened.
    #[serde(skip)]
    #[schemars(skip)]
    last_calls: LastCalls,
}

/// Whether the source ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum End {
    /// It waits for more.
    #[default]
    Never,
    /// When everything was read that is there.
    CaughtUp,
}

/// How records are got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// They are asked for.
    #[default]
    Polling,
    /// They are pushed.
    FanOut,
    /// They are pushed if that is possible.
    Auto,
}

/// What tests make small.
#[derive(Clone, Debug)]
struct Tuning {
    /// So much of records may be in memory before the engine takes it.
    room_bytes: u64,
    /// Between two calls about a shard.
    interval: Duration,
    /// When a shard that cannot be found is given up.
    gone_after: Duration,
    /// How old a subscription gets.
    renewed_after: Duration,
    /// How long a call may take.
    limits: Limits,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            room_bytes: 64 << 20,
            interval: INTERVAL,
            gone_after: GONE_AFTER,
            renewed_after: RENEWED_AFTER,
            limits: Limits::default(),
        }
    }
}

impl Config for Kinesis {
    const TYPE: &'static str = "kinesis";
}

impl Kinesis {
    /// What is read.
    fn streams(&self) -> Result<Vec<Stream>, Wrong> {
        match (&self.stream, &self.streams) {
            (Some(stream), None) => Ok(vec![stream.clone()]),
            (Some(_), Some(_)) => {
                Err(Wrong::new("streams", "`stream` and `streams` both say what to read").hint("keep one of them"))
            }
            (None, None) => Err(Wrong::new("", "neither `stream` nor `streams` says what to read")
                .hint("write the stream's name: `stream = \"cdn-logs\"`")),
            (None, Some(streams)) if streams.is_empty() => {
                Err(Wrong::new("streams", "`streams` is empty").hint("write at least one stream's name"))
            }
            (None, Some(streams)) => {
                let mut names = BTreeSet::new();
                if let Some(twice) = streams.iter().find(|it| !names.insert(it.name())) {
                    return Err(Wrong::new("streams", format!("there are two streams of the name `{}`", twice.name()))
                        .hint("streams of one name in two accounts or regions are read by two sources"));
                }
                Ok(streams.clone())
            }
        }
    }

    fn way(&self) -> Result<Way, Wrong> {
        let consumer = match (self.mode, &self.consumer) {
            (Mode::Polling, None) => return Ok(Way::Polling),
            (Mode::Polling, Some(_)) => {
                return Err(Wrong::new("consumer", "`consumer` means nothing with `mode = \"polling\"`")
                    .hint("leave it away, or write `mode = \"fan_out\"`"));
            }
            (Mode::FanOut | Mode::Auto, None) => {
                return Err(Wrong::new("mode", "records are pushed to a `consumer`, and none is given")
                    .hint("write a name that no other reader of the stream uses: `consumer = \"forebay\"`"));
            }
            (Mode::FanOut | Mode::Auto, Some(consumer)) => consumer,
        };
        // RegisterStreamConsumer, ConsumerName.
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        if !(1..=128).contains(&consumer.len()) || !consumer.bytes().all(fits) {
            return Err(Wrong::new("consumer", format!("`{consumer}` cannot be the name of a consumer"))
                .hint("write up to 128 of the characters A-Z a-z 0-9 _ . -"));
        }
        Ok(Way::FanOut { consumer: consumer.clone(), is_optional: self.mode == Mode::Auto })
    }

    fn check_others(&self) -> Result<(), Wrong> {
        if let Some(records_max) = self.records_max {
            if records_max.get() > RECORDS_MAX {
                return Err(Wrong::new("records_max", format!("`records_max` must be at most {RECORDS_MAX}")));
            }
            if self.mode == Mode::FanOut {
                return Err(Wrong::new("records_max", "`records_max` means nothing with `mode = \"fan_out\"`")
                    .hint("the service decides how many records it pushes at a time"));
            }
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.columns.iter().find(|it| !names.insert(**it)) {
            return Err(Wrong::new("columns", format!("the column `{}` is there twice", twice.name())));
        }
        if let Some(leases) = &self.leases {
            leases.check()?;
            if self.end == End::CaughtUp {
                return Err(Wrong::new("end", "`end = \"caught_up\"` means nothing with `leases`")
                    .hint("others would go on with what this process leaves: leave one of them away"));
            }
        }
        self.aws.as_ref().map_or(Ok(()), Aws::check)
    }

    /// What all shards have in common.
    async fn context(&self) -> Result<Arc<Context>, BoxError> {
        Ok(Arc::new(Context {
            api: Api { client: self.aws.clone().unwrap_or_default().kinesis().await?, limits: self.tuning.limits },
            cutter: Cutter {
                schema: columns::schema(&self.columns),
                columns: self.columns.clone().into(),
                framing: self.framing,
                other_shards: self.other_shards,
            },
            room: Room::new(self.tuning.room_bytes),
            last_calls: self.last_calls.clone(),
            turns: Turns::default(),
            lag: Lag::default(),
            start: self.start,
            records_max: self.records_max.map_or(RECORDS_MAX, NonZeroU32::get),
            ends: self.end == End::CaughtUp,
            interval: self.tuning.interval,
            gone_after: self.tuning.gone_after,
            renewed_after: self.tuning.renewed_after,
        }))
    }

    /// The streams as leases see them. A list of streams has names in the table even if it is a list of one.
    async fn shared(&self, alone: &BTreeMap<Partition, Position>) -> Result<Shared, BoxError> {
        let (context, way, alone) = (self.context().await?, self.way()?, alone.clone());
        Ok(match &self.stream {
            Some(stream) => Shared::one(context, way, alone, stream.clone()),
            None => Shared::several(context, way, alone, self.streams()?).await,
        })
    }
}

#[async_trait]
impl SourceConfig for Kinesis {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.streams()?;
        self.way()?;
        self.check_others()?;
        Ok(columns::schema(&self.columns))
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let (context, streams) = (self.context().await?, self.streams()?);
        match resume {
            Resume::After(after) => Ok(Box::new(Everything::begin(context, &streams, &self.way()?, &after))),
            Resume::Exactly(spans) => Ok(Box::new(Replay::new(context, &streams, spans))),
        }
    }

    fn is_shared(&self) -> bool {
        self.leases.is_some()
    }

    async fn claims(
        &self,
        _pipeline: &str,
        alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        let leases = self.leases.as_ref().ok_or("this source does not share its shards: it has no `leases`")?;
        let shards = Arc::new(self.shared(alone).await?);
        leases.claims(&self.aws.clone().unwrap_or_default(), shards).await
    }
}

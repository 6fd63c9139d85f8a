//! One shard whose records come without asking: `SubscribeToShard`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream};
use forebay_api::Position;
use forebay_aws::{Patience, Reason, Trouble, broken, failed, within};
use tokio::time::Instant;

use crate::api::{self, Api, odd, starting};
use crate::asking::Asking;
use crate::consumer::Consumer;
use crate::poll::Records;
use crate::presence::{Gone, Presence};
use crate::reading::Context;
use crate::record::{Found, Shard};
use crate::start::{Place, Start};

/// A subscription ends after five minutes ("SubscribeToShard", Amazon Kinesis Data Streams API reference); it is renewed
/// before that.
pub const RENEWED_AFTER: Duration = Duration::from_secs(285);

/// The service says every few seconds that there is nothing. A subscription that is silent for so long has been forgotten.
const SILENCE_MAX: Duration = Duration::from_secs(35);

/// Within 5 seconds of the last time, the same consumer cannot subscribe to the same shard again.
const TAKEN_WAIT: Duration = Duration::from_secs(1);

/// So often in a row a shard may be taken before it is worth a line: by another process, which has just ended.
const TAKEN_QUIET: u32 = 10;

/// What has come.
#[derive(Debug)]
pub enum Pushed {
    Records(Records),
    /// The shard is closed, and everything of it was read. These follow it.
    Ended(Vec<Found>),
    /// The shard has expired, and what was not read of it.
    Gone,
    /// The records are not given; they are to be asked for.
    Denied,
}

/// Reads one shard by subscription. What passes by itself is waited for.
#[derive(Debug)]
pub struct Pusher {
    api: Api,
    shard: Arc<Shard>,
    start: Start,
    consumer: Arc<Consumer>,
    patience: Patience,
    presence: Presence,
    subscription: Option<Subscription>,
    renewed_after: Duration,
    /// The place that was asked for, until the first record has come.
    asked: Option<Place>,
    /// What follows, once everything was read.
    ended: Option<Vec<Found>>,
    /// How often in a row somebody else had the shard.
    taken: u32,
}

#[derive(Debug)]
struct Subscription {
    answer: SubscribeToShardOutput,
    begun: Instant,
}

/// Why nothing more comes.
enum Over {
    Gone,
    Denied,
}

impl From<Gone> for Over {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Pusher {
    pub fn new(context: &Context, shard: Arc<Shard>, consumer: Arc<Consumer>) -> Self {
        Self {
            api: context.api.clone(),
            consumer,
            patience: Patience::new(shard.partition.as_str()),
            presence: Presence::new(context.gone_after),
            shard,
            start: context.start,
            subscription: None,
            renewed_after: context.renewed_after,
            asked: None,
            ended: None,
            taken: 0,
        }
    }

    /// The next records. `at` is up to where records were read: it is subscribed from there when need be, and the record
    /// in which it lies comes once more.
    pub async fn next(&mut self, at: &Position) -> Pushed {
        match self.try_next(at).await {
            Ok(pushed) => pushed,
            Err(Over::Gone) => Pushed::Gone,
            Err(Over::Denied) => Pushed::Denied,
        }
    }

    async fn try_next(&mut self, at: &Position) -> Result<Pushed, Over> {
        loop {
            if let Some(children) = self.ended.take() {
                return Ok(Pushed::Ended(children));
            }
            let Some(Subscription { answer, begun }) = &mut self.subscription else {
                self.subscribe(at).await?;
                continue;
            };
            let left = self.renewed_after.saturating_sub(begun.elapsed());
            let event = tokio::time::timeout(left.min(SILENCE_MAX), answer.event_stream.recv()).await;
            match event {
                Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                    self.patience.reset();
                    self.taken = 0;
                    match self.taken_from(event) {
                        Ok(records) => return Ok(Pushed::Records(records)),
                        Err(trouble) => self.trouble(&trouble).await?,
                    }
                }
                // Something that only a later version of the service says.
                Ok(Ok(Some(_))) => {}
                // It is over, as it is every five minutes; or nothing is said any more.
                Ok(Ok(None)) | Err(_) => self.subscription = None,
                Ok(Err(error)) => {
                    let trouble = interrupted(&self.doing(), error);
                    self.trouble(&trouble).await?;
                }
            }
        }
    }

    fn doing(&self) -> String {
        format!("reading `{}`", self.shard.partition)
    }

    fn taken_from(&mut self, event: SubscribeToShardEvent) -> Result<Records, Trouble> {
        let odd = |why: String| odd(&self.doing(), why);
        let records = api::records(event.records).map_err(odd)?;
        let children = api::children(event.child_shards.unwrap_or_default()).map_err(odd)?;
        // There is nothing to go on from.
        if event.continuation_sequence_number.is_empty() || !children.is_empty() {
            self.ended = Some(children);
        }
        let asked = if records.is_empty() { None } else { self.asked.take() };
        let behind_millis = event.millis_behind_latest.unsigned_abs();
        let is_caught_up = self.ended.is_none() && behind_millis == 0;
        Ok(Records { records: records.into(), asked, behind_millis: Some(behind_millis), is_caught_up })
    }

    async fn subscribe(&mut self, at: &Position) -> Result<(), Over> {
        let Some(mut asking) = Asking::after(at, self.start) else {
            self.ended = Some(Vec::new());
            return Ok(());
        };
        let doing = format!("subscribing to `{}`", self.shard.partition);
        loop {
            let (kind, sequence, time) = starting(&asking.place());
            let position =
                StartingPosition::builder().r#type(kind).set_sequence_number(sequence).set_timestamp(time).build();
            let call = self.api.client.subscribe_to_shard().consumer_arn(self.consumer.arn()).shard_id(&self.shard.id);
            let call = call.set_starting_position(position.ok());
            match within(self.api.limits.small, &doing, call.send()).await {
                Ok(answer) => {
                    self.presence.found();
                    self.asked = Some(asking.into_place());
                    self.subscription = Some(Subscription { answer, begun: Instant::now() });
                    return Ok(());
                }
                Err(trouble) if asking.is_refused(&self.shard, &trouble) => {}
                Err(trouble) => self.trouble(&trouble).await?,
            }
        }
    }

    /// Waits before it is subscribed again, unless there is no use in that.
    async fn trouble(&mut self, trouble: &Trouble) -> Result<(), Over> {
        self.subscription = None;
        if self.consumer.is_denied(trouble) {
            tracing::warn!("{trouble}: the shard is polled");
            return Err(Over::Denied);
        }
        match trouble.reason() {
            Some(Reason::InUse) => {
                self.taken += 1;
                if self.taken.is_multiple_of(TAKEN_QUIET) {
                    tracing::warn!("{trouble}: does another pipeline use the same `consumer`?");
                }
                tokio::time::sleep(TAKEN_WAIT.mul_f64(1.0 + self.patience.fraction())).await;
            }
            Some(Reason::NotFound) => {
                self.presence.check(&self.api, &self.shard, trouble).await?;
                self.patience.wait(trouble).await;
                // It may be the consumer that is not there.
                if !self.presence.is_missing() && !self.consumer.register().await {
                    return Err(Over::Denied);
                }
            }
            _ => self.patience.wait(trouble).await,
        }
        Ok(())
    }
}

/// What it means that a subscription has ended with an error.
fn interrupted<E, R>(doing: &str, error: SdkError<E, R>) -> Trouble
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error.as_service_error().map(|it| (it.code(), it.message())) {
        Some((Some(code), message)) => failed(doing, code, message),
        _ => broken(doing, &error),
    }
}

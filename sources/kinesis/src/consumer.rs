//! Who gets the records of a stream pushed: enhanced fan-out.
//!
//! A consumer costs money for as long as it is registered, so one that was registered here is removed in the end: by this
//! process, or, when that is killed, by the one that goes on after it. So that this one knows, it is noted like a position
//! when the consumer was made: a stretch without rows of a partition that has no others. Nothing is pushed before that is
//! durable. A consumer that was there before, or is another one by now, is used and stays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use forebay_api::{BoxError, Partition, Position};
use forebay_aws::{Patience, Reason, Trouble, within};
use tokio::sync::mpsc::WeakSender;
use tokio::time::Instant;

use crate::api::{Api, odd};
use crate::cut::Cutter;
use crate::durable::Durable;
use crate::reading::{HeldRead, Outlet};
use crate::source::Way;
use crate::stream::Stream;

/// How often it is asked whether a consumer is ready.
const READY: Duration = Duration::from_millis(500);

/// For so long it is tried to remove a consumer.
const REMOVING: Duration = Duration::from_secs(20);

/// A consumer of a stream.
#[derive(Debug)]
pub struct Consumer {
    api: Api,
    stream: Stream,
    name: String,
    /// Whether records are asked for instead when they are not given.
    is_optional: bool,
    /// Where it is noted which one is ours; `None`: other processes use it too, and none of them removes it.
    note: Option<Note>,
    state: Mutex<State>,
    /// Held while it is registered, which is seen through: otherwise nobody knew whose it is.
    registering: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Which one it is; another registration changes it.
    arn: String,
    is_ours: bool,
}

/// What is known of consumers that were registered here, and how more becomes known.
#[derive(Debug)]
pub struct Note {
    partition: Partition,
    /// When the last one was made.
    last: Mutex<Position>,
    cutter: Cutter,
    durable: Durable,
    /// Not one by which the source would wait for more.
    to: WeakSender<Result<HeldRead, BoxError>>,
}

impl Note {
    /// `last`: what was noted in an earlier life under the name [`Stream::consumer_partition`].
    pub fn new(partition: Partition, last: Position, cutter: Cutter, durable: Durable, to: &Outlet) -> Self {
        Self { partition, last: Mutex::new(last), cutter, durable, to: to.downgrade() }
    }

    fn last(&self) -> MutexGuard<'_, Position> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The consumer that was made then is ours. Waits until that is durable.
    async fn is_ours(&self, made: Position) {
        let before = {
            let mut last = self.last();
            if *last >= made {
                return;
            }
            std::mem::replace(&mut *last, made.clone())
        };
        let read = self.cutter.empty(&self.partition, &before, made);
        let settling = self.durable.expect(self.partition.clone());
        let Some(to) = self.to.upgrade() else { return };
        // An error: nobody wants to know.
        let _ = to.send(Ok(HeldRead { read, _permit: None })).await;
        settling.wait().await;
    }
}

impl Consumer {
    /// A consumer that is not registered yet; `None`: records are asked for.
    pub fn new(api: Api, stream: Stream, way: &Way, note: Option<Note>) -> Option<Arc<Self>> {
        let Way::FanOut { consumer, is_optional } = way else { return None };
        let (name, is_optional) = (consumer.clone(), *is_optional);
        let (state, registering) = (Mutex::default(), tokio::sync::Mutex::default());
        Some(Arc::new(Self { api, stream, name, is_optional, note, state, registering }))
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        self.lock().arn.clone()
    }

    /// Whether a trouble is one because of which records are asked for from now on.
    pub fn is_denied(&self, trouble: &Trouble) -> bool {
        let is_refusal = match trouble {
            Trouble::Wait(_) => trouble.code().is_some() && trouble.reason() != Some(Reason::NotFound),
            Trouble::Wrong(_) => true,
            Trouble::Retry(_) => trouble.reason() == Some(Reason::TooMany),
            Trouble::Gone(_) | Trouble::Exists(_) => false,
        };
        self.is_optional && is_refusal
    }

    /// Makes sure that it is registered, and waits until it is ready; somebody may have removed it. Whether it is: if not,
    /// it is optional, and is not allowed or one too many.
    pub async fn register(self: &Arc<Self>) -> bool {
        let mut patience = Patience::new(&self.name);
        loop {
            match self.try_register().await {
                Ok(()) => return true,
                Err(trouble) if self.is_denied(&trouble) => {
                    tracing::warn!("{trouble}: `{}` is polled", self.stream);
                    return false;
                }
                Err(trouble) => patience.wait(&trouble).await,
            }
        }
    }

    async fn try_register(self: &Arc<Self>) -> Result<(), Trouble> {
        let stream = match self.stream.arn() {
            Some(arn) => arn,
            None => self.api.describe(&self.stream).await?.arn,
        };
        let (this, of_stream) = (self.clone(), stream.clone());
        let registered = tokio::spawn(async move { this.register_now(&of_stream).await }).await;
        registered.map_err(|gone| Trouble::Retry(gone.into()))??;
        loop {
            let doing = format!("looking for the consumer `{}` of `{}`", self.name, self.stream);
            let call = self.api.client.describe_stream_consumer().stream_arn(&stream).consumer_name(&self.name);
            let answer = within(self.api.limits.small, &doing, call.send()).await?;
            let found = answer.consumer_description.ok_or_else(|| odd(&doing, "it describes no consumer"))?;
            let made = found.consumer_creation_timestamp.to_millis().map_err(|why| odd(&doing, why))?;
            self.look_at(found.consumer_arn, Position::time(made.unsigned_abs())).await;
            match found.consumer_status {
                ConsumerStatus::Active => return Ok(()),
                ConsumerStatus::Deleting => {
                    return Err(Trouble::Retry(format!("{doing}: it is being removed").into()));
                }
                _ => tokio::time::sleep(READY).await,
            }
        }
    }

    /// Registers it if it is not there.
    async fn register_now(&self, stream: &str) -> Result<(), Trouble> {
        let _registering = self.registering.lock().await;
        let doing = format!("registering the consumer `{}` of `{}`", self.name, self.stream);
        let call = self.api.client.register_stream_consumer().stream_arn(stream).consumer_name(&self.name);
        match within(self.api.limits.small, &doing, call.send()).await {
            Ok(answer) => {
                let consumer = answer.consumer.ok_or_else(|| odd(&doing, "it names no consumer"))?;
                *self.lock() = State { arn: consumer.consumer_arn, is_ours: true };
                Ok(())
            }
            // It is there already, or the stream is not ready: looking for it tells.
            Err(trouble) if trouble.reason() == Some(Reason::InUse) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Finds out whether the one that is there is ours.
    async fn look_at(&self, arn: String, made: Position) {
        let Some(note) = &self.note else {
            self.lock().arn = arn;
            return;
        };
        let is_ours = {
            let mut state = self.lock();
            let is_ours = state.is_ours && state.arn == arn || *note.last() == made;
            *state = State { arn, is_ours };
            is_ours
        };
        if is_ours {
            note.is_ours(made).await;
        }
    }

    /// Removes it, if it is ours alone.
    pub async fn remove(&self) {
        let _registering = self.registering.lock().await;
        let State { arn, is_ours } = self.lock().clone();
        if !is_ours || self.note.is_none() {
            return;
        }
        let doing = format!("removing the consumer `{}` of `{}`", self.name, self.stream);
        let (mut patience, begun) = (Patience::new(&self.name), Instant::now());
        loop {
            let call = self.api.client.deregister_stream_consumer().consumer_arn(&arn);
            match within(self.api.limits.small, &doing, call.send()).await {
                Ok(_) => return tracing::info!("the consumer `{}` of `{}` is removed", self.name, self.stream),
                Err(trouble) if trouble.reason() == Some(Reason::NotFound) => return,
                // It is not ready yet, for example.
                Err(trouble @ Trouble::Retry(_)) if begun.elapsed() < REMOVING => patience.wait(&trouble).await,
                Err(trouble) => {
                    return tracing::warn!(
                        "{trouble}: it stays and has to be paid for, until the pipeline is stopped again"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

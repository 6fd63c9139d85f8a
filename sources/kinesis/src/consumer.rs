//! Who gets the records of a stream pushed: enhanced fan-out.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use forebay_aws::{Trouble, trouble};
use tokio::runtime::Handle;

use crate::api::{Api, NOT_FOUND, odd, within};
use crate::patience::Patience;
use crate::source::Way;
use crate::stream::Stream;

/// How often it is asked whether a consumer is ready.
const READY: Duration = Duration::from_millis(500);

/// A consumer of a stream. One that was registered here is removed when nobody uses it any more, unless other processes
/// may.
#[derive(Debug)]
pub struct Consumer {
    api: Api,
    stream: Stream,
    name: String,
    /// Whether records are asked for instead when they are not given.
    is_optional: bool,
    /// Whether other processes read the same stream by it: then it is not for this one to remove.
    is_shared: bool,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    arn: String,
    /// Whether it was registered here.
    is_ours: bool,
}

impl Consumer {
    /// Registers a consumer, or finds the one that is there, and waits until it is ready. `None`: records are asked for, or
    /// it is optional, and is not allowed or one too many.
    pub async fn open(api: Api, stream: Stream, way: &Way, is_shared: bool) -> Option<Self> {
        let Way::FanOut { consumer, is_optional } = way else { return None };
        let (name, is_optional) = (consumer.clone(), *is_optional);
        let consumer = Self { api, stream, name, is_optional, is_shared, state: Mutex::default() };
        consumer.register().await.then_some(consumer)
    }

    /// Its ARN, which another registration changes.
    pub fn arn(&self) -> String {
        self.lock().arn.clone()
    }

    /// Whether a trouble is one because of which records are asked for from now on.
    pub fn is_denied(&self, trouble: &Trouble) -> bool {
        let is_refusal = match trouble {
            Trouble::Wait(_) => trouble.code().is_some_and(|it| it != NOT_FOUND),
            Trouble::Wrong(_) => true,
            Trouble::Retry(_) => trouble.code() == Some("LimitExceededException"),
            Trouble::Gone(_) | Trouble::Exists(_) => false,
        };
        self.is_optional && is_refusal
    }

    /// Makes sure that it is registered; somebody may have removed it. Whether it is.
    pub async fn register(&self) -> bool {
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

    async fn try_register(&self) -> Result<(), Trouble> {
        let doing = format!("registering the consumer `{}` of `{}`", self.name, self.stream);
        let stream = self.stream_arn().await?;
        let client = &self.api.client;
        let call = client.register_stream_consumer().stream_arn(&stream).consumer_name(&self.name);
        match within(self.api.limits.small, &doing, call.send(), trouble).await {
            Ok(answer) => {
                let consumer = answer.consumer.ok_or_else(|| odd(&doing, "it names no consumer"))?;
                *self.lock() = State { arn: consumer.consumer_arn, is_ours: true };
            }
            // It is there already, or the stream is not ready: looking for it tells.
            Err(trouble) if trouble.code() == Some("ResourceInUseException") => {}
            Err(trouble) => return Err(trouble),
        }
        loop {
            let doing = format!("looking for the consumer `{}` of `{}`", self.name, self.stream);
            let call = client.describe_stream_consumer().stream_arn(&stream).consumer_name(&self.name);
            let answer = within(self.api.limits.small, &doing, call.send(), trouble).await?;
            let found = answer.consumer_description.ok_or_else(|| odd(&doing, "it describes no consumer"))?;
            self.lock().arn = found.consumer_arn;
            match found.consumer_status {
                ConsumerStatus::Active => return Ok(()),
                ConsumerStatus::Deleting => {
                    return Err(Trouble::Retry(format!("{doing}: it is being removed").into()));
                }
                _ => tokio::time::sleep(READY).await,
            }
        }
    }

    async fn stream_arn(&self) -> Result<String, Trouble> {
        match self.stream.arn() {
            Some(arn) => Ok(arn),
            None => Ok(self.api.describe(&self.stream).await?.arn),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let State { arn, is_ours } = self.lock().clone();
        let Some(runtime) = Handle::try_current().ok().filter(|_| is_ours && !self.is_shared) else { return };
        let Api { client, limits } = self.api.clone();
        let name = self.name.clone();
        runtime.spawn(async move {
            let call = client.deregister_stream_consumer().consumer_arn(arn);
            let doing = format!("removing the consumer `{name}`");
            if let Err(trouble) = within(limits.small, &doing, call.send(), trouble).await {
                tracing::warn!("{trouble}: it stays, and is used again");
            }
        });
    }
}

//! Objects that are notified by messages in an SQS queue.
//!
//! A message is held, hidden from other readers, until everything that it tells of is safe everywhere; then it is
//! deleted. Should it come again before that, or its object be told of by others, nothing is read twice: an object is
//! known by what it is, not by the message.

mod keeper;
mod ledger;
pub mod message;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::Message;
use forebay_api::{BoxError, Partition, Position, Settler};
use forebay_aws::{Patience, Trouble, trouble};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bucket::Bucket;
use crate::feed::Fed;
use crate::letter::Letter;
use crate::queue::keeper::{BATCH_MAX, Keeper};
use crate::queue::message::Event;
use crate::store::{Found, Store};

pub use ledger::Ledger;

/// SQS's name for a message.
pub type MessageId = Arc<str>;

/// So many messages are held at a time, unread or on their way to a sink. SQS allows 120,000 for a queue.
const HELD_MAX: usize = 20_000;

/// As long as SQS waits for a message to come.
const LONG_POLL: Duration = Duration::from_secs(20);

/// A queue of messages about a bucket. Clones are the same.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    keeper: Keeper,
    /// Messages are kept hidden, and deleted, as long as there is a source or a settler.
    _keep: DropGuard,
}

impl Queue {
    /// Begins to look after the messages that will come.
    pub fn open(client: Client, url: String, hidden: Duration) -> Self {
        let keeper = Keeper { client, url, ledger: Arc::default(), hidden };
        let keep = CancellationToken::new();
        let (hiding, deleting) = (keeper.clone(), keeper.clone());
        let (hide_until, delete_until) = (keep.clone(), keep.clone());
        tokio::spawn(async move { hide_until.run_until_cancelled(hiding.hide()).await });
        tokio::spawn(async move {
            delete_until.run_until_cancelled(deleting.delete()).await;
            deleting.delete_rest().await;
        });
        Self(Arc::new(Shared { keeper, _keep: keep.drop_guard() }))
    }

    /// Which messages wait for what.
    pub fn ledger(&self) -> &Ledger {
        &self.0.keeper.ledger
    }

    /// What hears that rows are safe.
    pub fn settler(&self, store: Arc<dyn Store>) -> Settled {
        Settled { queue: self.clone(), store }
    }

    /// Receives messages, for ever.
    pub async fn receive(&self, bucket: Bucket, to: mpsc::Sender<Fed>) {
        let Keeper { client, url, hidden, .. } = &self.0.keeper;
        let doing = format!("receiving messages of `{url}`");
        let mut patience = Patience::new(url);
        loop {
            while self.ledger().held() >= HELD_MAX {
                self.ledger().room.notified().await;
            }
            let call = client
                .receive_message()
                .queue_url(url)
                .max_number_of_messages(BATCH_MAX as i32)
                .wait_time_seconds(LONG_POLL.as_secs() as i32)
                .visibility_timeout(hidden.as_secs() as i32);
            let messages = match self.polled(&doing, call).await {
                Ok(answer) => answer.messages.unwrap_or_default(),
                Err(trouble @ Trouble::Retry(_)) => {
                    patience.wait(&trouble).await;
                    continue;
                }
                // The queue may be made, and rights may be given, at any time.
                Err(trouble) => {
                    patience.wait(&Trouble::Wait(trouble.into_error())).await;
                    continue;
                }
            };
            patience.reset();
            // All are entered before any is read: those that wait for the others are kept hidden as well.
            let now = Instant::now();
            let fed: Vec<Fed> = messages.into_iter().flat_map(|it| self.take(&bucket, it, now)).collect();
            for fed in fed {
                if to.send(fed).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Sends a poll. It goes on if nobody waits for it any more: the queue would give messages to it all the same, and hide
    /// them for nothing. So others get them back at once.
    async fn polled(&self, doing: &str, call: ReceiveMessageFluentBuilder) -> Result<ReceiveMessageOutput, Trouble> {
        let (answer, answered) = oneshot::channel();
        let keeper = self.0.keeper.clone();
        tokio::spawn(async move {
            if let Err(Ok(ReceiveMessageOutput { messages: Some(unread), .. })) = answer.send(call.send().await) {
                let receipts: Vec<String> = unread.into_iter().filter_map(|it| it.receipt_handle).collect();
                keeper.release_these(&receipts).await;
            }
        });
        match answered.await {
            Ok(answer) => answer.map_err(|error| trouble(doing, error)),
            Err(_) => Err(Trouble::Retry(format!("{doing}: the poll was abandoned").into())),
        }
    }

    /// Enters a message, and gives what it tells of.
    fn take(&self, bucket: &Bucket, message: Message, received: Instant) -> Vec<Fed> {
        let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle) else {
            tracing::warn!("a message came without its id or its receipt, and can be neither read nor deleted");
            return Vec::new();
        };
        let (id, body) = (MessageId::from(id), message.body.unwrap_or_default());
        let (found, why) = understand(bucket, &id, &body);
        let open = found.len() + usize::from(why.is_some());
        if !self.ledger().enter(&id, receipt, open, self.0.keeper.hidden, received) {
            tracing::debug!(message = %id, "a message came again while it was held");
            return Vec::new();
        }
        let found = found.into_iter().map(|found| Fed::Found { found, message: Some(id.clone()) });
        let refused = why.map(|why| {
            tracing::warn!(message = %id, "a message is refused: {why}");
            Fed::Refused { letter: Letter::message(&id, &body, why), message: id.clone() }
        });
        found.chain(refused).collect()
    }
}

/// The objects that a message tells of, and why not all of it could be understood.
fn understand(bucket: &Bucket, id: &MessageId, body: &str) -> (Vec<Found>, Option<String>) {
    let events = match message::events(body) {
        Ok(events) => events,
        Err(why) => return (Vec::new(), Some(why)),
    };
    let (mut objects, mut refused) = (Vec::new(), None);
    for event in events {
        match event {
            Ok(Event::Created { bucket: other, .. }) if other != bucket.name() => {
                refused.get_or_insert(format!("it is about the bucket `{other}`, and `path` names another one"));
            }
            Ok(Event::Created { found, .. }) if bucket.is_meant(&found.key) => objects.push(found),
            Ok(Event::Created { found, .. }) => {
                tracing::debug!(message = %id, key = found.key, "passed over: `path` and `include` do not name it");
            }
            Ok(Event::Other(name)) => {
                tracing::debug!(message = %id, event = name, "passed over: no object was written")
            }
            Err(why) => {
                refused.get_or_insert(why);
            }
        }
    }
    (objects, refused)
}

/// Hears which objects are safe everywhere.
pub struct Settled {
    queue: Queue,
    store: Arc<dyn Store>,
}

#[async_trait]
impl Settler for Settled {
    async fn settled(&mut self, partition: &Partition, to: &Position) -> Result<(), BoxError> {
        let object = || self.store.object(partition).map(|it| it.id());
        let id = Letter::of(partition).map(|it| it.id()).or_else(object);
        if let Some(id) = id {
            self.queue.ledger().settled(id, to);
        }
        Ok(())
    }
}

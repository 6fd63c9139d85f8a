//! An SQS queue of letters, one a message; what is too large for a message is a file, and the message says where.
//!
//! A standard queue may give a message twice, and gets it twice if a send is tried again whose answer was lost: each has
//! an `id` attribute by which that is known. A FIFO queue leaves it out by itself within five minutes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message as Received,
    MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use forebay_api::{BoxError, Deliver, DeliveryId, SinkError};
use forebay_aws::{failed as call_failed, trouble};
use serde::{Deserialize, Serialize};

use crate::kept::LETTERS;
use crate::letter::Letter;
use crate::place::{Place, failed, lines};

/// The most bytes of a message, and of all that are sent at once: the quota of Amazon SQS until August 2025, when it was
/// raised to 1 MiB; other servers still have this one.
const BYTES_MAX: usize = 256 << 10;

/// What attributes may take of that.
const ATTRIBUTE_BYTES: usize = 1 << 10;

/// The most messages of a call.
const MESSAGES_MAX: usize = 10;

/// How long a queue that seems to be empty is asked: with no wait, SQS asks only some of its servers.
const WAIT_SECONDS: i32 = 2;

/// How long messages are hidden from others while they are made files.
const HIDDEN_SECONDS: i32 = 120;

/// After so many times in a row with nothing but newer messages, those that were there count as done with: a queue gives
/// old messages first, but only more or less.
const NOTHING_OLD_MAX: u32 = 5;

/// How far behind the number of messages may be that SQS tells.
const COUNT_LAG: Duration = Duration::from_secs(60);

/// A queue of letters, and the place of those that are too large for it.
#[derive(Clone, Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    large: Place,
}

/// The body of a message about a letter that is too large for one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    /// Where it is.
    at: String,
}

/// What became of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Letters that are files now.
    pub taken: u64,
    /// Messages that were sent when it had begun, as far as they were seen. They stay.
    pub newer: u64,
    /// Messages that are no letters. They stay.
    pub no_letters: u64,
}

struct Message {
    id: String,
    body: String,
}

impl Queue {
    pub(crate) fn new(client: aws_sdk_sqs::Client, url: String, large: Place) -> Self {
        Self { client, url, large }
    }

    async fn send(&self, messages: &[Message]) -> Result<(), SinkError> {
        let is_fifo = self.url.ends_with(".fifo");
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (nth, message) in messages.iter().enumerate() {
            let id = MessageAttributeValue::builder().data_type("String").string_value(&message.id);
            let id = id.build().map_err(|it| SinkError::Stop(it.into()))?;
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(nth.to_string())
                .message_body(&message.body)
                .message_attributes("id", id);
            if is_fifo {
                entry = entry.message_group_id("forebay").message_deduplication_id(&message.id);
            }
            request = request.entries(entry.build().map_err(|it| SinkError::Stop(it.into()))?);
        }
        let doing = format!("sending dead letters to {}", self.url);
        let answer = request.send().await.map_err(|it| failed(trouble(&doing, it)))?;
        match answer.failed().first() {
            // All of them again: those that went through have the same ids.
            Some(entry) => Err(failed(call_failed(&doing, entry.code(), entry.message()))),
            None => Ok(()),
        }
    }

    /// About how many messages there are, those that somebody else looks at included.
    pub async fn waiting(&self) -> Result<u64, BoxError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
        let doing = format!("counting dead letters in {}", self.url);
        let counts = answer.map_err(|it| trouble(&doing, it).into_error())?.attributes.unwrap_or_default();
        let count = |it| counts.get(it).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
        Ok(names.iter().map(count).sum())
    }

    /// Makes files at `place` of the letters that were there when this began, and deletes their messages.
    ///
    /// If this process ends in between, the messages come again after [`HIDDEN_SECONDS`], as the same files: what was
    /// replayed meanwhile is marked as taken there.
    pub async fn empty_into(&self, place: &Place) -> Result<Emptied, BoxError> {
        let (begun, due) = (SystemTime::now(), self.waiting().await?);
        let mut emptied = Emptied::default();
        // The receipts of those that stay, by their ids: they come again when they have been hidden for long enough.
        let mut stay: BTreeMap<String, String> = BTreeMap::new();
        let (mut no_letters, mut nothing_old) = (0, 0);
        while nothing_old < NOTHING_OLD_MAX {
            // A clock that is ahead of the queue's knows no newer messages.
            if emptied.taken + no_letters >= due && begun.elapsed().is_ok_and(|it| it > COUNT_LAG) {
                break;
            }
            let messages = self.receive().await?;
            if messages.is_empty() {
                break;
            }
            let mut done = Vec::new();
            nothing_old += 1;
            for message in &messages {
                let receipt = message.receipt_handle().ok_or("a message has no receipt")?.to_owned();
                let id = message.message_id().ok_or("a message has no id")?.to_owned();
                if sent(message).is_some_and(|it| it > begun) {
                    stay.insert(id, receipt);
                    continue;
                }
                if self.keep(message, place).await? {
                    done.push(receipt);
                } else if stay.insert(id, receipt).is_none() {
                    no_letters += 1;
                } else {
                    continue;
                }
                nothing_old = 0;
            }
            self.delete(&done).await?;
            emptied.taken += done.len() as u64;
        }
        let receipts: Vec<&String> = stay.values().collect();
        self.show_again(&receipts).await;
        (emptied.newer, emptied.no_letters) = (stay.len() as u64 - no_letters, no_letters);
        Ok(emptied)
    }

    async fn receive(&self) -> Result<Vec<Received>, BoxError> {
        let doing = format!("receiving dead letters from {}", self.url);
        let request = self.client.receive_message().queue_url(&self.url).message_attribute_names("id");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let request = request.max_number_of_messages(10).visibility_timeout(HIDDEN_SECONDS);
        let received = request.wait_time_seconds(WAIT_SECONDS).send().await;
        Ok(received.map_err(|it| trouble(&doing, it).into_error())?.messages.unwrap_or_default())
    }

    /// Makes a file of a message. `false` if it is no letter.
    async fn keep(&self, message: &Received, place: &Place) -> Result<bool, BoxError> {
        let body = message.body().unwrap_or_default();
        if serde_json::from_str::<Elsewhere>(body).is_ok() {
            return Ok(true);
        }
        // What lies at the place must be letters: one line that is none would be in the way of every replay.
        if Letter::parse_all(body).map_or(true, |it| it.len() != 1) {
            return Ok(false);
        }
        let id = message.message_attributes().and_then(|it| it.get("id")?.string_value());
        // Anybody may have sent it: the name of a file has no `/` in it.
        let id = id.filter(|it| it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-'));
        let name = id.or(message.message_id()).ok_or("a message has no id")?;
        let file = format!("{name}{LETTERS}");
        place.write(&file, format!("{body}\n").into_bytes()).await.map_err(SinkError::into_error)?;
        Ok(true)
    }

    async fn delete(&self, receipts: &[String]) -> Result<(), BoxError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let mut delete = self.client.delete_message_batch().queue_url(&self.url);
        for (nth, receipt) in receipts.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder().id(nth.to_string()).receipt_handle(receipt);
            delete = delete.entries(entry.build()?);
        }
        let doing = format!("deleting from {}", self.url);
        let deleted = delete.send().await.map_err(|it| trouble(&doing, it).into_error())?;
        match deleted.failed().first() {
            Some(entry) => Err(call_failed(&doing, entry.code(), entry.message()).into_error()),
            None => Ok(()),
        }
    }

    /// Hides messages no longer. They would be shown by themselves, only later: so it does not matter if this fails.
    async fn show_again(&self, receipts: &[&String]) {
        for receipts in receipts.chunks(MESSAGES_MAX) {
            let mut request = self.client.change_message_visibility_batch().queue_url(&self.url);
            for (nth, receipt) in receipts.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(nth.to_string());
                let entry = entry.receipt_handle(*receipt).visibility_timeout(0).build();
                request = entry.into_iter().fold(request, |request, it| request.entries(it));
            }
            if let Err(error) = request.send().await {
                tracing::debug!("{}", trouble(&format!("showing messages of {} again", self.url), error).into_error());
                return;
            }
        }
    }
}

/// When a message was sent, by the queue's clock.
fn sent(message: &Received) -> Option<SystemTime> {
    let millis = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

/// A line of JSON in characters that SQS takes: XML 1.0 has neither U+FFFE nor U+FFFF, and all that a line has beyond ASCII
/// stands in texts, where they may be written otherwise.
fn allowed(line: &str) -> Cow<'_, str> {
    match line.contains(['\u{fffe}', '\u{ffff}']) {
        true => line.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff").into(),
        false => line.into(),
    }
}

#[async_trait]
impl Deliver for Queue {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let text = lines(rows)?;
        let text = std::str::from_utf8(&text).map_err(|it| SinkError::Stop(it.into()))?;
        let mut group: Vec<Message> = Vec::new();
        let mut bytes = 0;
        for (nth, line) in text.lines().map(allowed).enumerate() {
            let id = format!("{id}-{nth}");
            let body = if line.len() + ATTRIBUTE_BYTES > BYTES_MAX {
                let file = format!("{id}{LETTERS}");
                self.large.write(&file, format!("{line}\n").into_bytes()).await?;
                let elsewhere = Elsewhere { at: self.large.at(&file) };
                serde_json::to_string(&elsewhere).map_err(|it| SinkError::Stop(it.into()))?
            } else {
                line.into_owned()
            };
            let size = body.len() + ATTRIBUTE_BYTES;
            if group.len() == MESSAGES_MAX || bytes + size > BYTES_MAX {
                self.send(&group).await?;
                group.clear();
                bytes = 0;
            }
            bytes += size;
            group.push(Message { id, body });
        }
        if !group.is_empty() {
            self.send(&group).await?;
        }
        Ok(Vec::new())
    }
}

//! An SQS queue of letters, one a message; what is too large for a message is a file, and the message says where.
//!
//! A standard queue may give a message twice, and gets it twice if a send is tried again whose answer was lost: each has
//! an `id` attribute by which that is known. A FIFO queue leaves it out by itself within five minutes.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};
use forebay_api::{BoxError, Deliver, DeliveryId, SinkError};
use forebay_aws::{Trouble, failed as call_failed, trouble};
use serde::{Deserialize, Serialize};

use crate::kept::LETTERS;
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

    /// Makes files at `place` of all messages, and deletes these. How many there were.
    ///
    /// If this process ends in between, the messages come again after [`HIDDEN_SECONDS`], as the same files: what was
    /// replayed meanwhile is marked as taken there.
    pub async fn empty_into(&self, place: &Place) -> Result<u64, BoxError> {
        let mut taken = 0;
        loop {
            let doing = format!("receiving dead letters from {}", self.url);
            let request = self.client.receive_message().queue_url(&self.url).message_attribute_names("id");
            let request = request.max_number_of_messages(10).visibility_timeout(HIDDEN_SECONDS);
            let received = request.wait_time_seconds(WAIT_SECONDS).send().await;
            let messages = received.map_err(|it| trouble(&doing, it).into_error())?.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(taken);
            }
            let mut delete = self.client.delete_message_batch().queue_url(&self.url);
            for (nth, message) in messages.iter().enumerate() {
                let body = message.body().unwrap_or_default();
                let id = message.message_attributes().and_then(|it| it.get("id")?.string_value());
                let name = id.or(message.message_id()).ok_or("a message has no id")?;
                if serde_json::from_str::<Elsewhere>(body).is_err() {
                    let file = format!("{name}{LETTERS}");
                    place.write(&file, format!("{body}\n").into_bytes()).await.map_err(SinkError::into_error)?;
                }
                let handle = message.receipt_handle().ok_or("a message has no receipt")?;
                let entry = DeleteMessageBatchRequestEntry::builder().id(nth.to_string()).receipt_handle(handle);
                delete = delete.entries(entry.build()?);
                taken += 1;
            }
            let doing = format!("deleting from {}", self.url);
            let deleted = delete.send().await.map_err(|it| trouble(&doing, it).into_error())?;
            if let Some(entry) = deleted.failed().first() {
                let trouble: Trouble = call_failed(&doing, entry.code(), entry.message());
                return Err(trouble.into_error());
            }
        }
    }
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

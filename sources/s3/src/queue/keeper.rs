//! Deletes messages that are done with, and keeps the others hidden from other readers.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use forebay_api::BoxError;
use forebay_aws::{Patience, Trouble, failed, trouble};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::queue::MessageId;
use crate::queue::ledger::{Extension, Ledger};

/// SQS takes so many in one request.
pub const BATCH_MAX: usize = 10;

/// So many requests are sent at a time.
const REQUESTS_MAX: usize = 8;

/// What a keeper needs.
#[derive(Clone)]
pub struct Keeper {
    pub client: Client,
    pub url: String,
    pub ledger: Arc<Ledger>,
    /// For how long a message is hidden at a time.
    pub hidden: Duration,
}

impl Keeper {
    /// Deletes messages as they are done with, and lets others have those that are not wanted, for ever.
    pub async fn delete(&self) {
        let mut patience = Patience::new(&self.url);
        loop {
            self.release().await;
            let batches: Vec<_> = std::iter::from_fn(|| {
                let batch = self.ledger.take_deletes(BATCH_MAX);
                (!batch.is_empty()).then_some(batch)
            })
            .take(REQUESTS_MAX)
            .collect();
            if batches.is_empty() {
                self.ledger.to_delete.notified().await;
                continue;
            }
            let mut failure = None;
            for result in join_all(batches.into_iter().map(|it| self.delete_batch(it))).await {
                failure = result.err().or(failure);
            }
            self.ledger.deleted();
            match failure {
                Some(trouble) => patience.wait(&trouble).await,
                None => patience.reset(),
            }
        }
    }

    /// Lets others have messages at once, instead of when their time has passed. If that fails, it is that time.
    async fn release(&self) {
        loop {
            let receipts = self.ledger.take_releases(BATCH_MAX);
            if receipts.is_empty() {
                return;
            }
            self.release_these(&receipts).await;
        }
    }

    /// Lets others have these messages, at most a batch of them.
    pub async fn release_these(&self, receipts: &[String]) {
        let entries = receipts.iter().enumerate().map(|(nth, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(nth.to_string());
            entry.receipt_handle(receipt).visibility_timeout(0).build()
        });
        let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() else { return };
        let call = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        if let Err(error) = call.send().await {
            tracing::debug!("{}", trouble("letting go of messages", error));
        }
    }

    /// Tries once to delete what is left at the end. What stays in the queue comes again, and costs nothing.
    pub async fn delete_rest(&self) {
        self.release().await;
        loop {
            let batch = self.ledger.take_deletes(BATCH_MAX);
            if batch.is_empty() || self.delete_batch(batch).await.is_err() {
                return;
            }
        }
    }

    /// Deletes some messages; puts back those that are to be tried again.
    async fn delete_batch(&self, batch: Vec<(MessageId, String)>) -> Result<(), Trouble> {
        let doing = format!("deleting messages of `{}`", self.url);
        let entries = batch.iter().enumerate().map(|(nth, (_, receipt))| {
            DeleteMessageBatchRequestEntry::builder().id(nth.to_string()).receipt_handle(receipt).build()
        });
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return Err(Trouble::Wrong(error.into())),
        };
        let call = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        match call.send().await {
            Ok(answer) => {
                tracing::debug!(messages = answer.successful().len(), "deleted messages");
                let mut last = None;
                for (nth, trouble) in answer.failed().iter().map(|it| refused(&doing, it)) {
                    match trouble {
                        trouble @ (Trouble::Retry(_) | Trouble::Wait(_)) => {
                            self.ledger.put_back(batch.get(nth).cloned().into_iter().collect());
                            last = Some(trouble);
                        }
                        // Its receipt has expired. It comes again, is found to be done with, and is deleted then.
                        trouble => tracing::debug!("{trouble}"),
                    }
                }
                last.map_or(Ok(()), Err)
            }
            Err(error) => {
                self.ledger.put_back(batch);
                Err(trouble(&doing, error))
            }
        }
    }

    /// Keeps messages hidden that are held, for ever.
    pub async fn hide(&self) {
        // Half of the time has passed when a message is due, and at the next look not much more.
        let mut looks = tokio::time::interval((self.hidden / 20).max(Duration::from_millis(50)));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let due = self.ledger.extensions(self.hidden, Instant::now());
            let batches: Vec<&[Extension]> = due.chunks(BATCH_MAX).collect();
            for batches in batches.chunks(REQUESTS_MAX) {
                for result in join_all(batches.iter().map(|it| self.hide_batch(it))).await {
                    if let Err(error) = result {
                        tracing::warn!("{error}: it is tried again");
                    }
                }
            }
        }
    }

    async fn hide_batch(&self, batch: &[Extension]) -> Result<(), BoxError> {
        let doing = format!("keeping messages of `{}` hidden", self.url);
        let entries = batch.iter().enumerate().map(|(nth, it)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(nth.to_string())
                .receipt_handle(&it.receipt)
                .visibility_timeout(it.hidden.as_secs() as i32)
                .build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let before = Instant::now();
        let call = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = call.send().await.map_err(|error| trouble(&doing, error).into_error())?;
        for nth in answer.successful().iter().filter_map(|it| it.id().parse::<usize>().ok()) {
            if let Some(extension) = batch.get(nth) {
                self.ledger.extended(extension, before + Duration::from_secs(extension.hidden.as_secs()));
            }
        }
        for (nth, trouble) in answer.failed().iter().map(|it| refused(&doing, it)) {
            match (trouble, batch.get(nth)) {
                (Trouble::Retry(error) | Trouble::Wait(error), _) => tracing::warn!("{error}: it is tried again"),
                (trouble, Some(extension)) => {
                    tracing::debug!("{trouble}: the message comes again");
                    self.ledger.lost(extension);
                }
                (_, None) => {}
            }
        }
        Ok(())
    }
}

/// One entry of a batch that was refused: its number, and what that means.
fn refused(doing: &str, entry: &BatchResultErrorEntry) -> (usize, Trouble) {
    let nth = entry.id().parse().unwrap_or(usize::MAX);
    (nth, failed(doing, entry.code(), entry.message()))
}

//! One object on its way.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use forebay_api::{DeliveryId, SinkError};
use forebay_aws::{Trouble, trouble};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{DELIVERY, Found, SCHEMA, Shared, is_unsupported, lock, retry};
use crate::store::{Upload, stop};

/// The least bytes of a part that is not the last one: the S3 User Guide, "Amazon S3 multipart upload limits".
const PART_BYTES_MIN: usize = 5 << 20;

/// The most parts of an upload, from the same page.
const PARTS_MAX: usize = 10_000;

/// After so many parts they get larger by as much as the first ones have.
const PARTS_OF_A_SIZE: usize = 1_000;

/// Parts of one file that may be on their way while further rows are encoded.
const PARTS_ON_THEIR_WAY_MAX: usize = 2;

/// An object that is not visible yet.
pub(super) struct S3File {
    shared: Arc<Shared>,
    delivery: String,
    key: String,
    length: u64,
    /// The id of the multipart upload, once there is one.
    upload: Option<String>,
    parts: Vec<Part>,
    /// The whole object, if it is small.
    whole: Option<Bytes>,
    finished: bool,
    placed: bool,
}

/// A part of an upload.
enum Part {
    /// To be sent, perhaps again.
    Waiting(Bytes),
    /// On its way. The bytes are kept until they have arrived.
    Sent(Bytes, JoinHandle<Result<String, Trouble>>),
    /// Arrived; its tag.
    Arrived(String),
}

impl S3File {
    pub(super) fn new(shared: Arc<Shared>, id: &DeliveryId, name: &str) -> Self {
        let key = format!("{}{name}", shared.root);
        let delivery = id.to_string();
        let (upload, parts, whole) = (None, Vec::new(), None);
        Self { shared, delivery, key, length: 0, upload, parts, whole, finished: false, placed: false }
    }

    async fn begin_upload(&mut self) -> Result<(), SinkError> {
        if self.upload.is_some() {
            return Ok(());
        }
        let request = self.shared.client.create_multipart_upload().bucket(&self.shared.bucket).key(&self.key);
        let request = request.metadata(DELIVERY, &self.delivery).metadata(SCHEMA, &self.shared.schema);
        let doing = self.shared.doing("beginning the upload of", &self.key);
        let begun = request.send().await.map_err(|error| retry(trouble(&doing, error)))?;
        let id = begun.upload_id().ok_or_else(|| SinkError::Retry(format!("{doing}: the answer has no id").into()))?;
        self.upload = Some(id.to_owned());
        Ok(())
    }

    /// Sends a part that waits, and waits for the oldest ones if too many are on their way.
    async fn send(&mut self, on_their_way_max: usize) -> Result<(), SinkError> {
        let Some(upload) = self.upload.clone() else { return Ok(()) };
        for nth in 0..self.parts.len() {
            if let Part::Waiting(bytes) = &self.parts[nth] {
                let bytes = bytes.clone();
                let task = tokio::spawn(send_part(
                    self.shared.clone(),
                    self.key.clone(),
                    upload.clone(),
                    i32::try_from(nth + 1).map_err(stop)?,
                    bytes.clone(),
                ));
                self.parts[nth] = Part::Sent(bytes, task);
            }
        }
        let is_sent = |it: &Part| matches!(it, Part::Sent(..));
        while self.parts.iter().filter(|it| is_sent(it)).count() > on_their_way_max {
            let Some(nth) = self.parts.iter().position(is_sent) else { break };
            let Part::Sent(bytes, task) = &mut self.parts[nth] else { break };
            let answer = task.await;
            let bytes = std::mem::take(bytes);
            // Should the bytes not arrive, they wait for the next try.
            self.parts[nth] = Part::Waiting(bytes);
            match answer {
                Ok(Ok(tag)) => self.parts[nth] = Part::Arrived(tag),
                Ok(Err(error)) if error.code() == Some("NoSuchUpload") => return Err(stop(lost(&error))),
                Ok(Err(error)) => return Err(retry(error)),
                Err(error) => return Err(SinkError::Retry(error.into())),
            }
        }
        Ok(())
    }

    /// Asks for the object to be made visible.
    async fn complete(&self, condition: Option<&str>) -> Result<(), Trouble> {
        let request = &self.shared;
        match (&self.whole, &self.upload) {
            (Some(whole), _) => {
                let put = request.client.put_object().bucket(&request.bucket).key(&self.key);
                let put = put.metadata(DELIVERY, &self.delivery).metadata(SCHEMA, &request.schema);
                let put = put.set_if_none_match(condition.map(str::to_owned)).body(ByteStream::from(whole.clone()));
                let sent = put.send().await;
                sent.map(drop).map_err(|error| trouble(&request.doing("writing", &self.key), error))
            }
            (None, upload) => {
                let part = |(nth, part): (usize, &Part)| {
                    let Part::Arrived(tag) = part else { return None };
                    Some(CompletedPart::builder().e_tag(tag).part_number(nth as i32 + 1).build())
                };
                let parts: Option<Vec<CompletedPart>> = self.parts.iter().enumerate().map(part).collect();
                let parts = CompletedMultipartUpload::builder().set_parts(parts).build();
                let complete = request.client.complete_multipart_upload().bucket(&request.bucket).key(&self.key);
                let complete = complete.set_upload_id(upload.clone()).multipart_upload(parts);
                let sent = complete.set_if_none_match(condition.map(str::to_owned)).send().await;
                sent.map(drop).map_err(|error| trouble(&request.doing("completing the upload of", &self.key), error))
            }
        }
    }

    async fn look(&self) -> Result<Found, SinkError> {
        self.shared.is_there(&self.key, &self.delivery, self.length).await.map_err(retry)
    }

    /// The object is visible. An upload that was not needed is ended.
    async fn was_there(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.shared.abort(&self.key, &upload).await;
        }
        self.is_placed();
    }

    fn is_placed(&mut self) {
        self.placed = true;
        self.upload = None;
        self.whole = None;
        self.parts = Vec::new();
    }
}

/// An upload that is gone with the bytes that were sent: only a new start can send them again.
fn lost(error: &dyn std::fmt::Display) -> String {
    format!(
        "{error}; somebody has ended the upload, or a rule of the bucket has: its rows are read again at the next start"
    )
}

async fn send_part(
    shared: Arc<Shared>,
    key: String,
    upload: String,
    number: i32,
    bytes: Bytes,
) -> Result<String, Trouble> {
    // Never closed.
    let _permit = shared.parts.acquire().await;
    let doing = shared.doing(&format!("writing part {number} of"), &key);
    let request = shared.client.upload_part().bucket(&shared.bucket).key(&key).upload_id(upload).part_number(number);
    let sent = request.body(ByteStream::from(bytes)).send().await.map_err(|error| trouble(&doing, error))?;
    match sent.e_tag() {
        Some(tag) => Ok(tag.to_owned()),
        None => Err(Trouble::Retry(format!("{doing}: the answer has no tag").into())),
    }
}

#[async_trait]
impl Upload for S3File {
    fn part_bytes(&self, nth: usize) -> usize {
        PART_BYTES_MIN * (1 + nth / PARTS_OF_A_SIZE)
    }

    fn parts_max(&self) -> usize {
        PARTS_MAX
    }

    async fn write(&mut self, part: &Bytes) -> Result<(), SinkError> {
        self.begin_upload().await?;
        // What failed before goes first: after an error this part is not taken over.
        self.send(PARTS_ON_THEIR_WAY_MAX - 1).await?;
        self.length += part.len() as u64;
        self.parts.push(Part::Waiting(part.clone()));
        // It is taken over: the next call meets the error.
        let _ = self.send(PARTS_ON_THEIR_WAY_MAX).await;
        Ok(())
    }

    async fn finish(&mut self, rest: &Bytes, kept: bool) -> Result<(), SinkError> {
        if !self.finished {
            if self.upload.is_some() || !kept {
                self.begin_upload().await?;
                if !rest.is_empty() {
                    self.parts.push(Part::Waiting(rest.clone()));
                }
            } else {
                self.whole = Some(rest.clone());
            }
            self.length += rest.len() as u64;
            self.finished = true;
        }
        self.send(0).await
    }

    async fn place(&mut self) -> Result<(), SinkError> {
        if self.placed {
            return Ok(());
        }
        let mut condition = self.shared.condition();
        if condition.is_none() && self.look().await? == Found::Same {
            self.was_there().await;
            return Ok(());
        }
        // With the condition; without it where the server does not know it, or something else stands there.
        loop {
            let error = match self.complete(condition).await {
                Ok(()) => {
                    self.is_placed();
                    return Ok(());
                }
                Err(error) => error,
            };
            if condition.is_some() && is_unsupported(&error) {
                self.shared.without_conditions(&error);
                condition = None;
                continue;
            }
            // Whatever the answer: an earlier one may have been lost, and an upload can be completed but once.
            match self.look().await? {
                Found::Same => {
                    self.was_there().await;
                    return Ok(());
                }
                Found::Other if matches!(error, Trouble::Exists(_)) && condition.is_some() => condition = None,
                _ => {
                    // The bucket may be gone as well, which somebody may change.
                    let is_lost = self.whole.is_none() && error.code() == Some("NoSuchUpload");
                    return Err(if is_lost { stop(lost(&error)) } else { retry(error) });
                }
            }
        }
    }
}

impl Drop for S3File {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let parts = std::mem::take(&mut self.parts);
        let (shared, key) = (self.shared.clone(), std::mem::take(&mut self.key));
        let cleanup = async move {
            // A part that arrives later would not go with the upload. To give up waiting would not keep it back.
            for part in parts {
                if let Part::Sent(_, task) = part {
                    let _ = task.await;
                }
            }
            shared.abort(&key, &upload).await;
        };
        // Without a runtime the program is at its end: the next start ends the upload.
        if let Ok(runtime) = Handle::try_current() {
            let cleanup = runtime.spawn(cleanup);
            let mut cleanups = lock(&self.shared.cleanups);
            cleanups.retain(|it| !it.is_finished());
            cleanups.push(cleanup);
        }
    }
}

//! Files as objects of a bucket.
//!
//! A small file is one `PutObject`, a larger one a multipart upload: both make an object visible whole, and not
//! before the commit. Each is sent with `If-None-Match: *`, so that what is there already is not written again; the
//! answer to that is 412, and then the object is looked at.

mod file;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use forebay_api::{DeliveryId, SinkError};
use forebay_aws::{Trouble, broken, trouble};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;

use super::{Names, Store, Upload, delivery_of, is_name};
use file::S3File;

/// Where notes are: `<root>.staging/<delivery id>.names`. Readers pass over levels that begin with a dot.
const STAGING: &str = ".staging/";
const NOTE_END: &str = ".names";

/// Parts that may be on their way at a time, over all files. Each is in memory.
const PARTS_MAX: usize = 4;

/// An upload that begun so long ago and is not one of a delivery that is made again belongs to nobody any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The object's metadata that says which delivery wrote it, and what its columns are.
const DELIVERY: &str = "forebay-delivery";
const SCHEMA: &str = "forebay-schema";

/// A table in a bucket.
pub(crate) struct Bucket {
    shared: Arc<Shared>,
    /// What crashed processes have left; looked for once, when the server answers.
    left: OnceCell<()>,
}

/// What the table and its files share.
struct Shared {
    client: Client,
    bucket: String,
    root: String,
    schema: String,
    parts: Arc<Semaphore>,
    /// Whether the server takes `If-None-Match: *`, as far as is known.
    conditions: AtomicBool,
    /// Noted names by delivery.
    notes: Mutex<BTreeMap<String, Names>>,
    /// Uploads by delivery that nobody will complete: keys and upload ids.
    abandoned: Mutex<BTreeMap<String, Vec<(String, String)>>>,
    /// Uploads being aborted.
    cleanups: Mutex<Vec<JoinHandle<()>>>,
}

impl Bucket {
    /// Takes a client. Nothing is sent. `schema` is the fingerprint of the columns.
    pub(crate) fn new(client: Client, bucket: String, root: String, schema: String) -> Self {
        let shared = Shared {
            client,
            bucket,
            root,
            schema,
            parts: Arc::new(Semaphore::new(PARTS_MAX)),
            conditions: AtomicBool::new(true),
            notes: Mutex::default(),
            abandoned: Mutex::default(),
            cleanups: Mutex::default(),
        };
        Self { shared: Arc::new(shared), left: OnceCell::new() }
    }
}

#[async_trait]
impl Store for Bucket {
    async fn begin(&self, id: &DeliveryId) -> Result<Names, SinkError> {
        let cleanups = std::mem::take(&mut *lock(&self.shared.cleanups));
        for cleanup in cleanups {
            // A task that panicked has said so.
            let _ = cleanup.await;
        }
        self.left.get_or_try_init(async || self.shared.find_left().await).await?;
        let abandoned = lock(&self.shared.abandoned).remove(id.as_str()).unwrap_or_default();
        for (key, upload) in abandoned {
            self.shared.abort(&key, &upload).await;
        }
        Ok(lock(&self.shared.notes).get(id.as_str()).cloned().unwrap_or_default())
    }

    async fn note(&self, id: &DeliveryId, names: &Names) -> Result<(), SinkError> {
        let key = self.shared.note_key(id);
        let lines: String = names.iter().flat_map(|it| [it.as_str(), "\n"]).collect();
        let request = self.shared.client.put_object().bucket(&self.shared.bucket).key(&key);
        let sent = request.body(ByteStream::from(lines.into_bytes())).send().await;
        sent.map_err(|error| retry(trouble(&self.shared.doing("writing", &key), error)))?;
        lock(&self.shared.notes).insert(id.to_string(), names.clone());
        Ok(())
    }

    fn upload(&self, id: &DeliveryId, _nth: usize, name: &str) -> Box<dyn Upload> {
        Box::new(S3File::new(self.shared.clone(), id, name))
    }

    async fn remove(&self, names: &[String]) -> Result<(), SinkError> {
        for name in names {
            self.shared.delete(&format!("{}{name}", self.shared.root)).await.map_err(retry)?;
        }
        Ok(())
    }

    async fn seal(&self, _names: &Names) -> Result<(), SinkError> {
        Ok(())
    }

    async fn forget(&self, id: &DeliveryId) {
        match self.shared.delete(&self.shared.note_key(id)).await {
            Ok(()) => {
                lock(&self.shared.notes).remove(id.as_str());
            }
            // A note that stays reminds an attempt that will not come of names that are right.
            Err(error) => tracing::debug!("{error}"),
        }
    }

    fn let_go(&self, _id: &DeliveryId) {}
}

impl Shared {
    fn note_key(&self, id: &DeliveryId) -> String {
        format!("{}{STAGING}{id}{NOTE_END}", self.root)
    }

    /// ``writing `s3://bucket/key` ``
    fn doing(&self, what: &str, key: &str) -> String {
        format!("{what} `s3://{}/{key}`", self.bucket)
    }

    /// Looks for notes and for uploads that crashed processes have left. Those of this table alone: what does not
    /// have a name that its deliveries give is passed over.
    async fn find_left(&self) -> Result<(), SinkError> {
        let notes = self.find_notes().await?;
        lock(&self.notes).extend(notes);
        let mut forgotten = Vec::new();
        for (delivery, key, upload, is_old) in self.find_uploads().await? {
            match is_old {
                true => forgotten.push((key, upload)),
                false => lock(&self.abandoned).entry(delivery).or_default().push((key, upload)),
            }
        }
        for (key, upload) in forgotten {
            self.abort(&key, &upload).await;
        }
        Ok(())
    }

    async fn find_notes(&self) -> Result<BTreeMap<String, Names>, SinkError> {
        let prefix = format!("{}{STAGING}", self.root);
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).into_paginator().send();
        let mut notes = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| retry(trouble(&self.doing("listing", &prefix), error)))?;
            for key in page.contents().iter().filter_map(|it| it.key()) {
                let id = key.strip_prefix(&prefix).and_then(|it| it.strip_suffix(NOTE_END));
                if let Some(id) = id.and_then(|it| it.parse::<DeliveryId>().ok()) {
                    notes.insert(id.to_string(), self.read_note(key, &id).await?);
                }
            }
        }
        Ok(notes)
    }

    async fn read_note(&self, key: &str, id: &DeliveryId) -> Result<Names, SinkError> {
        let doing = self.doing("reading", key);
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let found = match sent.map_err(|error| trouble(&doing, error)) {
            Ok(found) => found,
            // Another process of this pipeline has done the delivery in between.
            Err(Trouble::Gone(_)) => return Ok(Names::new()),
            Err(error) => return Err(retry(error)),
        };
        let bytes = found.body.collect().await.map_err(|error| retry(broken(&doing, &error)))?.into_bytes();
        let text = String::from_utf8_lossy(&bytes);
        // What is no name was not written here, and is passed over.
        Ok(text.lines().filter(|it| is_name(it, id)).map(str::to_owned).collect())
    }

    /// Uploads under way that have a name of this table: delivery, key, upload id, and whether nobody can want it.
    async fn find_uploads(&self) -> Result<Vec<(String, String, String, bool)>, SinkError> {
        let doing = self.doing("listing uploads under", &self.root);
        let mut found = Vec::new();
        let (mut key_marker, mut upload_marker) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&self.root);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(upload_marker);
            let page = match request.send().await.map_err(|error| trouble(&doing, error)) {
                Ok(page) => page,
                Err(error) if is_unsupported(&error) => {
                    tracing::warn!(
                        "{error}; uploads that a crash has left stay, unless a rule of the bucket ends them"
                    );
                    return Ok(found);
                }
                Err(error) => return Err(retry(error)),
            };
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let file = key.rsplit('/').next().unwrap_or_default();
                let Some(delivery) = key.strip_prefix(&self.root).and_then(|_| delivery_of(file)) else { continue };
                let begun = upload.initiated().and_then(|it| SystemTime::try_from(*it).ok());
                let age = begun.and_then(|it| it.elapsed().ok()).unwrap_or_default();
                found.push((delivery.to_owned(), key.to_owned(), id.to_owned(), age >= FORGOTTEN_AFTER));
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            upload_marker = page.next_upload_id_marker().map(str::to_owned);
        }
    }

    /// Ends an upload that nobody will complete, as well as it can: what stays costs storage, but no row.
    async fn abort(&self, key: &str, upload: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        match request.send().await.map_err(|error| trouble(&self.doing("aborting the upload of", key), error)) {
            Ok(_) | Err(Trouble::Gone(_)) => {}
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Removes an object, if it is there.
    async fn delete(&self, key: &str) -> Result<(), Trouble> {
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match sent.map_err(|error| trouble(&self.doing("removing", key), error)) {
            Ok(_) | Err(Trouble::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the object is there as the delivery writes it: by its size, its delivery, and its columns.
    async fn is_there(&self, key: &str, delivery: &str, length: u64) -> Result<Found, Trouble> {
        let sent = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        match sent.map_err(|error| trouble(&self.doing("looking at", key), error)) {
            Ok(found) => {
                let is_ours = |name: &str, value: &str| {
                    found.metadata().and_then(|it| it.get(name)).is_some_and(|it| it == value)
                };
                let same_length = found.content_length().and_then(|it| u64::try_from(it).ok()) == Some(length);
                let same = same_length && is_ours(DELIVERY, delivery) && is_ours(SCHEMA, &self.schema);
                Ok(if same { Found::Same } else { Found::Other })
            }
            Err(Trouble::Gone(_)) => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The condition to send, as long as the server takes it.
    fn condition(&self) -> Option<&'static str> {
        self.conditions.load(Ordering::Relaxed).then_some("*")
    }

    fn without_conditions(&self, error: &Trouble) {
        if self.conditions.swap(false, Ordering::Relaxed) {
            tracing::warn!("{error}; from now on each name is looked at before it is given");
        }
    }
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// What the delivery writes.
    Same,
    /// What an attempt with other settings has written.
    Other,
}

/// Whether the server does not know the call, or the header.
fn is_unsupported(error: &Trouble) -> bool {
    matches!(error.code(), Some("NotImplemented" | "MethodNotAllowed" | "UnsupportedOperation"))
}

/// Missing buckets and rights are waited for, like a full disk.
fn retry(error: Trouble) -> SinkError {
    match error {
        Trouble::Wrong(error) => SinkError::Stop(error),
        other => SinkError::Retry(other.into_error()),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

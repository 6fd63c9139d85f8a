//! A bucket, or what lies below a prefix in it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::types::Object as Listed;
use bytes::{Bytes, BytesMut};
use forebay_api::{BoxError, Partition};
use forebay_aws::{Patience, Trouble, broken, trouble};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::chunks::Begun;
use crate::keys::KeyPattern;
use crate::object::{Content, Id, Object};
use crate::store::{self, AheadMax, Body, Finding, Found, GaveUp, Look, Met, Opening, Store};

/// So many objects are fetched before their turn: a bucket of tiny ones is read at the speed of the network, not of
/// its latency.
const AHEAD_OBJECTS_MAX: usize = 16;
const AHEAD_BYTES_MAX: u64 = 32 << 20;

/// What lies below a prefix of a bucket.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

pub struct Inner {
    pub client: Client,
    pub name: String,
    /// Empty, or with a `/` at its end.
    pub prefix: String,
    pub include: KeyPattern,
    /// After so many tries an object is given up that cannot be read while others can.
    pub tries_max: u32,
    /// Objects up to this size are fetched by one request, larger ones by ranges of this size.
    pub chunk_bytes: u64,
    /// Ends what is on its way when nobody wants it any more.
    pub stop: CancellationToken,
    pub met: Met,
    /// The objects that were last read, of different keys.
    pub readable: Mutex<Vec<Object>>,
}

impl Bucket {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Ends what is on its way when nobody wants it any more.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Larger objects are fetched in ranges of this size.
    pub fn chunk_bytes(&self) -> u64 {
        self.0.chunk_bytes
    }

    /// Whether a key is meant by `path` and `include`.
    pub fn is_meant(&self, key: &str) -> bool {
        key.strip_prefix(&self.0.prefix).is_some_and(|it| self.0.include.is_match(it))
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.0.name)
    }

    /// What a key holds now; `None` if it is gone.
    async fn look_at(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, BoxError> {
        let doing = format!("looking at `{}`", self.url(key));
        let mut patience = Patience::new(key);
        loop {
            let call =
                self.0.client.head_object().bucket(&self.0.name).key(key).set_version_id(version.map(Into::into));
            match call.send().await.map_err(|error| trouble(&doing, error)) {
                Ok(answer) => {
                    let (Some(etag), Some(size)) = (answer.e_tag(), answer.content_length()) else {
                        return Err(format!("{doing}: the answer has no ETag, or no size").into());
                    };
                    let content = Content { etag: unquoted(etag), size: size.unsigned_abs() };
                    let version = version.map(Into::into);
                    return Ok(Some(Object { key: key.to_owned(), content, version }));
                }
                Err(Trouble::Gone(_)) => match self.missing(&doing, key, version).await {
                    None => return Ok(None),
                    Some(trouble) => patience.wait(&trouble).await,
                },
                Err(trouble @ (Trouble::Retry(_) | Trouble::Wait(_))) => patience.wait(&trouble).await,
                // The answer to this request has no body, and may be as bare as `400`. That to a GET says more.
                Err(trouble) => patience.wait(&Trouble::Wait(trouble.into_error())).await,
            }
        }
    }

    /// Makes sure that it is the key that is missing; else says what the trouble is.
    ///
    /// The answer to HEAD has no body: a bucket that is missing, or a gateway that knows no better, answers with the same
    /// bare `404`. That to GET says by its code what is not there.
    async fn missing(&self, doing: &str, key: &str, version: Option<&str>) -> Option<Trouble> {
        let call = self.0.client.get_object().bucket(&self.0.name).key(key).set_version_id(version.map(Into::into));
        let is_there = || Trouble::Retry(format!("{doing}: it was not there a moment ago, and now it is").into());
        match call.range("bytes=0-0").send().await.map_err(|error| trouble_of_get(doing, error)) {
            Ok(_) => Some(is_there()),
            Err(Trouble::Gone(_)) => None,
            // It is empty.
            Err(trouble) if trouble.code() == Some("InvalidRange") => Some(is_there()),
            Err(trouble @ Trouble::Retry(_)) => Some(trouble),
            Err(trouble) => Some(Trouble::Wait(trouble.into_error())),
        }
    }

    /// The bytes `from..to` of an object.
    ///
    /// What fails is asked for again from the first missing byte on. A server or a network that is down is waited for; so
    /// are missing rights, unless another object can still be read: then it is this one that is given up.
    /// With no `tries_max` nothing is ever given up but what is not there.
    pub async fn bytes(&self, object: &Object, from: u64, to: u64, tries_max: Option<u32>) -> Result<Bytes, GaveUp> {
        let mut bytes = BytesMut::with_capacity((to - from) as usize);
        let mut patience = Patience::new(&object.key);
        // Failures in a row that may be the object's own fault.
        let mut tries = 0;
        loop {
            let before = bytes.len();
            let (trouble, suspect) = match self.fill(object, from, to, &mut bytes).await {
                Ok(()) => {
                    self.note_readable(object);
                    return Ok(bytes.freeze());
                }
                Err(Failure::Other | Failure::Call(Trouble::Exists(_))) => return Err(GaveUp::Changed),
                // It is shorter than it was.
                Err(Failure::Call(trouble)) if trouble.code() == Some("InvalidRange") => return Err(GaveUp::Changed),
                Err(Failure::Call(Trouble::Gone(_))) => return Err(GaveUp::Gone),
                Err(Failure::Call(trouble @ Trouble::Retry(_))) => (trouble, false),
                Err(Failure::Call(trouble)) => (Trouble::Wait(trouble.into_error()), true),
                Err(Failure::Body(trouble)) => (trouble, true),
            };
            if bytes.len() > before {
                patience.reset();
                tries = 0;
            } else if suspect {
                tries += 1;
                if tries_max.is_some_and(|max| tries >= max) && self.others_can_be_read(object).await {
                    tracing::warn!("{trouble}: it is given up, since other objects can be read");
                    let why = without_request(&trouble.to_string());
                    return Err(GaveUp::Unreadable(format!("{why} ({tries} tries; other objects can be read)")));
                }
            }
            patience.wait(&trouble).await;
        }
    }

    /// Adds what is missing of the bytes `from..to`.
    async fn fill(&self, object: &Object, from: u64, to: u64, bytes: &mut BytesMut) -> Result<(), Failure> {
        let size = object.content.size;
        let first = from + bytes.len() as u64;
        let doing = format!("reading `{}`", self.url(&object.key));
        let whole = first == 0 && to == size;
        // Of a whole object S3 tells the checksum, and the SDK checks it.
        let range = (!whole).then(|| format!("bytes={first}-{}", to - 1));
        let mut body = self.get(&doing, object, range).await?.body;
        while let Some(more) = body.next().await {
            match more {
                Ok(more) if bytes.len() as u64 + more.len() as u64 <= to - from => bytes.extend_from_slice(&more),
                Ok(_) => return Err(Failure::Other),
                Err(error) => {
                    // All are there, and something is wrong with them: the checksum.
                    if bytes.len() as u64 == to - from {
                        bytes.clear();
                    }
                    return Err(Failure::Body(broken(&doing, &error)));
                }
            }
        }
        if bytes.len() as u64 == to - from {
            return Ok(());
        }
        let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended too early");
        Err(Failure::Body(broken(&doing, &short)))
    }

    /// Asks for an object, which must still be what it was.
    async fn get(&self, doing: &str, object: &Object, range: Option<String>) -> Result<GetObjectOutput, Failure> {
        let mut call = self.0.client.get_object().bucket(&self.0.name).key(&object.key).set_range(range);
        call = match &object.version {
            Some(version) => call.version_id(version),
            None => call.if_match(format!("\"{}\"", object.content.etag)),
        };
        let answer = call.send().await.map_err(|error| Failure::Call(trouble_of_get(doing, error)))?;
        // Not every server knows the condition.
        let size = match answer.content_range().and_then(|it| it.rsplit_once('/')) {
            Some((_, size)) => size.parse().ok(),
            None => answer.content_length().map(i64::unsigned_abs),
        };
        let (Some(etag), Some(size)) = (answer.e_tag().map(unquoted), size) else {
            let missing = if size.is_none() { "size" } else { "ETag" };
            let what = format!("{doing}: the answer has no {missing}: does something on the way compress it?");
            return Err(Failure::Call(Trouble::Wrong(what.into())));
        };
        if (Content { etag, size }) == object.content { Ok(answer) } else { Err(Failure::Other) }
    }

    /// Remembers an object that was just read.
    fn note_readable(&self, object: &Object) {
        let mut readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner);
        if readable.first().is_some_and(|it| it.key == object.key) {
            return;
        }
        readable.insert(0, object.clone());
        readable.truncate(2);
    }

    /// Whether it is this object alone that cannot be read.
    async fn others_can_be_read(&self, object: &Object) -> bool {
        let readable = self.0.readable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for other in readable.iter().filter(|it| it.key != object.key) {
            match self.get("reading another object", other, Some("bytes=0-0".to_owned())).await {
                // That it was deleted or overwritten is said only by a server that works, to who has the rights.
                Ok(_) | Err(Failure::Other | Failure::Call(Trouble::Gone(_) | Trouble::Exists(_))) => return true,
                Err(_) => {}
            }
        }
        false
    }

    async fn begin(&self, object: &Object, tries_max: Option<u32>) -> Result<Box<dyn Body>, GaveUp> {
        let end = object.content.size.min(self.0.chunk_bytes);
        let first = if end == 0 { Bytes::new() } else { self.bytes(object, 0, end, tries_max).await? };
        let (bucket, object, runtime) = (self.clone(), object.clone(), Handle::current());
        Ok(Box::new(Begun { bucket, object, tries_max, first, runtime }))
    }
}

/// Why bytes are missing.
enum Failure {
    /// There was no answer, or a bad one.
    Call(Trouble),
    /// The answer was good, but it broke off.
    Body(Trouble),
    /// The answer has the bytes of another object.
    Other,
}

#[async_trait]
impl Store for Bucket {
    fn look(&self) -> Box<dyn Look> {
        self.0.met.begin();
        Box::new(Listing { bucket: self.clone(), token: None, ended: false })
    }

    async fn find(&self, found: &Found) -> Result<Finding, BoxError> {
        if let Some(object) = found.object() {
            return Ok(Finding::Object(object, store::Handle::Condition));
        }
        let Some(object) = self.look_at(&found.key, found.version.as_deref()).await? else {
            return Ok(Finding::Gone);
        };
        if let Some(stamp) = found.stamp {
            self.0.met.note(&found.key, stamp);
        }
        Ok(Finding::Object(object, store::Handle::Condition))
    }

    async fn open(&self, object: &Object, _handle: store::Handle) -> Result<Opening, BoxError> {
        Ok(match self.begin(object, Some(self.0.tries_max)).await {
            Ok(body) => Opening::Open(body),
            Err(GaveUp::Changed) => Opening::Changed,
            Err(GaveUp::Gone) => Opening::Gone,
            Err(GaveUp::Unreadable(why)) => Opening::Unreadable(why),
            Err(closed @ GaveUp::Closed) => return Err(closed.into()),
        })
    }

    async fn reopen(&self, object: &Object) -> Result<Box<dyn Body>, BoxError> {
        self.begin(object, None).await.map_err(|gave_up| {
            let what = if gave_up == GaveUp::Gone { "is gone" } else { "was changed" };
            let (url, etag) = (self.url(&object.key), &object.content.etag);
            format!(
                "`{url}` {what}, but rows of it are on their way to a sink and must be read again: \
                 put the object back whose ETag is `{etag}`"
            )
            .into()
        })
    }

    fn partition(&self, object: &Object) -> Partition {
        Partition::new(format!("s3://{}/{}", self.0.name, object.named()))
    }

    fn object(&self, partition: &Partition) -> Option<Object> {
        let name = partition.as_str().strip_prefix("s3://")?.strip_prefix(&*self.0.name)?.strip_prefix('/')?;
        Object::parse(name)
    }

    fn ahead(&self) -> AheadMax {
        AheadMax { objects: AHEAD_OBJECTS_MAX, bytes: AHEAD_BYTES_MAX, bytes_of_one: self.0.chunk_bytes }
    }

    fn keeps_versions(&self) -> bool {
        true
    }

    fn tries_max(&self) -> u32 {
        self.0.tries_max
    }
}

/// A listing of the bucket.
struct Listing {
    bucket: Bucket,
    token: Option<String>,
    ended: bool,
}

#[async_trait]
impl Look for Listing {
    async fn page(&mut self) -> Result<Option<Vec<Found>>, Trouble> {
        let Inner { client, name, prefix, include, met, .. } = &*self.bucket.0;
        if self.ended {
            met.end();
            return Ok(None);
        }
        let call = client.list_objects_v2().bucket(name).prefix(format!("{prefix}{}", include.literal_head()));
        let answer = call.set_continuation_token(self.token.clone()).send().await;
        let answer = answer.map_err(|error| match trouble(&format!("listing `s3://{name}/{prefix}`"), error) {
            // There is no bucket yet.
            Trouble::Gone(error) => Trouble::Wait(error),
            trouble => trouble,
        })?;
        let page = answer.contents().iter().filter_map(|it| self.bucket.found(it)).collect();
        self.token = answer.next_continuation_token;
        self.ended = self.token.is_none();
        Ok(Some(page))
    }
}

impl Bucket {
    /// What a line of a listing is about, if it is meant and not known.
    fn found(&self, listed: &Listed) -> Option<Found> {
        let key = listed.key().filter(|it| self.is_meant(it))?.to_owned();
        let size = listed.size().unwrap_or_default().unsigned_abs();
        if let Some(etag) = listed.e_tag() {
            return Some(Found::content(key, Content { etag: unquoted(etag), size }));
        }
        // Not every server lists ETags.
        let stamp = Id::of(&format!("{size} {:?}", listed.last_modified()));
        let found = |key| Found { size: Some(size), stamp: Some(stamp), ..Found::key(key) };
        (!self.0.met.knows(&key, stamp)).then(|| found(key))
    }
}

/// What the failure of a GET means. A `404` without a body, which the SDK calls `NotFound`, is no word of S3 about an
/// object: something before it has answered.
fn trouble_of_get(doing: &str, error: SdkError<GetObjectError>) -> Trouble {
    match trouble(doing, error) {
        gone @ Trouble::Gone(_) if gone.code() == Some("NotFound") => Trouble::Wait(gone.into_error()),
        trouble => trouble,
    }
}

/// What happened, without the request's id: that is another one each time, and what is refused must be refused in the
/// same words after a crash.
pub fn without_request(what: &str) -> String {
    let cut = what.split_once(", request `").and_then(|(head, rest)| Some((head, rest.split_once('`')?.1)));
    cut.map_or_else(|| what.to_owned(), |(head, tail)| format!("{head}{tail}"))
}

/// An ETag as it is compared.
pub fn unquoted(etag: &str) -> String {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_owned()
}

//! What a directory and a bucket have in common.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::{BoxError, Partition};
use forebay_aws::Trouble;
use forebay_codec::ReadAt;

use crate::object::{Content, Id, Object};

/// A place that holds objects: a directory or a bucket.
///
/// What passes by itself, or by somebody's doing, is waited for in here; an error ends the pipeline.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Begins to list the objects, in the order of their keys.
    fn look(&self) -> Box<dyn Look>;

    /// What a key stands for now.
    async fn find(&self, found: &Found) -> Result<Finding, BoxError>;

    /// Opens the very object that was found.
    async fn open(&self, object: &Object, handle: Handle) -> Result<Opening, BoxError>;

    /// Opens an object that was read before, or says why it cannot be had any more.
    async fn reopen(&self, object: &Object) -> Result<Box<dyn Body>, BoxError>;

    /// What an object is to the engine.
    fn partition(&self, object: &Object) -> Partition;

    /// The object of which this is the partition, if it can be one of this store.
    fn object(&self, partition: &Partition) -> Option<Object>;

    /// How much may be held of objects that are not being read yet.
    fn ahead(&self) -> AheadMax;

    /// Whether the rest of an object can still be had after its key was given to other bytes.
    fn keeps_versions(&self) -> bool;

    /// After so many tries an object is given up that is found and then is another one when it is opened.
    fn tries_max(&self) -> u32;
}

/// A listing, page by page.
#[async_trait]
pub trait Look: Send {
    /// The next keys; `None` after the last ones. After an error the same page is tried again.
    async fn page(&mut self) -> Result<Option<Vec<Found>>, Trouble>;
}

/// A key that was listed or notified, and what is known of what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: String,
    /// What it holds, if that was said.
    pub content: Option<Content>,
    /// Which version it is, if that was said.
    pub version: Option<String>,
    /// How many bytes it has, if that was said.
    pub size: Option<u64>,
    /// As long as this stays the same, so does the content.
    pub stamp: Option<Id>,
}

impl Found {
    /// A key, and nothing else.
    pub fn key(key: String) -> Self {
        Self { key, content: None, version: None, size: None, stamp: None }
    }

    /// A key, and what it holds.
    pub fn content(key: String, content: Content) -> Self {
        Self { size: Some(content.size), content: Some(content), ..Self::key(key) }
    }

    /// The object, if it is known without looking.
    pub fn object(&self) -> Option<Object> {
        let content = self.content.clone()?;
        Some(Object { key: self.key.clone(), content, version: self.version.clone() })
    }
}

/// What a key stands for.
pub enum Finding {
    /// An object.
    Object(Object, Handle),
    /// Nothing (any more).
    Gone,
    /// Something that is being written. A later look may find it complete.
    Busy,
}

/// A hold on what was found, so that nothing else can take its place before it is opened.
pub enum Handle {
    /// The open file.
    File(crate::directory::OpenFile),
    /// None: a bucket tells by the ETag.
    Condition,
}

/// What came of opening an object.
pub enum Opening {
    /// Its bytes.
    Open(Box<dyn Body>),
    /// Other bytes have its key now.
    Changed,
    /// Its key is gone.
    Gone,
    /// It alone cannot be read, though it is there.
    Unreadable(String),
}

/// The bytes of one object, to be had in the way that its format needs. All of them may block.
pub trait Body: Send {
    /// All bytes, if they are in memory.
    fn whole(&self) -> Option<Bytes>;

    /// From the first byte to the last.
    fn stream(self: Box<Self>) -> Box<dyn Stream>;

    /// Any bytes.
    fn ranges(self: Box<Self>) -> Box<dyn Ranges>;
}

/// The bytes of one object, from the first to the last.
pub trait Stream: io::Read + Send {
    /// Makes sure, after all rows were read, that they are those of the object that was opened.
    fn verify(&mut self) -> io::Result<()>;
}

/// The bytes of one object, in any order.
pub trait Ranges: ReadAt {
    /// Makes sure, after all rows were read, that they are those of the object that was opened.
    fn verify(&self) -> io::Result<()>;
}

impl ReadAt for Box<dyn Ranges> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        (**self).read_at(offset, bytes)
    }
}

/// Why there are no more bytes of an object, inside an [`io::Error`]. Any other error ends the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// Other bytes have its key now.
    Changed,
    /// Its key is gone.
    Gone,
    /// It alone cannot be read.
    Unreadable(String),
    /// The source is closed, and nobody wants it any more.
    Closed,
}

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Changed => "it was overwritten while it was read",
            Self::Gone => "it was deleted while it was read",
            Self::Unreadable(why) => why,
            Self::Closed => "the source was closed while it was read",
        })
    }
}

impl std::error::Error for GaveUp {}

/// How much may be held of objects that are not being read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AheadMax {
    /// So many objects.
    pub objects: usize,
    /// So many bytes of them; one object may come in any case.
    pub bytes: u64,
    /// So many bytes are fetched of one before it is read.
    pub bytes_of_one: u64,
}

/// Which keys were met, and what they were then: where a listing does not say what a key holds, it takes a look at the
/// object itself to find out that it is known.
#[derive(Default)]
pub struct Met(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    this: HashMap<Id, Id>,
    /// Of the looks before, until this one meets it again.
    before: HashMap<Id, Id>,
}

impl Met {
    /// Whether the key was met with this stamp.
    pub fn knows(&self, key: &str, stamp: Id) -> bool {
        let key = Id::of(key);
        let mut met = self.lock();
        if let Some(before) = met.before.remove(&key) {
            met.this.entry(key).or_insert(before);
        }
        met.this.get(&key) == Some(&stamp)
    }

    /// It was met now.
    pub fn note(&self, key: &str, stamp: Id) {
        self.lock().this.insert(Id::of(key), stamp);
    }

    /// A look begins.
    pub fn begin(&self) {
        let mut met = self.lock();
        let this = std::mem::take(&mut met.this);
        met.before.extend(this);
    }

    /// A look has come to its end: what it did not meet is gone.
    pub fn end(&self) {
        self.lock().before.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Objects up to this size are held in memory as a whole, larger ones in parts.
pub const WHOLE_BYTES_MAX: u64 = 8 << 20;

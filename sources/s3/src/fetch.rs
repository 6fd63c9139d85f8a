//! Objects that are fetched before it is their turn.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_api::{BoxError, Position};
use forebay_aws::{Patience, Trouble};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::books::{Admission, Books};
use crate::object::{Begin, Id};
use crate::queue::MessageId;
use crate::store::{AheadMax, Body, Finding, Found, GaveUp, Opening, Store};

/// What came of a key, and of objects that it stood for a moment ago.
pub struct Outcome {
    pub fetched: Fetched,
    /// Admitted, but gone: nobody will read them.
    pub forgotten: Vec<Id>,
}

/// What came of a key.
pub enum Fetched {
    /// An object to be read, open.
    Open(Begin, Box<dyn Body>),
    /// One that was read, or will be, by whoever met it first.
    Known(Id),
    /// One that is gone.
    Absent,
    /// One that is being written: the next look finds it again.
    Busy,
    /// One that cannot be read, or no further.
    Unreadable(Begin, String),
}

/// Opens the object that a key stands for, if it is to be read.
pub async fn fetch(store: Arc<dyn Store>, books: Books, mut found: Found) -> Result<Outcome, BoxError> {
    let mut forgotten = Vec::new();
    let mut patience = Patience::new(&found.key);
    let fetched = loop {
        let (object, handle) = match store.find(&found).await? {
            Finding::Object(object, handle) => (object, handle),
            Finding::Gone => {
                tracing::debug!(key = found.key, "the object is gone before it was read");
                break Fetched::Absent;
            }
            Finding::Busy => break Fetched::Busy,
        };
        let id = object.id();
        let Admission::Read(begin) = books.admit(&*store, object) else {
            break Fetched::Known(id);
        };
        let why = match store.open(&begin.object, handle).await? {
            Opening::Open(body) => break Fetched::Open(begin, body),
            Opening::Unreadable(why) => break Fetched::Unreadable(begin, why),
            Opening::Changed => GaveUp::Changed,
            Opening::Gone => GaveUp::Gone,
        };
        if begin.from > Position::Start {
            break Fetched::Unreadable(begin, why.to_string());
        }
        let tries = forgotten.len() + 1;
        if why == GaveUp::Changed && tries >= store.tries_max() as usize {
            let why = format!(
                "each of {tries} answers had another ETag or size than the object that was looked up: \
                 something on the way changes what is sent (compresses it), or it is overwritten all the time"
            );
            break Fetched::Unreadable(begin, why);
        }
        books.forget(id);
        forgotten.push(id);
        if why == GaveUp::Gone {
            tracing::warn!(object = %begin.partition, "the object was deleted before it was read");
            break Fetched::Absent;
        }
        tracing::info!(object = %begin.partition, "the object was overwritten before it was read: reading what it is now");
        if !forgotten[1..].is_empty() {
            // Somebody writes to it all the time; or the server names another ETag each time.
            patience.wait(&Trouble::Retry(format!("`{}` has changed again", begin.partition).into())).await;
        }
        found = Found::key(found.key);
    };
    Ok(Outcome { fetched, forgotten })
}

/// What an object counts for that does not say its size: notifications often tell of small ones, and those must not be
/// read at the pace of the latency.
const UNKNOWN_BYTES: u64 = 1 << 20;

/// Objects in the order in which they will be read, which are fetched at the same time.
pub struct Ahead {
    slots: VecDeque<Slot>,
    objects: usize,
    bytes: u64,
    max: AheadMax,
}

/// Something that has its turn.
pub enum Slot {
    /// An object, which may have been notified by a message.
    Object { task: JoinHandle<Result<Outcome, BoxError>>, cost: u64, message: Option<MessageId>, key: String },
    /// Everything that a look has found comes before this.
    Looked(oneshot::Sender<()>),
}

/// What has its turn now.
pub enum Turn {
    Object { outcome: Box<Outcome>, message: Option<MessageId>, key: String },
    Looked(oneshot::Sender<()>),
}

impl Ahead {
    pub fn new(max: AheadMax) -> Self {
        Self { slots: VecDeque::new(), objects: 0, bytes: 0, max }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.objects < self.max.objects && self.bytes < self.max.bytes
    }

    /// Begins to fetch an object, as the last in the line, or as the next one.
    pub fn object(&mut self, store: &Arc<dyn Store>, books: &Books, due: Due) {
        let Due { found, message, next } = due;
        let cost = found.size.unwrap_or(UNKNOWN_BYTES).min(self.max.bytes_of_one);
        self.objects += 1;
        self.bytes += cost;
        let key = found.key.clone();
        let task = tokio::spawn(fetch(store.clone(), books.clone(), found));
        let slot = Slot::Object { task, cost, message, key };
        if next { self.slots.push_front(slot) } else { self.slots.push_back(slot) }
    }

    /// A look ends here.
    pub fn looked(&mut self, read: oneshot::Sender<()>) {
        self.slots.push_back(Slot::Looked(read));
    }

    /// Waits for the next in the line. May be let go in the middle.
    pub async fn turn(&mut self) -> Result<Turn, BoxError> {
        let outcome = match self.slots.front_mut() {
            Some(Slot::Object { task, .. }) => Some(task.await??),
            Some(Slot::Looked(_)) => None,
            None => std::future::pending().await,
        };
        Ok(match (self.slots.pop_front(), outcome) {
            (Some(Slot::Object { cost, message, key, .. }), Some(outcome)) => {
                self.objects -= 1;
                self.bytes -= cost;
                Turn::Object { outcome: Box::new(outcome), message, key }
            }
            (Some(Slot::Looked(read)), _) => Turn::Looked(read),
            _ => unreachable!("the front of the line does not change while it is waited for"),
        })
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Slot::Object { task, .. } = slot {
                task.abort();
            }
        }
    }
}

/// An object that is to be fetched.
pub struct Due {
    pub found: Found,
    pub message: Option<MessageId>,
    /// Before all others.
    pub next: bool,
}

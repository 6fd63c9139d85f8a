//! Which messages wait for what.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_api::Position;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::object::Id;
use crate::queue::MessageId;

/// SQS gives a message to somebody else this long after it was received, whatever was asked for (Amazon SQS developer
/// guide, "Visibility timeout").
const HIDDEN_MAX: Duration = Duration::from_secs(12 * 3600);

/// Kept from [`HIDDEN_MAX`], since SQS began to count before we did.
const HIDDEN_MARGIN: Duration = Duration::from_secs(60);

/// The messages that are held, and what each of them waits for. Does nothing by itself, and does not sleep.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
    /// There is something to delete.
    pub to_delete: Notify,
    /// There is room for more messages.
    pub room: Notify,
}

#[derive(Default)]
struct Entries {
    messages: HashMap<MessageId, Message>,
    /// Objects and refusals that are not safe everywhere.
    objects: HashMap<Id, Waiting>,
    /// The refusals of the rest of an object, and the object.
    ends: HashMap<Id, Id>,
    deletes: Vec<(MessageId, String)>,
    /// Not wanted any more, and of use to others.
    releases: Vec<String>,
}

struct Message {
    /// What SQS wants to hear when it is deleted or hidden for longer.
    receipt: String,
    received: Instant,
    /// When somebody else may get it.
    hidden_until: Instant,
    /// It cannot be hidden any longer; it comes again.
    lost: bool,
    /// So many of its events still need something.
    open: usize,
    /// Something that it tells of is being read.
    begun: bool,
}

struct Waiting {
    needs: Position,
    reached: Position,
    /// The refusal of its rest is not safe yet.
    end_is_open: bool,
    messages: Vec<MessageId>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { needs: Position::End, reached: Position::Start, end_is_open: false, messages: Vec::new() }
    }
}

/// A message that is to be hidden for longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    pub message: MessageId,
    pub receipt: String,
    /// From now.
    pub hidden: Duration,
}

impl Ledger {
    /// A message came, with so many events that need something. `false`: it is held already, and goes by the new
    /// receipt from now on.
    pub fn enter(&self, id: &MessageId, receipt: String, open: usize, hidden: Duration, now: Instant) -> bool {
        let mut entries = self.lock();
        if let Some(message) = entries.messages.get_mut(id) {
            *message = Message { receipt, received: now, hidden_until: now + hidden, lost: false, ..*message };
            return false;
        }
        // One about nothing is closed below.
        let (hidden_until, open_now) = (now + hidden, open.max(1));
        let message = Message { receipt, received: now, hidden_until, lost: false, open: open_now, begun: false };
        entries.messages.insert(id.clone(), message);
        if open == 0 {
            self.close(&mut entries, id);
        }
        true
    }

    /// How many messages are held.
    pub fn held(&self) -> usize {
        let entries = self.lock();
        entries.messages.len() + entries.deletes.len()
    }

    /// An object is read after `from`, and is safe up to there.
    pub fn begin(&self, id: Id, from: Position) {
        let mut entries = self.lock();
        let waiting = entries.objects.entry(id).or_default();
        waiting.reached = from.max(waiting.reached.clone());
    }

    /// One event of a message is safe when all of this object, or refusal, is. Unless it is being read, or will be soon,
    /// or is on its way to the sinks, it is safe already, or gone.
    pub fn attach(&self, id: Id, message: &MessageId, is_reading: bool) {
        let mut entries = self.lock();
        if is_reading || entries.objects.contains_key(&id) {
            if let Some(message) = entries.messages.get_mut(message) {
                message.begun = true;
            }
            entries.objects.entry(id).or_default().messages.push(message.clone());
        } else {
            self.close(&mut entries, message);
        }
    }

    /// One event of a message needs nothing.
    pub fn resolve(&self, message: &MessageId) {
        self.close(&mut self.lock(), message);
    }

    /// There will be no rows of an object after this one, but a refusal.
    pub fn end_early(&self, id: Id, after: Position, refusal: Id) {
        let mut entries = self.lock();
        if let Some(waiting) = entries.objects.get_mut(&id) {
            waiting.needs = after;
            waiting.end_is_open = true;
            entries.ends.insert(refusal, id);
        }
    }

    /// There is nothing of an object that anybody could wait for.
    pub fn let_go(&self, id: Id) {
        let mut entries = self.lock();
        if let Some(waiting) = entries.objects.remove(&id) {
            for message in waiting.messages {
                self.close(&mut entries, &message);
            }
        }
    }

    /// An object, or a refusal, is safe everywhere up to here.
    pub fn settled(&self, id: Id, to: &Position) {
        let mut entries = self.lock();
        let object = if *to == Position::End { entries.ends.remove(&id) } else { None };
        let Some(waiting) = entries.objects.get_mut(&object.unwrap_or(id)) else {
            return;
        };
        match object {
            Some(_) => waiting.end_is_open = false,
            None => waiting.reached = to.clone().max(waiting.reached.clone()),
        }
        if waiting.reached >= waiting.needs && !waiting.end_is_open {
            drop(entries);
            self.let_go(object.unwrap_or(id));
        }
    }

    /// The next messages that are done with, at most so many.
    pub fn take_deletes(&self, max: usize) -> Vec<(MessageId, String)> {
        let mut entries = self.lock();
        let n = entries.deletes.len().min(max);
        entries.deletes.drain(..n).collect()
    }

    /// Nothing more will be read: lets go of the messages of which nothing was.
    pub fn release(&self) {
        let mut entries = self.lock();
        let Entries { messages, releases, .. } = &mut *entries;
        releases.extend(messages.extract_if(|_, it| !it.begun).map(|(_, message)| message.receipt));
        self.to_delete.notify_one();
    }

    /// The receipts of the next messages that others may have, at most so many.
    pub fn take_releases(&self, max: usize) -> Vec<String> {
        let mut entries = self.lock();
        let n = entries.releases.len().min(max);
        entries.releases.drain(..n).collect()
    }

    /// They could not be deleted, and are to be tried again.
    pub fn put_back(&self, deletes: Vec<(MessageId, String)>) {
        self.lock().deletes.extend(deletes);
    }

    /// Some were deleted.
    pub fn deleted(&self) {
        self.room.notify_one();
    }

    /// The messages of which half of the time has passed for which they are hidden.
    pub fn extensions(&self, hidden: Duration, now: Instant) -> Vec<Extension> {
        let mut due = Vec::new();
        for (id, message) in &mut self.lock().messages {
            let left = message.hidden_until.saturating_duration_since(now);
            if message.lost || left > hidden / 2 {
                continue;
            }
            let last = message.received + HIDDEN_MAX - HIDDEN_MARGIN;
            let more = hidden.min(last.saturating_duration_since(now));
            if more <= left || more < Duration::from_secs(1) {
                message.lost = true;
                tracing::warn!(message = %id, "the message was held for 12 hours, which is all that SQS allows: it will come again");
                continue;
            }
            due.push(Extension { message: id.clone(), receipt: message.receipt.clone(), hidden: more });
        }
        due
    }

    /// A message is hidden until then.
    pub fn extended(&self, extension: &Extension, until: Instant) {
        if let Some(message) = self.lock().messages.get_mut(&extension.message)
            && message.receipt == extension.receipt
        {
            message.hidden_until = until;
        }
    }

    /// The receipt of a message has expired: it comes again, with another one.
    pub fn lost(&self, extension: &Extension) {
        if let Some(message) = self.lock().messages.get_mut(&extension.message)
            && message.receipt == extension.receipt
        {
            message.lost = true;
        }
    }

    fn close(&self, entries: &mut Entries, id: &MessageId) {
        let Some(message) = entries.messages.get_mut(id) else {
            return;
        };
        message.open -= 1;
        if message.open == 0
            && let Some(message) = entries.messages.remove(id)
        {
            entries.deletes.push((id.clone(), message.receipt));
            self.to_delete.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

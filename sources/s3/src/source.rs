//! The usual task: reads whatever is there and was not read yet.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::books::Books;
use crate::decode::{Current, Decoder};
use crate::feed::Fed;
use crate::fetch::{Ahead, Due, Fetched, Outcome, Turn};
use crate::letter::Letter;
use crate::object::{Begin, Id};
use crate::queue::{MessageId, Queue};
use crate::store::{Found, GaveUp, Store};

/// All objects of a store, as they come.
pub struct Everything {
    pub store: Arc<dyn Store>,
    pub decoder: Decoder,
    pub books: Books,
    /// What is found, in its order. Its end is the end of the input.
    pub feed: mpsc::Receiver<Fed>,
    pub ahead: Ahead,
    /// Refusals that are to be given.
    pub letters: VecDeque<Letter>,
    pub current: Option<Reading>,
    /// Keys that this look has found to be written right now.
    pub busy: HashSet<String>,
    /// Where messages come from, if they do.
    pub queue: Option<Queue>,
    /// Nothing more will be found.
    pub ended: bool,
    /// Ends everything that works for this source.
    pub _stop: DropGuard,
}

/// The object that is being read.
pub struct Reading {
    begin: Begin,
    /// The last row that was given.
    position: Position,
    current: Current,
}

impl Everything {
    fn schema(&self) -> SchemaRef {
        self.decoder.layout.schema().clone()
    }

    /// The next refusal or the next rows of the object that is being read.
    async fn at_hand(&mut self) -> Result<Option<Read>, BoxError> {
        if let Some(letter) = self.letters.pop_front() {
            self.books.finish(letter.id());
            return Ok(Some(letter.read(self.schema())));
        }
        let Some(reading) = &mut self.current else {
            return Ok(None);
        };
        match reading.current.next().await {
            Some(Ok(read)) => {
                reading.position = read.span.to.clone();
                if reading.position == Position::End {
                    self.books.finish(reading.begin.object.id());
                    self.current = None;
                }
                Ok(Some(read))
            }
            Some(Err(error)) => {
                self.give_up(error)?;
                Ok(None)
            }
            None => Err("the thread that reads the object has ended early".into()),
        }
    }

    /// The object that is being read can be read no further.
    fn give_up(&mut self, error: io::Error) -> Result<(), BoxError> {
        let gave_up = match error.get_ref().and_then(|it| it.downcast_ref::<GaveUp>()) {
            Some(gave_up) if *gave_up != GaveUp::Closed => gave_up.clone(),
            _ => return Err(error.into()),
        };
        let Some(Reading { begin, position, .. }) = self.current.take() else {
            return Ok(());
        };
        let nothing_is_lost = position == Position::Start && !matches!(gave_up, GaveUp::Unreadable(_));
        if nothing_is_lost {
            let id = begin.object.id();
            tracing::warn!(object = %begin.partition, "{gave_up}, before any row of it");
            self.books.forget(id);
            self.tell(|queue| queue.ledger().let_go(id));
        } else {
            self.refuse(&begin, position, gave_up.to_string());
        }
        if gave_up == GaveUp::Changed {
            let found = Found::key(begin.object.key);
            self.ahead.object(&self.store, &self.books, Due { found, message: None, next: true });
        }
        Ok(())
    }

    /// Refuses what was not read of an object.
    fn refuse(&mut self, begin: &Begin, after: Position, why: String) {
        tracing::warn!(object = %begin.partition, %after, "the object is refused from here on: {why}");
        let id = begin.object.id();
        self.books.finish(id);
        let letter = Letter::Unreadable { object: begin.partition.clone(), after: after.clone(), why };
        let letter_id = letter.id();
        self.tell(|queue| queue.ledger().end_early(id, after, letter_id));
        if self.books.is_known(letter_id) {
            // It was given in an earlier life, and is safe; only rows before it were missing.
            self.tell(|queue| queue.ledger().settled(letter_id, &Position::End));
        } else {
            self.letters.push_back(letter);
        }
    }

    /// Refuses the rest of the objects that were begun in an earlier life, and that a look has not met.
    fn refuse_what_was_not_met(&mut self) {
        let busy = std::mem::take(&mut self.busy);
        let store = self.store.clone();
        let is_busy = |it: &Partition| store.object(it).is_some_and(|it| busy.contains(&it.key));
        for (partition, from) in self.books.take_begun(is_busy) {
            let Some(object) = store.object(&partition) else { continue };
            let why = "it is gone, was changed, or is not meant by `path` and `include` any more".to_owned();
            self.refuse(&Begin { object, partition, from: from.clone() }, from, why);
        }
    }

    /// Takes what was found; nothing means that this was all.
    fn take(&mut self, fed: Option<Fed>) -> Result<(), BoxError> {
        match fed {
            None => self.ended = true,
            Some(Fed::Failed(error)) => return Err(error),
            Some(Fed::Looked(read)) => self.ahead.looked(read),
            Some(Fed::Found { found, message }) => {
                match found.object().map(|it| it.id()).filter(|it| self.books.is_known(*it)) {
                    Some(known) => self.attach(known, message),
                    None => self.ahead.object(&self.store, &self.books, Due { found, message, next: false }),
                }
            }
            Some(Fed::Refused { letter, message }) => {
                let id = letter.id();
                if !self.books.is_known(id) {
                    self.books.begin(id);
                    self.letters.push_back(letter);
                }
                self.attach(id, Some(message));
            }
        }
        Ok(())
    }

    /// Begins with what has its turn.
    fn begin(&mut self, turn: Turn) -> Result<(), BoxError> {
        let (Outcome { fetched, forgotten }, message, key) = match turn {
            Turn::Object { outcome, message, key } => (*outcome, message, key),
            Turn::Looked(read) => {
                self.refuse_what_was_not_met();
                // An error: there is no next look.
                let _ = read.send(());
                return Ok(());
            }
        };
        for id in forgotten {
            self.tell(|queue| queue.ledger().let_go(id));
        }
        match fetched {
            Fetched::Open(begin, body) => {
                let id = begin.object.id();
                self.tell(|queue| queue.ledger().begin(id, begin.from.clone()));
                self.attach(id, message);
                let stops = vec![Position::End];
                let current = self.decoder.begin(begin.partition.clone(), body, &begin.from, stops)?;
                self.current = Some(Reading { position: begin.from.clone(), begin, current });
            }
            Fetched::Known(id) => self.attach(id, message),
            Fetched::Busy => {
                self.busy.insert(key);
            }
            Fetched::Absent => {
                if let Some(message) = message {
                    tracing::warn!(key, %message, "the object of a message is not there: the message is let go");
                    self.tell(|queue| queue.ledger().resolve(&message));
                }
            }
            Fetched::Unreadable(begin, why) => {
                let id = begin.object.id();
                self.tell(|queue| queue.ledger().begin(id, begin.from.clone()));
                self.attach(id, message);
                self.refuse(&begin, begin.from.clone(), why);
            }
        }
        Ok(())
    }

    /// A message, if it is one, waits until an object or a refusal is safe everywhere.
    fn attach(&mut self, id: Id, message: Option<MessageId>) {
        if let Some(message) = message {
            let is_reading = self.books.is_reading(id);
            self.tell(|queue| queue.ledger().attach(id, &message, is_reading));
        }
    }

    fn tell(&self, what: impl FnOnce(&Queue)) {
        if let Some(queue) = &self.queue {
            what(queue);
        }
    }
}

#[async_trait]
impl Source for Everything {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            if let Some(read) = self.at_hand().await? {
                return Ok(Some(read));
            }
            if self.current.is_some() || !self.letters.is_empty() {
                continue;
            }
            if self.ended && self.ahead.is_empty() {
                return Ok(None);
            }
            tokio::select! {
                fed = self.feed.recv(), if self.ahead.has_room() && !self.ended => self.take(fed)?,
                turn = self.ahead.turn(), if !self.ahead.is_empty() => self.begin(turn?)?,
            }
        }
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        let queue = self.queue.as_ref()?;
        Some(Box::new(queue.settler(self.store.clone())))
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        self.tell(|queue| queue.ledger().release());
    }
}

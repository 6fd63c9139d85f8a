//! The ids of requests that were taken.
//!
//! Firehose sends a request again for at most two hours. For that long, and some more, its id must be known, over restarts
//! and after the request itself has left the spool. So there is a second spool, of ids: when requests are settled,
//! their ids are appended to it, and only then are they let go. At a start the ids of both spools are read.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// For so long an id is known: "Retry duration" is 7200 seconds at most, and the last try may take three minutes.
pub(crate) const KNOWN_MILLIS: i64 = 3 * 3600 * 1000;

/// More ids than this are not kept: one is some hundred bytes.
const IDS_MAX: usize = 1 << 20;

/// An id, and when its request came, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Id(pub(crate) String, pub(crate) i64);

/// Those of the last hours.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashMap<String, State>,
    /// Those that were taken, in about the order in which they came.
    order: VecDeque<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Somebody is at it.
    Coming,
    Taken,
}

/// What to do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is new: to be taken, and [`Seen::end`] to be called.
    New,
    /// It is being taken already.
    Coming,
    /// It was taken before.
    Taken,
}

impl Seen {
    /// A request has come.
    pub(crate) fn begin(&mut self, id: &str) -> Begun {
        match self.ids.get(id) {
            Some(State::Coming) => Begun::Coming,
            Some(State::Taken) => Begun::Taken,
            None => {
                self.ids.insert(id.to_owned(), State::Coming);
                Begun::New
            }
        }
    }

    /// It was taken, or was not and may come again.
    pub(crate) fn end(&mut self, id: Id, is_taken: bool) {
        match is_taken {
            true => self.know(id),
            false => {
                self.ids.remove(&id.0);
            }
        }
    }

    /// A request was taken at some time. Forgets those that are too old, by the time of this one.
    pub(crate) fn know(&mut self, id: Id) {
        let now = id.1;
        if self.ids.insert(id.0.clone(), State::Taken) != Some(State::Taken) {
            self.order.push_back(id);
        }
        while self.order.front().is_some_and(|it| it.1 < now - KNOWN_MILLIS) || self.order.len() > IDS_MAX {
            if let Some(old) = self.order.pop_front() {
                self.ids.remove(&old.0);
            }
        }
    }

    /// Whether a request is known to have been taken.
    pub(crate) fn is_taken(&self, id: &str) -> bool {
        self.ids.get(id) == Some(&State::Taken)
    }

    /// How many are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// The version of such a frame that is written, and the only one that is read.
pub(crate) const VERSION: u8 = 1;

/// Ids as a frame of their spool: one byte for the version, and then JSON.
pub(crate) fn encode(ids: &[Id]) -> Bytes {
    let mut frame = vec![VERSION];
    frame.extend(serde_json::to_vec(ids).unwrap_or_default());
    frame.into()
}

/// The ids of such a frame. `None`: it is none of ours.
pub(crate) fn decode(frame: &[u8]) -> Option<Vec<Id>> {
    let (&VERSION, ids) = frame.split_first()? else { return None };
    serde_json::from_slice(ids).ok()
}

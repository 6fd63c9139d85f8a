//! What became of requests and events, by reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often what was counted is said, if there is something new.
pub const SAID_EVERY: Duration = Duration::from_secs(60);

/// Why a request or an event did not become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such path.
    Path,
    /// A method that is not answered there.
    Method,
    /// No body, or one of a type or a coding that is not read.
    MediaType,
    /// More bytes than are taken.
    TooLarge,
    /// A body that cannot be decompressed.
    Undecodable,
    /// A body that did not come in time.
    Incomplete,
    /// A page of an origin that is not allowed.
    Origin,
    /// `Sec-GPC`.
    Gpc,
    /// `DNT`.
    Dnt,
    /// Too many requests from one address.
    AddressRate,
    /// Too many requests from one origin.
    OriginRate,
    /// All bodies together hold as much as they may.
    Memory,
    /// Too many connections.
    Connections,
    /// The spool is full.
    Full,
    /// The spool failed.
    Spool,
    /// A request that is not HTTP, or that two readers could read in two ways.
    Http,
    /// A copy of an event that came before.
    Copy,
    /// An event that cannot be a row.
    Event,
}

const NAMES: [&str; 18] = [
    "path",
    "method",
    "media_type",
    "too_large",
    "undecodable",
    "incomplete",
    "origin",
    "gpc",
    "dnt",
    "address_rate",
    "origin_rate",
    "memory",
    "connections",
    "full",
    "spool",
    "http",
    "copy",
    "event",
];

/// Counts since the start.
#[derive(Default)]
pub struct Counters {
    accepted: AtomicU64,
    refused: [AtomicU64; NAMES.len()],
}

impl Counters {
    /// A request was accepted.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was not.
    pub fn refuse(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// `accepted=7 origin=2`: what is not zero.
    pub fn shown(&self) -> String {
        let mut shown = format!("accepted={}", self.accepted.load(Ordering::Relaxed));
        for (name, count) in NAMES.iter().zip(&self.refused) {
            match count.load(Ordering::Relaxed) {
                0 => {}
                count => shown += &format!(" {name}={count}"),
            }
        }
        shown
    }
}

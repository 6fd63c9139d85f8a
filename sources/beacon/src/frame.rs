//! What the spool holds of a request: its body as it came, but for its compression, and of its head what was decided to be
//! kept.
//!
//! | | bytes |
//! |--|--|
//! | version, 1 | 1 |
//! | what the body is: 0 JSON, 1 a form | 1 |
//! | 1: stripped for privacy; 2: the address is a hash | 1 |
//! | when it came, in milliseconds since 1970 | 8 |
//! | the same by a clock that never goes back | 8 |
//! | the client's address, the user agent, the referrer: each a length, or all ones for none, and so many bytes | 3 × (2 + …) |
//! | the body | |

use bytes::{BufMut, Bytes};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
const STRIPPED: u8 = 1;
const HASHED: u8 = 2;
/// The length of a text that is not there.
const NONE: u16 = u16::MAX;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object, an array of objects, or objects one after the other.
    Json,
    /// The fields of one event, as a form or a query has them.
    Form,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// What tells who the visitor is was left out of the head, and is to be left out of the body.
    pub is_stripped: bool,
    /// `address` is a hash.
    pub is_hashed: bool,
    pub received_millis: u64,
    /// Never less than that of a frame that was answered before.
    pub tick_millis: u64,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub referrer: Option<String>,
    pub body: Bytes,
}

impl Frame {
    fn texts(&self) -> [&Option<String>; 3] {
        [&self.address, &self.user_agent, &self.referrer]
    }

    /// How many bytes it takes in the spool, at most.
    pub fn encoded_bytes(&self) -> usize {
        let texts: usize = self.texts().iter().map(|it| 2 + it.as_ref().map_or(0, String::len)).sum();
        19 + texts + self.body.len()
    }

    /// As the spool holds it.
    pub fn encode(&self) -> Bytes {
        let mut to = Vec::with_capacity(self.encoded_bytes());
        to.put_u8(VERSION);
        to.put_u8(match self.kind {
            Kind::Json => 0,
            Kind::Form => 1,
        });
        to.put_u8(u8::from(self.is_stripped) * STRIPPED + u8::from(self.is_hashed) * HASHED);
        to.put_u64_le(self.received_millis);
        to.put_u64_le(self.tick_millis);
        for text in self.texts() {
            // A head is not as long as that: the server has a limit.
            let text = text.as_ref().filter(|it| it.len() < usize::from(NONE));
            to.put_u16_le(text.map_or(NONE, |it| it.len() as u16));
            to.extend_from_slice(text.map_or(&[], |it| it.as_bytes()));
        }
        to.extend_from_slice(&self.body);
        to.into()
    }

    /// Reads a payload of the spool; `None` if it is none of ours.
    pub fn decode(payload: &Bytes) -> Option<Self> {
        let &[VERSION, kind, flags, ..] = &payload[..] else { return None };
        let kind = match kind {
            0 => Kind::Json,
            1 => Kind::Form,
            _ => return None,
        };
        let number = |at: usize| Some(u64::from_le_bytes(*payload.get(at..)?.first_chunk()?));
        let (received_millis, tick_millis) = (number(3)?, number(11)?);
        let mut at = 19;
        let mut text = || {
            let length = u16::from_le_bytes(*payload.get(at..)?.first_chunk()?);
            at += 2;
            if length == NONE {
                return Some(None);
            }
            let text = payload.get(at..at + usize::from(length))?;
            at += text.len();
            Some(Some(std::str::from_utf8(text).ok()?.to_owned()))
        };
        let (address, user_agent, referrer) = (text()?, text()?, text()?);
        Some(Self {
            kind,
            is_stripped: flags & STRIPPED != 0,
            is_hashed: flags & HASHED != 0,
            received_millis,
            tick_millis,
            address,
            user_agent,
            referrer,
            body: payload.slice(at..),
        })
    }
}

//! Sequence numbers: 56 decimal digits that rise over a shard's life, and from a parent to its children.
//!
//! The service does not say how they are made. Those of here have the same length, begin as the service's do, and say
//! what the server wants to know of them.

/// A place in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// When the shard was made, in seconds since 1970; made to rise from parent to child.
    pub created: u64,
    /// Counts the records of the shard from 1. 0 is the place before the first.
    pub nth: u64,
    /// When the record came, in seconds since 1970.
    pub arrived: u64,
    /// The shard.
    pub shard: u32,
}

/// What the service's numbers of these years begin with, and the widths of the parts after it.
const VERSION: &str = "49";
const CREATED: usize = 10;
const NTH: usize = 20;
const ARRIVED: usize = 10;
const SHARD: usize = 10;
const END: &str = "2450";

impl Sequence {
    /// Reads a number. `None` if it is not one of this server's.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = VERSION.len() + CREATED + NTH + ARRIVED + SHARD + END.len();
        if text.len() != whole || !text.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let rest = text.strip_prefix(VERSION)?.strip_suffix(END)?;
        let (created, rest) = rest.split_at(CREATED);
        let (nth, rest) = rest.split_at(NTH);
        let (arrived, shard) = rest.split_at(ARRIVED);
        Some(Self {
            created: created.parse().ok()?,
            nth: nth.parse().ok()?,
            arrived: arrived.parse().ok()?,
            shard: shard.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { created, nth, arrived, shard } = self;
        write!(f, "{VERSION}{created:0CREATED$}{nth:0NTH$}{arrived:0ARRIVED$}{shard:0SHARD$}{END}")
    }
}

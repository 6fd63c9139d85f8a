//! What became of requests and events, by reason.

pub use forebay_listen::Counters;

/// Why an event of a request that was taken did not become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a copy of one that came before.
    Copy,
    /// It cannot be a row.
    Event,
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Copy => "copy",
            Reason::Event => "event",
        }
    }
}

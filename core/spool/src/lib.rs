//! A log on the local disk for what cannot be asked for again: an HTTP request, before it is answered.
//!
//! [`Spool::append`] answers when the bytes are durable. [`Reader`] reads them in their order, as often as it likes;
//! [`Spool::release`] lets go of what nobody needs any more. A payload is never looked into.
//!
//! # What holds
//!
//! - What was answered is read again exactly once, in its order, after any crash; what was not appended never is.
//! - Many appends share one sync: what waits during a sync is the next group. Where many came together, the first of the
//!   next group wait a millisecond at most for the others; who comes alone waits for nobody.
//! - A sync that fails is never asked for again on the same file, because Linux then calls clean what it could not
//!   write. The segment is closed where it was durable, and what came behind is written once more, to a new file; if
//!   that fails too, those who wait are told.
//! - Nobody has to wait for ever for a disk that does not answer: [`Spool::append_within`], [`Spool::waits`].
//! - Full is an answer: of the disk or of the limit of the spool. What was accepted stays.
//! - A torn tail is cut when the spool is opened, and said. Damage before whole frames costs only what is damaged, and
//!   the reader names the sequence numbers: [`Entry::Lost`].
//! - A sequence number that a reader may have seen is never given to another frame: numbers that may have stood in a torn
//!   tail are left out.
//! - One process at a time: the directory has a file that is locked.
//!
//! [`source`] has what the sources have in common that keep requests in a spool.
//!
//! All access goes through [`Disk`], so that [`simulated`] can cut the power between any two steps. The format is
//! described at the top of `format.rs`.

mod disk;
mod format;
mod inspect;
mod log;
mod reader;
mod scan;
mod scheduling;
mod segments;
pub mod simulated;
pub mod source;
mod spool;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use disk::{Directory, Disk, DiskFile};
pub use format::PAYLOAD_BYTES_MAX;
pub use inspect::{DAMAGED, Inspection, Repaired, Rewritten, SegmentInspection, inspect, repair};
pub use reader::{Entry, Reader};
pub use spool::{Spool, Standing};

/// When an append is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When it is durable.
    #[default]
    Fsync,
    /// When the operating system has it: the end of the process costs nothing, a power cut up to a second.
    Memory,
}

/// How a spool is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// All segments together do not become larger.
    pub bytes_max: u64,
    /// A segment that is as large as this is followed by another one. Only whole segments are let go.
    pub segment_bytes: u64,
    /// A segment that is older than this is closed by [`Spool::release_all`]. Without that, what comes rarely would keep
    /// for days what nobody needs any more.
    pub segment_age: Duration,
    /// When an append is answered.
    pub durability: Durability,
    /// No sequence number up to this is given to a frame: somebody has seen it.
    pub after: u64,
}

impl Options {
    /// A spool of at most so many bytes, in segments of an eighth of them, at most 64 MiB, that answers when all is durable.
    pub fn new(bytes_max: u64) -> Self {
        let segment_bytes = (bytes_max / 8).clamp(1, 64 << 20);
        let segment_age = Duration::from_secs(600);
        Self { bytes_max, segment_bytes, segment_age, durability: Durability::Fsync, after: 0 }
    }
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it.
    #[error("the spool at `{place}` is in use by another process")]
    Busy {
        /// The directory.
        place: String,
    },
    /// It is no spool, or none that can be read here.
    #[error("the spool at `{place}` cannot be read: {what}")]
    Foreign {
        /// The directory.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The disk failed.
    #[error("the spool at `{place}` could not be {doing}")]
    Io {
        /// The directory.
        place: String,
        /// What was to be done.
        doing: &'static str,
        /// What the disk says.
        source: io::Error,
    },
}

impl OpenError {
    fn io(disk: &dyn Disk, doing: &'static str, source: io::Error) -> Self {
        Self::Io { place: disk.place(), doing, source }
    }
}

/// Why something was not appended. Unless it says otherwise, it will not be read, or only if the process ends before the
/// next append.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no room, in the spool or on the disk.
    #[error("the spool is full")]
    Full,
    /// It is larger than [`PAYLOAD_BYTES_MAX`].
    #[error("a payload of more than {PAYLOAD_BYTES_MAX} bytes does not fit into the spool")]
    TooLarge,
    /// The disk failed.
    #[error("the spool could not be written: {0}")]
    Failed(String),
    /// The disk did not answer in time. What it was given may be appended all the same, and be read.
    #[error("the disk of the spool does not answer")]
    Stalled,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
#[error("the spool at `{place}` could not be read")]
pub struct ReadError {
    /// The directory.
    pub place: String,
    /// What the disk says.
    pub source: io::Error,
}

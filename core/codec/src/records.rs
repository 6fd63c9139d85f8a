//! What the cutters have in common: [`Lines`] at line ends, [`Elements`] at the commas of a JSON array.

use std::io::{self, Read};
use std::ops::Range;

use crate::decompress::DecompressError;
use crate::elements::Elements;
use crate::lines::Lines;

/// How many bytes of a record are kept that is too long.
pub const LONG_RECORD_KEPT_BYTES: usize = 64 << 10;

/// How far a cutter looks ahead at a time. Small enough that the bytes are still near when they become columns.
pub const WINDOW_BYTES: usize = 128 << 10;

/// Records that lie together in memory.
pub struct Window<'a> {
    /// The records, and what is between them.
    pub bytes: &'a [u8],
    /// Where each record lies in `bytes`, without what ends it. Never empty.
    pub cuts: &'a [Range<usize>],
    /// The one record here is the beginning of one that has so many bytes.
    pub begun_of: Option<u64>,
}

impl<'a> Window<'a> {
    /// All of it as text, if it is text: one look at many records is quicker than one at each of them.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

/// Why there are no more records.
#[derive(Debug)]
pub enum CutError {
    /// The bytes could not be read.
    Io(io::Error),
    /// There are more, but they cannot be told apart, for this reason.
    Rest(String),
}

impl From<DecompressError> for CutError {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::Io(error) => Self::Io(error),
            damage => Self::Rest(damage.to_string()),
        }
    }
}

/// The records of an object.
pub enum Records<R> {
    /// Each line is one.
    Lines(Lines<R>),
    /// Each element of an array is one.
    Elements(Elements<R>),
}

impl<R: Read> Records<R> {
    /// The next records, at most `records_max`, or `None` at the end.
    ///
    /// After an error, [`Records::begun`] is what came before it.
    pub fn window(&mut self, records_max: usize) -> Result<Option<Window<'_>>, CutError> {
        match self {
            Self::Lines(lines) => lines.window(records_max),
            Self::Elements(elements) => elements.window(records_max),
        }
    }

    /// What there is of a record that has not ended, at most so much as is kept of any.
    pub fn begun(&self) -> &[u8] {
        match self {
            Self::Lines(lines) => lines.begun(),
            Self::Elements(elements) => elements.begun(),
        }
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        match self {
            Self::Lines(lines) => lines.input(),
            Self::Elements(elements) => elements.input(),
        }
    }
}

/// A record of which the end is still to come.
#[derive(Default)]
pub struct Begun {
    /// What is kept of it.
    kept: Vec<u8>,
    bytes: u64,
    /// It was given out.
    old: bool,
    cut: Range<usize>,
}

impl Begun {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Forgets what was given out.
    pub fn forget(&mut self) {
        if self.old {
            self.kept.clear();
            (self.bytes, self.old) = (0, false);
        }
    }

    /// Adds bytes, of which so many are kept as a record may have, and one more for a `\r`.
    pub fn push(&mut self, bytes: &[u8], record_bytes_max: usize) {
        self.bytes += bytes.len() as u64;
        let room = (record_bytes_max + 1).max(LONG_RECORD_KEPT_BYTES).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Gives it out as it is, without its last `less` bytes.
    pub fn end(&mut self, less: u64) -> Window<'_> {
        self.old = true;
        let bytes = self.bytes - less;
        let kept = (self.kept.len() as u64).min(bytes) as usize;
        self.cut = 0..kept;
        Window { bytes: &self.kept, cuts: std::slice::from_ref(&self.cut), begun_of: Some(bytes) }
    }

    /// Its first bytes.
    pub fn head(&self) -> &[u8] {
        let kept = if self.old { 0 } else { self.kept.len().min(LONG_RECORD_KEPT_BYTES) };
        &self.kept[..kept]
    }
}

//! Cuts bytes into lines, with a cap on their length.

use std::io::Read;

use crate::decompress::{DecompressError, Decompressor};

/// How many bytes of a line are kept that is too long.
pub const LONG_LINE_KEPT_BYTES: usize = 64 << 10;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// One that is longer than the cap.
    TooLong {
        /// Its first bytes, at most [`LONG_LINE_KEPT_BYTES`].
        head: &'a [u8],
        /// How many it has.
        bytes: u64,
    },
}

/// The lines of a stream.
pub struct Lines<R> {
    input: Decompressor<R>,
    line_bytes_max: usize,
    /// What is kept of a line of which the end is still to come.
    begun: Vec<u8>,
    /// How many bytes that line has so far.
    begun_bytes: u64,
    /// Whether the last of them is a `\r`, which may turn out to be part of the line's end.
    begun_ends_in_return: bool,
    /// The line in `begun` was given out.
    begun_is_old: bool,
}

impl<R: Read> Lines<R> {
    /// Cuts `input` into lines of at most `line_bytes_max` bytes.
    pub fn new(input: Decompressor<R>, line_bytes_max: usize) -> Self {
        Self {
            input,
            line_bytes_max,
            begun: Vec::new(),
            begun_bytes: 0,
            begun_ends_in_return: false,
            begun_is_old: false,
        }
    }

    /// The next line, or `None` at the end. After an error [`Lines::begun`] is what came before it.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, DecompressError> {
        if self.begun_is_old {
            self.begun_is_old = false;
            self.begun.clear();
            self.begun_bytes = 0;
            self.begun_ends_in_return = false;
        }
        loop {
            let bytes = self.input.fill()?;
            if bytes.is_empty() {
                return Ok((self.begun_bytes > 0).then(|| self.end_begun()));
            }
            match memchr::memchr(b'\n', bytes) {
                Some(at) if self.begun_bytes == 0 => {
                    let line = without_return(&self.input.take(at + 1)[..at]);
                    return Ok(Some(cap(line, line.len() as u64, self.line_bytes_max)));
                }
                Some(at) => {
                    self.begin(at);
                    self.input.take(1);
                    return Ok(Some(self.end_begun()));
                }
                None => {
                    let n = bytes.len();
                    self.begin(n);
                }
            }
        }
    }

    /// What there is of a line that has not ended, at most so much as is kept of any line.
    pub fn begun(&self) -> &[u8] {
        let kept = if self.begun_is_old { 0 } else { self.begun.len().min(LONG_LINE_KEPT_BYTES) };
        &self.begun[..kept]
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        self.input.input()
    }

    /// Moves the next `n` bytes into the line that has begun, as far as they are kept.
    fn begin(&mut self, n: usize) {
        let bytes = self.input.take(n);
        if let Some(last) = bytes.last() {
            self.begun_ends_in_return = *last == b'\r';
        }
        self.begun_bytes += n as u64;
        // One more than the cap, for a `\r` that belongs to the line's end.
        let room = (self.line_bytes_max + 1).max(LONG_LINE_KEPT_BYTES).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..n.min(room)]);
    }

    fn end_begun(&mut self) -> Line<'_> {
        self.begun_is_old = true;
        let bytes = self.begun_bytes - u64::from(self.begun_ends_in_return);
        let kept = (self.begun.len() as u64).min(bytes) as usize;
        cap(&self.begun[..kept], bytes, self.line_bytes_max)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn cap(line: &[u8], bytes: u64, line_bytes_max: usize) -> Line<'_> {
    if bytes > line_bytes_max as u64 {
        Line::TooLong { head: &line[..line.len().min(LONG_LINE_KEPT_BYTES)], bytes }
    } else {
        Line::Whole(line)
    }
}

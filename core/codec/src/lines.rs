//! Cuts bytes into lines.

use std::io::Read;
use std::ops::Range;

use crate::decompress::Decompressor;
use crate::records::{Begun, CutError, WINDOW_BYTES, Window};

/// The lines of a stream.
pub struct Lines<R> {
    input: Decompressor<R>,
    line_bytes_max: usize,
    begun: Begun,
    /// Whether the last byte of the line that has begun is a `\r`, which may turn out to be part of the line's end.
    begun_ends_in_return: bool,
    /// The lines at hand; kept to save the allocation.
    cuts: Vec<Range<usize>>,
}

impl<R: Read> Lines<R> {
    /// Cuts `input` into lines, of which those are kept whole that have at most `line_bytes_max` bytes.
    pub fn new(input: Decompressor<R>, line_bytes_max: usize) -> Self {
        Self { input, line_bytes_max, begun: Begun::default(), begun_ends_in_return: false, cuts: Vec::new() }
    }

    /// The next lines, at most `lines_max`, or `None` at the end.
    pub fn window(&mut self, lines_max: usize) -> Result<Option<Window<'_>>, CutError> {
        self.begun.forget();
        loop {
            let bytes = self.input.fill()?;
            let bytes = &bytes[..bytes.len().min(WINDOW_BYTES)];
            if bytes.is_empty() {
                return Ok((!self.begun.is_empty()).then(|| self.end_begun()));
            }
            if !self.begun.is_empty() {
                let end = memchr::memchr(b'\n', bytes);
                let more = end.unwrap_or(bytes.len());
                self.begin(more);
                if end.is_some() {
                    self.input.take(1);
                    return Ok(Some(self.end_begun()));
                }
                continue;
            }
            self.cuts.clear();
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', bytes).take(lines_max) {
                let line = &bytes[start..end];
                self.cuts.push(start..end - usize::from(line.last() == Some(&b'\r')));
                start = end + 1;
            }
            if start == 0 {
                let more = bytes.len();
                self.begin(more);
                continue;
            }
            let bytes = self.input.take(start);
            return Ok(Some(Window { bytes, cuts: &self.cuts, begun_of: None }));
        }
    }

    /// What there is of a line that has not ended.
    pub fn begun(&self) -> &[u8] {
        self.begun.head()
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        self.input.input()
    }

    /// Moves the next `n` bytes into the line that has begun.
    fn begin(&mut self, n: usize) {
        let bytes = self.input.take(n);
        if let Some(last) = bytes.last() {
            self.begun_ends_in_return = *last == b'\r';
        }
        self.begun.push(bytes, self.line_bytes_max);
    }

    fn end_begun(&mut self) -> Window<'_> {
        let less = u64::from(std::mem::take(&mut self.begun_ends_in_return));
        self.begun.end(less)
    }
}

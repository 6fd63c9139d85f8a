//! A column of text, built from pieces of a larger text.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// The texts so far. Which of them are null, the caller knows.
pub(super) struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

/// Texts of logs are mostly short. What is no longer than this is copied as if it were as long, and what was too much
/// is taken away again: a load and a store, where a copy of any length is a call.
const STEP: usize = 16;

impl Texts {
    /// With room for so many texts of so many bytes together.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes + 2 * STEP), offsets }
    }

    /// Adds the text from `start` to before `end`.
    // A call would cost half as much again as the copy.
    #[inline(always)]
    pub fn append_piece(&mut self, text: &[u8], start: usize, end: usize) {
        let length = end - start;
        let behind = self.bytes.len() + length;
        match text[start..].split_first_chunk::<STEP>() {
            Some((step, _)) if length <= STEP => {
                self.bytes.extend_from_slice(step);
                self.bytes.truncate(behind);
            }
            Some((step, [next @ .., _])) if length <= 2 * STEP && next.len() >= STEP => {
                self.bytes.extend_from_slice(step);
                self.bytes.extend_from_slice(&next[..STEP]);
                self.bytes.truncate(behind);
            }
            _ => self.bytes.extend_from_slice(&text[start..end]),
        }
        self.end();
    }

    /// Adds a text.
    pub fn append(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.end();
    }

    /// Adds an empty text, which stands for null.
    #[inline]
    pub fn append_null(&mut self) {
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        // A column of text holds less than 2 GiB, as does the column that it is cut from.
        self.offsets.push(i32::try_from(self.bytes.len()).expect("the texts of a column are less than 2 GiB together"));
    }

    /// The bytes of all texts so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn finish(mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        // Room for what did not come would be held as long as the rows are.
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Arc::new(StringArray::new(offsets, Buffer::from_vec(self.bytes), nulls))
    }
}

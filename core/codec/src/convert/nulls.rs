//! Bits of a column, up to 64 rows at a time.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

/// One bit for each row.
#[derive(Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    pub fn with_capacity(rows: usize) -> Self {
        Self { words: Vec::with_capacity(rows.div_ceil(64)), rows: 0 }
    }

    /// Adds the lowest bits of a word, as many as there are rows: 1 to 64. The others must be 0.
    pub fn append(&mut self, bits: u64, rows: usize) {
        let taken = self.rows % 64;
        match self.words.last_mut() {
            Some(last) if taken > 0 => {
                *last |= bits << taken;
                if taken + rows > 64 {
                    self.words.push(bits >> (64 - taken));
                }
            }
            _ => self.words.push(bits),
        }
        self.rows += rows;
    }

    pub fn finish(self) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.rows)
    }

    /// As the rows that hold a value. `None`: all of them.
    pub fn finish_as_nulls(self) -> Option<NullBuffer> {
        let ones: usize = self.words.iter().map(|it| it.count_ones() as usize).sum();
        (ones < self.rows).then(|| NullBuffer::new(self.finish()))
    }
}

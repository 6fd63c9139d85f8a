//! Rows that wait until a chunk is full.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

/// Rows meet the encoder in chunks of exactly this many, save the last of a file: where pages and row groups end
/// depends on how rows are cut into calls, and the same rows must give the same bytes in whatever batches they come.
pub(crate) const CHUNK_ROWS: usize = 8192;

/// How many pieces may wait as they came. An array of a few rows is mostly overhead; and what is joined before its chunk
/// is full is copied once more, which pieces of a thousand rows, as sources like them, are not.
pub(crate) const FRESH_MAX: usize = 16;

/// So few rows wait in one piece: files may be thousands, and each array needs hundreds of bytes however short it is.
pub(crate) const FEW_ROWS: usize = 128;

/// A piece that holds less memory than this in all is not worth looking at.
const SMALL_BYTES: usize = 16 << 10;

/// Cuts rows into chunks.
pub(crate) struct Chunks {
    schema: SchemaRef,
    chunk_rows: usize,
    /// Joined pieces, each of more rows than those after it, and then fresh ones. Less than a chunk in all.
    pieces: Vec<RecordBatch>,
    fresh: usize,
    rows: usize,
}

impl Chunks {
    /// Chunks of so many rows.
    pub(crate) fn new(schema: SchemaRef, chunk_rows: usize) -> Self {
        Self { schema, chunk_rows, pieces: Vec::new(), fresh: 0, rows: 0 }
    }

    /// Takes rows in, and gives out the chunks that are full.
    pub(crate) fn push(&mut self, mut rows: RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut full = Vec::new();
        while self.rows + rows.num_rows() >= self.chunk_rows {
            let missing = self.chunk_rows - self.rows;
            self.pieces.push(rows.slice(0, missing));
            full.extend(self.rest()?);
            rows = rows.slice(missing, rows.num_rows() - missing);
        }
        if rows.num_rows() > 0 {
            self.rows += rows.num_rows();
            self.pieces.push(without_parent(rows)?);
            self.fresh += 1;
            if self.fresh > FRESH_MAX || self.rows <= FEW_ROWS {
                self.join()?;
            }
        }
        Ok(full)
    }

    /// Gives out what waits, if anything does.
    pub(crate) fn rest(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let pieces = std::mem::take(&mut self.pieces);
        (self.fresh, self.rows) = (0, 0);
        if pieces.is_empty() { Ok(None) } else { concat_batches(&self.schema, &pieces).map(Some) }
    }

    /// What waits.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> &[RecordBatch] {
        &self.pieces
    }

    /// Makes one piece of the fresh ones, and of those before them that are no larger: so few pieces wait, and a row
    /// is copied only a few times on its way.
    fn join(&mut self) -> Result<(), ArrowError> {
        let mut start = self.pieces.len() - self.fresh;
        let mut rows: usize = self.pieces[start..].iter().map(RecordBatch::num_rows).sum();
        while start > 0 && self.pieces[start - 1].num_rows() <= rows {
            start -= 1;
            rows += self.pieces[start].num_rows();
        }
        if start + 1 == self.pieces.len() {
            self.fresh = 0;
            return Ok(());
        }
        let joined = compact_views(concat_batches(&self.schema, &self.pieces[start..])?)?;
        self.pieces.truncate(start);
        self.pieces.push(joined);
        self.fresh = 0;
        Ok(())
    }
}

/// The same rows, copied if they hold much more memory than they need: a slice keeps all that it was cut from.
fn without_parent(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let held = rows.get_array_memory_size();
    if held < SMALL_BYTES {
        return Ok(rows);
    }
    let needed = rows.columns().iter().map(|it| it.to_data().get_slice_memory_size()).sum::<Result<usize, _>>()?;
    if needed >= held / 4 {
        return Ok(rows);
    }
    let all = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
    compact_views(take_record_batch(&rows, &all)?)
}

/// Copies the texts of view arrays: to take or to join views leaves these where they were.
fn compact_views(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let compact = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    };
    RecordBatch::try_new(rows.schema(), rows.columns().iter().map(compact).collect())
}

//! One file's encoder, which works on a thread of its own while further rows are collected.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use tokio::runtime::Handle;

use crate::chunks::CHUNK_ROWS;
use crate::encode::{CannotEncode, Encoding};
use crate::encoded::Encoded;
use crate::measure;

/// A file that begins with fewer rows than this has no dictionaries: to set them up costs more than they save.
const DICTIONARY_ROWS_MIN: usize = 1024;

/// Encodes one file.
///
/// What it says about itself (bytes, groups, memory) is as of the chunk before the one that is being encoded. So it
/// depends on the rows alone, never on which thread is quicker.
pub(crate) struct Writer {
    encoding: Arc<Encoding>,
    /// `None` before the first rows, and while another thread has it.
    inner: Option<Inner>,
    under_way: Option<UnderWay>,
    encoded: Encoded,
    group_bytes: usize,
    groups: usize,
}

type Inner = Box<ArrowWriter<Encoded>>;

/// A chunk that another thread encodes.
struct UnderWay {
    bytes: usize,
    done: Receiver<Result<Inner, CannotEncode>>,
}

impl Writer {
    pub(crate) fn new(encoding: Arc<Encoding>) -> Self {
        Self { encoding, inner: None, under_way: None, encoded: Encoded::default(), group_bytes: 0, groups: 0 }
    }

    /// Encodes a chunk, elsewhere if there is a runtime. Returns when the chunk before it is done.
    pub(crate) fn write(&mut self, chunk: RecordBatch) -> Result<(), CannotEncode> {
        self.settle()?;
        let mut inner = self.inner(chunk.num_rows())?;
        let Ok(runtime) = Handle::try_current() else { return self.write_here(inner, &chunk) };
        let (send, done) = sync_channel(1);
        let bytes = measure::bytes(&chunk);
        let encoding = self.encoding.clone();
        runtime.spawn_blocking(move || {
            let written = encoding.write(&mut inner, &chunk);
            // Whoever waited for it may have gone.
            let _ = send.send(written.map(|()| inner));
        });
        self.under_way = Some(UnderWay { bytes, done });
        Ok(())
    }

    /// Encodes a last chunk, if there is one, and ends the row group.
    pub(crate) fn end_row_group(&mut self, rest: Option<&RecordBatch>) -> Result<(), CannotEncode> {
        self.settle()?;
        if let Some(rest) = rest {
            let inner = self.inner(rest.num_rows())?;
            self.write_here(inner, rest)?;
        }
        if let Some(mut inner) = self.inner.take() {
            inner.flush()?;
            self.take_back(inner);
        }
        Ok(())
    }

    /// Encodes the footer. No rows after this. Gives what was not taken before.
    pub(crate) fn finish(mut self) -> Result<Encoded, CannotEncode> {
        self.settle()?;
        let mut inner = self.inner(0)?;
        inner.finish()?;
        self.encoded.append(std::mem::take(inner.inner_mut()));
        Ok(self.encoded)
    }

    /// The bytes that were encoded since the last call.
    pub(crate) fn take_encoded(&mut self) -> Encoded {
        std::mem::take(&mut self.encoded)
    }

    /// What ending the row group would set free, in bytes.
    pub(crate) fn open_bytes(&self) -> usize {
        self.group_bytes + self.under_way.as_ref().map_or(0, |it| it.bytes)
    }

    /// How many row groups have ended.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    fn settle(&mut self) -> Result<(), CannotEncode> {
        if let Some(UnderWay { done, .. }) = self.under_way.take() {
            let inner = done.recv().map_err(|_| CannotEncode::ThreadGone)??;
            self.take_back(inner);
        }
        Ok(())
    }

    fn write_here(&mut self, mut inner: Inner, chunk: &RecordBatch) -> Result<(), CannotEncode> {
        self.encoding.write(&mut inner, chunk)?;
        self.take_back(inner);
        Ok(())
    }

    fn take_back(&mut self, mut inner: Inner) {
        self.encoded.append(std::mem::take(inner.inner_mut()));
        self.groups = inner.flushed_row_groups().len();
        self.group_bytes = self.encoding.group_bytes(&inner);
        self.inner = Some(inner);
    }

    /// The encoder; a new one for a file that begins with so many rows.
    fn inner(&mut self, rows: usize) -> Result<Inner, CannotEncode> {
        if let Some(inner) = self.inner.take() {
            return Ok(inner);
        }
        let properties = self.encoding.properties(rows >= DICTIONARY_ROWS_MIN).clone();
        // The Arrow schema in the footer would only repeat what the Parquet schema says, and not always in the same
        // order of its metadata.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let schema = self.encoding.columns().schema().clone();
        Ok(Box::new(ArrowWriter::try_new_with_options(Encoded::default(), schema, options)?))
    }
}

impl Encoding {
    fn write(&self, inner: &mut ArrowWriter<Encoded>, chunk: &RecordBatch) -> Result<(), CannotEncode> {
        if self.columns().is_sorted() {
            let group = self.columns().sorted(chunk)?;
            for start in (0..group.num_rows()).step_by(CHUNK_ROWS) {
                inner.write(&group.slice(start, CHUNK_ROWS.min(group.num_rows() - start)))?;
            }
            inner.flush()?;
        } else {
            inner.write(chunk)?;
        }
        // Not left to the writer: to hold the limit exactly it cuts a chunk by calling itself, once for each row
        // group in it, and chunks of large rows would take it too deep.
        if inner.in_progress_size() >= self.row_group_bytes_max() {
            inner.flush()?;
        }
        Ok(())
    }
}

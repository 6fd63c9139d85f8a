//! One Parquet file of a draft on its way: rows to bytes, bytes to the store, and there to its visible name.
//!
//! Encoding touches memory only, and writing out touches the store only. So a full disk or a dead server never leaves
//! an encoder half way through a row group, and what could not be written is simply written later.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use forebay_api::SinkError;

use crate::encode::{CannotEncode, Encoder, Encoding};
use crate::encoded::Encoded;
use crate::store::Upload;

/// A file of a draft.
pub(crate) struct DraftFile {
    /// The visible name, relative to the table's place.
    name: String,
    upload: Box<dyn Upload>,
    /// `None` when all rows are encoded.
    encoder: Option<Encoder>,
    /// Encoded bytes that do not make a part yet.
    bytes: Encoded,
    /// Parts that were cut, and those of them that the upload has not taken over.
    parts: usize,
    ready: VecDeque<Bytes>,
    /// The last part, once all is encoded.
    rest: Option<Bytes>,
    /// Whether the last part may stay in memory until the commit.
    kept: bool,
    /// The last row that came, by its number in the delivery.
    used: u64,
    /// Its memory when it was counted last.
    counted: usize,
}

impl DraftFile {
    pub(crate) fn new(name: String, upload: Box<dyn Upload>, encoding: Arc<Encoding>) -> Self {
        Self {
            name,
            upload,
            encoder: Some(Encoder::new(encoding)),
            bytes: Encoded::default(),
            parts: 0,
            ready: VecDeque::new(),
            rest: None,
            kept: false,
            used: 0,
            counted: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes rows in, of which the last is the delivery's `last`th. Gives the memory that they need.
    pub(crate) fn push(&mut self, rows: RecordBatch, last: u64) -> Result<usize, CannotEncode> {
        self.used = last;
        let encoder = self.encoder.as_mut().expect("a file that is open has an encoder");
        encoder.push(rows)
    }

    /// The last row that came, by its number in the delivery.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Ends what is large enough: the row group, and parts. To be called after certain rows, wherever batches end, since
    /// what the file has in memory depends on it.
    pub(crate) fn end_step(&mut self) -> Result<(), CannotEncode> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.end_step()?;
        self.cut();
        Ok(())
    }

    /// Ends the row group in the encoder.
    pub(crate) fn end_row_group(&mut self) -> Result<(), CannotEncode> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.end_row_group()?;
        self.cut();
        Ok(())
    }

    /// Encodes what is left, and the footer. No rows after this. `kept`: see [`Upload::finish`].
    pub(crate) fn finish(&mut self, kept: bool) -> Result<(), CannotEncode> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        self.bytes.append(encoder.take_encoded());
        self.bytes.append(encoder.finish()?);
        self.cut_parts();
        self.rest = Some(self.bytes.take(usize::MAX));
        self.kept = kept;
        Ok(())
    }

    fn cut(&mut self) {
        let Some(encoder) = &mut self.encoder else { return };
        self.bytes.append(encoder.take_encoded());
        self.cut_parts();
    }

    fn cut_parts(&mut self) {
        // The last part has no least size, so it may have none at all.
        while self.bytes.len() >= self.upload.part_bytes(self.parts) && self.parts + 1 < self.upload.parts_max() {
            self.ready.push_back(self.bytes.take(self.upload.part_bytes(self.parts)));
            self.parts += 1;
        }
    }

    /// Whether the file cannot grow much.
    pub(crate) fn is_full(&self) -> bool {
        self.parts + 2 >= self.upload.parts_max()
    }

    /// Whether some of the file has left the memory.
    pub(crate) fn is_begun(&self) -> bool {
        self.parts > 0
    }

    /// What ending the row group would set free, in bytes.
    pub(crate) fn open_bytes(&self) -> usize {
        self.encoder.as_ref().map_or(0, |it| it.open_bytes())
    }

    /// How much its memory has grown since this was called last. Parts that are cut do not count: where files end must
    /// not depend on how fast they leave.
    pub(crate) fn growth(&mut self) -> isize {
        let bytes = match &self.encoder {
            Some(encoder) => encoder.open_bytes() + encoder.kept_bytes() + self.bytes.len(),
            None => 0,
        };
        let before = std::mem::replace(&mut self.counted, bytes);
        bytes as isize - before as isize
    }

    /// The memory that was counted last.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Whether there is something to write out.
    pub(crate) fn is_due(&self) -> bool {
        !self.ready.is_empty() || self.rest.is_some()
    }

    /// Writes encoded bytes, and makes the file durable once it is whole. After [`SinkError::Retry`] it goes on where
    /// it was.
    pub(crate) async fn write_out(&mut self) -> Result<(), SinkError> {
        while let Some(part) = self.ready.front() {
            self.upload.write(part).await?;
            self.ready.pop_front();
        }
        if let Some(rest) = &self.rest {
            self.upload.finish(rest, self.kept).await?;
            self.rest = None;
        }
        Ok(())
    }

    /// Gives the file its visible name.
    pub(crate) async fn place(&mut self) -> Result<(), SinkError> {
        self.upload.place().await
    }
}

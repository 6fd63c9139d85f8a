//! One Parquet file on its way: rows to bytes, bytes to disk, disk to its visible name.
//!
//! Encoding touches memory only, and writing out touches the disk only. So a full disk never leaves an encoder half
//! way through a row group, and what could not be written is simply written later.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use forebay_api::{BoxError, SinkError};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;

use crate::chunks::Chunks;
use crate::disk::{DiskError, create_directories, parent};

/// A file of a draft.
pub(crate) struct DraftFile {
    /// The visible name, relative to the table's directory.
    name: String,
    temporary: PathBuf,
    /// `None` when all rows are encoded.
    encoder: Option<Encoder>,
    /// Encoded bytes; those before `written` are in `handle`.
    bytes: Vec<u8>,
    written: usize,
    handle: Option<File>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Being encoded and written.
    Open,
    /// Whole and durable under its temporary name.
    Durable,
    /// Visible, in the place of a file of the same name or not.
    Placed { replaced: bool },
}

struct Encoder {
    chunks: Chunks,
    writer: ArrowWriter<Vec<u8>>,
    row_group_bytes_max: usize,
}

impl DraftFile {
    pub(crate) fn new(
        name: String,
        temporary: PathBuf,
        schema: &SchemaRef,
        properties: &WriterProperties,
        row_group_bytes_max: usize,
    ) -> Result<Self, SinkError> {
        // The Arrow schema in the footer would only repeat what the Parquet schema says, and not always in the same
        // order of its metadata.
        let options = ArrowWriterOptions::new().with_properties(properties.clone()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)
            .map_err(|error| SinkError::Stop(error.into()))?;
        let chunks = Chunks::new(schema.clone());
        Ok(Self {
            name,
            temporary,
            encoder: Some(Encoder { chunks, writer, row_group_bytes_max }),
            bytes: Vec::new(),
            written: 0,
            handle: None,
            stage: Stage::Open,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes rows in.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<(), SinkError> {
        self.encode(|encoder| encoder.push(rows))
    }

    /// About how many bytes the row group in the encoder has so far.
    pub(crate) fn row_group_bytes(&self) -> usize {
        self.encoder.as_ref().map_or(0, |it| it.writer.in_progress_size())
    }

    /// Ends the row group in the encoder.
    pub(crate) fn end_row_group(&mut self) -> Result<(), SinkError> {
        self.encode(|encoder| Ok(encoder.writer.flush()?))
    }

    /// Encodes what is left, and the footer. No rows after this.
    pub(crate) fn finish(&mut self) -> Result<(), SinkError> {
        self.encode(Encoder::finish)?;
        self.encoder = None;
        Ok(())
    }

    fn encode(&mut self, step: impl FnOnce(&mut Encoder) -> Result<(), BoxError>) -> Result<(), SinkError> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        step(encoder).map_err(SinkError::Stop)?;
        let encoded = std::mem::take(encoder.writer.inner_mut());
        if self.bytes.is_empty() {
            self.bytes = encoded;
        } else {
            self.bytes.extend_from_slice(&encoded);
        }
        Ok(())
    }

    /// Writes encoded bytes to the temporary file, and makes it durable once it is whole. After
    /// [`SinkError::Retry`] it goes on where it was.
    pub(crate) fn write_out(&mut self) -> Result<(), SinkError> {
        if self.stage != Stage::Open {
            return Ok(());
        }
        if !self.bytes.is_empty() {
            self.write_bytes()?;
        }
        if self.encoder.is_none() {
            // After a failed fsync the kernel takes the pages for clean, and a second one would say that all is well.
            // The bytes are gone from memory by then: only a new start can write them again.
            let synced = match self.handle.take() {
                Some(handle) => handle.sync_all(),
                None => Err(io::Error::other("the disk has lost what was written")),
            };
            synced.map_err(|error| SinkError::Stop(DiskError::new("make durable", &self.temporary, error).into()))?;
            self.stage = Stage::Durable;
        }
        Ok(())
    }

    fn write_bytes(&mut self) -> Result<(), DiskError> {
        let handle = match &mut self.handle {
            Some(handle) => handle,
            none => {
                create_directories(parent(&self.temporary))?;
                let created =
                    File::create(&self.temporary).map_err(|error| DiskError::new("create", &self.temporary, error))?;
                none.insert(created)
            }
        };
        while self.written < self.bytes.len() {
            match handle.write(&self.bytes[self.written..]) {
                Ok(0) => {
                    let nothing = ErrorKind::WriteZero.into();
                    return Err(DiskError::new("write", &self.temporary, nothing));
                }
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::new("write", &self.temporary, error)),
            }
        }
        self.bytes = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Gives the file its visible name, in place of one that an earlier attempt left. The directory that it comes to
    /// is made, but not yet synced.
    pub(crate) fn place(&mut self, table: &Path) -> Result<(), DiskError> {
        if let Stage::Placed { .. } = self.stage {
            return Ok(());
        }
        assert!(self.stage == Stage::Durable, "`{}` is placed before it is durable", self.name);
        let visible = table.join(&self.name);
        create_directories(parent(&visible))?;
        let failed = |error| DiskError::new("give its name to", &visible, error);
        let replaced = visible.try_exists().map_err(failed)?;
        fs::rename(&self.temporary, &visible).map_err(failed)?;
        self.stage = Stage::Placed { replaced };
        Ok(())
    }

    /// Removes what the draft has written, as well as it can: what it made visible too, but not where it stands in
    /// the place of an earlier attempt's file.
    pub(crate) fn discard(&mut self, table: &Path) {
        self.handle = None;
        let leftover = match self.stage {
            Stage::Open | Stage::Durable => self.temporary.clone(),
            Stage::Placed { replaced: false } => table.join(&self.name),
            Stage::Placed { replaced: true } => return,
        };
        // Nobody is left to tell; the next `open` removes what stays in the staging directory.
        let _ = fs::remove_file(leftover);
    }
}

impl Encoder {
    fn push(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        let full = self.chunks.push(rows)?;
        full.iter().try_for_each(|it| self.write(it))
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        if let Some(chunk) = self.chunks.rest()? {
            self.write(&chunk)?;
        }
        self.writer.finish()?;
        Ok(())
    }

    fn write(&mut self, chunk: &RecordBatch) -> Result<(), BoxError> {
        self.writer.write(chunk)?;
        // Not left to the writer: to hold the limit exactly it cuts a chunk by calling itself, once for each row
        // group in it, and chunks of large rows would take it too deep.
        if self.writer.in_progress_size() >= self.row_group_bytes_max {
            self.writer.flush()?;
        }
        Ok(())
    }
}

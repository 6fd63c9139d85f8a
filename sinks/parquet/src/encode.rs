//! Rows to the bytes of one Parquet file. Touches memory only.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use forebay_api::{DeliveryId, SinkError};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::chunks::{CHUNK_ROWS, Chunks, FEW_ROWS, FRESH_MAX};
use crate::columns::Columns;
use crate::encoded::Encoded;
use crate::layout::Layout;
use crate::measure;
use crate::writer::Writer;
use crate::{Compression, Parquet};

/// Who wrote a file. Not the version: the same rows give the same bytes as long as nothing else changes.
const CREATED_BY: &str = "forebay";

/// So many rows make a page, if they are not too large before (the writer's own default).
const PAGE_ROWS: usize = 20_000;

/// What a column's compressor keeps while its row group is open: measured for Zstandard at levels 1 to 3.
const ZSTD_BYTES: usize = 512 << 10;

/// What an array of some rows has in memory besides its values: itself, its buffers' heads, and what aligns them.
const ARRAY_BYTES: usize = 512;

/// What the footer needs for a column of a row group that has ended: sizes, statistics, indexes of pages.
const FOOTER_BYTES: usize = 512;

/// What every file has in memory, empty or not.
const FILE_BYTES: usize = 4 << 10;

/// What all files of a delivery have in common.
pub(crate) struct Encoding {
    columns: Arc<Columns>,
    properties: WriterProperties,
    /// For files that begin with few rows.
    small: WriterProperties,
    compressor_bytes: usize,
    row_group_rows_max: usize,
    row_group_bytes_max: usize,
}

impl Encoding {
    pub(crate) fn new(config: &Parquet, id: &DeliveryId, layout: &Layout) -> Result<Self, CannotEncode> {
        let columns = layout.columns();
        let (codec, compressor_bytes) = match config.compression {
            Compression::Zstd => (Codec::ZSTD(ZstdLevel::try_new(config.zstd_level())?), ZSTD_BYTES),
            Compression::Snappy => (Codec::SNAPPY, 0),
            Compression::None => (Codec::UNCOMPRESSED, 0),
        };
        let metadata = vec![
            KeyValue::new("forebay.delivery".to_owned(), id.to_string()),
            KeyValue::new("forebay.schema".to_owned(), fingerprint(columns.schema())),
        ];
        let row_group_rows_max = config.row_group_rows_max.get() as usize;
        let mut builder = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(codec)
            // Of each page: it is what the page index is made of.
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_max_row_group_row_count(Some(row_group_rows_max))
            .set_sorting_columns(columns.sorting())
            .set_key_value_metadata(Some(metadata));
        for name in &config.bloom_filters {
            builder = builder.set_column_bloom_filter_enabled(ColumnPath::from(name.as_str()), true);
        }
        let properties = builder.build();
        Ok(Self {
            columns: columns.clone(),
            small: properties.clone().into_builder().set_dictionary_enabled(false).build(),
            properties,
            compressor_bytes,
            row_group_rows_max,
            row_group_bytes_max: usize::try_from(config.row_group_bytes_max.bytes()).unwrap_or(usize::MAX),
        })
    }

    /// The columns of the files.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How a file is written, with dictionaries or without.
    pub(crate) fn properties(&self, dictionaries: bool) -> &WriterProperties {
        if dictionaries { &self.properties } else { &self.small }
    }

    /// How large a row group becomes, encoded.
    pub(crate) fn row_group_bytes_max(&self) -> usize {
        self.row_group_bytes_max
    }

    /// What the open row group of an encoder has in memory.
    pub(crate) fn group_bytes(&self, encoder: &ArrowWriter<Encoded>) -> usize {
        let has_pages = encoder.in_progress_rows() >= PAGE_ROWS;
        let compressors = if has_pages { self.columns.leaves().num_columns() * self.compressor_bytes } else { 0 };
        encoder.memory_size() + compressors
    }
}

/// The same for files with the same columns, in 16 hexadecimal digits.
pub(crate) fn fingerprint(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|it| {
        let null = if it.is_nullable() { "null" } else { "not null" };
        format!("{}\0{}\0{null}\0", it.name(), it.data_type())
    });
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(columns.collect::<String>().as_bytes()))
}

/// A Parquet file being encoded.
pub(crate) struct Encoder {
    encoding: Arc<Encoding>,
    /// Rows that are not encoded yet: until there are enough for the encoder, or, where row groups are sorted, for a row
    /// group.
    waiting: Chunks,
    waiting_rows: usize,
    waiting_bytes: usize,
    /// In how many steps they came, and whether any came in this one.
    waiting_steps: usize,
    fresh: bool,
    writer: Writer,
}

impl Encoder {
    pub(crate) fn new(encoding: Arc<Encoding>) -> Self {
        let columns = encoding.columns();
        let chunk_rows = if columns.is_sorted() { encoding.row_group_rows_max } else { CHUNK_ROWS };
        let waiting = Chunks::new(columns.schema().clone(), chunk_rows);
        let writer = Writer::new(encoding.clone());
        Self { encoding, waiting, waiting_rows: 0, waiting_bytes: 0, waiting_steps: 0, fresh: false, writer }
    }

    /// Takes rows in. Gives the memory that they need.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<usize, CannotEncode> {
        let bytes = measure::bytes(&rows);
        self.waiting_bytes += bytes;
        self.waiting_rows += rows.num_rows();
        self.fresh = true;
        for chunk in self.waiting.push(rows)? {
            self.waiting_bytes -= measure::bytes(&chunk);
            self.waiting_rows -= chunk.num_rows();
            self.waiting_steps = 0;
            self.writer.write(chunk)?;
        }
        Ok(bytes)
    }

    /// Ends a row group that is large enough. To be called after certain rows, wherever batches end.
    pub(crate) fn end_step(&mut self) -> Result<(), CannotEncode> {
        self.waiting_steps += usize::from(std::mem::take(&mut self.fresh));
        let is_large = self.encoding.columns().is_sorted() && self.waiting_bytes >= self.encoding.row_group_bytes_max;
        if is_large { self.end_row_group() } else { Ok(()) }
    }

    /// Encodes all rows that came, and ends the row group.
    pub(crate) fn end_row_group(&mut self) -> Result<(), CannotEncode> {
        let rest = self.waiting.rest()?;
        (self.waiting_rows, self.waiting_bytes, self.waiting_steps, self.fresh) = (0, 0, 0, false);
        self.writer.end_row_group(rest.as_ref())
    }

    /// Encodes what is left, and the footer. No rows after this.
    pub(crate) fn finish(mut self) -> Result<Encoded, CannotEncode> {
        self.end_row_group()?;
        self.writer.finish()
    }

    /// The bytes that were encoded since the last call.
    pub(crate) fn take_encoded(&mut self) -> Encoded {
        self.writer.take_encoded()
    }

    /// What ending the row group would set free, in bytes.
    pub(crate) fn open_bytes(&self) -> usize {
        // Few rows lie in one piece, and rows that came in few steps in few.
        let pieces_max = if self.waiting_rows <= FEW_ROWS { 1 } else { FRESH_MAX };
        let arrays = self.waiting_steps.min(pieces_max) * self.encoding.columns().schema().fields().len();
        self.waiting_bytes + arrays * ARRAY_BYTES + self.writer.open_bytes()
    }

    /// What is kept until the file is finished besides, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        FILE_BYTES + self.writer.groups() * self.encoding.columns().leaves().num_columns() * FOOTER_BYTES
    }
}

/// Rows fit the planned columns, and memory does not fail: waiting changes nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotEncode {
    /// Rows could not be taken apart.
    #[error("cannot encode rows as Parquet")]
    Arrow(#[from] ArrowError),
    /// Rows could not be encoded.
    #[error("cannot encode rows as Parquet")]
    Parquet(#[from] ParquetError),
    /// A thread that encoded rows has ended with a panic, or with the program.
    #[error("cannot encode rows as Parquet: the thread that did it is gone")]
    ThreadGone,
}

impl From<CannotEncode> for SinkError {
    fn from(error: CannotEncode) -> Self {
        Self::Stop(error.into())
    }
}

//! The job as one would write it by hand with the same crates, for these lines and nothing else: no graph, no
//! progress, no recovery. What the program takes more than this is what its generality costs.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{ArrowPrimitiveType, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use libdeflater::Decompressor;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Outcome;
use crate::data::columns;

/// Rows of a batch.
pub const BATCH_ROWS: usize = 8_192;

/// Reads every gzip object of a directory and writes one Parquet file.
pub fn to_parquet(from: &Path, to: &Path) -> Outcome {
    let mut columns: Vec<Column> = columns().into_iter().map(Column::new).collect();
    let fields: Vec<Field> = columns.iter().map(|it| Field::new(it.name, it.data_type(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(to)?, schema.clone(), Some(properties))?;
    let mut paths = fs::read_dir(from)?.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut inflater = Decompressor::new();
    let mut text = Vec::new();
    let mut rows = 0;
    for path in paths {
        let packed = fs::read(&path)?;
        // The last four bytes of a gzip member are its length.
        let length = packed.last_chunk().map_or(0, |it| u32::from_le_bytes(*it));
        text.resize(length as usize, 0);
        inflater.gzip_decompress(&packed, &mut text)?;
        let mut rest = std::str::from_utf8(&text)?;
        while let Some(end) = memchr::memchr(b'\n', rest.as_bytes()) {
            push(&mut columns, &rest[..end]);
            rest = &rest[end + 1..];
            rows += 1;
            if rows % BATCH_ROWS == 0 {
                writer.write(&finished(&mut columns, &schema)?)?;
            }
        }
    }
    writer.write(&finished(&mut columns, &schema)?)?;
    writer.close()?;
    Ok(())
}

/// Takes a line apart.
pub fn push(columns: &mut [Column], mut line: &str) {
    for column in columns {
        let end = memchr::memchr(b'\t', line.as_bytes()).unwrap_or(line.len());
        column.push(&line[..end]);
        line = line.get(end + 1..).unwrap_or_default();
    }
}

/// The rows so far, of which nothing stays.
pub fn finished(columns: &mut [Column], schema: &Arc<Schema>) -> Result<RecordBatch, arrow_schema::ArrowError> {
    RecordBatch::try_new(schema.clone(), columns.iter_mut().map(Column::finish).collect())
}

/// A column as it grows.
pub struct Column {
    pub name: &'static str,
    values: Values,
}

/// The types that the program's preset gives these fields.
enum Values {
    Text(StringBuilder),
    Time(PrimitiveBuilder<TimestampMillisecondType>),
    Decimal(Decimal128Builder),
    U8(PrimitiveBuilder<UInt8Type>),
    U16(PrimitiveBuilder<UInt16Type>),
    U32(PrimitiveBuilder<UInt32Type>),
    U64(PrimitiveBuilder<UInt64Type>),
}

impl Column {
    pub fn new(name: &'static str) -> Self {
        let values = match name {
            "timestamp" => Values::Time(PrimitiveBuilder::new()),
            "time-to-first-byte" | "time-taken" | "origin-fbl" | "origin-lbl" => {
                Values::Decimal(Decimal128Builder::new().with_data_type(DataType::Decimal128(18, 6)))
            }
            "x-edge-mqcs" => Values::U8(PrimitiveBuilder::new()),
            "sc-status" | "c-port" => Values::U16(PrimitiveBuilder::new()),
            "fle-encrypted-fields" | "cs-headers-count" | "asn" => Values::U32(PrimitiveBuilder::new()),
            "sc-bytes" | "cs-bytes" | "sc-content-len" | "sc-range-start" | "sc-range-end" => {
                Values::U64(PrimitiveBuilder::new())
            }
            _ => Values::Text(StringBuilder::new()),
        };
        Self { name, values }
    }

    pub fn data_type(&self) -> DataType {
        match self.values {
            Values::Text(_) => DataType::Utf8,
            Values::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, None),
            Values::Decimal(_) => DataType::Decimal128(18, 6),
            Values::U8(_) => DataType::UInt8,
            Values::U16(_) => DataType::UInt16,
            Values::U32(_) => DataType::UInt32,
            Values::U64(_) => DataType::UInt64,
        }
    }

    /// `-` is null. A value that is wrong becomes null, too: there is nobody here to tell.
    fn push(&mut self, cell: &str) {
        let cell = Some(cell).filter(|it| *it != "-");
        match &mut self.values {
            Values::Text(values) => values.append_option(cell),
            Values::Time(values) => values.append_option(cell.and_then(|it| scaled(it, 3))),
            Values::Decimal(values) => values.append_option(cell.and_then(|it| scaled(it, 6)).map(i128::from)),
            Values::U8(values) => number(values, cell),
            Values::U16(values) => number(values, cell),
            Values::U32(values) => number(values, cell),
            Values::U64(values) => number(values, cell),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Text(values) => Arc::new(values.finish()),
            Values::Time(values) => Arc::new(values.finish()),
            Values::Decimal(values) => Arc::new(values.finish()),
            Values::U8(values) => Arc::new(values.finish()),
            Values::U16(values) => Arc::new(values.finish()),
            Values::U32(values) => Arc::new(values.finish()),
            Values::U64(values) => Arc::new(values.finish()),
        }
    }
}

fn number<T: ArrowPrimitiveType<Native: TryFrom<u64>>>(values: &mut PrimitiveBuilder<T>, cell: Option<&str>) {
    values.append_option(cell.and_then(|it| scaled(it, 0)).and_then(|it| T::Native::try_from(it as u64).ok()));
}

/// `12.5` with 3 digits is 12,500.
fn scaled(text: &str, digits: usize) -> Option<i64> {
    let mut value = 0_i64;
    let mut fraction = None;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                fraction = fraction.map(|it| it + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return None,
        }
    }
    (fraction.unwrap_or(0)..digits).for_each(|_| value *= 10);
    Some(value)
}

//! What is in a Parquet file.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};

use super::ReadAt;
use super::cast;
use super::input::Input;
use super::thrift::{Look, look_over};
use crate::reader::{READ_BYTES_MAX, READ_ROWS_MAX};
use crate::types::Type;

/// A footer of more bytes than this is refused: the library takes ten times as much memory for what it says.
const FOOTER_BYTES_MAX: u64 = 16 << 20;
/// The format numbers row groups with 16 bits.
const ROW_GROUPS_MAX: usize = 1 << 15;
/// Groups of columns within each other.
const SCHEMA_DEPTH_MAX: usize = 64;

const MAGIC: &[u8; 4] = b"PAR1";

/// A file of which the footer was read.
pub struct File {
    metadata: ArrowReaderMetadata,
    /// The columns to read.
    projection: ProjectionMask,
    /// For each declared column its place among those that are read, if the file has it.
    pub columns: Vec<Option<usize>>,
    pub groups: Vec<Group>,
}

/// A row group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Rows before it.
    pub before: u64,
    pub rows: u64,
    /// So many rows are read at a time. They depend on the file alone, so that damage always hits the same rows.
    pub batch_rows: u64,
    /// What is read of it and of those before it, decompressed.
    pub bytes: u64,
}

impl File {
    /// Reads the footer of a file, to read these columns of it.
    pub fn open<T: ReadAt + 'static>(input: &Input<T>, columns: &[(String, Type)]) -> Result<Self, String> {
        let footer = footer(input)?;
        // The schema that Arrow's writers add is not needed, and one more thing to be hostile.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(|| {
            ParquetMetaDataReader::decode_metadata(&footer)
                .and_then(|it| ArrowReaderMetadata::try_new(it.into(), options))
        })?;
        let mut places = HashMap::new();
        for (place, field) in metadata.schema().fields().iter().enumerate() {
            if places.insert(field.name().as_str(), place).is_some() {
                return Err(format!("there are two columns `{}`", field.name()));
            }
        }
        for (name, kind) in columns {
            if let Some(place) = places.get(name.as_str()) {
                cast::check(name, kind, metadata.schema().field(*place).data_type())?;
            }
        }
        let mut roots: Vec<usize> = columns.iter().filter_map(|it| places.get(it.0.as_str()).copied()).collect();
        roots.sort_unstable();
        let among = |place: &usize| roots.binary_search(place).ok();
        let columns = columns.iter().map(|it| places.get(it.0.as_str()).and_then(among)).collect();
        let projection = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
        let groups = groups(&metadata, &projection)?;
        Ok(Self { projection, columns, groups, metadata })
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.groups.last().map_or(0, |it| it.before + it.rows)
    }

    /// The rows of a group after the first `skipped`, which must be so many batches.
    pub fn read<T: ReadAt + 'static>(
        &self,
        input: &Input<T>,
        group: usize,
        skipped: u64,
    ) -> Result<ParquetRecordBatchReader, String> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(self.projection.clone())
            .with_batch_size(self.groups[group].batch_rows as usize)
            .with_offset(skipped as usize);
        guarded(|| builder.build())
    }
}

/// Lets the library work on what may be damaged. It has an error for most of that, and panics at the rest.
pub fn guarded<T, E: ToString>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    // What it worked on is not used again after an error.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| said(&error)),
        Err(_) => Err("damaged Parquet data: it makes no sense".into()),
    }
}

/// An error of the library on one line.
fn said(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut text = text.lines().next().unwrap_or_default();
    for prefix in ["Parquet argument error: ", "Parquet error: ", "EOF: ", "External: "] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    match text.strip_prefix("Disabled feature at compile time: ") {
        Some(codec) => format!("pages that are compressed with `{codec}` cannot be read"),
        None => format!("damaged Parquet data: {text}"),
    }
}

/// The bytes of the footer, if they can be given to the library.
fn footer<T: ReadAt + 'static>(input: &Input<T>) -> Result<bytes::Bytes, String> {
    const TAIL: u64 = 8;
    let no_parquet = || "it is no Parquet file, which begins and ends with `PAR1`".to_owned();
    let end = input.len().checked_sub(TAIL).filter(|it| *it >= 4).ok_or_else(no_parquet)?;
    let get = |offset, bytes| input.get_bytes(offset, bytes).map_err(|error| said(&error));
    let tail = get(end, TAIL as usize)?;
    let (size, magic) = tail.split_at(4);
    match magic {
        b"PARE" => return Err("the Parquet file is encrypted".into()),
        magic if magic != MAGIC || get(0, 4)? != MAGIC[..] => return Err(no_parquet()),
        _ => {}
    }
    let size = u64::from(size.iter().rev().fold(0_u32, |value, it| value << 8 | u32::from(*it)));
    let start = end.checked_sub(size).filter(|it| *it >= 4);
    let start = start.ok_or("damaged Parquet data: the footer is longer than the file")?;
    if size > FOOTER_BYTES_MAX {
        return Err(format!("damaged Parquet data: the footer has {size} bytes, more than {FOOTER_BYTES_MAX}"));
    }
    let footer = get(start, size as usize)?;
    look_over(&footer, &mut Footer::default()).map_err(|why| format!("damaged Parquet data: the footer: {why}"))?;
    Ok(footer)
}

/// Finds numbers in a footer that would cost memory.
#[derive(Default)]
struct Footer {
    /// How many elements the schema has.
    elements: usize,
    /// How many are in the element at hand.
    children: u64,
    /// How many are still to come, on each level.
    open: Vec<u64>,
}

impl Look for Footer {
    fn number(&mut self, path: &[i16], value: i64) -> Result<(), String> {
        // `num_children` of an element of the schema
        if path == [2, 5] {
            let children = u64::try_from(value).ok().filter(|it| *it <= self.elements as u64);
            self.children = children.ok_or("the schema is not as large as it says")?;
        }
        Ok(())
    }

    fn list(&mut self, path: &[i16], len: usize) -> Result<(), String> {
        match path {
            [2] => self.elements = len,
            [4] if len > ROW_GROUPS_MAX => return Err(format!("it has {len} row groups")),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &[i16]) -> Result<(), String> {
        if path != [2] {
            return Ok(());
        }
        self.open.push(std::mem::take(&mut self.children));
        if self.open.len() > SCHEMA_DEPTH_MAX {
            return Err(format!("its columns are nested more than {SCHEMA_DEPTH_MAX} deep"));
        }
        while let Some(0) = self.open.last() {
            self.open.pop();
            if let Some(left) = self.open.last_mut() {
                *left -= 1;
            }
        }
        Ok(())
    }
}

fn groups(metadata: &ArrowReaderMetadata, projection: &ProjectionMask) -> Result<Vec<Group>, String> {
    let bad = || "damaged Parquet data: the row groups do not say how large they are".to_owned();
    let unsigned = |it: i64| u64::try_from(it).map_err(|_| bad());
    let (mut before, mut bytes) = (0_u64, 0_u64);
    let mut groups = Vec::new();
    for group in metadata.metadata().row_groups() {
        let rows = unsigned(group.num_rows())?;
        let mut group_bytes = 0_u64;
        for (leaf, column) in group.columns().iter().enumerate() {
            if projection.leaf_included(leaf) {
                unsigned(column.compressed_size())?;
                unsigned(column.data_page_offset())?;
                unsigned(column.dictionary_page_offset().unwrap_or(0))?;
                group_bytes = group_bytes.checked_add(unsigned(column.uncompressed_size())?).ok_or_else(bad)?;
            }
        }
        bytes = bytes.checked_add(group_bytes).ok_or_else(bad)?;
        let row_bytes = group_bytes / rows.max(1);
        let batch_rows = (READ_BYTES_MAX as u64 / row_bytes.max(1)).clamp(1, READ_ROWS_MAX as u64);
        groups.push(Group { before, rows, batch_rows, bytes });
        before = before.checked_add(rows).filter(|it| *it <= i64::MAX as u64).ok_or_else(bad)?;
    }
    if unsigned(metadata.metadata().file_metadata().num_rows())? != before {
        return Err("damaged Parquet data: the file has not as many rows as its row groups have".into());
    }
    Ok(groups)
}

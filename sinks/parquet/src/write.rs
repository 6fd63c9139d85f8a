//! The sink and its drafts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, Schema};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use forebay_api::{DeliveryId, Draft, Refused, RefusedRow, Sink, SinkError};
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::chunks::CHUNK_ROWS;
use crate::disk::{DiskError, create_directories, parent, remove, sync_directory};
use crate::file::DraftFile;
use crate::layout::Layout;
use crate::names::{self, Names};
use crate::{Compression, Parquet};

/// Where temporary files are. Readers skip names that begin with a dot, and no temporary file ends in `.parquet`.
const STAGING: &str = ".staging";

/// What a draft may have in its encoders, in row groups of full size.
const FULL_ROW_GROUPS_MAX: usize = 4;

/// Opens the table's directory: makes it, and removes what crashed processes left in staging.
pub(crate) fn open(config: &Parquet, layout: Layout) -> Result<Table, DiskError> {
    let root = PathBuf::from(&config.path);
    let staging = root.join(STAGING);
    create_directories(&staging)?;
    clear(&staging)?;
    let shared = Shared { root, staging, layout, config: config.clone() };
    Ok(Table { shared: Arc::new(shared) })
}

/// Removes all temporary files. What commits that were cut short have made visible is for their next attempt to
/// know: see [`names`].
fn clear(staging: &Path) -> Result<(), DiskError> {
    for delivery in entries(staging)? {
        if !delivery.is_dir() {
            remove(&delivery)?;
            continue;
        }
        for file in entries(&delivery)? {
            if !file.ends_with(names::FILE) {
                remove(&file)?;
            }
        }
        match fs::remove_dir(&delivery) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                return Err(DiskError::new("remove directory", &delivery, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let paths = |entries: fs::ReadDir| entries.map(|it| Ok(it?.path())).collect();
    fs::read_dir(directory).and_then(paths).map_err(|error| DiskError::new("list", directory, error))
}

/// An open table.
pub(crate) struct Table {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    staging: PathBuf,
    layout: Layout,
    config: Parquet,
}

impl Shared {
    fn row_group_bytes_max(&self) -> usize {
        usize::try_from(self.config.row_group_bytes_max.bytes()).unwrap_or(usize::MAX)
    }
}

#[async_trait]
impl Sink for Table {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        let staging = self.shared.staging.join(id.as_str());
        let earlier = names::read(&staging, id)?;
        let properties = properties(&self.shared.config, id, self.shared.layout.schema()).map_err(cannot_encode)?;
        Ok(Box::new(ParquetDraft {
            table: self.shared.clone(),
            id: id.clone(),
            staging,
            properties,
            staged: 0,
            key: Vec::new(),
            open: HashMap::new(),
            ordinal: 0,
            files: Vec::new(),
            earlier,
            noted: false,
            committed: false,
        }))
    }
}

/// What the encoder is told. Statistics of pages, the page index and dictionaries are on by default.
fn properties(config: &Parquet, id: &DeliveryId, schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let compression = match config.compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(3)?),
        Compression::Snappy => Codec::SNAPPY,
        Compression::None => Codec::UNCOMPRESSED,
    };
    let metadata = vec![
        KeyValue::new("forebay.delivery".to_owned(), id.to_string()),
        KeyValue::new("forebay.schema".to_owned(), fingerprint(schema)),
    ];
    let builder = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(config.row_group_rows_max.get() as usize))
        .set_key_value_metadata(Some(metadata));
    Ok(builder.build())
}

/// The same for files with the same columns, in 16 hexadecimal digits.
fn fingerprint(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|it| {
        let null = if it.is_nullable() { "null" } else { "not null" };
        format!("{}\0{}\0{null}\0", it.name(), it.data_type())
    });
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(columns.collect::<String>().as_bytes()))
}

/// A delivery being written.
///
/// Which file a row comes to, and where row groups end, follows from the rows before it alone: each step that
/// depends on memory or on open files is taken after a certain row, not at the end of a batch.
struct ParquetDraft {
    table: Arc<Shared>,
    id: DeliveryId,
    staging: PathBuf,
    properties: WriterProperties,
    /// How many rows came, refused ones included.
    staged: u64,
    /// The key of the row that is being looked at.
    key: Vec<u8>,
    /// The open file of each partition, as an index of `files`.
    open: HashMap<Vec<u8>, usize>,
    /// How often all open files were closed to make room.
    ordinal: u32,
    files: Vec<DraftFile>,
    /// Visible names that earlier attempts at this delivery may have left.
    earlier: Names,
    /// Whether the names of this attempt are durable too.
    noted: bool,
    committed: bool,
}

#[async_trait]
impl Draft for ParquetDraft {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        // Nothing of `rows` is in yet: here, and only here, `Retry` is the truth.
        self.write_out()?;
        let mut refused = Refused::new();
        let mut start = 0;
        while start < rows.num_rows() {
            let until_full = CHUNK_ROWS - (self.staged % CHUNK_ROWS as u64) as usize;
            let length = until_full.min(rows.num_rows() - start);
            self.take_in(&rows.slice(start, length), &mut refused)?;
            start += length;
            if length == until_full {
                self.bound_memory()?;
            }
            match self.write_out() {
                // What was not written stays in memory; the next call meets the full disk before it takes rows.
                Ok(()) | Err(SinkError::Retry(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(refused)
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        if !self.committed {
            self.close_all()?;
            self.write_out()?;
            self.place()?;
            self.committed = true;
            // Everything is visible and durable. What could stay here would be removed by the next `open`, or
            // remind an attempt that will not come of names that are right.
            let _ = fs::remove_dir_all(&self.staging);
        }
        Ok(Refused::new())
    }
}

impl ParquetDraft {
    /// Sends rows to the files of their partitions.
    fn take_in(&mut self, rows: &RecordBatch, refused: &mut Refused) -> Result<(), SinkError> {
        let table = self.table.clone();
        let located = table.layout.locate(rows).map_err(cannot_encode)?;
        let kept = table.layout.keep(rows).map_err(cannot_encode)?;
        let mut shares: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            if let Err(why) = located.key(row, &mut self.key) {
                refused.push(RefusedRow { row: self.staged + row as u64, payload: rows.slice(row, 1), why });
                continue;
            }
            let file = match self.open.get(&self.key) {
                Some(file) => *file,
                None => {
                    if self.open.len() >= table.config.open_partitions_max.get() as usize {
                        self.distribute(&kept, std::mem::take(&mut shares))?;
                        self.close_all()?;
                        self.ordinal += 1;
                    }
                    self.open_file(&located.directory(row))?
                }
            };
            shares.entry(file).or_default().push(row as u32);
        }
        self.distribute(&kept, shares)?;
        self.staged += rows.num_rows() as u64;
        Ok(())
    }

    /// Opens the file of the partition that `self.key` stands for.
    fn open_file(&mut self, directory: &str) -> Result<usize, SinkError> {
        let index = self.files.len();
        let name = format!("{directory}{}-{}.parquet", self.id, self.ordinal);
        let temporary = self.staging.join(format!("{index}.tmp"));
        let (schema, bytes_max) = (self.table.layout.schema(), self.table.row_group_bytes_max());
        let file = DraftFile::new(name, temporary, schema, &self.properties, bytes_max)?;
        self.files.push(file);
        self.open.insert(self.key.clone(), index);
        Ok(index)
    }

    fn distribute(&mut self, kept: &RecordBatch, shares: BTreeMap<usize, Vec<u32>>) -> Result<(), SinkError> {
        for (file, rows) in shares {
            let share = if rows.len() == kept.num_rows() {
                kept.clone()
            } else {
                take_record_batch(kept, &UInt32Array::from(rows)).map_err(cannot_encode)?
            };
            self.files[file].push(share)?;
        }
        Ok(())
    }

    /// Ends the largest row groups until the rest is small enough.
    fn bound_memory(&mut self) -> Result<(), SinkError> {
        let bytes_max = self.table.row_group_bytes_max().saturating_mul(FULL_ROW_GROUPS_MAX);
        let mut sizes: Vec<(usize, usize)> =
            self.open.values().map(|it| (self.files[*it].row_group_bytes(), *it)).collect();
        sizes.sort_unstable();
        let mut total: usize = sizes.iter().map(|it| it.0).sum();
        while total > bytes_max
            && let Some((bytes, file)) = sizes.pop()
        {
            self.files[file].end_row_group()?;
            total -= bytes;
        }
        Ok(())
    }

    fn close_all(&mut self) -> Result<(), SinkError> {
        let mut open: Vec<usize> = self.open.drain().map(|it| it.1).collect();
        open.sort_unstable();
        open.into_iter().try_for_each(|it| self.files[it].finish())
    }

    fn write_out(&mut self) -> Result<(), SinkError> {
        self.files.iter_mut().try_for_each(DraftFile::write_out)
    }

    /// Gives all files their visible names, durably.
    fn place(&mut self) -> Result<(), SinkError> {
        let names: Names = self.files.iter().map(|it| it.name().to_owned()).collect();
        if !self.noted && !names.is_empty() {
            let all = self.earlier.union(&names).cloned().collect();
            names::write(&self.staging, &all)?;
            self.noted = true;
        }
        let root = &self.table.root;
        let mut changed = BTreeSet::new();
        for file in &mut self.files {
            file.place(root)?;
            changed.insert(parent(&root.join(file.name())).to_owned());
        }
        for stale in self.earlier.difference(&names).map(|it| root.join(it)) {
            if remove(&stale)? {
                changed.insert(parent(&stale).to_owned());
            }
        }
        for directory in changed {
            // As with a file, a second fsync would say that all is well.
            sync_directory(&directory).map_err(|error| SinkError::Stop(error.into()))?;
        }
        Ok(())
    }
}

impl Drop for ParquetDraft {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for file in &mut self.files {
            file.discard(&self.table.root);
        }
        // Stays if names are kept in it.
        let _ = fs::remove_dir(&self.staging);
    }
}

/// Rows fit the planned columns, and memory does not fail: waiting changes nothing.
fn cannot_encode(error: impl Into<CannotEncode>) -> SinkError {
    SinkError::Stop(Box::new(error.into()))
}

#[derive(Debug, thiserror::Error)]
#[error("cannot encode rows as Parquet")]
enum CannotEncode {
    Arrow(#[from] ArrowError),
    Parquet(#[from] ParquetError),
}

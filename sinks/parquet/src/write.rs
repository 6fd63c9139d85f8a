//! The sink and its drafts.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use forebay_api::{BoxError, DeliveryId, Draft, Refused, RefusedRow, Sink, SinkError};
use forebay_aws::Location;
use futures_util::stream::{self, StreamExt};

use crate::Parquet;
use crate::chunks::CHUNK_ROWS;
use crate::encode::{CannotEncode, Encoding, fingerprint};
use crate::file::DraftFile;
use crate::layout::Layout;
use crate::store::{Bucket, Directory, Names, Store};

/// A delivery's rows come in steps, wherever batches end. After each of them, what is in memory is counted, and files
/// are ended if it is too much: so the same rows make the same files. A step has the first number of rows at first, and
/// then as many as fit into a sixteenth of the memory, up to the second number.
const STEP_ROWS: (u64, u64) = (1024, CHUNK_ROWS as u64);
const STEP_MEMORY_PART: u64 = 16;

/// Row groups that have less than this part of the memory are not worth ending early; their files are ended instead.
const SMALL_GROUP_PART: usize = 64;

/// Files that are written or placed at a time. An answer of a bucket takes some hundredths of a second.
const AT_A_TIME: usize = 8;

/// Files that are finished before the first of them is written.
const FINISHED_MAX: usize = 64;

/// A delivery of so many files ends: each needs some memory until all of them are visible, a name at least.
const FILES_FULL: usize = 2048;

/// Opens the table.
pub(crate) async fn open(config: &Parquet, layout: Layout) -> Result<Table, BoxError> {
    let store: Box<dyn Store> = match config.place()? {
        Location::Directory(root) => Box::new(Directory::open(root)?),
        Location::Bucket { name, prefix } => {
            let client = config.aws.s3().await?;
            Box::new(Bucket::new(client, name, prefix, fingerprint(layout.schema())))
        }
    };
    Ok(Table { shared: Arc::new(Shared { store, layout, config: config.clone() }) })
}

/// An open table.
pub(crate) struct Table {
    shared: Arc<Shared>,
}

struct Shared {
    store: Box<dyn Store>,
    layout: Layout,
    config: Parquet,
}

#[async_trait]
impl Sink for Table {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        let earlier = self.shared.store.begin(id).await?;
        let encoding = Encoding::new(&self.shared.config, id, &self.shared.layout)?;
        Ok(Box::new(ParquetDraft {
            table: self.shared.clone(),
            id: id.clone(),
            encoding: Arc::new(encoding),
            staged: 0,
            staged_bytes: 0,
            step_ends: STEP_ROWS.0,
            latest: i64::MIN,
            files: Vec::new(),
            open: HashMap::new(),
            paths: HashMap::new(),
            touched: BTreeSet::new(),
            memory: 0,
            earlier,
            noted: false,
            committed: false,
        }))
    }
}

/// A delivery being written.
///
/// Which file a row comes to, and where row groups end, follows from the rows before it alone: each step that
/// depends on memory or on open files is taken after a certain row, not at the end of a batch.
struct ParquetDraft {
    table: Arc<Shared>,
    id: DeliveryId,
    encoding: Arc<Encoding>,
    /// How many rows came, refused ones included.
    staged: u64,
    /// How much memory those need that have a place.
    staged_bytes: u64,
    /// After how many rows this step ends.
    step_ends: u64,
    /// The latest time of the rows that came.
    latest: i64,
    files: Vec<DraftFile>,
    /// The open file, as an index of `files`, of rows with a key.
    open: HashMap<Vec<u8>, usize>,
    /// What stands before the names of files: the open file, and how many files there were. Several keys may share one.
    paths: HashMap<String, (Option<usize>, u32)>,
    /// Files that got rows since the last step ended.
    touched: BTreeSet<usize>,
    /// What all open files have in memory.
    memory: usize,
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
        write_out(&mut self.files).await?;
        let mut refused = Refused::new();
        let mut start = 0;
        while start < rows.num_rows() {
            let until_end = (self.step_ends - self.staged) as usize;
            let length = until_end.min(rows.num_rows() - start);
            self.take_in(&rows.slice(start, length), &mut refused)?;
            start += length;
            if length == until_end {
                self.end_step()?;
            }
            match write_out(&mut self.files).await {
                // What was not written stays in memory; the next call meets the full disk before it takes rows.
                Ok(()) | Err(SinkError::Retry(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(refused)
    }

    fn is_full(&self) -> bool {
        self.files.len() >= FILES_FULL
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        if !self.committed {
            // Some at a time: the bytes of what is finished wait in memory.
            for files in self.files.chunks_mut(FINISHED_MAX) {
                files.iter_mut().try_for_each(|it| it.finish(true))?;
                write_out(files).await?;
            }
            self.place().await?;
            self.committed = true;
            self.table.store.forget(&self.id).await;
        }
        Ok(Refused::new())
    }
}

impl ParquetDraft {
    /// Sends rows to the files of their partitions.
    fn take_in(&mut self, rows: &RecordBatch, refused: &mut Refused) -> Result<(), SinkError> {
        let table = self.table.clone();
        let located = table.layout.locate(rows).map_err(CannotEncode::from)?;
        let mut shares: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut share_of: HashMap<usize, usize> = HashMap::new();
        // Most rows come to the file of the row before them.
        let (mut key, mut last_key, mut last_share) = (Vec::new(), Vec::new(), None);
        for row in 0..rows.num_rows() {
            let placed = located.key(row, &mut self.latest, &mut key).and_then(|kind| {
                if last_share.is_some() && key == last_key {
                    return Ok(());
                }
                let file = match self.open.get(&key) {
                    Some(file) => *file,
                    None => {
                        let path = located.path(row, kind, &self.id)?;
                        self.file_of(key.clone(), path)
                    }
                };
                last_share = Some(*share_of.entry(file).or_insert_with(|| {
                    shares.push((file, Vec::new()));
                    shares.len() - 1
                }));
                std::mem::swap(&mut key, &mut last_key);
                Ok(())
            });
            match (placed, last_share) {
                (Ok(()), Some(share)) => shares[share].1.push(row as u32),
                (Ok(()), None) => unreachable!("a row that has a place has a share"),
                (Err(why), _) => {
                    refused.push(RefusedRow { row: self.staged + row as u64, payload: rows.slice(row, 1), why });
                }
            }
        }
        for (file, numbers) in shares {
            let last = self.staged + numbers.last().map_or(0, |it| u64::from(*it));
            let share = if numbers.len() == rows.num_rows() {
                located.kept().clone()
            } else {
                take_record_batch(located.kept(), &UInt32Array::from(numbers)).map_err(CannotEncode::from)?
            };
            self.staged_bytes += self.files[file].push(share, last)? as u64;
            self.touched.insert(file);
        }
        self.staged += rows.num_rows() as u64;
        Ok(())
    }

    /// The open file under a path; a new one if there is none.
    fn file_of(&mut self, key: Vec<u8>, path: String) -> usize {
        let (open, count) = self.paths.entry(path.clone()).or_default();
        let file = *open.get_or_insert_with(|| {
            let name = format!("{path}{}-{count}.parquet", self.id);
            *count += 1;
            let nth = self.files.len();
            let upload = self.table.store.upload(&self.id, nth, &name);
            self.files.push(DraftFile::new(name, upload, self.encoding.clone()));
            nth
        });
        self.open.insert(key, file);
        file
    }

    /// Ends what is large enough, and whatever must end so that memory and open files stay within their bounds.
    fn end_step(&mut self) -> Result<(), CannotEncode> {
        let table = self.table.clone();
        let mut closing = BTreeSet::new();
        for file in std::mem::take(&mut self.touched) {
            self.files[file].end_step()?;
            self.count(file);
            if self.files[file].is_full() {
                closing.insert(file);
            }
        }
        self.close(&closing)?;
        let step_bytes = table.config.memory_max.bytes() / STEP_MEMORY_PART;
        let step_rows = (step_bytes * self.staged / self.staged_bytes.max(1)).clamp(1, STEP_ROWS.1);
        // Steps that end together with chunks of rows spare copies.
        let step_rows = 1 << step_rows.ilog2();
        self.step_ends = (self.staged / step_rows + 1) * step_rows;
        let memory_max = usize::try_from(table.config.memory_max.bytes()).unwrap_or(usize::MAX);
        if self.memory > memory_max {
            self.end_row_groups(memory_max)?;
        }
        let files_max = table.config.open_files_max.get() as usize;
        let mut oldest: Vec<usize> = Vec::new();
        let mut begun = self.open_files().filter(|it| self.files[*it].is_begun()).count();
        if self.memory > memory_max || begun > files_max {
            oldest.extend(self.open_files());
            oldest.sort_unstable_by_key(|it| self.files[*it].used());
        }
        // Down to less than the bound, so that this is not to be done again at once.
        let memory_low = if self.memory > memory_max { memory_max / 4 * 3 } else { usize::MAX };
        let mut memory = self.memory;
        closing.clear();
        for file in oldest {
            let is_begun = self.files[file].is_begun();
            if memory > memory_low || (begun > files_max && is_begun) {
                begun -= usize::from(is_begun);
                memory -= self.files[file].counted();
                closing.insert(file);
            }
        }
        self.close(&closing)
    }

    /// Ends the largest row groups until the rest is small enough, or there are only small ones.
    fn end_row_groups(&mut self, memory_max: usize) -> Result<(), CannotEncode> {
        let mut sizes: Vec<(usize, usize)> = self.open_files().map(|it| (self.files[it].open_bytes(), it)).collect();
        sizes.retain(|it| it.0 >= memory_max / SMALL_GROUP_PART);
        sizes.sort_unstable();
        while self.memory > memory_max
            && let Some((_, file)) = sizes.pop()
        {
            self.files[file].end_row_group()?;
            self.count(file);
        }
        Ok(())
    }

    fn open_files(&self) -> impl Iterator<Item = usize> {
        self.paths.values().filter_map(|it| it.0)
    }

    fn count(&mut self, file: usize) {
        self.memory = self.memory.saturating_add_signed(self.files[file].growth());
    }

    /// Ends files; further rows of their partitions come to further files.
    fn close(&mut self, closing: &BTreeSet<usize>) -> Result<(), CannotEncode> {
        if closing.is_empty() {
            return Ok(());
        }
        for file in closing {
            self.files[*file].finish(false)?;
            self.count(*file);
        }
        self.open.retain(|_, file| !closing.contains(file));
        for (open, _) in self.paths.values_mut() {
            *open = open.filter(|it| !closing.contains(it));
        }
        Ok(())
    }

    /// Gives all files their visible names, durably.
    async fn place(&mut self) -> Result<(), SinkError> {
        let table = self.table.clone();
        let store = table.store.as_ref();
        let names: Names = self.files.iter().map(|it| it.name().to_owned()).collect();
        if !self.noted && !names.is_empty() {
            store.note(&self.id, &self.earlier.union(&names).cloned().collect()).await?;
            self.noted = true;
        }
        let mut steps: Vec<Step<'_>> = Vec::new();
        for file in &mut self.files {
            steps.push(Box::pin(file.place()));
        }
        all(steps).await?;
        let stale: Vec<String> = self.earlier.difference(&names).cloned().collect();
        store.remove(&stale).await?;
        store.seal(&self.earlier.union(&names).cloned().collect()).await
    }
}

impl Drop for ParquetDraft {
    fn drop(&mut self) {
        if !self.committed {
            self.files.clear();
            self.table.store.let_go(&self.id);
        }
    }
}

async fn write_out(files: &mut [DraftFile]) -> Result<(), SinkError> {
    let mut due: Vec<Step<'_>> = Vec::new();
    for file in files.iter_mut().filter(|it| it.is_due()) {
        due.push(Box::pin(file.write_out()));
    }
    all(due).await
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// Drives all of them, some at a time, each to its end: an error of one leaves none half way. Gives the gravest error.
async fn all(steps: Vec<Step<'_>>) -> Result<(), SinkError> {
    let mut steps = stream::iter(steps).buffer_unordered(AT_A_TIME);
    let mut found = Ok(());
    while let Some(step) = steps.next().await {
        match (&found, &step) {
            (Ok(()), Err(_)) | (Err(SinkError::Retry(_)), Err(SinkError::Stop(_))) => found = step,
            _ => {}
        }
    }
    found
}

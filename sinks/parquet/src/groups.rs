//! Row groups, whose columns are encoded side by side.

use std::mem;
use std::sync::mpsc;
use std::thread;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use tokio::runtime::Handle;

use crate::encoded::Encoded;

/// For fewer rows it is not worth waking somebody.
const SHARED_ROWS_MIN: usize = 1024;

/// How many threads encode the columns of one sink, at most.
const THREADS_MAX: usize = 4;

/// A file to which row groups are added. A column's bytes depend on its values alone, so it does not matter who
/// encodes it.
pub(crate) struct Groups {
    file: SerializedFileWriter<Encoded>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    rows_max: usize,
    /// The encoders of the open row group, one for each leaf; none if no row group is open.
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

/// A leaf's number, its encoder, and the values that it is to take.
type Work = (usize, ArrowColumnWriter, ArrowLeafColumn);

impl Groups {
    pub(crate) fn new(schema: SchemaRef, options: ArrowWriterOptions, rows_max: usize) -> Result<Self, ParquetError> {
        let writer = ArrowWriter::try_new_with_options(Encoded::default(), schema.clone(), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self { file, factory, schema, rows_max, columns: Vec::new(), rows: 0 })
    }

    /// Encodes rows. A row group that is full ends.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut from = 0;
        while from < rows.num_rows() {
            if self.columns.is_empty() {
                self.columns = self.factory.create_column_writers(self.ended())?;
            }
            let some = (self.rows_max - self.rows).min(rows.num_rows() - from);
            self.encode(&rows.slice(from, some))?;
            self.rows += some;
            from += some;
            if self.rows >= self.rows_max {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut leaves = Vec::with_capacity(self.columns.len());
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            leaves.extend(compute_leaves(field, column)?);
        }
        let columns = self.columns.len();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(columns);
        let runtime = Handle::try_current().ok().filter(|_| threads > 1 && rows.num_rows() >= SHARED_ROWS_MIN);
        let mut shares: Vec<Vec<Work>> = vec![];
        shares.resize_with(if runtime.is_some() { threads } else { 1 }, Vec::new);
        let count = shares.len();
        for (nth, (writer, leaf)) in mem::take(&mut self.columns).into_iter().zip(leaves).enumerate() {
            shares[nth % count].push((nth, writer, leaf));
        }
        let own = shares.pop().unwrap_or_default();
        let (done, others) = mpsc::sync_channel(THREADS_MAX);
        for (share, runtime) in shares.into_iter().zip(runtime.iter().cycle()) {
            let done = done.clone();
            // Whoever waits for it may have failed meanwhile.
            runtime.spawn_blocking(move || done.send(encoded(share)).unwrap_or_default());
        }
        drop(done);
        let mut all = encoded(own)?;
        for share in others {
            all.extend(share?);
        }
        if all.len() < columns {
            return Err(ParquetError::General("a thread that encoded columns has broken down".into()));
        }
        all.sort_by_key(|(nth, _)| *nth);
        self.columns = all.into_iter().map(|(_, writer)| writer).collect();
        Ok(())
    }

    /// Ends the row group, if one is open.
    pub(crate) fn end_group(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        let columns = mem::take(&mut self.columns);
        if columns.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in columns {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }

    /// Ends the row group, and writes the footer. No rows after this.
    pub(crate) fn finish(&mut self) -> Result<(), ParquetError> {
        self.end_group()?;
        self.file.finish().map(drop)
    }

    /// The bytes that are encoded and not taken.
    pub(crate) fn encoded(&mut self) -> &mut Encoded {
        self.file.inner_mut()
    }

    /// How many row groups have ended.
    pub(crate) fn ended(&self) -> usize {
        self.file.flushed_row_groups().len()
    }

    /// Rows of the open row group.
    pub(crate) fn open_rows(&self) -> usize {
        self.rows
    }

    /// What the open row group would have as a file, in bytes, about.
    pub(crate) fn open_size(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// What the open row group needs in memory, in bytes.
    pub(crate) fn open_memory(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::memory_size).sum()
    }
}

fn encoded(work: Vec<Work>) -> Result<Vec<(usize, ArrowColumnWriter)>, ParquetError> {
    let one = |(nth, mut writer, leaf): Work| {
        writer.write(&leaf)?;
        Ok((nth, writer))
    };
    work.into_iter().map(one).collect()
}

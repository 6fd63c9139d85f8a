//! Rows of one Parquet object as reads of one partition.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_json::LineDelimitedWriter;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use forebay_api::{Partition, Position, Positions, Read, Refusal, Span};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::cast;
use super::file::{File, Group, guarded};
use super::input::Input;
use super::{ParquetColumns, ReadAt};
use crate::{Layout, Limits};

/// Reads one Parquet object, which is one partition. Positions are numbers of rows, counted from 1.
///
/// It blocks where its input does, and holds one read's rows in memory, and the pages they are in.
pub struct ParquetReader<T> {
    partition: Partition,
    input: Input<T>,
    declared: Arc<ParquetColumns>,
    schema: SchemaRef,
    object_bytes_max: u64,
    /// Not here before the first read.
    file: Option<File>,
    /// The row group at hand, and its rows.
    group: usize,
    batches: Option<ParquetRecordBatchReader>,
    /// Rows that are read already, and come after `row`.
    ahead: Option<RecordBatch>,
    /// Rows read so far.
    row: u64,
    /// Rows that were read at an earlier time, and are not wanted now.
    skipped: u64,
    /// There are no more rows.
    ended: bool,
    /// The read that says so was given.
    closed: bool,
}

/// Why there are no more rows.
enum Broken {
    Io(io::Error),
    Rest(String),
}

impl<T: ReadAt + 'static> ParquetReader<T> {
    /// Reads the rows of `object` that come after `from`. Nothing is read yet.
    ///
    /// # Panics
    ///
    /// If `from` is not counted: there is nothing after the end. If the layout is not one of Parquet.
    pub fn new(partition: Partition, object: T, layout: &Layout, limits: Limits, from: &Position) -> Self {
        Self {
            partition,
            input: Input::new(object),
            declared: layout.parquet().expect("the layout is one of Parquet").clone(),
            schema: layout.schema().clone(),
            object_bytes_max: limits.object_bytes_max,
            file: None,
            group: 0,
            batches: None,
            ahead: None,
            row: 0,
            skipped: from.counted().expect("an object is read from a row on"),
            ended: false,
            closed: false,
        }
    }

    /// What it reads.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The last position that was read or skipped.
    pub fn position(&self) -> Position {
        Position::row(self.row.max(self.skipped))
    }

    /// The object.
    pub fn object(&self) -> &T {
        self.input.object()
    }

    /// The next rows up to `to`, or `None` if they were all read. The read that finds the end of the object is the
    /// last one and closes the partition, unless `to` comes before it.
    ///
    /// # Errors
    ///
    /// Those of the object, and [`io::ErrorKind::UnexpectedEof`] if it has fewer rows than were asked for.
    pub fn next(&mut self, to: &Position) -> io::Result<Option<Read>> {
        let last = match to {
            Position::End => u64::MAX,
            to => to.counted().expect("the rows of an object are counted"),
        };
        self.skip()?;
        if self.closed || self.row >= last {
            return Ok(None);
        }
        let from = self.row;
        let read = if self.ended { Ok(None) } else { self.rows(last - from) };
        let (rows, refused) = match read.and_then(|rows| self.convert(rows, from)) {
            Ok(converted) => converted,
            Err(Broken::Io(error)) => return Err(error),
            Err(Broken::Rest(why)) => {
                self.ended = true;
                self.row = from + 1;
                let why = format!("the rest of the object, from here on, could not be read: {why}");
                let refusal = Refusal { position: Position::row(self.row), payload: Vec::new(), why };
                (RecordBatch::new_empty(self.schema.clone()), vec![refusal])
            }
        };
        if self.ended && last != u64::MAX && self.row < last {
            return Err(self.too_short(last));
        }
        self.closed = self.ended && last == u64::MAX;
        let to = if self.closed { Position::End } else { Position::row(self.row) };
        let positions = match refused.is_empty() {
            true => Positions::Counted,
            false => {
                let bad: Vec<_> = refused.iter().filter_map(|it| it.position.counted()).collect();
                let good = (from + 1..=self.row).filter(|it| bad.binary_search(it).is_err());
                Positions::Listed(good.map(Position::row).collect())
            }
        };
        let span = Span::new(self.partition.clone(), Position::row(from), to);
        Ok(Some(Read { span, rows, positions, refused }))
    }

    /// The next rows as they are in the file, at most so many. `None` at the end.
    fn rows(&mut self, rows_max: u64) -> Result<Option<RecordBatch>, Broken> {
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None => match self.batch()? {
                Some(batch) => batch,
                None => {
                    self.ended = true;
                    return Ok(None);
                }
            },
        };
        let rows = batch.num_rows() as u64;
        let wanted = rows.min(rows_max);
        if wanted < rows {
            self.ahead = Some(batch.slice(wanted as usize, (rows - wanted) as usize));
        }
        self.row += wanted;
        self.ended = self.ahead.is_none() && self.file.as_ref().is_some_and(|it| it.rows() == self.row);
        Ok(Some(batch.slice(0, wanted as usize)))
    }

    /// The next batch of the file. It has as many rows as the footer says, or is broken.
    fn batch(&mut self) -> Result<Option<RecordBatch>, Broken> {
        let read = self.try_batch();
        // The library does not hand through why the object could not be read.
        read.map_err(|why| self.input.error().map_or(Broken::Rest(why), Broken::Io))
    }

    fn try_batch(&mut self) -> Result<Option<RecordBatch>, String> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.input, &self.declared.columns)?),
        };
        while let Some(group) = file.groups.get(self.group) {
            // Where in the group the reading stands.
            let done = self.row - group.before;
            if done == group.rows {
                self.group += 1;
                self.batches = None;
                continue;
            }
            if group.bytes > self.object_bytes_max {
                let max = self.object_bytes_max;
                return Err(format!("it holds more than the {max} bytes of `object_bytes_max`"));
            }
            let batches = match &mut self.batches {
                Some(batches) => batches,
                None => self.batches.insert(file.read(&self.input, self.group, done)?),
            };
            let expected = group.batch_rows.min(group.rows - done);
            let batch = guarded(|| batches.next().transpose())?;
            return match batch {
                Some(batch) if batch.num_rows() as u64 == expected => Ok(Some(batch)),
                _ => Err("damaged Parquet data: a row group has not as many rows as it says".into()),
            };
        }
        Ok(None)
    }

    /// Passes over the rows that are not wanted.
    fn skip(&mut self) -> io::Result<()> {
        if self.row >= self.skipped {
            return Ok(());
        }
        let skipped = match self.try_skip() {
            Err(Broken::Rest(_)) if self.row + 1 == self.skipped => {
                // Its refusal was read at an earlier time.
                self.ended = true;
                self.row = self.skipped;
                Ok(())
            }
            other => other,
        };
        match skipped {
            Ok(()) if self.row == self.skipped => Ok(()),
            Err(Broken::Io(error)) => Err(error),
            _ => Err(self.too_short(self.skipped)),
        }
    }

    /// Goes to the batch that has the last row that is not wanted, and reads it: if it is broken, that row is where the
    /// refusal stood.
    fn try_skip(&mut self) -> Result<(), Broken> {
        if self.file.is_none() {
            let opened = File::open(&self.input, &self.declared.columns);
            let file = opened.map_err(|why| self.input.error().map_or(Broken::Rest(why), Broken::Io))?;
            self.file = Some(file);
        }
        let groups = self.file.as_ref().map_or(&[][..], |it| &it.groups);
        let holds = |it: &Group| it.before < self.skipped && self.skipped <= it.before + it.rows;
        let Some((group, Group { before, batch_rows, .. })) =
            groups.iter().copied().enumerate().find(|it| holds(&it.1))
        else {
            return Ok(());
        };
        self.group = group;
        self.row = before + (self.skipped - before - 1) / batch_rows * batch_rows;
        while self.row < self.skipped {
            if self.rows(self.skipped - self.row)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Makes the declared columns of rows as they are in the file.
    fn convert(&self, rows: Option<RecordBatch>, before: u64) -> Result<(RecordBatch, Vec<Refusal>), Broken> {
        let (Some(rows), Some(file)) = (rows, &self.file) else {
            return Ok((RecordBatch::new_empty(self.schema.clone()), Vec::new()));
        };
        let mut bad = BTreeMap::new();
        let columns = self.declared.columns.iter().zip(&file.columns).map(|((name, kind), place)| {
            let Some(place) = *place else {
                return Ok(new_null_array(&kind.data_type(), rows.num_rows()));
            };
            let found = cast::without(rows.column(place), self.declared.null.as_deref());
            cast::column(name, kind, &found, |row, why| {
                bad.entry(row).or_insert(why);
            })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(Broken::Rest)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("the columns are those of the schema");
        if bad.is_empty() {
            return Ok((batch, Vec::new()));
        }
        let good: BooleanArray = (0..rows.num_rows()).map(|it| Some(!bad.contains_key(&it))).collect();
        let batch = filter_record_batch(&batch, &good).expect("there is one flag for each row");
        let refused = bad.into_iter().map(|(row, why)| Refusal {
            position: Position::row(before + row as u64 + 1),
            payload: as_json(&rows.slice(row, 1)),
            why,
        });
        Ok((batch, refused.collect()))
    }

    fn too_short(&self, asked: u64) -> io::Error {
        let why = format!("`{}` has {} rows, but row {asked} was read from it before", self.partition, self.row);
        io::Error::new(io::ErrorKind::UnexpectedEof, why)
    }
}

/// A row as it was in the file, for people to look at.
fn as_json(row: &RecordBatch) -> Vec<u8> {
    let mut json = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut json);
    let fields = row.schema_ref().fields().iter().zip(row.columns());
    let columns = fields.map(|(field, column)| (field.name(), cast::writable(column), true));
    // What cannot be written is left away: the position says where it stands.
    let written = RecordBatch::try_from_iter_with_nullable(columns)
        .and_then(|row| writer.write(&row))
        .and_then(|()| writer.finish());
    drop(writer);
    match written {
        Ok(()) => json.trim_ascii_end().to_vec(),
        Err(_) => Vec::new(),
    }
}

//! Records of one object as reads of one partition.

use std::io;

use bytes::Bytes;
use forebay_api::{Partition, Position, Positions, Read, Span};

use crate::decompress::Decompressor;
use crate::records::{CutError, Records};
use crate::rows::Rows;
use crate::taken::Taken;
use crate::{Layout, Limits};

/// A read holds no more rows than this, refused ones included.
pub const READ_ROWS_MAX: usize = 8192;
/// A read that holds more bytes than this takes no more.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// Reads one object of text, which is one partition. Positions are numbers of lines, or of elements of a JSON array,
/// counted from 1.
///
/// It blocks where its input does, and holds one read's rows in memory, never a whole object.
pub struct Reader<R> {
    partition: Partition,
    records: Records<R>,
    rows: Rows,
    record_bytes_max: usize,
    /// Records read so far.
    record: u64,
    /// Records that were read at an earlier time, and are not wanted now.
    skipped: u64,
    /// There are no more records.
    ended: bool,
    /// The read that says so was given.
    closed: bool,
}

impl Reader<io::Cursor<Bytes>> {
    /// Reads the records of an object that is in memory as a whole. The same rows as with [`Reader::new`], but a small
    /// gzip object takes half the time.
    ///
    /// # Panics
    ///
    /// As [`Reader::new`].
    pub fn whole(partition: Partition, object: Bytes, layout: &Layout, limits: Limits, from: &Position) -> Self {
        let bytes = Decompressor::whole(object, limits.object_bytes_max);
        Self::with(partition, bytes, layout, limits, from)
    }
}

impl<R: io::Read> Reader<R> {
    /// Reads the records of `input` that come after `from`.
    ///
    /// # Panics
    ///
    /// If `from` is not counted: there is nothing after the end. If the layout is one of [`crate::ParquetReader`].
    pub fn new(partition: Partition, input: R, layout: &Layout, limits: Limits, from: &Position) -> Self {
        Self::with(partition, Decompressor::new(input, limits.object_bytes_max), layout, limits, from)
    }

    fn with(partition: Partition, bytes: Decompressor<R>, layout: &Layout, limits: Limits, from: &Position) -> Self {
        let (records, rows) = layout.read(bytes, limits.line_bytes_max);
        Self {
            partition,
            records,
            rows,
            record_bytes_max: limits.line_bytes_max,
            record: 0,
            skipped: from.counted().expect("an object is read from a record on"),
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
        Position::row(self.record.max(self.skipped))
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        self.records.input()
    }

    /// The next rows up to `to`, or `None` if they were all read. The read that finds the end of the object is the
    /// last one and closes the partition, unless `to` comes before it.
    ///
    /// # Errors
    ///
    /// Those of the input, and [`io::ErrorKind::UnexpectedEof`] if the object has fewer records than were asked for.
    pub fn next(&mut self, to: &Position) -> io::Result<Option<Read>> {
        let last = match to {
            Position::End => u64::MAX,
            to => to.counted().expect("the records of an object are counted"),
        };
        self.skip()?;
        if self.closed || self.record >= last {
            return Ok(None);
        }
        let from = self.record;
        let mut taken = Taken::after(from);
        while !self.ended && self.record < last && taken.records() < READ_ROWS_MAX && taken.bytes < READ_BYTES_MAX {
            let wanted = (last - self.record).min((READ_ROWS_MAX - taken.records()) as u64);
            match self.records.window(wanted as usize) {
                Ok(Some(window)) => {
                    let records = window.cuts.len() as u64;
                    taken.take(&window, self.record, self.record_bytes_max, &mut self.rows);
                    self.record += records;
                }
                Ok(None) => self.ended = true,
                Err(CutError::Io(error)) => return Err(error),
                Err(CutError::Rest(why)) => {
                    self.record += 1;
                    self.ended = true;
                    let why = format!("the rest of the object, from here on, could not be read: {why}");
                    taken.refuse(self.record, self.records.begun(), why);
                }
            }
        }
        if self.ended && last != u64::MAX && self.record < last {
            return Err(self.too_short(last));
        }
        self.closed = self.ended && last == u64::MAX;
        let to = if self.closed { Position::End } else { Position::row(self.record) };
        let complete = taken.refused.is_empty() && taken.places.is_complete(self.record, self.closed);
        let span = Span::new(self.partition.clone(), Position::row(from), to);
        let positions = if complete { Positions::Counted } else { Positions::Listed(taken.places.positions()) };
        Ok(Some(Read { span, rows: self.rows.finish(), positions, refused: taken.refused }))
    }

    /// Passes over the records that are not wanted.
    fn skip(&mut self) -> io::Result<()> {
        while self.record < self.skipped {
            let wanted = usize::try_from(self.skipped - self.record).unwrap_or(usize::MAX);
            match self.records.window(wanted) {
                Ok(Some(window)) => {
                    for cut in window.cuts {
                        let record = &window.bytes[cut.clone()];
                        match window.begun_of.unwrap_or(record.len() as u64) > self.record_bytes_max as u64 {
                            true => self.rows.refused(record),
                            false => self.rows.skip(record),
                        }
                    }
                    self.record += window.cuts.len() as u64;
                }
                Ok(None) => return Err(self.too_short(self.skipped)),
                Err(CutError::Io(error)) => return Err(error),
                // Its refusal was read at an earlier time, or the object is too short after all.
                Err(CutError::Rest(_)) if self.record + 1 == self.skipped => {
                    self.ended = true;
                    self.record += 1;
                }
                Err(CutError::Rest(_)) => return Err(self.too_short(self.skipped)),
            }
        }
        Ok(())
    }

    fn too_short(&self, asked: u64) -> io::Error {
        let why =
            format!("`{}` has {} records, but record {asked} was read from it before", self.partition, self.record);
        io::Error::new(io::ErrorKind::UnexpectedEof, why)
    }
}

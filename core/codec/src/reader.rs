//! Lines of one object as reads of one partition.

use std::io;

use forebay_api::{Partition, Position, Positions, Read, Refusal, Span};

use crate::decompress::{DecompressError, Decompressor};
use crate::format::{Pushed, Rows};
use crate::lines::{LONG_LINE_KEPT_BYTES, Line, Lines};
use crate::{Layout, Limits};

/// A read holds no more rows than this, refused ones included.
pub(crate) const READ_ROWS_MAX: usize = 8192;
/// A read holds no more bytes of lines than this, and one line.
const READ_BYTES_MAX: usize = 4 << 20;

/// Reads one object, which is one partition. Positions are line numbers, counted from 1.
///
/// It blocks where its input does, and holds one read's rows in memory, never a whole object.
pub struct Reader<R> {
    partition: Partition,
    lines: Lines<R>,
    rows: Rows,
    limits: Limits,
    /// Lines read so far.
    line: u64,
    /// Lines that were read at an earlier time, and are not wanted now.
    skipped: u64,
    /// There are no more lines.
    ended: bool,
    /// The read that says so was given.
    closed: bool,
}

impl<R: io::Read> Reader<R> {
    /// Reads the lines of `input` that come after `from`.
    ///
    /// # Panics
    ///
    /// If `from` is not counted: there is nothing after the end.
    pub fn new(partition: Partition, input: R, layout: &Layout, limits: Limits, from: &Position) -> Self {
        Self {
            partition,
            lines: Lines::new(Decompressor::new(input, limits.object_bytes_max), limits.line_bytes_max),
            rows: layout.rows(),
            limits,
            line: 0,
            skipped: from.counted().expect("an object is read from a line on"),
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
        Position::row(self.line.max(self.skipped))
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        self.lines.input()
    }

    /// The next rows up to `to`, or `None` if they were all read. The read that finds the end of the object is the
    /// last one and closes the partition, unless `to` comes before it.
    ///
    /// # Errors
    ///
    /// Those of the input, and [`io::ErrorKind::UnexpectedEof`] if the object has fewer lines than were asked for.
    pub fn next(&mut self, to: &Position) -> io::Result<Option<Read>> {
        let last = match to {
            Position::End => u64::MAX,
            to => to.counted().expect("the lines of an object are counted"),
        };
        self.skip()?;
        if self.closed || self.line >= last {
            return Ok(None);
        }
        let from = self.line;
        let mut places: Vec<u64> = Vec::new();
        let mut refused: Vec<Refusal> = Vec::new();
        let mut bytes = 0;
        while !self.ended && self.line < last && places.len() + refused.len() < READ_ROWS_MAX && bytes < READ_BYTES_MAX
        {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.ended = true;
                    continue;
                }
                Err(DecompressError::Io(error)) => return Err(error),
                Err(error) => {
                    self.line += 1;
                    self.ended = true;
                    refused.push(Refusal {
                        position: Position::row(self.line),
                        payload: self.lines.begun().to_vec(),
                        why: format!("the rest of the object, from here on, could not be read: {error}"),
                    });
                    continue;
                }
            };
            self.line += 1;
            let (pushed, payload) = push(&mut self.rows, &line, self.limits.line_bytes_max);
            bytes += payload.len() + 1;
            match pushed {
                Pushed::Row => places.push(self.line),
                Pushed::NoRow => {}
                Pushed::Refused(why) => {
                    refused.push(Refusal { position: Position::row(self.line), payload: payload.to_vec(), why });
                }
            }
        }
        if self.ended && last != u64::MAX && self.line < last {
            return Err(self.too_short(last));
        }
        self.closed = self.ended && last == u64::MAX;
        let to = if self.closed { Position::End } else { Position::row(self.line) };
        let gapless = places.iter().enumerate().all(|(row, place)| *place == from + row as u64 + 1)
            && (self.closed || self.line == from + places.len() as u64);
        let positions = if gapless && refused.is_empty() {
            Positions::Counted
        } else {
            Positions::Listed(places.into_iter().map(Position::row).collect())
        };
        let span = Span::new(self.partition.clone(), Position::row(from), to);
        Ok(Some(Read { span, rows: self.rows.finish(), positions, refused }))
    }

    /// Passes over the lines that are not wanted.
    fn skip(&mut self) -> io::Result<()> {
        while self.line < self.skipped {
            match self.lines.next_line() {
                Ok(Some(Line::Whole(line))) => self.rows.skip(line),
                Ok(Some(Line::TooLong { head, .. })) => self.rows.refused(head),
                Ok(None) => return Err(self.too_short(self.skipped)),
                Err(DecompressError::Io(error)) => return Err(error),
                // Its refusal was read at an earlier time, or the object is too short after all.
                Err(_) if self.line + 1 == self.skipped => self.ended = true,
                Err(_) => return Err(self.too_short(self.skipped)),
            }
            self.line += 1;
        }
        Ok(())
    }

    fn too_short(&self, asked: u64) -> io::Error {
        let why = format!("`{}` has {} lines, but line {asked} was read from it before", self.partition, self.line);
        io::Error::new(io::ErrorKind::UnexpectedEof, why)
    }
}

/// Makes a row of a line, if it is good. Gives its bytes back, as far as they are kept.
fn push<'a>(rows: &mut Rows, line: &Line<'a>, line_bytes_max: usize) -> (Pushed, &'a [u8]) {
    let (why, kept) = match *line {
        Line::Whole(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => return (rows.push(text), bytes),
            Err(error) => {
                let at = error.valid_up_to();
                (format!("it is not UTF-8: byte {} of the line is 0x{:02x}", at + 1, bytes[at]), bytes)
            }
        },
        Line::TooLong { head, bytes } => {
            let mut why = format!("it has {bytes} bytes, more than the {line_bytes_max} of `line_bytes_max`");
            if bytes > head.len() as u64 {
                why.push_str(&format!("; its first {LONG_LINE_KEPT_BYTES} are kept here"));
            }
            (why, head)
        }
    };
    rows.refused(kept);
    (Pushed::Refused(why), kept)
}

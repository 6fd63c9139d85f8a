//! The entries of the spool as reads.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use forebay_api::{BoxError, Position, Read, Span};
use forebay_spool::source::{FrameError, OtherFormat, REST, sequence_of};
use forebay_spool::{Entry, Reader};

use crate::frame::{Frame, VERSION};
use crate::retention::{Ended, Retention, lock};
use crate::rows::{Cutter, Reading, at};
use crate::source::disk;

/// The last request before the one in which a position stands, which may have more rows.
pub(crate) fn before(position: &Position) -> Option<u64> {
    sequence_of(position).map(|it| it.saturating_sub(1))
}

/// How many rows of a request were read at a position.
fn read_of(position: &Position, sequence: u64) -> u64 {
    match position {
        Position::At { row, .. } if sequence_of(position) == Some(sequence) => *row,
        _ => 0,
    }
}

/// Reads on from a position.
pub(crate) struct Entries {
    pub(crate) cutter: Cutter,
    pub(crate) reader: Reader,
    /// Everything up to here was given.
    pub(crate) from: Position,
    pub(crate) reading: Option<Reading>,
    /// Is told of each request that was given, unless that is done again.
    pub(crate) retention: Option<Arc<Mutex<Retention>>>,
}

impl Entries {
    /// The next rows up to `stop`, or `None` if there are none now.
    ///
    /// # Errors
    ///
    /// If the disk does not give what it has: asking again goes on at the same place. Or if another version of the program
    /// wrote it: that is the end.
    pub(crate) fn next(&mut self, stop: &Position) -> Result<Option<Read>, FrameError> {
        loop {
            if let Some(mut reading) = self.reading.take() {
                let read = self.cutter.cut(&mut reading, &self.from, stop);
                match reading.ended() {
                    Some(ended) => self.end(ended),
                    None => self.reading = Some(reading),
                }
                if let Some(read) = read {
                    self.from = read.span.to.clone();
                    return Ok(Some(read));
                }
                if self.from >= *stop {
                    return Ok(None);
                }
            }
            let (sequence, why) = match self.reader.read()? {
                None => return Ok(None),
                Some(Entry::Lost { first, last }) => {
                    let read = read_of(&self.from, last);
                    let before = if read > 0 {
                        format!(", {read} rows of the last one were read before")
                    } else {
                        String::new()
                    };
                    (last, format!("requests {first} to {last} of the spool are damaged{before}"))
                }
                // Where a replay ends was damaged since.
                Some(Entry::Frame { sequence, .. }) if at(sequence, 0) > *stop => return Ok(None),
                Some(Entry::Frame { sequence, payload }) => {
                    let other = || OtherFormat::new(self.reader.place(), sequence, &payload, VERSION);
                    let frame = Frame::read(payload.clone()).ok_or_else(other)?;
                    self.reading = Some(Reading::new(sequence, frame));
                    continue;
                }
            };
            tracing::warn!("{why}");
            let end = at(sequence, if read_of(&self.from, sequence) > 0 { REST } else { 0 });
            self.end(Ended { sequence, end: end.clone(), id: None });
            if let Some(read) = self.cutter.unreadable(end.min(stop.clone()), &self.from, why) {
                self.from = read.span.to.clone();
                return Ok(Some(read));
            }
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(retention) = &self.retention {
            lock(retention).read(ended);
        }
    }
}

/// Spans that are read again.
pub(crate) struct Spans {
    path: PathBuf,
    cutter: Cutter,
    due: VecDeque<Span>,
    /// For the first of the spans.
    entries: Option<Entries>,
}

impl Spans {
    /// Finds the spool, of which `cutter` is made by its number.
    pub(crate) fn open(path: &Path, cutter: impl FnOnce(u64) -> Cutter, due: VecDeque<Span>) -> Result<Self, BoxError> {
        let number = Reader::open(disk(path)?, None)?.map(|it| it.spool());
        let cutter = cutter(number.unwrap_or_default());
        if let Some(span) = due.iter().find(|it| number.is_none() || it.partition != cutter.partition) {
            let place = path.display();
            return Err(format!("{span} is not in the spool at `{place}`: it was removed or replaced").into());
        }
        Ok(Self { path: path.to_owned(), cutter, due, entries: None })
    }

    /// The next rows, or `None` at the end of the last span.
    pub(crate) fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            let Some(span) = self.due.front().cloned() else { return Ok(None) };
            let entries = match &mut self.entries {
                Some(entries) => entries,
                None => {
                    let reader = Reader::open(disk(&self.path)?, before(&span.from))?.ok_or("the spool is gone")?;
                    let (cutter, from) = (self.cutter.clone(), span.from.clone());
                    self.entries.insert(Entries { cutter, reader, from, reading: None, retention: None })
                }
            };
            if entries.from >= span.to {
                self.due.pop_front();
                self.entries = None;
                continue;
            }
            return match entries.next(&span.to)? {
                Some(read) => Ok(Some(read)),
                None => Err(format!("{span} ends at {} in the spool", entries.from).into()),
            };
        }
    }
}

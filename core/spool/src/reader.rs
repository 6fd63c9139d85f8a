//! The reading side: frames in their order, and what cannot be read of them.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::format::file_name;
use crate::scan::{Scan, Step};
use crate::segments::{Segment, Segments, found, readable, spool_number};
use crate::{OpenError, ReadError};

/// Who writes may remove a segment between two looks at it. So often is looked anew.
const LOOKS: usize = 5;

/// What a reader gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A frame, as it was appended.
    Frame {
        /// Its number.
        sequence: u64,
        /// What was appended.
        payload: Bytes,
    },
    /// Frames that were there and cannot be read any more, or that a power cut kept from becoming durable.
    Lost {
        /// The number of the first of them.
        first: u64,
        /// The number of the last of them.
        last: u64,
    },
}

impl Entry {
    /// The last sequence number that it speaks for.
    pub fn last(&self) -> u64 {
        match self {
            Self::Frame { sequence, .. } => *sequence,
            Self::Lost { last, .. } => *last,
        }
    }
}

/// Reads frames one after the other. It blocks where the disk does.
pub struct Reader {
    disk: Arc<dyn Disk>,
    spool: u64,
    segments: Segments,
    /// The sequence number that is due.
    next: u64,
    open: Option<(u64, Scan)>,
    /// A frame behind those that are lost, of which was told first.
    behind: Option<Entry>,
}

impl Reader {
    /// Reads a spool as it is now, without holding it: others may write to it. `None` if there is no segment.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none.
    pub fn open(disk: Arc<dyn Disk>, after: Option<u64>) -> Result<Option<Self>, OpenError> {
        let mut looks = 1..LOOKS;
        loop {
            match Self::look(disk.clone(), after) {
                Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && looks.next().is_some() => {
                }
                looked => return looked,
            }
        }
    }

    fn look(disk: Arc<dyn Disk>, after: Option<u64>) -> Result<Option<Self>, OpenError> {
        let found = found(&*disk).map_err(|error| OpenError::io(&*disk, "read", error))?;
        let Some(spool) = spool_number(&*disk, &found)? else { return Ok(None) };
        let segments = Segments::default();
        let readable = readable(&*disk, spool, &found, true)?;
        segments.with(|it| *it = readable);
        Ok(Some(Self::new(disk, spool, segments, after)))
    }

    pub(crate) fn new(disk: Arc<dyn Disk>, spool: u64, segments: Segments, after: Option<u64>) -> Self {
        let oldest = segments.oldest().map_or(1, |it| it.first);
        let next = after.map_or(oldest, |it| it + 1);
        Self { disk, spool, segments, next, open: None, behind: None }
    }

    /// The spool's own number.
    pub fn spool(&self) -> u64 {
        self.spool
    }

    /// Where the spool is, for messages.
    pub fn place(&self) -> String {
        self.disk.place()
    }

    /// The sequence number that is due: of the next frame, or a lower one if some are left out.
    pub fn due(&self) -> u64 {
        self.behind.as_ref().map_or(self.next, Entry::last)
    }

    /// What comes next; `None` if there is nothing more now.
    ///
    /// # Errors
    ///
    /// If the disk does not give what it has. Asking again goes on at the same place.
    pub fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        if let Some(behind) = self.behind.take() {
            return Ok(Some(behind));
        }
        loop {
            let Some(segment) = self.segments.holding(self.next) else { return Ok(None) };
            if self.next < segment.first {
                // Numbers between `after` and `first` were never given to a frame.
                let last = segment.after.min(segment.first - 1);
                let lost = self.lost(last);
                self.next = segment.first;
                match lost {
                    Some(lost) => return Ok(Some(lost)),
                    None => continue,
                }
            }
            match self.step(segment) {
                Ok(Some(entry)) => return Ok(Some(entry)),
                Ok(None) => {}
                Err(error) => {
                    self.open = None;
                    return Err(ReadError { place: self.disk.place(), source: error });
                }
            }
            // What of this segment counts was read, or cannot be.
            let last = segment.last.unwrap_or(0);
            if let Some(lost) = self.lost(last) {
                return Ok(Some(lost));
            }
            if !segment.is_sealed {
                return Ok(None);
            }
        }
    }

    /// The next frame of a segment that counts and was not read yet, or what is lost before it.
    fn step(&mut self, segment: Segment) -> std::io::Result<Option<Entry>> {
        if self.open.as_ref().is_none_or(|it| it.0 != segment.number) {
            let file = self.disk.open(&file_name(segment.number))?;
            let begin = crate::format::HEADER_BYTES as u64;
            self.open = Some((segment.number, Scan::new(file, segment.seed, begin)));
        }
        let Some((_, scan)) = &mut self.open else { return Ok(None) };
        let last = segment.last.unwrap_or(u64::MAX);
        loop {
            match scan.next(segment.bytes)? {
                Step::Frame(frame) if frame.sequence < self.next || frame.sequence > last => {}
                Step::Frame(frame) => {
                    let lost = self.lost(frame.sequence - 1);
                    self.next = frame.sequence + 1;
                    let frame = Entry::Frame { sequence: frame.sequence, payload: frame.payload };
                    let Some(lost) = lost else { return Ok(Some(frame)) };
                    self.behind = Some(frame);
                    return Ok(Some(lost));
                }
                Step::Damaged { .. } => {}
                Step::Rest { .. } | Step::End => return Ok(None),
            }
        }
    }

    /// Everything that is due up to `last` is lost, if there is any.
    fn lost(&mut self, last: u64) -> Option<Entry> {
        let first = self.next;
        self.next = self.next.max(last + 1);
        (first <= last).then_some(Entry::Lost { first, last })
    }
}

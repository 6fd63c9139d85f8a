//! Which segments there are: what the writer tells the readers.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::OpenError;
use crate::disk::Disk;
use crate::format::{BadHeader, HEADER_BYTES, Header, Seed, file_name, file_number};
use crate::scan::{Scan, Step};

/// A segment, as far as it may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub number: u64,
    pub seed: Seed,
    /// The last sequence number that counts in the segments before.
    pub after: u64,
    /// The first sequence number in it.
    pub first: u64,
    /// The last one that counts; `None` if that is not known, because it is the last segment and was not looked at.
    pub last: Option<u64>,
    /// So many bytes may be read.
    pub bytes: u64,
    /// Nothing is added to it any more.
    pub is_sealed: bool,
}

/// The segments of a spool, in their order.
#[derive(Clone, Default)]
pub(crate) struct Segments(Arc<Mutex<Vec<Segment>>>);

impl Segments {
    pub fn with<T>(&self, look: impl FnOnce(&mut Vec<Segment>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The segment in which this sequence number, or the next one that there is, may stand.
    pub fn holding(&self, sequence: u64) -> Option<Segment> {
        self.with(|it| it.iter().find(|it| it.last.is_none_or(|last| last >= sequence) || !it.is_sealed).copied())
    }

    pub fn numbered(&self, number: u64) -> Option<Segment> {
        self.with(|it| it.iter().find(|it| it.number == number).copied())
    }

    pub fn oldest(&self) -> Option<Segment> {
        self.with(|it| it.first().copied())
    }
}

/// A segment as it was found on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub number: u64,
    pub bytes: u64,
    pub header: Result<Header, BadHeader>,
}

/// Looks at the headers of all segments.
pub(crate) fn found(disk: &dyn Disk) -> io::Result<Vec<Found>> {
    let mut numbers: Vec<u64> = disk.names()?.iter().filter_map(|it| file_number(it)).collect();
    numbers.sort_unstable();
    let look = |number: u64| {
        let file = match disk.open(&file_name(number)) {
            // Who writes has deleted it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut head = [0; HEADER_BYTES];
        let mut filled = 0;
        while filled < head.len() {
            match file.read_at(filled as u64, &mut head[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        let header = Header::decode(&head[..filled]).and_then(|it| match it.number == number {
            true => Ok(it),
            false => Err(BadHeader::Damaged),
        });
        Ok(Some(Found { number, bytes: file.len()?, header }))
    };
    numbers.into_iter().filter_map(|it| look(it).transpose()).collect()
}

impl Found {
    /// Whether a crash came before the segment was there: no frame is written before its header is durable.
    pub fn is_unborn(&self) -> bool {
        self.header == Err(BadHeader::Damaged) && self.bytes <= HEADER_BYTES as u64
    }
}

/// The spool's number, on which all readable headers must agree; `None` if there is no segment.
pub(crate) fn spool_number(disk: &dyn Disk, found: &[Found]) -> Result<Option<u64>, OpenError> {
    let mut spool = None;
    for segment in found {
        match segment.header {
            Ok(header) if spool.is_some_and(|it| it != header.spool) => {
                let what = format!("segment `{}` is of another spool", file_name(segment.number));
                return Err(OpenError::Foreign { place: disk.place(), what });
            }
            Ok(header) => spool = Some(header.spool),
            Err(BadHeader::Version(version)) => {
                let name = file_name(segment.number);
                let what = format!("segment `{name}` has version {version}, and this program reads version 1");
                return Err(OpenError::Foreign { place: disk.place(), what });
            }
            Err(BadHeader::Damaged) => {}
        }
    }
    if spool.is_none() && found.iter().any(|it| !it.is_unborn()) {
        let what = "no segment has a header that can be read".to_owned();
        return Err(OpenError::Foreign { place: disk.place(), what });
    }
    Ok(spool)
}

/// What a walk over a whole segment finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub frames: u64,
    pub payload_bytes: u64,
    /// Bytes that are no frame, with frames behind them.
    pub damaged: Vec<(u64, u64)>,
    /// Where the last frame ends.
    pub end: u64,
}

pub(crate) fn walk(disk: &dyn Disk, number: u64, seed: Seed, bytes: u64) -> io::Result<Walked> {
    let begin = HEADER_BYTES as u64;
    let mut scan = Scan::new(disk.open(&file_name(number))?, seed, begin);
    let mut walked = Walked { end: begin.min(bytes), ..Walked::default() };
    let mut damaged = Vec::new();
    loop {
        match scan.next(bytes)? {
            // A number that does not rise is not the next frame, whatever its sum says.
            Step::Frame(frame) if walked.last.is_some_and(|it| it >= frame.sequence) => {
                damaged.push((walked.end, frame.end));
            }
            Step::Frame(frame) => {
                walked.first.get_or_insert(frame.sequence);
                walked.last = Some(frame.sequence);
                walked.frames += 1;
                walked.payload_bytes += frame.payload.len() as u64;
                walked.end = frame.end;
                walked.damaged.append(&mut damaged);
            }
            Step::Damaged { from, to } => damaged.push((from, to)),
            Step::Rest { .. } | Step::End => return Ok(walked),
        }
    }
}

/// The segments as they may be read, in their order, without those that were never born. `last` of the last one is
/// what its frames say, if `to_the_end`.
pub(crate) fn readable(
    disk: &dyn Disk,
    spool: u64,
    found: &[Found],
    to_the_end: bool,
) -> Result<Vec<Segment>, OpenError> {
    let born: Vec<&Found> = found.iter().filter(|it| !it.is_unborn()).collect();
    let mut segments: Vec<Segment> = Vec::with_capacity(born.len());
    for (nth, it) in born.iter().enumerate() {
        let seed = Seed::new(spool, it.number);
        let is_last = nth + 1 == born.len();
        let next_after = born.get(nth + 1).and_then(|it| it.header.ok()).map(|it| it.after);
        let looked = match (it.header, next_after) {
            (Ok(_), Some(_)) => None,
            (Ok(_), None) if is_last && !to_the_end => None,
            _ => Some(walk(disk, it.number, seed, it.bytes).map_err(|error| OpenError::io(disk, "read", error))?),
        };
        let before = segments.last().and_then(|it| it.last).unwrap_or(0);
        let (after, first) = match (it.header, &looked) {
            (Ok(header), _) => (header.after, header.first),
            // What its header said is lost; its frames say the same, if the first one is whole.
            (Err(_), looked) => (before, looked.as_ref().and_then(|it| it.first).unwrap_or(before + 1)),
        };
        let walked_last = looked.as_ref().map(|it| it.last.unwrap_or(first.saturating_sub(1)));
        let last = next_after.or(walked_last);
        segments.push(Segment { number: it.number, seed, after, first, last, bytes: it.bytes, is_sealed: !is_last });
    }
    Ok(segments)
}

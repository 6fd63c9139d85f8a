//! What is in a spool, for people; and repair.

use std::io;

use crate::OpenError;
use crate::disk::{Disk, DiskFile};
use crate::format::{BadHeader, HEADER_BYTES, Header, Seed, encode_frame, file_name};
use crate::scan::{Scan, Step};
use crate::segments::{Segment, found, readable, spool_number, walk};

/// What the name of a segment ends with that was set aside by a repair.
pub const DAMAGED: &str = ".damaged";

/// What is in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The spool's own number; `None` if there is no segment.
    pub spool: Option<u64>,
    /// Its segments, in their order.
    pub segments: Vec<SegmentInspection>,
    /// The segments as they were before a repair, with their bytes. They are for people to look at and to remove: nothing
    /// reads them, and no limit counts them.
    pub set_aside: Vec<(String, u64)>,
}

/// What is in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The name of its file.
    pub name: String,
    /// The bytes of the file.
    pub bytes: u64,
    /// When it was made, in milliseconds since 1970; `None` if its header is damaged.
    pub created_millis: Option<u64>,
    /// The first and the last sequence number of its whole frames.
    pub sequences: Option<(u64, u64)>,
    /// How many whole frames there are.
    pub frames: u64,
    /// The bytes of their payloads.
    pub payload_bytes: u64,
    /// Stretches of bytes that are no whole frame, with whole frames behind them.
    pub damaged: Vec<(u64, u64)>,
    /// Bytes behind the last whole frame.
    pub torn_bytes: u64,
}

impl SegmentInspection {
    /// Whether there is nothing but whole frames.
    pub fn is_whole(&self) -> bool {
        self.created_millis.is_some() && self.damaged.is_empty() && self.torn_bytes == 0
    }
}

/// What was done to a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Segments that were written anew with their whole frames alone.
    pub rewritten: Vec<Rewritten>,
}

/// A segment that was written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The name of its file.
    pub name: String,
    /// The file that has it as it was, with [`DAMAGED`] at the end of its name. It stays until somebody removes it,
    /// whatever is repaired later.
    pub set_aside: String,
}

/// Looks at every frame. Changes nothing, and may run beside a process that writes: the last segment may then seem to be
/// torn.
///
/// # Errors
///
/// If the directory is no spool, or cannot be read.
pub fn inspect(disk: &dyn Disk) -> Result<Inspection, OpenError> {
    let read = |error: io::Error| OpenError::io(disk, "read", error);
    let found = found(disk).map_err(read)?;
    let spool = spool_number(disk, &found)?;
    let mut segments = Vec::new();
    for it in found {
        let seed = Seed::new(spool.unwrap_or_default(), it.number);
        let walked = walk(disk, it.number, seed, it.bytes).map_err(read)?;
        segments.push(SegmentInspection {
            name: file_name(it.number),
            bytes: it.bytes,
            created_millis: it.header.ok().map(|it| it.created_millis),
            sequences: walked.first.zip(walked.last),
            frames: walked.frames,
            payload_bytes: walked.payload_bytes,
            torn_bytes: it.bytes - walked.end,
            damaged: walked.damaged,
        });
    }
    let mut set_aside = Vec::new();
    for name in disk.names().map_err(read)?.into_iter().filter(|it| it.ends_with(DAMAGED)) {
        match disk.open(&name).and_then(|it| it.len()) {
            // Somebody removes it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            bytes => set_aside.push((name, bytes.map_err(read)?)),
        }
    }
    set_aside.sort_unstable();
    Ok(Inspection { spool, segments, set_aside })
}

/// Writes damaged segments anew, with their whole frames alone. What is lost stays lost, and readers go on to say so; but
/// nothing stumbles over the damage any more. The torn tail
/// of the last segment is left to the next start.
///
/// # Errors
///
/// If another process has the spool, if the directory is none, or if the disk fails.
pub fn repair(disk: &dyn Disk) -> Result<Repaired, OpenError> {
    let failed = |error: io::Error| OpenError::io(disk, "repaired", error);
    let lock = disk.lock().map_err(failed)?;
    let _lock = lock.ok_or_else(|| OpenError::Busy { place: disk.place() })?;
    let found = found(disk).map_err(failed)?;
    let Some(spool) = spool_number(disk, &found)? else { return Ok(Repaired::default()) };
    let segments = readable(disk, spool, &found, true)?;
    let mut rewritten = Vec::new();
    for segment in segments {
        // The next start cuts a torn tail off, and must see how long it is: no number that may have stood in it is used again.
        let is_last = !segment.is_sealed;
        let walked = walk(disk, segment.number, segment.seed, segment.bytes).map_err(failed)?;
        let header = found.iter().find(|it| it.number == segment.number).map(|it| it.header);
        let is_whole = walked.damaged.is_empty() && (is_last || walked.end == segment.bytes);
        if is_whole && !matches!(header, Some(Err(BadHeader::Damaged))) {
            continue;
        }
        let created_millis = header.and_then(Result::ok).map_or(0, |it| it.created_millis);
        let header =
            Header { spool, number: segment.number, after: segment.after, first: segment.first, created_millis };
        let set_aside = rewrite(disk, segment, header, is_last.then_some(walked.end)).map_err(failed)?;
        rewritten.push(Rewritten { name: file_name(segment.number), set_aside });
    }
    Ok(Repaired { rewritten })
}

/// Writes the whole frames of a segment to another file, which takes its place; and all from `tail` on. Gives the name under
/// which it is kept as it was.
fn rewrite(disk: &dyn Disk, segment: Segment, header: Header, tail: Option<u64>) -> io::Result<String> {
    let name = file_name(segment.number);
    let new = format!("{name}.new");
    let file = create_anew(disk, &new)?;
    file.write_at(0, &header.encode())?;
    let mut written = HEADER_BYTES as u64;
    let mut scan = Scan::new(disk.open(&name)?, segment.seed, HEADER_BYTES as u64);
    let mut last = None;
    let mut bytes = Vec::new();
    loop {
        match scan.next(segment.bytes)? {
            Step::Frame(frame) if last.is_some_and(|it| it >= frame.sequence) => {}
            Step::Frame(frame) => {
                last = Some(frame.sequence);
                bytes.clear();
                encode_frame(frame.sequence, &frame.payload, segment.seed, &mut bytes);
                file.write_at(written, &bytes)?;
                written += bytes.len() as u64;
            }
            Step::Damaged { .. } => {}
            Step::Rest { .. } | Step::End => break,
        }
    }
    if let Some(tail) = tail {
        copy_bytes(&*disk.open(&name)?, tail, &*file, written)?;
    }
    file.sync()?;
    // First a copy, so that at no time the segment is not there.
    let set_aside = set_aside(disk, &name)?;
    disk.rename(&new, &name)?;
    disk.sync_directory()?;
    Ok(set_aside)
}

/// Keeps a copy of a file under a name that nothing has. It has it only once it is whole.
fn set_aside(disk: &dyn Disk, name: &str) -> io::Result<String> {
    let copy = format!("{name}.copy");
    let to = create_anew(disk, &copy)?;
    copy_bytes(&*disk.open(name)?, 0, &*to, 0)?;
    to.sync()?;
    let names = disk.names()?;
    let mut set_aside = format!("{name}{DAMAGED}");
    let mut number = 1;
    while names.contains(&set_aside) {
        number += 1;
        set_aside = format!("{name}.{number}{DAMAGED}");
    }
    disk.rename(&copy, &set_aside)?;
    disk.sync_directory()?;
    Ok(set_aside)
}

/// Makes a file, in place of what an earlier try left.
fn create_anew(disk: &dyn Disk, name: &str) -> io::Result<Box<dyn DiskFile>> {
    if disk.names()?.iter().any(|it| it == name) {
        disk.remove(name)?;
    }
    disk.create(name)
}

fn copy_bytes(from: &dyn DiskFile, mut at: u64, to: &dyn DiskFile, mut written: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = from.read_at(at, &mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        to.write_at(written, &buffer[..n])?;
        (at, written) = (at + n as u64, written + n as u64);
    }
}

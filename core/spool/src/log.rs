//! The writing side, without threads: frames go into the last segment, and a sync makes them durable.

use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, NoFile, is_full};
use crate::format::{FRAME_BYTES, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX, Seed, encode_head, file_name};
use crate::segments::{Segment, Segments, found, readable, spool_number};
use crate::{AppendError, OpenError, Options};

/// So much is written at a time: more would be no quicker, and a second copy of all that waits would be in memory. Tests
/// write many pieces.
const PIECE_BYTES: usize = if cfg!(test) { 300 } else { 1 << 20 };

/// The one writer of a spool.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    options: Options,
    spool: u64,
    pub segments: Segments,
    active: Active,
    /// The number of the next segment.
    next_segment: u64,
    /// The last sequence number that is durable, or that was left out before the first one that will be.
    pub durable: u64,
    /// The last one that a durable frame has.
    last_frame: u64,
    /// What was written since, to be written anew if a sync fails.
    unsynced: Vec<(u64, Bytes)>,
    /// The bytes of these payloads.
    unsynced_bytes: usize,
    /// All bytes of all segments.
    bytes: u64,
    /// What is written next, kept for its room.
    piece: Vec<u8>,
    _lock: Box<dyn Send + Sync>,
}

/// The segment that is written to.
struct Active {
    number: u64,
    seed: Seed,
    file: Box<dyn DiskFile>,
    written: u64,
    begun: Instant,
    /// A sync failed, or what a failed write left could not be cut off, or it is the last one of a life before, or there was
    /// no room for one: nothing is written to it any more.
    is_poisoned: bool,
}

impl Active {
    fn new(header: Header, file: Box<dyn DiskFile>) -> Self {
        let (number, seed, written) = (header.number, header.seed(), HEADER_BYTES as u64);
        Self { number, seed, file, written, begun: Instant::now(), is_poisoned: false }
    }

    /// Writes frames behind what is there, and says where they end.
    fn write<'a>(&self, frames: impl Iterator<Item = (u64, &'a Bytes)>, piece: &mut Vec<u8>) -> io::Result<u64> {
        piece.clear();
        let mut pieces = Pieces { file: &*self.file, at: self.written, piece };
        for (sequence, payload) in frames {
            pieces.push(&encode_head(sequence, payload, self.seed))?;
            pieces.push(payload)?;
        }
        pieces.flush()?;
        Ok(pieces.at)
    }
}

/// Bytes on their way to a file.
struct Pieces<'a> {
    file: &'a dyn DiskFile,
    /// Where the piece is written to.
    at: u64,
    piece: &'a mut Vec<u8>,
}

impl Pieces<'_> {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.piece.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        if bytes.len() > PIECE_BYTES {
            self.file.write_at(self.at, bytes)?;
            self.at += bytes.len() as u64;
        } else {
            self.piece.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.file.write_at(self.at, self.piece)?;
            self.at += self.piece.len() as u64;
            self.piece.clear();
        }
        Ok(())
    }
}

impl Log {
    /// Opens the spool on a disk, or makes one. Cuts off a torn tail.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let failed = |doing: &'static str| {
            let disk = disk.clone();
            move |error: io::Error| OpenError::io(&*disk, doing, error)
        };
        let lock = disk.lock().map_err(failed("locked"))?;
        let lock = lock.ok_or_else(|| OpenError::Busy { place: disk.place() })?;
        let found = found(&*disk).map_err(failed("read"))?;
        let spool = spool_number(&*disk, &found)?.unwrap_or_else(random);
        for unborn in found.iter().filter(|it| it.is_unborn()) {
            tracing::info!(spool = disk.place(), segment = unborn.number, "removed a segment that was never begun");
            disk.remove(&file_name(unborn.number)).map_err(failed("tidied up"))?;
        }
        let mut segments = readable(&*disk, spool, &found, true)?;
        let durable = segments.last().and_then(|it| it.last).unwrap_or(0);
        let oldest_after = segments.first().map_or(0, |it| it.after);
        let last_frame = segments.iter().rfind(|it| has_frames(it)).and_then(|it| it.last).unwrap_or(oldest_after);
        // Numbers that may have stood in the bytes that are cut off are not used again: a sink may have rows of them.
        let mut lost = 0;
        if let Some(last) = segments.last_mut() {
            last.is_sealed = true;
            let end = crate::segments::walk(&*disk, last.number, last.seed, last.bytes).map_err(failed("read"))?.end;
            let torn = last.bytes - end;
            if torn > 0 {
                let place = disk.place();
                tracing::warn!(spool = place, segment = last.number, bytes = torn, "cut off a torn tail");
                lost = torn.div_ceil(FRAME_BYTES as u64);
            }
            // After a kill the frames may be known to the operating system alone; before anybody reads them they must be
            // durable.
            let settle = || -> io::Result<()> {
                let file = disk.open(&file_name(last.number))?;
                if torn > 0 {
                    file.set_len(end)?;
                }
                file.sync()
            };
            settle().map_err(failed("made durable"))?;
            last.bytes = end;
        }
        let first = (durable + lost).max(options.after) + 1;
        let number = found.last().map_or(1, |it| it.number + 1);
        let header = Header { spool, number, after: last_frame, first, created_millis: now() };
        let is_whole = |it: &Segment| found.iter().any(|found| found.number == it.number && found.header.is_ok());
        let (active, begun) = match create(&*disk, header) {
            Ok(file) => {
                // Every start leaves a segment without frames. They are of no use, and no harm if they cannot be removed.
                // Those of which nothing can be read are left for somebody to look at.
                for empty in segments.extract_if(.., |it| !has_frames(it) && is_whole(it)) {
                    remove_empty(&*disk, empty.number);
                }
                (Active::new(header, file), Some(header))
            }
            // There is no room for another segment. What is there can be read and let go all the same, and that may be
            // what makes room, or somebody else does; the first write for which there is some begins the segment.
            Err(error) if is_full(&error) => {
                tracing::warn!(spool = disk.place(), "it is opened to be read, since it cannot be written to: {error}");
                let (number, seed, written, file) = match segments.last() {
                    Some(last) => {
                        let file = disk.open(&file_name(last.number)).map_err(failed("read"))?;
                        (last.number, last.seed, last.bytes, file)
                    }
                    None => (number, header.seed(), 0, Box::new(NoFile) as Box<dyn DiskFile>),
                };
                (Active { number, seed, file, written, begun: Instant::now(), is_poisoned: true }, None)
            }
            Err(error) => return Err(failed("begun")(error)),
        };
        let log = Self {
            options,
            spool,
            active,
            next_segment: number + 1,
            durable: first - 1,
            last_frame,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            bytes: segments.iter().map(|it| it.bytes).sum::<u64>() + begun.map_or(0, |_| HEADER_BYTES as u64),
            piece: Vec::new(),
            segments: Segments::default(),
            _lock: lock,
            disk,
        };
        log.segments.with(|it| *it = segments);
        if let Some(header) = begun {
            log.enter(header);
        }
        Ok(log)
    }

    /// The spool's own number.
    pub fn spool(&self) -> u64 {
        self.spool
    }

    /// All bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether something was written that is not durable yet.
    pub fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The bytes of payloads that are not durable yet.
    pub fn unsynced_bytes(&self) -> usize {
        self.unsynced_bytes
    }

    /// Writes payloads, one frame each, in their order; says how many, and why not the others. They are not durable.
    pub fn write(&mut self, mut payloads: Vec<Bytes>) -> (usize, Option<AppendError>) {
        if let Err(error) = self.prepare() {
            return (0, Some(error));
        }
        let room = self.options.bytes_max.saturating_sub(self.bytes);
        let mut refused = None;
        let mut bytes = 0;
        let mut count = 0;
        for payload in &payloads {
            if payload.len() > PAYLOAD_BYTES_MAX {
                refused = Some(AppendError::TooLarge);
                break;
            }
            bytes += (FRAME_BYTES + payload.len()) as u64;
            if bytes > room {
                refused = Some(AppendError::Full);
                break;
            }
            count += 1;
        }
        payloads.truncate(count);
        let first = self.last() + 1;
        match self.active.write((first..).zip(&payloads), &mut self.piece) {
            Ok(end) => self.wrote(end),
            Err(error) => {
                tracing::warn!(spool = self.disk.place(), "frames could not be written: {error}");
                // Some of them may be there. They must not be taken for frames that are written later.
                self.active.is_poisoned = self.active.file.set_len(self.active.written).is_err();
                return (0, Some(AppendError::of(&error)));
            }
        }
        self.unsynced_bytes += payloads.iter().map(Bytes::len).sum::<usize>();
        self.unsynced.extend((first..).zip(payloads));
        (count, refused)
    }

    /// Makes all that was written durable. After an error none of it is; it may be given up, with
    /// [`Log::forget`], or kept: the next write or sync writes it once more.
    ///
    /// A file of which a sync failed is never synced again: what was written since is written once more, to a new one.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        if !self.active.is_poisoned {
            match self.active.file.sync() {
                Ok(()) => {
                    self.publish();
                    return Ok(());
                }
                Err(error) => {
                    let place = self.disk.place();
                    tracing::warn!(spool = place, "a segment could not be synced, another one is begun: {error}");
                    self.active.is_poisoned = true;
                }
            }
        }
        self.replace()
    }

    /// Gives up what was written and is not durable. Their sequence numbers will be those of other frames.
    pub fn forget(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        self.active.is_poisoned = true;
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        // The operating system may go on to show the bytes that it could not write. Whoever opens the spool next, after
        // a kill, would take them to be durable.
        let durable = self.segments.numbered(self.active.number).map_or(HEADER_BYTES as u64, |it| it.bytes);
        let _ = self.active.file.set_len(durable);
        self.bytes -= self.active.written - durable;
        self.active.written = durable;
    }

    /// Deletes the segments whose frames all stand at or before `up_to`. If it `may_close` the last one, that one too; and if
    /// that is old it is closed, so that what it has does not wait for what comes.
    pub fn release(&mut self, up_to: u64, may_close: bool) -> io::Result<()> {
        self.delete(up_to)?;
        if !may_close {
            return Ok(());
        }
        self.sync().map_err(io::Error::other)?;
        let is_old = self.active.begun.elapsed() >= self.options.segment_age;
        let is_due = |it: &Segment| has_frames(it) && (is_old || it.last.is_some_and(|last| last <= up_to));
        if self.segments.with(|it| it.last().is_some_and(is_due)) {
            self.begin().map_err(io::Error::other)?;
            self.delete(up_to)?;
        }
        Ok(())
    }

    fn delete(&mut self, up_to: u64) -> io::Result<()> {
        let is_done = |it: &Segment| it.is_sealed && it.last.is_some_and(|last| last <= up_to);
        while let Some(oldest) = self.segments.oldest().filter(is_done) {
            match self.disk.remove(&file_name(oldest.number)) {
                // It was removed before, when its directory could not be synced, or by somebody else.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            // One by one, so that what is left after a power cut has no hole.
            self.disk.sync_directory()?;
            self.segments.with(|it| it.remove(0));
            self.bytes -= oldest.bytes;
        }
        Ok(())
    }

    /// The last sequence number that was written.
    pub fn last(&self) -> u64 {
        self.durable + self.unsynced.len() as u64
    }

    /// Makes sure that there is a segment to write to.
    fn prepare(&mut self) -> Result<(), AppendError> {
        if self.active.is_poisoned {
            return self.replace();
        }
        if self.active.written >= self.options.segment_bytes {
            self.sync()?;
            if self.active.written >= self.options.segment_bytes {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Begins a segment in place of one that cannot be written to any more, with all that is not durable yet.
    fn replace(&mut self) -> Result<(), AppendError> {
        self.begin()?;
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let frames = self.unsynced.iter().map(|(sequence, payload)| (*sequence, payload));
        match self.active.write(frames, &mut self.piece).and_then(|end| self.active.file.sync().map(|()| end)) {
            Ok(end) => self.wrote(end),
            Err(error) => {
                tracing::warn!(spool = self.disk.place(), "nor could the new segment be written: {error}");
                self.active.is_poisoned = true;
                return Err(AppendError::of(&error));
            }
        }
        self.publish();
        Ok(())
    }

    /// The segment that is written to ends there now.
    fn wrote(&mut self, end: u64) {
        self.bytes += end - self.active.written;
        self.active.written = end;
    }

    /// Begins the next segment behind the durable frames. The one before is closed if there is one to take its place.
    fn begin(&mut self) -> Result<(), AppendError> {
        let number = self.next_segment;
        self.next_segment += 1;
        let header = Header {
            spool: self.spool,
            number,
            after: self.last_frame,
            first: self.durable + 1,
            created_millis: now(),
        };
        let file = match create(&*self.disk, header) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(spool = self.disk.place(), "a segment could not be begun: {error}");
                // After a power cut its file may be there all the same. It says that in the segment before nothing more
                // counts, so nothing more may be written there.
                self.active.is_poisoned = true;
                return Err(AppendError::of(&error));
            }
        };
        let before = std::mem::replace(&mut self.active, Active::new(header, file));
        self.bytes += HEADER_BYTES as u64;
        let closed = self.segments.with(|it| {
            let last = it.last_mut()?;
            last.is_sealed = true;
            let closed = *last;
            if !has_frames(&closed) {
                it.pop();
            }
            Some(closed)
        });
        if let Some(closed) = closed {
            // What it holds beyond that does not count. If it cannot be cut off, the new segment says so.
            self.bytes -= before.written - closed.bytes;
            if before.written > closed.bytes {
                let _ = before.file.set_len(closed.bytes);
            }
            if !has_frames(&closed) {
                self.bytes -= closed.bytes;
                remove_empty(&*self.disk, closed.number);
            }
        }
        self.enter(header);
        Ok(())
    }

    /// Tells the readers of a segment that has begun.
    fn enter(&self, header: Header) {
        let Header { number, after, first, .. } = header;
        let bytes = HEADER_BYTES as u64;
        let segment =
            Segment { number, seed: header.seed(), after, first, last: Some(first - 1), bytes, is_sealed: false };
        self.segments.with(|it| it.push(segment));
    }

    /// All that was written is durable: readers may see it.
    fn publish(&mut self) {
        self.durable = self.last();
        self.last_frame = self.durable;
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        let (durable, written, number) = (self.durable, self.active.written, self.active.number);
        self.segments.with(|it| {
            if let Some(active) = it.last_mut().filter(|it| it.number == number) {
                (active.last, active.bytes) = (Some(durable), written);
            }
        });
    }
}

/// Whether frames in it count.
pub(crate) fn has_frames(segment: &Segment) -> bool {
    segment.last.is_some_and(|last| last >= segment.first)
}

fn remove_empty(disk: &dyn Disk, number: u64) {
    if let Err(error) = disk.remove(&file_name(number)) {
        tracing::debug!(spool = disk.place(), segment = number, "could not remove an empty segment: {error}");
    }
}

/// Makes a segment, durable with its name, or leaves none.
fn create(disk: &dyn Disk, header: Header) -> io::Result<Box<dyn DiskFile>> {
    let name = file_name(header.number);
    let file = disk.create(&name)?;
    let durable = file.write_at(0, &header.encode()).and_then(|()| file.sync()).and_then(|()| disk.sync_directory());
    match durable {
        Ok(()) => Ok(file),
        Err(error) => {
            // If this fails too, a start finds a segment without frames.
            let _ = disk.remove(&name);
            Err(error)
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64)
}

/// The standard library seeds its hashers from the system's random source.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(now())
}

impl AppendError {
    fn of(error: &io::Error) -> Self {
        if is_full(error) { Self::Full } else { Self::Failed(error.to_string()) }
    }
}

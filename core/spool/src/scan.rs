//! Walks over the frames of a segment, whatever became of its bytes.

use std::io;

use bytes::Bytes;
use memchr::memmem;

use crate::disk::DiskFile;
use crate::format::{FRAME_BYTES, FrameHead, MARKER, Seed};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// A frame, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub sequence: u64,
    pub payload: Bytes,
    /// Where the bytes behind it begin.
    pub end: u64,
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Frame(Frame),
    /// These bytes are no frame, and another head of a frame follows them.
    Damaged {
        from: u64,
        to: u64,
    },
    /// From here on there is no head of a frame.
    Rest {
        from: u64,
    },
    End,
}

/// A walk over one segment.
pub(crate) struct Scan {
    file: Box<dyn DiskFile>,
    seed: Seed,
    offset: u64,
    /// What was read ahead, and where it lies.
    ahead: Bytes,
    ahead_from: u64,
}

impl Scan {
    pub fn new(file: Box<dyn DiskFile>, seed: Seed, offset: u64) -> Self {
        Self { file, seed, offset, ahead: Bytes::new(), ahead_from: 0 }
    }

    /// The next frame before `limit`, where one must end too.
    pub fn next(&mut self, limit: u64) -> io::Result<Step> {
        if self.offset >= limit {
            return Ok(Step::End);
        }
        let from = self.offset;
        if let Some((head, end)) = self.head(from, limit)? {
            let payload = self.bytes(from + FRAME_BYTES as u64, head.bytes, limit)?;
            self.offset = end;
            return Ok(match head.fits(&payload, self.seed) {
                true => Step::Frame(Frame { sequence: head.sequence, payload, end }),
                false => Step::Damaged { from, to: end },
            });
        }
        match self.resynchronise(from + 1, limit)? {
            Some(to) => {
                self.offset = to;
                Ok(Step::Damaged { from, to })
            }
            None => {
                self.offset = limit;
                Ok(Step::Rest { from })
            }
        }
    }

    /// The whole head at an offset, and the end of its frame.
    fn head(&mut self, from: u64, limit: u64) -> io::Result<Option<(FrameHead, u64)>> {
        let bytes = self.bytes(from, FRAME_BYTES, limit)?;
        let head = FrameHead::decode(&bytes, self.seed);
        Ok(head.map(|it| (it, from + (FRAME_BYTES + it.bytes) as u64)).filter(|it| it.1 <= limit))
    }

    /// Where the next head begins, at or after an offset.
    fn resynchronise(&mut self, mut from: u64, limit: u64) -> io::Result<Option<u64>> {
        loop {
            let window = self.bytes(from, CHUNK_BYTES, limit)?;
            if window.len() < FRAME_BYTES {
                return Ok(None);
            }
            for at in memmem::find_iter(&window, &MARKER) {
                let at = from + at as u64;
                if self.head(at, limit)?.is_some() {
                    return Ok(Some(at));
                }
            }
            // A marker may lie across the end of the window.
            from += (window.len() - (MARKER.len() - 1)) as u64;
        }
    }

    /// So many bytes at an offset; fewer if the file or `limit` comes before.
    fn bytes(&mut self, from: u64, count: usize, limit: u64) -> io::Result<Bytes> {
        let count = count.min(usize::try_from(limit.saturating_sub(from)).unwrap_or(usize::MAX));
        let ahead_end = self.ahead_from + self.ahead.len() as u64;
        if from < self.ahead_from || from + count as u64 > ahead_end {
            let wanted = (limit - from).min(count.max(CHUNK_BYTES) as u64) as usize;
            let mut ahead = vec![0; wanted];
            let mut filled = 0;
            while filled < wanted {
                match self.file.read_at(from + filled as u64, &mut ahead[filled..])? {
                    0 => break,
                    n => filled += n,
                }
            }
            ahead.truncate(filled);
            (self.ahead, self.ahead_from) = (ahead.into(), from);
        }
        let start = (from - self.ahead_from) as usize;
        let end = (start + count).min(self.ahead.len());
        Ok(self.ahead.slice(start.min(end)..end))
    }
}

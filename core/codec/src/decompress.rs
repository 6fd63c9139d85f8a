//! Decompression by content, with caps.

use std::io::{self, Cursor, ErrorKind, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::inflate;

/// From here on [`RATIO_MAX`] holds. Below, a file may be as regular as it likes.
pub const RATIO_FREE_BYTES: u64 = 1 << 20;

/// More bytes than this out of one byte in is a bomb. DEFLATE cannot do more than 1032, and that for one byte
/// repeated; access logs come to between 5 and 50.
pub const RATIO_MAX: u64 = 1000;

/// The window that a zstd frame may ask for, as a power of two: 128 MiB, the format's own recommended maximum.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes read, and bytes decompressed, at a time. A zstd block is never larger.
const CHUNK_BYTES: usize = 128 << 10;

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame that zstd skips begins with any of `50..=5f` and these three.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Why there are no more bytes.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The compressed data is not what its format asks for.
    #[error("damaged {format} data at byte {at}: {what}")]
    Damaged {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// Compressed bytes before the damage. For zstd: before the block, or what was read with it.
        at: u64,
        /// What the decompressor says.
        what: String,
    },
    /// The compressed data ends in the middle.
    #[error("the {format} data ends too early, after {at} bytes")]
    Truncated {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// How many compressed bytes there are.
        at: u64,
    },
    /// There is more than the cap allows.
    #[error("it holds more than the {bytes_max} bytes of `object_bytes_max`")]
    TooLarge {
        /// The cap.
        bytes_max: u64,
    },
    /// It grows as no real data does.
    #[error("it grows more than {RATIO_MAX} times when decompressed, at byte {at}: this is not data, but a bomb")]
    Bomb {
        /// Compressed bytes before this was found.
        at: u64,
    },
    /// The bytes could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Coding {
    Unknown,
    Plain,
    Gzip(Decompress),
    AfterGzipMember,
    Zstd { decoder: ZstdDecoder<'static>, in_frame: bool },
    Ended,
}

/// Decompresses gzip (all members), zstd (all frames), or passes plain bytes on.
///
/// What comes out before an error depends on the bytes alone, not on how the input hands them out: a replay of a
/// damaged object gives the same rows.
pub struct Decompressor<R> {
    input: R,
    input_ended: bool,
    compressed: Box<[u8]>,
    compressed_start: usize,
    compressed_end: usize,
    consumed: u64,
    coding: Coding,
    bytes: Box<[u8]>,
    bytes_start: usize,
    bytes_end: usize,
    produced: u64,
    bytes_max: u64,
    failure: Option<DecompressError>,
}

impl Decompressor<Cursor<Bytes>> {
    /// Decompresses an object that is in memory as a whole, and no more than `bytes_max` bytes out of it.
    ///
    /// What is gzip and small is decompressed at once, in half the time. Anything odd about it is left to the usual way,
    /// so that the same bytes and the same error come out as with [`Decompressor::new`].
    pub fn whole(object: Bytes, bytes_max: u64) -> Self {
        let inflated = inflate::whole(&object, usize::try_from(bytes_max).unwrap_or(usize::MAX));
        let inflated = inflated.filter(|it| !may_be_bomb(&object, it.len() as u64));
        let consumed = object.len() as u64;
        let usual = Self::new(Cursor::new(object), bytes_max);
        match inflated {
            Some(bytes) => Self {
                bytes_end: bytes.len(),
                produced: bytes.len() as u64,
                bytes: bytes.into(),
                consumed,
                coding: Coding::Ended,
                ..usual
            },
            None => usual,
        }
    }
}

impl<R: Read> Decompressor<R> {
    /// Decompresses `input`, and no more than `bytes_max` bytes out of it.
    pub fn new(input: R, bytes_max: u64) -> Self {
        Self {
            input,
            input_ended: false,
            compressed: Box::default(),
            compressed_start: 0,
            compressed_end: 0,
            consumed: 0,
            coding: Coding::Unknown,
            bytes: Box::default(),
            bytes_start: 0,
            bytes_end: 0,
            produced: 0,
            bytes_max,
            failure: None,
        }
    }

    /// The next bytes that were not taken yet; none at the end. All bytes before an error come before the error.
    pub fn fill(&mut self) -> Result<&[u8], DecompressError> {
        while self.bytes_start == self.bytes_end {
            if let Some(failure) = self.failure.take() {
                self.coding = Coding::Ended;
                return Err(failure);
            }
            if matches!(self.coding, Coding::Ended) {
                break;
            }
            (self.bytes_start, self.bytes_end) = (0, 0);
            self.failure = self.step().err();
            self.cap();
        }
        Ok(&self.bytes[self.bytes_start..self.bytes_end])
    }

    /// Takes the first `n` of the bytes that [`Decompressor::fill`] gave.
    pub fn take(&mut self, n: usize) -> &[u8] {
        let start = self.bytes_start;
        assert!(n <= self.bytes_end - start, "more bytes are taken than there are");
        self.bytes_start += n;
        &self.bytes[start..start + n]
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Decompresses once into `bytes[bytes_start..bytes_end]`, even if it then fails.
    fn step(&mut self) -> Result<(), DecompressError> {
        match self.coding {
            Coding::Unknown => self.recognise(),
            Coding::Plain => self.pass(),
            Coding::Gzip(_) => self.inflate(),
            Coding::AfterGzipMember => self.next_gzip_member(),
            Coding::Zstd { .. } => self.unzstd(),
            Coding::Ended => Ok(()),
        }
    }

    fn recognise(&mut self) -> Result<(), DecompressError> {
        self.ensure(ZSTD_MAGIC.len())?;
        let head = &self.compressed[..self.compressed_end];
        let skippable = matches!(head, [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE_MAGIC));
        self.coding = if head.starts_with(&GZIP_MAGIC) {
            new_gzip_member()
        } else if head.starts_with(&ZSTD_MAGIC) || skippable {
            let mut decoder = ZstdDecoder::new()?;
            decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
            Coding::Zstd { decoder, in_frame: false }
        } else {
            Coding::Plain
        };
        Ok(())
    }

    fn pass(&mut self) -> Result<(), DecompressError> {
        self.ensure(1)?;
        let waiting = self.compressed_start..self.compressed_end;
        if waiting.is_empty() {
            self.coding = Coding::Ended;
            return Ok(());
        }
        (self.bytes_start, self.bytes_end) = (waiting.start, waiting.end);
        self.consume(waiting.len());
        std::mem::swap(&mut self.compressed, &mut self.bytes);
        Ok(())
    }

    fn inflate(&mut self) -> Result<(), DecompressError> {
        self.ensure(1)?;
        let Coding::Gzip(inflater) = &mut self.coding else {
            return Ok(());
        };
        let waiting = &self.compressed[self.compressed_start..self.compressed_end];
        make_room(&mut self.bytes);
        let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
        let result = inflater.decompress(waiting, &mut self.bytes, FlushDecompress::None);
        // Both counts are right after an error too: what was made before the damage is not lost.
        let consumed = (inflater.total_in() - in_before) as usize;
        self.bytes_end = (inflater.total_out() - out_before) as usize;
        let (starved, stuck) = (waiting.is_empty(), consumed == 0 && self.bytes_end == 0);
        self.consume(consumed);
        let at = self.consumed;
        match result {
            Err(error) => {
                let what = error.message().unwrap_or("it cannot be read").to_owned();
                Err(DecompressError::Damaged { format: "gzip", at, what })
            }
            Ok(Status::StreamEnd) => {
                self.coding = Coding::AfterGzipMember;
                Ok(())
            }
            Ok(_) if stuck && starved => Err(DecompressError::Truncated { format: "gzip", at }),
            Ok(_) if stuck => Err(DecompressError::Damaged { format: "gzip", at, what: "it cannot be read".into() }),
            Ok(_) => Ok(()),
        }
    }

    /// Members may follow each other; zeros may fill up the last block of a tape, and `gzip` skips them too.
    fn next_gzip_member(&mut self) -> Result<(), DecompressError> {
        self.ensure(GZIP_MAGIC.len())?;
        let waiting = &self.compressed[self.compressed_start..self.compressed_end];
        if waiting.is_empty() {
            self.coding = Coding::Ended;
        } else if waiting.starts_with(&GZIP_MAGIC) {
            self.coding = new_gzip_member();
        } else if waiting[0] == 0 {
            let zeros = waiting.iter().take_while(|it| **it == 0).count();
            self.consume(zeros);
        } else {
            let what = "bytes follow that are not gzip".to_owned();
            return Err(DecompressError::Damaged { format: "gzip", at: self.consumed, what });
        }
        Ok(())
    }

    fn unzstd(&mut self) -> Result<(), DecompressError> {
        self.ensure(1)?;
        let Coding::Zstd { decoder, in_frame } = &mut self.coding else {
            return Ok(());
        };
        let waiting = &self.compressed[self.compressed_start..self.compressed_end];
        let at = self.consumed;
        let starved = waiting.is_empty();
        if starved && !*in_frame {
            self.coding = Coding::Ended;
            return Ok(());
        }
        let damaged = |error: io::Error| {
            let what = error.to_string().to_lowercase();
            DecompressError::Damaged { format: "zstd", at, what }
        };
        make_room(&mut self.bytes);
        let done = decoder.run_on_buffers(waiting, &mut self.bytes).map_err(damaged)?;
        *in_frame = done.remaining != 0;
        self.bytes_end = done.bytes_written;
        self.consume(done.bytes_read);
        if starved && done.bytes_written == 0 && done.remaining != 0 {
            return Err(DecompressError::Truncated { format: "zstd", at });
        }
        Ok(())
    }

    /// Holds the caps against what was just made.
    fn cap(&mut self) {
        let allowed = self.bytes_max - self.produced;
        if (self.bytes_end - self.bytes_start) as u64 > allowed {
            self.bytes_end = self.bytes_start + allowed as usize;
            self.failure = Some(DecompressError::TooLarge { bytes_max: self.bytes_max });
        }
        self.produced += (self.bytes_end - self.bytes_start) as u64;
        if self.produced > RATIO_FREE_BYTES && self.produced / RATIO_MAX > self.consumed {
            self.failure.get_or_insert(DecompressError::Bomb { at: self.consumed });
        }
    }

    fn consume(&mut self, n: usize) {
        self.compressed_start += n;
        self.consumed += n as u64;
    }

    /// Makes at least `n` compressed bytes wait, fewer only at the end of the input.
    ///
    /// It then reads until the buffer is full, so that the cuts of the input leave no trace.
    fn ensure(&mut self, n: usize) -> io::Result<()> {
        if self.input_ended || self.compressed_end - self.compressed_start >= n {
            return Ok(());
        }
        make_room(&mut self.compressed);
        self.compressed.copy_within(self.compressed_start..self.compressed_end, 0);
        self.compressed_end -= self.compressed_start;
        self.compressed_start = 0;
        while self.compressed_end < self.compressed.len() {
            match self.input.read(&mut self.compressed[self.compressed_end..]) {
                Ok(0) => {
                    self.input_ended = true;
                    break;
                }
                Ok(read) => self.compressed_end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sets memory aside when it is needed for the first time: an object that is decompressed at once needs none.
fn make_room(buffer: &mut Box<[u8]>) {
    if buffer.is_empty() {
        *buffer = vec![0; CHUNK_BYTES].into();
    }
}

/// Whether an object that makes so many bytes may be found to be a bomb on the way to its end.
///
/// For that, few bytes must make many: those at its beginning, and no more of them than a bomb has that makes it all.
fn may_be_bomb(object: &[u8], makes: u64) -> bool {
    // An inflater may have taken some bytes that it does not need yet.
    const TAKEN_BYTES_MAX: u64 = 64;
    if makes <= RATIO_FREE_BYTES {
        return false;
    }
    let beginning = object.len().min((makes / RATIO_MAX + TAKEN_BYTES_MAX) as usize);
    let mut usual = Decompressor::new(&object[..beginning], u64::MAX);
    loop {
        match usual.fill().map(<[u8]>::len) {
            Ok(0) => return false,
            Ok(n) => {
                usual.take(n);
            }
            Err(error) => return matches!(error, DecompressError::Bomb { .. }),
        }
        if usual.produced > RATIO_FREE_BYTES && usual.produced / RATIO_MAX + TAKEN_BYTES_MAX > usual.consumed {
            return true;
        }
    }
}

fn new_gzip_member() -> Coding {
    Coding::Gzip(Decompress::new_gzip(15))
}

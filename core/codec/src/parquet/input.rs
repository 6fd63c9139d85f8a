//! Brings the bytes of a Parquet file, a good piece at a time, and looks over the header of each page.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::ReadAt;
use super::thrift::{Look, look_over};

/// So many bytes more than are needed are read at once. A header of a page is shorter.
const AHEAD_BYTES: usize = 128 << 10;
/// So many bytes that were read ahead are kept: enough for a hundred columns.
const KEPT_BYTES: usize = 16 << 20;
/// A page of more bytes than this, decompressed, is refused. Writers make pages of 1 MiB; some up to 100 MB.
const PAGE_BYTES_MAX: i64 = 256 << 20;

/// A [`ReadAt`] as the library wants it.
pub struct Input<T>(Arc<Shared<T>>);

struct Shared<T> {
    object: T,
    /// Pieces that were read ahead, with their places. The oldest comes first.
    kept: Mutex<VecDeque<(u64, Bytes)>>,
    /// Why the object could not be read, if that is what went wrong.
    error: Mutex<Option<io::Error>>,
}

impl<T> Clone for Input<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ReadAt> Input<T> {
    pub fn new(object: T) -> Self {
        let (kept, error) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { object, kept, error }))
    }

    pub fn object(&self) -> &T {
        &self.0.object
    }

    /// Why the object could not be read, if that is what went wrong. Asked once.
    pub fn error(&self) -> Option<io::Error> {
        lock(&self.0.error).take()
    }

    /// These bytes, which may come out of what was read ahead.
    fn bytes(&self, offset: u64, bytes: usize) -> Result<Bytes> {
        let left = self.left(offset);
        if left < bytes as u64 {
            return Err(ParquetError::EOF(format!("there are no {bytes} bytes at {offset}")));
        }
        if let Some(piece) = self.kept(offset, bytes) {
            return Ok(piece.slice(..bytes));
        }
        let piece = self.read(offset, left.min((bytes + AHEAD_BYTES) as u64) as usize)?;
        // What is asked for now is not asked for again. A copy of what comes after it lets go of the rest.
        self.keep(offset + bytes as u64, Bytes::copy_from_slice(&piece[bytes..]));
        Ok(piece.slice(..bytes))
    }

    /// The header of a page, and some of what comes after it.
    fn header(&self, offset: u64) -> Result<Bytes> {
        let most = self.left(offset).min(AHEAD_BYTES as u64) as usize;
        if most == 0 {
            return Err(ParquetError::EOF(format!("there is no page at {offset}")));
        }
        // It has a hundred bytes or so, but there may be more to it.
        let header = match self.kept(offset, most.min(1 << 10)) {
            Some(header) if header.len() >= most || look_over(&header, &mut PageSize).is_ok() => header,
            _ => {
                let header = self.read(offset, most)?;
                self.keep(offset, header.clone());
                header
            }
        };
        match look_over(&header, &mut PageSize) {
            Ok(()) => Ok(header),
            Err(why) => Err(ParquetError::General(format!("the header of a page: {why}"))),
        }
    }

    fn left(&self, offset: u64) -> u64 {
        self.len().saturating_sub(offset)
    }

    /// These bytes at least, if they were read before.
    fn kept(&self, offset: u64, bytes: usize) -> Option<Bytes> {
        lock(&self.0.kept).iter().find_map(|(start, piece)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            (from.checked_add(bytes)? <= piece.len()).then(|| piece.slice(from..))
        })
    }

    fn keep(&self, offset: u64, piece: Bytes) {
        let mut kept = lock(&self.0.kept);
        kept.push_back((offset, piece));
        while kept.iter().map(|it| it.1.len()).sum::<usize>() > KEPT_BYTES {
            kept.pop_front();
        }
    }

    fn read(&self, offset: u64, bytes: usize) -> Result<Bytes> {
        let piece = self.0.object.read_at(offset, bytes).and_then(|it| match it.len() == bytes {
            true => Ok(it),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        });
        piece.map_err(|error| {
            *lock(&self.0.error) = Some(error);
            ParquetError::General("the object could not be read".into())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: ReadAt> Length for Input<T> {
    fn len(&self) -> u64 {
        self.0.object.len()
    }
}

impl<T: ReadAt> ChunkReader for Input<T> {
    type T = PageHeader<T>;

    /// The library reads the headers of pages so, and nothing else. Sometimes it does not read at all.
    fn get_read(&self, start: u64) -> Result<PageHeader<T>> {
        Ok(PageHeader { input: self.clone(), start, rest: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.bytes(start, length)
    }
}

/// The header of a page, and what comes after it.
pub struct PageHeader<T> {
    input: Input<T>,
    start: u64,
    rest: Option<Bytes>,
}

impl<T: ReadAt> Read for PageHeader<T> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None => self.rest.insert(self.input.header(self.start).map_err(io::Error::other)?),
        };
        let read = rest.len().min(to.len());
        to[..read].copy_from_slice(&rest.split_to(read));
        Ok(read)
    }
}

/// Finds pages that are too large.
struct PageSize;

impl Look for PageSize {
    fn number(&mut self, path: &[i16], value: i64) -> Result<(), String> {
        match path {
            // `uncompressed_page_size`
            [2] if value > PAGE_BYTES_MAX => Err(format!("it has {value} bytes when decompressed, which is too much")),
            _ => Ok(()),
        }
    }
}

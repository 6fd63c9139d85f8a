//! The bytes of one object of a bucket: as a stream, fetched some ranges ahead; or in any order.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use forebay_codec::ReadAt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::bucket::Bucket;
use crate::object::Object;
use crate::store::{Body, GaveUp, Ranges, Stream};

/// So many ranges are in memory at a time: one that is read, and two that are there or on their way.
pub const CHUNKS_MAX: usize = 3;

/// An object of which the first range is here.
pub struct Begun {
    pub bucket: Bucket,
    pub object: Object,
    pub tries_max: Option<u32>,
    pub first: Bytes,
    /// What its rest is fetched on.
    pub runtime: tokio::runtime::Handle,
}

impl Body for Begun {
    fn whole(&self) -> Option<Bytes> {
        (self.first.len() as u64 == self.object.content.size).then(|| self.first.clone())
    }

    fn stream(self: Box<Self>) -> Box<dyn Stream> {
        let room = Arc::new(Semaphore::new(CHUNKS_MAX));
        let current = Chunk { _room: room.clone().try_acquire_owned().ok(), bytes: self.first.clone() };
        let left = self.object.content.size - self.first.len() as u64;
        Box::new(Chunks { current, left, coming: fetch(*self, room) })
    }

    fn ranges(self: Box<Self>) -> Box<dyn Ranges> {
        self
    }
}

impl ReadAt for Begun {
    fn len(&self) -> u64 {
        self.object.content.size
    }

    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let end = offset + bytes as u64;
        if end <= self.first.len() as u64 {
            return Ok(self.first.slice(offset as usize..end as usize));
        }
        let fetch = self.bucket.bytes(&self.object, offset, end, self.tries_max);
        let fetched = self.runtime.block_on(self.bucket.stop().run_until_cancelled(fetch));
        fetched.unwrap_or_else(|| Err(GaveUp::Closed)).map_err(io::Error::other)
    }
}

impl Ranges for Begun {
    fn verify(&self) -> io::Result<()> {
        // Every answer was held against the object's ETag.
        Ok(())
    }
}

/// A range, which makes room for another one when it is let go.
struct Chunk {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// The bytes of one object, from the first to the last.
struct Chunks {
    current: Chunk,
    /// Bytes that were not taken over into `current` yet.
    left: u64,
    coming: mpsc::Receiver<Result<Chunk, GaveUp>>,
}

impl Chunks {
    /// Waits for the next range.
    fn advance(&mut self) -> io::Result<()> {
        self.current = Chunk { bytes: Bytes::new(), _room: None };
        match self.coming.blocking_recv() {
            Some(Ok(chunk)) => {
                self.left -= chunk.bytes.len() as u64;
                self.current = chunk;
                Ok(())
            }
            Some(Err(gave_up)) => Err(io::Error::other(gave_up)),
            None => Err(io::Error::other(GaveUp::Closed)),
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.current.bytes.has_remaining() && self.left > 0 {
            self.advance()?;
        }
        let n = to.len().min(self.current.bytes.len());
        self.current.bytes.copy_to_slice(&mut to[..n]);
        Ok(n)
    }
}

impl Stream for Chunks {
    fn verify(&mut self) -> io::Result<()> {
        // Every answer was held against the object's ETag.
        Ok(())
    }
}

/// Fetches what follows the first range, as far as there is room.
fn fetch(begun: Begun, room: Arc<Semaphore>) -> mpsc::Receiver<Result<Chunk, GaveUp>> {
    let (to, chunks) = mpsc::channel(CHUNKS_MAX);
    let runtime = begun.runtime.clone();
    runtime.spawn(async move {
        tokio::select! {
            () = begun.bucket.stop().cancelled() => {}
            () = to.closed() => {}
            () = fetch_rest(&begun, &room, &to) => {}
        }
    });
    chunks
}

async fn fetch_rest(begun: &Begun, room: &Arc<Semaphore>, to: &mpsc::Sender<Result<Chunk, GaveUp>>) {
    let Begun { bucket, object, tries_max, .. } = begun;
    let size = object.content.size;
    let mut from = begun.first.len() as u64;
    while from < size {
        let room = room.clone().acquire_owned().await.ok();
        let end = size.min(from + bucket.chunk_bytes());
        let fetched = bucket.bytes(object, from, end, *tries_max).await;
        let gave_up = fetched.is_err();
        if to.send(fetched.map(|bytes| Chunk { bytes, _room: room })).await.is_err() || gave_up {
            return;
        }
        from = end;
    }
}

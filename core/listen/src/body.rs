//! The body of a request: all of it, in time, decompressed, and not too large.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use forebay_api::BoxError;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::Body;
use libdeflater::{Decompressor as Inflater, crc32};
use memchr::memmem;
use tokio::time::timeout;

use crate::memory::{Held, NoMemory};

/// So much is decompressed at a time.
const PIECE_BYTES: usize = 16 << 10;

/// The window that a zstd frame may ask for, as a power of two: 8 MiB, as RFC 9659 says for HTTP.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What a gzip begins with that has nothing but times in its head.
const PLAIN_GZIP: [u8; 4] = [0x1f, 0x8b, 8, 0];

/// DEFLATE makes no more than this out of one byte.
const RATIO_MAX: usize = 1032;

/// Why there is no body.
#[derive(Debug)]
pub enum BodyError {
    /// There are more bytes than are taken.
    TooLarge,
    /// There is no memory left for it.
    NoMemory,
    /// It did not come to its end in time.
    Late,
    /// It ended too early, or its chunks are none.
    Broken(BoxError),
    /// It cannot be decompressed.
    Undecodable(io::Error),
}

impl From<NoMemory> for BodyError {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// All of a body. It is counted as it comes: who sends slowly holds no more than about what was sent, however small the
/// pieces are.
///
/// # Errors
///
/// [`BodyError::TooLarge`] at once, if the body says itself that it is larger than `bytes_max`.
pub async fn collect<B>(
    body: &mut B,
    bytes_max: usize,
    patience: Duration,
    held: &mut Held,
) -> Result<Vec<u8>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut all = pin!(async {
        let mut bytes = Counted { bytes: Vec::new(), bytes_max, beside: 0, held };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
            if let Some(piece) = frame.data_ref() {
                bytes.push(piece)?;
            }
        }
        Ok(bytes.bytes)
    });
    // Most bodies come with their heads, and need no clock.
    match poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx))).await {
        Poll::Ready(done) => done,
        Poll::Pending => timeout(patience, all).await.unwrap_or(Err(BodyError::Late)),
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// It is not.
    Plain,
    /// `gzip`, of which there may be several one after the other.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// What the head of a request says; `None` if it is nothing that is read here.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let Some(coding) = codings.next() else { return Some(Self::Plain) };
        if codings.next().is_some() {
            return None;
        }
        match coding.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Plain),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Decompresses a body, and stops as soon as there is too much. `held`: what was counted for the body; afterwards, what
/// the decompressed one takes.
///
/// What is not counted is the memory of the decoder itself, up to 8 MiB for zstd and 16 MiB for Brotli: let only so many
/// run at a time as there are processors.
pub fn decompress(coding: Coding, body: Vec<u8>, bytes_max: usize, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    let plain = match coding {
        Coding::Plain if body.len() > bytes_max => return Err(BodyError::TooLarge),
        Coding::Plain => return Ok(body),
        Coding::Gzip => match inflated(&body, bytes_max, held) {
            Some(plain) => plain,
            None => decode(flate2::read::MultiGzDecoder::new(&body[..]), &body, bytes_max, held)?,
        },
        Coding::Brotli => decode(brotli::Decompressor::new(&body[..], 4096), &body, bytes_max, held)?,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(BodyError::Undecodable)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(BodyError::Undecodable)?;
            decode(decoder, &body, bytes_max, held)?
        }
    };
    drop(body);
    held.at_most(plain.capacity());
    Ok(plain)
}

/// What a plain gzip of one member holds, all at once: that takes a fraction of the time of a decoder that can stop anywhere.
/// `None` if anything is odd about it: the usual way is to say what.
fn inflated(body: &Vec<u8>, bytes_max: usize, held: &mut Held) -> Option<Vec<u8>> {
    // A member ends with a checksum and the size of what it holds.
    let (_, end) = body.split_last_chunk::<8>()?;
    let [checksum, bytes] = [&end[..4], &end[4..]].map(|it| it.iter().rfold(0, |all, it| all << 8 | u32::from(*it)));
    let is_plain = body.starts_with(&PLAIN_GZIP);
    let bytes = usize::try_from(bytes).ok().filter(|it| *it <= bytes_max.min(body.len().saturating_mul(RATIO_MAX)))?;
    if !is_plain || held.at_least(body.capacity() + bytes).is_err() {
        return None;
    }
    let mut plain = vec![0; bytes];
    let made = Inflater::new().gzip_decompress(body, &mut plain);
    // It does not say where the member ended, but it did with such bytes: if they stand at the end only, it was there.
    let is_whole =
        made == Ok(bytes) && crc32(&plain) == checksum && memmem::find(body, end) == Some(body.len() - end.len());
    if !is_whole {
        held.at_most(body.capacity());
    }
    is_whole.then_some(plain)
}

fn decode(mut decoder: impl Read, body: &Vec<u8>, bytes_max: usize, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    let mut plain = Counted { bytes: Vec::new(), bytes_max, beside: body.capacity(), held };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match decoder.read(&mut piece).map_err(BodyError::Undecodable)? {
            0 => return Ok(plain.bytes),
            read => plain.push(&piece[..read])?,
        }
    }
}

/// Bytes that are counted before they are there.
struct Counted<'a> {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// What else is in memory, and counted.
    beside: usize,
    held: &'a mut Held,
}

impl Counted<'_> {
    fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let due = self.bytes.len() + piece.len();
        if due > self.bytes_max {
            return Err(BodyError::TooLarge);
        }
        if due > self.bytes.capacity() {
            // Twice as much each time, so that bytes are not moved again and again.
            let capacity = due.max(self.bytes_max.min(2 * self.bytes.capacity()));
            self.held.at_least(self.beside + capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

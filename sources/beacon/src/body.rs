//! The body of a request: all of it, in time, decompressed, and not too large.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::Reason;
use crate::frame::Kind;

/// A larger body is decompressed on a thread that may take its time.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// The window that a zstd frame may ask for, as a power of two: 8 MiB, as RFC 9659 says for HTTP.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    /// What the head says; `None` if it is nothing that is read here.
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

/// What a body is by its type; `None` if it is nothing that is read here. Browsers send text as `text/plain`, because that
/// needs no preflight, and an ArrayBuffer without a type.
pub fn kind(headers: &HeaderMap) -> Option<Kind> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Some(Kind::Json) };
    let kind = kind.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "text/plain" | "application/json" | "application/x-ndjson" | "application/ndjson" => Some(Kind::Json),
        "application/jsonl" | "application/json-lines" | "application/ecs+json" => Some(Kind::Json),
        "application/octet-stream" => Some(Kind::Json),
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        _ => None,
    }
}

/// How much is taken, and how long is waited for it.
#[derive(Clone, Debug)]
pub struct Caps {
    pub body_bytes_max: usize,
    pub decoded_bytes_max: usize,
    pub body_timeout: Duration,
    /// What all bodies together may take, in [`BUDGET_BYTES`].
    pub budget: Arc<Semaphore>,
}

/// The smallest piece of memory that is counted.
pub const BUDGET_BYTES: usize = 1 << 10;

/// A body in memory, and its part of what all of them may take.
pub struct Taken {
    pub bytes: Bytes,
    _part: Option<OwnedSemaphorePermit>,
}

/// A part of the memory, or none if there is none left: whoever waited for it would hold what others wait for.
fn part(caps: &Caps, bytes: usize) -> Result<OwnedSemaphorePermit, Reason> {
    let parts = u32::try_from(bytes.div_ceil(BUDGET_BYTES)).map_err(|_| Reason::TooLarge)?;
    caps.budget.clone().try_acquire_many_owned(parts).map_err(|_| Reason::Memory)
}

/// Takes a body.
pub async fn take(body: Incoming, coding: Coding, caps: &Caps) -> Result<Taken, Reason> {
    // Nothing is read of a body that says itself that it is too large.
    if body.size_hint().lower() > caps.body_bytes_max as u64 {
        return Err(Reason::TooLarge);
    }
    let collected = tokio::time::timeout(caps.body_timeout, collect(body, caps)).await;
    let taken = collected.map_err(|_| Reason::Incomplete)??;
    let most = caps.decoded_bytes_max;
    if coding == Coding::Plain {
        return if taken.bytes.len() > most { Err(Reason::TooLarge) } else { Ok(taken) };
    }
    let bytes = match taken.bytes.len() <= INLINE_BYTES_MAX {
        true => decode(coding, &taken.bytes, most)?,
        false => {
            let compressed = taken.bytes.clone();
            let decoded = tokio::task::spawn_blocking(move || decode(coding, &compressed, most)).await;
            decoded.unwrap_or(Err(Reason::Undecodable))?
        }
    };
    Ok(Taken { _part: Some(part(caps, bytes.len())?), bytes })
}

/// All of a body, counted as it comes: who sends slowly holds no more than what it has sent.
async fn collect(mut body: Incoming, caps: &Caps) -> Result<Taken, Reason> {
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        // It ended too early, or is no chunked body.
        let Ok(frame) = frame else { return Err(Reason::Http) };
        let Ok(piece) = frame.into_data() else { continue };
        bytes += piece.len();
        if bytes > caps.body_bytes_max {
            return Err(Reason::TooLarge);
        }
        let part = part(caps, piece.len())?;
        match &mut held {
            Some(held) => held.merge(part),
            None => held = Some(part),
        }
        pieces.push(piece);
    }
    let bytes = if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() };
    Ok(Taken { bytes, _part: held })
}

/// Decompresses, and stops as soon as there is too much.
pub fn decode(coding: Coding, bytes: &[u8], most: usize) -> Result<Bytes, Reason> {
    let decoded = match coding {
        Coding::Plain => read(bytes, most),
        Coding::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), most),
        Coding::Brotli => read(brotli::Decompressor::new(bytes, 4096), most),
        Coding::Zstd => zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            read(decoder, most)
        }),
    };
    match decoded {
        Ok(decoded) if decoded.len() > most => Err(Reason::TooLarge),
        Ok(decoded) => Ok(decoded.into()),
        Err(_) => Err(Reason::Undecodable),
    }
}

/// All bytes, or one more than there may be.
fn read(from: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

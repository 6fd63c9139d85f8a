//! The body of a request.

use std::sync::Arc;
use std::time::Duration;

use forebay_listen::{BodyError, Coding, Held, Memory, Request, collect, decompress};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tokio::sync::Semaphore;

use crate::frame::Kind;
use crate::refusal::Refusal;

/// A larger body is decompressed on a thread that may take its time.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// So is one out of which more comes: a few kilobytes can hold many megabytes, which would hold up all other requests.
const INLINE_DECODED_BYTES_MAX: usize = 256 << 10;

/// Types of what is read as JSON, however it is called.
const JSON: [&str; 9] = [
    "",
    "text/plain",
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json-lines",
    "application/ecs+json",
    "application/octet-stream",
];

/// What a body is by its type; `None` if it is nothing that is read here. Browsers send text as `text/plain`, because that
/// needs no preflight, and an ArrayBuffer without a type.
pub fn kind(headers: &HeaderMap) -> Option<Kind> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Some(Kind::Json) };
    let kind = kind.as_bytes().split(|it| *it == b';').next()?.trim_ascii();
    if JSON.iter().any(|it| kind.eq_ignore_ascii_case(it.as_bytes())) {
        return Some(Kind::Json);
    }
    kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded").then_some(Kind::Form)
}

/// How much is taken, and how long is waited for it.
#[derive(Clone, Debug)]
pub struct Caps {
    pub body_bytes_max: usize,
    pub decoded_bytes_max: usize,
    pub body_timeout: Duration,
    /// What all bodies together may take.
    pub memory: Memory,
    /// So many large bodies are decompressed at a time: more would not be done sooner, and each takes some megabytes.
    pub decoders: Arc<Semaphore>,
}

/// Takes a body, and counts it.
pub async fn take(request: &mut Request, coding: Coding, caps: &Caps) -> Result<(Vec<u8>, Held), Refusal> {
    let mut held = caps.memory.hold();
    let bytes = collect(request.body_mut(), caps.body_bytes_max, caps.body_timeout, &mut held).await?;
    decompressed(bytes, coding, held, caps).await
}

/// A body as it was before it was compressed.
pub async fn decompressed(
    bytes: Vec<u8>,
    coding: Coding,
    mut held: Held,
    caps: &Caps,
) -> Result<(Vec<u8>, Held), Refusal> {
    let most = caps.decoded_bytes_max;
    if coding == Coding::Plain {
        return Ok((decompress(coding, bytes, most, &mut held)?, held));
    }
    if bytes.len() <= INLINE_BYTES_MAX {
        match decompress(coding, bytes.clone(), most.min(INLINE_DECODED_BYTES_MAX), &mut held) {
            Err(BodyError::TooLarge) if most > INLINE_DECODED_BYTES_MAX => {}
            done => return Ok((done?, held)),
        }
    }
    // It is never closed. The place goes along: whoever waits may go away, and the work goes on.
    let place = caps.decoders.clone().acquire_owned().await.map_err(|_| Refusal::Memory)?;
    let work = move || {
        let bytes = decompress(coding, bytes, most, &mut held);
        drop(place);
        Ok((bytes?, held))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Undecodable))
}

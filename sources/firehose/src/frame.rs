//! A request as it lies in the spool.
//!
//! One byte for the version; the length of the head, and the head as JSON; then the records, each with its length before
//! it. Lengths are 32-bit numbers, little end first.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::request::{Body, Head};

/// The version that is written, and the only one that is read.
pub(crate) const VERSION: u8 = 1;
const LENGTH_BYTES: usize = 4;

/// What is known of a request beside its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) id: String,
    /// When it came, by the clock of this machine, in milliseconds since 1970.
    pub(crate) received: i64,
    /// When it was sent, as it says itself, likewise.
    pub(crate) timestamp: i64,
    pub(crate) source_arn: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Makes the frame of a request.
pub(crate) fn encode(head: Head, body: &Body<'_>, received: i64) -> Result<Bytes, Problem> {
    let Head { source_arn, attributes, .. } = head;
    let about = About { id: body.id.clone(), received, timestamp: body.timestamp, source_arn, attributes };
    let about = serde_json::to_vec(&about).map_err(Problem::fault)?;
    let data: usize = body.records().map(|it| it.len() / 4 * 3 + LENGTH_BYTES).sum();
    let mut frame = Vec::with_capacity(1 + LENGTH_BYTES + about.len() + data);
    frame.push(VERSION);
    frame.extend((about.len() as u32).to_le_bytes());
    frame.extend(about);
    for (nth, record) in body.records().enumerate() {
        let begin = frame.len();
        frame.extend([0; LENGTH_BYTES]);
        BASE64_STANDARD.decode_vec(record, &mut frame).map_err(|error| Problem::not_base64(nth, error))?;
        let length = (frame.len() - begin - LENGTH_BYTES) as u32;
        frame[begin..begin + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
    Ok(frame.into())
}

/// A frame, and where its records lie in it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) about: About,
    bytes: Bytes,
    /// Where the records begin.
    records: usize,
}

impl Frame {
    /// Reads the head. `None`: this is not a frame of ours.
    pub(crate) fn read(bytes: Bytes) -> Option<Self> {
        if bytes.first() != Some(&VERSION) {
            return None;
        }
        let head = part(&bytes, 1)?;
        let about = serde_json::from_slice(&bytes[head.clone()]).ok()?;
        Some(Self { about, bytes, records: head.end })
    }

    /// Where the records begin.
    pub(crate) fn begin(&self) -> usize {
        self.records
    }

    /// Some of its bytes.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The record that begins at `at`, and where the next one does.
    pub(crate) fn record(&self, at: usize) -> Option<(&[u8], usize)> {
        let record = part(&self.bytes, at)?;
        let end = record.end;
        Some((&self.bytes[record], end))
    }
}

/// What stands behind its length.
fn part(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = bytes.get(at..at + LENGTH_BYTES)?.try_into().ok().map(u32::from_le_bytes)?;
    let begin = at + LENGTH_BYTES;
    let end = begin + length as usize;
    (end <= bytes.len()).then_some(begin..end)
}

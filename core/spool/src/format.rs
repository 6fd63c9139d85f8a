//! What a segment is made of, byte by byte. All numbers are little-endian.
//!
//! A segment is a header of 64 bytes and then frames:
//!
//! | header | bytes |
//! |--|--|
//! | `forebay\0` | 8 |
//! | version, 1 | 4 |
//! | zero | 4 |
//! | the spool's own number, random | 8 |
//! | the segment's number, which is in its name too | 8 |
//! | `after`: the last sequence number that counts in the segments before it | 8 |
//! | `first`: the first one in it | 8 |
//! | when it was made, in milliseconds since 1970 | 8 |
//! | zero | 4 |
//! | CRC-32C of the 60 bytes before | 4 |
//!
//! | frame | bytes |
//! |--|--|
//! | a marker, to find the next frame behind damage | 4 |
//! | the length of the payload | 4 |
//! | the sequence number | 8 |
//! | CRC-32C of the payload | 4 |
//! | CRC-32C of the 20 bytes before | 4 |
//! | the payload | |
//!
//! Both sums of a frame begin with the numbers of the spool and of the segment. So bytes of another segment never pass
//! for a frame, and a client that sends something that looks like one would have to know them.
//!
//! In every version of the format the marker and the version stand at these places of a header, and its sum covers the 60
//! bytes before it: so a segment of another version is told from a damaged one, and nothing of it is given up.
//!
//! `after` makes an end of what a segment before may hold beyond it: frames of which it is not known whether they
//! are durable, because a sync failed.

use bytes::Bytes;

/// The bytes of a segment's header.
pub const HEADER_BYTES: usize = 64;
/// The bytes of a frame before its payload.
pub const FRAME_BYTES: usize = 24;
/// No payload may have more bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"forebay\0";
pub(crate) const MARKER: [u8; 4] = [0xf0, 0x4e, 0xba, 0x59];

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub spool: u64,
    pub number: u64,
    pub after: u64,
    pub first: u64,
    pub created_millis: u64,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// There are too few bytes, other bytes, or the sum is wrong.
    Damaged,
    /// It is of a version that is not read here.
    Version(u32),
}

impl Header {
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers = [self.spool, self.number, self.after, self.first, self.created_millis];
        for (nth, number) in numbers.into_iter().enumerate() {
            bytes[16 + 8 * nth..24 + 8 * nth].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BadHeader::Damaged)?;
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            other => return Err(BadHeader::Version(other)),
        }
        let number = |nth: usize| u64_at(bytes, 16 + 8 * nth);
        Ok(Self { spool: number(0), number: number(1), after: number(2), first: number(3), created_millis: number(4) })
    }

    pub fn seed(self) -> Seed {
        Seed::new(self.spool, self.number)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |it| u32::from_le_bytes(*it))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |it| u64::from_le_bytes(*it))
}

/// What the sums of the frames of one segment begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub fn new(spool: u64, segment: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&spool.to_le_bytes()), &segment.to_le_bytes()))
    }

    fn sum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub bytes: usize,
    pub sequence: u64,
    sum: u32,
}

impl FrameHead {
    /// The frame that begins here, if its head is whole.
    pub fn decode(bytes: &[u8], seed: Seed) -> Option<Self> {
        let head: &[u8; FRAME_BYTES] = bytes.first_chunk()?;
        let length = u32_at(head, 4) as usize;
        let good = head[..4] == MARKER && length <= PAYLOAD_BYTES_MAX && seed.sum(&head[..20]) == u32_at(head, 20);
        good.then(|| Self { bytes: length, sequence: u64_at(head, 8), sum: u32_at(head, 16) })
    }

    /// Whether this is its payload.
    pub fn fits(self, payload: &Bytes, seed: Seed) -> bool {
        payload.len() == self.bytes && seed.sum(payload) == self.sum
    }
}

/// Adds a frame.
pub(crate) fn encode_frame(sequence: u64, payload: &[u8], seed: Seed, to: &mut Vec<u8>) {
    to.extend_from_slice(&encode_head(sequence, payload, seed));
    to.extend_from_slice(payload);
}

/// What stands before the payload of a frame.
pub(crate) fn encode_head(sequence: u64, payload: &[u8], seed: Seed) -> [u8; FRAME_BYTES] {
    let mut head = [0; FRAME_BYTES];
    head[..4].copy_from_slice(&MARKER);
    head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&sequence.to_le_bytes());
    head[16..20].copy_from_slice(&seed.sum(payload).to_le_bytes());
    let sum = seed.sum(&head[..20]);
    head[20..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// The name of a segment's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016}.spool")
}

/// The number of the segment with this name, if it is one.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".spool")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

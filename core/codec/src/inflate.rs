//! A whole gzip object at once: libdeflate takes half the time of an inflater that can stop anywhere.
//!
//! Everything that is not plainly good is left to [`crate::decompress`], which then decompresses the object from its
//! beginning: it alone knows what to say about damage, and what to give of the data before it.

use libdeflater::{DecompressionError, Decompressor, crc32};
use memchr::memmem;

use crate::decompress::GZIP_MAGIC;

/// More bytes than this are never made at once.
pub const BYTES_MAX: usize = 64 << 20;

/// Objects of more members than this are not worth the search for the end of each.
const MEMBERS_MAX: usize = 16;

/// DEFLATE makes no more than this out of one byte.
const RATIO_MAX: usize = 1032;

/// The flag of a checksum of the header, which libdeflate does not look at.
const HEADER_CHECKSUM: u8 = 2;

/// All that an object of gzip members holds, if that is no more than `bytes_max` and there is nothing odd about it.
pub fn whole(object: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let bytes_max = bytes_max.min(BYTES_MAX);
    if !object.starts_with(&GZIP_MAGIC) || declared(object) > bytes_max {
        return None;
    }
    let mut inflater = Decompressor::new();
    let mut bytes = Vec::new();
    let mut rest = object;
    for _ in 0..MEMBERS_MAX {
        if !rest.starts_with(&GZIP_MAGIC) || rest.get(3)? & HEADER_CHECKSUM != 0 {
            return None;
        }
        rest = &rest[member(&mut inflater, rest, &mut bytes, bytes_max)?..];
        let zeros = rest.iter().take_while(|it| **it == 0).count();
        rest = &rest[zeros..];
        if rest.is_empty() {
            return Some(bytes);
        }
    }
    None
}

/// The size of the last member, as the last bytes of an object say: modulo 2^32, and not to be trusted.
fn declared(object: &[u8]) -> usize {
    object.last_chunk::<4>().map_or(0, |it| u32::from_le_bytes(*it) as usize)
}

/// Adds what the first member holds to `bytes`, and gives its length.
fn member(inflater: &mut Decompressor, gzip: &[u8], bytes: &mut Vec<u8>, bytes_max: usize) -> Option<usize> {
    let start = bytes.len();
    let most = (bytes_max - start).min(gzip.len().saturating_mul(RATIO_MAX));
    // Mostly there is one member, and it is as long as it says.
    let mut room = declared(gzip).max(64).min(most);
    let made = loop {
        match start {
            // Zeros that the system hands out need no writing.
            0 => *bytes = vec![0; room],
            start => bytes.resize(start + room, 0),
        }
        match inflater.gzip_decompress(gzip, &mut bytes[start..]) {
            Ok(made) => break made,
            Err(DecompressionError::InsufficientSpace) if room < most => {
                room = room.max(gzip.len()).saturating_mul(4).min(most)
            }
            Err(_) => return None,
        }
    };
    bytes.truncate(start + made);
    // libdeflate does not say where the member ended, but it did so with these eight bytes.
    let end = [crc32(&bytes[start..]).to_le_bytes(), (made as u32).to_le_bytes()].concat();
    let mut ends = memmem::find_iter(gzip, &end);
    match (ends.next(), ends.next()) {
        (Some(at), None) => Some(at + end.len()),
        _ => None,
    }
}

//! Encoded bytes on their way out of an encoder.

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;

/// A piece has at most so many bytes, so that a row group of many is never copied to make room for more.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes in pieces.
#[derive(Default)]
pub(crate) struct Encoded {
    pieces: VecDeque<Vec<u8>>,
    length: usize,
}

impl Encoded {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds what comes behind.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.length += other.length;
        self.pieces.append(&mut other.pieces);
    }

    /// Takes out the first bytes, at least so many, or all there are.
    pub(crate) fn take(&mut self, least: usize) -> Bytes {
        let mut taken = self.pieces.pop_front().unwrap_or_default();
        while taken.len() < least
            && let Some(piece) = self.pieces.pop_front()
        {
            taken.extend_from_slice(&piece);
        }
        self.length -= taken.len();
        taken.into()
    }
}

impl Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = |piece: &Vec<u8>| PIECE_BYTES - piece.len();
        if self.pieces.back().is_none_or(|it| room(it) == 0) {
            self.pieces.push_back(Vec::new());
        }
        let Some(piece) = self.pieces.back_mut() else { return Ok(0) };
        let written = bytes.len().min(room(piece));
        piece.extend_from_slice(&bytes[..written]);
        self.length += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Bytes to rows: what the sources share. No I/O of its own, and a cap on everything.
//!
//! Bytes come in as a [`std::io::Read`] and pass through three stages:
//!
//! 1. [`decompress`] — gzip, zstd or plain, told apart by the bytes, never by a name.
//! 2. [`lines`] — cut at line ends, with a cap on the length of a line.
//! 3. [`Format`] — a [`Layout`] says which columns there are; a row is a line, or the fields of a line.
//!
//! [`Reader`] is the three of them: it gives [`forebay_api::Read`]s of one partition, whose positions are line
//! numbers. [`cloudfront`] knows the fields of Amazon CloudFront's logs.
//!
//! # What is a row, and where it stands
//!
//! Lines are numbered from 1, as an editor numbers them, and a row's position is the number of its line. Every line
//! takes a number: those that are refused, empty lines and the header lines of a W3C log too, of which there is no row.
//! So the numbers depend on the bytes alone, not on the configuration, and a dead letter names a line that one can go to.
//!
//! A line ends with `\n` or `\r\n`; the last one needs no end. Bytes are never changed: a line that is not UTF-8,
//! or too long, is refused. An object that cannot be decompressed to its end gives the rows before the damage; one
//! refusal stands for the rest of it, at the number of the line that the damage broke off.

pub mod cloudfront;
pub mod decompress;
mod format;
pub mod lines;
pub mod number;
mod reader;
#[cfg(test)]
mod tests;
mod w3c;

pub use format::{Format, Layout, UnknownFields};
pub use reader::Reader;

/// How much is read before something is taken to be broken, or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A line of more bytes than this, its end not counted, is refused.
    pub line_bytes_max: usize,
    /// An object of more bytes than this, after decompression, is refused from there on.
    pub object_bytes_max: u64,
}

impl Default for Limits {
    /// Lines of 1 MiB, objects of 16 GiB.
    fn default() -> Self {
        Self { line_bytes_max: 1 << 20, object_bytes_max: 16 << 30 }
    }
}

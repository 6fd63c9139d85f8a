//! Bytes to rows: what the sources share. No I/O of its own, and a cap on everything.
//!
//! Text comes in as a [`std::io::Read`], or as the bytes of a whole object, and passes through three stages:
//!
//! 1. [`decompress`] — gzip, zstd or plain, told apart by the bytes, never by a name.
//! 2. Cutting into records — at line ends, or at the commas of a JSON array, with a cap on the length of a record.
//! 3. [`Format`] — a [`Layout`] says which columns there are; a row is a line, or the fields of a line or of an object.
//!
//! [`Reader`] is the three of them: it gives [`forebay_api::Read`]s of one partition, whose positions are numbers of
//! records. Parquet is read from the places where its columns lie: [`ParquetReader`] asks a [`ReadAt`] for them, and
//! gives reads of the same kind. [`cloudfront`] knows the fields of Amazon CloudFront's logs.
//!
//! # What is a row, and where it stands
//!
//! Lines are numbered from 1, as an editor numbers them, and a row's position is the number of its line; likewise for
//! the elements of an array and the rows of a Parquet file. Every record takes a number: those that are refused, empty
//! lines and the header lines of a W3C log too, of which there is no row. So the numbers depend on the bytes alone, not
//! on the configuration, and a dead letter names a line that one can go to.
//!
//! A line ends with `\n` or `\r\n`; the last one needs no end. Bytes are never changed: a line that is not UTF-8,
//! or too long, is refused. An object that cannot be decompressed to its end gives the rows before the damage; one
//! refusal stands for the rest of it, at the number of the record that the damage broke off.

pub mod cloudfront;
mod columns;
pub mod convert;
pub mod decompress;
mod elements;
mod format;
mod inflate;
mod json;
mod lines;
pub mod number;
mod parquet;
mod reader;
mod records;
mod rows;
mod taken;
#[cfg(test)]
mod tests;
pub mod types;
mod w3c;

pub use columns::Columns;
pub use format::{Format, FormatKeys, Layout, UnknownFields};
pub use json::{Names, Paths, Target, plain, scan};
pub use parquet::{ParquetReader, ReadAt};
pub use reader::Reader;

/// How much is read before something is taken to be broken, or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A record of more bytes than this, the end of a line not counted, is refused.
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

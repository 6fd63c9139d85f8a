//! Parquet: rows from the places of a file where its columns lie.
//!
//! [`reader`] gives reads; [`mod@file`] knows what is in a file, and holds its footer against limits that the library does
//! not have; [`input`] brings the bytes; [`cast`] makes the columns what they were declared to be.

mod cast;
mod file;
mod input;
mod reader;
mod thrift;

use std::io;

use bytes::Bytes;

use crate::types::Type;

pub use reader::ParquetReader;

/// The columns of a Parquet format.
#[derive(Debug)]
pub struct ParquetColumns {
    /// Names and types.
    pub columns: Vec<(String, Type)>,
    /// The text that is null.
    pub null: Option<String>,
}

/// An object of which any part can be read. Reading may block.
pub trait ReadAt: Send + Sync {
    /// How many bytes it has.
    fn len(&self) -> u64;

    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly these bytes. Never asked for any after the end.
    ///
    /// # Errors
    ///
    /// What makes it worth to try again, or to give up: no damage in the object itself.
    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes>;
}

impl ReadAt for Bytes {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        Ok(self.slice(start..start + bytes))
    }
}

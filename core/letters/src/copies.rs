//! The letters that a replay has taken up, in files of its own: what it reads stays the same whatever becomes of the files
//! that they came from.

use std::path::{Path, PathBuf};

use forebay_api::BoxError;
use forebay_state::{create_directory, write_whole};
use serde::{Deserialize, Serialize};

use crate::letter::Letter;

/// A file of copies is full at so many bytes: one of them is in memory at a time.
const BYTES_MAX: usize = 4 << 20;

/// A letter, and the file that it lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The file's name at its place.
    pub file: String,
    /// The letter.
    pub letter: Letter,
}

/// A directory of copies.
#[derive(Clone, Debug)]
pub struct Copies {
    directory: PathBuf,
}

impl Copies {
    /// The copies in a directory that a [`CopyWriter`] has filled.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The names of the files, in order.
    pub fn names(&self) -> Result<Vec<String>, BoxError> {
        let failed = |error: std::io::Error| format!("cannot list `{}`: {error}", self.directory.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok().filter(|it| !it.starts_with('.')));
        }
        names.sort();
        Ok(names)
    }

    /// What is in a file.
    pub fn read(&self, name: &str) -> Result<Vec<Copied>, BoxError> {
        let path = self.directory.join(name);
        let failed = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|it| failed(&it))?;
        let copied: Result<_, _> = text.lines().map(serde_json::from_str).collect();
        copied.map_err(|it: serde_json::Error| failed(&it).into())
    }
}

/// Makes copies.
#[derive(Debug)]
pub struct CopyWriter {
    directory: PathBuf,
    files: u64,
    lines: Vec<u8>,
}

impl CopyWriter {
    /// Makes them in a directory with nothing in it, which is made if need be.
    pub fn new(directory: &Path) -> Result<Self, BoxError> {
        create_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), files: 0, lines: Vec::new() })
    }

    /// Copies a letter.
    pub fn push(&mut self, file: &str, letter: Letter) -> Result<(), BoxError> {
        serde_json::to_writer(&mut self.lines, &Copied { file: file.to_owned(), letter })?;
        self.lines.push(b'\n');
        if self.lines.len() >= BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Makes durable what was copied.
    pub fn flush(&mut self) -> Result<(), BoxError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        // Names sort as they were written.
        let path = self.directory.join(format!("{:010}.jsonl", self.files));
        write_whole(&path, &self.lines).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        self.files += 1;
        self.lines.clear();
        Ok(())
    }
}

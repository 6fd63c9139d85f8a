//! What an object is known by.

use std::io::{self, Read};

use forebay_api::Partition;
use xxhash_rust::xxh3::Xxh3;

/// An object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name, with `/` between the parts.
    pub key: String,
    /// What it holds.
    pub content: Content,
}

/// Stands for the bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// A hash of the bytes as 32 hexadecimal digits. For a local file this is XXH3-128.
    pub etag: String,
    /// How many there are, as stored.
    pub size: u64,
}

impl Object {
    /// The name of the object's partition: `2026/11/a.gz@<etag>:<size>`.
    pub fn partition(&self) -> Partition {
        let Self { key, content: Content { etag, size } } = self;
        Partition::new(format!("{key}@{etag}:{size}"))
    }

    /// The object of which this is the partition. `None` if it is not one of this source.
    pub fn of(partition: &Partition) -> Option<Self> {
        let (key, content) = partition.as_str().rsplit_once('@')?;
        let (etag, size) = content.split_once(':')?;
        let inside = key.split('/').all(|it| !matches!(it, "" | "." | ".."));
        let content = Content { etag: etag.to_owned(), size: size.parse().ok()? };
        inside.then(|| Self { key: key.to_owned(), content })
    }
}

/// A reader that knows in the end what it has read.
pub struct Hashing<R> {
    input: R,
    hash: Box<Xxh3>,
    size: u64,
}

impl<R: Read> Hashing<R> {
    pub fn new(input: R) -> Self {
        Self { input, hash: Box::new(Xxh3::new()), size: 0 }
    }

    /// Reads what is left, and says what all of it was.
    pub fn content(&mut self) -> io::Result<Content> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Content { etag: format!("{:032x}", self.hash.digest128()), size: self.size })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(to)?;
        self.hash.update(&to[..n]);
        self.size += n as u64;
        Ok(n)
    }
}

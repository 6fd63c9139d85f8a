//! What an object is known by.

use std::io::{self, Read};

use forebay_api::Position;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// An object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name, with `/` between the parts: of a file below the directory, of an object in a bucket the whole key.
    pub key: String,
    /// What it holds.
    pub content: Content,
    /// The version of a bucket that keeps versions, if it was named. Only a way to have the bytes after they were
    /// overwritten: a listing does not name versions, so this is no part of what an object is known by.
    pub version: Option<String>,
}

/// Stands for the bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// For a local file XXH3-128 of its bytes as 32 hexadecimal digits, for S3 its ETag without the quotes.
    pub etag: String,
    /// How many bytes there are, as stored.
    pub size: u64,
}

/// Stands for an object or a [`Letter`](crate::letter::Letter) in 16 bytes: there may be millions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u128);

impl Id {
    /// That of a text.
    pub fn of(text: &str) -> Self {
        Self(xxh3_128(text.as_bytes()))
    }
}

/// An ETag or a version may in principle hold any character, the two that part a partition's name included.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

impl Object {
    /// What it is known by: key, ETag and size.
    pub fn id(&self) -> Id {
        let Self { key, content: Content { etag, size }, .. } = self;
        // Neither an ETag nor a size can hold a NUL.
        Id::of(&format!("{key}\0{etag}\0{size}"))
    }

    /// Its name and content in one text: `2026/11/a.gz@<etag>:<size>`, and `:<version>` if there is one.
    pub fn named(&self) -> String {
        let Self { key, content: Content { etag, size }, version } = self;
        let etag = utf8_percent_encode(etag, KEPT);
        match version {
            None => format!("{key}@{etag}:{size}"),
            Some(version) => format!("{key}@{etag}:{size}:{}", utf8_percent_encode(version, KEPT)),
        }
    }

    /// The object that is named so.
    pub fn parse(name: &str) -> Option<Self> {
        let (key, content) = name.rsplit_once('@')?;
        let mut parts = content.splitn(3, ':');
        let mut decoded = || Some(percent_decode_str(parts.next()?).decode_utf8().ok()?.into_owned());
        let (etag, size, version) = (decoded()?, decoded()?, decoded());
        Some(Self { key: key.to_owned(), content: Content { etag, size: size.parse().ok()? }, version })
    }
}

/// An object to be read, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Which it is.
    pub object: Object,
    /// What it is to the engine.
    pub partition: forebay_api::Partition,
    /// The last row of it that is not wanted any more.
    pub from: Position,
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

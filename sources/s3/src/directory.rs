//! A directory, seen as a bucket.

use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Seek};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forebay_api::BoxError;
use globset::GlobMatcher;

use crate::object::{Content, Hashing};

/// A directory whose files are objects.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    include: GlobMatcher,
}

/// As long as it stays the same, so does the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    modified: SystemTime,
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { size: metadata.len(), modified: metadata.modified()? })
    }
}

/// The file that an object was when it was opened: it stays this one when another file takes its name.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: File,
}

impl OpenFile {
    /// The stamp of the file.
    pub fn stamp(&self) -> Result<Stamp, BoxError> {
        let stamp = self.file.metadata().and_then(|it| Stamp::of(&it));
        stamp.map_err(|error| cannot("look at", &self.path, &error))
    }

    /// Reads through the file for its etag and size, and goes back to its start.
    pub fn content(&mut self) -> Result<Content, BoxError> {
        let content = Hashing::new(&self.file).content();
        let content = content.and_then(|it| self.file.rewind().map(|()| it));
        content.map_err(|error| cannot("read", &self.path, &error))
    }

    /// A reader of the file from where it stands.
    pub fn reader(self) -> Hashing<File> {
        Hashing::new(self.file)
    }
}

impl Directory {
    pub fn new(root: PathBuf, include: GlobMatcher) -> Self {
        Self { root, include }
    }

    /// The keys of all objects, sorted by their bytes as S3 sorts them.
    pub fn keys(&self) -> Result<Vec<String>, BoxError> {
        let mut keys = Vec::new();
        let mut prefixes = vec![String::new()];
        while let Some(prefix) = prefixes.pop() {
            let path = self.path(&prefix);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                // It was there a moment ago.
                Err(error) if error.kind() == ErrorKind::NotFound && !prefix.is_empty() => continue,
                Err(error) => return Err(cannot("list", &path, &error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| cannot("list", &path, &error))?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return Err(format!("the name of {:?} is not UTF-8: rename it", entry.path()).into());
                };
                if name.starts_with(['.', '_']) || name.ends_with(".tmp") {
                    continue;
                }
                match Kind::of(&entry).map_err(|error| cannot("look at", &entry.path(), &error))? {
                    Kind::File if self.include.is_match(format!("{prefix}{name}")) => {
                        keys.push(format!("{prefix}{name}"))
                    }
                    Kind::Directory => prefixes.push(format!("{prefix}{name}/")),
                    Kind::File | Kind::Other => {}
                }
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// The stamp of an object, or `None` if it is gone.
    pub fn stamp(&self, key: &str) -> Result<Option<Stamp>, BoxError> {
        let path = self.path(key);
        let stamp = fs::metadata(&path).and_then(|it| Stamp::of(&it));
        unless_gone(stamp).map_err(|error| cannot("look at", &path, &error))
    }

    /// Opens an object, unless it is gone.
    pub fn open(&self, key: &str) -> Result<Option<OpenFile>, BoxError> {
        let path = self.path(key);
        let file = unless_gone(File::open(&path)).map_err(|error| cannot("open", &path, &error))?;
        Ok(file.map(|file| OpenFile { path, file }))
    }

    /// Where an object or, for a prefix that ends in `/`, a directory lies.
    pub fn path(&self, key: &str) -> PathBuf {
        match key.trim_end_matches('/') {
            "" => self.root.clone(),
            key => self.root.join(key),
        }
    }
}

enum Kind {
    File,
    Directory,
    /// A link to a directory, which may lead in circles; a pipe, a socket; something that is gone.
    Other,
}

impl Kind {
    fn of(entry: &DirEntry) -> io::Result<Self> {
        let found = entry.file_type()?;
        if found.is_dir() {
            return Ok(Self::Directory);
        }
        let file = if found.is_symlink() {
            unless_gone(fs::metadata(entry.path()))?.as_ref().is_some_and(Metadata::is_file)
        } else {
            found.is_file()
        };
        Ok(if file { Self::File } else { Self::Other })
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error about the world, with the path and, where there is one, a way out.
pub fn cannot(verb: &str, path: &Path, error: &io::Error) -> BoxError {
    let hint = match error.kind() {
        ErrorKind::NotFound => ": create it, or correct `path` (a relative one starts at the working directory)",
        ErrorKind::NotADirectory => ": name its directory in `path`, and the file in `include`",
        ErrorKind::PermissionDenied => ": let this user read it",
        _ => "",
    };
    format!("cannot {verb} `{}`: {error}{hint}", path.display()).into()
}

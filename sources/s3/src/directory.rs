//! A directory, seen as a bucket.

use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::{BoxError, Partition};
use forebay_aws::Trouble;
use forebay_codec::ReadAt;

use crate::keys::{KeyPattern, is_passed_over};
use crate::object::{Content, Hashing, Id, Object};
use crate::store::{
    AheadMax, Body, Finding, Found, Handle, Look, Met, Opening, Ranges, Store, Stream, WHOLE_BYTES_MAX,
};

/// So many keys are listed at a time.
const PAGE_KEYS_MAX: usize = 1000;

/// A directory whose files are objects.
#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
    include: KeyPattern,
    /// There is a next look: a file that is being written is left for that.
    polls: bool,
    met: Arc<Met>,
}

/// As long as it stays the same, so does the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    modified: SystemTime,
    /// Another file that was renamed to this name, with the time of its modification kept (`rsync`, `cp --preserve`).
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { size: metadata.len(), modified: metadata.modified()?, inode: metadata.ino() })
    }

    fn id(&self) -> Id {
        Id::of(&format!("{self:?}"))
    }
}

/// The file that an object was when it was opened: it stays this one when another file takes its name.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: File,
    /// As it was when it was opened.
    stamp: Stamp,
    /// All that is in it, if that is not much.
    whole: Option<Bytes>,
}

impl OpenFile {
    fn open(path: PathBuf) -> Result<Option<Self>, BoxError> {
        let opened = File::open(&path).and_then(|file| Ok((Stamp::of(&file.metadata()?)?, file)));
        let opened = unless_gone(opened).map_err(|error| cannot("open", &path, &error))?;
        Ok(opened.map(|(stamp, file)| Self { path, file, stamp, whole: None }))
    }

    fn is_as_it_was(&self) -> Result<bool, BoxError> {
        let stamp = self.file.metadata().and_then(|it| Stamp::of(&it));
        stamp.map(|it| it == self.stamp).map_err(|error| cannot("look at", &self.path, &error))
    }

    /// Reads through the file for its etag and size, and keeps it or goes back to its start.
    fn content(&mut self) -> Result<Content, BoxError> {
        let content = if self.stamp.size <= WHOLE_BYTES_MAX { self.keep() } else { self.hash() };
        content.map_err(|error| cannot("read", &self.path, &error))
    }

    fn hash(&mut self) -> io::Result<Content> {
        let content = Hashing::new(&self.file).content()?;
        self.file.rewind()?;
        Ok(content)
    }

    fn keep(&mut self) -> io::Result<Content> {
        let mut bytes = Vec::with_capacity(self.stamp.size as usize + 1);
        let mut file = Hashing::new((&self.file).take(WHOLE_BYTES_MAX + 1));
        file.read_to_end(&mut bytes)?;
        let content = file.content()?;
        // What has grown meanwhile is not as it was, which the caller finds out.
        self.whole = Some(bytes.into());
        self.file.rewind()?;
        Ok(content)
    }
}

impl Directory {
    pub fn new(root: PathBuf, include: KeyPattern, polls: bool) -> Self {
        Self { root, include, polls, met: Arc::default() }
    }

    /// Where an object or, for a prefix that ends in `/`, a directory lies.
    fn path(&self, key: &str) -> PathBuf {
        match key.trim_end_matches('/') {
            "" => self.root.clone(),
            key => self.root.join(key),
        }
    }

    fn find_now(&self, key: &str) -> Result<Finding, BoxError> {
        let Some(mut file) = OpenFile::open(self.path(key))? else {
            return Ok(Finding::Gone);
        };
        let content = file.content()?;
        if !file.is_as_it_was()? {
            return if self.polls { Ok(Finding::Busy) } else { Err(changed(&file.path)) };
        }
        // Not the stamp of the listing: another file may have taken the name since, whole.
        self.met.note(key, file.stamp.id());
        let object = Object { key: key.to_owned(), content, version: None };
        Ok(Finding::Object(object, Handle::File(file)))
    }

    fn reopen_now(&self, object: &Object) -> Result<Box<dyn Body>, BoxError> {
        let path = self.path(&object.key);
        let what = match OpenFile::open(path.clone())? {
            Some(mut file) => {
                if file.content()? == object.content {
                    return Ok(Box::new(FileBody { file, content: object.content.clone() }));
                }
                "was changed"
            }
            None => "is gone",
        };
        Err(format!(
            "`{}` {what}, but rows of it are on their way to a sink and must be read again: \
             put the file back whose XXH3-128 hash is {}",
            path.display(),
            object.content.etag,
        )
        .into())
    }
}

#[async_trait]
impl Store for Directory {
    fn look(&self) -> Box<dyn Look> {
        self.met.begin();
        Box::new(Walk { directory: self.clone(), due: vec![Entry::Directory(String::new())] })
    }

    async fn find(&self, found: &Found) -> Result<Finding, BoxError> {
        let (this, key) = (self.clone(), found.key.clone());
        tokio::task::spawn_blocking(move || this.find_now(&key)).await?
    }

    async fn open(&self, object: &Object, handle: Handle) -> Result<Opening, BoxError> {
        match handle {
            Handle::File(file) => Ok(Opening::Open(Box::new(FileBody { file, content: object.content.clone() }))),
            Handle::Condition => unreachable!("what was found in a directory is an open file"),
        }
    }

    async fn reopen(&self, object: &Object) -> Result<Box<dyn Body>, BoxError> {
        let (this, object) = (self.clone(), object.clone());
        tokio::task::spawn_blocking(move || this.reopen_now(&object)).await?
    }

    fn partition(&self, object: &Object) -> Partition {
        Partition::new(object.named())
    }

    fn object(&self, partition: &Partition) -> Option<Object> {
        let inside = |it: &Object| it.key.split('/').all(|it| !matches!(it, "" | "." | ".."));
        Object::parse(partition.as_str()).filter(inside)
    }

    fn ahead(&self) -> AheadMax {
        // The next file is hashed while this one is read, and kept if it is small.
        AheadMax { objects: 1, bytes: 1, bytes_of_one: 1 }
    }

    fn keeps_versions(&self) -> bool {
        false
    }

    fn tries_max(&self) -> u32 {
        // What is found is open already, and stays what it is.
        1
    }
}

/// A walk through the tree that meets the files in the order of their keys. Of the tree it holds the rest of each
/// directory that it is in, nothing more.
struct Walk {
    directory: Directory,
    /// What is still to be met, the next one last.
    due: Vec<Entry>,
}

enum Entry {
    File(String),
    /// With a `/` at its end, which is what it counts with in the order of keys.
    Directory(String),
}

impl Entry {
    fn key(&self) -> &str {
        match self {
            Self::File(key) | Self::Directory(key) => key,
        }
    }
}

#[async_trait]
impl Look for Walk {
    async fn page(&mut self) -> Result<Option<Vec<Found>>, Trouble> {
        let (directory, mut due) = (self.directory.clone(), std::mem::take(&mut self.due));
        let walk = move || {
            let page = next_page(&directory, &mut due)?;
            Ok::<_, BoxError>((page, due))
        };
        let walked = tokio::task::spawn_blocking(walk).await.map_err(|error| Trouble::Wrong(error.into()))?;
        let (page, due) = walked.map_err(Trouble::Wrong)?;
        let ended = page.is_empty() && due.is_empty();
        self.due = due;
        if ended {
            self.directory.met.end();
        }
        Ok((!ended).then_some(page))
    }
}

/// Files that are new or changed since they were met; also none of them, after many that are not.
fn next_page(directory: &Directory, due: &mut Vec<Entry>) -> Result<Vec<Found>, BoxError> {
    let mut page = Vec::new();
    let mut looked_at = 0;
    while looked_at < PAGE_KEYS_MAX
        && let Some(entry) = due.pop()
    {
        match entry {
            Entry::Directory(prefix) => {
                let mut entries = entries(directory, &prefix)?;
                entries.sort_unstable_by(|left, right| right.key().cmp(left.key()));
                due.append(&mut entries);
            }
            Entry::File(key) => {
                looked_at += 1;
                let path = directory.path(&key);
                let stamp = unless_gone(fs::metadata(&path).and_then(|it| Stamp::of(&it)));
                let Some(stamp) = stamp.map_err(|error| cannot("look at", &path, &error))? else {
                    continue;
                };
                if !directory.met.knows(&key, stamp.id()) {
                    page.push(Found { stamp: Some(stamp.id()), ..Found::key(key) });
                }
            }
        }
    }
    Ok(page)
}

/// What is meant in one directory.
fn entries(directory: &Directory, prefix: &str) -> Result<Vec<Entry>, BoxError> {
    let path = directory.path(prefix);
    let mut found = Vec::new();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        // It was there a moment ago.
        Err(error) if error.kind() == ErrorKind::NotFound && !prefix.is_empty() => return Ok(found),
        Err(error) => return Err(cannot("list", &path, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| cannot("list", &path, &error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(format!("the name of {:?} is not UTF-8: rename it", entry.path()).into());
        };
        if is_passed_over(name) {
            continue;
        }
        match Kind::of(&entry).map_err(|error| cannot("look at", &entry.path(), &error))? {
            Kind::File if directory.include.is_match(&format!("{prefix}{name}")) => {
                found.push(Entry::File(format!("{prefix}{name}")));
            }
            Kind::Directory => found.push(Entry::Directory(format!("{prefix}{name}/"))),
            Kind::File | Kind::Other => {}
        }
    }
    Ok(found)
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

/// A file, and what was in it when it was hashed.
struct FileBody {
    file: OpenFile,
    content: Content,
}

impl Body for FileBody {
    fn whole(&self) -> Option<Bytes> {
        self.file.whole.clone()
    }

    fn stream(self: Box<Self>) -> Box<dyn Stream> {
        let Self { file: OpenFile { path, file, .. }, content } = *self;
        Box::new(FileStream { path, file: Hashing::new(file), content })
    }

    fn ranges(self: Box<Self>) -> Box<dyn Ranges> {
        self
    }
}

impl ReadAt for FileBody {
    fn len(&self) -> u64 {
        self.content.size
    }

    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut read = vec![0; bytes];
        let file = &self.file;
        match file.file.read_exact_at(&mut read, offset) {
            Ok(()) => Ok(read.into()),
            // It was cut off.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(io::Error::other(changed(&file.path))),
            Err(error) => Err(io::Error::new(error.kind(), cannot("read", &file.path, &error))),
        }
    }
}

impl Ranges for FileBody {
    fn verify(&self) -> io::Result<()> {
        let same = self.file.is_as_it_was().map_err(io::Error::other)?;
        if same { Ok(()) } else { Err(io::Error::other(changed(&self.file.path))) }
    }
}

/// A file that is read from its start to its end.
struct FileStream {
    path: PathBuf,
    file: Hashing<File>,
    content: Content,
}

impl io::Read for FileStream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.file.read(to).map_err(|error| io::Error::new(error.kind(), cannot("read", &self.path, &error)))
    }
}

impl Stream for FileStream {
    fn verify(&mut self) -> io::Result<()> {
        let content = self.file.content().map_err(|error| io::Error::other(cannot("read", &self.path, &error)))?;
        if content == self.content { Ok(()) } else { Err(io::Error::other(changed(&self.path))) }
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error for a file that is not what it was.
fn changed(path: &Path) -> BoxError {
    format!(
        "`{}` changed while it was read: write new files under a name that ends in `.tmp`, \
         and rename them when they are complete",
        path.display()
    )
    .into()
}

/// An error about the world, with the path and, where there is one, a way out.
fn cannot(verb: &str, path: &Path, error: &io::Error) -> BoxError {
    let hint = match error.kind() {
        ErrorKind::NotFound => ": create it, or correct `path` (a relative one starts at the working directory)",
        ErrorKind::NotADirectory => ": name its directory in `path`, and the file in `include`",
        ErrorKind::PermissionDenied => ": let this user read it",
        _ => "",
    };
    format!("cannot {verb} `{}`: {error}{hint}", path.display()).into()
}

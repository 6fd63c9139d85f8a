//! What the spool asks of a disk, and the real one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One directory of a disk, and the files in it. Names have no slashes.
///
/// What was written to a file outlives a power cut once [`DiskFile::sync`] has answered, and the name of a file once
/// [`Disk::sync_directory`] has.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes a file, which must not be there yet, and which only the user of this process may read.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of the file that may have it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Makes the directory this process' own until what comes back is let go; `None` if another one holds it.
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// The place, for messages.
    fn place(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads some of the bytes at an offset; none behind the end.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<usize>;
    /// Writes all of the bytes at an offset.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the bytes durable. After an error it is unknown which of them are, and asking again says nothing: Linux
    /// takes the pages that could not be written to be clean.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to a length.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// How many bytes there are.
    fn len(&self) -> io::Result<u64>;
    /// Whether there are none.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|it| it == 0)
    }
}

/// The file that processes lock.
const LOCK: &str = "lock";

/// A directory of the file system.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, which is made if need be, with those above it.
    ///
    /// # Errors
    ///
    /// If one cannot be made, or its name cannot be made durable.
    pub fn open(path: &Path) -> io::Result<Self> {
        for step in steps(path, Path::is_dir) {
            match step {
                Step::Make(path) => match std::fs::create_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made?,
                },
                Step::Sync(path) => File::open(path)?.sync_all()?,
            }
        }
        Self::existing(path)
    }

    /// The directory at `path`, which must be there.
    pub fn existing(path: &Path) -> io::Result<Self> {
        match path.metadata()?.is_dir() {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

/// On the way to a directory that is there and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Makes a directory.
    Make(&'a Path),
    /// Makes the names in a directory durable.
    Sync(&'a Path),
}

/// Each directory that is made has its name made durable before one is made in it. So of those that are there at most the
/// innermost has a name that is not: then the power was cut behind its making.
pub(crate) fn steps(path: &Path, is_there: impl Fn(&Path) -> bool) -> Vec<Step<'_>> {
    let parts: Vec<&Path> = path.ancestors().filter(|it| !it.as_os_str().is_empty()).collect();
    let missing = parts.iter().take_while(|it| !is_there(it)).count();
    let mut steps = Vec::new();
    for (nth, part) in parts.iter().enumerate().take(missing + 1).rev() {
        if nth < missing {
            steps.push(Step::Make(part));
        }
        // A relative path of one part has the empty path as its parent, and the root has none.
        if let Some(parent) = part.parent() {
            steps.push(Step::Sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }));
        }
    }
    steps
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.path.read_dir()?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter_map(|it| it.file_name().into_string().ok()).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // What strangers sent is for nobody but the user of the process.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // For writing too: a torn tail is cut.
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(to, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // The length is synced with the data; only the times of the file are not.
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Stands for a file for which there was no room.
pub(crate) struct NoFile;

impl DiskFile for NoFile {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

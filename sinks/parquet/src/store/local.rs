//! Files in a directory: written under a temporary name, made durable, and only then given their own.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::{DeliveryId, SinkError};

use super::disk::{DiskError, create_directories, parent, remove, sync_directory};
use super::{Names, Store, Upload, is_name, stop};

/// Where temporary files are. Readers skip names that begin with a dot, and no temporary file ends in `.parquet`.
const STAGING: &str = ".staging";

/// The note of names, in the staging directory of a delivery.
const NOTE: &str = "names.tmp";

/// The same while it is written. A crash may leave it behind, and it says nothing then.
const NOTE_UNFINISHED: &str = "names.unfinished.tmp";

/// The file in the staging directory that everyone holds who may have temporary files there.
const LOCK: &str = "lock";

/// A table in a directory.
pub(crate) struct Directory {
    root: PathBuf,
    staging: PathBuf,
    /// See [`enter`].
    _lock: File,
}

impl Directory {
    /// Opens the table's directory: makes it, and removes what crashed processes left in staging.
    pub(crate) fn open(root: PathBuf) -> Result<Self, DiskError> {
        let staging = root.join(STAGING);
        create_directories(&staging)?;
        let lock = enter(&staging)?;
        Ok(Self { root, staging, _lock: lock })
    }

    fn staging(&self, id: &DeliveryId) -> PathBuf {
        self.staging.join(id.as_str())
    }
}

/// Enters the staging directory, and clears it if nobody else is there: dead letters may be replayed beside a pipeline
/// that runs, and another process's temporary files are its own.
///
/// Whoever is there shares the lock; to clear, it must be held alone. Before the one becomes the other, somebody else may
/// hold it alone and clear as well, which harms nobody: who has not entered has no temporary files. A process lets go of
/// the lock however it ends.
fn enter(staging: &Path) -> Result<File, DiskError> {
    let path = &staging.join(LOCK);
    let failed = |action| move |error| DiskError::new(action, path, error);
    // For writing as well, since over NFS nobody else may hold it alone.
    let mut options = File::options();
    let lock = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed("create"))?;
    match lock.try_lock() {
        Ok(()) => clear(staging)?,
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
    }
    lock.lock_shared().map_err(failed("lock"))?;
    Ok(lock)
}

/// Removes all temporary files. What commits that were cut short have made visible is for their next attempt to
/// know: notes stay.
fn clear(staging: &Path) -> Result<(), DiskError> {
    for delivery in entries(staging)?.into_iter().filter(|it| !it.ends_with(LOCK)) {
        if !delivery.is_dir() {
            remove(&delivery)?;
            continue;
        }
        for file in entries(&delivery)? {
            if !file.ends_with(NOTE) {
                remove(&file)?;
            }
        }
        match fs::remove_dir(&delivery) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                return Err(DiskError::new("remove directory", &delivery, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let paths = |entries: fs::ReadDir| entries.map(|it| Ok(it?.path())).collect();
    fs::read_dir(directory).and_then(paths).map_err(|error| DiskError::new("list", directory, error))
}

#[async_trait]
impl Store for Directory {
    async fn begin(&self, id: &DeliveryId) -> Result<Names, SinkError> {
        let path = self.staging(id).join(NOTE);
        match fs::read(&path) {
            // What is no name was not written here, and is passed over.
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Ok(text.lines().filter(|it| is_name(it, id)).map(str::to_owned).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Names::new()),
            Err(error) => Err(DiskError::new("read", &path, error).into()),
        }
    }

    async fn note(&self, id: &DeliveryId, names: &Names) -> Result<(), SinkError> {
        let staging = self.staging(id);
        create_directories(&staging)?;
        let (unfinished, path) = (staging.join(NOTE_UNFINISHED), staging.join(NOTE));
        let lines: String = names.iter().flat_map(|it| [it.as_str(), "\n"]).collect();
        File::create(&unfinished)
            .and_then(|mut file| {
                file.write_all(lines.as_bytes())?;
                file.sync_all()
            })
            .map_err(|error| DiskError::new("write", &unfinished, error))?;
        fs::rename(&unfinished, &path).map_err(|error| DiskError::new("give its name to", &path, error))?;
        Ok(sync_directory(&staging)?)
    }

    fn upload(&self, id: &DeliveryId, nth: usize, name: &str) -> Box<dyn Upload> {
        Box::new(LocalFile {
            visible: self.root.join(name),
            temporary: self.staging(id).join(format!("{nth}.tmp")),
            written: 0,
            handle: None,
            stage: Stage::Open,
        })
    }

    async fn remove(&self, names: &[String]) -> Result<(), SinkError> {
        for name in names {
            remove(&self.root.join(name))?;
        }
        Ok(())
    }

    async fn seal(&self, names: &Names) -> Result<(), SinkError> {
        let directories: BTreeSet<PathBuf> = names.iter().map(|it| parent(&self.root.join(it)).to_owned()).collect();
        for directory in directories.iter().filter(|it| it.is_dir()) {
            // As with a file, a second fsync would say that all is well.
            sync_directory(directory).map_err(stop)?;
        }
        Ok(())
    }

    async fn forget(&self, id: &DeliveryId) {
        // What could stay here would be removed by the next start, or remind an attempt that will not come of names
        // that are right.
        let _ = fs::remove_dir_all(self.staging(id));
    }

    fn let_go(&self, id: &DeliveryId) {
        // Stays if a note is kept in it.
        let _ = fs::remove_dir(self.staging(id));
    }
}

/// A file, first under its temporary name.
struct LocalFile {
    visible: PathBuf,
    temporary: PathBuf,
    /// How much of the part that is being taken over is in the file.
    written: usize,
    handle: Option<File>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Being written.
    Open,
    /// Whole and durable under its temporary name.
    Durable,
    /// Visible.
    Placed,
}

impl LocalFile {
    fn append(&mut self, part: &[u8]) -> Result<(), DiskError> {
        let handle = match &mut self.handle {
            Some(handle) => handle,
            none => {
                create_directories(parent(&self.temporary))?;
                let created =
                    File::create(&self.temporary).map_err(|error| DiskError::new("create", &self.temporary, error))?;
                none.insert(created)
            }
        };
        while self.written < part.len() {
            match handle.write(&part[self.written..]) {
                Ok(0) => return Err(DiskError::new("write", &self.temporary, ErrorKind::WriteZero.into())),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::new("write", &self.temporary, error)),
            }
        }
        self.written = 0;
        Ok(())
    }
}

#[async_trait]
impl Upload for LocalFile {
    fn part_bytes(&self, _nth: usize) -> usize {
        1
    }

    fn parts_max(&self) -> usize {
        usize::MAX
    }

    async fn write(&mut self, part: &Bytes) -> Result<(), SinkError> {
        Ok(self.append(part)?)
    }

    async fn finish(&mut self, rest: &Bytes, _kept: bool) -> Result<(), SinkError> {
        if self.stage != Stage::Open {
            return Ok(());
        }
        self.append(rest)?;
        // After a failed fsync the kernel takes the pages for clean, and a second one would say that all is well. The
        // bytes are gone from memory by then: only a new start can write them again.
        let synced = match self.handle.take() {
            Some(handle) => handle.sync_all(),
            None => Err(io::Error::other("the disk has lost what was written")),
        };
        synced.map_err(|error| stop(DiskError::new("make durable", &self.temporary, error)))?;
        self.stage = Stage::Durable;
        Ok(())
    }

    async fn place(&mut self) -> Result<(), SinkError> {
        if self.stage == Stage::Placed {
            return Ok(());
        }
        assert!(self.stage == Stage::Durable, "`{}` is placed before it is durable", self.visible.display());
        create_directories(parent(&self.visible))?;
        fs::rename(&self.temporary, &self.visible)
            .map_err(|error| DiskError::new("give its name to", &self.visible, error))?;
        self.stage = Stage::Placed;
        Ok(())
    }
}

/// Removes the temporary file, as well as it can. What is visible stays, as after a crash: the note knows it, and the
/// delivery is made again.
impl Drop for LocalFile {
    fn drop(&mut self) {
        self.handle = None;
        if self.stage != Stage::Placed {
            // Nobody is left to tell; the next start removes what stays in the staging directory.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

//! The file system, and what its errors mean to the engine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use forebay_api::SinkError;

/// Something that the file system would not do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`{}", path.display(), hint(source))]
pub(crate) struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

/// What the operator can do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ": give the user of this process the right to write there"
        }
        ErrorKind::NotADirectory => ": a file stands where a directory is needed",
        _ => "",
    }
}

/// Waiting can help: someone may free space, give rights, or remove what stands in the way. Only where written data may
/// be lost, which is a matter of `fsync`, it cannot.
impl From<DiskError> for SinkError {
    fn from(error: DiskError) -> Self {
        Self::Retry(error.into())
    }
}

/// Makes a directory and its missing ancestors, each of them durable: a new directory is lost in a power failure
/// until the directory that it is in was synced.
pub(crate) fn create_directories(path: &Path) -> Result<(), DiskError> {
    if create_directory(path)? {
        return Ok(());
    }
    let parent = parent(path);
    if parent != path {
        create_directories(parent)?;
    }
    match create_directory(path)? {
        true => Ok(()),
        // The parent is there, and nothing can be made in it: it was removed, and this process still has it open, for one as
        // its working directory. Or somebody has removed it just now.
        false => Err(DiskError::new("create directory", path, ErrorKind::NotFound.into())),
    }
}

/// Makes a directory, durable, if it is not there. `false`: its parent is missing.
fn create_directory(path: &Path) -> Result<bool, DiskError> {
    let failed = |error| DiskError::new("create directory", path, error);
    match fs::create_dir(path) {
        Ok(()) => sync_directory(parent(path)).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let is_directory = fs::metadata(path).map_err(failed)?.is_dir();
            is_directory.then_some(true).ok_or_else(|| failed(ErrorKind::NotADirectory.into()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Makes the entries of a directory durable: new names, and names that are gone.
pub(crate) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|it| it.sync_all()).map_err(|error| DiskError::new("sync directory", path, error))
}

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        // A relative path of one name is in the working directory; the root is its own parent.
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Removes a file. Whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool, DiskError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DiskError::new("remove", path, error)),
    }
}

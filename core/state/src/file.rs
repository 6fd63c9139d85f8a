//! A store in one local file, for one process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::{BoxError, causes};
use redb::{Database, DatabaseError};

use crate::tables::{self, Owner};
use crate::{Change, Snapshot, Store, StoreError};

const FILE_NAME: &str = "state.redb";

/// After a change that could not be written the next try comes so soon, and after each further one twice as late, up to the
/// second.
const REST: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// A store in the file `state.redb` of a directory. The file is locked while it is open.
///
/// A change that cannot be written, since the disk is full or fails, waits until it can be, and so does whoever asked for it.
/// After a failure it is unknown what the file holds, and Linux takes pages that could not be written to be clean. So the file
/// is not written to any more: everything is written to a new one, which takes its place.
pub struct FileStore {
    path: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

/// What is in the file.
struct Kept {
    path: PathBuf,
    pipeline: String,
    database: Database,
    /// The same, as of the last change that was written.
    snapshot: Snapshot,
    /// Whether the file holds that and nothing else.
    is_sound: bool,
}

impl FileStore {
    /// Opens the store of the pipeline `pipeline` in `directory`, which is made if need be.
    pub fn open(directory: &Path, pipeline: &str) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let failed = |source: BoxError| failed(&path, "opened", source);
        create_directory(directory).map_err(|error| failed(error.into()))?;
        let turn = turn(&path).map_err(failed)?;
        create_whole(&path).map_err(failed)?;
        let database = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Busy { path: path.display().to_string() },
            error => failed(error.into()),
        })?;
        drop(turn);
        let owner = tables::claim(&database, pipeline).map_err(failed)?;
        if let Owner::Other(what) = owner {
            return Err(StoreError::Foreign(format!("the state at `{}` {what}", path.display())));
        }
        let snapshot = tables::load(&database).map_err(failed)?;
        let kept = Kept { path: path.clone(), pipeline: pipeline.to_owned(), database, snapshot, is_sound: true };
        Ok(Self { path, kept: Arc::new(Mutex::new(kept)) })
    }

    /// As if a change had failed in the middle.
    #[cfg(test)]
    pub(crate) fn distrust(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).is_sound = false;
    }

    /// Runs blocking work, away from the tasks that move rows.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Kept) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let kept = self.kept.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut kept.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.unwrap_or_else(|panicked| Err(failed(&self.path, "written", panicked.into())))
    }
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.with(|kept| Ok(kept.snapshot.clone())).await
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        let (change, [mut rest, rest_max]) = (Arc::new(change), REST);
        loop {
            let change = change.clone();
            match self.with(move |kept| kept.apply(&change)).await {
                Err(error @ StoreError::Failed { .. }) => {
                    let rest_ms = rest.as_millis() as u64;
                    tracing::warn!(
                        rest_ms,
                        "{}; it is tried again, and nothing is delivered meanwhile",
                        causes(&error)
                    );
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(rest_max);
                }
                done => return done,
            }
        }
    }
}

impl Kept {
    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        self.snapshot.check(change)?;
        if self.is_sound {
            // Before anything else can fail, a panic included.
            self.is_sound = false;
            tables::change(&self.database, change).map_err(|error| failed(&self.path, "written", error))?;
            self.snapshot.apply(change.clone())?;
        } else {
            let mut next = self.snapshot.clone();
            next.apply(change.clone())?;
            self.replace(&next).map_err(|error| failed(&self.path, "written anew", error))?;
            self.snapshot = next;
        }
        self.is_sound = true;
        Ok(())
    }

    /// Puts a new file in the place of the old one, with all that is to be kept.
    fn replace(&mut self, next: &Snapshot) -> Result<(), BoxError> {
        let filled = create_new(&self.path).and_then(|new| {
            tables::claim(&new, &self.pipeline)?;
            tables::fill(&new, next)?;
            Ok(new)
        });
        let new = filled.inspect_err(|_| {
            // A half takes room on a disk that may have none. It is removed before the next try anyway.
            let _ = std::fs::remove_file(new_path(&self.path));
        })?;
        let _turn = turn(&self.path)?;
        std::fs::rename(new_path(&self.path), &self.path)?;
        self.database = new;
        Ok(sync_directory(&self.path)?)
    }
}

/// Waits for a turn, which lasts until what comes back is let go: who opens the file and who replaces it does so one after the
/// other. Otherwise somebody could open a file, and lock it when it is not the one any more.
fn turn(path: &Path) -> Result<std::fs::File, BoxError> {
    let turn = std::fs::File::create(directory_of(path).join("creating.lock"))?;
    turn.lock()?;
    Ok(turn)
}

/// Makes the file if it is not there: under another name first, since a process may end at any point, and half a database
/// is none.
fn create_whole(path: &Path) -> Result<(), BoxError> {
    if !path.try_exists()? {
        drop(create_new(path)?);
        std::fs::File::open(new_path(path))?.sync_all()?;
        std::fs::rename(new_path(path), path)?;
    }
    // The name of a new file is durable only once its directory is.
    Ok(sync_directory(path)?)
}

/// Where the database is made that is to be at `path`.
fn new_path(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// An empty database, and nothing of what another one has left there.
fn create_new(path: &Path) -> Result<Database, BoxError> {
    let new = new_path(path);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Database::create(&new)?)
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the name of a file durable.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory_of(path))?.sync_all()
}

/// A new epoch: sixteen random hexadecimal digits; the standard library seeds its hashers from the system's random source.
pub fn new_epoch() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::time::SystemTime::now()))
}

/// Makes a directory and what is missing above it, each of them durable in the one that it is in.
///
/// A name is durable only once the directory that holds it was synced, and a crash may have come in between: so that
/// is done for the directory itself even where it is there already.
pub fn create_directory(directory: &Path) -> std::io::Result<()> {
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.try_exists()? {
        create_directory(parent)?;
    }
    std::fs::create_dir_all(directory)?;
    std::fs::File::open(parent)?.sync_all()
}

/// Writes a file whole and durably: nobody ever sees half of it, whenever the process ends. Its directory must be there,
/// and only one process at a time may write a file of this name.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = directory_of(path);
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let hidden = directory.join(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = std::fs::File::create(&hidden)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&hidden, path)?;
    sync_directory(path)
}

fn failed(path: &Path, doing: &'static str, source: BoxError) -> StoreError {
    StoreError::Failed { path: path.display().to_string(), doing, source }
}

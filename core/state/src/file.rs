//! A store in one local file, for one process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::{Advance, Change, LogKey, Pending, Snapshot, Store, StoreError};

/// What the file is and whose. `format` is the layout of the other tables.
const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// (sink, source, partition) -> position, as text.
const COMMITTED: TableDefinition<(&str, &str, &str), &str> = TableDefinition::new("committed");
/// (sink, number) -> [`Pending`], as JSON.
const PENDING: TableDefinition<(&str, u64), &str> = TableDefinition::new("pending");

/// (source, node) -> [`Way`](crate::Way), as JSON. Made when it is missing: older versions knew no ways.
const WAYS: TableDefinition<(&str, &str), &str> = TableDefinition::new("ways");

const FORMAT: &str = "1";
const FILE_NAME: &str = "state.redb";

/// A store in the file `state.redb` of a directory. The file is locked while it is open.
pub struct FileStore {
    path: PathBuf,
    database: Arc<Database>,
}

impl FileStore {
    /// Opens the store of the pipeline `pipeline` in `directory`, which is made if need be.
    pub fn open(directory: &Path, pipeline: &str) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let failed = |source: BoxError| failed(&path, "opened", source);
        create_directory(directory).map_err(|error| failed(error.into()))?;
        create_whole(directory, &path).map_err(failed)?;
        let database = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Busy { path: path.display().to_string() },
            error => failed(error.into()),
        })?;
        let owner = claim(&database, pipeline).map_err(failed)?;
        match owner {
            Owner::Us => Ok(Self { path, database: Arc::new(database) }),
            Owner::Other(what) => Err(StoreError::Foreign(format!("the state at `{}` {what}", path.display()))),
        }
    }

    /// Runs blocking work on the database, away from the tasks that move rows.
    async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.database.clone();
        let done = tokio::task::spawn_blocking(move || work(&database)).await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => match error.downcast::<StoreError>() {
                Ok(error) => Err(*error),
                Err(error) => Err(failed(&self.path, doing, error)),
            },
            Err(panicked) => Err(failed(&self.path, doing, panicked.into())),
        }
    }
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.with("read", load).await
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        self.with("written", move |database| apply(database, change)).await
    }
}

enum Owner {
    Us,
    Other(String),
}

/// Makes a new file ours, or finds out whose it is.
fn claim(database: &Database, pipeline: &str) -> Result<Owner, BoxError> {
    let write = database.begin_write()?;
    let owner = {
        let mut meta = write.open_table(META)?;
        let get = |meta: &Table<&str, &str>, key: &str| -> Result<Option<String>, BoxError> {
            Ok(meta.get(key)?.map(|it| it.value().to_owned()))
        };
        match (get(&meta, "format")?, get(&meta, "pipeline")?) {
            (None, _) => {
                meta.insert("format", FORMAT)?;
                meta.insert("pipeline", pipeline)?;
                meta.insert("epoch", new_epoch().as_str())?;
                Owner::Us
            }
            (Some(format), _) if format != FORMAT => {
                Owner::Other(format!("has format {format}; this version reads format {FORMAT}"))
            }
            (_, Some(name)) if name != pipeline => {
                Owner::Other(format!("belongs to the pipeline `{name}`, not to `{pipeline}`"))
            }
            _ => Owner::Us,
        }
    };
    write.open_table(COMMITTED)?;
    write.open_table(PENDING)?;
    write.open_table(WAYS)?;
    write.commit()?;
    Ok(owner)
}

/// Makes the file if it is not there: under another name first, since a process may end at any point, and half a database
/// is none. Processes that begin at the same time do it one after the other.
fn create_whole(directory: &Path, path: &Path) -> Result<(), BoxError> {
    let turn = std::fs::File::create(directory.join("creating.lock"))?;
    turn.lock()?;
    if !path.try_exists()? {
        let new = path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        drop(Database::create(&new)?);
        std::fs::File::open(&new)?.sync_all()?;
        std::fs::rename(&new, path)?;
    }
    // The name of a new file is durable only once its directory is.
    Ok(std::fs::File::open(directory)?.sync_all()?)
}

/// A new epoch: sixteen random hexadecimal digits; the standard library seeds its hashers from the system's random source.
pub fn new_epoch() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::time::SystemTime::now()))
}

fn load(database: &Database) -> Result<Snapshot, BoxError> {
    let read = database.begin_read()?;
    let epoch = read.open_table(META)?.get("epoch")?.map(|it| it.value().to_owned());
    let mut snapshot = Snapshot { epoch: epoch.ok_or("the store has no epoch")?, ..Snapshot::default() };
    for entry in read.open_table(COMMITTED)?.iter()? {
        let (key, position) = entry?;
        let (sink, source, partition) = key.value();
        let key = LogKey { sink: sink.into(), source: source.into(), partition: Partition::new(partition) };
        snapshot.committed.insert(key, position.value().parse()?);
    }
    for entry in read.open_table(PENDING)?.iter()? {
        let (key, pending) = entry?;
        let (sink, number) = key.value();
        snapshot.pending.insert((sink.into(), number), serde_json::from_str(pending.value())?);
    }
    for entry in read.open_table(WAYS)?.iter()? {
        let (key, way) = entry?;
        let (source, node) = key.value();
        snapshot.ways.insert((source.into(), node.into()), serde_json::from_str(way.value())?);
    }
    Ok(snapshot)
}

fn apply(database: &Database, change: Change) -> Result<(), BoxError> {
    let write = database.begin_write()?;
    {
        let mut committed = write.open_table(COMMITTED)?;
        for Advance { key, from, to } in change.advance {
            let place = (key.sink.as_str(), key.source.as_str(), key.partition.as_str());
            let found = match committed.get(place)? {
                Some(text) => text.value().parse()?,
                None => Position::Start,
            };
            if found != from {
                // Letting go of the transaction undoes what was done in it.
                return Err(StoreError::Moved { key: Box::new(key), expected: from, found }.into());
            }
            committed.insert(place, to.to_string().as_str())?;
        }
        let mut pending = write.open_table(PENDING)?;
        if let Some(intent) = change.intend {
            pending.insert((intent.sink.as_str(), intent.number), serde_json::to_string(&intent)?.as_str())?;
        }
        for (sink, number) in change.settle {
            let found = pending.get((sink.as_str(), number))?.map(|it| serde_json::from_str::<Pending>(it.value()));
            if let Some(found) = found {
                let settled = Pending { settled: true, ..found? };
                pending.insert((sink.as_str(), number), serde_json::to_string(&settled)?.as_str())?;
            }
        }
        for (sink, number) in change.forget {
            pending.remove((sink.as_str(), number))?;
        }
        if !change.ways.is_empty() {
            let mut ways = write.open_table(WAYS)?;
            for ((source, node), way) in change.ways {
                ways.insert((source.as_str(), node.as_str()), serde_json::to_string(&way)?.as_str())?;
            }
        }
        if let Some(epoch) = change.epoch {
            write.open_table(META)?.insert("epoch", epoch.as_str())?;
        }
    }
    write.commit()?;
    Ok(())
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
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let hidden = directory.join(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = std::fs::File::create(&hidden)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&hidden, path)?;
    std::fs::File::open(directory)?.sync_all()
}

fn failed(path: &Path, doing: &'static str, source: BoxError) -> StoreError {
    StoreError::Failed { path: path.display().to_string(), doing, source }
}

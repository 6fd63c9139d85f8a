//! What stands in the file of a [`FileStore`](crate::FileStore).

use forebay_api::{BoxError, Partition};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

use crate::file::new_epoch;
use crate::{Advance, Change, LogKey, Pending, Snapshot, Way, WayKey};

/// What the file is and whose. `format` is the layout of the other tables.
const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// (sink, source, partition) -> position, as text.
const COMMITTED: TableDefinition<(&str, &str, &str), &str> = TableDefinition::new("committed");
/// (sink, number) -> [`Pending`], as JSON.
const PENDING: TableDefinition<(&str, u64), &str> = TableDefinition::new("pending");

/// (source, node) -> [`Way`], as JSON. Made when it is missing: older versions knew no ways.
const WAYS: TableDefinition<(&str, &str), &str> = TableDefinition::new("ways");

const FORMAT: &str = "1";

/// Whose a file is.
pub(crate) enum Owner {
    Us,
    Other(String),
}

/// Makes a new file ours, or finds out whose it is. What is ours and whole is not written to.
pub(crate) fn claim(database: &Database, pipeline: &str) -> Result<Owner, BoxError> {
    if let Some(owner) = owner(database, pipeline)? {
        return Ok(owner);
    }
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        if meta.get("format")?.is_none() {
            meta.insert("format", FORMAT)?;
            meta.insert("pipeline", pipeline)?;
            meta.insert("epoch", new_epoch().as_str())?;
        }
    }
    write.open_table(COMMITTED)?;
    write.open_table(PENDING)?;
    write.open_table(WAYS)?;
    write.commit()?;
    Ok(Owner::Us)
}

/// Whose a file is; `None` if it is nobody's, or ours and lacks something.
fn owner(database: &Database, pipeline: &str) -> Result<Option<Owner>, BoxError> {
    let read = database.begin_read()?;
    let meta = match read.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        meta => meta?,
    };
    let get = |key| -> Result<Option<String>, BoxError> { Ok(meta.get(key)?.map(|it| it.value().to_owned())) };
    let Some(format) = get("format")? else { return Ok(None) };
    if format != FORMAT {
        return Ok(Some(Owner::Other(format!("has format {format}; this version reads format {FORMAT}"))));
    }
    if let Some(name) = get("pipeline")?.filter(|it| it != pipeline) {
        return Ok(Some(Owner::Other(format!("belongs to the pipeline `{name}`, not to `{pipeline}`"))));
    }
    match read.open_table(WAYS) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        ways => Ok(ways.map(|_| Some(Owner::Us))?),
    }
}

/// Everything that is in a file.
pub(crate) fn load(database: &Database) -> Result<Snapshot, BoxError> {
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

/// Writes what changes.
pub(crate) fn change(database: &Database, change: &Change) -> Result<(), BoxError> {
    let write = database.begin_write()?;
    {
        let mut committed = write.open_table(COMMITTED)?;
        for Advance { key, to, .. } in &change.advance {
            committed.insert(place(key), to.to_string().as_str())?;
        }
        let mut pending = write.open_table(PENDING)?;
        if let Some(intent) = &change.intend {
            put(&mut pending, intent)?;
        }
        for (sink, number) in &change.settle {
            let found = pending.get((sink.as_str(), *number))?.map(|it| serde_json::from_str::<Pending>(it.value()));
            if let Some(found) = found {
                put(&mut pending, &Pending { settled: true, ..found? })?;
            }
        }
        for (sink, number) in &change.forget {
            pending.remove((sink.as_str(), *number))?;
        }
        if !change.ways.is_empty() {
            let mut ways = write.open_table(WAYS)?;
            for (key, way) in &change.ways {
                note(&mut ways, key, way)?;
            }
        }
        if let Some(epoch) = &change.epoch {
            write.open_table(META)?.insert("epoch", epoch.as_str())?;
        }
    }
    write.commit()?;
    Ok(())
}

/// Writes everything into an empty file.
pub(crate) fn fill(database: &Database, all: &Snapshot) -> Result<(), BoxError> {
    let write = database.begin_write()?;
    {
        write.open_table(META)?.insert("epoch", all.epoch.as_str())?;
        let mut committed = write.open_table(COMMITTED)?;
        for (key, at) in &all.committed {
            committed.insert(place(key), at.to_string().as_str())?;
        }
        let mut pending = write.open_table(PENDING)?;
        for delivery in all.pending.values() {
            put(&mut pending, delivery)?;
        }
        let mut ways = write.open_table(WAYS)?;
        for (key, way) in &all.ways {
            note(&mut ways, key, way)?;
        }
    }
    write.commit()?;
    Ok(())
}

fn place(key: &LogKey) -> (&str, &str, &str) {
    (&key.sink, &key.source, key.partition.as_str())
}

fn put(table: &mut Table<'_, (&str, u64), &str>, delivery: &Pending) -> Result<(), BoxError> {
    table.insert((delivery.sink.as_str(), delivery.number), serde_json::to_string(delivery)?.as_str())?;
    Ok(())
}

fn note(table: &mut Table<'_, (&str, &str), &str>, (source, node): &WayKey, way: &Way) -> Result<(), BoxError> {
    table.insert((source.as_str(), node.as_str()), serde_json::to_string(way)?.as_str())?;
    Ok(())
}

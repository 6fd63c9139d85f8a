use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forebay_api::{DeliveryId, Partition, Position, Span};

use crate::{
    Advance, Change, FileStore, LogKey, MemoryStore, Pending, SourceSpan, Store, StoreError, Way, write_whole,
};

fn key(partition: &str) -> LogKey {
    LogKey { sink: "out".into(), source: "cdn".into(), partition: Partition::from(partition) }
}

fn advance(partition: &str, from: u64, to: u64) -> Advance {
    Advance { key: key(partition), from: Position::row(from), to: Position::row(to) }
}

fn pending(number: u64, from: u64, to: u64) -> Pending {
    let span = Span::new("a", Position::row(from), Position::row(to));
    Pending {
        sink: "out".into(),
        number,
        id: DeliveryId::derive("p", "out", "f", "cdn", &span),
        fingerprint: "f".into(),
        spans: vec![SourceSpan { source: "cdn".into(), span }],
        rows: to - from,
        intended: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        settled: false,
    }
}

/// The life of two deliveries that land in the wrong order.
async fn exercise(store: &dyn Store) {
    let new = store.load().await.unwrap();
    assert!(new.committed.is_empty() && new.pending.is_empty(), "a new store is empty");
    let out = |number| ("out".to_owned(), number);
    store.apply(Change { intend: Some(pending(0, 0, 5)), ..Change::default() }).await.unwrap();
    store.apply(Change { intend: Some(pending(1, 5, 9)), ..Change::default() }).await.unwrap();
    store.apply(Change { settle: vec![out(1)], ..Change::default() }).await.unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.pending[&out(0)], pending(0, 0, 5));
    assert_eq!(snapshot.pending[&out(1)], Pending { settled: true, ..pending(1, 5, 9) });

    let land = Change { forget: vec![out(0), out(1)], advance: vec![advance("a", 0, 9)], ..Change::default() };
    store.apply(land).await.unwrap();
    let snapshot = store.load().await.unwrap();
    assert!(snapshot.pending.is_empty());
    assert_eq!(snapshot.committed[&key("a")], Position::row(9));

    let way = Way { fingerprint: "f".into(), sinks: BTreeSet::from(["out".to_owned()]) };
    let key_of_way = ("cdn".to_owned(), "parse".to_owned());
    let noted =
        Change { ways: vec![(key_of_way.clone(), way.clone())], epoch: Some("other".into()), ..Change::default() };
    store.apply(noted).await.unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!((&snapshot.ways[&key_of_way], &*snapshot.epoch), (&way, "other"));

    let stale = Change {
        intend: Some(pending(2, 9, 12)),
        advance: vec![advance("b", 0, 1), advance("a", 5, 12)],
        ..Change::default()
    };
    let error = store.apply(stale).await.unwrap_err();
    assert!(matches!(error, StoreError::Moved { .. }), "{error}");
    assert_eq!(store.load().await.unwrap(), snapshot, "a refused change leaves nothing behind");
}

/// Scenario: two deliveries are intended, land in the wrong order, and a writer with a stale view tries to move on.
/// Guarantees: the file store and the model in memory keep the same, and a stale writer changes nothing.
#[tokio::test]
async fn stores_agree() {
    exercise(&MemoryStore::default()).await;
    let directory = tempfile::tempdir().unwrap();
    exercise(&FileStore::open(directory.path(), "p").unwrap()).await;
}

/// Scenario: the process ends and the next one opens the same directory.
/// Guarantees: everything is as it was, positions that are no machine integers included.
#[tokio::test]
async fn a_file_store_survives_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let far = Position::sequence("49590338271490256608559692538361571095921575989136588898", 3).unwrap();
    let first = FileStore::open(directory.path(), "p").unwrap();
    let moves = vec![
        Advance { key: key("shard"), from: Position::Start, to: far.clone() },
        Advance { key: key("object"), from: Position::Start, to: Position::End },
    ];
    first.apply(Change { advance: moves, intend: Some(pending(7, 1, 2)), ..Change::default() }).await.unwrap();
    let before = first.load().await.unwrap();
    drop(first);
    let second = FileStore::open(directory.path(), "p").unwrap();
    assert_eq!(second.load().await.unwrap(), before, "the epoch too");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = FileStore::open(&elsewhere.path().join("made/on/the/way"), "p").unwrap();
    assert_ne!(other.load().await.unwrap().epoch, before.epoch, "another store, another epoch");
    assert_eq!(before.committed[&key("shard")], far);
}

/// Scenario: a store that a version wrote which knew no ways is opened.
/// Guarantees: what it holds is there, and no way is known.
#[tokio::test]
async fn a_store_of_an_older_version_opens() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path(), "p").unwrap();
    let first = Advance { from: Position::Start, ..advance("a", 0, 5) };
    store.apply(Change { advance: vec![first], ..Change::default() }).await.unwrap();
    drop(store);
    let database = redb::Database::open(directory.path().join("state.redb")).unwrap();
    let write = database.begin_write().unwrap();
    assert!(write.delete_table(redb::TableDefinition::<(&str, &str), &str>::new("ways")).unwrap());
    write.commit().unwrap();
    drop(database);
    let snapshot = FileStore::open(directory.path(), "p").unwrap().load().await.unwrap();
    assert_eq!(snapshot.committed[&key("a")], Position::row(5));
    assert!(snapshot.ways.is_empty());
}

/// Scenario: the process ended while it made its first store, with some of the file written or none.
/// Guarantees: the next one begins as if nothing had been.
#[tokio::test]
async fn a_store_that_was_half_made() {
    for left in [&b""[..], b"redb", &[0; 4096]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state.new"), left).unwrap();
        let store = FileStore::open(directory.path(), "p").unwrap();
        assert_eq!(store.load().await.unwrap().committed.len(), 0);
        assert!(!directory.path().join("state.new").try_exists().unwrap());
    }
}

/// Scenario: a change fails in the middle; from then on nothing can be written for a while. Other changes are asked for
/// meanwhile, and the process ends when they have been made.
/// Guarantees: who asked waits, and is told nothing else than that it was done; the file that failed is not used again;
/// nobody else can open the store at any time; the next process finds what was kept before and since, and no more.
#[tokio::test(start_paused = true)]
async fn changes_wait_for_the_disk() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, away) = (parent.path().join("state"), parent.path().join("away"));
    let store = FileStore::open(&directory, "p").unwrap();
    let change = |number, from, to| Change {
        intend: Some(pending(number, from, to)),
        advance: vec![Advance { from: Position::row(from), ..advance("a", from, to) }],
        ..Change::default()
    };
    let begin = Change { advance: vec![Advance { from: Position::Start, ..advance("a", 0, 0) }], ..Change::default() };
    store.apply(begin).await.unwrap();
    store.apply(change(0, 0, 5)).await.unwrap();
    let failed = std::fs::File::open(directory.join("state.redb")).unwrap();
    store.distrust();
    std::fs::rename(&directory, &away).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(60), store.apply(change(1, 5, 9))).await;
    assert!(asked.is_err(), "it was done without a disk");
    std::fs::rename(&away, &directory).unwrap();
    let changes = [change(1, 5, 9), Change { settle: vec![("out".to_owned(), 0)], ..Change::default() }];
    for change in changes {
        store.apply(change).await.unwrap();
        let other = FileStore::open(&directory, "p").err().unwrap();
        assert!(matches!(other, StoreError::Busy { .. }), "{other}");
    }
    let stale = store.apply(change(2, 5, 9)).await.unwrap_err();
    assert!(matches!(stale, StoreError::Moved { .. }), "{stale}");
    let kept = store.load().await.unwrap();
    assert_eq!((kept.pending.len(), &kept.committed[&key("a")]), (2, &Position::row(9)));
    let now = std::fs::File::open(directory.join("state.redb")).unwrap();
    assert_ne!(now.metadata().unwrap().ino(), failed.metadata().unwrap().ino());
    drop(store);
    assert_eq!(FileStore::open(&directory, "p").unwrap().load().await.unwrap(), kept);
}

/// Scenario: a second process opens a store that is in use, and another pipeline opens a store that is not its own.
/// Guarantees: both are told so in words.
#[tokio::test]
async fn a_file_store_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(directory.path(), "p").unwrap());
    let told = |pipeline| FileStore::open(directory.path(), pipeline).err().unwrap().to_string();
    assert!(told("p").ends_with("is in use by another process"), "{}", told("p"));
    drop(store);
    assert!(told("q").ends_with("belongs to the pipeline `p`, not to `q`"), "{}", told("q"));
}

/// Scenario: a file is written, and written again over what a process left that ended in the middle.
/// Guarantees: it holds what was written last, and nothing else lies beside it.
#[test]
fn files_appear_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.json");
    write_whole(&path, b"one").unwrap();
    std::fs::write(directory.path().join(".journal.json.tmp"), "a longer half").unwrap();
    write_whole(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(write_whole(&directory.path().join("none/journal.json"), b"").is_err());
}

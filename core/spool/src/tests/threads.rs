//! The spool with its thread.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::{Directory, Disk, DiskFile, Durability, Spool, source};

use super::*;

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk that counts syncs, which take a while.
struct Counting {
    disk: SimulatedDisk,
    syncs: Arc<AtomicU64>,
}

struct CountingFile(Box<dyn DiskFile>, Arc<AtomicU64>);

impl Disk for Counting {
    fn names(&self) -> std::io::Result<Vec<String>> {
        self.disk.names()
    }
    fn create(&self, name: &str) -> std::io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CountingFile(self.disk.create(name)?, self.syncs.clone())))
    }
    fn open(&self, name: &str) -> std::io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> std::io::Result<()> {
        self.disk.sync_directory()
    }
    fn lock(&self) -> std::io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock()
    }
    fn place(&self) -> String {
        self.disk.place()
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        self.0.sync()
    }
    fn set_len(&self, bytes: u64) -> std::io::Result<()> {
        self.0.set_len(bytes)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
}

async fn until_durable(spool: &Spool, sequence: u64) {
    let mut durable = spool.durable();
    let reached = durable.wait_for(|it| *it >= sequence);
    tokio::time::timeout(PATIENCE, reached).await.expect("it becomes durable").expect("the spool is open");
}

/// Scenario: a thousand appends at once, on a disk whose syncs take five milliseconds.
/// Guarantees: all are answered, each with its own number, after a small number of syncs; and all are durable.
#[tokio::test]
async fn many_share_a_sync() {
    let (simulated, _) = disk(1);
    let syncs = Arc::new(AtomicU64::new(0));
    let counting = Arc::new(Counting { disk: simulated.clone(), syncs: syncs.clone() });
    let spool = Arc::new(Spool::open(counting, options(1 << 30, 1 << 20)).unwrap());
    let tasks: Vec<_> = (0..1000)
        .map(|nth| {
            let spool = spool.clone();
            tokio::spawn(async move { (spool.append(Bytes::from(nth.to_string())).await.unwrap(), nth) })
        })
        .collect();
    let mut answered = std::collections::BTreeMap::new();
    for task in tasks {
        let (sequence, nth) = task.await.unwrap();
        assert_eq!(answered.insert(sequence, nth.to_string()), None);
    }
    let syncs = syncs.load(Ordering::Relaxed);
    assert!(syncs < 500, "{syncs} syncs for 1000 appends");
    drop(spool);
    simulated.restart();
    let mut reader = Reader::open(Arc::new(simulated), None).unwrap().unwrap();
    let expected: Vec<Entry> =
        answered.into_iter().map(|(sequence, it)| Entry::Frame { sequence, payload: it.into() }).collect();
    assert_eq!(rest(&mut reader), expected);
}

/// Scenario: on a real directory: appends, letting go, and a second start.
/// Guarantees: segments are deleted when all of their frames are let go, the numbers go on, and the spool has its number.
#[tokio::test]
async fn a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(Directory::open(&directory.path().join("spool")).unwrap());
    let spool = Spool::open(disk(), options(1 << 20, 300)).unwrap();
    let number = spool.number();
    for nth in 1..=20 {
        assert_eq!(spool.append(Bytes::from("some bytes of a request")).await, Ok(nth));
    }
    let before = spool.standing();
    assert_eq!((before.first, before.last, before.segments > 3), (1, 20, true));
    spool.release(12);
    assert_eq!(spool.append(Bytes::from("more")).await, Ok(21));
    let let_go = async {
        while spool.standing().first == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("segments are let go");
    let after = spool.standing();
    assert!(after.first <= 13, "{after:?}");
    let mut reader = spool.reader(Some(20));
    drop(spool);
    assert_eq!(rest(&mut reader), [Entry::Frame { sequence: 21, payload: "more".into() }]);

    let spool = Spool::open(disk(), options(1 << 20, 300)).unwrap();
    assert_eq!(spool.number(), number);
    let first = spool.standing().first;
    assert!(first >= after.first && first <= 13, "{first}");
    assert_eq!(rest(&mut spool.reader(None)).len() as u64, 21 - first + 1);
    assert_eq!(spool.append(Bytes::from("and more")).await, Ok(22));
}

/// Scenario: with durability in memory, appends are answered, and later synced.
/// Guarantees: readers see them when they are durable, not before; the end of the process makes them so at once.
#[tokio::test]
async fn in_memory() {
    let (simulated, disk) = disk(1);
    let options = Options { durability: Durability::Memory, ..options(1 << 20, 300) };
    let spool = Spool::open(disk.clone(), options).unwrap();
    for nth in 1..=5 {
        assert_eq!(spool.append(Bytes::from(nth.to_string())).await, Ok(nth));
    }
    until_durable(&spool, 5).await;
    assert_eq!(rest(&mut spool.reader(None)).len(), 5);
    assert_eq!(spool.append(Bytes::from("the last one")).await, Ok(6));
    drop(spool);
    simulated.restart();
    let mut reader = Reader::open(disk, None).unwrap().unwrap();
    assert_eq!(rest(&mut reader).len(), 6);
}

/// Scenario: with durability in memory, more comes within a second than may be lost.
/// Guarantees: all of it is answered: what came first is made durable earlier. On a disk that fails it is refused.
#[tokio::test]
async fn much_in_memory() {
    let (simulated, disk) = disk(1);
    let options = Options { durability: Durability::Memory, ..options(1 << 30, 64 << 20) };
    let spool = Spool::open(disk, options).unwrap();
    let payload = Bytes::from(vec![b'x'; 4 << 20]);
    for nth in 1..=40 {
        assert_eq!(spool.append(payload.clone()).await, Ok(nth));
    }
    simulated.fail_syncs(u32::MAX);
    let refused = async { while spool.append(payload.clone()).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), refused).await.expect("it is refused in the end");
}

/// Scenario: the disk fails to sync for a while, and then works again.
/// Guarantees: those who wait are told at once; afterwards the spool goes on by itself, and has what was answered alone.
#[tokio::test]
async fn a_disk_that_fails_for_a_while() {
    let (simulated, disk) = disk(1);
    let spool = Spool::open(disk, options(1 << 20, 300)).unwrap();
    assert_eq!(spool.append(Bytes::from("one")).await, Ok(1));
    simulated.fail_syncs(20);
    for _ in 0..5 {
        let refused = spool.append(Bytes::from("refused")).await;
        assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    }
    simulated.fail_syncs(0);
    let goes_on = async {
        while spool.append(Bytes::from("two")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, goes_on).await.expect("it goes on by itself");
    assert_eq!(shown(&rest(&mut spool.reader(None))), "1 one\n2 two\n");
}

/// Scenario: a sync does not come back; appends have an end to their waiting, one before and one while it hangs; then the
/// disk answers.
/// Guarantees: who waits is told in time, and the spool tells for how long; what the disk had is there, what it did not
/// have by then is not, and the spool goes on.
#[tokio::test]
async fn a_disk_that_hangs() {
    const SOON: Duration = Duration::from_secs(1);
    let (simulated, disk) = disk(1);
    let spool = Spool::open(disk, options(1 << 20, 1 << 19)).unwrap();
    assert_eq!(spool.append_within(Bytes::from("one"), PATIENCE).await, Ok(1));
    simulated.set_hangs(true);
    let late = async |payload: &'static str| {
        let appended = spool.append_within(Bytes::from(payload), SOON);
        tokio::time::timeout(PATIENCE, appended).await.expect("nobody waits for ever")
    };
    assert_eq!(late("two").await, Err(AppendError::Stalled));
    assert_eq!(late("never").await, Err(AppendError::Stalled));
    assert!(spool.waits() >= 2 * SOON, "{:?}", spool.waits());
    simulated.set_hangs(false);
    assert_eq!(spool.append_within(Bytes::from("three"), PATIENCE).await, Ok(3));
    assert_eq!(shown(&rest(&mut spool.reader(None))), "1 one\n2 two\n3 three\n");
    let rests = async {
        while spool.waits() > Duration::ZERO {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rests).await.expect("nobody waits any more");
}

/// Keeps what is said on this thread.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = event.metadata().level().to_string();
        event.record(&mut |field: &Field, value: &dyn Debug| text += &format!(" {field}={value:?}"));
        self.0.lock().unwrap().push(text);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Scenario: a spool is opened on a disk that hangs, and that answers after some time; then on one that answers.
/// Guarantees: it is said that the disk does not answer, and where it is, more than once but ever more rarely; other work goes on
/// meanwhile; the spool is open as soon as the disk answers. Of one that answers nothing is said.
#[tokio::test]
async fn a_disk_that_hangs_at_the_start() {
    let said = Said::default();
    let _guard = tracing::subscriber::set_default(said.clone());
    let (simulated, disk) = disk(1);
    let open = |patience| {
        let disk = disk.clone();
        let work = move || Ok(Spool::open(disk, options(1 << 20, 1 << 19))?);
        source::opening("/data/spool", patience, work)
    };
    simulated.set_hangs(true);
    let lines = || -> Vec<String> {
        let cut = |it: &String| it.split(';').next().unwrap_or_default().to_owned();
        said.0.lock().unwrap().iter().map(cut).collect()
    };
    let answers = async {
        while lines().len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        simulated.set_hangs(false);
    };
    let both = async { tokio::join!(open(Duration::from_millis(200)), answers) };
    let (spool, ()) = tokio::time::timeout(PATIENCE, both).await.expect("it is said");
    assert_eq!(spool.unwrap().append(Bytes::from("one")).await, Ok(1));
    let mut seconds = Vec::new();
    for line in &lines()[..3] {
        let rest = line.strip_prefix("WARN message=the spool at `/data/spool` does not answer: it is not open after ");
        seconds.push(rest.unwrap_or_else(|| panic!("{line}")).strip_suffix(" s").unwrap().parse::<f64>().unwrap());
    }
    assert!(seconds[0] >= 0.1 && seconds[1] >= 0.2 && seconds[2] >= 0.4, "{seconds:?}");
    let last = lines().pop().unwrap();
    assert!(last.starts_with("INFO message=the spool at `/data/spool` has answered after "), "{last}");
    said.0.lock().unwrap().clear();
    tokio::time::timeout(PATIENCE, open(2 * PATIENCE)).await.unwrap().unwrap();
    assert_eq!(lines(), Vec::<String>::new());
}

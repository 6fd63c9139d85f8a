//! A log with a thread of its own: many append, one syncs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::disk::Disk;
use crate::log::Log;
use crate::reader::Reader;
use crate::segments::Segments;
use crate::{AppendError, Durability, OpenError, Options};

/// So much may wait to be written.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// What a payload takes of that at least: so many wait at most, however small they are.
const PERMIT_BYTES: usize = 1 << 10;
/// How often what was answered already is made durable.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// For so long a disk that failed is not asked again.
const REST: Duration = Duration::from_millis(100);

/// A spool that is open for writing. To let go of it waits until what was appended is written.
pub struct Spool {
    disk: Arc<dyn Disk>,
    number: u64,
    segments: Segments,
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The bytes of all segments.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: usize,
    /// The first sequence number that is kept, or that comes next.
    pub first: u64,
    /// The last durable one.
    pub last: u64,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    room: Arc<Semaphore>,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    release: Option<Release>,
    is_closed: bool,
}

#[derive(Clone, Copy)]
struct Release {
    up_to: u64,
    may_close: bool,
}

struct Waiting {
    payload: Bytes,
    answer: oneshot::Sender<Result<u64, AppendError>>,
    _room: OwnedSemaphorePermit,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Opens the spool on a disk, or makes one. Blocks while it looks at the last segment.
    ///
    /// # Errors
    ///
    /// If another process has it, if it is none, or if the disk fails.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let log = Log::open(disk.clone(), options)?;
        let (number, segments) = (log.spool(), log.segments.clone());
        let (publish, durable) = watch::channel(log.durable);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            news: Condvar::new(),
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX / PERMIT_BYTES)),
            bytes: AtomicU64::new(log.bytes()),
        });
        let writer = Writer { log, shared: shared.clone(), publish, durability: options.durability, rests_until: None };
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || writer.run());
        let thread = thread.map_err(|error| OpenError::io(&*disk, "opened", error))?;
        Ok(Self { disk, number, segments, shared, durable, thread: Some(thread) })
    }

    /// The spool's own number, random: another spool at the same place has another one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Appends a payload, and gives its sequence number. Waits for room as long as others wait to be written.
    ///
    /// To let go of the future may or may not append.
    ///
    /// # Errors
    ///
    /// If the payload is not durable: it was not appended, as far as that can be known of a disk that fails.
    pub async fn append(&self, payload: Bytes) -> Result<u64, AppendError> {
        let permits = (payload.len() / PERMIT_BYTES + 1).min(WAITING_BYTES_MAX / PERMIT_BYTES) as u32;
        let closed = || AppendError::Failed("it is closed".to_owned());
        let room = self.shared.room.clone().acquire_many_owned(permits).await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.is_closed {
                return Err(closed());
            }
            queue.waiting.push(Waiting { payload, answer, _room: room });
        }
        self.shared.news.notify_one();
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Deletes, soon, the full segments whose frames all stand at or before `up_to`.
    pub fn release(&self, up_to: u64) {
        self.ask(Release { up_to, may_close: false });
    }

    /// The same, and if all that was appended stands at or before `up_to`, nothing is kept of it: the segment that is
    /// written to is closed for that. If it is older than [`Options::segment_age`], it is closed anyway, to be let go when
    /// its time has come. Asked for often, this makes many small segments.
    pub fn release_all(&self, up_to: u64) {
        self.ask(Release { up_to, may_close: true });
    }

    fn ask(&self, release: Release) {
        let mut queue = self.shared.queue();
        let before = queue.release.unwrap_or(release);
        let may_close = release.may_close || before.may_close;
        queue.release = Some(Release { up_to: release.up_to.max(before.up_to), may_close });
        self.shared.news.notify_one();
    }

    /// The last durable sequence number, as it rises.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Reads the durable frames behind `after`; from the oldest one that is kept on, if that is `None`.
    pub fn reader(&self, after: Option<u64>) -> Reader {
        Reader::new(self.disk.clone(), self.number, self.segments.clone(), after)
    }

    /// How full it is.
    pub fn standing(&self) -> Standing {
        let last = *self.durable.borrow();
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        self.segments.with(|it| Standing {
            bytes,
            segments: it.len(),
            first: it.first().map_or(last + 1, |it| it.first),
            last,
        })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the panic was printed, and those who waited were told.
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Writer {
    log: Log,
    shared: Arc<Shared>,
    publish: watch::Sender<u64>,
    durability: Durability,
    /// The disk has failed, and is left alone for a moment.
    rests_until: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        let closed = Closed(self.shared.clone());
        let mut synced = Instant::now();
        loop {
            let (group, release, is_closed) = self.next(synced + SYNC_EVERY);
            if !group.is_empty() {
                match self.durability {
                    Durability::Fsync => self.append(group),
                    Durability::Memory => self.accept(group),
                }
            }
            if self.log.is_dirty() && (is_closed || synced.elapsed() >= SYNC_EVERY) {
                // What was answered is kept, and written once more the next time.
                let _ = self.log.sync();
                synced = Instant::now();
            }
            if let Some(Release { up_to, may_close }) = release
                && let Err(error) = self.log.release(up_to, may_close)
            {
                tracing::warn!("segments of the spool could not be let go: {error}");
            }
            self.announce();
            if is_closed {
                break;
            }
        }
        drop(closed);
    }

    /// All that wait, or nothing when it is time to sync.
    fn next(&self, sync_at: Instant) -> (Vec<Waiting>, Option<Release>, bool) {
        let mut queue = self.shared.queue();
        while queue.waiting.is_empty() && queue.release.is_none() && !queue.is_closed {
            if !self.log.is_dirty() {
                queue = self.shared.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = sync_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.shared.news.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (std::mem::take(&mut queue.waiting), queue.release.take(), queue.is_closed)
    }

    /// Writes a group, syncs once, and answers.
    fn append(&mut self, group: Vec<Waiting>) {
        if self.rests_until.is_some_and(|it| Instant::now() < it) {
            return refuse(group, &AppendError::Failed("the disk has just failed".to_owned()));
        }
        self.rests_until = None;
        let before = self.log.durable;
        let (written, refused) = self.write(&group);
        let mut group = group.into_iter();
        let accepted: Vec<Waiting> = group.by_ref().take(written).collect();
        match self.log.sync() {
            Ok(()) => {
                self.announce();
                accept(accepted, before);
            }
            Err(error) => {
                self.log.forget();
                self.rests_until = Some(Instant::now() + REST);
                refuse(accepted, &error);
            }
        }
        refuse(group.collect(), &refused.unwrap_or(AppendError::Full));
    }

    /// Makes what was accepted durable, unless the disk has just failed.
    fn syncs(&mut self) -> bool {
        if self.rests_until.is_some_and(|it| Instant::now() < it) {
            return false;
        }
        let synced = self.log.sync().is_ok();
        self.rests_until = (!synced).then(|| Instant::now() + REST);
        synced
    }

    /// Writes a group, and answers.
    fn accept(&mut self, group: Vec<Waiting>) {
        let before = self.log.last();
        // More came than may be lost: it is made durable before its time.
        if self.log.unsynced_bytes() > WAITING_BYTES_MAX && !self.syncs() {
            return refuse(group, &AppendError::Failed("what was accepted cannot be made durable".to_owned()));
        }
        let (written, refused) = self.write(&group);
        let mut group = group.into_iter();
        accept(group.by_ref().take(written).collect(), before);
        refuse(group.collect(), &refused.unwrap_or(AppendError::Full));
    }

    /// Tells readers and onlookers how far it is, before those who wait are told.
    fn announce(&self) {
        self.shared.bytes.store(self.log.bytes(), Ordering::Relaxed);
        self.publish.send_if_modified(|it| std::mem::replace(it, self.log.durable) != self.log.durable);
    }

    fn write(&mut self, group: &[Waiting]) -> (usize, Option<AppendError>) {
        let payloads: Vec<Bytes> = group.iter().map(|it| it.payload.clone()).collect();
        self.log.write(&payloads)
    }
}

fn accept(group: Vec<Waiting>, before: u64) {
    for (waiting, sequence) in group.into_iter().zip(before + 1..) {
        // Who does not wait any more does not mind.
        let _ = waiting.answer.send(Ok(sequence));
    }
}

fn refuse(group: Vec<Waiting>, error: &AppendError) {
    for waiting in group {
        let _ = waiting.answer.send(Err(error.clone()));
    }
}

/// Tells those who wait that the thread is gone, however it ended.
struct Closed(Arc<Shared>);

impl Drop for Closed {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.is_closed = true;
        queue.waiting.clear();
    }
}

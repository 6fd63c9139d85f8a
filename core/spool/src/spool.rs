//! A log with a thread of its own: many append, one syncs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::disk::Disk;
use crate::log::{Log, has_frames};
use crate::reader::Reader;
use crate::scheduling::give_way;
use crate::segments::Segments;
use crate::{AppendError, Durability, OpenError, Options};

/// So much may wait to be written: more than a disk takes during some syncs.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// So much of what was answered may not be durable. It stays in memory until it is, in case that a sync fails.
const UNSYNCED_BYTES_MAX: usize = 16 << 20;
/// What a payload takes of that at least: so many wait at most, however small they are.
const PERMIT_BYTES: usize = 1 << 10;
/// How often what was answered already is made durable.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// For so long is waited at most for as many as came together the last time.
const GATHERED_WITHIN: Duration = Duration::from_millis(1);
/// If fewer came while the disk was syncing, they did so by chance, and the next ones do not wait.
const GATHERED_MIN: usize = 4;
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
    /// The last one that a frame has or had: behind it numbers may be left out.
    pub last_frame: u64,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    room: Arc<Semaphore>,
    bytes: AtomicU64,
}

struct Queue {
    waiting: Vec<Waiting>,
    /// What the thread is at: since when the oldest payload of the group has waited.
    writing_since: Option<Instant>,
    release: Option<Release>,
    is_closed: bool,
    /// The thread is to be woken when so many wait; `usize::MAX`: it is awake, and looks by itself.
    woken_at: usize,
}

#[derive(Clone, Copy)]
struct Release {
    up_to: u64,
    may_close: bool,
}

struct Waiting {
    payload: Bytes,
    since: Instant,
    /// When it is not to be written any more.
    until: Option<Instant>,
    answer: Answer,
}

/// Who waits, and the room that the payload takes meanwhile.
struct Answer {
    told: oneshot::Sender<Result<u64, AppendError>>,
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
            queue: Mutex::new(Queue {
                waiting: Vec::new(),
                writing_since: None,
                release: None,
                is_closed: false,
                woken_at: usize::MAX,
            }),
            news: Condvar::new(),
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX / PERMIT_BYTES)),
            bytes: AtomicU64::new(log.bytes()),
        });
        let durability = options.durability;
        let woken = log.durable;
        let writer = Writer { log, shared: shared.clone(), publish, durability, woken, together: 1, rests_until: None };
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
        self.append_until(payload, None).await
    }

    /// The same, but waits no longer than this for a disk that does not answer. What is not written by then will not be;
    /// what the disk was given may be appended or not.
    ///
    /// # Errors
    ///
    /// [`AppendError::Stalled`] when the time is over, and what [`Spool::append`] says.
    pub async fn append_within(&self, payload: Bytes, patience: Duration) -> Result<u64, AppendError> {
        let appended = self.append_until(payload, Some(Instant::now() + patience));
        tokio::time::timeout(patience, appended).await.unwrap_or(Err(AppendError::Stalled))
    }

    async fn append_until(&self, payload: Bytes, until: Option<Instant>) -> Result<u64, AppendError> {
        let permits = (payload.len() / PERMIT_BYTES + 1).min(WAITING_BYTES_MAX / PERMIT_BYTES) as u32;
        let closed = || AppendError::Failed("it is closed".to_owned());
        let room = self.shared.room.clone().acquire_many_owned(permits).await.map_err(|_| closed())?;
        let (told, answered) = oneshot::channel();
        let is_due = {
            let mut queue = self.shared.queue();
            if queue.is_closed {
                return Err(closed());
            }
            let since = Instant::now();
            queue.waiting.push(Waiting { payload, since, until, answer: Answer { told, _room: room } });
            let is_due = queue.waiting.len() >= queue.woken_at;
            if is_due {
                queue.woken_at = usize::MAX;
            }
            is_due
        };
        if is_due {
            self.shared.news.notify_one();
        }
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

    /// For how long the payload has waited that has waited longest; nothing if none does. It counts whether somebody still
    /// waits for it or not: it tells a disk that does not answer.
    pub fn waits(&self) -> Duration {
        let queue = self.shared.queue();
        let since = queue.writing_since.or_else(|| queue.waiting.first().map(|it| it.since));
        since.map_or(Duration::ZERO, |it| it.elapsed())
    }

    /// The disk that it lies on.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
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
            last_frame: it.last().map_or(last, |it| it.last.filter(|_| has_frames(it)).unwrap_or(it.after)),
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
    /// So far those who read were woken.
    woken: u64,
    /// So many came together the last time.
    together: usize,
    /// The disk has failed, and is left alone for a moment.
    rests_until: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        give_way();
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
            self.wake();
            if let Some(Release { up_to, may_close }) = release
                && let Err(error) = self.log.release(up_to, may_close)
            {
                tracing::warn!("segments of the spool could not be let go: {error}");
            }
            self.wake();
            if is_closed {
                break;
            }
        }
        drop(closed);
    }

    /// All that wait, or nothing when it is time to sync.
    ///
    /// A group costs much, and one more in it little. So where many came together the last time, the first ones wait a
    /// moment for the others; who comes alone waits for nobody.
    fn next(&mut self, sync_at: Instant) -> (Vec<Waiting>, Option<Release>, bool) {
        let mut queue = self.shared.queue();
        queue.writing_since = None;
        let mut gathered_at = None;
        while queue.release.is_none() && !queue.is_closed && queue.waiting.len() < self.together {
            let is_gathering = !queue.waiting.is_empty();
            let until = match is_gathering {
                true => Some(*gathered_at.get_or_insert_with(|| Instant::now() + GATHERED_WITHIN)),
                false => self.log.is_dirty().then_some(sync_at),
            };
            let left = until.map(|it| it.saturating_duration_since(Instant::now()));
            if left.is_some_and(|it| it.is_zero()) {
                break;
            }
            queue.woken_at = if is_gathering { self.together } else { 1 };
            let news = &self.shared.news;
            queue = match left {
                None => news.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) => news.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            queue.woken_at = usize::MAX;
        }
        let mut waiting = std::mem::take(&mut queue.waiting);
        queue.writing_since = waiting.first().map(|it| it.since);
        match waiting.len() {
            0 => {}
            few if few < GATHERED_MIN && self.durability == Durability::Fsync => self.together = 1,
            many => self.together = many,
        }
        let now = Instant::now();
        for late in waiting.extract_if(.., |it| it.until.is_some_and(|until| until <= now)) {
            let _ = late.answer.told.send(Err(AppendError::Stalled));
        }
        (waiting, queue.release.take(), queue.is_closed)
    }

    /// Writes a group, syncs once, and answers.
    fn append(&mut self, group: Vec<Waiting>) {
        let (payloads, mut answers) = parts(group);
        if self.rests_until.is_some_and(|it| Instant::now() < it) {
            return refuse(answers, &AppendError::Failed("the disk has just failed".to_owned()));
        }
        self.rests_until = None;
        let before = self.log.durable;
        let (written, refused) = self.log.write(payloads);
        let others = answers.split_off(written);
        match self.log.sync() {
            Ok(()) => {
                self.announce();
                accept(answers, before);
            }
            Err(error) => {
                self.log.forget();
                self.rests_until = Some(Instant::now() + REST);
                refuse(answers, &error);
            }
        }
        refuse(others, &refused.unwrap_or(AppendError::Full));
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
        let (payloads, mut answers) = parts(group);
        let before = self.log.last();
        // More came than may be lost: it is made durable before its time.
        if self.log.unsynced_bytes() > UNSYNCED_BYTES_MAX && !self.syncs() {
            return refuse(answers, &AppendError::Failed("what was accepted cannot be made durable".to_owned()));
        }
        let (written, refused) = self.log.write(payloads);
        let others = answers.split_off(written);
        accept(answers, before);
        refuse(others, &refused.unwrap_or(AppendError::Full));
    }

    /// Tells those who look how far it is, before those who wait are told.
    fn announce(&self) {
        self.shared.bytes.store(self.log.bytes(), Ordering::Relaxed);
        self.publish.send_if_modified(|it| {
            *it = self.log.durable;
            false
        });
    }

    /// Wakes those who read: behind those who wait, whose clients wait too.
    fn wake(&mut self) {
        self.announce();
        if std::mem::replace(&mut self.woken, self.log.durable) != self.log.durable {
            self.publish.send_modify(|_| {});
        }
    }
}

fn parts(group: Vec<Waiting>) -> (Vec<Bytes>, Vec<Answer>) {
    group.into_iter().map(|it| (it.payload, it.answer)).unzip()
}

fn accept(answers: Vec<Answer>, before: u64) {
    for (answer, sequence) in answers.into_iter().zip(before + 1..) {
        // Who does not wait any more does not mind.
        let _ = answer.told.send(Ok(sequence));
    }
}

fn refuse(answers: Vec<Answer>, error: &AppendError) {
    for answer in answers {
        let _ = answer.told.send(Err(error.clone()));
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

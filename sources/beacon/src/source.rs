//! The source as the engine sees it: reads on while the server fills the spool, or reads again what it had read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source, Span, Stats, causes};
use forebay_listen::Server;
use forebay_spool::source::{FrameError, aside, partition, sequence_of};
use forebay_spool::{Disk, Reader, Spool};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::DropGuard;

use crate::privacy::Addresses;
use crate::reading::{Decoder, Reading};
use crate::retention::{Retention, lock};

/// How long to wait for a disk that cannot be read.
const BREATH: Duration = Duration::from_secs(1);

/// After a read that found all there was, the next one begins no sooner than so long after it did: each read becomes a
/// batch, which costs as much as some hundred events. Who comes alone does not wait for it.
const READ_EVERY: Duration = Duration::from_millis(10);

/// The usual task: reads all that comes.
pub struct Everything {
    /// On a thread that may block, while `next` waits for it.
    pub reading: Option<Reading>,
    pub durable: watch::Receiver<u64>,
    pub keeper: Keeper,
    /// When the next read may begin, if not at once.
    pub rests_until: Option<Instant>,
    /// Ends when all was read that is there.
    pub ends: bool,
    /// Listens as long as it is there.
    pub server: Option<Server>,
    /// Ends what is done beside.
    pub _stop: DropGuard,
}

#[async_trait]
impl Source for Everything {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        lock(&self.keeper.retention).go_on();
        loop {
            if let Some(until) = self.rests_until.take() {
                sleep_until(until).await;
            }
            let began = Instant::now();
            // What becomes durable from here on is news.
            let durable = *self.durable.borrow_and_update();
            match aside(&mut self.reading, |it| it.next(&Position::End)).await? {
                Ok(Some(read)) => {
                    let is_all = sequence_of(&read.span.to).is_some_and(|it| it >= durable);
                    self.rests_until = is_all.then(|| began + READ_EVERY);
                    return Ok(Some(read));
                }
                Ok(None) if self.ends => return Ok(None),
                Ok(None) => self.durable.changed().await.map_err(|_| "the spool was closed")?,
                Err(FrameError::Read(error)) => {
                    tracing::warn!("{}: it is tried again", causes(&error));
                    sleep(BREATH).await;
                }
                Err(FrameError::Format(other)) => return Err(other.into()),
            }
        }
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        Some(Box::new(self.keeper.clone()))
    }

    fn stats(&self) -> Option<Arc<dyn Stats>> {
        self.server.as_ref().map(Server::stats)
    }
}

/// Lets go of frames that every sink has and that no undelivered event needs to be compared with.
#[derive(Clone)]
pub struct Keeper {
    pub spool: Arc<Spool>,
    pub retention: Arc<Mutex<Retention>>,
    /// For how long frames may be in reach.
    pub reach: Duration,
}

impl Keeper {
    fn done(&self) -> u64 {
        let since_millis = now().saturating_sub(self.reach).as_millis() as u64;
        let last = self.spool.standing().last_frame;
        lock(&self.retention).done(since_millis, last)
    }

    /// Lets go for ever of what nobody needs, also of what stands in the segment that is written to.
    pub fn let_go(&self) {
        self.spool.release_all(self.done());
    }

    /// Does so again and again with what has grown old: no request stays longer than it must, however few come after it. So
    /// does the secret of the day, by which addresses are hashed.
    pub async fn run(self, addresses: Addresses, every: Duration) {
        loop {
            sleep(every).await;
            self.let_go();
            if let Err(error) = addresses.forget(now().as_millis() as u64).await {
                tracing::warn!("the salt of yesterday's addresses could not be removed: {error}");
            }
        }
    }
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[async_trait]
impl Settler for Keeper {
    async fn settled(&mut self, settled: &Partition, to: &Position) -> Result<(), BoxError> {
        // Of another spool that stood here once there is nothing to let go.
        if *settled == partition(self.spool.number()) {
            lock(&self.retention).settle(to);
            self.spool.release(self.done());
        }
        Ok(())
    }
}

/// The task after a crash: reads exactly the spans that are asked for.
pub struct Replay(pub Option<Spans>);

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        aside(&mut self.0, Spans::next).await?
    }
}

/// The spans that are left.
pub struct Spans {
    pub decoder: Arc<Decoder>,
    pub disk: Arc<dyn Disk>,
    pub due: VecDeque<Span>,
    pub reading: Option<Reading>,
}

impl Spans {
    /// Reads on in the first span, which it may finish.
    fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let Some(span) = self.due.pop_front() else { return Ok(None) };
        let mut reading = match self.reading.take().filter(|it| *it.reached() == span.from) {
            Some(reading) => reading,
            None => self.begin(&span)?,
        };
        let read = reading.next(&span.to)?;
        let read =
            read.ok_or_else(|| format!("{span} is to be read again, but the spool does not have it any more"))?;
        if read.span.to < span.to {
            self.due.push_front(Span { from: read.span.to.clone(), ..span });
        }
        self.reading = Some(reading);
        Ok(Some(read))
    }

    fn begin(&self, span: &Span) -> Result<Reading, BoxError> {
        let open = |after| Reader::open(self.disk.clone(), after);
        let number = open(None)?.ok_or_else(|| format!("the spool at `{}` is gone", self.disk.place()))?.spool();
        if span.partition != partition(number) {
            return Err(
                format!("`{}` is not the spool at `{}`, but one before it", span.partition, self.disk.place()).into()
            );
        }
        let gone = || format!("the spool at `{}` is gone", self.disk.place());
        let reader = |after| Ok(open(after)?.ok_or_else(gone)?);
        Reading::begin(self.decoder.clone(), span.partition.clone(), span.from.clone(), reader, None)
    }
}

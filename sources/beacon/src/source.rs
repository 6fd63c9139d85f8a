//! The source as the engine sees it: reads on while the server fills the spool, or reads again what it had read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Settler, Source, Span};
use forebay_spool::{Disk, Reader, Spool};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::reading::{Books, Decoder, Reading, lock};

/// How long to wait for a disk that cannot be read.
const BREATH: Duration = Duration::from_secs(1);

/// The partition that a spool is. Another spool in the same place is another one.
pub fn partition(number: u64) -> Partition {
    Partition::new(format!("{number:016x}"))
}

/// The usual task: reads all that comes.
pub struct Everything {
    /// On a thread that may block, while `next` waits for it.
    pub reading: Option<Reading>,
    pub durable: watch::Receiver<u64>,
    pub keeper: Keeper,
    /// Ends when all was read that is there.
    pub ends: bool,
    /// Ends the server.
    pub _stop: DropGuard,
}

#[async_trait]
impl Source for Everything {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            // What becomes durable from here on is news.
            self.durable.borrow_and_update();
            let mut reading = self.reading.take().ok_or("the spool was being read when it was let go")?;
            let (reading, read) = tokio::task::spawn_blocking(move || {
                let read = reading.next(&Position::End);
                (reading, read)
            })
            .await?;
            self.reading = Some(reading);
            match read {
                Ok(Some(read)) => return Ok(Some(read)),
                Ok(None) if self.ends => return Ok(None),
                Ok(None) => self.durable.changed().await.map_err(|_| "the spool was closed")?,
                Err(error) => {
                    tracing::warn!("{}: it is tried again", chain(&error));
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        Some(Box::new(self.keeper.clone()))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Lets go of frames that every sink has and that no undelivered event needs to be compared with.
#[derive(Clone)]
pub struct Keeper {
    pub spool: Arc<Spool>,
    pub books: Arc<Mutex<Books>>,
    /// For how long frames may be in reach.
    pub reach: Duration,
}

impl Keeper {
    fn done(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        lock(&self.books).done(now.saturating_sub(self.reach).as_millis() as u64)
    }

    /// Lets go for ever of what has grown old, also of what stands in the segment that is written to: no request stays
    /// longer than it must, however few come after it.
    pub async fn run(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.spool.release_all(self.done());
        }
    }
}

#[async_trait]
impl Settler for Keeper {
    async fn settled(&mut self, partition: &Partition, to: &Position) -> Result<(), BoxError> {
        // Of another spool that stood here once there is nothing to let go.
        if *partition == self::partition(self.spool.number()) {
            lock(&self.books).settle(to);
            self.spool.release(self.done());
        }
        Ok(())
    }
}

/// The task after a crash: reads exactly the spans that are asked for.
pub struct Replay {
    pub decoder: Arc<Decoder>,
    pub disk: Arc<dyn Disk>,
    pub due: VecDeque<Span>,
    pub reading: Option<Reading>,
}

impl Replay {
    /// Reads on in the first span, which it may finish.
    fn step(&mut self) -> Result<Option<Read>, BoxError> {
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

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        // Nothing else of this pipeline runs yet that this could hold up for long: a replay is a few segments.
        let mut replay = Self {
            decoder: self.decoder.clone(),
            disk: self.disk.clone(),
            due: std::mem::take(&mut self.due),
            reading: self.reading.take(),
        };
        let (replay, read) = tokio::task::spawn_blocking(move || {
            let read = replay.step();
            (replay, read)
        })
        .await?;
        *self = replay;
        read
    }
}

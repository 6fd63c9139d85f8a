//! One shard on its way to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::{BoxError, Position, Read};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::consumer::Consumer;
use crate::cut::{Cut, Cutter};
use crate::lag::{Lag, LagOf};
use crate::last_calls::LastCalls;
use crate::poll::{Polled, Poller, Records};
use crate::push::{Pushed, Pusher};
use crate::record::{Found, Record, Shard};
use crate::room::{Permit, Room};
use crate::start::{Place, Start};
use crate::turns::Turns;

/// What all shards of a source have in common.
#[derive(Clone, Debug)]
pub struct Context {
    pub api: Api,
    pub cutter: Cutter,
    pub room: Room,
    pub last_calls: LastCalls,
    pub turns: Turns,
    pub lag: Lag,
    pub start: Start,
    pub records_max: u32,
    /// Between two calls about a shard.
    pub interval: Duration,
    /// Whether a shard is left when there is nothing more in it.
    pub ends: bool,
    pub gone_after: Duration,
    /// How old a subscription gets.
    pub renewed_after: Duration,
}

/// A read, and the room that it takes until somebody else has it.
#[derive(Debug)]
pub struct HeldRead {
    pub read: Read,
    pub _permit: Option<Permit>,
}

pub type Outlet = mpsc::Sender<Result<HeldRead, BoxError>>;

/// How the reading of a shard has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was read. These follow it.
    Ended(Vec<Found>),
    /// There is nothing more, for the moment.
    CaughtUp,
    /// Nobody wants the rows any more.
    Unwanted,
}

/// A shard that is read.
pub struct Reading {
    context: Arc<Context>,
    shard: Arc<Shard>,
    /// Who is given the records without asking; `None`: they are asked for.
    consumer: Option<Arc<Consumer>>,
    at: Position,
    to: Outlet,
    lag: LagOf,
    /// That there are records of other shards was said.
    said_filtered: bool,
}

/// Nobody wants the rows any more.
pub struct Unwanted;

impl Reading {
    pub fn new(
        context: Arc<Context>,
        shard: Arc<Shard>,
        consumer: Option<Arc<Consumer>>,
        at: Position,
        to: Outlet,
    ) -> Self {
        let lag = context.lag.begin(&shard.partition);
        Self { context, shard, consumer, at, to, lag, said_filtered: false }
    }

    /// Reads to the end of the shard.
    pub async fn run(mut self) -> Outcome {
        let outcome = match self.consumer.clone() {
            Some(consumer) => self.pushed(consumer).await,
            None => self.polled().await,
        };
        outcome.unwrap_or(Outcome::Unwanted)
    }

    async fn polled(&mut self) -> Result<Outcome, Unwanted> {
        let mut poller = Poller::new(&self.context, self.shard.clone());
        loop {
            let bytes = poller.due().await;
            // Whoever has to wait for the service gives the room back until then.
            let permit = self.context.room.take(bytes).await;
            match poller.next(&self.at).await {
                Polled::Later => {}
                Polled::Records(records) => {
                    self.lag.note(records.behind_millis);
                    let is_caught_up = records.is_caught_up;
                    self.give(records, permit).await?;
                    // A closed one may say that there is nothing more before it says that it has ended.
                    if is_caught_up && self.context.ends && !self.shard.is_closed {
                        return Ok(Outcome::CaughtUp);
                    }
                }
                Polled::Ended(children) => return self.end(children).await,
                Polled::Gone => return self.gone().await,
            }
        }
    }

    async fn pushed(&mut self, consumer: Arc<Consumer>) -> Result<Outcome, Unwanted> {
        let mut pusher = Pusher::new(&self.context, self.shard.clone(), consumer);
        loop {
            match pusher.next(&self.at).await {
                Pushed::Records(records) => {
                    self.lag.note(records.behind_millis);
                    let is_caught_up = records.is_caught_up;
                    let permit = self.context.room.take(records.bytes() as u64).await;
                    self.give(records, permit).await?;
                    if is_caught_up && self.shard.is_closed {
                        // It ought to have said that it has ended. Not every server does; asking tells.
                        return self.polled().await;
                    }
                    if is_caught_up && self.context.ends {
                        return Ok(Outcome::CaughtUp);
                    }
                }
                Pushed::Ended(children) => return self.end(children).await,
                Pushed::Gone => return self.gone().await,
                Pushed::Denied => return self.polled().await,
            }
        }
    }

    /// Gives records as reads.
    async fn give(&mut self, records: Records, mut permit: Permit) -> Result<(), Unwanted> {
        permit.resize(records.bytes());
        let Records { mut records, asked, .. } = records;
        if let (Some(place), Some(first)) = (asked, records.front()) {
            self.begin_with(&place, first).await?;
        }
        let to = self.to.clone();
        loop {
            // Rows take more memory than the records that they are made of, the smaller they are the more. So they are made when
            // somebody is about to take them: of however many shards, no more of them wait than there are places.
            let place = to.reserve().await.map_err(|_| Unwanted)?;
            let Some(cut) = self.cut(&mut records) else { return Ok(()) };
            if cut.filtered > 0 && !std::mem::replace(&mut self.said_filtered, true) {
                tracing::info!(
                    shard = %self.shard.partition, rows = cut.filtered,
                    "records were aggregated with some of another shard, and are filtered: their producer sends them again"
                );
            }
            self.at = cut.read.span.to.clone();
            let left = records.iter().map(Record::bytes).sum();
            place.send(Ok(HeldRead { read: cut.read, _permit: Some(permit.split(left, cut.bytes)) }));
        }
    }

    fn cut(&self, records: &mut VecDeque<Record>) -> Option<Cut> {
        self.context.cutter.cut(&self.shard, &self.at, records, &Position::End)
    }

    /// Makes sure that what comes begins where it ought to, and makes durable where it does: when it is to be read again,
    /// this record must be there.
    async fn begin_with(&mut self, asked: &Place, first: &Record) -> Result<(), Unwanted> {
        match asked {
            Place::Record(sequence) if first.sequence == *sequence => return Ok(()),
            Place::Record(_) => {
                let arrived = first.arrival_millis.and_then(|it| jiff::Timestamp::from_millisecond(it).ok());
                // Of a shard into which little comes the last record that was read may expire before the next one comes.
                tracing::warn!(
                    shard = %self.shard.partition, after = %self.at, oldest = first.sequence.as_str(),
                    arrived = arrived.map(tracing::field::display),
                    "the record up to which the shard was read has expired from the stream: if there were any between it and \
                     the oldest one that is left, they have not been read"
                );
            }
            Place::TrimHorizon | Place::Time(_) => {}
        }
        let begin = Position::before(&first.sequence);
        if begin > self.at {
            let read = self.context.cutter.empty(&self.shard.partition, &self.at, begin.clone());
            self.at = begin;
            self.send(read, None).await?;
        }
        Ok(())
    }

    async fn gone(&mut self) -> Result<Outcome, Unwanted> {
        tracing::warn!(
            shard = %self.shard.partition, after = %self.at,
            "the shard is gone: if there were records that had not been read, they have expired from the stream"
        );
        self.end(Vec::new()).await
    }

    async fn end(&mut self, children: Vec<Found>) -> Result<Outcome, Unwanted> {
        let read = self.context.cutter.empty(&self.shard.partition, &self.at, Position::End);
        self.send(read, None).await?;
        Ok(Outcome::Ended(children))
    }

    async fn send(&self, read: Read, permit: Option<Permit>) -> Result<(), Unwanted> {
        self.to.send(Ok(HeldRead { read, _permit: permit })).await.map_err(|_| Unwanted)
    }
}

//! One shard, asked again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::Position;
use forebay_aws::{Patience, Reason, Trouble};
use tokio::time::Instant;

use crate::api::Api;
use crate::asking::Asking;
use crate::last_calls::LastCalls;
use crate::pace::Pace;
use crate::presence::{Gone, Presence};
use crate::reading::Context;
use crate::record::{Found, Record, Shard};
use crate::start::{Place, Start};
use crate::turns::Asker;

/// Being refused for so long is worth a line.
const THROTTLED_LONG: Duration = Duration::from_secs(60);

/// What a shard has answered.
#[derive(Debug)]
pub enum Polled {
    Records(Records),
    /// Nothing yet; it is to be asked again.
    Later,
    /// The shard is closed, and everything of it was read. These follow it.
    Ended(Vec<Found>),
    /// The shard has expired, and what was not read of it.
    Gone,
}

/// Some records, perhaps none.
#[derive(Debug)]
pub struct Records {
    pub records: VecDeque<Record>,
    /// For the first records since a place was asked for: that place.
    pub asked: Option<Place>,
    /// How old the next record was that was there when they were read, in milliseconds; 0: there was none. `None`: nobody said.
    pub behind_millis: Option<u64>,
    /// Whether there was nothing after them when they were read, and the shard is not closed.
    pub is_caught_up: bool,
}

impl Records {
    /// How much memory they take, more or less.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Record::bytes).sum()
    }
}

/// Reads one shard by `GetRecords`. What passes by itself is waited for.
#[derive(Debug)]
pub struct Poller {
    api: Api,
    shard: Arc<Shard>,
    start: Start,
    pace: Pace,
    patience: Patience,
    presence: Presence,
    iterator: Option<String>,
    /// The place that the iterator was asked for, until the first record has come.
    asked: Option<Place>,
    /// Not before this the shard is asked again.
    due: Instant,
    last_calls: LastCalls,
    asker: Asker,
    /// What follows, once everything was read.
    ended: Option<Vec<Found>>,
    /// When everything that was there had been read, if that is so.
    idle: Option<Instant>,
    /// Since when, or since the last line about it, the shard was asked too much.
    throttled: Option<Instant>,
}

impl Poller {
    pub fn new(context: &Context, shard: Arc<Shard>) -> Self {
        let pace = Pace::new(context.records_max, context.interval);
        let last_call = context.last_calls.of(&shard.partition);
        Self {
            api: context.api.clone(),
            due: last_call.map_or_else(Instant::now, |it| it + pace.interval_min()),
            last_calls: context.last_calls.clone(),
            asker: context.turns.join(),
            pace,
            patience: Patience::new(shard.partition.as_str()),
            presence: Presence::new(context.gone_after),
            shard,
            start: context.start,
            iterator: None,
            asked: None,
            ended: None,
            idle: None,
            throttled: None,
        }
    }

    /// Waits until it is time to ask again. About how many bytes the answer will hold.
    pub async fn due(&self) -> u64 {
        tokio::time::sleep_until(self.due).await;
        if self.iterator.is_none() {
            return 0;
        }
        tokio::time::sleep_until(self.asker.turn(Instant::now(), self.pace.interval_min())).await;
        self.pace.answer_bytes(self.idle.map(|it| it.elapsed()))
    }

    /// Asks once. `at` is up to where records were read: it is asked for when an iterator is needed, in the beginning and
    /// after five minutes without a call; the record in which it lies comes once more then.
    pub async fn next(&mut self, at: &Position) -> Polled {
        if let Some(children) = self.ended.take() {
            return Polled::Ended(children);
        }
        tokio::time::sleep_until(self.due).await;
        let asked = match self.iterator.clone() {
            None => self.begin(at).await.map(|()| Polled::Later),
            Some(iterator) => self.ask(&iterator).await,
        };
        asked.unwrap_or(Polled::Gone)
    }

    async fn ask(&mut self, iterator: &str) -> Result<Polled, Gone> {
        let called = Instant::now();
        self.last_calls.note(&self.shard.partition, called);
        let answer = match self.api.records(&self.shard, iterator, self.pace.records()).await {
            Ok(answer) => answer,
            Err(trouble) => return self.failed(trouble, called).await.map(|()| Polled::Later),
        };
        self.found();
        let bytes = answer.records.iter().map(size).sum();
        self.due = called + self.pace.answered(answer.records.len(), bytes);
        if answer.next.is_none() {
            self.ended = Some(answer.children);
        }
        self.iterator = answer.next;
        let asked = if answer.records.is_empty() { None } else { self.asked.take() };
        self.idle = (answer.behind_millis == Some(0)).then_some(called);
        let is_caught_up = self.ended.is_none() && self.idle.is_some();
        let (records, behind_millis) = (answer.records.into(), answer.behind_millis);
        Ok(Polled::Records(Records { records, asked, behind_millis, is_caught_up }))
    }

    /// Asks for an iterator.
    async fn begin(&mut self, at: &Position) -> Result<(), Gone> {
        let Some(mut asking) = Asking::after(at, self.start) else {
            self.ended = Some(Vec::new());
            return Ok(());
        };
        loop {
            match self.api.iterator(&self.shard, &asking.place()).await {
                Ok(iterator) => {
                    self.found();
                    (self.iterator, self.asked) = (Some(iterator), Some(asking.into_place()));
                    return Ok(());
                }
                Err(trouble) if asking.is_refused(&self.shard, &trouble) => {}
                Err(trouble) => return self.trouble(trouble).await,
            }
        }
    }

    /// Decides what to do about records that were not to be had.
    async fn failed(&mut self, trouble: Trouble, called: Instant) -> Result<(), Gone> {
        match trouble.reason() {
            // Nobody has asked for five minutes.
            Some(Reason::Expired) => {
                self.iterator = None;
                self.due = called;
            }
            Some(Reason::Throttled | Reason::TooMany) => {
                let since = *self.throttled.get_or_insert(called);
                if called - since > THROTTLED_LONG {
                    tracing::warn!("{trouble}, for {THROTTLED_LONG:?} now: do others read the same shard?");
                    self.throttled = Some(called);
                }
                self.due = called + self.pace.throttled(self.patience.fraction());
            }
            Some(Reason::Invalid) => {
                self.iterator = None;
                self.due = Instant::now() + self.patience.failed_with(&trouble);
            }
            _ => self.trouble(trouble).await?,
        }
        self.due = self.due.max(called + self.pace.interval_min());
        Ok(())
    }

    /// Asks again later, unless it is clear that the shard has expired.
    async fn trouble(&mut self, trouble: Trouble) -> Result<(), Gone> {
        self.presence.check(&self.api, &self.shard, &trouble).await?;
        self.due = Instant::now() + self.patience.failed_with(&trouble).max(self.pace.interval_min());
        Ok(())
    }

    fn found(&mut self) {
        self.patience.reset();
        self.presence.found();
        self.throttled = None;
    }
}

/// What the service counts of a record.
fn size(record: &Record) -> u64 {
    (record.data.len() + record.partition_key.as_ref().map_or(0, String::len)) as u64
}

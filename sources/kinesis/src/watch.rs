//! Finds the shards of a stream, and reads each of them when its time has come.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use forebay_api::Position;
use forebay_aws::{Patience, Reason};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::consumer::Consumer;
use crate::durable::Durable;
use crate::family::Family;
use crate::reading::{Context, HeldRead, Outcome, Outlet, Reading, Unwanted};
use crate::record::{Found, Shard};
use crate::stream::Stream;

/// How often all shards are listed. A closed shard tells its children itself, so that this finds only what that missed.
const LISTED_EVERY: Duration = Duration::from_secs(60);

/// How soon they are listed again while a shard has ended whose children are not known, and so often at most.
const HURRIED_EVERY: Duration = Duration::from_secs(2);
const HURRIED_TIMES: u32 = 60;

/// What a listing finds.
enum Listed {
    Some(Vec<Found>),
    /// That was all: these are there.
    All(BTreeSet<String>),
}

/// When to list.
#[derive(Default)]
struct ListTimer {
    /// At once.
    now: Notify,
    /// So often again soon.
    soon: AtomicU32,
}

/// A stream that is read.
pub struct Watch {
    context: Arc<Context>,
    stream: Arc<Stream>,
    family: Family,
    consumer: Option<Arc<Consumer>>,
    durable: Durable,
    /// Places where shards are begun that are not durable yet. Nothing is read before all of them are.
    settling: JoinSet<()>,
    to: Outlet,
}

impl Watch {
    /// `consumer`: who gets the records pushed; `None`: they are polled.
    pub fn new(
        context: Arc<Context>,
        stream: Arc<Stream>,
        family: Family,
        consumer: Option<Arc<Consumer>>,
        durable: Durable,
        to: Outlet,
    ) -> Self {
        Self { context, stream, family, consumer, durable, settling: JoinSet::new(), to }
    }

    /// Reads until there is nothing more, or nobody wants it any more.
    pub async fn run(mut self) {
        let timer = ListTimer::default();
        let (found, mut listed) = mpsc::channel(1);
        let (api, stream) = (self.context.api.clone(), self.stream.clone());
        let listing = list(&api, &stream, found, &timer);
        tokio::pin!(listing);
        let mut readings = JoinSet::new();
        loop {
            if self.settling.is_empty() {
                self.begin(&mut readings);
                if self.context.ends && self.family.is_through() {
                    return;
                }
            }
            tokio::select! {
                // It has no end.
                () = &mut listing => {}
                Some(_) = self.settling.join_next(), if !self.settling.is_empty() => {}
                Some(listed) = listed.recv() => {
                    if self.learn(listed).await.is_err() {
                        return;
                    }
                    if !self.family.lacks_shards() {
                        timer.soon.store(0, Ordering::Relaxed);
                    }
                }
                Some(read) = readings.join_next(), if !readings.is_empty() => match read {
                    Ok((_, Outcome::Unwanted)) => return,
                    Ok((shard, Outcome::CaughtUp)) => self.family.caught_up(&shard),
                    Ok((shard, Outcome::Ended(children))) => {
                        self.family.ended(&shard, children);
                        if self.family.lacks_shards() {
                            timer.soon.store(HURRIED_TIMES, Ordering::Relaxed);
                            timer.now.notify_one();
                        }
                    }
                    Err(panicked) => {
                        let what = format!("reading a shard of `{}` failed: {panicked}", self.stream);
                        // An error: nobody wants to know.
                        let _ = self.to.send(Err(what.into())).await;
                        return;
                    }
                },
            }
        }
    }

    /// Begins to read the shards whose time has come.
    fn begin(&mut self, readings: &mut JoinSet<(String, Outcome)>) {
        for begun in self.family.begin() {
            let Found { id, hash_keys, is_open, .. } = begun.shard;
            tracing::debug!(shard = %self.stream.partition(&id), after = %begun.from, "begins to read");
            let shard = Arc::new(Shard::new(self.stream.clone(), id.clone(), hash_keys, !is_open));
            let reading = Reading::new(self.context.clone(), shard, self.consumer.clone(), begun.from, self.to.clone());
            readings.spawn(async move { (id, reading.run().await) });
        }
    }

    /// Takes notice of what was listed.
    async fn learn(&mut self, listed: Listed) -> Result<(), Unwanted> {
        let names = match listed {
            Listed::Some(found) => {
                for shard in self.family.learn(found) {
                    tracing::error!(
                        shard = %self.stream.partition(&shard),
                        "the shard is open, but was read to its end before: was the stream made anew under its name? \
                         its records are not read until the pipeline is given another state"
                    );
                }
                return Ok(());
            }
            Listed::All(names) => names,
        };
        for (shard, position) in self.family.listed(&names) {
            let partition = self.stream.partition(&shard);
            let read = self.context.cutter.empty(&partition, &Position::Start, position);
            self.settling.spawn(self.durable.expect(partition).wait());
            self.to.send(Ok(HeldRead { read, _permit: None })).await.map_err(|_| Unwanted)?;
        }
        Ok(())
    }
}

/// Lists the shards of a stream again and again. What a page has is of use even if the next one cannot be had.
async fn list(api: &Api, stream: &Stream, to: mpsc::Sender<Listed>, timer: &ListTimer) {
    let mut patience = Patience::new(stream.name());
    loop {
        let mut names = BTreeSet::new();
        let mut token = None;
        loop {
            match api.list_shards(stream, None, token.clone()).await {
                Ok(page) => {
                    patience.reset();
                    names.extend(page.shards.iter().map(|it| it.id.clone()));
                    let is_last = page.token.is_none();
                    token = page.token;
                    // An error: who listens is gone, and this with it.
                    let _ = to.send(Listed::Some(page.shards)).await;
                    if is_last {
                        break;
                    }
                }
                Err(trouble) => {
                    // A page that expires, or a stream that was made anew: from the beginning.
                    if matches!(trouble.reason(), Some(Reason::Expired | Reason::NotFound)) {
                        token = None;
                        names.clear();
                    }
                    patience.wait(&trouble).await;
                }
            }
        }
        let _ = to.send(Listed::All(names)).await;
        let is_hurried = timer.soon.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1)).is_ok();
        let every = if is_hurried { HURRIED_EVERY } else { LISTED_EVERY };
        // An elapsed time is as good a reason.
        let _ = tokio::time::timeout(every.mul_f64(0.75 + 0.5 * patience.fraction()), timer.now.notified()).await;
    }
}

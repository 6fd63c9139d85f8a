//! The task that reads the table, decides, takes leases and asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_api::BoxError;
use forebay_aws::{Patience, Trouble};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::claims::Shards;
use crate::compare::{Compared, Comparisons};
use crate::decide::{Action, Worker, decide};
use crate::held::{Held, LeaseContext, jitter};
use crate::lease::{Lease, Write};
use crate::lease_state::{LeaseState, known};
use crate::lineage::{Change, is_new};
use crate::seen::Seen;
use crate::table::Written;

/// What is taken is handed on; an error is the last.
pub type TakenLeases = Sender<Result<Arc<Held>, BoxError>>;

pub struct Keeper {
    context: LeaseContext,
    shards: Arc<dyn Shards>,
    worker: Worker,
    /// How often the shards of the streams are listed.
    list_every: Duration,
    taken: TakenLeases,
    /// The origin of this process's clock.
    begun: Instant,
    seen: Seen,
    held: BTreeMap<String, Arc<Held>>,
    /// When the shards are to be listed again.
    list_at: Instant,
    comparisons: Comparisons,
    /// Those that renew. They end with the keeper.
    watching: JoinSet<()>,
    rounds: u64,
    /// Whether the table is known to be there.
    is_prepared: bool,
    /// The streams that were compared with the table: of these it has every lease that it ought to have.
    followed: BTreeSet<Option<String>>,
}

impl Keeper {
    pub fn new(
        context: LeaseContext,
        shards: Arc<dyn Shards>,
        worker: Worker,
        list_every: Duration,
        taken: TakenLeases,
    ) -> Self {
        let (begun, gap_max) = (Instant::now(), context.times.gap_max);
        let comparisons = Comparisons::new(shards.clone(), context.wakeup.clone());
        Self {
            context,
            shards,
            worker,
            list_every,
            taken,
            begun,
            seen: Seen::new(gap_max, Duration::ZERO),
            held: BTreeMap::new(),
            list_at: begun,
            comparisons,
            watching: JoinSet::new(),
            rounds: 0,
            is_prepared: false,
            followed: BTreeSet::new(),
        }
    }

    /// Goes on until `stop`; then everything that is still held is released.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        if let Err(error) = self.work(&mut stop).await {
            tokio::select! {
                // An error: nobody wants to know.
                _ = self.taken.send(Err(error)) => {}
                _ = stop.wait_for(|it| *it) => {}
            }
        }
        // Side by side: if the table cannot be reached, each goes on trying for as long as it has its lease.
        let mut releasing = JoinSet::new();
        for held in std::mem::take(&mut self.held).into_values() {
            releasing.spawn(async move { held.release().await });
        }
        while releasing.join_next().await.is_some() {}
        // Some are being released already, and are not known any more.
        while self.watching.join_next().await.is_some() {}
        self.sweep().await;
    }

    /// Gives up what is still this process's by the table: leases that ran out before they could be released, and such as were
    /// taken by a write whose answer never came. Tried once: without it they run out before the others' eyes.
    async fn sweep(&self) {
        let Ok(leases) = self.context.table.scan().await else { return };
        for lease in leases.iter().filter(|it| it.holder() == Some(&self.worker.id)) {
            if let Err(trouble) = self.context.table.write(lease, &Write::Release).await {
                tracing::debug!("{trouble}");
            }
        }
    }

    /// Ends with `stop`, or with what cannot be helped.
    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), BoxError> {
        let mut patience = Patience::new(&self.worker.id);
        while !*stop.borrow() {
            let looked = tokio::select! {
                biased;
                _ = stop.wait_for(|it| *it) => return Ok(()),
                looked = self.look() => looked,
            };
            // A lease must not be taken without anybody knowing: this is not cut off.
            let result = match looked {
                Ok(()) => self.act(stop).await,
                Err(trouble) => Err(trouble),
            };
            tokio::select! {
                _ = stop.wait_for(|it| *it) => return Ok(()),
                passed = self.pause(result, &mut patience) => passed?,
            }
        }
        Ok(())
    }

    /// Waits until it is time to look again.
    async fn pause(&self, result: Result<(), Trouble>, patience: &mut Patience) -> Result<(), BoxError> {
        let longest = self.context.times.renew;
        match result {
            Ok(()) => {
                patience.reset();
                tokio::select! {
                    () = tokio::time::sleep(longest.mul_f64(jitter(&self.worker.id, self.rounds))) => {}
                    () = self.context.wakeup.any.notified() => {}
                }
                Ok(())
            }
            Err(Trouble::Wrong(error)) => Err(error),
            Err(trouble) => {
                patience.wait_until(&trouble, Instant::now() + longest).await;
                Ok(())
            }
        }
    }

    /// Reads the table, and compares it with the streams when it is time to.
    async fn look(&mut self) -> Result<(), Trouble> {
        if !self.is_prepared {
            self.context.table.prepare().await?;
            self.is_prepared = true;
        }
        let mut leases = self.context.table.scan().await?;
        self.check(&leases)?;
        let streams = self.shards.streams();
        leases.retain(|it| streams.contains(&it.stream));
        self.seen.note(leases, self.now());
        self.rounds += 1;
        self.forget();
        self.follow_the_streams().await;
        if self.context.wakeup.finished.swap(false, Ordering::Relaxed) || self.list_at <= Instant::now() {
            self.list_at = Instant::now() + self.list_every.mul_f64(jitter(&self.worker.id, self.rounds));
            let leases: Vec<Lease> = self.seen.leases().cloned().collect();
            self.comparisons.begin(&leases);
        }
        Ok(())
    }

    /// Does what is to be done about what was seen.
    async fn act(&mut self, stop: &watch::Receiver<bool>) -> Result<(), Trouble> {
        let held = self.held.keys().cloned().collect();
        for action in decide(&self.worker, &self.seen, &held) {
            if *stop.borrow() || self.taken.is_closed() {
                break;
            }
            match action {
                // The first lease that is kept makes the stream a begun one, and of such a stream missing leases are those of
                // new shards: all must be there before.
                Action::Take(key) if self.lacks_leases(&key) => {}
                Action::Take(key) => self.take(&key).await?,
                Action::Request(key) => self.request(&key).await?,
            }
        }
        Ok(())
    }

    /// Whether a lease is one of a stream that nobody has begun, and not all of its leases may be there.
    fn lacks_leases(&self, key: &str) -> bool {
        let stream = self.seen.get(key).and_then(|it| it.stream.clone());
        is_new(stream.as_deref(), self.seen.leases()) && !self.followed.contains(&stream)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Forgets the leases that nobody here uses any more.
    fn forget(&mut self) {
        self.held.retain(|_, held| !(held.is_let_go() && held.is_over()));
        while self.watching.try_join_next().is_some() {}
    }

    /// Whether the table is that of an application of one stream, or of several, as this one is.
    fn check(&self, leases: &[Lease]) -> Result<(), Trouble> {
        let streams = self.shards.streams();
        let other = leases.iter().find(|it| streams.iter().all(|stream| stream.is_some() != it.stream.is_some()));
        other.map_or(Ok(()), |lease| {
            let (key, hint) = match &lease.stream {
                Some(stream) => {
                    (&lease.key, format!("it is for several streams, such as `{stream}`: name them as a list"))
                }
                None => (&lease.key, "it is for one stream: name only that".to_owned()),
            };
            Err(Trouble::Wrong(format!("{} has a lease `{key}`; {hint}", self.context.table).into()))
        })
    }

    /// Adds the leases that are missing and removes those that are not needed, of the streams that were compared with the
    /// table. What fails is tried at the next listing: one stream's trouble is not that of the others.
    async fn follow_the_streams(&mut self) {
        while let Some(compared) = self.comparisons.next() {
            match self.follow(compared).await {
                Ok(stream) => drop(self.followed.insert(stream)),
                Err(error) => {
                    tracing::warn!("the shards cannot be compared with {}: {error}", self.context.table);
                    self.list_at = Instant::now();
                }
            }
        }
    }

    async fn follow(&mut self, compared: Compared) -> Result<Option<String>, BoxError> {
        let is_valid = compared.is_valid();
        for change in compared.changes? {
            if !is_valid {
                return Err("it took too long".into());
            }
            self.change(change).await.map_err(Trouble::into_error)?;
        }
        Ok(compared.stream)
    }

    async fn change(&mut self, change: Change) -> Result<(), Trouble> {
        let (table, seen) = (&self.context.table, &mut self.seen);
        let now = self.begun.elapsed();
        match change {
            Change::Create(lease) => {
                if table.create(&lease).await? {
                    tracing::debug!("`{}` is added to {table}", lease.key);
                    seen.note_one(*lease, now);
                }
            }
            Change::Children { key, children } => {
                if let Some(lease) = seen.get(&key)
                    && let Written::Done(lease) = table.write(lease, &Write::Children(children)).await?
                {
                    seen.note_one(lease, now);
                }
            }
            Change::Delete { key } => {
                if let Some(lease) = seen.get(&key)
                    && table.delete(lease).await?
                {
                    tracing::debug!("`{key}` is removed from {table}");
                    seen.forget(&key);
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, key: &str) -> Result<(), Trouble> {
        let Some(was) = self.seen.get(key).cloned() else { return Ok(()) };
        // As long as nobody fetches what was taken, others may have the rest.
        let Ok(room) = self.taken.clone().try_reserve_owned() else { return Ok(()) };
        let partition = self.shards.partition(was.stream.as_deref(), &was.shard);
        let ours = was.ours.as_deref().and_then(LeaseState::decode);
        if let Some(other) = ours.as_ref().filter(|it| it.partition != partition) {
            let (table, other) = (&self.context.table, &other.partition);
            let what = format!("{table}: the lease `{key}` is that of `{other}`, not of `{partition}`");
            return Err(Trouble::Wrong(what.into()));
        }
        let sent = Instant::now();
        let by = self.worker.id.clone();
        let lease = match self.context.table.write(&was, &Write::Take { by }).await? {
            Written::Done(lease) => lease,
            // Somebody was quicker, or the answer of an earlier try was lost: the next round sees which.
            Written::Refused(now) => {
                self.note(key, now);
                return Ok(());
            }
        };
        tracing::info!(from = was.holder(), "the lease of `{partition}` is taken");
        self.seen.note_one(lease.clone(), self.now());
        let kept = known(&lease.checkpoint, ours.as_ref(), self.context.rows);
        let held = Arc::new(Held::new(self.context.clone(), lease, partition, kept, sent));
        self.held.insert(key.to_owned(), held.clone());
        self.watching.spawn(held.clone().watch_over());
        room.send(Ok(held.clone()));
        if self.taken.is_closed() {
            // It may have come too late to be found there.
            held.let_go();
        }
        Ok(())
    }

    async fn request(&mut self, key: &str) -> Result<(), Trouble> {
        let Some(was) = self.seen.get(key).cloned() else { return Ok(()) };
        let by = self.worker.id.clone();
        match self.context.table.write(&was, &Write::Request { by }).await? {
            Written::Done(lease) => {
                tracing::info!(from = was.owner, "the lease `{key}` is asked for");
                self.note(key, Some(lease));
            }
            Written::Refused(now) => self.note(key, now),
        }
        Ok(())
    }

    fn note(&mut self, key: &str, lease: Option<Lease>) {
        let now = self.now();
        match lease {
            Some(lease) => self.seen.note_one(lease, now),
            None => self.seen.forget(key),
        }
    }
}

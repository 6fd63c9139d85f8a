//! A lease that this process holds.
//!
//! It is held for a while after each write that went through, counted from the moment before the write was sent. Others
//! count from the moment at which they saw it, which is later, and for longer: so this process knows that it has lost a
//! lease before anybody may take it. One that is stopped in the middle of something may not know in time; what it writes
//! then has no effect, since the row is another one by now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_api::{ClaimError, Kept, Partition, Position};
use forebay_aws::{Patience, Trouble};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::RowsAre;
use crate::lease::{Lease, Write};
use crate::lease_state::LeaseState;
use crate::table::{LeaseTable, STATE_BYTES_MAX, Written};

/// How long things about a lease last.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For so long a write makes a lease ours: four fifths of what others wait. The rest is for clocks that run at
    /// different speeds.
    pub valid: Duration,
    /// After this time without a write it is renewed, and the table is looked at.
    pub renew: Duration,
    /// From one look to the next no more than this counts as time that was spent looking.
    pub gap_max: Duration,
    /// So long a hand-over may take.
    pub hand_over: Duration,
}

impl Times {
    pub fn new(duration: Duration, hand_over: Duration) -> Self {
        Self { valid: duration.mul_f64(0.8), renew: duration / 3, gap_max: duration / 2, hand_over }
    }
}

/// What all leases of a process stand on.
#[derive(Clone, Debug)]
pub struct LeaseContext {
    pub table: LeaseTable,
    /// The name of this process in the table.
    pub me: Arc<str>,
    pub rows: RowsAre,
    pub times: Times,
    pub wakeup: Arc<Wakeup>,
}

/// What those who decide about leases want to hear.
#[derive(Debug, Default)]
pub struct Wakeup {
    /// A lease is free, or a shard is done with.
    pub any: Notify,
    /// A shard is done with: there may be others that come after it.
    pub finished: AtomicBool,
}

/// A lease, as long as it lasts.
#[derive(Debug)]
pub struct Held {
    pub key: String,
    pub partition: Partition,
    /// What was kept when it was taken.
    pub kept: Kept,
    context: LeaseContext,
    /// One write at a time: each expects what the one before has written.
    row: Mutex<Row>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug)]
struct Row {
    lease: Lease,
    committed: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Until then it is ours.
    until: Instant,
    /// Since when somebody wants it.
    wanted: Option<Instant>,
    /// It is not ours any more, whatever `until` says.
    over: bool,
    /// Nobody here uses it any more.
    let_go: bool,
}

impl Held {
    /// A lease that has just been taken, by a write that was sent at `sent`.
    pub fn new(context: LeaseContext, lease: Lease, partition: Partition, kept: Kept, sent: Instant) -> Self {
        let until = sent + context.times.valid;
        let (standing, _) = watch::channel(Standing { until, wanted: None, over: false, let_go: false });
        let committed = kept.committed.clone();
        let key = lease.key.clone();
        Self { key, partition, kept, context, row: Mutex::new(Row { lease, committed }), standing }
    }

    /// The row as it is known.
    pub async fn lease(&self) -> Lease {
        self.row.lock().await.lease.clone()
    }

    /// Whether nobody here uses it any more.
    pub fn is_let_go(&self) -> bool {
        self.standing.borrow().let_go
    }

    /// Nobody here uses it any more: if it is still ours, it is released.
    pub fn let_go(&self) {
        self.standing.send_modify(|it| it.let_go = true);
        self.context.wakeup.any.notify_one();
    }

    /// Whether it is not ours any more. What is over stays over.
    pub fn is_over(&self) -> bool {
        self.standing.send_if_modified(|it| {
            let runs_out = !it.over && it.until <= Instant::now();
            it.over |= runs_out;
            runs_out
        });
        self.standing.borrow().over
    }

    fn until(&self) -> Instant {
        self.standing.borrow().until
    }

    fn end(&self) {
        self.standing.send_modify(|it| it.over = true);
    }

    /// Waits until it is not ours any more.
    pub async fn lost(&self) {
        let mut changes = self.standing.subscribe();
        while !self.is_over() {
            let until = changes.borrow_and_update().until;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Waits until somebody else wants it.
    pub async fn wanted(&self) {
        let mut changes = self.standing.subscribe();
        // An error cannot be: the sender is here.
        let _ = changes.wait_for(|it| it.wanted.is_some()).await;
    }

    /// Makes a state and a position durable.
    pub async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError> {
        if state.len() > STATE_BYTES_MAX {
            let (bytes, partition) = (state.len(), &self.partition);
            let what = format!(
                "what is under way of `{partition}` is {bytes} bytes long, more than a row of {} can hold",
                self.context.table
            );
            return Err(ClaimError::Failed(what.into()));
        }
        let mut row = self.row.lock().await;
        let checkpoint = row.lease.checkpoint.after(row.committed.as_ref(), committed, self.context.rows);
        let ours = LeaseState {
            partition: self.partition.clone(),
            checkpoint: checkpoint.clone(),
            committed: committed.clone(),
            state: state.to_vec(),
        };
        self.write(&mut row, &Write::Keep { checkpoint, ours: ours.encode() }).await?;
        row.committed = Some(committed.clone());
        if *committed == Position::End {
            self.context.wakeup.finished.store(true, Ordering::Relaxed);
            self.context.wakeup.any.notify_one();
        }
        Ok(())
    }

    /// Gives it up, to whoever wants it. Once the time is over there is nothing to give up.
    pub async fn release(&self) {
        let mut row = self.row.lock().await;
        if !self.is_over() {
            self.end();
            let until = self.until();
            let mut patience = Patience::new(&self.key);
            while Instant::now() < until {
                match self.context.table.write(&row.lease, &Write::Release).await {
                    Ok(Written::Refused(Some(now))) if now.holder() == Some(&*self.context.me) => row.lease = now,
                    Ok(_) => break,
                    Err(trouble) => patience.wait_until(&trouble, until).await,
                }
            }
        }
        drop(row);
        self.let_go();
    }

    /// Writes until it is written or the lease is lost.
    async fn write(&self, row: &mut Row, write: &Write) -> Result<(), ClaimError> {
        let mut patience = Patience::new(&self.key);
        while !self.is_over() {
            let sent = Instant::now();
            match self.context.table.write(&row.lease, write).await {
                Ok(Written::Done(now)) => {
                    row.lease = now;
                    self.standing.send_modify(|it| it.until = it.until.max(sent + self.context.times.valid));
                    // The answer may have come so late that somebody else has the lease by now: nothing must be built
                    // upon it then.
                    return if self.is_over() { Err(ClaimError::Lost) } else { Ok(()) };
                }
                // Either a write of this process has moved the counter and its answer was lost, or somebody has asked
                // for the lease: it is ours in both cases.
                Ok(Written::Refused(Some(now))) if now.holder() == Some(&*self.context.me) => {
                    if now.checkpoint_owner.is_some() {
                        let since = Instant::now();
                        self.standing.send_modify(|it| it.wanted = it.wanted.or(Some(since)));
                    }
                    row.lease = now;
                }
                Ok(Written::Refused(_)) => {
                    tracing::info!("the lease of `{}` has been taken by another process", self.partition);
                    self.end();
                }
                Err(Trouble::Wrong(error)) => return Err(ClaimError::Failed(error)),
                Err(trouble) => patience.wait_until(&trouble, self.until()).await,
            }
        }
        Err(ClaimError::Lost)
    }

    /// Renews it for as long as it is ours and used, and lets go of it when somebody has wanted it for too long.
    pub async fn watch_over(self: Arc<Self>) {
        let mut changes = self.standing.subscribe();
        let mut nth = 0_u64;
        while !self.is_over() {
            let standing = *changes.borrow_and_update();
            if standing.let_go {
                return self.release().await;
            }
            let now = Instant::now();
            let overdue = standing.wanted.map(|it| it + self.context.times.hand_over);
            if overdue.is_some_and(|it| it <= now) {
                tracing::warn!("`{}` was not handed over in time; what is under way is abandoned", self.partition);
                return self.release().await;
            }
            // The last write was sent when it is over, less what a write gives.
            let renew =
                standing.until - self.context.times.valid + self.context.times.renew.mul_f64(jitter(&self.key, nth));
            if renew <= now {
                nth += 1;
                let mut row = self.row.lock().await;
                // It may have been written while this waited.
                if self.until() == standing.until
                    && let Err(ClaimError::Failed(error)) = self.write(&mut row, &Write::Renew).await
                {
                    tracing::error!("the lease of `{}` cannot be renewed: {error}", self.partition);
                    self.end();
                }
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(overdue.map_or(renew, |it| it.min(renew))) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

/// A factor from 0.8 up to 1, so that leases that were taken together are not renewed together.
pub fn jitter(of: &str, nth: u64) -> f64 {
    let random = xxh3_64(format!("{of} {nth} {}", std::process::id()).as_bytes());
    0.8 + 0.2 * (random >> 11) as f64 / (1_u64 << 53) as f64
}

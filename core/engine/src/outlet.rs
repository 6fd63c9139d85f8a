//! The engine's side of one sink: joins shares into deliveries, and keeps the sink's books.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use forebay_api::Batch;
use forebay_state::{Change, Pending, SourceSpan, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{Id, JoinError, JoinSet};

use crate::budget::{Budget, Held, UNIT};
use crate::counters::{Counters, add};
use crate::delivery::{Delivery, SinkSide};
use crate::flow::Share;
use crate::ledger::Ledger;
use crate::pace::{Pace, Turn};
use crate::rules::{Answer, Fill, Flush, Naming, Rules, Verdict, fits, flush};
use crate::settle::Settlements;
use crate::{RunError, tasks};

/// Shares that may wait for a sink, whatever their size. Few in tests, so that the simulation's lanes do wait.
const QUEUED_SHARES_MAX: usize = if cfg!(test) { 5 } else { 64 };
/// Bytes that may wait for a sink. One share may be larger, and then waits alone. Few in tests, as above.
pub(crate) const QUEUED_BYTES_MAX: u64 = if cfg!(test) { 3 << 10 } else { 8 << 20 };

/// Where lanes put the shares of one sink.
#[derive(Clone)]
pub(crate) struct Inlet {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    budget: Option<Budget>,
    name: Arc<str>,
    counters: Arc<Counters>,
}

/// The other end of an [`Inlet`].
pub(crate) type Queue = mpsc::Receiver<Queued>;

/// A share that waits for a sink.
pub(crate) struct Queued {
    share: Share,
    /// What it takes of the queue's room.
    room: OwnedSemaphorePermit,
    /// What it takes of the sink's budget.
    held: Held,
}

/// The outlet is gone, and has said why itself.
pub(crate) struct Gone;

impl Inlet {
    /// A bounded way to a sink.
    pub fn new(name: &str, budget: Option<Budget>, counters: Arc<Counters>) -> (Self, Queue) {
        let (queue, other_end) = mpsc::channel(QUEUED_SHARES_MAX);
        let room = Arc::new(Semaphore::new((QUEUED_BYTES_MAX / UNIT) as usize));
        (Self { queue, room, budget, name: name.into(), counters }, other_end)
    }

    /// Waits for room, then hands the share over.
    pub async fn send(&self, share: Share) -> Result<(), Gone> {
        let units = share.byte_count().div_ceil(UNIT).min(QUEUED_BYTES_MAX / UNIT) as u32;
        let room = self.room.clone().acquire_many_owned(units).await.map_err(|_| Gone)?;
        let queued = QUEUED_BYTES_MAX - self.room.available_permits() as u64 * UNIT;
        let counters = self.counters.node(&self.name);
        counters.queued_bytes_peak.fetch_max(queued, Relaxed);
        add(&counters.rows_in, share.row_count());
        let held = match &self.budget {
            Some(budget) => tokio::select! {
                biased;
                held = budget.take(share.byte_count()) => held,
                // Others may hold all of it for long.
                () = self.queue.closed() => return Err(Gone),
            },
            None => Held::default(),
        };
        self.queue.send(Queued { share, room, held }).await.map_err(|_| Gone)
    }
}

/// Everything about a sink that does not change while the pipeline runs.
pub(crate) struct OutletSettings {
    /// The sink's number in the plan.
    pub index: usize,
    pub batch: Batch,
    pub in_flight_max: usize,
    pub fingerprint: String,
    /// See [`forebay_state::Snapshot::epoch`].
    pub epoch: String,
    /// See [`SinkNode::budget`](crate::pipeline::SinkNode::budget).
    pub budget: Option<Budget>,
    /// See [`SinkNode::pace`](crate::pipeline::SinkNode::pace).
    pub pace: Pace,
    pub rules: Rules,
}

/// Joins shares into deliveries.
pub(crate) struct Outlet {
    settings: OutletSettings,
    side: Arc<SinkSide>,
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    settlements: Arc<Settlements>,
    ledger: Ledger,
    filling: Option<Delivery>,
    /// What the delivery being filled takes of the budget.
    held: Held,
    in_flight: JoinSet<Result<(), RunError>>,
    /// Which delivery each task in flight carries.
    carried: HashMap<Id, u64>,
    named: u64,
}

impl Outlet {
    /// An outlet with nothing under way. Numbers of deliveries begin at 0: nothing is pending when it is made.
    pub fn new(
        settings: OutletSettings,
        side: Arc<SinkSide>,
        store: Arc<dyn Store>,
        counters: Arc<Counters>,
        settlements: Arc<Settlements>,
        ledger: Ledger,
    ) -> Self {
        Self {
            settings,
            side,
            store,
            counters,
            settlements,
            ledger,
            filling: None,
            held: Held::default(),
            in_flight: JoinSet::new(),
            carried: HashMap::new(),
            named: 0,
        }
    }

    /// Runs until every lane is done and everything that they sent is settled.
    pub async fn run(mut self, mut queue: Queue) -> Result<(), RunError> {
        let mut waiting: Option<(Share, Held)> = None;
        let mut input_ended = false;
        let mut turn: Option<Turn> = None;
        loop {
            let fill = self.filling.as_ref().map(|it| it.fill()).unwrap_or_default();
            let due = flush(fill, &self.settings.batch);
            let fits_in = waiting.as_ref().is_none_or(|it| fits(fill, it.0.row_count(), &self.settings.batch));
            let budget = self.settings.budget.as_ref().filter(|_| fill.rows > 0);
            let is_pressed = budget.is_some_and(Budget::presses);
            let is_old = due == Flush::MayGrow;
            let needs_turn = is_old && fill.rows > 0;
            let wants_out = due == Flush::Now || is_old && !needs_turn || input_ended || is_pressed || !fits_in;
            let may_flush = self.filling.is_some() && self.may_flush(fill);
            if wants_out && may_flush {
                turn = None;
                self.flush().await?;
                continue;
            }
            if needs_turn && may_flush && turn.is_none() {
                turn = Some(self.settings.pace.turn());
            }
            if fits_in
                && due != Flush::Now
                && let Some((share, held)) = waiting.take()
            {
                self.join(share).await?;
                self.held.join(held);
                continue;
            }
            if input_ended && self.filling.is_none() && self.in_flight.is_empty() {
                break;
            }
            let timer = match due {
                Flush::In(wait) => Some(wait),
                _ => None,
            };
            let budget = budget.cloned().filter(|_| !is_pressed);
            let pressed = async {
                match &budget {
                    Some(budget) => budget.pressed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(landed) = self.in_flight.join_next_with_id() => self.land(landed).await?,
                () = tokio::time::sleep(timer.unwrap_or_default()), if timer.is_some() => {}
                () = pressed => {}
                () = until(&mut turn) => {
                    turn = None;
                    self.flush().await?;
                }
                share = queue.recv(), if waiting.is_none() && !input_ended => match share {
                    // The room is free again as soon as the share is here: what is being filled has its own bound.
                    Some(Queued { share, room, held }) => {
                        drop(room);
                        waiting = Some((share, held));
                    }
                    None => input_ended = true,
                },
            }
        }
        assert!(self.ledger.is_square(), "sink `{}`: all has landed, but the books are not square", self.side.name);
        Ok(())
    }

    /// Whether a delivery may go on its way now. One without rows waits until nothing else is on its way: then the
    /// position can pass all of it at once, and what is pending never leaves a gap behind it.
    fn may_flush(&self, fill: Fill) -> bool {
        if fill.rows == 0 { self.in_flight.is_empty() } else { self.in_flight.len() < self.settings.in_flight_max }
    }

    /// Takes a share into the delivery being filled.
    async fn join(&mut self, share: Share) -> Result<(), RunError> {
        let filling = match self.filling.take() {
            Some(filling) => self.filling.insert(filling),
            None => {
                let delivery = self.begin(&share);
                self.filling.insert(delivery)
            }
        };
        let failed = |gap| RunError::new(&self.side.name, "lost track of a source", Box::new(gap));
        self.ledger.enter(filling.number, &share.source, &share.span).map_err(failed)?;
        filling.join(&self.side, self.counters.node(&self.side.name), share).await
    }

    fn begin(&mut self, first: &Share) -> Delivery {
        let joined = SourceSpan { source: first.source.to_string(), span: first.span.clone() };
        let id = (self.settings.rules.name)(&Naming {
            pipeline: &self.side.pipeline,
            sink: &self.side.name,
            fingerprint: &format!("{} {}", self.settings.epoch, self.settings.fingerprint),
            first: &joined,
            named_before: self.named,
        });
        let number = self.named;
        self.named += 1;
        Delivery::new(number, id)
    }

    /// Sends the delivery being filled on its way; the intent is durable before anything of it can be visible.
    async fn flush(&mut self) -> Result<(), RunError> {
        let Some(mut delivery) = self.filling.take() else { return Ok(()) };
        let held = std::mem::take(&mut self.held);
        if delivery.rows == 0 {
            return self.settle(delivery.number).await;
        }
        self.settings.pace.goes_out();
        let now = SystemTime::now();
        delivery.intended(now);
        let pending = Pending {
            sink: self.side.name.clone(),
            number: delivery.number,
            id: delivery.id.clone(),
            fingerprint: self.settings.fingerprint.clone(),
            spans: delivery.joined.clone(),
            rows: delivery.rows,
            intended: Some(now),
            settled: false,
        };
        if let Some(intent) = (self.settings.rules.intend)(pending) {
            let change = Change { intend: Some(intent), ..Change::default() };
            write(&*self.store, &self.side.name, change).await?;
        }
        let (side, counters) = (self.side.clone(), self.counters.clone());
        let number = delivery.number;
        let leaving = self.settings.budget.as_ref().map(|it| it.leave(held));
        let carry = async move {
            let committed = delivery.commit(&side, counters.node(&side.name)).await;
            drop(delivery);
            // Only now is it free.
            drop(leaving);
            committed
        };
        let task = self.in_flight.spawn(tasks::observed(carry)).id();
        self.carried.insert(task, number);
        Ok(())
    }

    /// Takes the answer about a delivery, if only that there is none.
    async fn land(&mut self, landed: Result<(Id, Result<(), RunError>), JoinError>) -> Result<(), RunError> {
        let (task, answer, error) = match landed {
            Ok((task, Ok(()))) => (task, Answer::Done, None),
            Ok((task, Err(error))) => (task, Answer::Failed, Some(error)),
            Err(gone) => (gone.id(), Answer::Silence, Some(tasks::gone(&self.side.name, gone))),
        };
        let number = self.carried.remove(&task).expect("a task that landed was sent out");
        match (self.settings.rules.judge)(answer) {
            Verdict::Delivered => self.settle(number).await,
            // Everything on its way is abandoned with it: the next start reads it again.
            Verdict::Abandoned => Err(error.expect("what was done is not abandoned")),
        }
    }

    async fn settle(&mut self, number: u64) -> Result<(), RunError> {
        let moves = self.ledger.settle(number);
        let advance = moves.advance.clone();
        write(&*self.store, &self.side.name, moves.into_change(&self.side.name, number)).await?;
        self.settlements.report(self.settings.index, &advance);
        Ok(())
    }
}

/// Waits for one's turn; for ever, where there is none.
async fn until(turn: &mut Option<Turn>) {
    match turn {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

/// Makes a change to a sink's progress durable.
pub(crate) async fn write(store: &dyn Store, sink: &str, change: Change) -> Result<(), RunError> {
    store.apply(change).await.map_err(|error| RunError::new(sink, "could not keep its progress", Box::new(error)))
}

//! Processes on a real table, each of which is a thread: it can be stopped in the middle of whatever it does.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_api::{Claim, ClaimError, Claims};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{PATIENCE, SERVER, Streams, join, keep, stream, table, until};
use crate::lease_state::LeaseState;

/// How long a lease lasts, and how long a hand-over may take, in seconds.
const TIMES: [u64; 2] = [4, 60];
const TABLE: &str = "live";

/// What was kept last of every partition: how often anything was, and by whom. Everybody writes one more than he found.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<String, (u64, String)>>);

impl Ledger {
    /// A partition is taken over, with this state.
    fn found(&self, claim: &dyn Claim) -> u64 {
        let found = claim.kept().state.as_ref().map_or(0, |it| String::from_utf8_lossy(it).parse().unwrap());
        let ledger = self.0.lock().unwrap();
        let (last, by) = ledger.get(claim.partition().as_str()).cloned().unwrap_or_default();
        // It is more if a writer was stopped before it had the answer.
        assert!(found >= last, "{}: {found} after {last} of {by}", claim.partition());
        found
    }

    /// A partition's next state is kept.
    fn kept(&self, claim: &dyn Claim, state: u64, by: &str) {
        let mut ledger = self.0.lock().unwrap();
        let last = ledger.insert(claim.partition().to_string(), (state, by.into())).unwrap_or_default();
        assert!(last.0 < state, "{}: {by} keeps {state} after {last:?}", claim.partition());
    }
}

/// Comes when a process may go on.
type Thaw = std::sync::mpsc::Receiver<()>;

enum Order {
    /// Stands still until something comes here, and then first of all keeps all it had.
    Freeze(Thaw),
    Leave,
}

struct Process {
    orders: Sender<Order>,
    /// With it the runtime ends, in the middle of whatever it does.
    kill: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Process {
    fn start(id: &str, streams: &Arc<Streams>, ledger: &Arc<Ledger>) -> Self {
        let (orders, ordered) = channel(1);
        let (kill, killed) = oneshot::channel();
        let (id, streams, ledger) = (id.to_owned(), streams.clone(), ledger.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = work(id, streams, ledger, ordered) => {}
                    _ = killed => {}
                }
            });
        });
        Self { orders, kill, thread }
    }

    fn kill(self) {
        self.kill.send(()).unwrap();
        self.thread.join().unwrap();
    }

    fn freeze(&self) -> SyncSender<()> {
        let (thaw, thawed) = sync_channel(1);
        self.orders.blocking_send(Order::Freeze(thawed)).ok().unwrap();
        thaw
    }

    fn leave(self) {
        self.orders.blocking_send(Order::Leave).ok().unwrap();
        self.thread.join().unwrap();
    }
}

/// What a process does: it keeps one more than it found for every partition that it has, again and again.
async fn work(id: String, streams: Arc<Streams>, ledger: Arc<Ledger>, mut orders: Receiver<Order>) {
    let mut claims = join(&SERVER.endpoint(), TABLE, &id, &streams, TIMES).await;
    let mut reading = JoinSet::new();
    let mut held: Vec<Arc<dyn Claim>> = Vec::new();
    loop {
        tokio::select! {
            claim = claims.next() => {
                let claim: Arc<dyn Claim> = Arc::from(claim.unwrap().unwrap());
                held.retain(|it| Arc::strong_count(it) > 1);
                held.push(claim.clone());
                reading.spawn(read(id.clone(), claim, ledger.clone()));
            }
            order = orders.recv() => match order.unwrap() {
                Order::Leave => break,
                Order::Freeze(thawed) => {
                    thawed.recv_timeout(PATIENCE * 3).unwrap();
                    held.retain(|it| Arc::strong_count(it) > 1);
                    assert!(!held.is_empty());
                    for claim in &held {
                        let late = keep(claim.as_ref(), "999999", "999999").await;
                        assert!(matches!(late, Err(ClaimError::Lost)), "{id}: {}: {late:?}", claim.partition());
                    }
                }
            },
            Some(ended) = reading.join_next(), if !reading.is_empty() => ended.unwrap(),
        }
    }
    drop(held);
    drop(reading);
    claims.leave().await.unwrap();
}

async fn read(id: String, claim: Arc<dyn Claim>, ledger: Arc<Ledger>) {
    let mut state = ledger.found(claim.as_ref());
    let reading = async {
        loop {
            let next = (state + 1).to_string();
            match keep(claim.as_ref(), &next, &next).await {
                Ok(()) => state += 1,
                Err(ClaimError::Lost) => return,
                Err(error) => panic!("{error:?}"),
            }
            ledger.kept(claim.as_ref(), state, &id);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = claim.wanted() => claim.release().await.unwrap(),
        () = claim.lost() => {}
    }
}

/// Waits until so many leases are held by these, each of whom goes on.
async fn settled(ledger: &Ledger, expected: &[(&str, usize, usize)]) {
    let table = table(&SERVER.endpoint(), TABLE).await;
    table.prepare().await.unwrap();
    until("the leases are shared", async || {
        let rows = table.scan().await.unwrap();
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        for row in &rows {
            let owner = if row.checkpoint_owner.is_some() { None } else { row.owner.clone() };
            *shares.entry(owner.unwrap_or_else(|| "nobody".into())).or_default() += 1;
        }
        let is_so = shares.len() == expected.len()
            && expected.iter().all(|(id, least, most)| shares.get(*id).is_some_and(|it| (*least..=*most).contains(it)));
        if is_so { Ok(()) } else { Err(format!("{shares:?}")) }
    })
    .await;
    let before = ledger.0.lock().unwrap().clone();
    until("everything goes on", async || {
        let now = ledger.0.lock().unwrap().clone();
        let still = before.iter().filter(|(key, (state, _))| now[*key].0 == *state).count();
        if still == 0 && now.len() == 7 { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

/// Scenario: three processes share seven shards. One is killed; one is stopped for longer than its leases last, and comes
/// back; one joins; all leave.
/// Guarantees: each time the leases settle evenly, and everything goes on; nothing that was kept is lost or overwritten; who
/// was away for too long is told so, and changes nothing; who leaves has no lease any more.
#[test]
fn processes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (streams, ledger) = (stream("a; b; c; d; e; f; g"), Arc::new(Ledger::default()));
    let start = |id: &str| Process::start(id, &streams, &ledger);
    let settled = |expected: &[(&str, usize, usize)]| runtime.block_on(settled(&ledger, expected));
    let (one, two, three) = (start("one"), start("two"), start("three"));
    settled(&[("one", 2, 3), ("two", 2, 3), ("three", 2, 3)]);

    one.kill();
    settled(&[("two", 3, 4), ("three", 3, 4)]);

    let thaw = two.freeze();
    settled(&[("three", 7, 7)]);
    thaw.send(()).unwrap();
    settled(&[("two", 3, 4), ("three", 3, 4)]);

    let four = start("four");
    settled(&[("two", 2, 3), ("three", 2, 3), ("four", 2, 3)]);
    for process in [two, three, four] {
        process.leave();
    }
    let rows = runtime.block_on(async { table(&SERVER.endpoint(), TABLE).await.scan().await }).unwrap();
    for row in rows {
        let last = ledger.0.lock().unwrap()[&format!("cdn/{}", row.key)].0;
        let kept = LeaseState::decode(row.ours.as_deref().unwrap()).unwrap();
        let kept: u64 = String::from_utf8(kept.state).unwrap().parse().unwrap();
        assert!(row.holder().is_none() && (kept == last || kept == last + 1), "{kept} after {last}: {row:?}");
    }
}

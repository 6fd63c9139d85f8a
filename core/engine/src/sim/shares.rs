//! Processes that share the partitions of a source: claims are won, wanted, taken away and run out, in the middle of
//! everything; who has lost one may not know it for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, Claim, ClaimError, Claims, Deliver, Kept, Partition, Position, Resume, Source, SourceConfig,
};
use forebay_state::{Change, MemoryStore, Snapshot, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chaos::{Chaos, Faults, Random, mix};
use super::fakes::{FakeLetters, FakeSourceConfig, STOP};
use super::scenario::{Scenario, partition_name};
use super::world::World;
use super::{STUCK_AFTER, asked};
use crate::rules::Rules;
use crate::{Counters, Ending, Options, RunError, pipeline, tasks};

/// How many seeds the normal suite runs.
const SEEDS: u64 = 500;

/// How often a process is started again, at most.
const LIVES: u64 = 4;

/// What a process may hold for a sink: what one part alone may, or hardly anything.
const BUDGETS: [fn(u64) -> u64; 4] = [|it| it, |_| 1, |_| 2 << 10, |_| 4 << 10];

/// Who has which partition. It outlives the processes.
pub(super) struct Register {
    rows: Mutex<BTreeMap<Partition, Row>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Row {
    kept: Kept,
    /// How often it was won: who won it before has lost it.
    wins: u64,
    /// Who has it, and what he is told about it.
    holder: Option<(u64, watch::Sender<Told>)>,
    /// Who is to leave it to another one.
    passed_on_by: Option<u64>,
}

/// What the holder of a claim may hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    wanted: bool,
    lost: bool,
}

impl Register {
    pub(super) fn new(partitions: usize) -> Self {
        let rows = (0..partitions).map(|it| (Partition::from(partition_name(it).as_str()), Row::default()));
        Self { rows: Mutex::new(rows.collect()), changed: watch::channel(()).0 }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Partition, Row>> {
        self.rows.lock().unwrap()
    }

    /// Waits until something is kept of each partition.
    pub(super) async fn all_kept(&self) {
        let mut changed = self.changed.subscribe();
        while self.rows().values().any(|it| it.kept.state.is_none()) {
            changed.changed().await.expect("the register stays");
        }
    }

    /// Takes away all that a process has: it has crashed, and its claims run out.
    pub(super) fn expire(&self, process: u64) {
        for row in self.rows().values_mut().filter(|it| it.holder.as_ref().is_some_and(|(of, _)| *of == process)) {
            row.take_away();
        }
        self.changed.send_replace(());
    }

    /// Wants a partition of its holder, for another process.
    pub(super) fn want(&self, partition: usize) {
        let mut rows = self.rows();
        let row = rows.values_mut().nth(partition).expect("one of them");
        if let Some((process, told)) = &row.holder {
            row.passed_on_by = Some(*process);
            told.send_modify(|it| it.wanted = true);
        }
    }

    /// How often partitions were won, all together.
    pub(super) fn wins(&self) -> u64 {
        self.rows().values().map(|it| it.wins).sum()
    }

    /// Whether all partitions are done.
    pub(super) fn is_done(&self) -> bool {
        self.rows().values().all(Row::is_done)
    }

    /// Wants a partition, or takes it away at once.
    fn disturb(&self, random: &mut Random) {
        let mut rows = self.rows();
        let nth = random.below(rows.len() as u64) as usize;
        let row = rows.values_mut().nth(nth).expect("one of them");
        match (&row.holder, random.chance(60)) {
            (Some((_, told)), true) => told.send_modify(|it| it.wanted = true),
            _ => row.take_away(),
        }
        self.changed.send_replace(());
    }
}

impl Row {
    fn take_away(&mut self) {
        if let Some((_, told)) = self.holder.take() {
            told.send_modify(|it| it.lost = true);
        }
    }

    fn is_done(&self) -> bool {
        self.kept.committed == Some(Position::End)
    }
}

/// A source that hands out its partitions by a register.
pub(super) struct Shared {
    pub(super) source: Arc<FakeSourceConfig>,
    pub(super) register: Arc<Register>,
    pub(super) process: u64,
}

#[async_trait]
impl SourceConfig for Shared {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.source.schema()
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        match resume {
            // What was left open by the process when it was alone.
            Resume::Exactly(_) => self.source.open(resume).await,
            Resume::After(_) => Err("only claims open it".into()),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn claims(
        &self,
        _pipeline: &str,
        _alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        let Self { source, register, process } = self;
        Ok(Box::new(Winning { source: source.clone(), register: register.clone(), process: *process }))
    }
}

struct Winning {
    source: Arc<FakeSourceConfig>,
    register: Arc<Register>,
    process: u64,
}

#[async_trait]
impl Claims for Winning {
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError> {
        let mut changed = self.register.changed.subscribe();
        loop {
            self.source.chaos.point().await;
            changed.mark_unchanged();
            {
                let mut rows = self.register.rows();
                if rows.values().all(Row::is_done) {
                    return Ok(None);
                }
                let is_free = |it: &Row| it.holder.is_none() && !it.is_done() && it.passed_on_by != Some(self.process);
                if let Some((partition, row)) = rows.iter_mut().find(|it| is_free(it.1)) {
                    let (told, hears) = watch::channel(Told::default());
                    row.wins += 1;
                    row.passed_on_by = None;
                    row.holder = Some((self.process, told));
                    return Ok(Some(Box::new(SimClaim {
                        source: self.source.clone(),
                        register: self.register.clone(),
                        partition: partition.clone(),
                        kept: row.kept.clone(),
                        win: row.wins,
                        hears,
                    })));
                }
            }
            changed.changed().await?;
        }
    }

    async fn leave(&mut self) -> Result<(), BoxError> {
        self.source.chaos.point().await;
        Ok(())
    }
}

struct SimClaim {
    source: Arc<FakeSourceConfig>,
    register: Arc<Register>,
    partition: Partition,
    kept: Kept,
    win: u64,
    hears: watch::Receiver<Told>,
}

impl SimClaim {
    /// Does something to the row, if it is still this one's.
    fn change<T>(&self, change: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let mut rows = self.register.rows();
        let row = rows.get_mut(&self.partition).expect("the partitions stay");
        (row.wins == self.win && row.holder.is_some()).then(|| change(row))
    }
}

#[async_trait]
impl Claim for SimClaim {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError> {
        self.source.chaos.point().await;
        let kept = Kept { state: Some(state.to_vec()), committed: Some(committed.clone()) };
        let written = self.change(|row| row.kept = kept);
        if written.is_some() {
            // Whoever comes next begins there: it has to be safe.
            self.source.world.told(self.source.source, &self.partition, committed);
            self.register.changed.send_replace(());
        }
        self.source.chaos.point().await;
        written.ok_or(ClaimError::Lost)
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        self.source.open_partition(&self.partition, resume).await
    }

    async fn wanted(&self) {
        let heard = self.hears.clone().wait_for(|it| it.wanted).await.is_ok();
        if !heard {
            std::future::pending::<()>().await;
        }
    }

    async fn lost(&self) {
        // An error: the register has let go of it.
        let _ = self.hears.clone().wait_for(|it| it.lost).await;
        // Somebody else may have it for long by the time this one notices.
        let late = self.source.chaos.random(|it| it.below(40_000));
        tokio::time::sleep(Duration::from_millis(late)).await;
    }

    async fn release(&self) -> Result<(), BoxError> {
        self.source.chaos.point().await;
        self.change(Row::take_away);
        self.register.changed.send_replace(());
        Ok(())
    }
}

/// The state of one process. It outlives it.
pub(super) struct ProcessStore {
    pub(super) memory: Arc<MemoryStore>,
    pub(super) chaos: Arc<Chaos>,
}

#[async_trait]
impl Store for ProcessStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.chaos.point().await;
        self.memory.load().await
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        self.chaos.point().await;
        let applied = self.memory.apply(change).await;
        self.chaos.point().await;
        applied
    }
}

/// One process: it is started again when it crashes, gives up or is stopped, until everything is done. In its first
/// lives it may be `alone`, and knows nothing of others.
async fn process(
    world: &Arc<World>,
    register: &Arc<Register>,
    number: u64,
    seed: u64,
    alone: u64,
) -> Result<(), String> {
    let memory = Arc::new(MemoryStore::default());
    for life in 0.. {
        let mut random = Random::new(mix(seed ^ (number << 20) ^ (life << 24)));
        let is_alone = life < alone;
        let is_last = life == LIVES;
        let faults = Faults {
            slow: random.below(20),
            retry: random.below(25),
            stop: if is_last { 0 } else { random.below(3) },
            panic: 0,
        };
        let crash_after = (!is_last && random.chance(60)).then(|| 1 << random.below(13));
        let chaos = Arc::new(Chaos::new(random.next(), crash_after, faults));
        let process = number * 100 + life;
        let mut plan = world.scenario.plan(world, &chaos);
        let source = Arc::new(FakeSourceConfig { world: world.clone(), chaos: chaos.clone(), source: 0 });
        if !is_alone {
            plan.sources[0].config = Arc::new(Shared { source, register: register.clone(), process });
        }
        let stop = CancellationToken::new();
        if !is_last && random.chance(30) {
            let (stop, after) = (stop.clone(), Duration::from_millis(random.below(60_000)));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                stop.cancel();
            });
        }
        let letters: Arc<dyn Deliver> = Arc::new(FakeLetters { world: world.clone(), chaos: chaos.clone() });
        let options = Options {
            store: Arc::new(ProcessStore { memory: memory.clone(), chaos: chaos.clone() }),
            letters: Some(letters),
            stop: stop.clone(),
            counters: Arc::new(Counters::new(&plan)),
            workers: 1 + random.below(2) as usize,
            jitter_seed: 0,
            abandon_pending: false,
        };
        let rules = Rules { budget: BUDGETS[random.below(4) as usize], ..Rules::default() };
        let ran = tokio::select! {
            biased;
            () = chaos.crashed() => None,
            ran = tasks::observed_by(plug(&chaos), pipeline::run(&plan, options, rules)) => Some(ran),
        };
        match ran {
            Some(Ok(Ending::InputEnded)) if !is_alone => return Ok(()),
            Some(Ok(Ending::InputEnded)) => {}
            Some(Ok(_)) if stop.is_cancelled() => {}
            Some(Err(error)) if faults.stop > 0 && why(&error).ends_with(STOP) => {}
            Some(other) => return Err(format!("process {number}, life {life}: {other:?}")),
            None => {}
        }
        // Others find out in their own time.
        tokio::time::sleep(Duration::from_millis(random.below(30_000))).await;
        register.expire(process);
    }
    unreachable!("the last life ends well or with an error")
}

/// Pulls the plug of a process also before a poll of any of its tasks.
pub(super) fn plug(chaos: &Arc<Chaos>) -> tasks::Observer {
    let chaos = chaos.clone();
    Arc::new(move || chaos.tick())
}

fn why(error: &RunError) -> String {
    forebay_api::causes(error)
}

/// Lives through one seed.
async fn live_through(seed: u64) -> Result<(), String> {
    let mut random = Random::new(mix(seed.wrapping_add(4_711)));
    let mut scenario = Scenario::from_seed(seed);
    scenario.sources.truncate(1);
    scenario.sources[0].partitions = (0..1 + random.below(4)).map(|_| random.below(60)).collect();
    let register = Arc::new(Register::new(scenario.sources[0].partitions.len()));
    let world = Arc::new(World::new(scenario));
    let disturbing = async {
        let mut random = Random::new(mix(seed ^ (7 << 32)));
        // Not for ever: what is always taken away is never done.
        for _ in 0..random.below(60) {
            tokio::time::sleep(Duration::from_millis(random.below(20_000))).await;
            register.disturb(&mut random);
        }
        std::future::pending::<()>().await;
    };
    // In some seeds the first process has read everything alone for a while. The others come when it has handed over
    // what it knows.
    let mut random = Random::new(mix(seed ^ (9 << 32)));
    let alone = if random.chance(30) { 1 + random.below(LIVES - 1) } else { 0 };
    let processes = async {
        let other = async |number| {
            if alone > 0 {
                register.all_kept().await;
            }
            process(&world, &register, number, seed, 0).await
        };
        tokio::try_join!(process(&world, &register, 1, seed, alone), other(2), other(3))
    };
    tokio::select! {
        biased;
        ended = processes => ended.map(drop)?,
        () = disturbing => unreachable!(),
        () = tokio::time::sleep(STUCK_AFTER) => return Err("they are stuck".to_owned()),
    }
    world.complete()?;
    let rows = register.rows();
    rows.iter()
        .find(|(_, it)| !it.is_done())
        .map_or(Ok(()), |(partition, it)| Err(format!("{partition}: {:?}", it.kept)))
}

/// Scenario: three processes share the partitions of one source, in some hundred pipelines; partitions are asked for and
/// taken away at random, processes crash, give up, are stopped and start again; one that has lost a partition goes on
/// for up to forty seconds as if it had it. In some of them one of the processes has read the source alone before, and
/// may have crashed then.
/// Guarantees: once-per-id sinks show every row exactly once, others at least once; refused rows are in the dead letters
/// once; what is kept with a partition never passes a row that is not safe; all partitions are finished; nothing is stuck.
#[test]
fn sim_processes_share_partitions() {
    let seeds = match asked("FOREBAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("FOREBAY_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        if let Err(what) = runtime.block_on(live_through(seed)) {
            panic!("seed {seed}: {what}\nreplay: FOREBAY_SIM_SEED={seed} cargo test -p forebay-engine sim_processes");
        }
    }
}

//! A crash at every single point of a process that shares its partitions: while it keeps what it knows with them, gives
//! them up, takes them over, and hands over what it knew when it was alone.

use std::sync::Arc;
use std::time::Duration;

use forebay_api::Deliver;
use forebay_state::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::STUCK_AFTER;
use super::chaos::{Chaos, Faults};
use super::fakes::{FakeLetters, FakeSourceConfig};
use super::scenario::Scenario;
use super::shares::{ProcessStore, Register, Shared, plug};
use super::world::World;
use crate::rules::Rules;
use crate::{Counters, Ending, Options, pipeline, tasks};

/// What a process knows and does not share.
type Memory = Arc<MemoryStore>;

/// How long it takes until the others see that a process has crashed.
const EXPIRY: Duration = Duration::from_secs(15);

/// When partitions are wanted, in seconds, and which.
const WANTED: [(u64, usize); 6] = [(2, 0), (10, 1), (20, 0), (30, 1), (45, 0), (60, 1)];

/// Reads and deliveries take a while, so that there is a middle of things.
const SLOW: Faults = Faults { slow: 20, retry: 0, stop: 0, panic: 0 };

/// Everything outside of the processes.
#[derive(Clone)]
struct Outside {
    world: Arc<World>,
    register: Arc<Register>,
}

impl Outside {
    fn new() -> Self {
        let scenario = Scenario::small();
        let register = Arc::new(Register::new(scenario.sources[0].partitions.len()));
        Self { world: Arc::new(World::new(scenario)), register }
    }

    /// Lives a process's life. `None`: it has crashed.
    async fn live(&self, number: u64, memory: &Memory, chaos: &Arc<Chaos>, is_alone: bool) -> Option<Ending> {
        let Self { world, register } = self;
        let mut plan = world.scenario.plan(world, chaos);
        if !is_alone {
            let source = Arc::new(FakeSourceConfig { world: world.clone(), chaos: chaos.clone(), source: 0 });
            plan.sources[0].config = Arc::new(Shared { source, register: register.clone(), process: number });
        }
        let letters: Arc<dyn Deliver> = Arc::new(FakeLetters { world: world.clone(), chaos: chaos.clone() });
        let options = Options {
            store: Arc::new(ProcessStore { memory: memory.clone(), chaos: chaos.clone() }),
            letters: Some(letters),
            stop: CancellationToken::new(),
            counters: Arc::new(Counters::new(&plan)),
            workers: 2,
            jitter_seed: 0,
            abandon_pending: false,
        };
        let ran = tokio::select! {
            biased;
            () = chaos.crashed() => None,
            ran = tasks::observed_by(plug(chaos), pipeline::run(&plan, options, Rules::default())) => Some(ran),
        };
        ran.map(|it| it.unwrap_or_else(|error| panic!("process {number}: {}", forebay_api::causes(&error))))
    }

    /// Lives a life that may be cut short by `chaos`, and others after it until all is done.
    async fn live_on(&self, number: u64, chaos: &Arc<Chaos>, alone: bool) {
        let memory = Memory::default();
        let mut ended = self.live(number, &memory, chaos, alone).await;
        let mut life = 1;
        while ended.is_none() || (alone && life == 1) {
            tokio::time::sleep(EXPIRY).await;
            self.register.expire(number + life - 1);
            // After a crash the source cuts differently.
            let calm = Arc::new(Chaos::new(number * 10 + life, None, SLOW));
            ended = self.live(number + life, &memory, &calm, false).await;
            life += 1;
        }
        assert_eq!(ended, Some(Ending::InputEnded), "process {number}");
    }

    /// Wants partitions at their times.
    async fn want(&self) {
        let begun = tokio::time::Instant::now();
        for (after, partition) in WANTED {
            tokio::time::sleep_until(begun + Duration::from_secs(after)).await;
            self.register.want(partition);
        }
    }
}

/// Two processes share two partitions, or the second one comes when the first, which has read alone, hands over. One of them
/// crashes after so many points, if it gets so far. How many points it has passed.
fn crashed_at(point: Option<u64>, which: u64, alone: bool) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outside = Outside::new();
    let crash = |number: u64| point.filter(|_| number == which);
    let chaos = [1, 2].map(|number| Arc::new(Chaos::new(number, crash(number), SLOW)));
    runtime.block_on(async {
        let second = async {
            if alone {
                outside.register.all_kept().await;
            }
            tokio::join!(outside.live_on(200, &chaos[1], false), outside.want());
        };
        let all = async { tokio::join!(outside.live_on(100, &chaos[0], alone), second) };
        let done = tokio::time::timeout(STUCK_AFTER, all).await;
        assert!(done.is_ok(), "crash of process {which} at {point:?}: they are stuck");
    });
    outside.world.complete().unwrap_or_else(|what| panic!("crash of process {which} at {point:?}: {what}"));
    assert!(outside.register.is_done(), "crash of process {which} at {point:?}: something is left");
    assert!(point.is_some() || alone || outside.register.wins() > 4, "hardly anything is handed over");
    chaos[which as usize - 1].ticks()
}

/// Scenario: two processes share two partitions, which are wanted of whoever has them again and again, so that each is kept,
/// given up and taken over several times; or the first has read them alone, and hands over what it knows when the second
/// comes. Each of the two is crashed once at every single poll and effect that it has; its partitions are taken over some
/// time later, and it comes back.
/// Guarantees: there is no place at which a crash loses or doubles a row, leaves a partition unfinished or the other process
/// stuck.
#[test]
fn sim_a_crash_at_every_point_of_a_hand_over() {
    let mut told = Vec::new();
    for (name, which, alone) in
        [("first of two", 1, false), ("second of two", 2, false), ("alone, then shared", 1, true)]
    {
        let points = crashed_at(None, which, alone);
        assert!(points > 200, "only {points} points: {name}");
        for point in 0..points {
            crashed_at(Some(point), which, alone);
        }
        told.push(format!("{points} ({name})"));
    }
    println!("{} points", told.join(", "));
}

//! The seeded simulation: the real engine between fakes that fail, on a clock that stands still, with the plug
//! pulled before polls and between effects.
//!
//! One seed is one pipeline, one set of faults and one series of crashes. A *world* (logs, what sinks show, dead
//! letters, state) outlives the crashes; a *life* is one run of the engine in it. After the last life an oracle
//! compares what the sinks show with what the logs hold; on the way, every move of a committed position is held
//! against what is safe at that moment.
//!
//! - `cargo test -p forebay-engine sim` runs [`SEEDS`] seeds.
//! - `FOREBAY_SIM_SEEDS=100000` runs as many (a soak), `FOREBAY_SIM_SEED=17` one, with its story.

mod bounds;
mod chaos;
mod edits;
mod fakes;
mod handed_over;
mod mutants;
mod scenario;
mod shares;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use forebay_api::Deliver;
use tokio_util::sync::CancellationToken;

use self::chaos::{Chaos, Faults};
use self::fakes::{FakeLetters, SimStore};
use self::scenario::Scenario;
use self::world::World;
use crate::rules::Rules;
use crate::{Counters, Ending, Options, pipeline, tasks};

/// How many seeds the normal suite runs.
const SEEDS: u64 = 2_000;

/// Virtual time after which a life counts as stuck. Faults cost minutes at most.
const STUCK_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Crashed,
    Ended(Ending),
    /// The engine gave up with an error, as it should when a sink says stop or breaks down.
    Failed(String),
}

/// Runs the engine once in a world.
fn live(
    world: &Arc<World>,
    chaos: &Arc<Chaos>,
    rules: Rules,
    workers: usize,
    stop_after: Option<Duration>,
) -> Result<Life, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let plan = world.scenario.plan(world, chaos);
    let stop = CancellationToken::new();
    let letters: Arc<dyn Deliver> = Arc::new(FakeLetters { world: world.clone(), chaos: chaos.clone() });
    let options = Options {
        store: Arc::new(SimStore { world: world.clone(), chaos: chaos.clone() }),
        letters: Some(letters),
        stop: stop.clone(),
        counters: Arc::new(Counters::new(&plan)),
        workers,
        jitter_seed: 0,
        abandon_pending: false,
    };
    let plug = chaos.clone();
    tasks::on_poll(Some(Arc::new(move || plug.tick())));
    let life = async {
        let stopper = async {
            match stop_after {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
            stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = chaos.crashed() => Ok(Life::Crashed),
            ran = tasks::observed(pipeline::run(&plan, options, rules)) => Ok(match ran {
                Ok(ending) => Life::Ended(ending),
                Err(error) => Life::Failed(forebay_api::causes(&error)),
            }),
            () = stopper => Err("unreachable".into()),
            () = tokio::time::sleep(STUCK_AFTER) => Err("the engine is stuck".to_owned()),
        }
    };
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(life)));
    drop(runtime);
    tasks::on_poll(None);
    lived.unwrap_or_else(|panic| match panic.downcast_ref::<&str>() {
        // While deliveries are rebuilt there is no task around the sink: the program would end with its panic.
        Some(text) if *text == fakes::BREAKDOWN => Ok(Life::Failed((*text).into())),
        Some(text) => Err((*text).into()),
        None => Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into())),
    })
}

/// Lives through one seed. `Err` says what was broken.
fn live_through(seed: u64, rules: Rules, story: bool) -> Result<(), String> {
    let scenario = Scenario::from_seed(seed);
    if story {
        println!("{scenario:#?}");
    }
    let world = Arc::new(World::new(scenario.clone()));
    for (number, life) in scenario.lives.iter().enumerate() {
        let chaos = Arc::new(Chaos::new(seed ^ ((number as u64 + 1) << 32), life.crash_after, life.faults));
        let lived = live(&world, &chaos, rules, life.workers, life.stop_after);
        if story {
            println!("life {number} ({life:?}): {lived:?} after {} ticks", chaos.ticks());
        }
        let lived = lived?;
        world.verdict()?;
        match lived {
            Life::Ended(Ending::InputEnded) => return world.complete(),
            Life::Ended(Ending::Drained) if life.stop_after.is_none() => return Err("drained unasked".into()),
            Life::Failed(why) if !is_meant_to_fail(&why, life.faults) => return Err(format!("it failed: {why}")),
            _ => {}
        }
    }
    Err(format!("the last life did not reach the end of the input:\n{}", world.describe()))
}

/// Whether a life may end with this error: only with what a sink was made to say.
fn is_meant_to_fail(why: &str, faults: Faults) -> bool {
    (faults.stop > 0 && why.ends_with(fakes::STOP)) || (faults.panic > 0 && why.ends_with(fakes::BREAKDOWN))
}

/// What the environment asks for, if anything.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{it}`")))
}

/// Runs seeds on all cores; the first broken one, by number.
fn first_broken(seeds: std::ops::Range<u64>, rules: Rules) -> Option<(u64, String)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let broken = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || broken.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(what) = live_through(seed, rules, false) {
                        broken.lock().unwrap().get_or_insert((seed, what));
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap()
}

/// Scenario: some thousand pipelines with one or two sources that cut differently each time, transforms that filter
/// and refuse, one to three sinks of both promises that fail before, in the middle of and after the write, are slow,
/// refuse rows, give up or panic; crashes before any poll and between any two effects; stops.
/// Guarantees: once-per-id sinks show every row exactly once, others at least once; every refused row is in the dead
/// letters once; no committed position ever passes a row that is not safe; sources are told only what every sink has;
/// nothing gets stuck.
#[test]
fn sim_every_row_survives_everything() {
    if let Some(seed) = asked("FOREBAY_SIM_SEED") {
        live_through(seed, Rules::default(), true).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        return;
    }
    let seeds = asked("FOREBAY_SIM_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, what)) = first_broken(0..seeds, Rules::default()) {
        panic!("seed {seed}: {what}\nreplay: FOREBAY_SIM_SEED={seed} cargo test -p forebay-engine sim_every_row");
    }
}

/// Scenario: one small pipeline with two sinks, crashed once at every single poll and effect that it has.
/// Guarantees: there is no place in the engine at which a crash loses or doubles a row.
#[test]
fn sim_a_crash_at_every_await_point() {
    let scenario = Scenario::small();
    let whole = Arc::new(Chaos::new(1, None, Faults::none()));
    let world = Arc::new(World::new(scenario.clone()));
    assert_eq!(live(&world, &whole, Rules::default(), 2, None), Ok(Life::Ended(Ending::InputEnded)));
    world.complete().unwrap();
    let points = whole.ticks();
    println!("{points} points");
    assert!(points > 100, "only {points} points");
    for point in 0..points {
        let world = Arc::new(World::new(scenario.clone()));
        let crash = Arc::new(Chaos::new(1, Some(point), Faults::none()));
        let first = live(&world, &crash, Rules::default(), 2, None);
        assert_eq!(first, Ok(Life::Crashed), "point {point}");
        // After the crash the source cuts differently.
        let calm = Arc::new(Chaos::new(point + 2, None, Faults::none()));
        let second = live(&world, &calm, Rules::default(), 2, None);
        assert_eq!(second, Ok(Life::Ended(Ending::InputEnded)), "point {point}");
        world.complete().unwrap_or_else(|what| panic!("crash at point {point} of {points}: {what}"));
    }
}

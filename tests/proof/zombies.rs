//! A process has lost its leases, and goes on as if it had them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Place, Process, Producer};
use forebay_testkit::services::{Fault, FaultProxy, Rule};

use super::world::{LEASE, World};
use super::{asked, check, wait};
use crate::harness::seed;

const PROCESSES: usize = 3;
const SHARDS: usize = 6;

/// Three times as long as a lease lasts: the short form. `FOREBAY_ZOMBIE_SECONDS` sets it for the long one.
const SECONDS: u64 = 3 * LEASE.as_secs();

/// Longer than a take-over may take on a machine that has other things to do.
const TAKEN_OVER_MAX: Duration = LEASE.saturating_mul(10);

/// The shards that a process holds.
fn of(place: &Place, owners: &BTreeMap<String, Option<String>>) -> usize {
    let host = format!("{}:", place.host());
    owners.values().flatten().filter(|it| it.starts_with(&host)).count()
}

/// Waits until a process holds nothing any more and others hold all of it. How long that took.
fn taken_from(places: &[Place], nth: usize, world: &mut World) -> Duration {
    let begun = Instant::now();
    loop {
        let owners = world.leases.look();
        if of(&places[nth], &owners) == 0 && owners.values().all(Option::is_some) {
            return begun.elapsed();
        }
        if begun.elapsed() > TAKEN_OVER_MAX {
            let said: String = places.iter().map(|it| format!("\n{}:\n{}", it.host(), it.said())).collect();
            panic!("nobody takes over from {}: {owners:?}{said}", places[nth].host());
        }
        world.leases.watch(Duration::from_millis(50));
    }
}

/// Lets the next INSERTs of all processes be under way until the leases of one are gone and others have done the same.
fn let_be_late(world: &mut World) {
    let late = Rule::new(Fault::Delay(LEASE * 2)).path_contains("INSERT").times(2 * SHARDS);
    world.before_table.set_rules(vec![late]);
    let (begun, before) = (Instant::now(), world.before_table.faults());
    while world.before_table.faults() < before + SHARDS {
        assert!(begun.elapsed() < TAKEN_OVER_MAX, "nothing is inserted");
        world.leases.watch(Duration::from_millis(20));
    }
}

/// Goes on looking at the leases until so long after `since`.
fn watch_until(world: &mut World, since: Instant, length: Duration) {
    world.leases.watch(length.saturating_sub(since.elapsed()));
}

/// Scenario: three processes share a stream of six shards, into which rows keep coming. One of them is cut off from the table
/// of leases, and only it; INSERTs that were under way arrive when its leases have long been taken over; it is well
/// otherwise. When it is back among the others, a second one stands still (`SIGSTOP`), with INSERTs that arrive as late, and
/// goes on. Each is gone for nine seconds, with leases of three, or for as long as `FOREBAY_ZOMBIE_SECONDS` says.
/// Guarantees: the others take over what it had; what it writes late has no effect: ClickHouse, Parquet
/// and the dead letters have every row once, intact, and nothing else; no checkpoint ever goes back; it does not end,
/// and in the end the leases settle evenly among all three.
#[test]
fn one_owner_is_cut_off_and_one_stands_still() {
    let gone = Duration::from_secs(asked("FOREBAY_ZOMBIE_SECONDS", SECONDS));
    let seed = seed();
    let mut random = Random::new(seed);
    let mut world = World::start(SHARDS as u32);
    let (places, ways): (Vec<Place>, Vec<FaultProxy>) = (0..PROCESSES).map(|_| world.place_apart()).unzip();
    let mut processes: Vec<Process> = places.iter().map(Place::start).collect();
    let producer = Producer::start(&world.kinesis, Oracle::new(seed), u64::MAX, 2_000.0);
    world.leases.settles(PROCESSES, SHARDS);

    world.leases.watch(Duration::from_secs(1).mul_f64(random.fraction()));
    let_be_late(&mut world);
    ways[0].set_rules(vec![Rule::new(Fault::Blackhole)]);
    let since = Instant::now();
    let taken = taken_from(&places, 0, &mut world);
    watch_until(&mut world, since, gone);
    println!("cut off for {:?}: taken over after {taken:?}", since.elapsed());
    assert_eq!(of(&places[0], &world.leases.look()), 0, "it has got leases without reaching them");
    assert!(ways[0].faults() > 0, "it has not asked for its leases");
    ways[0].set_rules(vec![]);
    world.before_table.set_rules(vec![]);
    processes.iter_mut().for_each(Process::runs);
    world.leases.settles(PROCESSES, SHARDS);

    world.leases.watch(Duration::from_secs(1).mul_f64(random.fraction()));
    let_be_late(&mut world);
    processes[1].signal("STOP");
    let since = Instant::now();
    let taken = taken_from(&places, 1, &mut world);
    watch_until(&mut world, since, gone);
    processes[1].signal("CONT");
    println!("stood still for {:?}: taken over after {taken:?}", since.elapsed());
    world.before_table.set_rules(vec![]);
    world.leases.watch(LEASE);
    processes.iter_mut().for_each(Process::runs);
    world.leases.settles(PROCESSES, SHARDS);

    let oracle = producer.end();
    println!("{} rows; {} INSERTs were late", oracle.claimed(), world.before_table.faults());
    let (lake, letters) = (world.objects("rows"), world.objects("refused"));
    wait(&world.clickhouse, &lake, &letters, &oracle);
    for process in processes {
        process.stop();
        world.leases.look();
    }
    check(&world.clickhouse, &lake, &letters, &oracle);
}

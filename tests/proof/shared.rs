//! Several processes share a stream by leases in DynamoDB.

use std::time::Duration;

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Place, Process, Producer, STREAM};
use forebay_testkit::services::{Fault, Rule};

use super::faults::faults;
use super::world::{LEASE, World};
use super::{check, wait};
use crate::harness::seed;

/// Scenario: three processes share a stream of eight shards, into which rows keep coming, and write to one table and one
/// bucket. One is killed; one is stopped at a random moment for longer than its leases last, and goes on, three times;
/// one is added; a shard is split.
/// Guarantees: ClickHouse, Parquet and the dead letters have every row once, intact, and nothing else, whoever wrote it
/// and whoever came back too late; the leases settle evenly among those that live, and no checkpoint ever goes back.
#[test]
fn processes_come_and_go() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut world = World::start(8);
    let producer = Producer::start(&world.kinesis, Oracle::new(seed), u64::MAX, 2_000.0);
    let places: Vec<Place> = (0..4).map(|_| world.place()).collect();
    let [killed, mut paused, mut steady] = [0, 1, 2].map(|it: usize| places[it].start());
    world.leases.settles(3, 8);

    world.leases.watch(Duration::from_secs(1).mul_f64(random.fraction()));
    killed.kill();
    paused.signal("STOP");
    let mut added = places[3].start();
    world.leases.watch(LEASE * 2);
    paused.signal("CONT");
    world.kinesis.split(STREAM, &world.kinesis.open_shards(STREAM)[3]);
    for _ in 0..2 {
        world.leases.watch(Duration::from_secs(2).mul_f64(1.0 + random.fraction()));
        paused.signal("STOP");
        world.leases.watch(LEASE * 2);
        paused.signal("CONT");
    }
    [&mut paused, &mut steady, &mut added].into_iter().for_each(Process::runs);
    world.leases.settles(3, 9);
    let oracle = producer.end();
    println!("{} rows", oracle.claimed());
    let (lake, letters) = (world.objects("rows"), world.objects("refused"));
    wait(&world.clickhouse, &lake, &letters, &oracle);
    for process in [paused, steady, added] {
        process.stop();
        world.leases.look();
    }
    assert!(world.leases.look().values().all(Option::is_none), "leases stay with somebody who has stopped");
    check(&world.clickhouse, &lake, &letters, &oracle);
}

/// Scenario: four processes share a stream of six shards. Again and again, at random, one of them is killed, stopped in
/// order, or stands still for a while, and is started again or goes on; answers of ClickHouse, S3 and DynamoDB are lost,
/// their requests cut, reset, delayed, refused; once nobody reaches the leases for longer than they last; shards are split
/// and merged.
/// Guarantees: no process ends by any of it; ClickHouse, Parquet and the dead letters have every row once, intact, and
/// nothing else; no checkpoint ever goes back; when it is over, the leases settle evenly.
#[test]
fn everything_fails_while_a_stream_is_shared() {
    const PROCESSES: usize = 4;
    let seed = seed();
    let mut random = Random::new(seed);
    let mut world = World::start(6);
    let producer = Producer::start(&world.kinesis, Oracle::new(seed), u64::MAX, 1_500.0);
    let places: Vec<Place> = (0..PROCESSES).map(|_| world.place()).collect();
    let mut processes: Vec<Process> = places.iter().map(Place::start).collect();
    world.leases.settles(PROCESSES, 6);
    for nth in 0..16 {
        processes.iter_mut().for_each(Process::runs);
        let which = (random.number() % PROCESSES as u64) as usize;
        world.before_table.set_rules(faults(&mut random, |it| it.path_contains("INSERT")));
        world.before_bucket.set_rules(faults(&mut random, |it| it.method("PUT")));
        match random.number() % 6 {
            kind @ 0..2 => {
                let process = processes.remove(which);
                if kind == 0 {
                    process.kill();
                } else {
                    process.stop();
                }
                processes.insert(which, places[which].start());
            }
            2 | 3 => {
                processes[which].signal("STOP");
                world.leases.watch(LEASE.mul_f64(2.0 * random.fraction()));
                processes[which].signal("CONT");
            }
            _ => world.before_leases.set_rules(faults(&mut random, |it| it.header("x-amz-target", "UpdateItem"))),
        }
        if nth == 7 {
            world.before_leases.set_rules(vec![Rule::new(Fault::Blackhole)]);
            world.leases.watch(LEASE.mul_f64(1.5));
            world.before_leases.set_rules(vec![]);
        }
        if nth % 5 == 2 {
            let open = world.kinesis.open_shards(STREAM);
            world.kinesis.split(STREAM, &open[(random.number() % open.len() as u64) as usize]);
        }
        if nth % 5 == 4 {
            // The two youngest are the halves of what was split last.
            let open = world.kinesis.open_shards(STREAM);
            world.kinesis.merge(STREAM, &open[open.len() - 2], &open[open.len() - 1]);
        }
        world.leases.watch(Duration::from_secs(2).mul_f64(random.fraction()));
    }
    for proxy in [&world.before_table, &world.before_bucket, &world.before_leases] {
        println!("{} faults", proxy.faults());
        proxy.set_rules(vec![]);
    }
    processes.iter_mut().for_each(Process::runs);
    let oracle = producer.end();
    let open = world.kinesis.open_shards(STREAM).len();
    world.leases.settles(PROCESSES, open);
    println!("{} rows", oracle.claimed());
    let (lake, letters) = (world.objects("rows"), world.objects("refused"));
    wait(&world.clickhouse, &lake, &letters, &oracle);
    for process in processes {
        process.stop();
        world.leases.look();
    }
    check(&world.clickhouse, &lake, &letters, &oracle);
}

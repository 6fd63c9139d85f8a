//! Processes that share a stream come and go all the time.

use std::collections::BTreeMap;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_testkit::oracle::{Oracle, Random};
use forebay_testkit::proof::{Place, Process, Producer, STREAM};

use super::world::{LEASE, World};
use super::{check, wait};
use crate::harness::seed;

const PROCESSES: usize = 4;
const SHARDS: u32 = 8;

/// How often the table is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long it goes on, in seconds: the short form. `FOREBAY_CHURN_SECONDS` sets it for the long one.
const SECONDS: u64 = 25;

/// Longer than a take-over may take on a machine that has other things to do.
const TAKEN_OVER_MAX: Duration = LEASE.saturating_mul(10);

/// What was seen of the leases.
#[derive(Default)]
struct Seen {
    /// The shards whose holder was killed, with its name and when that was.
    orphans: BTreeMap<String, (String, Instant)>,
    /// How long each such shard had no living holder.
    taken_over: Vec<Duration>,
    /// How often the numbers of shards that any two living processes hold differed by so many at most.
    differences: BTreeMap<usize, usize>,
    kills: usize,
    starts: usize,
}

impl Seen {
    fn look(&mut self, owners: &BTreeMap<String, Option<String>>, hosts: &[String]) {
        let orphans = std::mem::take(&mut self.orphans);
        for (shard, (dead, since)) in orphans {
            match owners.get(&shard) {
                Some(owner) if owner.as_ref().is_none_or(|it| *it == dead) => {
                    assert!(since.elapsed() < TAKEN_OVER_MAX, "nobody takes {shard} over from {dead}: {owners:?}");
                    self.orphans.insert(shard, (dead, since));
                }
                _ => self.taken_over.push(since.elapsed()),
            }
        }
        let of = |host: &String| owners.values().flatten().filter(|it| is_of(it, host)).count();
        let loads: Vec<usize> = hosts.iter().map(of).collect();
        let difference = loads.iter().max().zip(loads.iter().min()).map_or(0, |(most, least)| most - least);
        *self.differences.entry(difference).or_default() += 1;
    }

    fn killed(&mut self, owners: BTreeMap<String, Option<String>>, host: &str) {
        self.kills += 1;
        let now = Instant::now();
        let of_host = owners.into_iter().filter_map(|(shard, owner)| Some((shard, owner?)));
        self.orphans.extend(of_host.filter(|it| is_of(&it.1, host)).map(|(shard, owner)| (shard, (owner, now))));
    }
}

/// Whether a holder of leases is a process of this host.
fn is_of(owner: &str, host: &str) -> bool {
    owner.strip_prefix(host).is_some_and(|it| it.starts_with(':'))
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut taken_over = self.taken_over.clone();
        taken_over.sort();
        let of = |fraction: f64| {
            let nth = ((taken_over.len() as f64 * fraction) as usize).min(taken_over.len().saturating_sub(1));
            taken_over.get(nth).map_or(0.0, Duration::as_secs_f64)
        };
        writeln!(f, "{} kills, {} starts, leases of {LEASE:?}", self.kills, self.starts)?;
        writeln!(
            f,
            "{} shards were taken over: median {:.2} s, 99 of 100 within {:.2} s, at most {:.2} s after the kill",
            taken_over.len(),
            of(0.5),
            of(0.99),
            of(1.0)
        )?;
        let all: usize = self.differences.values().sum();
        for (difference, times) in &self.differences {
            let percent = 100.0 * *times as f64 / all as f64;
            writeln!(f, "{percent:.1} % of the time one process held {difference} shards more than another")?;
        }
        Ok(())
    }
}

/// The places of the processes, those that run among them.
struct Fleet {
    places: Vec<Place>,
    running: Vec<Option<Process>>,
}

impl Fleet {
    fn hosts(&self) -> Vec<String> {
        let places = self.places.iter().zip(&self.running);
        places.filter(|it| it.1.is_some()).map(|it| it.0.host()).collect()
    }

    /// Those that run, or those that do not.
    fn which(&self, is_running: bool) -> Vec<usize> {
        (0..PROCESSES).filter(|it| self.running[*it].is_some() == is_running).collect()
    }

    fn start(&mut self, nth: usize) {
        self.running[nth] = Some(self.places[nth].start());
    }
}

/// Scenario: up to four processes share a stream of eight shards, into which rows keep coming, and write to one table and one
/// bucket. Every few seconds one of them is killed, or one is added; now and then a shard is split. So it goes for
/// twenty-five seconds, or for as many as `FOREBAY_CHURN_SECONDS` says.
/// Guarantees: ClickHouse, Parquet and the dead letters have every row once, intact, and nothing else; whatever a process held
/// that was killed is taken over in time; when it is over, the leases settle evenly. How long take-overs took and how unequal
/// the shares were is told.
#[test]
fn one_after_the_other() {
    let seconds = std::env::var("FOREBAY_CHURN_SECONDS").map_or(SECONDS, |it| it.parse().expect("it is a number"));
    let seed = seed();
    let mut random = Random::new(seed);
    let mut world = World::start(SHARDS);
    let places = (0..PROCESSES).map(|_| world.place()).collect();
    let mut fleet = Fleet { places, running: (0..PROCESSES).map(|_| None).collect() };
    (0..PROCESSES).for_each(|it| fleet.start(it));
    world.leases.settles(PROCESSES, SHARDS as usize);
    let producer = Producer::start(&world.kinesis, Oracle::new(seed), u64::MAX, 1_500.0);

    let (begun, mut seen, mut events) = (Instant::now(), Seen::default(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let pause = Duration::from_secs(2).mul_f64(1.0 + random.fraction());
        let since = Instant::now();
        while since.elapsed() < pause {
            seen.look(&world.leases.look(), &fleet.hosts());
            sleep(LOOK);
        }
        fleet.running.iter_mut().flatten().for_each(Process::runs);
        let (up, down) = (fleet.which(true), fleet.which(false));
        let kills = down.is_empty() || up.len() > 2 && random.number().is_multiple_of(2);
        let of = if kills { up } else { down };
        let nth = of[(random.number() % of.len() as u64) as usize];
        match fleet.running[nth].take() {
            Some(process) => {
                let host = fleet.places[nth].host();
                process.kill();
                seen.killed(world.leases.look(), &host);
            }
            None => {
                fleet.start(nth);
                seen.starts += 1;
            }
        }
        events += 1;
        let open = world.kinesis.open_shards(STREAM);
        if events % 8 == 4 && open.len() < 3 * SHARDS as usize / 2 {
            world.kinesis.split(STREAM, &open[(random.number() % open.len() as u64) as usize]);
        }
    }
    fleet.which(false).into_iter().for_each(|it| fleet.start(it));
    let oracle = producer.end();
    let shards = world.kinesis.open_shards(STREAM).len();
    world.leases.settles(PROCESSES, shards);
    println!("{} rows in {:?}", oracle.claimed(), begun.elapsed());
    println!("{seen}");
    let (lake, letters) = (world.objects("rows"), world.objects("refused"));
    wait(&world.clickhouse, &lake, &letters, &oracle);
    for process in fleet.running.into_iter().flatten() {
        process.stop();
    }
    check(&world.clickhouse, &lake, &letters, &oracle);
    assert!(seen.kills > 2 && !seen.taken_over.is_empty(), "{seen}");
}

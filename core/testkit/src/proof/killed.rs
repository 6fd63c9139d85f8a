//! `kill -9` and `SIGTERM` at random moments, while rows keep coming and shards are split and merged.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{
    Due, Pipeline, Place, Producer, STREAM, create_table, judge_clickhouse, judge_letters, judge_parquet, parquet_rows,
    settle, table_rows,
};
use crate::oracle::{Oracle, Random, Verdict};
use crate::services::{ClickHouse, KinesisServer};

const SHARDS: u32 = 4;

/// How many INSERTs the table remembers.
const REMEMBERED: u32 = 1_000;

/// How often shards are split or merged.
const RESHARDS: u32 = 6;

/// How often it is looked whether rows have become visible.
const LOOK: Duration = Duration::from_millis(20);

/// What is done.
pub struct Settings<'a> {
    /// The `forebay` to run.
    pub program: &'a Path,
    /// What all that is random follows from.
    pub seed: u64,
    /// How often the program is killed.
    pub kills: u32,
    /// How often it is stopped in order instead, while rows keep coming.
    pub stops: u32,
    /// How many rows are put meanwhile.
    pub rows: u64,
    /// How long it runs each time; where in between is random.
    pub runs: Range<Duration>,
    /// Is told how it goes.
    pub tell: &'a dyn Fn(&str),
}

/// What it came to.
pub struct Killed {
    /// What all that was random follows from.
    pub seed: u64,
    /// How often the program was killed.
    pub kills: u32,
    /// How many rows were put.
    pub rows: u64,
    /// How often the program was stopped in order, and how long that took, shortest first.
    pub stops: Vec<Duration>,
    /// How many of the runs made rows visible before they were ended.
    pub runs_with_rows: usize,
    /// How long after a start the first new row was visible, of these, shortest first.
    pub recoveries: Vec<Duration>,
    /// From the last start until everything was there.
    pub caught_up: Duration,
    /// All of it.
    pub took: Duration,
    /// The verdicts by the places that were judged.
    pub verdicts: [(&'static str, Verdict); 3],
}

impl Killed {
    /// Whether no row was lost, duplicated, unexpected or corrupted anywhere.
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|it| it.1.is_good())
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills, stops, rows, runs_with_rows, recoveries, caught_up, took, verdicts } = self;
        let seconds = |it: &Duration| format!("{:.2} s", it.as_secs_f64());
        let of = |all: &[Duration], fraction: f64| {
            let nth = ((all.len() as f64 * fraction) as usize).min(all.len().saturating_sub(1));
            all.get(nth).map_or_else(|| "none".to_owned(), seconds)
        };
        writeln!(f, "seed {seed}, {kills} kills, {} stops, {rows} rows, {} in all", stops.len(), seconds(took))?;
        writeln!(f, "{runs_with_rows} runs made rows visible before they were ended")?;
        let [median, most] = [0.5, 0.99].map(|it| of(recoveries, it));
        writeln!(f, "from a start to the first new row: median {median}, 99 of 100 within {most}")?;
        let [median, most] = [0.5, 1.0].map(|it| of(stops, it));
        writeln!(f, "from SIGTERM to the end: median {median}, at most {most}")?;
        writeln!(f, "from the last start to everything: {}", seconds(caught_up))?;
        verdicts.iter().try_for_each(|(place, verdict)| writeln!(f, "{place}: {verdict}"))
    }
}

/// Runs the pipeline, kills it again and again, lets it finish, and judges what came out.
pub fn killed(settings: &Settings<'_>) -> Killed {
    let Settings { program, seed, kills, stops, rows, runs, tell } = settings;
    let begun = Instant::now();
    let kinesis = Arc::new(KinesisServer::start());
    kinesis.create_stream(STREAM, SHARDS);
    let clickhouse = ClickHouse::start();
    create_table(&clickhouse, REMEMBERED);
    let place = Place::new(program, &Pipeline::local(&kinesis, &clickhouse));
    let mut random = Random::new(*seed);
    let mean = (runs.start + runs.end).as_secs_f64() / 2.0;
    let lives = kills + stops;
    let per_second = *rows as f64 / (f64::from(lives.max(1)) * mean);
    let producer = Producer::start(&kinesis, Oracle::new(*seed), *rows, per_second);

    let (mut recoveries, mut stopped) = (Vec::new(), Vec::new());
    let every = (lives / RESHARDS).max(1);
    for nth in 0..lives {
        let length = runs.start + (runs.end - runs.start).mul_f64(random.fraction());
        let process = place.start();
        recoveries.extend(watch(&clickhouse, length));
        let stops_left = stops - stopped.len() as u32;
        if random.fraction() * f64::from(lives - nth) < f64::from(stops_left) {
            stopped.push(process.stop());
        } else {
            process.kill();
        }
        if nth % every == every / 2 {
            reshard(&kinesis, nth / every);
        }
        if (nth + 1) % every == 0 {
            let there = table_rows(&clickhouse);
            tell(&format!("{} of {lives} runs ended, {} rows put, {there} visible", nth + 1, producer.put()));
        }
    }
    let last = Instant::now();
    let mut process = place.start();
    let oracle = producer.finish();
    let due = Due::of(&oracle);
    let (lake, refused) = (place.home().join("lake"), place.home().join("refused"));
    settle(due.table, || {
        process.runs();
        table_rows(&clickhouse)
    });
    settle(due.lake, || parquet_rows(&lake));
    settle(due.letters, || judge_letters(&refused, &oracle).rows);
    let caught_up = last.elapsed();
    tell("everything is visible, as far as it comes; it is judged");
    process.stop();
    recoveries.sort();
    stopped.sort();
    let verdicts = [
        ("clickhouse", judge_clickhouse(&clickhouse, &oracle)),
        ("parquet", judge_parquet(&lake, &oracle)),
        ("dead letters", judge_letters(&refused, &oracle)),
    ];
    Killed {
        seed: *seed,
        kills: *kills,
        rows: oracle.claimed(),
        stops: stopped,
        runs_with_rows: recoveries.len(),
        recoveries,
        caught_up,
        took: begun.elapsed(),
        verdicts,
    }
}

/// Waits for so long. When the first new row was visible, if any was.
fn watch(clickhouse: &ClickHouse, length: Duration) -> Option<Duration> {
    let begun = Instant::now();
    let before = table_rows(clickhouse);
    let mut first = None;
    while let Some(left) = length.checked_sub(begun.elapsed()) {
        if first.is_none() && table_rows(clickhouse) > before {
            first = Some(begun.elapsed());
        }
        sleep(left.min(LOOK));
    }
    first
}

/// Splits the first open shard and merges its second half with its neighbour, by turns.
fn reshard(kinesis: &KinesisServer, nth: u32) {
    let open = kinesis.open_shards(STREAM);
    if nth.is_multiple_of(2) {
        kinesis.split(STREAM, &open[0]);
    } else {
        // The two youngest are the halves of what was split last.
        let [.., left, right] = &open[..] else { panic!("there are several shards") };
        kinesis.merge(STREAM, left, right);
    }
}

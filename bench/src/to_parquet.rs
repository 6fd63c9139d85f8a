//! Real-time lines from gzip objects into Parquet: what most of Forebay's work is made of.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::data::{emptied, home, realtime_objects};
use crate::program::{REGEX, REGEX_AND_ECS, forebay, pipeline};
use crate::report::{Job, show, take_turns};
use crate::{Outcome, duckdb};

#[derive(Args)]
pub struct Settings {
    /// How many lines.
    #[arg(long, default_value_t = 500_000)]
    rows: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Leave DuckDB out, which needs Python and a package index.
    #[arg(long)]
    no_duckdb: bool,
}

const TO_PARQUET: &str = "type = \"parquet\"\npath = \"out\"\ncompression = \"snappy\"\n";
const TO_NOWHERE: &str = "type = \"blackhole\"\n";

fn jobs(settings: &Settings, home: &Path, objects: &Path) -> Result<Vec<Job>, Box<dyn Error>> {
    let this = std::env::current_exe()?.display().to_string();
    let out = |name: &str| home.join(name);
    let text = |it: &PathBuf| it.display().to_string();
    let hand = vec![this, "hand".into(), objects.display().to_string(), text(&out("hand.parquet"))];
    let mut jobs = vec![
        Job::new("written by hand", hand, || Ok(())),
        forebay("forebay regex", home, pipeline(objects, REGEX, "parse", TO_PARQUET))?,
        forebay("forebay regex ecs", home, pipeline(objects, REGEX_AND_ECS, "event", TO_PARQUET))?,
        forebay("forebay regex blackhole", home, pipeline(objects, REGEX, "parse", TO_NOWHERE))?,
        forebay("forebay regex ecs blackhole", home, pipeline(objects, REGEX_AND_ECS, "event", TO_NOWHERE))?,
    ];
    if !settings.no_duckdb {
        let python = forebay_testkit::services::python(&[duckdb::REQUIREMENT]);
        let program = duckdb::program(objects, &out("duckdb.parquet"));
        jobs.push(Job::new("duckdb, one thread", vec![text(&python), "-c".into(), program], || Ok(())));
    }
    Ok(jobs)
}

/// The program, the loop written by hand, DuckDB.
pub fn compare(settings: &Settings) -> Outcome {
    let objects = realtime_objects(settings.rows)?;
    let home = home()?.join("parquet");
    emptied(&home)?;
    let mut jobs = jobs(settings, &home, &objects.directory)?;
    take_turns(&mut jobs, settings.rounds)?;
    show("gzip objects into Parquet, snappy", &jobs, objects.rows, objects.bytes);
    Ok(())
}

/// The program on one core and on two.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn cores(settings: &Settings) -> Outcome {
    let objects = realtime_objects(settings.rows)?;
    let home = home()?.join("cores");
    emptied(&home)?;
    let on = |name, cores: &str| -> Result<Job, Box<dyn Error>> {
        let mut job = forebay(name, &home, pipeline(&objects.directory, REGEX_AND_ECS, "event", TO_PARQUET))?;
        job.command.splice(0..0, ["taskset".into(), "--cpu-list".into(), cores.into()]);
        Ok(job)
    };
    // What the machine gives: the loop by hand, alone and beside a copy of itself, with nothing in common.
    let this = std::env::current_exe()?.display().to_string();
    let hand = |name, cores: &[&str]| {
        let copy = |core: &&str| {
            let to = home.join(format!("{core}.parquet"));
            format!("taskset --cpu-list {core} {this} hand {} {}", objects.directory.display(), to.display())
        };
        let copies = cores.iter().map(copy).collect::<Vec<_>>().join(" & ");
        Job::new(name, vec!["sh".into(), "-c".into(), format!("{copies} & wait")], || Ok(()))
    };
    let mut jobs = vec![
        on("one core", "0")?,
        on("two cores", "0,1")?,
        hand("by hand, one copy", &["0"]),
        hand("by hand, two copies", &["0", "1"]),
    ];
    take_turns(&mut jobs, settings.rounds)?;
    show("gzip objects into Parquet, with regex and ecs", &jobs, objects.rows, objects.bytes);
    let [one, two, copy, copies] = [0, 1, 2, 3].map(|it: usize| jobs[it].best(|it| it.wall_s));
    println!("two cores are {:.2} times as fast as one", one / two);
    println!(
        "two processes that share nothing do {:.2} times as much as one: what the machine gives",
        2.0 * copy / copies
    );
    Ok(())
}

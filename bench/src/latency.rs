//! How soon a row that was put into Kinesis can be queried in ClickHouse: the playground, as `README.md` starts it, at
//! several rates and paces.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;
use toml::{Table, Value};

use crate::Outcome;
use crate::data::{emptied, home};

/// The pipeline that the playground runs; each job changes a little of it.
const PIPELINE: &str = include_str!("../../examples/cloudfront-clickhouse.toml");

#[derive(Args)]
pub struct Settings {
    /// How long each job runs, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// What a job changes.
struct Job {
    name: &'static str,
    /// Over `[sources.requests]`.
    source: &'static str,
    /// The sink's `batch`.
    batch: &'static str,
}

const JOBS: &[Job] = &[
    Job { name: "as the example is", source: "", batch: "" },
    Job { name: "one INSERT a second", source: "", batch: "age_max = \"1s\"\ninterval_min = \"1s\"" },
    Job { name: "at once", source: "", batch: "age_max = \"0ms\"\ninterval_min = \"0ms\"" },
    Job {
        name: "at once, fan-out",
        source: "mode = \"fan_out\"\nconsumer = \"bench\"",
        batch: "age_max = \"0ms\"\ninterval_min = \"0ms\"",
    },
];

/// Lines in a second, lines in a record, shards: within what a shard takes.
const RATES: &[(u64, u64, u64)] = &[(1_000, 1, 4), (20_000, 50, 32)];

/// What the playground says at its end.
#[derive(Deserialize)]
struct Said {
    put: u64,
    seen: u64,
    different: u64,
    start_ms: u64,
    median_ms: u64,
    p99_ms: u64,
}

#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let home = home()?.join("latency");
    emptied(&home)?;
    println!(
        "start: from the start of the program to the first row; median, p99: from put to seen, of rows put after that"
    );
    println!("{:<22} {:>8} {:>10} {:>10} {:>10} {:>10}", "", "rows/s", "rows", "start ms", "median ms", "p99 ms");
    for job in JOBS {
        for &(rate, aggregate, shards) in RATES {
            let pipeline = home.join("pipeline.toml");
            fs::write(&pipeline, changed(job)?)?;
            let said = played(&pipeline, rate, aggregate, shards, settings.seconds)?;
            if said.put != said.seen || said.put != said.different {
                return Err(format!("{} put, {} seen, {} different", said.put, said.seen, said.different).into());
            }
            let Said { seen, start_ms, median_ms, p99_ms, .. } = said;
            println!("{:<22} {rate:>8} {seen:>10} {start_ms:>10} {median_ms:>10} {p99_ms:>10}", job.name);
        }
    }
    Ok(())
}

fn changed(job: &Job) -> Result<String, Box<dyn Error>> {
    let mut pipeline: Table = PIPELINE.parse()?;
    let mut lay_over = |kind: &str, name: &str, more: Table| -> Outcome {
        let node = pipeline.get_mut(kind).and_then(|it| it.get_mut(name)).and_then(Value::as_table_mut);
        node.ok_or_else(|| format!("the example has no {kind}.{name}"))?.extend(more);
        Ok(())
    };
    lay_over("sources", "requests", job.source.parse()?)?;
    let batch: Table = job.batch.parse()?;
    if !batch.is_empty() {
        lay_over("sinks", "warehouse", Table::from_iter([("batch".to_owned(), Value::Table(batch))]))?;
    }
    Ok(pipeline.to_string())
}

/// Runs the playground that was built beside this program.
fn played(pipeline: &Path, rate: u64, aggregate: u64, shards: u64, seconds: u64) -> Result<Said, Box<dyn Error>> {
    let playground = std::env::current_exe()?.with_file_name("playground");
    let mut command = Command::new(&playground);
    command.arg("--json").arg("--pipeline").arg(pipeline);
    for (option, value) in [("--rate", rate), ("--aggregate", aggregate), ("--shards", shards), ("--seconds", seconds)]
    {
        command.arg(option).arg(value.to_string());
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| {
        format!("cannot run `{}`: {error}: `cargo build --release -p playground`", playground.display())
    })?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

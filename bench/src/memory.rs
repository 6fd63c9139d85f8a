//! How much memory is resident while much more goes through.

use std::error::Error;

use clap::Args;

use crate::Outcome;
use crate::data::{emptied, home, realtime_objects};
use crate::program::{REGEX, REGEX_AND_ECS, forebay, pipeline};
use crate::report::{show, take_turns};

#[derive(Args)]
pub struct Settings {
    /// How many lines; the default is a gigabyte of them.
    #[arg(long, default_value_t = 910_000)]
    rows: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

const ONE_PARTITION: &str = "type = \"parquet\"\npath = \"out\"\n";
/// As many as there are edge locations in each hour.
const SOME_PARTITIONS: &str = "type = \"parquet\"\npath = \"out\"\npartition = { time = \"@timestamp\", every = \"hour\", columns = [\"aws.cloudfront.edge_location\"] }\n";
/// One for every port of a client: more files than anybody should have, each of a row or two.
const MANY_PARTITIONS: &str = "type = \"parquet\"\npath = \"out\"\npartition = { columns = [\"c_port\"] }\n";

/// Rows for each of those with a row or two for each file: what is resident follows from one delivery's files.
const MANY_PART: u64 = 20;

/// A gigabyte into one partition for each delivery, and into some; a twentieth of it into as many as there can be.
pub fn run(settings: &Settings) -> Outcome {
    let objects = realtime_objects(settings.rows)?;
    let home = home()?.join("memory");
    emptied(&home)?;
    let job = |name, sink| -> Result<_, Box<dyn Error>> {
        forebay(name, &home, pipeline(&objects.directory, REGEX_AND_ECS, "event", sink))
    };
    let mut jobs = vec![job("one partition", ONE_PARTITION)?, job("some partitions", SOME_PARTITIONS)?];
    take_turns(&mut jobs, settings.rounds)?;
    show("gzip objects into Parquet", &jobs, objects.rows, objects.bytes);
    let objects = realtime_objects(settings.rows / MANY_PART)?;
    let many = pipeline(&objects.directory, REGEX, "parse", MANY_PARTITIONS);
    let mut jobs = vec![forebay("a file for each row or two", &home, many)?];
    take_turns(&mut jobs, settings.rounds)?;
    show("gzip objects into very many Parquet files", &jobs, objects.rows, objects.bytes);
    Ok(())
}

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
/// One for every port of a client: some ten thousand, each of a few rows.
const MANY_PARTITIONS: &str = "type = \"parquet\"\npath = \"out\"\npartition = { columns = [\"c_port\"] }\n";

/// A gigabyte into one partition for each delivery, into some, and into more than anybody should have.
pub fn run(settings: &Settings) -> Outcome {
    let objects = realtime_objects(settings.rows)?;
    let home = home()?.join("memory");
    emptied(&home)?;
    let job = |name, transforms, last, sink| -> Result<_, Box<dyn Error>> {
        forebay(name, &home, pipeline(&objects.directory, transforms, last, sink))
    };
    let mut jobs = vec![
        job("one partition", REGEX_AND_ECS, "event", ONE_PARTITION)?,
        job("some partitions", REGEX_AND_ECS, "event", SOME_PARTITIONS)?,
        job("many partitions", REGEX, "parse", MANY_PARTITIONS)?,
    ];
    take_turns(&mut jobs, settings.rounds)?;
    show("gzip objects into Parquet", &jobs, objects.rows, objects.bytes);
    Ok(())
}

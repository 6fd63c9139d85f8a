//! The long form of the proof: `kill -9` at random moments, while millions of rows go from Kinesis to ClickHouse and to
//! Parquet at once. See RELIABILITY.md.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use forebay_testkit::proof;

use crate::Outcome;

#[derive(Args)]
pub struct Settings {
    /// How often the program is killed.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How often it is stopped by SIGTERM besides.
    #[arg(long, default_value_t = 100)]
    stops: u32,
    /// How many rows go through meanwhile.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// What all that is random follows from; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
}

/// How long the program runs before it is ended, at least and at most, in seconds.
const RUNS: [u64; 2] = [1, 3];

/// Fails if a row is lost, duplicated, unexpected or corrupted anywhere.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let program = std::env::current_exe()?.with_file_name("forebay");
    if !program.try_exists()? {
        return Err("build the program first, in the same profile: `cargo build --release`".into());
    }
    let seed = match settings.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64 % 1_000_000,
    };
    println!("seed {seed}");
    let [least, most] = RUNS.map(Duration::from_secs);
    let killed = proof::killed(&proof::Settings {
        program: &program,
        seed,
        kills: settings.kills,
        stops: settings.stops,
        rows: settings.rows,
        runs: least..most,
        tell: &|it| println!("{it}"),
    });
    println!("\n{killed}");
    if killed.is_good() { Ok(()) } else { Err("a promise is broken".into()) }
}

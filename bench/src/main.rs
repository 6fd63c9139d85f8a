//! Measures the program as its users run it, beside two yardsticks of the same run: a loop over the same files
//! written by hand with the same crates, and DuckDB doing the same job on one thread.
//!
//! Every job is a process of its own, and what is measured is the process: user and system time, the time on the wall,
//! the most memory that was resident. Jobs take turns, round after round, so that a busy machine is unfair to all of
//! them alike; the best round and the median one are shown. Read the ratios, not the seconds.

mod beacon;
mod beacon_hyper;
mod beacon_requests;
mod books;
mod clickhouse;
mod data;
mod duckdb;
mod firehose;
mod hand;
mod hand_inserts;
mod instructions;
mod latency;
mod load;
mod measure;
mod memory;
mod poison;
mod program;
mod proof;
mod report;
mod to_parquet;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a benchmark comes to.
type Outcome = Result<(), Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Measures Forebay beside a loop written by hand and DuckDB")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CloudFront's real-time lines, from gzip objects into Parquet: rows for each CPU second.
    Parquet(to_parquet::Settings),
    /// Events from browsers, durable before they are answered: requests and events for each CPU second beside nginx, and how
    /// long an answer takes beside the disk.
    Beacon(beacon::Settings),
    /// What exactly-once costs: the intent and the position of each delivery.
    Books(books::Settings),
    /// The same lines from Kinesis into ClickHouse, and what that costs the server.
    Clickhouse(clickhouse::Settings),
    /// The same job on one core and on two: how much sooner it is done.
    Cores(to_parquet::Settings),
    /// Events from files of JSON lines into Data Firehose: events for each CPU second.
    Firehose(firehose::Settings),
    /// A gigabyte of lines into many partitions: how much memory is resident.
    Memory(memory::Settings),
    /// How soon a row that was put into Kinesis can be queried in ClickHouse.
    Latency(latency::Settings),
    /// The hot loops in instructions, which no other process disturbs; fails if one of them has grown.
    Instructions(instructions::Settings),
    /// What rows cost that are refused: rows for each CPU second without any, with such as the program refuses, and with
    /// such as only ClickHouse refuses.
    Poison(poison::Settings),
    /// Kills the program again and again while rows go from Kinesis to ClickHouse and to Parquet; fails if one of them is
    /// lost, duplicated, unexpected or corrupted.
    Proof(proof::Settings),
    /// Runs a command and says what it took, as JSON.
    #[command(hide = true)]
    Measure {
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// A server under load, and what it took, as JSON.
    #[command(hide = true)]
    Load { load: PathBuf },
    /// A server that answers 204 and does nothing else.
    #[command(hide = true)]
    Hyper { port: u16 },
    /// The loop written by hand.
    #[command(hide = true)]
    Hand { from: PathBuf, to: PathBuf },
    /// The loop written by hand, into ClickHouse.
    #[command(hide = true)]
    HandInserts { lines: PathBuf, endpoint: String, table: String },
}

fn main() -> Outcome {
    match Arguments::parse().what {
        What::Parquet(settings) => to_parquet::compare(&settings),
        What::Beacon(settings) => beacon::run(&settings),
        What::Books(settings) => books::run(&settings),
        What::Clickhouse(settings) => clickhouse::run(&settings),
        What::Cores(settings) => to_parquet::cores(&settings),
        What::Firehose(settings) => firehose::run(&settings),
        What::Memory(settings) => memory::run(&settings),
        What::Latency(settings) => latency::run(&settings),
        What::Instructions(settings) => instructions::run(&settings),
        What::Poison(settings) => poison::run(&settings),
        What::Proof(settings) => proof::run(&settings),
        What::Measure { command } => measure::measured_here(&command),
        What::Load { load } => load::loaded_here(&load),
        What::Hyper { port } => beacon_hyper::run(port),
        What::Hand { from, to } => hand::to_parquet(&from, &to),
        What::HandInserts { lines, endpoint, table } => hand_inserts::to_clickhouse(&lines, &endpoint, &table),
    }
}

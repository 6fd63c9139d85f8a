//! What rows cost that are refused: the same rows from Kinesis into ClickHouse without any, with such as the source, the
//! transform and the sink refuse, and with such as only the server refuses.

use std::sync::Arc;

use clap::Args;
use forebay_testkit::oracle::{Oracle, PATTERN, TYPES};
use forebay_testkit::proof::{KINDS, Poison, RARITY, TABLE, aws, create_table};
use forebay_testkit::services::{ClickHouse, KinesisLimits, KinesisServer, aggregate};

use crate::Outcome;
use crate::data::{emptied, home};
use crate::program::forebay;
use crate::report::{Job, show, take_turns};

#[derive(Args)]
pub struct Settings {
    /// How many rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What the rows follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const SHARDS: u32 = 4;

/// Rows of a record.
const AGGREGATED: u64 = 500;

/// Whether the rows of a job are wrong in this way.
type Has = fn(Poison) -> bool;

/// The jobs, each with a stream of its own.
const JOBS: [(&str, Has); 3] = [
    ("all rows are well", |_| false),
    ("source, transform, cast", |it| it != Poison::AgainstConstraint),
    ("and the server", |_| true),
];

/// The jobs take turns; read the ratios.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let home = home()?.join("poison");
    emptied(&home)?;
    let kinesis = KinesisServer::with(KinesisLimits::without_rates());
    let server = Arc::new(ClickHouse::start());
    let mut bytes = 0;
    let mut jobs = Vec::new();
    for (nth, (name, has)) in JOBS.into_iter().enumerate() {
        let stream = format!("rows-{nth}");
        kinesis.create_stream(&stream, SHARDS);
        bytes = put(&kinesis, &stream, settings, has);
        let mut job = forebay(name, &home, pipeline(&kinesis, &stream, &server))?;
        with_a_new_table(&mut job, &server);
        jobs.push(job);
    }
    println!("of {RARITY} rows one is wrong in each of up to {} ways", KINDS.len());
    take_turns(&mut jobs, settings.rounds)?;
    show("rows that are refused", &jobs, settings.rows, bytes);
    Ok(())
}

/// Puts all rows, those wrong that are to be. How many bytes they have.
fn put(kinesis: &KinesisServer, stream: &str, settings: &Settings, has: Has) -> u64 {
    let oracle = Oracle::new(settings.seed);
    let mut bytes = 0;
    for first in (0..settings.rows).step_by(AGGREGATED as usize) {
        let row = |id| {
            let line = oracle.line(id);
            match Poison::of(id).filter(|it| has(*it)) {
                Some(poison) => poison.spoil(&line),
                None => line.into_bytes(),
            }
        };
        let rows: Vec<Vec<u8>> = (first..settings.rows.min(first + AGGREGATED)).map(row).collect();
        bytes += rows.iter().map(|it| it.len() as u64).sum::<u64>();
        let records: Vec<_> = rows.iter().map(|it| ("visitor", None, &it[..])).collect();
        kinesis.put_directly(stream, [(format!("key {first}"), aggregate(&records))]);
    }
    bytes
}

fn pipeline(kinesis: &KinesisServer, stream: &str, server: &ClickHouse) -> String {
    let (aws, endpoint) = (aws(&kinesis.endpoint()), server.endpoint());
    format!(
        r#"
dead_letters.path = "refused"

[sources.logs]
type = "kinesis"
stream = "{stream}"
end = "caught_up"
other_shards = "keep"
aws = {aws}

[transforms.parse]
type = "regex"
inputs = ["logs"]
pattern = '{PATTERN}'
types = {TYPES}

[sinks.warehouse]
type = "clickhouse"
inputs = ["parse"]
endpoint = "{endpoint}"
table = "{TABLE}"
"#
    )
}

/// Makes the table anew before each round.
fn with_a_new_table(job: &mut Job, server: &Arc<ClickHouse>) {
    let server = server.clone();
    let before = std::mem::replace(&mut job.before, Box::new(|| Ok(())));
    job.before = Box::new(move || {
        server.query(&format!("DROP TABLE IF EXISTS {TABLE} SYNC"));
        create_table(&server, 1_000);
        before()
    });
}

//! Real-time lines from Kinesis into ClickHouse: the program, and what it costs the server.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, KinesisLimits, KinesisServer, SECRET_KEY, aggregate};

use crate::data::{emptied, home, realtime_lines};
use crate::program::{REGEX, REGEX_AND_ECS, forebay, from_kinesis};
use crate::report::{Job, show, take_turns};
use crate::{Outcome, hand_inserts};

#[derive(Args)]
pub struct Settings {
    /// How many lines.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const STREAM: &str = "cdn";
const SHARDS: u32 = 4;
/// Lines of a record, as the Kinesis Producer Library aggregates them: a hundred kilobytes.
const AGGREGATED: usize = 100;
/// The table of the loop written by hand.
const BY_HAND: &str = "bench_by_hand";

/// The loop written by hand; the program from Kinesis into nothing and into ClickHouse; then what the server took for a
/// row, beside the same rows as `JSONEachRow`, which is what Vector sends.
pub fn run(settings: &Settings) -> Outcome {
    let home = home()?.join("clickhouse");
    emptied(&home)?;
    let kinesis = KinesisServer::with(KinesisLimits::without_rates());
    kinesis.create_stream(STREAM, SHARDS);
    let mut bytes = 0;
    let mut text = String::new();
    let mut lines: Vec<String> = Vec::new();
    realtime_lines(settings.rows, |line| {
        bytes += line.len() as u64;
        text.push_str(line);
        lines.push(line.to_owned());
        if lines.len() == AGGREGATED {
            put(&kinesis, &std::mem::take(&mut lines));
        }
    });
    put(&kinesis, &lines);
    let lines = home.join("lines");
    fs::write(&lines, text)?;
    let server = Arc::new(ClickHouse::start());

    let nowhere = "type = \"blackhole\"\n";
    let table =
        format!("type = \"clickhouse\"\nendpoint = \"{}\"\ntable = \"bench\"\ncreate = true\n", server.endpoint());
    let at_least_once = format!("{table}exactly_once = false\n");
    let job = |name, transforms, last, sink: &str| {
        forebay(name, &home, from_kinesis(&source(&kinesis), transforms, last, sink))
    };
    let mut jobs = vec![
        by_hand(&lines, &server)?,
        job("kinesis blackhole", "", "records", nowhere)?,
        job("kinesis regex blackhole", REGEX, "parse", nowhere)?,
        job("kinesis regex clickhouse", REGEX, "parse", &table)?,
        job("kinesis regex, at least once", REGEX, "parse", &at_least_once)?,
        job("kinesis ecs clickhouse", REGEX_AND_ECS, "event", &table)?,
    ];
    for job in &mut jobs[1..] {
        emptied_before(job, &server);
    }
    take_turns(&mut jobs, settings.rounds)?;
    show("aggregated records into ClickHouse", &jobs, settings.rows, bytes);
    server_side(&server, &home)
}

fn put(kinesis: &KinesisServer, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let records: Vec<_> = lines.iter().map(|it| ("visitor", None, it.as_bytes())).collect();
    kinesis.put_directly(STREAM, [(lines[0].as_str(), aggregate(&records))]);
}

/// The loop written by hand, from lines that are in memory already.
fn by_hand(lines: &Path, server: &Arc<ClickHouse>) -> Result<Job, Box<dyn Error>> {
    let this = std::env::current_exe()?.display().to_string();
    let command = vec![this, "hand-inserts".into(), lines.display().to_string(), server.endpoint(), BY_HAND.into()];
    let (server, create) = (server.clone(), hand_inserts::create(BY_HAND)?);
    let before = move || {
        server.query(&format!("DROP TABLE IF EXISTS {BY_HAND} SYNC"));
        server.query(&create);
        Ok(())
    };
    Ok(Job::new("written by hand, no kinesis", command, before))
}

/// A source that ends when it has read all.
fn source(kinesis: &KinesisServer) -> String {
    format!(
        "type = \"kinesis\"\nstream = \"{STREAM}\"\nend = \"caught_up\"\nother_shards = \"keep\"\n[sources.records.aws]\n\
         region = \"us-east-1\"\nendpoint = \"{}\"\naccess_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{SECRET_KEY}\"\n",
        kinesis.endpoint()
    )
}

/// Takes the table away, too, before each round.
fn emptied_before(job: &mut Job, server: &Arc<ClickHouse>) {
    let server = server.clone();
    let before = std::mem::replace(&mut job.before, Box::new(|| Ok(())));
    job.before = Box::new(move || {
        server.query("DROP TABLE IF EXISTS default.bench SYNC");
        before()
    });
}

/// What one row cost the server, for the INSERTs of the last job and for the same rows as JSON.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
fn server_side(server: &ClickHouse, home: &Path) -> Result<(), Box<dyn Error>> {
    server.query("CREATE TABLE default.bench_json AS default.bench");
    let columns = server.query(
        "SELECT arrayStringConcat(groupArray(name), ', ') FROM system.columns \
         WHERE database = 'default' AND table = 'bench' AND default_kind = ''",
    );
    // In pieces as large as the program's own.
    let file = home.join("rows.json");
    let rows: u64 = server.query("SELECT count() FROM default.bench").parse()?;
    for from in (0..rows).step_by(50_000) {
        let sql = format!("SELECT {columns} FROM default.bench LIMIT 50000 OFFSET {from} FORMAT JSONEachRow");
        fs::write(&file, server.query(&sql))?;
        let json = fs::read_to_string(&file)?;
        server.query(&format!("INSERT INTO default.bench_json ({columns}) FORMAT JSONEachRow\n{json}"));
    }
    server.query("SYSTEM FLUSH LOGS");
    println!("\n{:<26} {:>12} {:>14} {:>14} {:>10}", "on the server", "rows", "us CPU/row", "bytes/row", "INSERTs");
    for (name, table) in [("forebay", "bench"), ("JSONEachRow", "bench_json")] {
        let sql = format!(
            "SELECT sum(written_rows), \
             sum(ProfileEvents['UserTimeMicroseconds'] + ProfileEvents['SystemTimeMicroseconds']) / sum(written_rows), \
             sum(ProfileEvents['NetworkReceiveBytes']) / sum(written_rows), count() \
             FROM system.query_log WHERE type = 'QueryFinish' AND query_kind = 'Insert' \
             AND has(tables, 'default.{table}') AND event_time > now() - 3600 FORMAT TSV"
        );
        let line = server.query(&sql);
        let values: Vec<f64> = line.split('\t').map(|it| it.parse().unwrap_or(f64::NAN)).collect();
        if let [rows, cpu, bytes, inserts] = values[..] {
            println!("{name:<26} {rows:>12.0} {cpu:>14.2} {bytes:>14.0} {inserts:>10.0}");
        }
    }
    Ok(())
}

//! Starts a Kinesis and a ClickHouse on this machine, lets visitors come to an imaginary web site behind CloudFront, and
//! runs `examples/cloudfront-clickhouse.toml` between them; shows how soon rows can be queried.
//!
//! The Kinesis is a stand-in that speaks its API with its limits; the ClickHouse is a real one. Both are those of the
//! tests, and end with this program.

mod latency;
mod visitors;

use std::env;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, KinesisServer, SECRET_KEY};

use crate::latency::Latency;
use crate::visitors::Visitors;

const STREAM: &str = "cdn-logs";
const DATABASE: &str = "cdn";

/// A child of this program with this variable is `forebay` itself.
const IS_FOREBAY: &str = "FOREBAY_PLAYGROUND_CHILD";

/// How often it is asked how many rows can be seen.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// How long what was put may take to be seen at the end.
const SETTLE: Duration = Duration::from_secs(60);

/// Kinesis, ClickHouse and the visitors of a web site on this machine, with Forebay between them.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many requests come in a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// For how long they come.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many shards the stream has. A shard takes 1,000 records and 1 MiB in a second.
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// How many log lines are aggregated to one record, as the Kinesis Producer Library does it; 1 for none.
    #[arg(long, default_value_t = 1)]
    aggregate: usize,
    /// The pipeline.
    #[arg(long, default_value = "examples/cloudfront-clickhouse.toml")]
    pipeline: PathBuf,
    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if env::var_os(IS_FOREBAY).is_some() {
        return forebay_cli::main(forebay_cli::components());
    }
    match play(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(1)
        }
    }
}

/// Whether every row that was put was seen once.
fn play(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let tell = |text: &str| {
        if !arguments.json {
            say(text);
        }
    };
    tell("starting ClickHouse (its first start fetches 250 MB into target/services) …");
    let clickhouse = ClickHouse::start();
    let kinesis = KinesisServer::start();
    kinesis.create_stream(STREAM, arguments.shards);
    let home = tempfile::tempdir()?;
    let mut latency = Latency::new();
    let mut forebay = forebay(arguments, home.path(), &clickhouse, &kinesis)?;
    tell(&format!("Kinesis at {}, ClickHouse at {}", kinesis.endpoint(), clickhouse.endpoint()));

    let mut visitors = Visitors::new(arguments.rate, arguments.aggregate);
    let begun = Instant::now();
    let mut told = 0;
    let (mut seen, mut settling) = (0, None);
    loop {
        if let Some(status) = forebay.0.try_wait()? {
            return Err(format!("forebay has ended with {status}").into());
        }
        let is_over = begun.elapsed().as_secs() >= arguments.seconds;
        if !is_over && let Some(records) = visitors.come() {
            kinesis.put_directly(STREAM, records);
            latency.put(visitors.count());
        }
        // The table is not there before the first rows are.
        let count = clickhouse.ask(&format!("SELECT count() FROM {DATABASE}.requests"));
        seen = count.ok().and_then(|it| it.parse().ok()).unwrap_or(seen);
        latency.seen(seen);
        if begun.elapsed().as_secs() > told {
            told = begun.elapsed().as_secs();
            tell(&format!("{told:>3} s  {:>9} put  {seen:>9} seen  {}", visitors.count(), latency.recent()));
        }
        if is_over {
            let since: &mut Instant = settling.get_or_insert_with(Instant::now);
            if seen >= visitors.count() || since.elapsed() > SETTLE {
                break;
            }
        }
        std::thread::sleep(ASK_EVERY);
    }
    stop(&mut forebay)?;

    let put = visitors.count();
    let once: u64 = clickhouse.query(&format!("SELECT uniqExact(http_request_id) FROM {DATABASE}.requests")).parse()?;
    let seen: u64 = clickhouse.query(&format!("SELECT count() FROM {DATABASE}.requests")).parse()?;
    if arguments.json {
        let (median, p99) = (latency.quantile(0.5).as_millis(), latency.quantile(0.99).as_millis());
        let (start, rate) = (latency.start().as_millis(), arguments.rate);
        out(&format!(
            r#"{{"put":{put},"seen":{seen},"different":{once},"rate":{rate},"start_ms":{start},"median_ms":{median},"p99_ms":{p99}}}"#
        ));
    } else {
        out(&format!("\n{put} rows put, {seen} seen, {once} of them different"));
        out(&format!("from the start to the first row: {} ms", latency.start().as_millis()));
        out(&format!("from put to seen, of rows that were put after that: {}", latency.all()));
        out("\nthe busiest paths:");
        let top = "SELECT url_path, count() AS requests, round(avg(event_duration) / 1e6, 1) AS avg_ms, \
                   countIf(http_response_status_code >= 500) AS errors \
                   FROM cdn.requests GROUP BY url_path ORDER BY requests DESC LIMIT 5 FORMAT PrettyCompactMonoBlock";
        out(&clickhouse.query(top));
    }
    Ok(seen == put && once == put)
}

/// Runs the pipeline in a directory of its own.
fn forebay(
    arguments: &Arguments,
    home: &Path,
    clickhouse: &ClickHouse,
    kinesis: &KinesisServer,
) -> Result<Forebay, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command.current_dir(home).env(IS_FOREBAY, "1").env("STREAM", STREAM);
    command.env("KINESIS", kinesis.endpoint()).env("CLICKHOUSE", clickhouse.endpoint());
    command.env("KINESIS_ACCESS_KEY", ACCESS_KEY).env("KINESIS_SECRET_KEY", SECRET_KEY);
    command.args(["run", "--quiet", "--env", "local"]).arg(arguments.pipeline.canonicalize()?);
    Ok(Forebay(command.stdin(Stdio::null()).spawn()?))
}

/// The program under way. It does not outlive this one.
struct Forebay(Child);

impl Drop for Forebay {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets it deliver what it has read.
fn stop(Forebay(forebay): &mut Forebay) -> Result<(), Box<dyn Error>> {
    Command::new("kill").arg("-TERM").arg(forebay.id().to_string()).status()?;
    let status = forebay.wait()?;
    if status.success() { Ok(()) } else { Err(format!("forebay has ended with {status}").into()) }
}

/// A line on standard error. Nobody there: nothing to do about it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line on standard output.
fn out(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

//! Events from browsers: the program beside nginx and hyper, which answer the same requests and do nothing else.

use std::error::Error;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use forebay_testkit::services::ClickHouse;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::Outcome;
use crate::beacon_requests::{Kind, bytes, events};
use crate::data::{emptied, home};
use crate::load::{Load, Loaded, Times, loaded};
use crate::report::{Job, show};

#[derive(Args)]
pub struct Settings {
    /// How many requests of one event.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// How many requests of a hundred events.
    #[arg(long, default_value_t = 4_000)]
    batches: u64,
    /// How many connections.
    #[arg(long, default_value_t = 256)]
    connections: u64,
    /// How often each job is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Requests a second while the time of answers is measured: few enough that nothing waits for the processor.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Only jobs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What stands between the source and the sink of the example of web telemetry.
const ENRICHED: &str = r#"
[transforms.browsers]
type = "user_agent"
inputs = ["pages"]

[transforms.events]
type = "ecs"
inputs = ["browsers"]
names = "underscored"
map = { "labels" = "page.labels" }
rename = { "@timestamp" = "ts", "page.labels" = "labels" }
custom = { "page.labels" = "keyword", "user_agent.is_bot" = "boolean" }
"#;
const PARQUET: &str = "type = \"parquet\"\npath = \"out\"\npartition = { time = \"TIME\", every = \"hour\" }\n";
const BLACKHOLE: &str = "type = \"blackhole\"\n";
/// In ClickHouse's own database.
const TABLE: &str = "events";

/// How many rows there are.
type Rows = Box<dyn Fn() -> Result<u64, Box<dyn Error>>>;

/// A server, and the load on it.
struct Served {
    job: Job,
    load: Load,
    /// The rows that are there afterwards, if they can be counted.
    there: Option<Rows>,
    loaded: Vec<Loaded>,
}

/// Requests of one event and requests of a hundred, on the first processor alone; and the time of answers at a modest
/// rate, on all of them.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let home = home()?.join("beacon");
    let clickhouse = Arc::new(ClickHouse::start());
    // It would be on another machine.
    clickhouse.give_way();
    for (title, kind, requests) in [
        ("requests of one event", Kind::Single, settings.requests),
        ("requests of a hundred events, compressed", Kind::Batch, settings.batches),
    ] {
        let mut all = servers(&home, kind, &clickhouse, settings)?;
        for served in &mut all {
            served.load.requests = requests;
        }
        take_turns(&mut all, settings.rounds)?;
        let (jobs, answers): (Vec<Job>, Vec<_>) = all.into_iter().map(|it| (it.job, it.loaded)).unzip();
        let rows = requests * events(kind);
        show(title, &jobs, rows, bytes(kind, requests));
        println!("{:<26} {:>12}", "", "rows/s");
        for (job, answers) in jobs.iter().zip(&answers) {
            let least = answers.iter().map(|it| it.answered_s).fold(f64::INFINITY, f64::min);
            println!("{:<26} {:>12.0}", job.name, rows as f64 / least);
        }
        println!();
    }
    // How long somebody waits is not a matter of one processor's time.
    let processors = format!("0-{}", std::thread::available_parallelism()?.get() - 1);
    let mut all = servers(&home, Kind::Single, &clickhouse, settings)?;
    for served in &mut all {
        served.load.processors.clone_from(&processors);
        served.load.requests = settings.rate * 10;
        served.load.rate = Some(settings.rate);
        served.load.connections = settings.connections.min(64);
    }
    take_turns(&mut all, settings.rounds)?;
    show_times(&all, settings.rate);
    Ok(())
}

fn servers(
    home: &Path,
    kind: Kind,
    clickhouse: &Arc<ClickHouse>,
    settings: &Settings,
) -> Result<Vec<Served>, Box<dyn Error>> {
    let all = [
        nginx(home, kind, settings)?,
        hyper(home, kind, settings)?,
        forebay("memory blackhole", "", "pages", "memory", BLACKHOLE, home, kind, settings)?,
        forebay("fsync blackhole", "", "pages", "fsync", BLACKHOLE, home, kind, settings)?,
        forebay("memory parquet", "", "pages", "memory", PARQUET, home, kind, settings)?,
        forebay("fsync parquet", "", "pages", "fsync", PARQUET, home, kind, settings)?,
        into_clickhouse(home, kind, clickhouse, settings)?,
        forebay("fsync ecs parquet", ENRICHED, "events", "fsync", PARQUET, home, kind, settings)?,
    ];
    Ok(all.into_iter().filter(|it| it.job.name.contains(&settings.only)).collect())
}

fn take_turns(all: &mut [Served], rounds: usize) -> Outcome {
    // The first round does not count.
    for round in 0..=rounds {
        for served in &mut *all {
            (served.job.before)()?;
            let Load { kind, requests, .. } = served.load;
            let loaded = loaded(&served.load).map_err(|error| format!("{}: {error}", served.job.name))?;
            if let Some(there) = &served.there {
                let (there, due) = (there()?, requests * events(kind));
                if there != due {
                    return Err(format!("{}: {there} rows of {due} are there", served.job.name).into());
                }
            }
            if round > 0 {
                served.job.taken.push(loaded.taken);
                served.loaded.push(loaded);
            }
        }
    }
    Ok(())
}

/// How many rows all Parquet files below a directory have.
fn rows(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let mut all = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all += rows(&entry.path())?;
        } else if entry.path().extension().is_some_and(|it| it == "parquet") {
            let file = SerializedFileReader::new(File::open(entry.path())?)?;
            all += file.metadata().file_metadata().num_rows() as u64;
        }
    }
    Ok(all)
}

/// The time of answers held against that of the disk, of the round in the middle.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
fn show_times(all: &[Served], rate: u64) {
    println!("time of an answer in ms, and CPU time of a request, at {rate} requests a second of one event");
    println!(
        "{:<26} {:>8} {:>8} {:>8} {:>8} {:>12} {:>10} {:>11} {:>15} {:>8}",
        "", "median", "p99", "p99.9", "most", "sync median", "sync p99", "p99/median", "p99/p99 of syncs", "CPU us"
    );
    let ms = |micros: u64| micros as f64 / 1000.0;
    for served in all {
        let mut rounds: Vec<&Loaded> = served.loaded.iter().collect();
        rounds.sort_by_key(|it| it.answers.p99);
        let Some(Loaded { answers: Times { median, p99, p999, most }, syncs, taken, .. }) =
            rounds.get(rounds.len() / 2)
        else {
            continue;
        };
        println!(
            "{:<26} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>12.2} {:>10.2} {:>11.2} {:>15.2} {:>8.1}",
            served.job.name,
            ms(*median),
            ms(*p99),
            ms(*p999),
            ms(*most),
            ms(syncs.median),
            ms(syncs.p99),
            *p99 as f64 / syncs.median as f64,
            *p99 as f64 / syncs.p99 as f64,
            taken.cpu_s * 1e6 / served.load.requests as f64,
        );
    }
}

/// A server that is started in a directory of its own; `files` are written there first.
fn served(
    name: &'static str,
    home: &Path,
    command: impl FnOnce(&Path, u16) -> Vec<String>,
    files: impl FnOnce(u16) -> Vec<(&'static str, String)>,
    kind: Kind,
    settings: &Settings,
) -> Result<Served, Box<dyn Error>> {
    let directory = home.join(name.replace(' ', "-"));
    emptied(&directory)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = ["env".to_owned(), format!("--chdir={}", directory.display())].into_iter();
    let server: Vec<String> = server.chain(command(&directory, port)).collect();
    let files = files(port);
    let place = directory.clone();
    let before = move || {
        emptied(&place)?;
        files.iter().try_for_each(|(name, text)| Ok(fs::write(place.join(name), text)?))
    };
    let load = Load {
        server,
        processors: "0".to_owned(),
        port,
        directory,
        kind,
        requests: 0,
        connections: settings.connections,
        rate: None,
    };
    Ok(Served { job: Job::new(name, Vec::new(), before), load, there: None, loaded: Vec::new() })
}

/// nginx that answers 204, with one process and no log.
fn nginx(home: &Path, kind: Kind, settings: &Settings) -> Result<Served, Box<dyn Error>> {
    let config = |port: u16| {
        let text = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr crit;\n\
             events {{ worker_connections 2048; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  client_body_temp_path body;\n  \
             proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
             server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n}}\n"
        );
        vec![("nginx.conf", text)]
    };
    let command = |directory: &Path, _| {
        let place = directory.display().to_string();
        ["nginx", "-p", &place, "-c", "nginx.conf"].map(str::to_owned).to_vec()
    };
    served("nginx", home, command, config, kind, settings)
}

/// What hyper alone takes for the same requests.
fn hyper(home: &Path, kind: Kind, settings: &Settings) -> Result<Served, Box<dyn Error>> {
    let program = std::env::current_exe()?.display().to_string();
    let command = |_: &Path, port: u16| vec![program, "hyper".to_owned(), port.to_string()];
    served("hyper", home, command, |_| Vec::new(), kind, settings)
}

#[allow(clippy::too_many_arguments, reason = "each is a part of the one pipeline")]
fn forebay(
    name: &'static str,
    transforms: &str,
    last: &str,
    durability: &str,
    sink: &str,
    home: &Path,
    kind: Kind,
    settings: &Settings,
) -> Result<Served, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("forebay");
    if !program.try_exists()? {
        return Err("build the program first: `cargo build --release`".into());
    }
    let command = |_: &Path, _| vec![program.display().to_string(), "run".to_owned(), "--quiet".to_owned()];
    let pipeline = |port: u16| {
        let text = format!(
            "[dead_letters]\npath = \"refused\"\n\n[sources.pages]\ntype = \"beacon\"\nlisten = \"127.0.0.1:{port}\"\n\
             spool = {{ directory = \"spool\", durability = \"{durability}\" }}\n\
             limits = {{ requests_per_address = 1000000000, connections_per_address_max = 10000 }}\n\
             {transforms}\n[sinks.out]\ninputs = [\"{last}\"]\n{}",
            sink.replace("TIME", if last == "pages" { "@timestamp" } else { "ts" })
        );
        vec![("pipeline.toml", text)]
    };
    let mut served = served(name, home, command, pipeline, kind, settings)?;
    let lake = served.load.directory.join("out");
    served.there = (sink == PARQUET).then(|| Box::new(move || rows(&lake)) as Rows);
    Ok(served)
}

/// The program into a table, which is made anew for each round.
fn into_clickhouse(
    home: &Path,
    kind: Kind,
    server: &Arc<ClickHouse>,
    settings: &Settings,
) -> Result<Served, Box<dyn Error>> {
    let sink =
        format!("type = \"clickhouse\"\nendpoint = \"{}\"\ntable = \"{TABLE}\"\ncreate = true\n", server.endpoint());
    let mut served = forebay("fsync clickhouse", "", "pages", "fsync", &sink, home, kind, settings)?;
    let (emptied, before) = (server.clone(), served.job.before);
    served.job.before = Box::new(move || {
        emptied.ask(&format!("DROP TABLE IF EXISTS {TABLE} SYNC"))?;
        before()
    });
    let server = server.clone();
    served.there = Some(Box::new(move || Ok(server.ask(&format!("SELECT count() FROM {TABLE}"))?.parse()?)));
    Ok(served)
}

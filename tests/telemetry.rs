//! `examples/web-telemetry.toml` in each of its environments, with events as pages send them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use forebay_testkit::services::{ACCESS_KEY, FirehoseMishap, FirehoseServer, S3Server, SECRET_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::beacon::{Client, Running, free_port, rows, until};
use crate::harness::{copy_all, files, forebay, root};
use crate::spark;

const REQUESTS: u64 = 60;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// The example, in a directory of its own.
struct Site {
    dir: TempDir,
    running: Running,
}

impl Site {
    /// Starts it in an environment, with a server in place of AWS. `changed`: texts of the file, and what stands there
    /// instead.
    fn start(environment: &[&str], endpoint: &str, changed: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut example = fs::read_to_string(root().join("examples/web-telemetry.toml")).unwrap();
        for (from, to) in changed {
            assert!(example.contains(from), "{from}");
            example = example.replace(from, to);
        }
        fs::write(dir.path().join("pipeline.toml"), example).unwrap();
        let port = free_port();
        let mut command = forebay(dir.path());
        command.args(["run", "--quiet"]).args(environment);
        command.env("LISTEN", format!("127.0.0.1:{port}"));
        let aws = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ];
        command.envs(aws);
        let running = Running::start(dir.path(), port, command);
        Self { dir, running }
    }

    /// Sends requests with events of all kinds, each over some hours of two days; one event of each cannot be a row. All are
    /// answered with 204. Gives the ids of those that can be rows.
    fn send(&self) -> BTreeSet<String> {
        let mut client = Client::new(self.running.address());
        let mut ids = BTreeSet::new();
        for request in 0..REQUESTS {
            let hour = request % 5 * 7;
            let at = format!("2026-11-{:02}T{:02}:00:{:02}.{:03}Z", 20 + hour / 24, hour % 24, request, request);
            let usual = |kind: &str, more: Value| {
                let mut event = json!({
                    "@timestamp": at, "event.id": format!("{request}-{kind}"), "event.action": kind,
                    "service": { "name": "blog" }, "url.full": format!("https://e.com/ä?q={request}"),
                });
                event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                event
            };
            let events = [
                usual(
                    "pageview",
                    json!({ "event.duration": 1.5e9 + request as f64, "transaction.id": "t", "event.category": ["web"] }),
                ),
                usual(
                    "error",
                    json!({ "error": { "message": "x is undefined", "stack_trace": "a\nb" }, "tags": ["a", "b"] }),
                ),
                usual(
                    "web-vital",
                    json!({ "web_vital": { "name": "LCP", "value": 0.1 * request as f64 }, "event.severity": 3 }),
                ),
                usual("custom", json!({ "basket": { "article": "4711", "price": 12.50 }, "log.origin.file.line": 7 })),
                usual("bad", json!({ "event.duration": "long" })),
            ];
            ids.extend(events[..4].iter().map(|it| it["event.id"].as_str().unwrap().to_owned()));
            let body = match request % 3 {
                0 => json!(events).to_string(),
                1 => events.iter().map(|it| format!("{it}\n")).collect(),
                _ => events.iter().map(Value::to_string).collect(),
            };
            let agent = if request % 4 == 0 { GOOGLEBOT } else { FIREFOX };
            let head = format!("User-Agent: {agent}\r\nContent-Type: text/plain;charset=UTF-8\r\n");
            assert_eq!(client.post("/beacon", &head, body.as_bytes()).unwrap().status, 204);
        }
        ids
    }
}

/// How many letters there are below a directory.
fn letters(at: &Path) -> usize {
    files(at).iter().map(|it| fs::read_to_string(it).unwrap().lines().count()).sum()
}

/// Scenario: the example in its environment `aws`, with the stand-in of Firehose, which throttles a call and does not take a
/// record of another.
/// Guarantees: every event that was answered with 204 is in a record, once, under the names of the table; one that cannot be
/// a row is in the dead letters.
#[test]
fn to_firehose() {
    let firehose = FirehoseServer::start();
    firehose.create_stream("client-side-telemetry");
    firehose.fail("PutRecordBatch", 1, FirehoseMishap::Error(503, "ServiceUnavailableException".into()));
    firehose.fail("PutRecordBatch", 1, FirehoseMishap::Records(vec![0]));
    let site = Site::start(&["--env", "aws"], &firehose.endpoint(), &[]);
    let ids = site.send();
    let arrived = || {
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        for call in firehose.calls("client-side-telemetry") {
            let taken = call.records.iter().enumerate().filter(|(nth, _)| !call.failed.contains(nth));
            for line in taken.flat_map(|(_, it)| it.split(|it| *it == b'\n')).filter(|it| !it.is_empty()) {
                let row: Value = serde_json::from_slice(line).unwrap();
                assert_eq!(row["service_name"], "blog", "{row}");
                *arrived.entry(row["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        arrived
    };
    until("every event arrives", || arrived().len() == ids.len());
    let refused = site.dir.path().join("data/web-telemetry/errors/ecs");
    until("every event that cannot be a row is kept", || letters(&refused) as u64 == REQUESTS);
    site.running.stop();
    assert_eq!(arrived(), ids.into_iter().map(|it| (it, 1)).collect());
}

/// Scenario: the example in its environment `bucket`, but for the age of a batch, with an S3 server.
/// Guarantees: every event that was answered with 204 is in a file of its hour, below `data/ecs` as Firehose would have
/// named it, once; one that cannot be a row is in the dead letters, in the bucket.
#[test]
fn to_a_bucket() {
    let s3 = S3Server::start();
    s3.create_bucket("example-telemetry");
    let site = Site::start(&["--env", "bucket"], &s3.endpoint(), &[("age_max = \"15m\"", "age_max = \"1s\"")]);
    let ids = site.send();
    let bucket = s3.directory().join("example-telemetry");
    let found = || {
        let selected = "event_id, strftime(ts, '%Y-%m-%d %H') = concat(year, '-', month, '-', day, ' ', hour), \
                        user_agent_name, user_agent_is_bot";
        rows(&bucket.join("data/ecs"), selected)
    };
    until("every event arrives", || found().len() >= ids.len());
    let refused = bucket.join("errors/ecs");
    until("every event that cannot be a row is kept", || letters(&refused) as u64 == REQUESTS);
    site.running.stop();
    let parquet = files(&bucket).into_iter().filter(|it| it.extension().is_some_and(|it| it == "parquet"));
    let hours: BTreeSet<String> =
        parquet.map(|it| it.strip_prefix(&bucket).unwrap().parent().unwrap().display().to_string()).collect();
    let expected = ["20/hour=00", "20/hour=07", "20/hour=14", "20/hour=21", "21/hour=04"];
    assert_eq!(hours, expected.iter().map(|it| format!("data/ecs/year=2026/month=11/day={it}")).collect());
    let found = found();
    assert_eq!(found.len(), ids.len());
    assert_eq!(found.iter().map(|it| it[0].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), ids);
    for row in found {
        assert_eq!(row[1], true, "{row}");
        let is_bot = row[0].as_str().unwrap().split('-').next().unwrap().parse::<u64>().unwrap() % 4 == 0;
        assert_eq!((&row[2], &row[3]), (&json!(if is_bot { "Googlebot" } else { "Firefox" }), &json!(is_bot)), "{row}");
    }
}

/// Two more tables of the same events, under prefixes as Firehose has them: with the names of levels, and its default.
const UNDER_PREFIXES: &str = r#"
[sinks.named]
type = "parquet"
inputs = ["events"]
path = "./data/named"
partition = { time = "ts" }
prefix = "data/ecs/year=!{timestamp:yyyy}/month=!{timestamp:MM}/!{timestamp:'day='dd'/hour='HH}/"
batch = { age_max = "1s" }

[sinks.dated]
type = "parquet"
inputs = ["events"]
path = "./data/dated"
partition = { time = "ts" }
prefix = "raw/"
batch = { age_max = "1s" }

[sinks.archive]
"#;

/// Scenario: the example as it is, and beside its table two under prefixes of Firehose; then the tables are made in Spark and in
/// DuckDB by the statements of `forebay ddl`.
/// Guarantees: Spark, DuckDB and PyArrow find the same columns, types, partitions and values in each row, and every event that
/// was answered; each partition lies where Athena looks for it; where levels have no names, Spark reads the same without
/// partitions.
#[test]
fn as_a_table() {
    let site = Site::start(&[], "http://127.0.0.1:1", &[("\n[sinks.archive]\n", UNDER_PREFIXES)]);
    let ids = site.send();
    let tables = [
        ("telemetry", "archive", "data/web-telemetry/data/ecs"),
        ("named", "named", "data/named/data/ecs"),
        ("dated", "dated", "data/dated/raw"),
    ];
    for (_, sink, path) in tables {
        let arrived = || rows(&site.dir.path().join(path), "1").len();
        until(&format!("every event arrives in `{sink}`"), || arrived() == ids.len());
    }
    site.running.stop();
    let found = spark::agree(site.dir.path(), "pipeline.toml", &tables);
    let hours = [("20", "00"), ("20", "07"), ("20", "14"), ("20", "21"), ("21", "04")];
    let expected = |partition: &dyn Fn(&str, &str) -> String| {
        let each = ids.len() / 5;
        let expected = hours.map(|(day, hour)| (partition(day, hour), json!(each)));
        Value::from_iter(expected)
    };
    let with_names = expected(&|day, hour| format!("year=2026/month=11/day={day}/hour={hour}"));
    assert_eq!((&found["telemetry"], &found["named"]), (&with_names, &with_names));
    assert_eq!(found["dated"], expected(&|day, hour| format!("2026/11/{day}/{hour}")));
}

/// Scenario: `start.sh`, with programs in place of `cargo` and the release build, while the port of the page is taken, and the
/// pipeline is to listen elsewhere; the page is fetched; then Ctrl-C.
/// Guarantees: the address that it says is that of the page, which sends to where the pipeline listens; it ends the web server
/// with the pipeline.
#[test]
fn the_page_is_served_where_it_is_said() {
    // Whoever has it already takes it as well.
    let _taken = TcpListener::bind(("127.0.0.1", 8000));
    let dir = tempfile::tempdir().unwrap();
    copy_all(&root().join("examples/web-telemetry"), &dir.path().join("examples/web-telemetry"));
    fs::copy(root().join("examples/web-telemetry.toml"), dir.path().join("examples/web-telemetry.toml")).unwrap();
    let program = |path: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    symlink("/bin/true", program("bin/cargo")).unwrap();
    symlink(env!("CARGO_BIN_EXE_forebay"), program("target/release/forebay")).unwrap();
    let paths = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("sh");
    command.arg(dir.path().join("examples/web-telemetry/start.sh")).env("PATH", paths).env("LISTEN", &listen);
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find(|it| it.as_ref().is_ok_and(|it| it.starts_with("open "))).unwrap().unwrap();
    let url = line.split(' ').nth(1).unwrap();
    assert!(url.ends_with(&format!("/examples/web-telemetry/?to=http://{listen}/beacon")), "{url}");
    let (place, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert_ne!(place, "127.0.0.1:8000");
    let mut page = TcpStream::connect(place).unwrap();
    write!(page, "GET /{path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 ") && answer.contains("A page that is watched"), "{answer}");
    let listening: SocketAddr = listen.parse().unwrap();
    until("the pipeline listens", || TcpStream::connect(listening).is_ok());
    // As a terminal does: to all of them.
    assert!(Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status().unwrap().success());
    until("it ends", || child.try_wait().unwrap().is_some());
    until("the web server ends", || TcpStream::connect(place).is_err());
}

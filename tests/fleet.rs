//! Several processes that share a stream, from the example as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use forebay_api::Secret;
use forebay_aws::Aws;
use forebay_codec::cloudfront;
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, DynamoDb, KinesisServer, S3Server, SECRET_KEY};
use source_demo::{Traffic, realtime};

use crate::beacon::until;
use crate::harness::{files, forebay, root, signal};

const SHARDS: u32 = 6;
const ROWS: u64 = 6_000;
/// So many records are no log lines.
const OTHERS: u64 = 30;

/// Processes of the example in one directory, between servers that they find as AWS's programs find them.
struct Fleet {
    home: tempfile::TempDir,
    kinesis: KinesisServer,
    dynamo: DynamoDb,
    s3: S3Server,
    clickhouse: ClickHouse,
    runtime: tokio::runtime::Runtime,
}

impl Fleet {
    fn start() -> Self {
        let (kinesis, s3) = (KinesisServer::start(), S3Server::start());
        kinesis.create_stream("cdn-logs", SHARDS);
        s3.create_bucket("letters");
        Self {
            home: tempfile::tempdir().unwrap(),
            kinesis,
            dynamo: DynamoDb::start(),
            s3,
            clickhouse: ClickHouse::start(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// One more process. All that is its own is its state.
    fn process(&self, state: &str) -> Process {
        let mut command = forebay(self.home.path());
        command.env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("AWS_ENDPOINT_URL_KINESIS", self.kinesis.endpoint());
        command.env("AWS_ENDPOINT_URL_DYNAMODB", self.dynamo.endpoint());
        command.env("AWS_ENDPOINT_URL_S3", self.s3.endpoint());
        command.env("CLICKHOUSE", self.clickhouse.endpoint());
        command.env("DEAD_LETTERS", "s3://letters/refused/").env("STATE", state).env("HOSTNAME", state);
        command.args(["run", "--json", "--env", "fleet"]).arg(root().join("examples/cloudfront-clickhouse.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Process(command.spawn().unwrap())
    }

    /// How many shards each process has.
    fn shares(&self) -> BTreeMap<String, usize> {
        let aws = Aws {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.dynamo.endpoint()),
            access_key_id: Some(Secret::new(ACCESS_KEY)),
            secret_access_key: Some(Secret::new(SECRET_KEY)),
            ..Aws::default()
        };
        let rows = self.runtime.block_on(async {
            let scan = aws.dynamodb().await.unwrap().scan().table_name("cloudfront-clickhouse").consistent_read(true);
            // There is no table before the first process has made it.
            scan.send().await.map(|it| it.items.unwrap_or_default()).unwrap_or_default()
        });
        let mut shares = BTreeMap::new();
        for row in rows.iter().filter(|it| !it.contains_key("checkpointOwner")) {
            if let Some(Ok(owner)) = row.get("leaseOwner").map(|it| it.as_s()) {
                *shares.entry(owner.split(':').next().unwrap().to_owned()).or_default() += 1;
            }
        }
        shares
    }

    fn table_rows(&self) -> u64 {
        // There is no table before the first rows are.
        self.clickhouse.ask("SELECT count() FROM cdn.requests").ok().and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    /// The letters, as they lie in the bucket.
    fn letters(&self) -> Vec<String> {
        let all = files(&self.s3.directory().join("letters"));
        let letters = all.iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
        let lines = letters.map(|it: &std::path::PathBuf| fs::read_to_string(it).unwrap_or_default());
        lines.flat_map(|it| it.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// A process; killed when it is let go.
struct Process(Child);

impl Process {
    /// Stops it in order. How many rows it has delivered to the table.
    fn stop(mut self) -> u64 {
        signal(&self.0, "TERM");
        let out = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}: {out}");
        let said: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
        said["sinks"]["warehouse"]["delivered"].as_u64().unwrap_or_else(|| panic!("{said}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Log lines of a moment ago, with the fields that the preset expects, and the names of their requests.
fn lines() -> Vec<(String, String)> {
    let not_yet = ["s-ip", "r-host", "sr-reason", "x-edge-mqcs", "distribution-tenant-id", "connection-id"];
    let fields = cloudfront::REALTIME_FIELDS.iter().filter(|it| !it.starts_with("cmcd-") && !not_yet.contains(it));
    let fields: Vec<_> = fields.map(|it| (*it, realtime(it).expect("the demo knows CloudFront's fields"))).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let traffic = Traffic { seed: 1, start_ms: now.as_millis() as i64, spacing_ms: 1 };
    let line = |nth: u64| {
        let request = traffic.request(0, nth);
        let value = |column: source_demo::Column| {
            let mut text = String::new();
            column(&request, &mut text);
            text
        };
        let values: Vec<String> = fields.iter().map(|it| value(it.1)).collect();
        let name = fields.iter().position(|it| it.0 == "x-edge-request-id").expect("it is one of the fields");
        (values.join("\t"), values[name].clone())
    };
    (1..=ROWS).map(line).collect()
}

/// Scenario: two processes of the example are started in one directory with `--env fleet`, each with a state of its own, on a
/// stream of six shards; when they have shared it, log lines come into all of the shards, and some records that are none.
/// Guarantees: each has half of the shards and works on them; each line is in the table once; what is no line is in the bucket
/// of both, once; a stop comes to its end in order, and leaves no lease with anybody.
#[test]
fn the_example_as_a_fleet() {
    let fleet = Fleet::start();
    let processes = ["one", "two"].map(|it| fleet.process(it));
    let even = BTreeMap::from([("one".to_owned(), 3), ("two".to_owned(), 3)]);
    until("both have half of the shards", || fleet.shares() == even);

    let lines = lines();
    let others: Vec<(String, String)> =
        (0..OTHERS).map(|it| (format!("other {it}"), format!("no line {it}"))).collect();
    for (nth, some) in lines.chunks(500).enumerate() {
        let records = some.iter().enumerate().map(|(it, line)| (format!("{nth} {it}"), format!("{}\n", line.0)));
        fleet.kinesis.put_directly("cdn-logs", records);
        std::thread::sleep(Duration::from_millis(100));
    }
    fleet.kinesis.put_directly("cdn-logs", others);
    until("everything is somewhere", || fleet.table_rows() >= ROWS && fleet.letters().len() as u64 >= OTHERS);
    let delivered = processes.map(Process::stop);
    println!("the two have delivered {delivered:?} rows");
    assert!(delivered.iter().all(|it| *it > ROWS / 10), "{delivered:?}");
    assert_eq!(delivered.iter().sum::<u64>(), ROWS);
    assert!(fleet.shares().is_empty(), "leases stay with somebody who has stopped");

    let seen = fleet.clickhouse.query("SELECT http_request_id FROM cdn.requests ORDER BY http_request_id");
    let mut due: Vec<&str> = lines.iter().map(|it| it.1.as_str()).collect();
    due.sort_unstable();
    assert_eq!(due.iter().collect::<BTreeSet<_>>().len() as u64, ROWS, "the demo has given two requests one name");
    assert!(seen.lines().eq(due), "the table has other rows than were put, or some twice");
    let letters = fleet.letters();
    assert_eq!(letters.len() as u64, OTHERS);
    for nth in 0..OTHERS {
        let of_it = letters.iter().filter(|it| it.contains(&format!("no line {nth}\"")));
        assert_eq!(of_it.count(), 1, "letter {nth} of {letters:?}");
    }
    assert!(["one", "two"].iter().all(|it| is_state(&fleet.home.path().join(it))), "a process has no state of its own");
}

fn is_state(directory: &Path) -> bool {
    !files(directory).is_empty()
}

//! A bucket as CloudFront leaves it after a day: thousands of small objects.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::Secret;
use forebay_aws::Aws;
use forebay_codec::cloudfront::STANDARD_FIELDS;
use forebay_testkit::services::{ACCESS_KEY, Ministack, S3Server, SECRET_KEY};
use source_demo::{Column, Traffic, standard};

use crate::harness::{Random, forebay, python, root, signal, succeed};

const OBJECTS: u64 = 10_000;
/// How long the whole bucket may take on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(600);

/// Writes a day of standard logs, a few rows an object, and gives the keys.
fn fill(bucket: &Path) -> Vec<String> {
    let fields = &STANDARD_FIELDS[..33];
    let columns: Vec<Column> = fields.iter().filter_map(|it| standard(it)).collect();
    let traffic = Traffic { seed: 3, start_ms: 1_793_491_200_000, spacing_ms: 24 * 3_600_000 / (3 * OBJECTS) };
    let mut row = 0;
    let mut keys = Vec::new();
    fs::create_dir_all(bucket.join("logs")).unwrap();
    for object in 0..OBJECTS {
        let mut text = format!("#Version: 1.0\n#Fields: {}\n", fields.join(" "));
        for _ in 0..object % 6 {
            row += 1;
            let request = traffic.request(0, row);
            let values = columns.iter().map(|column| {
                let mut value = String::new();
                column(&request, &mut value);
                value
            });
            text.push_str(&values.collect::<Vec<_>>().join("\t"));
            text.push('\n');
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        // The names sort in another order than the objects were written.
        let mixed = object.wrapping_mul(0x9e37_79b9) as u32;
        let key = format!("logs/EXAMPLE.2026-11-01-{:02}.{mixed:08x}.gz", object * 24 / OBJECTS);
        fs::write(bucket.join(&key), encoder.finish().unwrap()).unwrap();
        keys.push(key);
    }
    keys
}

/// Notifications about all keys, some of them two or three times, in another order, one or several to a message.
fn notifications(keys: &[String], random: &mut Random) -> Vec<String> {
    let mut due: Vec<(f64, &String)> = Vec::new();
    for key in keys {
        let copies = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3][(random.fraction() * 10.0) as usize];
        due.extend((0..copies).map(|_| (random.fraction(), key)));
    }
    due.sort_by(|a, b| a.0.total_cmp(&b.0));
    let record = |key: &str| {
        format!(
            r#"{{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{{"bucket":{{"name":"cdn"}},"object":{{"key":"{key}"}}}}}}"#
        )
    };
    let mut messages = Vec::new();
    let mut rest = &due[..];
    while !rest.is_empty() {
        let (some, after) = rest.split_at(rest.len().min(1 + (random.fraction() * 12.0) as usize));
        messages
            .push(format!(r#"{{"Records":[{}]}}"#, some.iter().map(|it| record(it.1)).collect::<Vec<_>>().join(",")));
        rest = after;
    }
    messages
}

/// The queue, filled.
struct Queue {
    runtime: tokio::runtime::Runtime,
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    fn filled(server: &Ministack, messages: Vec<String>) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let aws = Aws {
            endpoint: Some(server.endpoint()),
            access_key_id: Some(Secret::new(ACCESS_KEY)),
            secret_access_key: Some(Secret::new(SECRET_KEY)),
            ..Aws::default()
        };
        let (client, url) = runtime.block_on(async {
            let client = aws.sqs().await.unwrap();
            let queue = client.create_queue().queue_name("cdn").send().await.unwrap();
            let url = queue.queue_url().unwrap().to_owned();
            for ten in messages.chunks(10) {
                let entry = |(nth, body): (usize, &String)| {
                    SendMessageBatchRequestEntry::builder().id(nth.to_string()).message_body(body).build().unwrap()
                };
                let entries = ten.iter().enumerate().map(entry).collect();
                let sent = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
                assert!(sent.failed().is_empty(), "{sent:?}");
            }
            (client, url)
        });
        Self { runtime, client, url }
    }

    /// How many messages are left, those that somebody holds included.
    fn left(&self) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let asked =
            self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.clone().into()));
        let answer = self.runtime.block_on(asked.send()).unwrap();
        let attributes = answer.attributes().unwrap();
        names.iter().map(|it| attributes[it].parse::<u64>().unwrap()).sum()
    }
}

/// A pipeline from the bucket to Parquet files in `dir`.
fn pipeline(dir: &Path, how: &str) {
    let text = format!(
        r#"
[dead_letters]
path = "refused"

[sources.logs]
type = "s3"
path = "s3://cdn/logs/"
format = "w3c"
aws = {{ region = "us-east-1", path_style = true, access_key_id = "{ACCESS_KEY}", secret_access_key = "{SECRET_KEY}" }}
{how}

[transforms.event]
type = "ecs"
inputs = ["logs"]
mapping = "cloudfront_standard"

[sinks.archive]
type = "parquet"
inputs = ["event"]
path = "data"
partition = {{ time = "@timestamp", every = "hour" }}
batch = {{ rows_max = 5000 }}
"#
    );
    fs::write(dir.join("pipeline.toml"), text).unwrap();
}

/// The program, which finds S3 and SQS on servers of their own by the variables that all AWS programs know.
fn program(dir: &Path, s3: &S3Server, sqs: &Ministack) -> Command {
    let mut command = forebay(dir);
    command
        .args(["run", "--quiet"])
        .env("AWS_ENDPOINT_URL_S3", s3.endpoint())
        .env("AWS_ENDPOINT_URL_SQS", sqs.endpoint());
    command
}

fn wait_until(what: &str, child: &mut Child, said: &Path, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{what}: the program ended with {status}: {}", fs::read_to_string(said).unwrap());
        }
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        sleep(Duration::from_millis(200));
    }
}

/// Scenario: a day of standard logs, ten thousand objects; a queue names them in another order, every third one two or
/// three times, several to a message. The program follows the queue, and is killed and started again on the way; then
/// the same bucket is read by listing it.
/// Guarantees: the queue is empty at the end; both ways every row of the bucket is there once, and nothing else.
#[test]
fn a_day_of_objects_lands_exactly_once() {
    let mut random = Random::new();
    let (s3, sqs) = (S3Server::start(), Ministack::start());
    s3.create_bucket("cdn");
    let bucket = s3.directory().join("cdn");
    let keys = fill(&bucket);
    let queue = Queue::filled(&sqs, notifications(&keys, &mut random));
    let begun_with = queue.left();

    let notified = tempfile::tempdir().unwrap();
    pipeline(notified.path(), &format!("mode = \"notify\"\nvisibility = \"20s\"\nqueue = \"{}\"", queue.url));
    let said = notified.path().join("said");
    let start = || {
        let said = File::options().create(true).append(true).open(&said).unwrap();
        program(notified.path(), &s3, &sqs).stdout(Stdio::null()).stderr(said).spawn().unwrap()
    };
    let mut child = start();
    wait_until("a third of the queue", &mut child, &said, || queue.left() < begun_with * 2 / 3);
    signal(&child, "KILL");
    child.wait().unwrap();
    child = start();
    // What the killed process held comes back when its time is over.
    wait_until("the whole queue", &mut child, &said, || queue.left() == 0);
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let listed = tempfile::tempdir().unwrap();
    pipeline(listed.path(), "mode = \"list\"");
    succeed(&mut program(listed.path(), &s3, &sqs));

    let reader = python();
    for place in [&notified, &listed] {
        let said = succeed(
            Command::new(&reader).arg(root().join("tests/bucket.py")).arg(&bucket).arg(place.path().join("data")),
        );
        let figures: BTreeMap<String, u64> = serde_json::from_str(&said.out).unwrap();
        println!("{figures:?}");
        assert_eq!(figures["objects"], OBJECTS);
        assert_eq!((figures["lost"], figures["duplicated"], figures["unexpected"]), (0, 0, 0), "{figures:?}");
        assert_eq!(figures["rows"], (0..OBJECTS).map(|it| it % 6).sum::<u64>());
    }
}

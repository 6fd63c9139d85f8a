//! Objects that are notified by messages, at a real queue.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use expect_test::expect;
use forebay_api::{Partition, Position, Read, Resume, Settler, Source, SourceConfig};
use forebay_aws::Aws;
use forebay_testkit::services::{Fault, FaultProxy, Ministack, Rule};
use serde_json::{Value, json};

use super::{PATIENCE, aws, configured, gzip, messages, next, shown};
use crate::S3;

/// One server for all tests; each has its own bucket and queue.
fn ministack() -> &'static Ministack {
    static SERVER: OnceLock<Ministack> = OnceLock::new();
    SERVER.get_or_init(Ministack::start)
}

/// A bucket and a queue.
struct Place {
    name: String,
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    queue: String,
}

impl Place {
    /// A bucket whose events go into the queue, after a test event.
    async fn notifying(name: &str) -> Self {
        let place = Self::new(name).await;
        let queue = QueueConfiguration::builder()
            .queue_arn(format!("arn:aws:sqs:us-east-1:000000000000:{name}"))
            .events(Event::from("s3:ObjectCreated:*"))
            .events(Event::from("s3:ObjectRemoved:*"))
            .build()
            .unwrap();
        let events = NotificationConfiguration::builder().queue_configurations(queue).build();
        let call = place.s3.put_bucket_notification_configuration().bucket(name);
        call.notification_configuration(events).send().await.unwrap();
        place
    }

    /// A bucket whose events go nowhere.
    async fn new(name: &str) -> Self {
        let aws: Aws = serde_json::from_value(aws(&ministack().endpoint())).unwrap();
        let (s3, sqs) = (aws.s3().await.unwrap(), aws.sqs().await.unwrap());
        s3.create_bucket().bucket(name).send().await.unwrap();
        let queue = sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        Self { name: name.to_owned(), s3, sqs, queue }
    }

    /// Puts an object, and gives its ETag.
    async fn put(&self, key: &str, bytes: &[u8]) -> String {
        let call = self.s3.put_object().bucket(&self.name).key(key).body(ByteStream::from(bytes.to_vec()));
        call.send().await.unwrap().e_tag.unwrap()
    }

    async fn delete(&self, key: &str) {
        self.s3.delete_object().bucket(&self.name).key(key).send().await.unwrap();
    }

    async fn send(&self, body: &str) {
        self.sqs.send_message().queue_url(&self.queue).message_body(body).send().await.unwrap();
    }

    /// A record about an object, as S3 would send it.
    fn record(&self, key: &str, etag: &str, size: usize) -> Value {
        json!({ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {
            "bucket": { "name": self.name }, "object": { "key": key, "eTag": etag.trim_matches('"'), "size": size } } })
    }

    fn config(&self, endpoint: &str, more: Value) -> S3 {
        let mut keys = json!({ "aws": aws(endpoint), "mode": "notify", "queue": self.queue });
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        configured(&format!("s3://{}", self.name), keys)
    }

    async fn open(&self, more: Value) -> Reading {
        Reading::open(&self.config(&ministack().endpoint(), more), Resume::start()).await
    }

    /// How many messages there are, visible or not.
    async fn left(&self) -> (i32, i32) {
        let call = self.sqs.get_queue_attributes().queue_url(&self.queue).attribute_names(QueueAttributeName::All);
        let attributes = call.send().await.unwrap().attributes.unwrap();
        let count = |name| attributes.get(&name).and_then(|it| it.parse().ok()).unwrap_or(0);
        (
            count(QueueAttributeName::ApproximateNumberOfMessages),
            count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    /// Waits until no message is left.
    async fn empty(&self) {
        let begun = Instant::now();
        while self.left().await != (0, 0) {
            assert!(begun.elapsed() < PATIENCE, "{:?} messages are left", self.left().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A source at work, whose rows are safe when the test says so.
struct Reading {
    source: Box<dyn Source>,
    settler: Box<dyn Settler>,
    reads: Vec<Read>,
    settled: usize,
}

impl Reading {
    async fn open(config: &S3, resume: Resume) -> Self {
        let mut source = config.open(resume).await.unwrap();
        let settler = source.settler().unwrap();
        Self { source, settler, reads: Vec::new(), settled: 0 }
    }

    /// Reads so many times.
    async fn read(&mut self, times: usize) {
        for _ in 0..times {
            let read = next(&mut *self.source).await.unwrap();
            self.reads.push(read);
        }
    }

    /// All that was read is safe.
    async fn settle(&mut self) {
        for read in &self.reads[self.settled..] {
            self.settler.settled(&read.span.partition, &read.span.to).await.unwrap();
        }
        self.settled = self.reads.len();
    }

    /// Nothing comes, though the source is asked, for a while.
    async fn idle(&mut self, millis: u64) {
        let more = tokio::time::timeout(Duration::from_millis(millis), self.source.next()).await;
        assert!(more.is_err(), "{more:?}");
    }

    /// All reads, sorted.
    fn sorted(&self) -> String {
        let mut shown: Vec<String> = self.reads.iter().map(|it| shown(std::slice::from_ref(it))).collect();
        shown.sort();
        shown.concat()
    }

    fn after(&self) -> BTreeMap<Partition, Position> {
        self.reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())).collect()
    }
}

/// Scenario: objects are put into a bucket that notifies: odd keys, empty ones, damaged ones, ones that are not meant;
/// one is deleted again after it was read.
/// Guarantees: each is read once; messages are there until the rows are safe, and not after that.
#[tokio::test]
async fn objects_are_read_once() {
    let place = Place::notifying("once").await;
    let damaged = gzip(&"many rows\n".repeat(1000));
    let objects: [(&str, &[u8]); 8] = [
        ("cdn/a b+c%41.log", b"odd\n"),
        ("cdn/\u{fc}\u{1f980}", b"unicode\n"),
        ("cdn/plain", b"one\ntwo\n"),
        ("cdn/empty", b""),
        ("cdn/empty.gz", b""),
        ("cdn/b.gz", &gzip("three\n")),
        ("cdn/damaged.gz", &damaged[..damaged.len() - 20]),
        ("other/d", b"not meant\n"),
    ];
    for (key, bytes) in objects {
        place.put(key, bytes).await;
    }
    let mut reading = place.open(json!({ "include": "cdn/**" })).await;
    reading.read(7).await;
    assert_eq!(place.left().await.0, 0);
    // That about the object which is not meant, and the test event, are gone already.
    let begun = Instant::now();
    while place.left().await.1 > 7 {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(place.left().await.1, 7);
    reading.settle().await;
    place.empty().await;
    place.delete("cdn/plain").await;
    reading.idle(300).await;
    place.empty().await;
    for refusal in reading.reads.iter_mut().flat_map(|it| &mut it.refused) {
        refusal.payload.clear();
    }
    for read in &mut reading.reads {
        if read.rows.num_rows() > 10 {
            read.rows = read.rows.slice(0, 1);
        }
    }
    expect![[r#"
        s3://once/cdn/a b+c%41.log (start..end] odd
        s3://once/cdn/b.gz (start..end] three
        s3://once/cdn/damaged.gz (start..end] many rows
          refused 801 "": the rest of the object, from here on, could not be read: the gzip data ends too early, after 86 bytes
        s3://once/cdn/empty (start..end] 
        s3://once/cdn/empty.gz (start..end] 
        s3://once/cdn/plain (start..end] one two
        s3://once/cdn/ü🦀 (start..end] unicode
    "#]].assert_eq(&reading.sorted());
}

/// Scenario: the same objects are told of three times, out of order, in every shape, several in one message; between
/// them messages that nobody understands.
/// Guarantees: each object is read once, each message that is not understood is refused once, and the queue is empty in
/// the end, also if everything comes again.
#[tokio::test]
async fn duplicates_and_strange_messages() {
    let place = Place::new("duplicates").await;
    let mut records = Vec::new();
    for nth in 0..12 {
        let bytes = format!("row {nth}\n");
        let etag = place.put(&format!("{nth:02}"), bytes.as_bytes()).await;
        records.push(place.record(&format!("{nth:02}"), &etag, bytes.len()));
    }
    let other = json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": {
        "bucket": { "name": "elsewhere" }, "object": { "key": "a", "eTag": "00", "size": 1 } } }] });
    for round in 0..3 {
        for record in records.iter().rev() {
            place.send(&json!({ "Records": [record] }).to_string()).await;
        }
        place.send(&json!({ "Records": &records[..] }).to_string()).await;
        let inner = json!({ "Records": [records[round]] }).to_string();
        place.send(&json!({ "Type": "Notification", "Message": inner }).to_string()).await;
        let mut bridged = json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": {
            "bucket": { "name": place.name }, "object": records[round + 3]["s3"]["object"] } });
        bridged["detail"]["object"]["etag"] = bridged["detail"]["object"]["eTag"].take();
        place.send(&bridged.to_string()).await;
    }
    place.send("hello \u{1f980}").await;
    place.send(&other.to_string()).await;
    let mut reading = place.open(json!({})).await;
    reading.read(14).await;
    reading.idle(300).await;
    reading.settle().await;
    place.empty().await;
    let mut rows = messages(&reading.reads);
    rows.sort();
    let mut expected: Vec<String> = (0..12).map(|it| format!("row {it}")).collect();
    expected.sort();
    assert_eq!(rows, expected);
    let mut refused: Vec<_> = reading.reads.iter().flat_map(|it| &it.refused).collect();
    refused.sort_by(|left, right| left.why.cmp(&right.why));
    let refused: String =
        refused.iter().map(|it| format!("{}: {}\n", String::from_utf8_lossy(&it.payload), it.why)).collect();
    expect![[r#"
        {"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"elsewhere"},"object":{"key":"a","eTag":"00","size":1}}}]}: it is about the bucket `elsewhere`, and `path` names another one
        hello 🦀: it is not JSON: expected value at line 1 column 1
    "#]].assert_eq(&refused);

    // Everything once more, in the same life and in the next one.
    let again = json!({ "Records": &records[..] }).to_string();
    place.send(&again).await;
    reading.idle(300).await;
    place.empty().await;
    let after = reading.after();
    drop(reading);
    place.send(&again).await;
    let config = place.config(&ministack().endpoint(), json!({}));
    let mut reading = Reading::open(&config, Resume::After(after)).await;
    reading.idle(300).await;
    place.empty().await;
}

/// Scenario: rows are not safe for much longer than a message is hidden at a time; another reader stands by.
/// Guarantees: the message stays hidden, for the object in work and for those in line; it is deleted when they are safe.
#[tokio::test]
async fn messages_are_kept_hidden() {
    let place = Place::notifying("hidden").await;
    for key in ["a", "b", "c"] {
        place.put(key, b"one\n").await;
    }
    let mut reading = place.open(json!({ "visibility": "2s" })).await;
    reading.read(2).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(place.left().await.0, 0, "after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    reading.read(1).await;
    reading.settle().await;
    place.empty().await;
    assert_eq!(reading.reads.len(), 3);
}

/// Scenario: messages cannot be kept hidden and come again in the middle of an object, several times; deleting fails at
/// first, and an answer gets lost.
/// Guarantees: no row comes twice, and the queue is empty in the end.
#[tokio::test]
async fn messages_come_again_in_the_middle() {
    let place = Place::notifying("again").await;
    let many: String = (0..30_000).map(|it| format!("row {it}\n")).collect();
    place.put("many", many.as_bytes()).await;
    place.put("few", b"one\n").await;
    let sqs = |action: &str, fault| Rule::new(fault).header("x-amz-target", action);
    let rules = vec![
        sqs("ChangeMessageVisibilityBatch", Fault::Status(503, String::new())),
        sqs("DeleteMessageBatch", Fault::Status(500, String::new())).times(4),
        sqs("DeleteMessageBatch", Fault::AnswerLost).times(1),
    ];
    let proxy = FaultProxy::start(&ministack().endpoint(), rules);
    let config = place.config(&proxy.endpoint(), json!({ "visibility": "2s" }));
    let mut reading = Reading::open(&config, Resume::start()).await;
    reading.read(2).await;
    let received = || proxy.seen().iter().filter(|it| it.method == "POST").count();
    let (before, begun) = (received(), Instant::now());
    // The messages come again while the source waits to be asked.
    while begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(received() > before);
    let rows = |reading: &Reading| messages(&reading.reads).len();
    while rows(&reading) < 30_001 {
        reading.read(1).await;
    }
    reading.settle().await;
    place.empty().await;
    reading.idle(300).await;
    assert_eq!(rows(&reading), 30_001);
}

/// Scenario: a source ends in the middle of its work.
/// Guarantees: messages of which nothing was read are there for others at once, those too that the queue still gives to a poll
/// that was under way; the others are not.
#[tokio::test]
async fn released_at_the_end() {
    let place = Place::notifying("released").await;
    for nth in 0..40 {
        place.put(&format!("{nth:02}"), b"one\n").await;
    }
    let mut reading = place.open(json!({})).await;
    reading.read(1).await;
    let begun = Instant::now();
    while place.left().await.0 > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", place.left().await);
    }
    let Reading { source, settler, .. } = reading;
    drop(source);
    loop {
        let (free, taken) = place.left().await;
        if (free, taken) == (39, 1) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{free} are free, {taken} taken");
    }
    drop(settler);
}

/// Scenario: objects are overwritten or deleted between the notification and the read.
/// Guarantees: what is there now is read once, whatever messages say; the messages about what is gone are let go.
#[tokio::test]
async fn overwritten_and_deleted() {
    let place = Place::notifying("overwritten").await;
    place.put("a", b"old\n").await;
    place.put("b", b"gone\n").await;
    place.put("a", b"older\n").await;
    place.put("a", b"newest\n").await;
    place.delete("b").await;
    place.put("c", b"there\n").await;
    let mut reading = place.open(json!({})).await;
    reading.read(2).await;
    reading.idle(300).await;
    reading.settle().await;
    place.empty().await;
    let mut rows = messages(&reading.reads);
    rows.sort();
    assert_eq!(rows, ["newest", "there"]);
}

/// Scenario: a bucket that keeps versions notifies each of them.
/// Guarantees: each version is read, the overwritten ones too.
#[tokio::test]
async fn versions() {
    let place = Place::new("versions").await;
    let versioned = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let call = place.s3.put_bucket_versioning().bucket(&place.name).versioning_configuration(versioned);
    call.send().await.unwrap();
    for bytes in ["old\n", "new\n"] {
        let call = place.s3.put_object().bucket(&place.name).key("a");
        let put = call.body(ByteStream::from(bytes.as_bytes().to_vec())).send().await.unwrap();
        let mut record = place.record("a", put.e_tag().unwrap(), bytes.len());
        record["s3"]["object"]["versionId"] = put.version_id().unwrap().into();
        place.send(&json!({ "Records": [record] }).to_string()).await;
    }
    // By listing the newest one is found as well: it is known.
    let mut reading = place.open(json!({ "mode": "both", "poll": "50ms" })).await;
    reading.read(2).await;
    reading.idle(500).await;
    reading.settle().await;
    place.empty().await;
    let mut rows = messages(&reading.reads);
    rows.sort();
    assert_eq!(rows, ["new", "old"]);
}

/// Scenario: some objects are notified, some are not; both ways of finding them are on.
/// Guarantees: each is read once, whichever way finds it first; the messages are deleted.
#[tokio::test]
async fn both() {
    let place = Place::new("both").await;
    for nth in 0..20 {
        let bytes = format!("row {nth}\n");
        let etag = place.put(&format!("{nth:02}"), bytes.as_bytes()).await;
        if nth % 2 == 0 {
            let record = place.record(&format!("{nth:02}"), &etag, bytes.len());
            place.send(&json!({ "Records": [record] }).to_string()).await;
        }
    }
    let mut reading = place.open(json!({ "mode": "both", "poll": "50ms" })).await;
    reading.read(20).await;
    place.put("20", b"row 20\n").await;
    reading.read(1).await;
    reading.idle(300).await;
    reading.settle().await;
    place.empty().await;
    let mut rows = messages(&reading.reads);
    rows.sort_by_key(|it| it[4..].parse::<u32>().unwrap());
    assert_eq!(rows, (0..21).map(|it| format!("row {it}")).collect::<Vec<_>>());
}

/// Scenario: the queue is not there yet.
/// Guarantees: it is waited for.
#[tokio::test]
async fn queue_is_waited_for() {
    let place = Place::new("late").await;
    place.sqs.delete_queue().queue_url(&place.queue).send().await.unwrap();
    let mut reading = place.open(json!({})).await;
    reading.idle(500).await;
    place.sqs.create_queue().queue_name("late").send().await.unwrap();
    let etag = place.put("a", b"one\n").await;
    place.send(&json!({ "Records": [place.record("a", &etag, 4)] }).to_string()).await;
    reading.read(1).await;
    assert_eq!(messages(&reading.reads), ["one"]);
    reading.settle().await;
    place.empty().await;
}

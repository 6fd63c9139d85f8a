//! The stand-in for Kinesis: as the SDK calls it, beside an emulator, and at its limits.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::services::{
    ACCESS_KEY, KinesisLimits, KinesisLocal, KinesisMishap, KinesisServer, Ministack, SECRET_KEY, aggregate,
};

fn client(server: &KinesisServer) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(server.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|it| String::from_utf8(it.data().as_ref().to_vec()).unwrap()).collect()
}

async fn iterator(client: &Client, shard: &str, kind: ShardIteratorType, sequence: Option<&str>) -> Option<String> {
    let call = client.get_shard_iterator().stream_name("cdn").shard_id(shard).shard_iterator_type(kind);
    let answer = call.set_starting_sequence_number(sequence.map(str::to_owned)).send().await.unwrap();
    answer.shard_iterator
}

/// Scenario: the SDK makes a stream, puts records, and reads them from every kind of place; the shard is split and
/// merged and read to its end.
/// Guarantees: every kind of iterator begins where it should; sequence numbers have 56 digits and rise; the end of a
/// closed shard names its children, and what was put stays readable.
#[tokio::test(flavor = "multi_thread")]
async fn as_the_sdk_calls_it() {
    let server = KinesisServer::with(KinesisLimits::without_rates());
    let client = client(&server);
    client.create_stream().stream_name("cdn").shard_count(1).send().await.unwrap();
    let first = client.put_record().stream_name("cdn").partition_key("a").data(Blob::new("0")).send().await.unwrap();
    assert_eq!((first.shard_id(), first.sequence_number().len()), ("shardId-000000000000", 56));
    let entry = |n: usize| PutRecordsRequestEntry::builder().partition_key("b").data(Blob::new(n.to_string())).build();
    let entries = (1..4).map(|n| entry(n).unwrap()).collect();
    let put = client.put_records().stream_name("cdn").set_records(Some(entries)).send().await.unwrap();
    let numbers: Vec<&str> = put.records().iter().map(|it| it.sequence_number().unwrap()).collect();
    assert!(first.sequence_number() < numbers[0] && numbers.is_sorted());

    let shard = first.shard_id();
    let mut said = String::new();
    for (kind, sequence) in [
        (ShardIteratorType::TrimHorizon, None),
        (ShardIteratorType::AtSequenceNumber, Some(numbers[0])),
        (ShardIteratorType::AfterSequenceNumber, Some(numbers[0])),
        (ShardIteratorType::Latest, None),
    ] {
        let at = iterator(&client, shard, kind.clone(), sequence).await;
        let read = client.get_records().set_shard_iterator(at).send().await.unwrap();
        writeln!(said, "{kind}: {:?}, {:?} ms behind", texts(read.records()), read.millis_behind_latest()).unwrap();
    }
    server.advance(Duration::from_secs(10));
    server.put("cdn", "a", "late");
    let time = DateTime::from_secs_f64(first_arrival(&client, shard).await + 5.0);
    let at = client.get_shard_iterator().stream_name("cdn").shard_id(shard);
    let at = at.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(time).send().await.unwrap();
    let read = client.get_records().set_shard_iterator(at.shard_iterator).limit(1).send().await.unwrap();
    writeln!(said, "AT_TIMESTAMP: {:?}", texts(read.records())).unwrap();

    let [low, high] = server.split("cdn", shard);
    server.put("cdn", "a", "after the split");
    let joined = server.merge("cdn", &low, &high);
    let read = client.get_records().set_shard_iterator(read.next_shard_iterator).send().await.unwrap();
    let children: Vec<&str> = read.child_shards().iter().map(|it| it.shard_id()).collect();
    writeln!(said, "end: {:?} {:?} {children:?}", texts(read.records()), read.next_shard_iterator()).unwrap();
    let listed = client.list_shards().stream_name("cdn").max_results(3).send().await.unwrap();
    let rest = client.list_shards().set_next_token(listed.next_token.clone()).send().await.unwrap();
    for it in listed.shards().iter().chain(rest.shards()) {
        let open = it.sequence_number_range().unwrap().ending_sequence_number().is_none();
        let parents = [it.parent_shard_id(), it.adjacent_parent_shard_id()];
        writeln!(said, "{} open: {open}, parents: {parents:?}", it.shard_id()).unwrap();
    }
    assert_eq!(rest.shards()[0].shard_id(), joined);
    expect![[r#"
        TRIM_HORIZON: ["0", "1", "2", "3"], Some(0) ms behind
        AT_SEQUENCE_NUMBER: ["1", "2", "3"], Some(0) ms behind
        AFTER_SEQUENCE_NUMBER: ["2", "3"], Some(0) ms behind
        LATEST: [], Some(0) ms behind
        AT_TIMESTAMP: ["late"]
        end: [] None ["shardId-000000000001", "shardId-000000000002"]
        shardId-000000000000 open: false, parents: [None, None]
        shardId-000000000001 open: false, parents: [Some("shardId-000000000000"), None]
        shardId-000000000002 open: false, parents: [Some("shardId-000000000000"), None]
        shardId-000000000003 open: true, parents: [Some("shardId-000000000001"), Some("shardId-000000000002")]
    "#]]
    .assert_eq(&said);
}

async fn first_arrival(client: &Client, shard: &str) -> f64 {
    let at = iterator(client, shard, ShardIteratorType::TrimHorizon, None).await;
    let read = client.get_records().set_shard_iterator(at).limit(1).send().await.unwrap();
    read.records()[0].approximate_arrival_timestamp().unwrap().as_secs_f64()
}

/// Scenario: the SDK subscribes to a shard, from its horizon; records come later; the shard is split; somebody
/// subscribes again from the middle, and another time while the first subscription runs; five minutes pass.
/// Guarantees: records are pushed as they come; a subscription says at its idle pace that nothing came; a later one ends
/// an earlier one; the end of the shard names the children; the lifetime ends it.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions() {
    let idle = Duration::from_millis(100);
    let server = KinesisServer::with(KinesisLimits { subscription_idle: idle, ..KinesisLimits::without_rates() });
    server.create_stream("cdn", 1);
    server.put("cdn", "a", "one");
    let client = client(&server);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/cdn";
    let consumer = client.register_stream_consumer().stream_arn(arn).consumer_name("us").send().await.unwrap();
    let consumer = consumer.consumer.unwrap().consumer_arn;
    let subscribe = async |kind: ShardIteratorType, sequence: Option<&str>| {
        let from = StartingPosition::builder().r#type(kind).set_sequence_number(sequence.map(str::to_owned));
        let call = client.subscribe_to_shard().consumer_arn(&consumer).shard_id("shardId-000000000000");
        call.starting_position(from.build().unwrap()).send().await.unwrap().event_stream
    };
    let mut stream = subscribe(ShardIteratorType::TrimHorizon, None).await;
    let mut next = async || match stream.recv().await {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
        Ok(Some(other)) => panic!("{other:?}"),
        Ok(None) => Ok(None),
        Err(error) => Err(format!("{:?}", error.into_service_error())),
    };
    let one = next().await.unwrap().unwrap();
    assert_eq!(texts(one.records()), ["one"]);
    let empty: SubscribeToShardEvent = next().await.unwrap().unwrap();
    assert!(empty.records().is_empty() && empty.continuation_sequence_number().len() == 56);
    server.put("cdn", "a", "two");
    let two = loop {
        let event = next().await.unwrap().unwrap();
        if !event.records().is_empty() {
            break event;
        }
    };
    assert_eq!(texts(two.records()), ["two"]);

    let mut again = subscribe(ShardIteratorType::AfterSequenceNumber, Some(one.continuation_sequence_number())).await;
    let ended = loop {
        match next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(error) => break error,
        }
    };
    assert!(ended.contains("ResourceInUse"), "{ended}");
    server.put("cdn", "a", "three");
    server.split("cdn", "shardId-000000000000");
    let (mut seen, mut children) = (Vec::new(), Vec::new());
    while let Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) = again.recv().await.unwrap() {
        seen.extend(texts(event.records()));
        children.extend(event.child_shards().iter().map(|it| it.shard_id().to_owned()));
    }
    assert_eq!(seen, ["two", "three"]);
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);

    let call = client.subscribe_to_shard().consumer_arn(&consumer).shard_id("shardId-000000000001");
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
    let mut stream = call.starting_position(from).send().await.unwrap().event_stream;
    server.advance(Duration::from_secs(300));
    while stream.recv().await.unwrap().is_some() {}
}

/// What a server says to a call: status and JSON.
fn call(endpoint: &str, operation: &str, input: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    let body = input.to_string();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: kinesis.us-east-1.amazonaws.com\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
         X-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, \
         Signature=00\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    (status, serde_json::from_str(body.trim()).unwrap_or(Value::Null))
}

/// Which keys an answer has and what is in them, without what differs from server to server.
fn shape(value: &Value) -> String {
    match value {
        // The service says nothing where there is nothing to say; the emulator says `{}`.
        Value::Null => "{}".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(list) => list.first().map_or_else(|| "[]".into(), |first| format!("[{}]", shape(first))),
        Value::Object(object) => {
            // The examples of the API reference have it for streams that are encrypted, and only there.
            let members = object.iter().filter(|it| it.0 != "EncryptionType" && !it.1.is_null());
            let mut members: Vec<String> = members.map(|(key, it)| format!("{key}: {}", shape(it))).collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// Makes the input of a call out of what was answered before.
type MakeInput = fn(&Value) -> Value;

/// Scenario: the same calls, right and wrong ones, go to the stand-in and to two emulators.
/// Guarantees: they answer with the same keys and the same codes of errors, save where an emulator is known to be
/// unlike the service: those answers are written out.
#[test]
fn beside_emulators() {
    check_beside(
        &Ministack::start().endpoint(),
        expect![[r#"
            ListStreams
              ours   200 {HasMoreStreams: bool, StreamNames: [text]}
              theirs 200 {HasMoreStreams: bool, StreamNames: [text], StreamSummaries: [{StreamARN: text, StreamCreationTimestamp: number, StreamModeDetails: {StreamMode: text}, StreamName: text, StreamStatus: text}]}
            Nonsense
              ours   400 UnknownOperationException
              theirs 400 InvalidAction
        "#]],
    );
    check_beside(
        &KinesisLocal::start().endpoint(),
        expect![[r#"
            DescribeStreamConsumer
              ours   200 {ConsumerDescription: {ConsumerARN: text, ConsumerCreationTimestamp: number, ConsumerName: text, ConsumerStatus: text, StreamARN: text}}
              theirs 200 {ConsumerDescription: {ConsumerARN: text, ConsumerCreationTimestamp: number, ConsumerName: text, ConsumerStatus: text, StreamARN: text, Tags: {}}}
            ListStreamConsumers
              ours   200 {Consumers: [{ConsumerARN: text, ConsumerCreationTimestamp: number, ConsumerName: text, ConsumerStatus: text}]}
              theirs 200 {Consumers: [{ConsumerARN: text, ConsumerCreationTimestamp: number, ConsumerName: text, ConsumerStatus: text}], NextToken: text}
            Nonsense
              ours   400 UnknownOperationException
              theirs 400 AccessDeniedException
        "#]],
    );
}

/// Makes a call again for a while as long as what it is about is about to change: some servers take time for that.
fn call_settled(endpoint: &str, operation: &str, input: &Value) -> (u16, Value) {
    let is_changing = |answer: &Value| {
        let code = answer["__type"].as_str().unwrap_or_default();
        let message = answer["message"].as_str().unwrap_or_default();
        let status = answer["ConsumerDescription"]["ConsumerStatus"].as_str().unwrap_or_default();
        code.ends_with("ResourceInUseException") && !message.contains("exist") || status == "DELETING"
    };
    let mut answer = call(endpoint, operation, input);
    for _ in 0..100 {
        if !is_changing(&answer.1) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        answer = call(endpoint, operation, input);
    }
    answer
}

fn check_beside(theirs: &str, expected: Expect) {
    let ours = KinesisServer::start();
    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/cdn";
    let mut kept = [json!({}), json!({})];
    let mut differences = String::new();
    let calls: &[(&str, MakeInput)] = &[
        ("CreateStream", |_| json!({ "StreamName": "cdn", "ShardCount": 2 })),
        ("CreateStream", |_| json!({ "StreamName": "cdn", "ShardCount": 2 })),
        ("ListStreams", |_| json!({})),
        ("DescribeStreamSummary", |_| json!({ "StreamName": "cdn" })),
        ("DescribeStreamSummary", |_| json!({ "StreamName": "none" })),
        ("ListShards", |_| json!({ "StreamName": "cdn" })),
        ("ListShards", |_| json!({ "StreamName": "none" })),
        ("PutRecord", |_| json!({ "StreamName": "cdn", "PartitionKey": "a", "Data": "aGVsbG8=" })),
        ("PutRecord", |_| json!({ "StreamName": "none", "PartitionKey": "a", "Data": "aGVsbG8=" })),
        ("PutRecords", |_| json!({ "StreamName": "cdn", "Records": [{ "PartitionKey": "b", "Data": "aGVsbG8=" }] })),
        ("GetShardIterator", |kept| {
            json!({
                "StreamName": "cdn",
                "ShardId": kept["ShardId"],
                "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                "StartingSequenceNumber": kept["SequenceNumber"],
            })
        }),
        (
            "GetShardIterator",
            |_| json!({ "StreamName": "cdn", "ShardId": "shardId-000000000009", "ShardIteratorType": "LATEST" }),
        ),
        ("GetRecords", |kept| json!({ "ShardIterator": kept["ShardIterator"] })),
        ("GetRecords", |kept| json!({ "ShardIterator": kept["NextShardIterator"] })),
        ("RegisterStreamConsumer", |_| json!({ "StreamARN": ARN, "ConsumerName": "us" })),
        ("RegisterStreamConsumer", |_| json!({ "StreamARN": ARN, "ConsumerName": "us" })),
        ("DescribeStreamConsumer", |_| json!({ "StreamARN": ARN, "ConsumerName": "us" })),
        ("ListStreamConsumers", |_| json!({ "StreamARN": ARN })),
        ("DeregisterStreamConsumer", |_| json!({ "StreamARN": ARN, "ConsumerName": "us" })),
        ("DescribeStreamConsumer", |_| json!({ "StreamARN": ARN, "ConsumerName": "us" })),
        ("MergeShards", |_| {
            json!({
                "StreamName": "cdn",
                "ShardToMerge": "shardId-000000000000",
                "AdjacentShardToMerge": "shardId-000000000001",
            })
        }),
        ("SplitShard", |_| {
            json!({
                "StreamName": "cdn",
                "ShardToSplit": "shardId-000000000002",
                "NewStartingHashKey": "170141183460469231731687303715884105728",
            })
        }),
        ("Nonsense", |_| json!({})),
        ("DeleteStream", |_| json!({ "StreamName": "cdn" })),
    ];
    for (operation, input) in calls {
        let endpoints = [ours.endpoint(), theirs.to_owned()];
        let said: Vec<String> = (0..2)
            .map(|nth| {
                let (status, answer) = call_settled(&endpoints[nth], operation, &input(&kept[nth]));
                if let Some(object) = answer.as_object() {
                    kept[nth].as_object_mut().unwrap().extend(object.clone());
                }
                let code = answer["__type"].as_str().map(|it| it.rsplit('#').next().unwrap().to_owned());
                format!("{status} {}", code.unwrap_or_else(|| shape(&answer)))
            })
            .collect();
        if said[0] != said[1] {
            writeln!(differences, "{operation}\n  ours   {}\n  theirs {}", said[0], said[1]).unwrap();
        }
    }
    expected.assert_eq(&differences);
}

/// Calls of one shard, by operation, for the tests of limits.
struct Caller(KinesisServer);

impl Caller {
    /// A server with the service's limits and a stream `cdn` of one shard.
    fn new() -> Self {
        let server = KinesisServer::start();
        server.create_stream("cdn", 1);
        Self(server)
    }

    fn iterator(&self) -> Value {
        let input = json!({ "StreamName": "cdn", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON" });
        let (status, answer) = call(&self.0.endpoint(), "GetShardIterator", &input);
        assert_eq!(status, 200, "{answer}");
        answer["ShardIterator"].clone()
    }

    /// The answer, or the code of the error.
    fn read(&self, iterator: &Value) -> Result<Value, String> {
        match call(&self.0.endpoint(), "GetRecords", &json!({ "ShardIterator": iterator })) {
            (200, answer) => Ok(answer),
            (_, answer) => Err(answer["__type"].as_str().unwrap_or("nothing").to_owned()),
        }
    }
}

const SHARD: &str = "shardId-000000000000";
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Scenario: a shard is read as fast as calls can be made; then ten MiB at once; then it is written to at once more than
/// it takes in a second.
/// Guarantees: more than five reads within a second are refused; after 10 MiB the next reads are refused for five
/// seconds; of the records of one call those past the rate are refused, one by one; time heals all of it.
#[test]
fn rates() {
    let caller = Caller::new();
    let iterator = caller.iterator();
    let refused = (0..500).find(|_| caller.read(&iterator).is_err());
    assert!(refused.is_some_and(|it| it >= 5), "{refused:?}");
    assert_eq!(caller.read(&iterator).unwrap_err(), THROTTLED);
    assert_eq!(caller.0.calls("GetRecords").refused, 2);

    caller.0.put_directly("cdn", (0..11).map(|_| ("a", vec![0; 1 << 20])));
    caller.0.advance(Duration::from_secs(1));
    let read = caller.read(&iterator).unwrap();
    assert_eq!(read["Records"].as_array().unwrap().len(), 9, "the tenth MiB does not fit with its key");
    caller.0.advance(Duration::from_secs(2));
    assert_eq!(caller.read(&iterator).unwrap_err(), THROTTLED);
    caller.0.advance(Duration::from_secs(3));
    caller.read(&read["NextShardIterator"]).unwrap();

    let records: Vec<Value> = (0..500).map(|_| json!({ "PartitionKey": "a", "Data": "AAAA" })).collect();
    let input = json!({ "StreamName": "cdn", "Records": records });
    let mut failed = 0;
    for _ in 0..20 {
        let (status, answer) = call(&caller.0.endpoint(), "PutRecords", &input);
        assert_eq!(status, 200);
        let errors = answer["Records"].as_array().unwrap().iter().filter(|it| it["ErrorCode"] == THROTTLED).count();
        assert_eq!(answer["FailedRecordCount"], errors);
        failed += errors;
    }
    assert!(failed > 0);
    caller.0.set_limits(KinesisLimits::without_rates());
    assert_eq!(call(&caller.0.endpoint(), "PutRecords", &input).1["FailedRecordCount"], 0);
}

/// Scenario: an iterator grows old; records are forgotten, by request and by age; calls go wrong as was said.
/// Guarantees: an old iterator is refused; what was forgotten is passed over; errors come as often as was said, a lost
/// answer is no answer although the call was carried out, and a read that finds nothing stays where it is.
#[test]
fn age_and_mishaps() {
    let caller = Caller::new();
    let endpoint = caller.0.endpoint();
    caller.0.put_directly("cdn", (0..4).map(|n| ("a", n.to_string())));
    let iterator = caller.iterator();
    caller.0.advance(Duration::from_secs(300));
    assert_eq!(caller.read(&iterator).unwrap_err(), "ExpiredIteratorException");
    let iterator = caller.iterator();
    caller.0.trim("cdn", SHARD, 3);
    assert_eq!(caller.read(&iterator).unwrap()["Records"][0]["Data"], "Mw==");
    let behind = caller.read(&iterator).unwrap()["MillisBehindLatest"].clone();
    assert_eq!(behind, 0, "nothing follows");

    caller.0.fail("GetRecords", 1, KinesisMishap::Error(500, "InternalFailure".into()));
    caller.0.fail("GetRecords", 1, KinesisMishap::Nothing);
    assert_eq!(caller.read(&iterator).unwrap_err(), "InternalFailure");
    let nothing = caller.read(&iterator).unwrap();
    assert!(
        nothing["Records"].as_array().unwrap().is_empty() && nothing["MillisBehindLatest"].as_u64() >= Some(300_000)
    );
    assert_eq!(caller.read(&nothing["NextShardIterator"]).unwrap()["Records"][0]["Data"], "Mw==");

    caller.0.fail("PutRecord", 1, KinesisMishap::AnswerLost);
    let input = json!({ "StreamName": "cdn", "PartitionKey": "a", "Data": "NA==" });
    assert_eq!(call(&endpoint, "PutRecord", &input).0, 0);
    caller.0.advance(Duration::from_secs(24 * 3600 - 200));
    let read = caller.read(&caller.iterator()).unwrap();
    assert_eq!(read["Records"][0]["Data"], "NA==", "that of the call without an answer is the only one left");

    caller.0.split("cdn", SHARD);
    caller.0.advance(Duration::from_secs(25 * 3600));
    let (_, listed) = call(&endpoint, "ListShards", &json!({ "StreamName": "cdn" }));
    let ids: Vec<&Value> = listed["Shards"].as_array().unwrap().iter().map(|it| &it["ShardId"]).collect();
    assert_eq!(ids, ["shardId-000000000001", "shardId-000000000002"]);
}

/// Scenario: streams of several sizes, and an aggregated record.
/// Guarantees: the shards of a stream share all hash keys without a gap, as the service cuts them; an aggregated record
/// has the bytes that the format says.
#[test]
fn hash_keys_and_aggregates() {
    let server = KinesisServer::start();
    let mut said = String::new();
    for shards in [1, 3, 4] {
        let name = format!("of-{shards}");
        server.create_stream(&name, shards);
        let (_, listed) = call(&server.endpoint(), "ListShards", &json!({ "StreamName": name }));
        for shard in listed["Shards"].as_array().unwrap() {
            let range = &shard["HashKeyRange"];
            writeln!(said, "{name} {} {}", range["StartingHashKey"], range["EndingHashKey"]).unwrap();
        }
    }
    // MD5 of `a` is 0cc175b9…: the first of three.
    writeln!(said, "{}", server.put("of-3", "a", "x").0).unwrap();
    let aggregated = aggregate(&[("a", None, b"one"), ("b", Some("7"), b"two"), ("a", None, b"")]);
    for byte in aggregated {
        write!(said, "{byte:02x}").unwrap();
    }
    expect![[r#"
        of-1 "0" "340282366920938463463374607431768211455"
        of-3 "0" "113427455640312821154458202477256070484"
        of-3 "113427455640312821154458202477256070485" "226854911280625642308916404954512140969"
        of-3 "226854911280625642308916404954512140970" "340282366920938463463374607431768211455"
        of-4 "0" "85070591730234615865843651857942052863"
        of-4 "85070591730234615865843651857942052864" "170141183460469231731687303715884105727"
        of-4 "170141183460469231731687303715884105728" "255211775190703847597530955573826158591"
        of-4 "255211775190703847597530955573826158592" "340282366920938463463374607431768211455"
        shardId-000000000000
        f3899ac20a01610a01621201371a0708001a036f6e651a09080110001a0374776f1a0408001a0009f5663845d39bec8e0db4e4f8d12b48"#]]
    .assert_eq(&said);
}

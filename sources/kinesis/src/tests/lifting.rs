//! Answers whose data are lifted out before the SDK reads them.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::lift::{LiftData, lift};

/// Gives the same answer to everything.
#[derive(Clone, Debug)]
struct Canned {
    status: u16,
    body: Vec<u8>,
}

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = StatusCode::try_from(self.status).unwrap();
        let mut answer = HttpResponse::new(status, SdkBody::from(self.body.clone()));
        answer.headers_mut().insert("x-amzn-requestid", "a-request");
        HttpConnectorFuture::ready(Ok(answer))
    }
}

/// What the SDK makes of an answer, alone and with data lifted out of it.
fn both_ways(status: u16, body: &[u8]) -> [Result<GetRecordsOutput, SdkError<GetRecordsError>>; 2] {
    let canned = Canned { status, body: body.to_vec() };
    let http: SharedHttpClient = http_client_fn(move |_, _| SharedHttpConnector::new(canned.clone()));
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    let call = Client::from_conf(config).get_records().shard_iterator("there");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let alone = call.clone().send().await;
        [alone, call.customize().interceptor(LiftData).send().await]
    })
}

fn check_alike(status: u16, body: &[u8]) -> Result<(), TestCaseError> {
    let [alone, lifted] = both_ways(status, body);
    match (alone, lifted) {
        (Ok(alone), Ok(lifted)) => prop_assert_eq!(alone, lifted),
        (alone, lifted) => prop_assert_eq!(format!("{alone:?}"), format!("{lifted:?}")),
    }
    Ok(())
}

fn check(json: &str, expected: Expect) {
    let text = match lift(json.as_bytes()) {
        None => "as it came".to_owned(),
        Some(it) => {
            let data: Vec<_> = it.data.iter().map(|it| String::from_utf8_lossy(it)).collect();
            format!("{} {data:?}", String::from_utf8(it.rest).unwrap())
        }
    };
    expected.assert_eq(&text);
    check_alike(200, json.as_bytes()).unwrap();
}

/// Scenario: answers as the service gives them, with other spaces, with `"Data"` where it is no field, with data that are
/// missing, empty or no base64, with escapes; and answers that were cut.
/// Guarantees: data are lifted out of the usual ones; the others are left to the SDK; either way it makes the same of them.
#[test]
fn what_is_lifted() {
    check(
        r#"{"MillisBehindLatest":0,"NextShardIterator":"AAAB","Records":[{"Data":"b25l","PartitionKey":"a","SequenceNumber":"1"},{"Data":"dHdv","SequenceNumber":"2"}]}"#,
        expect![[
            r#"{"MillisBehindLatest":0,"NextShardIterator":"AAAB","Records":[{"Data":"AAAAAA==","PartitionKey":"a","SequenceNumber":"1"},{"Data":"AAAAAQ==","SequenceNumber":"2"}]} ["one", "two"]"#
        ]],
    );
    check(
        "{\"Records\" : [ {\"Data\"\n:\t\"b25l\" } ] }",
        expect![[r#"
            {"Records" : [ {"Data"
            :	"AAAAAA==" } ] } ["one"]"#]],
    );
    check(
        r#"{"Records":[{"Data":"","PartitionKey":"Data","SequenceNumber":"\"Data\":\"b25l\""}]}"#,
        expect![[
            r#"{"Records":[{"Data":"AAAAAA==","PartitionKey":"Data","SequenceNumber":"\"Data\":\"b25l\""}]} [""]"#
        ]],
    );
    check(
        r#"{"Other":{"Data":"b25l"},"Records":[{"Data":null},{"SequenceNumber":"2"},{"Data":"AAAAAA==","Data":"dHdv"}]}"#,
        expect![[
            r#"{"Other":{"Data":"AAAAAA=="},"Records":[{"Data":null},{"SequenceNumber":"2"},{"Data":"AAAAAQ==","Data":"AAAAAg=="}]} ["one", "\0\0\0\0", "two"]"#
        ]],
    );
    check(r#"{"Records":[],"MillisBehindLatest":5}"#, expect!["as it came"]);
    check(r#"{"Records":[{"Data":"b25l"},{"D\u0061ta":"AAAAAA=="}]}"#, expect!["as it came"]);
    check(r#"{"Records":[{"Data":"\/\/\/\/"}]}"#, expect!["as it came"]);
    check(r#"{"Records":[{"Data":"b25"}]}"#, expect!["as it came"]);
    check(r#"{"Records":[{"Data":"b25l"},{"Data":"b2"#, expect!["as it came"]);
    // Damaged where no data are.
    check(
        r#"{"Records":[{"Data":"b25l"},{"Data":5}]}"#,
        expect![[r#"{"Records":[{"Data":"AAAAAA=="},{"Data":5}]} ["one"]"#]],
    );
    check(r#"{"Records":[{"Data":"b25l"}"#, expect![[r#"{"Records":[{"Data":"AAAAAA=="} ["one"]"#]]);
}

/// Between two pieces of JSON.
fn spaces() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r ")]
}

fn quoted(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    text.prop_map(|it| format!("\"{it}\""))
}

/// Texts with what a text may have in it, as they stand in JSON.
fn text() -> impl Strategy<Value = String> {
    quoted(prop_oneof![
        "[0-9]{0,60}",
        r#"([a-zD:{}\[\],]|é|\\"|\\\\|\\/|\\n|\\u00e9|\\"Data\\":\\"){0,8}"#,
        Just("Data".to_owned()),
    ])
}

fn data() -> impl Strategy<Value = String> {
    let whole = proptest::collection::vec(any::<u8>(), 0..40).prop_map(base64::encode);
    prop_oneof![
        30 => quoted(whole),
        3 => Just(r#""AAAAAA==""#.to_owned()),
        1 => Just("null".to_owned()),
        1 => text(),
    ]
}

/// Times of every form that a number has in JSON, and nearly.
fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_u64..2_000_000_000, 0_u32..1000).prop_map(|(secs, millis)| format!("{secs}.{millis:03}")),
        4 => (1_u32..9999).prop_map(|it| format!("1.{it}E9")),
        4 => (0_u64..2_000_000_000).prop_map(|it| it.to_string()),
        1 => any::<f64>().prop_map(|it| format!("{it:?}")),
        1 => "-?[0-9]{1,20}(\\.[0-9]{0,10})?(e[+-]?[0-9]{1,2})?",
        1 => Just("null".to_owned()),
    ]
}

fn integer() -> impl Strategy<Value = String> {
    prop_oneof![10 => any::<i64>().prop_map(|it| it.to_string()), 1 => time()]
}

/// An object with some of these fields, in any order, some twice.
fn object(fields: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    let any_field = proptest::strategy::Union::new(fields);
    (proptest::collection::vec(any_field, 0..8), spaces())
        .prop_map(|(fields, space)| format!("{{{space}{}{space}}}", fields.join(&format!("{space},{space}"))))
        .boxed()
}

fn field(name: &'static str, value: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    (value, spaces(), spaces()).prop_map(move |(value, a, b)| format!("\"{name}\"{a}:{b}{value}")).boxed()
}

fn list(of: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    (proptest::collection::vec(of, 0..5), spaces())
        .prop_map(|(all, space)| format!("[{space}{}]", all.join(&format!("{space},{space}"))))
        .boxed()
}

/// Answers in which everything is in its place, more or less.
fn answer() -> impl Strategy<Value = String> {
    let unknown =
        || field("Unknown", object(vec![field("Data", data()), field("Data", list(text())), field("N", integer())]));
    let record = || {
        object(vec![
            field("Data", data()),
            field("Data", data()),
            field("SequenceNumber", text()),
            field("ApproximateArrivalTimestamp", time()),
            field("PartitionKey", text()),
            field("EncryptionType", prop_oneof![Just("\"KMS\"".to_owned()), Just("null".to_owned()), text()]),
            unknown(),
        ])
    };
    let range = || object(vec![field("StartingHashKey", text()), field("EndingHashKey", text())]);
    let child = || {
        object(vec![
            field("ShardId", text()),
            field("ParentShards", list(text())),
            field("HashKeyRange", range()),
            unknown(),
        ])
    };
    object(vec![
        field("Records", list(record())),
        field("Records", list(record())),
        field("NextShardIterator", prop_oneof![text(), Just("null".to_owned())]),
        field("MillisBehindLatest", integer()),
        field("ChildShards", prop_oneof![list(child()), Just("null".to_owned())]),
        field("Data", data()),
        unknown(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Scenario: any answers: fields in every order, twice, unknown or missing, numbers of every form, escapes, spaces; of
    /// a success, of a failure, and with a byte changed, left out or put in, or the end cut off.
    /// Guarantees: the SDK makes the same of them whether data are lifted out or not: the same answer, or the same error.
    #[test]
    fn same_as_the_sdk(
        json in answer(), failed in proptest::bool::weighted(0.05), damage in 0..16, at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), proptest::sample::select(br#"{}[]":,\0 "#.to_vec())],
    ) {
        let mut body = json.into_bytes();
        let at = at.index(body.len());
        match damage {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            2 => {
                body.remove(at);
            }
            3 => body.truncate(at),
            _ => {}
        }
        check_alike(if failed { 400 } else { 200 }, &body)?;
    }

    /// Scenario: records as the service gives them.
    /// Guarantees: their data are lifted out, every one.
    #[test]
    fn usual_answers_are_lifted(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20)) {
        let record = |it: &Vec<u8>| format!(r#"{{"Data":"{}","PartitionKey":"\"","SequenceNumber":"49"}}"#, base64::encode(it));
        let records: Vec<String> = data.iter().map(record).collect();
        let body = format!(r#"{{"MillisBehindLatest":0,"NextShardIterator":"A","Records":[{}]}}"#, records.join(","));
        prop_assert_eq!(lift(body.as_bytes()).map(|it| it.data), Some(data.clone()));
        let [_, lifted] = both_ways(200, body.as_bytes());
        let found: Vec<Vec<u8>> = lifted.unwrap().records.into_iter().map(|it| it.data.into_inner()).collect();
        prop_assert_eq!(found, data);
    }
}

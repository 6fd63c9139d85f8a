//! The stand-in for Data Firehose: as the SDK calls it, and at its limits.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::error::ProvideErrorMetadata;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use expect_test::expect;

use crate::services::{ACCESS_KEY, FirehoseMishap, FirehoseServer, SECRET_KEY};

fn client(server: &FirehoseServer) -> Client {
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(server.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Puts so many records of so many bytes. What the answer says.
async fn put(client: &Client, stream: &str, records: usize, bytes: usize) -> String {
    let record = Record::builder().data(Blob::new(vec![b'x'; bytes])).build().unwrap();
    let call = client.put_record_batch().delivery_stream_name(stream).set_records(Some(vec![record; records]));
    match call.send().await {
        Ok(answer) => {
            let entry = |it: &aws_sdk_firehose::types::PutRecordBatchResponseEntry| match it.error_code() {
                Some(code) => format!("{code} ({})", it.error_message().unwrap_or_default()),
                None => it.record_id().unwrap_or_default().to_owned(),
            };
            let entries: Vec<String> = answer.request_responses().iter().map(entry).collect();
            let shown = if entries.len() > 4 { format!("{} answers", entries.len()) } else { entries.join(", ") };
            format!("{} failed: {shown}\n", answer.failed_put_count())
        }
        Err(error) => match error.as_service_error() {
            Some(answer) => format!("{}: {}\n", answer.code().unwrap_or("?"), answer.message().unwrap_or("?")),
            None => "no answer\n".to_owned(),
        },
    }
}

/// Scenario: calls at the limits of the service and beyond each of them, and each kind of mishap.
/// Guarantees: what the service refuses is refused; a mishap comes so often as was asked for; what was taken is kept.
#[tokio::test(flavor = "multi_thread")]
async fn at_its_limits() {
    let server = FirehoseServer::start();
    server.create_stream("events");
    server.create_stream_of("from-kinesis", "KinesisStreamAsSource");
    let client = client(&server);
    let mut found = String::new();
    for (stream, records, bytes) in [
        ("events", 500, 8388),
        ("events", 501, 1),
        ("events", 0, 1),
        ("events", 1, 1_024_000),
        ("events", 1, 1_024_001),
        ("events", 500, 8389),
        ("missing", 1, 1),
        ("from-kinesis", 1, 1),
    ] {
        found += &put(&client, stream, records, bytes).await;
    }
    server.fail("PutRecordBatch", 1, FirehoseMishap::Error(503, "ServiceUnavailableException".into()));
    server.fail("PutRecordBatch", 1, FirehoseMishap::Records(vec![1, 2]));
    server.fail("PutRecordBatch", 1, FirehoseMishap::AnswerLost);
    for _ in 0..4 {
        found += &put(&client, "events", 4, 1).await;
    }
    expect![[r#"
        0 failed: 500 answers
        ValidationException: Member must have length between 1 and 500
        ValidationException: Member must have length between 1 and 500
        0 failed: 1-0
        InvalidArgumentException: Record size is larger than 1024000 bytes
        InvalidArgumentException: Records size exceeds 4 MB limit
        ResourceNotFoundException: Firehose missing under account 000000000000 not found.
        InvalidSourceException: This operation is not permitted on KinesisStreamAsSource delivery stream type.
        ServiceUnavailableException: this went wrong on request
        2 failed: 2-0, ServiceUnavailableException (Slow down.), ServiceUnavailableException (Slow down.), 2-3
        no answer
        0 failed: 4-0, 4-1, 4-2, 4-3
    "#]]
    .assert_eq(&found);
    assert_eq!(server.records("events").len(), 500 + 1 + 2 + 4 + 4);
    let described = client.describe_delivery_stream().delivery_stream_name("from-kinesis").send().await.unwrap();
    let described = described.delivery_stream_description().unwrap();
    assert_eq!(described.delivery_stream_type().as_str(), "KinesisStreamAsSource");

    server.fail("PutRecordBatch", 1, FirehoseMishap::Share(30));
    put(&client, "events", 500, 1).await;
    let failed = server.calls("events").last().unwrap().failed.len();
    assert!((100..200).contains(&failed), "{failed} of 500 were not taken");
}

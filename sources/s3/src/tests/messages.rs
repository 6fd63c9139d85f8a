//! What messages say.

use expect_test::expect;
use serde_json::{Value, json};

use crate::queue::message::{Event, events};

fn shown(body: &str) -> String {
    match events(body) {
        Err(why) => format!("not understood: {why}\n"),
        Ok(events) if events.is_empty() => "nothing\n".to_owned(),
        Ok(events) => events.into_iter().map(|it| format!("{}\n", event(it))).collect(),
    }
}

fn event(event: Result<Event, String>) -> String {
    match event {
        Ok(Event::Created { bucket, found }) => {
            let content = found.content.map(|it| format!(" {} {}", it.etag, it.size)).unwrap_or_default();
            let version = found.version.map(|it| format!(" version {it}")).unwrap_or_default();
            format!("created {bucket} {:?}{content}{version}", found.key)
        }
        Ok(Event::Other(name)) => format!("other {name}"),
        Err(why) => format!("part not understood: {why}"),
    }
}

fn record(name: &str, object: Value) -> Value {
    json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
        "s3": { "bucket": { "name": "logs", "arn": "arn:aws:s3:::logs" }, "object": object } })
}

/// Scenario: messages in all shapes that S3, SNS and EventBridge send, and in some that they do not.
/// Guarantees: each is understood as its documentation says, or refused with a reason; keys are decoded where they are
/// encoded, and only there.
#[test]
fn shapes() {
    let put = record(
        "ObjectCreated:Put",
        json!({ "key": "cdn/a+b%2Bc%C3%BC.gz", "size": 5, "eTag": "00ff", "versionId": "v.1" }),
    );
    let bridge = json!({ "version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": {
        "bucket": { "name": "logs" }, "object": { "key": "a+b%2B.gz", "size": 5, "etag": "00ff", "version-id": "v1" } } });
    let mut deleted = bridge.clone();
    deleted["detail-type"] = "Object Deleted".into();
    let sns = |inner: &Value| json!({ "Type": "Notification", "TopicArn": "arn", "Message": inner.to_string() });
    let plain = json!({ "Records": [put] });
    let several = json!({ "Records": [
        put,
        record("ObjectCreated:CompleteMultipartUpload", json!({ "key": "b", "size": 6, "eTag": "\"00-2\"", "versionId": "null" })),
        record("ObjectRemoved:Delete", json!({ "key": "c" })),
        record("s3:ObjectCreated:Copy", json!({ "key": "d" })),
        record("ObjectCreated:Put", json!({ "key": "%FF" })),
        record("ObjectCreated:Put", json!({ "size": 1 })),
        { "eventSource": "aws:ses", "eventName": "ObjectCreated:Put" },
        {},
    ] });
    let bodies = [
        plain.clone(),
        sns(&plain),
        bridge.clone(),
        sns(&bridge),
        deleted,
        several,
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs" }),
        json!({ "Records": [] }),
        json!({ "Type": "SubscriptionConfirmation", "Message": "You have chosen …" }),
        json!({ "Type": "Notification", "Message": "hello" }),
        json!({ "hello": "world" }),
        json!([1, 2]),
    ];
    let mut found: String = bodies.iter().map(|it| shown(&it.to_string())).collect();
    found += &shown("");
    found += &shown("hello");
    expect![[r#"
        created logs "cdn/a b+cü.gz" 00ff 5 version v.1
        created logs "cdn/a b+cü.gz" 00ff 5 version v.1
        created logs "a+b%2B.gz" 00ff 5 version v1
        created logs "a+b%2B.gz" 00ff 5 version v1
        other Object Deleted
        created logs "cdn/a b+cü.gz" 00ff 5 version v.1
        created logs "b" 00-2 6
        other ObjectRemoved:Delete
        created logs "d"
        part not understood: the key `%FF` is not UTF-8
        part not understood: its event has no `key`
        part not understood: it tells of an event of `aws:ses`, not of S3
        part not understood: its event has no `eventName`
        other s3:TestEvent
        nothing
        not understood: it is no event of S3: neither from S3 itself, nor through SNS, nor through EventBridge
        not understood: the message that SNS passed on is not JSON: expected value at line 1 column 1
        not understood: it is no event of S3: neither from S3 itself, nor through SNS, nor through EventBridge
        not understood: it is no event of S3: neither from S3 itself, nor through SNS, nor through EventBridge
        not understood: it is not JSON: EOF while parsing a value at line 1 column 0
        not understood: it is not JSON: expected value at line 1 column 1
    "#]]
    .assert_eq(&found);
}

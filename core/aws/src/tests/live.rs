//! Against servers.

use std::fmt::Write;

use aws_sdk_s3::config::ProvideCredentials;
use expect_test::expect;
use forebay_api::Secret;
use forebay_testkit::services::{Fault, FaultProxy, Ministack, Rule, S3Server};

use super::{at, word};
use crate::{Aws, Trouble, broken, trouble};

/// Scenario: a client reads what is there and what is not, with wrong rights, through a line that breaks, from a server
/// that is no S3, and from one that is gone.
/// Guarantees: the errors of a real client mean and say what the tables of this crate promise.
#[tokio::test]
async fn real_errors() {
    let mut server = S3Server::start();
    server.create_bucket("logs");
    let proxy = FaultProxy::start(&server.endpoint(), vec![]);
    let s3 = at(proxy.endpoint()).s3().await.unwrap();
    let key = "a".repeat(100_000);
    s3.put_object().bucket("logs").key("a").body(key.into_bytes().into()).send().await.unwrap();
    let mut said = String::new();
    let hosts = [server.endpoint(), proxy.endpoint()].map(|it| it.trim_start_matches("http://").to_owned());
    let mut note = |case: &str, trouble: Trouble| {
        let text = hosts.iter().fold(trouble.to_string(), |text, host| text.replace(host, "HOST"));
        writeln!(said, "{case}\n    {}: {text}", word(&trouble)).unwrap();
    };
    let read = async |s3: &aws_sdk_s3::Client, bucket: &str, key: &str| match s3
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
    {
        Ok(answer) => match answer.body.collect().await {
            Ok(_) => panic!("it was read"),
            Err(error) => broken("reading", &error),
        },
        Err(error) => trouble("reading", error),
    };
    note("no such key", read(&s3, "logs", "b").await);
    note("no such bucket", read(&s3, "lags", "a").await);
    note("no name of a bucket", read(&s3, "", "a").await);
    let head = s3.head_object().bucket("logs").key("b").send().await.unwrap_err();
    note("no such key, by HEAD", trouble("looking at", head));
    let put = s3.put_object().bucket("logs").key("a").if_none_match("*").send().await.unwrap_err();
    note("there already", trouble("writing", put));
    let stranger = Aws { secret_access_key: Some(Secret::new("guessed")), ..at(proxy.endpoint()) };
    note("a wrong secret", read(&stranger.s3().await.unwrap(), "logs", "a").await);
    let tls = at(proxy.endpoint().replace("http:", "https:"));
    note("no TLS over there", read(&tls.s3().await.unwrap(), "logs", "a").await);
    let mut broken_line = async |case: &str, fault: Fault| {
        proxy.set_rules(vec![Rule::new(fault)]);
        note(case, read(&s3, "logs", "a").await);
    };
    broken_line("no answer", Fault::AnswerLost).await;
    broken_line("reset", Fault::Reset).await;
    broken_line("half a body", Fault::TruncateBody(50_000)).await;
    broken_line("too busy", Fault::Status(503, slow_down())).await;
    broken_line("a page for people", Fault::Status(404, "<html>Not found</html>".into())).await;
    proxy.set_rules(vec![]);
    server.stop();
    note("the server is gone", read(&at(server.endpoint()).s3().await.unwrap(), "logs", "a").await);
    expect![[r#"
        no such key
            gone: reading: `NoSuchKey` (status 404)
        no such bucket
            gone: reading: `NoSuchKey` (status 404)
        no name of a bucket
            wrong: reading: the request cannot be made: GetObjectEndpointParamsInterceptor read_before_execution interceptor encountered an error: bucket was missing: A required field was not set
        no such key, by HEAD
            gone: looking at: `NotFound` (status 404)
        there already
            exists: writing: `PreconditionFailed`: Object already exists (status 412)
        a wrong secret
            wait: reading: `SignatureDoesNotMatch` (status 403); the secret does not belong to the access key
        no TLS over there
            wait: reading: no connection: client error (Connect): TLS handshake failed: received corrupt message of type InvalidContentType; is this a port for `https`, and is the certificate trusted by this system (`SSL_CERT_FILE`)?
        no answer
            retry: reading: no answer: client error (SendRequest): connection closed before message completed
        reset
            retry: reading: no answer: client error (SendRequest): connection error: Connection reset by peer (os error 104)
        half a body
            retry: reading: the answer broke off: error reading a body from connection: end of file before message length reached
        too busy
            retry: reading: `SlowDown`: Please reduce your request rate (status 503)
        a page for people
            wait: reading: refused without a reason (status 404); is `endpoint` the address of the service?
        the server is gone
            retry: reading: no answer: client error (Connect): tcp connect error: Connection refused (os error 111)
    "#]].assert_eq(&said);
}

fn slow_down() -> String {
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>".into()
}

/// Scenario: a server fails twice and answers the third time.
/// Guarantees: the client tries three times by itself, and no more.
#[tokio::test]
async fn a_short_failure_is_not_noticed() {
    let server = S3Server::start();
    server.create_bucket("logs");
    let proxy = FaultProxy::start(&server.endpoint(), vec![Rule::new(Fault::Status(503, slow_down())).times(2)]);
    let s3 = at(proxy.endpoint()).s3().await.unwrap();
    s3.list_objects_v2().bucket("logs").send().await.unwrap();
    proxy.set_rules(vec![Rule::new(Fault::Status(503, slow_down()))]);
    s3.list_objects_v2().bucket("logs").send().await.unwrap_err();
    assert_eq!((proxy.faults(), proxy.seen().len()), (5, 6));
}

/// Scenario: a role is taken on with the keys of the table, and S3 and SQS are used with it.
/// Guarantees: the calls are made with the credentials of the role, under the name of the session.
#[tokio::test]
async fn a_role_is_taken_on() {
    let server = Ministack::start();
    let aws = Aws {
        role: Some("arn:aws:iam::000000000000:role/forebay".into()),
        external_id: Some("1234".into()),
        ..at(server.endpoint())
    };
    aws.check().unwrap();
    let shared = aws.load(aws.loader().endpoint_url(server.endpoint())).await.unwrap();
    let credentials = shared.credentials_provider().unwrap().provide_credentials().await.unwrap();
    assert!(credentials.session_token().is_some() && credentials.expiry().is_some(), "{credentials:?}");
    assert_ne!(credentials.access_key_id(), at(String::new()).access_key_id.unwrap().reveal());
}

/// Scenario: the role may not be taken on.
/// Guarantees: the client waits for somebody to change that, and the whole chain of causes is said.
#[tokio::test]
async fn a_role_is_refused() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: \
                   arn:aws:iam::000000000000:user/me is not authorized to perform: sts:AssumeRole</Message></Error>\
                   <RequestId>c6104cbe</RequestId></ErrorResponse>";
    let proxy = FaultProxy::start("http://127.0.0.1:1", vec![Rule::new(Fault::Status(403, refusal.into()))]);
    let aws = Aws { role: Some("arn:aws:iam::000000000000:role/forebay".into()), ..at(proxy.endpoint()) };
    let shared = aws.load(aws.loader().endpoint_url(proxy.endpoint())).await.unwrap();
    let error = aws_sdk_s3::Client::new(&shared).list_buckets().send().await.unwrap_err();
    let trouble = trouble("listing the buckets", error);
    expect!["wait: listing the buckets: no credentials: an error occurred while loading credentials: `AccessDenied`: User: arn:aws:iam::000000000000:user/me is not authorized to perform: sts:AssumeRole"].assert_eq(&format!("{}: {trouble}", word(&trouble)));
}

/// Scenario: a queue is asked for that is not there, then made, and a message goes through it.
/// Guarantees: the client of SQS speaks with the endpoint, and a missing queue is waited for.
#[tokio::test]
async fn a_queue() {
    let server = Ministack::start();
    let sqs = at(server.endpoint()).sqs().await.unwrap();
    let missing = trouble("finding the queue", sqs.get_queue_url().queue_name("events").send().await.unwrap_err());
    assert!(matches!(missing, Trouble::Wait(_)), "{missing}");
    let url = sqs.create_queue().queue_name("events").send().await.unwrap().queue_url.unwrap();
    sqs.send_message().queue_url(&url).message_body("hello").send().await.unwrap();
    let got = sqs.receive_message().queue_url(&url).wait_time_seconds(20).send().await.unwrap();
    assert_eq!(got.messages()[0].body(), Some("hello"));
}

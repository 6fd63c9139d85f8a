//! What is signed of a body.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use expect_test::expect;
use forebay_testkit::services::{FirehoseServer, S3Server};

use super::at;

/// Notes what the signer was told.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn begin(&self, call: &str) {
        writeln!(self.0.lock().unwrap(), "{call}").unwrap();
    }
}

impl Intercept for Told {
    fn name(&self) -> &'static str {
        "Told"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = context.request().headers().get("x-amz-content-sha256").unwrap_or("no header");
        let told = bag.load::<PayloadSigningOverride>();
        writeln!(self.0.lock().unwrap(), "    {told:?}\n    {header}")?;
        Ok(())
    }
}

/// Scenario: calls with a body in memory, with one that is read while it is sent, and without one.
/// Guarantees: the first is signed with its SHA-256, which is told to the signer and is the right one; the others are
/// left to the SDK. The server takes them all.
#[tokio::test]
async fn bodies_are_digested_once() {
    let told = Told::default();
    let server = S3Server::start();
    server.create_bucket("logs");
    let s3 = at(server.endpoint()).s3().await.unwrap();
    let s3 = aws_sdk_s3::Client::from_conf(s3.config().to_builder().interceptor(told.clone()).build());
    told.begin("in memory");
    s3.put_object().bucket("logs").key("a").body(ByteStream::from_static(b"abc")).send().await.unwrap();
    told.begin("from a file");
    let file = server.directory().join("logs/a");
    let stream = ByteStream::from_path(file).await.unwrap();
    s3.put_object().bucket("logs").key("b").body(stream).send().await.unwrap();
    told.begin("none");
    s3.get_object().bucket("logs").key("b").send().await.unwrap();

    let server = FirehoseServer::start();
    server.create_stream("events");
    let firehose = at(server.endpoint()).firehose().await.unwrap();
    let firehose =
        aws_sdk_firehose::Client::from_conf(firehose.config().to_builder().interceptor(told.clone()).build());
    told.begin("JSON");
    let record = Record::builder().data(Blob::new("abc")).build().unwrap();
    firehose.put_record_batch().delivery_stream_name("events").records(record).send().await.unwrap();
    expect![[r#"
        in memory
            Some(Precomputed("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
            ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
        from a file
            Some(StreamingSignedPayloadTrailer)
            STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
        none
            None
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        JSON
            Some(Precomputed("3f748e8b96af9e9f271af64199102ebb25fdf38f68547873902d1bae52d788d1"))
            no header
    "#]]
    .assert_eq(&told.0.lock().unwrap());
}

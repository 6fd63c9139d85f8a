//! The clients of a table `aws = { … }`.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use forebay_api::BoxError;

use crate::Aws;
use crate::digest::BodyDigest;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a server may take from the request, its body included, to the head of the answer. Longer than the 20 s
/// for which SQS holds back an empty answer. The body of an answer has no such limit: a stream that stands still while
/// somebody waits for it is ended by the SDK's own stalled-stream protection.
const ANSWER: Duration = Duration::from_secs(30);

/// The same for S3, where the body of a request is a part of an upload.
const ANSWER_TO_UPLOAD: Duration = Duration::from_secs(60);

/// Tries of one call by the SDK, with its own pauses. What lasts longer is the component's matter: see
/// [`crate::Trouble`].
const TRIES: u32 = 3;

/// What a client of one service is built of. The builders of the SDK's crates have no trait in common.
macro_rules! builder {
    ($sdk:ident, $aws:expr) => {{
        let shared = $aws.load($aws.loader()).await?;
        let builder = $sdk::config::Builder::from(&shared).interceptor(BodyDigest);
        match &$aws.endpoint {
            Some(endpoint) => builder.endpoint_url(endpoint),
            None => builder,
        }
    }};
}

impl Aws {
    /// A client of S3. Nothing is sent yet, save to find the region and credentials; an error is about these.
    pub async fn s3(&self) -> Result<aws_sdk_s3::Client, BoxError> {
        let builder = builder!(aws_sdk_s3, self)
            .timeout_config(timeouts(ANSWER_TO_UPLOAD))
            .force_path_style(self.path_style.unwrap_or(self.endpoint.is_some()));
        Ok(aws_sdk_s3::Client::from_conf(builder.build()))
    }

    /// A client of SQS; as [`Aws::s3`].
    pub async fn sqs(&self) -> Result<aws_sdk_sqs::Client, BoxError> {
        Ok(aws_sdk_sqs::Client::from_conf(builder!(aws_sdk_sqs, self).build()))
    }

    /// A client of Kinesis Data Streams; as [`Aws::s3`]. It tries every call once: a second try counts against what the
    /// shard allows in a second, and only those who read the shard know when there is room for it.
    pub async fn kinesis(&self) -> Result<aws_sdk_kinesis::Client, BoxError> {
        let builder = builder!(aws_sdk_kinesis, self).retry_config(RetryConfig::disabled());
        Ok(aws_sdk_kinesis::Client::from_conf(builder.build()))
    }

    /// A client of DynamoDB; as [`Aws::s3`]. It tries every call once: those who hold leases have little time, and must
    /// know of a conditional write whether its first try went through.
    pub async fn dynamodb(&self) -> Result<aws_sdk_dynamodb::Client, BoxError> {
        let builder = builder!(aws_sdk_dynamodb, self).retry_config(RetryConfig::disabled());
        Ok(aws_sdk_dynamodb::Client::from_conf(builder.build()))
    }

    /// A client of Data Firehose; as [`Aws::s3`]. It tries every call once: a call that was carried out in part must not
    /// be made again as a whole, and there is no telling a second copy of a record from the first.
    pub async fn firehose(&self) -> Result<aws_sdk_firehose::Client, BoxError> {
        let builder = builder!(aws_sdk_firehose, self).retry_config(RetryConfig::disabled());
        Ok(aws_sdk_firehose::Client::from_conf(builder.build()))
    }

    /// What all clients share, the calls for credentials included. The endpoint is not in it: it is that of one
    /// service, and not the one to ask for a role.
    pub(crate) async fn load(&self, loader: ConfigLoader) -> Result<SdkConfig, BoxError> {
        let mut shared = loader.load().await;
        if shared.region().is_none() {
            shared = shared.into_builder().region(self.region_otherwise()?).build();
        }
        let Some(role) = &self.role else { return Ok(shared) };
        let base = shared.credentials_provider().ok_or("there are no credentials to take on `role` with")?;
        let mut provider = AssumeRoleProvider::builder(role)
            .session_name(self.session_name.as_deref().unwrap_or("forebay"))
            .configure(&shared);
        if let Some(id) = &self.external_id {
            provider = provider.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(provider.build_from_provider(base).await);
        Ok(shared.into_builder().credentials_provider(provider).build())
    }

    /// What the table says, and what is the same for everybody.
    pub(crate) fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .timeout_config(timeouts(ANSWER));
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let (Some(id), Some(secret)) = (&self.access_key_id, &self.secret_access_key) {
            let token = self.session_token.as_ref().map(|it| it.reveal().to_owned());
            loader = loader.credentials_provider(Credentials::new(id.reveal(), secret.reveal(), token, None, "file"));
        }
        loader
    }

    /// Servers other than AWS rarely care for the region, but it is part of what is signed.
    pub(crate) fn region_otherwise(&self) -> Result<Region, BoxError> {
        match self.endpoint {
            Some(_) => Ok(Region::from_static("us-east-1")),
            None => Err("no region: set `region` in the table `aws`, such as \"eu-central-1\", or the variable \
                         `AWS_REGION`, or `region` in the profile"
                .into()),
        }
    }
}

/// TLS by rustls and ring with the certificates of the system, and plain HTTP where the URL says so.
fn http_client() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(tls).build_https()
}

fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer).build()
}

//! The `firehose` source: the HTTP endpoint that Amazon Data Firehose delivers to.
//!
//! - `request`: what Firehose sends, and what it may be told. Pure.
//! - `frame`: a request as it lies in the spool; `rows`: frames as rows. Pure.
//! - `seen`: the ids of requests that were taken; `ids`: those of requests that were let go, on disk.
//! - `serve`: what connections may do; `endpoint`: one request from its head to its answer; `problem`: why it is not
//!   taken.
//! - `source`: the source and its replays; `entries`: what they read; `retention`: what is let go.

mod endpoint;
mod entries;
mod frame;
mod ids;
mod problem;
mod request;
mod retention;
mod rows;
mod seen;
mod serve;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{BoxError, ByteSize, Config, Resource, Resume, Secret, Source, SourceConfig, Wrong};
use forebay_listen::Tls;
use forebay_spool::source::SpoolKeys;
use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::rows::{Column, Framing};

/// Takes what Amazon Data Firehose delivers to an HTTP endpoint, and answers when it is safe on disk.
///
/// ```toml
/// [sources.cdn]
/// type = "firehose"
/// listen = "0.0.0.0:443"
/// tls = { certificate = "fullchain.pem", key = "privkey.pem" }
/// access_key = { env = "FIREHOSE_ACCESS_KEY" }
/// spool = { directory = "spool/cdn", bytes_max = "4GiB" }
/// ```
///
/// A row is a record: its data as text in the column `message`, without the line end that it may have. Empty records give
/// no row, and what is not UTF-8 is refused. A row's position is the number of its request in the spool, and its own in
/// the request.
///
/// Firehose delivers to `https://` with a certificate that the world trusts, on port 443. So there is TLS, unless the
/// address to listen on is one of this machine alone (`127.0.0.1`, `::1`) with something before it that has the
/// certificate. A certificate that is renewed is read again half a minute later. `GET /health` is answered with 200, or
/// with 503 if the disk of the spool has not answered for 5 seconds. HTTP/1.1 is spoken, which is what Firehose speaks.
///
/// 1024 connections may be open at a time, of which 256 from one address; IPv6 addresses that share their first 64 bits
/// count as one.
///
/// # Once
///
/// A request is in the spool, and synced, before it is answered. Firehose sends a request again with the same id if it
/// did not see the answer: the ids of the last three hours, which is longer than Firehose ever tries, are kept on disk,
/// and a request that is known is answered and not taken again. While the disk does not answer, Firehose is told to try
/// again, and what it sends then is not taken until the disk has said whether it has the request. What the spool holds is
/// deleted some minutes after every sink has it.
///
/// # Answers
///
/// | status | when | Firehose then |
/// |--|--|--|
/// | 200 | all is safe, or was before | goes on |
/// | 400 | the request is none of Firehose's | tries again, as long as it is told to |
/// | 401 | the access key is another one | the same |
/// | 404, 405 | another path, another method | the same |
/// | 408 | the request did not come to its end in 3 minutes | the same |
/// | 413 | it is larger than Firehose sends: 64 MiB, 10,000 records, 1,000 KiB a record | gives it to its S3 backup |
/// | 503 | the spool or the disk is full, the disk fails or does not answer within 10 seconds, there is too much at once, or the same request is being taken | tries again |
///
/// What was not taken is counted by reason, and the log says the counts once a minute if there are new ones.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firehose {
    /// The address and port to listen on, for example `"0.0.0.0:443"` or `"127.0.0.1:8088"`.
    #[schemars(example = "127.0.0.1:8088")]
    pub listen: SocketAddr,

    /// The certificate to show. Needed unless `listen` is an address of this machine alone.
    pub tls: Option<Tls>,

    /// What Firehose must send as the access key of the endpoint: up to 4096 bytes. Needed unless `listen` is an
    /// address of this machine alone. Example: `{ env = "FIREHOSE_ACCESS_KEY" }`.
    pub access_key: Option<Secret>,

    /// The path of the endpoint's URL, for example `"/cdn"`. Default: any.
    pub path: Option<String>,

    /// Where requests are kept until every sink has them, and their ids for some hours more. `spool.bytes_max` is at
    /// least `"256MiB"`.
    pub spool: SpoolKeys,

    /// What is taken at most.
    #[serde(default)]
    pub limits: Limits,

    /// What is a row. By default `"record"`: a record is, without the line end that it may have. `"lines"`: each line of a
    /// record is; empty ones give none.
    #[serde(default)]
    pub framing: Framing,

    /// More columns, such as `["request_id", "request_time"]`. Default: only `message`.
    #[serde(default)]
    pub columns: Vec<Column>,

    /// Common attributes, the parameters of the endpoint in Firehose, that become columns of text with their names:
    /// `["environment"]`. Null where a request does not have one. Default: none.
    #[serde(default)]
    pub attributes: Vec<String>,

    /// What tests make small.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) tuning: source::Tuning,
}

/// What is taken at most.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The bytes of all bodies that are in memory at a time, of which nothing is on the disk yet, and of their copies while
    /// they are read: three times the bytes of a body. What comes beyond that is answered with 503, and Firehose tries again.
    /// By default `"192MiB"`, and no less: what the largest request takes.
    pub bodies_bytes_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bodies_bytes_max: BODIES_BYTES_MIN }
    }
}

/// What the largest request takes.
const BODIES_BYTES_MIN: ByteSize = ByteSize((endpoint::COPIES * request::BODY_BYTES_MAX) as u64);
/// More than any machine has for it.
const BODIES_BYTES_MAX: ByteSize = ByteSize::mib(1 << 20);

/// The largest request and some segments must have room.
const SPOOL_BYTES_MIN: ByteSize = ByteSize::mib(256);

impl Config for Firehose {
    const TYPE: &'static str = "firehose";
}

impl Firehose {
    fn check(&self) -> Result<SchemaRef, Wrong> {
        if !self.listen.ip().is_loopback() {
            let everybody = format!("`{}` is an address that others reach", self.listen);
            if self.tls.is_none() {
                return Err(Wrong::new("listen", format!("{everybody}, and there is no `tls`"))
                    .hint("write `tls = { certificate = \"…\", key = \"…\" }`, or listen on 127.0.0.1"));
            }
            if self.access_key.is_none() {
                return Err(Wrong::new("listen", format!("{everybody}, and there is no `access_key`"))
                    .hint("choose one and give it to Firehose: `access_key = { env = \"FIREHOSE_ACCESS_KEY\" }`"));
            }
        }
        if let Some(key) = &self.access_key {
            let is_plain = |it: u8| it.is_ascii_graphic() || it == b' ';
            let key = key.reveal();
            if key.trim() != key || !(1..=4096).contains(&key.len()) || !key.bytes().all(is_plain) {
                return Err(Wrong::new("access_key", "this cannot be sent as a header of 1 to 4096 characters"));
            }
        }
        if let Some(path) = &self.path
            && (!path.starts_with('/') || path.contains(['?', '#']) || path == endpoint::HEALTH)
        {
            return Err(Wrong::new("path", format!("`{path}` cannot be the path of the endpoint"))
                .hint("such as \"/cdn\", without a query"));
        }
        if self.spool.bytes_max < SPOOL_BYTES_MIN {
            let what = format!("`bytes_max` must be at least \"{SPOOL_BYTES_MIN}\"");
            return Err(Wrong::new("spool.bytes_max", what));
        }
        let bodies = self.limits.bodies_bytes_max;
        if bodies < BODIES_BYTES_MIN || bodies > BODIES_BYTES_MAX {
            let what = format!(
                "`bodies_bytes_max` must be between {BODIES_BYTES_MIN}, what the largest request takes, and {BODIES_BYTES_MAX}"
            );
            return Err(Wrong::new("limits.bodies_bytes_max", what));
        }
        rows::schema(&self.columns, &self.attributes)
    }
}

#[async_trait]
impl SourceConfig for Firehose {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(self.check()?)
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Port(self.listen), Resource::Directory(self.spool.directory.clone())]
    }

    fn is_sent_to(&self) -> bool {
        true
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        source::open(self, resume).await
    }
}

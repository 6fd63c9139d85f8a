//! The `firehose` sink: rows as JSON lines to a stream of Amazon Data Firehose.
//!
//! - `encode`: rows as lines of JSON; `nested`: columns with dots in their names as objects. Pure.
//! - `pack`: lines as records, and records as requests, within the service's limits. Pure.
//! - `bill`: what the service bills for them.
//! - `write`: the sink and its drafts.

mod bill;
mod encode;
mod nested;
mod pack;
#[cfg(test)]
mod tests;
mod write;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Batch, BoxError, ByteSize, Config, Promise, Sink, SinkConfig, Whereabouts, Wrong};
use forebay_aws::Aws;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::Encoder;
use crate::pack::RECORD_BYTES_MAX;

/// Sends rows to a stream of Amazon Data Firehose, each as a line of JSON.
///
/// ```toml
/// [sinks.events]
/// type = "firehose"
/// inputs = ["event"]
/// stream = "web-events"
/// pack = "100KB"
/// aws = { region = "eu-west-1" }
/// ```
///
/// A row is an object without its nulls, and ends with a line break. Times are written as Firehose's own conversion to
/// Parquet and ORC reads them: `2026-11-21T22:04:00.123Z`. A row that is larger than the 1,000 KiB that Firehose
/// takes as a record is refused.
///
/// # At least once
///
/// Firehose keeps what it takes, but cannot be told that it has a record already: a request that is sent again, after
/// its answer was lost or after a crash, leaves its rows there twice. No row is lost. Give rows an id, such as
/// `event.id`, where the second copy matters.
///
/// # Errors
///
/// A request has up to 500 records and 4 MiB. Firehose may take some of them and not the others: only those are sent
/// again, in their order, before any other record of the delivery. When too much is asked of the stream, when it does
/// not answer, and when it or a right is missing, the sink waits, longer each time. A stream that takes its records from
/// Kinesis or Kafka takes none from here: that is an error. The right that is needed is `firehose:PutRecordBatch`; with
/// `firehose:DescribeDeliveryStream` the stream is looked at when the pipeline starts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firehose {
    /// The name of the stream, for example `"web-events"`.
    pub stream: String,

    /// What becomes of columns with dots in their names: with `"flat"` the key is the name, as in
    /// `{"url.path":"/","url.scheme":"https"}`; with `"nested"` they become objects, as in
    /// `{"url":{"path":"/","scheme":"https"}}`. Default: `"flat"`.
    #[serde(default)]
    pub shape: Shape,

    /// Up to how many bytes of rows become one record, for example `"100KB"`; rounded down to a multiple of 5 KiB, and
    /// at most `"1000KiB"`. Default: each row is a record.
    ///
    /// Firehose bills a record in steps of 5 KiB, so a row of 300 bytes costs as much as 17 of them; packed, nearly
    /// all of what is billed is rows. Whatever reads the stream must then take several lines in a record: delivery to S3
    /// and Firehose's conversion of formats do, a Lambda function of your own must split them, and dynamic partitioning
    /// needs its de-aggregation. What was billed, and what packing saved or would have saved, is told at the end.
    pub pack: Option<ByteSize>,

    /// Region, server and credentials.
    #[serde(default)]
    pub aws: Aws,
}

/// What becomes of columns with dots in their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The key is the name.
    #[default]
    Flat,
    /// They become objects.
    Nested,
}

impl Config for Firehose {
    const TYPE: &'static str = "firehose";
}

impl Firehose {
    fn check(&self) -> Result<(), Wrong> {
        let known = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-');
        if self.stream.is_empty() || self.stream.len() > 64 || !self.stream.chars().all(known) {
            let what = format!("`{}` is not the name of a stream", self.stream);
            return Err(Wrong::new("stream", what).hint("1 to 64 of A-Z a-z 0-9 _ . -"));
        }
        if let Some(pack) = self.pack
            && !(bill::STEP..=RECORD_BYTES_MAX as u64).contains(&pack.bytes())
        {
            let what = format!("a record has at least \"5KiB\" and at most \"1000KiB\", not \"{pack}\"");
            return Err(Wrong::new("pack", what));
        }
        self.aws.check()
    }

    /// How large records of several rows get.
    fn packed_bytes(&self) -> Option<usize> {
        self.pack.map(|it| (it.bytes() - it.bytes() % bill::STEP) as usize)
    }
}

#[async_trait]
impl SinkConfig for Firehose {
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError> {
        self.check()?;
        Encoder::new(self.shape, input)?;
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    /// Smaller than where a delivery costs something: after a crash those that were under way are sent again.
    fn batch(&self) -> Batch {
        Batch { rows_max: 20_000, bytes_max: ByteSize::mib(8), ..Batch::default() }
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        let query = format!("aws firehose describe-delivery-stream --delivery-stream-name {}", self.stream);
        Some(Whereabouts { at: format!("stream `{}` of Data Firehose", self.stream), query: Some(query) })
    }

    async fn open(&self, input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(write::open(self, &input).await?))
    }
}

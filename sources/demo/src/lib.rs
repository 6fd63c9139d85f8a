//! The `demo` source: log lines of an imaginary web site behind Amazon CloudFront, made from a seed.

mod columns;
mod random;
mod rows;
mod site;
#[cfg(test)]
mod tests;
mod traffic;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::{BoxError, Config, Resume, Source, SourceConfig, Wrong};
use forebay_codec::cloudfront::REALTIME_FIELDS;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::columns::{Column, realtime, standard};
use crate::rows::Rows;
pub use crate::traffic::{Request, Traffic};

/// Makes realistic lines of CloudFront's real-time log, at any rate, out of nothing but a seed.
///
/// A line is what a Kinesis record of the real-time log holds: the fields in CloudFront's order, separated by tabs,
/// in one column `message`. The requests fit in themselves: what is cached is fast, videos are read in ranges,
/// errors say where they happened, visitors keep their address, country and browser. Addresses are of the ranges that
/// are set aside for documentation and tests.
///
/// Row n of a partition is always the same for the same seed: nothing depends on the clock. So the source resumes and
/// replays exactly, like a real log.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Which fields a line has, by the year in which CloudFront offered them: `"2020"` (40 fields), `"2022"` (43: also
    /// `origin-fbl`, `origin-lbl` and `asn`), `"2023"` (45: also `primary-distribution-…`) or `"2024"` (69: also
    /// `s-ip`, `cmcd-…` and others). By default `"2023"`.
    generation: Option<Generation>,
    /// In place of `generation`: the fields by name, such as `["timestamp", "c-ip", "sc-status"]`. As with CloudFront
    /// they come in the documented order, whatever the order here.
    fields: Option<Vec<String>>,
    /// How many rows to make, over all partitions, such as `10000`. By default there is no end.
    rows: Option<NonZeroU64>,
    /// How many rows to make in a second, over all partitions, such as `500`. By default as many as are taken.
    rate: Option<NonZeroU32>,
    /// Another seed makes other rows. By default `0`.
    #[serde(default)]
    seed: u64,
    /// The time of the first request. By default `"2026-11-01T00:00:00Z"`. In each partition there are about a hundred
    /// requests in each second from then on, however fast the rows are made.
    #[serde(default)]
    start: Start,
    /// How many partitions there are, `demo-0` and so on. By default `1`.
    #[serde(default = "one")]
    partitions: NonZeroU32,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl Config for Demo {
    const TYPE: &'static str = "demo";
}

#[async_trait]
impl SourceConfig for Demo {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.columns()?;
        Ok(Arc::new(Schema::new(vec![Field::new("message", DataType::Utf8, false)])))
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let traffic = Traffic { seed: self.seed, start_ms: self.start.0.as_millisecond(), spacing_ms: SPACING_MS };
        Ok(Box::new(Rows::new(self, self.schema()?, self.columns()?, traffic, resume)?))
    }
}

/// Milliseconds between two requests of a partition, on average.
const SPACING_MS: u64 = 10;

impl Demo {
    fn columns(&self) -> Result<Vec<Column>, Wrong> {
        let names = match (&self.fields, self.generation) {
            (Some(_), Some(_)) => {
                return Err(Wrong::new("fields", "`fields` and `generation` both say which fields there are")
                    .hint("keep one of the two"));
            }
            (Some(fields), None) => in_order(fields)?,
            (None, generation) => generation.unwrap_or_default().fields(),
        };
        Ok(names.into_iter().filter_map(realtime).collect())
    }
}

fn in_order(fields: &[String]) -> Result<Vec<&'static str>, Wrong> {
    if fields.is_empty() {
        return Err(Wrong::new("fields", "`fields` names no field"));
    }
    for (at, field) in fields.iter().enumerate() {
        if !REALTIME_FIELDS.contains(&field.as_str()) {
            let wrong = Wrong::new("fields", format!("CloudFront's real-time log has no field `{field}`"));
            return Err(wrong.known(field, REALTIME_FIELDS.iter().copied()));
        }
        if fields[..at].contains(field) {
            return Err(Wrong::new("fields", format!("field `{field}` is named twice")));
        }
    }
    Ok(REALTIME_FIELDS.iter().copied().filter(|known| fields.iter().any(|it| it == known)).collect())
}

/// The fields that CloudFront offered in some year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Generation {
    /// The 40 fields of the first day.
    #[serde(rename = "2020")]
    Of2020,
    /// 43: `origin-fbl`, `origin-lbl` and `asn` came.
    #[serde(rename = "2022")]
    Of2022,
    /// 45: `primary-distribution-id` and `primary-distribution-dns-name` came.
    #[default]
    #[serde(rename = "2023")]
    Of2023,
    /// 69: `s-ip`, `cmcd-…`, `r-host`, `sr-reason`, `x-edge-mqcs`, `distribution-tenant-id` and `connection-id` came.
    #[serde(rename = "2024")]
    Of2024,
}

impl Generation {
    /// The names of the fields, in the order in which they are delivered.
    pub fn fields(self) -> Vec<&'static str> {
        let since = |name: &str| match name {
            "origin-fbl" | "origin-lbl" | "asn" => Self::Of2022,
            "primary-distribution-id" | "primary-distribution-dns-name" => Self::Of2023,
            "s-ip" | "r-host" | "sr-reason" | "x-edge-mqcs" | "distribution-tenant-id" | "connection-id" => {
                Self::Of2024
            }
            name if name.starts_with("cmcd-") => Self::Of2024,
            _ => Self::Of2020,
        };
        REALTIME_FIELDS.iter().copied().filter(|it| since(it) as u8 <= self as u8).collect()
    }
}

/// A moment, such as `2026-11-01T00:00:00Z` (RFC 3339).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Start(Timestamp);

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            |_| format!("`{text}` is not a moment: write date, time and offset, such as \"2026-11-01T00:00:00Z\"");
        text.parse().map(Self).map_err(wrong)
    }
}

impl Default for Start {
    fn default() -> Self {
        Self(Timestamp::constant(1_793_491_200, 0))
    }
}

//! The `ecs` transform: columns become Elastic Common Schema fields.

mod apply;
mod convert;
mod derive;
mod fields;
mod mapping;
mod plan;
mod texts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use forebay_api::{BoxError, Config, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::apply::Build;
pub use crate::mapping::Mapping;
pub use forebay_ecs::FieldType;

/// Turns columns into fields of the Elastic Common Schema (ECS) 9.4.0, each with the type that ECS gives it.
///
/// ```toml
/// [transforms.parse]
/// type = "regex"
/// inputs = ["logs"]
/// preset = "alb"
///
/// [transforms.event]
/// type = "ecs"
/// inputs = ["parse"]
/// mapping = "alb"
/// constants = { "event.dataset" = "shop" }
/// ```
///
/// Which column becomes which field is said, in this order, by `map`, by `mapping`, and by the column's own name if
/// that is an ECS field. Column names are compared without regard to case, and with `-`, `_`, `(` and `)` alike:
/// `cs(User-Agent)`, `cs-user-agent` and `cs_user_agent` are one. The output has the fields in alphabetical order, which
/// puts `@timestamp` first, and always `ecs.version`.
///
/// | ECS type | column |
/// |--|--|
/// | `keyword` `wildcard` `match_only_text` `constant_keyword` `flattened` | Utf8 |
/// | `ip` | Utf8, the address in its canonical form |
/// | `long`, `integer` | Int64, Int32 |
/// | `double` `float` `scaled_float` | Float64 |
/// | `boolean` | Boolean |
/// | `date` | Timestamp(ms, UTC), finer digits are cut off |
/// | arrays | List of Utf8 |
///
/// A column may be text, which is read, or already typed, which is cast where nothing is lost by it. A row with a value
/// that does not fit is refused. Text that becomes a `date` is RFC 3339.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ecs {
    /// A ready mapping of all columns of a known log: `"cloudfront_realtime"`, `"cloudfront_standard"`, `"alb"`,
    /// `"s3_access"`, `"nginx"` or `"apache"`. Default: none.
    ///
    /// The columns are those that the preset of the same name of the `regex` transform gives; those of CloudFront's
    /// standard logs are named by the files themselves, be they W3C, JSON or Parquet. Columns may be missing; what
    /// needs them is then missing too. In columns of text, `-` means that there is no value.
    ///
    /// Where the columns that they need are there, a mapping also gives fields that follow from them:
    ///
    /// | field | from |
    /// |--|--|
    /// | `event.outcome` | `failure` from status 400 on, for 000 (the viewer left before CloudFront answered), and for any error code of S3; else `success` |
    /// | `event.duration` | whole nanoseconds, without floating point; for `alb` from `event.start` to `event.end` |
    /// | `event.id` | the request's id |
    /// | `http.request.method`, `http.version`, `url.original` | the request line; what is no request line is `url.original` as a whole |
    /// | `url.path`, `url.query`, `url.extension` | the request's target; the query is empty where nothing follows the `?` |
    /// | `url.scheme`, `url.domain`, `url.port`, `url.full` | the protocol and the host that was asked for, or a target that is a whole URL |
    /// | `network.type` | `ipv4` or `ipv6` |
    /// | `related.ip`, `related.hosts`, `related.user` | all that occur in the row, each once |
    ///
    /// and always `event.category`, `event.kind`, `event.type`, and of AWS' logs `cloud.provider`. There is no
    /// `url.registered_domain`: it needs the list of public suffixes, which changes every week.
    ///
    /// Give texts as they were logged: CloudFront's user agents are percent-decoded here, once, and the escapes of
    /// nginx and Apache (`\"`, `\x22`) undone. All other texts stay as they were logged.
    pub mapping: Option<Mapping>,

    /// Fields for columns, for example `{ status = "http.response.status_code" }`. A column that stands here goes only
    /// where this says, and a field that stands here comes only from here, whatever `mapping` does. Default: none.
    #[serde(default)]
    pub map: BTreeMap<String, String>,

    /// Fields with one value in all rows, written as text: `{ "event.dataset" = "cdn" }`. An array field gets an array of
    /// this one value. Default: none but those of `mapping`.
    #[serde(default)]
    pub constants: BTreeMap<String, String>,

    /// Fields that ECS does not know, with their type: `{ "shop.cart" = "keyword" }`. Default: none; the fields under
    /// `aws.` that the mappings fill are known.
    #[serde(default)]
    pub custom: BTreeMap<String, FieldType>,

    /// Other names for fields in the output: `{ "@timestamp" = "ts" }`. Default: none.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,

    /// How the other fields are named in the output: `"dotted"` as ECS does, or `"underscored"` for places where a dot
    /// is no part of a name (`source.ip` becomes `source_ip`, `@timestamp` becomes `timestamp`). Default: `"dotted"`.
    #[serde(default)]
    pub names: Names,

    /// What to do about a column that becomes no field: `"error"` before the pipeline starts, or `"ignore"`.
    /// Default: `"error"`.
    #[serde(default)]
    pub unmapped: Unmapped,
}

/// How fields are named in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As ECS names them: `source.ip`.
    #[default]
    Dotted,
    /// With an underscore for each dot: `source_ip`. `@timestamp` becomes `timestamp`.
    Underscored,
}

/// What to do about a column that becomes no field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    /// It is an error in the file.
    #[default]
    Error,
    /// The column is left out.
    Ignore,
}

impl Config for Ecs {
    const TYPE: &'static str = "ecs";
}

impl TransformConfig for Ecs {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(Build::new(self.clone())))
    }
}

//! The ready mappings, as tables: what each column of a log becomes, and what follows from that.
//!
//! Where a table names a field twice, the first row counts whose columns are there.

mod alb;
mod cloudfront;
mod s3_access;
mod web;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::convert::How;
use crate::derive::Derived;
use crate::fields::{Field, FieldType};

/// A ready mapping. Each is for the columns that the preset of the same name of the `regex` transform gives, if there
/// is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// The fields of CloudFront's [real-time access logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html),
    /// where `cs-host` is the host that the viewer asked for.
    CloudfrontRealtime,
    /// The fields of CloudFront's [standard logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html),
    /// where `x-host-header` is the host that the viewer asked for. Both versions, as W3C, JSON or Parquet.
    CloudfrontStandard,
    /// The fields of the [access logs](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html)
    /// of Application Load Balancers.
    Alb,
    /// The fields of [server access logs](https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html) of S3.
    S3Access,
    /// The [variables](https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format) of nginx' `combined` and
    /// `main` formats, and some that are often added.
    Nginx,
    /// The fields of Apache's [common and combined](https://httpd.apache.org/docs/2.4/logs.html#accesslog) logs.
    Apache,
}

/// One field, and the columns that it is made of.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) columns: &'static [&'static str],
    pub(crate) field: &'static str,
    pub(crate) how: How,
}

impl Mapping {
    pub(crate) const ALL: [Self; 6] =
        [Self::CloudfrontRealtime, Self::CloudfrontStandard, Self::Alb, Self::S3Access, Self::Nginx, Self::Apache];

    pub(crate) fn rows(self) -> &'static [Row] {
        match self {
            Self::CloudfrontRealtime => cloudfront::REALTIME,
            Self::CloudfrontStandard => cloudfront::STANDARD,
            Self::Alb => alb::ROWS,
            Self::S3Access => s3_access::ROWS,
            Self::Nginx => web::NGINX,
            Self::Apache => web::APACHE,
        }
    }

    /// What follows from the fields that are there, in an order in which it can be built.
    pub(crate) fn derived(self) -> &'static [Derived] {
        match self {
            Self::CloudfrontRealtime | Self::CloudfrontStandard => cloudfront::DERIVED,
            Self::Alb => alb::DERIVED,
            Self::S3Access => s3_access::DERIVED,
            Self::Nginx | Self::Apache => web::DERIVED,
        }
    }

    /// What holds for every request in such a log.
    pub(crate) fn constants(self) -> &'static [(&'static str, &'static str)] {
        const OF_A_REQUEST: [(&str, &str); 4] =
            [("event.category", "web"), ("event.kind", "event"), ("event.type", "access"), ("cloud.provider", "aws")];
        match self {
            Self::CloudfrontRealtime | Self::CloudfrontStandard | Self::Alb | Self::S3Access => &OF_A_REQUEST,
            Self::Nginx | Self::Apache => OF_A_REQUEST.split_at(3).0,
        }
    }

    /// The preset of `regex` that gives its columns, if a log of this kind does not name them itself.
    pub(crate) fn preset(self) -> Option<&'static str> {
        (self != Self::CloudfrontStandard).then(|| self.name())
    }

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CloudfrontRealtime => "cloudfront_realtime",
            Self::CloudfrontStandard => "cloudfront_standard",
            Self::Alb => "alb",
            Self::S3Access => "s3_access",
            Self::Nginx => "nginx",
            Self::Apache => "apache",
        }
    }
}

/// A field that the mappings fill and ECS does not know.
pub(crate) fn own_field(name: &str) -> Option<Field> {
    if !own_fields().any(|it| it == name) {
        return None;
    }
    let one = |kind| Field { kind, list: false };
    Some(match name {
        "aws.cloudfront.time_to_first_byte"
        | "aws.cloudfront.origin_fbl"
        | "aws.cloudfront.origin_lbl"
        | "aws.elb.request_processing_time.sec"
        | "aws.elb.backend_processing_time.sec"
        | "aws.elb.response_processing_time.sec" => one(FieldType::Double),
        "aws.cloudfront.edge_mqcs"
        | "aws.cloudfront.fle_encrypted_fields"
        | "aws.cloudfront.headers_count"
        | "aws.cloudfront.range_end"
        | "aws.cloudfront.range_start"
        | "aws.elb.backend.port"
        | "aws.elb.backend.http.response.status_code"
        | "aws.s3access.object_size"
        | "aws.s3access.turn_around_time" => one(FieldType::Long),
        "aws.elb.backend.ip" => one(FieldType::Ip),
        "aws.elb.action_executed" | "aws.elb.target_port" | "aws.elb.target_status_code" => {
            Field { kind: FieldType::Keyword, list: true }
        }
        _ => one(FieldType::Keyword),
    })
}

/// The fields that the mappings fill and ECS does not know.
pub(crate) fn own_fields() -> impl Iterator<Item = &'static str> {
    Mapping::ALL.iter().flat_map(|it| it.rows()).map(|it| it.field).filter(|it| it.starts_with("aws."))
}

const fn row(columns: &'static [&'static str], field: &'static str, how: How) -> Row {
    Row { columns, field, how }
}

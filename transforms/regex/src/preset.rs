//! Patterns that are ready: for the records of CloudFront's real-time logs, made from the list of their fields, and for
//! other logs, each in a file of `presets`. Of several patterns for one log the first is for nearly all lines and is
//! lowered to a scanner; the others are for what clients can do to a line.

use std::collections::BTreeMap;

use forebay_api::Wrong;
use forebay_codec::cloudfront::REALTIME_FIELDS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern::Pattern;
use forebay_codec::types::Type;

/// A ready pattern with ready types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Amazon CloudFront's [real-time access logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html).
    /// The record carries no names, so `fields` must say what CloudFront was configured to deliver; a record with
    /// another number of values is refused, never shifted. Numbers, times and addresses have their types, texts stay
    /// as they were logged, percent-encoding included.
    CloudfrontRealtime,
    /// [Access logs](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html)
    /// of Application Load Balancers, of any generation: the 18 fields of 2016 up to the 33 of 2025, and what will be
    /// added. The columns are named as AWS names the fields, with `client` and `target` for those with their port.
    Alb,
    /// [Server access logs](https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html) of S3, of any
    /// generation: 18 fields, the 27 of today, and what will be added.
    S3Access,
    /// nginx' [`combined`](https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format) format, and `main`, which
    /// its packages set up and which ends with X-Forwarded-For. The columns are named as the variables are. Texts keep
    /// the escapes of the server.
    Nginx,
    /// Apache's [`common`, `combined` and `vhost_combined`](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#examples)
    /// formats. Texts keep the escapes of the server; the second field, which is always `-`, is no column.
    Apache,
}

/// What a preset stands for.
pub(crate) struct Ready {
    pub(crate) patterns: Vec<Pattern>,
    /// The types of the columns that are more than text.
    pub(crate) types: BTreeMap<String, Type>,
    /// How many values a CloudFront record must have.
    pub(crate) fields: Option<usize>,
}

/// Makes a preset ready, for these fields of CloudFront's.
pub(crate) fn ready(preset: Preset, fields: Option<&[String]>) -> Result<Ready, Wrong> {
    let (patterns, types): (&[&str], _) = match preset {
        Preset::CloudfrontRealtime => {
            let fields = in_order(fields)?;
            let patterns = vec![pattern(&fields)?];
            return Ok(Ready { patterns, types: types(&fields), fields: Some(fields.len()) });
        }
        Preset::Alb => (&[include_str!("presets/alb.regex"), include_str!("presets/alb_escaped.regex")], alb as Kind),
        Preset::S3Access => {
            (&[include_str!("presets/s3_access.regex"), include_str!("presets/s3_access_quotes.regex")], s3_access)
        }
        Preset::Nginx => (&[include_str!("presets/nginx.regex"), include_str!("presets/nginx_blanks.regex")], nginx),
        Preset::Apache => (
            &[
                include_str!("presets/apache.regex"),
                include_str!("presets/apache_vhost.regex"),
                include_str!("presets/apache_vhost_escaped.regex"),
                include_str!("presets/apache_escaped.regex"),
            ],
            apache,
        ),
    };
    if fields.is_some() {
        return Err(Wrong::new("fields", "`fields` is for `preset = \"cloudfront_realtime\"`"));
    }
    let compiled = patterns.iter().map(|it| Pattern::try_from((*it).to_owned()));
    let patterns = compiled.collect::<Result<Vec<_>, _>>().map_err(|error| Wrong::new("preset", error))?;
    let columns = patterns.iter().flat_map(|it| it.regex().capture_names().flatten());
    let types = columns.map(|it| (it.to_owned(), types(it))).collect();
    Ok(Ready { patterns, types, fields: None })
}

/// The type of a column.
type Kind = fn(&str) -> Type;

fn alb(column: &str) -> Type {
    match column {
        "time" | "request_creation_time" => Type::Rfc3339,
        "request_processing_time" | "target_processing_time" | "response_processing_time" => Type::Decimal(6),
        "elb_status_code" | "target_status_code" => Type::U16,
        "received_bytes" | "sent_bytes" => Type::I64,
        _ => Type::Text,
    }
}

fn s3_access(column: &str) -> Type {
    match column {
        "time" => log_time(),
        "http_status" => Type::U16,
        "bytes_sent" | "object_size" | "total_time" | "turn_around_time" => Type::U64,
        _ => Type::Text,
    }
}

fn nginx(column: &str) -> Type {
    match column {
        "time_local" => log_time(),
        "status" => Type::U16,
        "body_bytes_sent" => Type::U64,
        _ => Type::Text,
    }
}

fn apache(column: &str) -> Type {
    match column {
        "time" => log_time(),
        "status" | "server_port" => Type::U16,
        "bytes" => Type::U64,
        _ => Type::Text,
    }
}

/// `28/Sep/1970:12:00:00 +0600`.
fn log_time() -> Type {
    Type::Strftime("%d/%b/%Y:%H:%M:%S %z".to_owned())
}

/// The last field of the default list, the end of CloudFront's list before the `cmcd-` fields were added.
const LAST_BY_DEFAULT: &str = "asn";

/// The fields in the order in which CloudFront delivers them, whatever the order of the configuration.
pub(crate) fn in_order(configured: Option<&[String]>) -> Result<Vec<&'static str>, Wrong> {
    let Some(configured) = configured else {
        let last = REALTIME_FIELDS.iter().position(|it| *it == LAST_BY_DEFAULT).unwrap_or(REALTIME_FIELDS.len() - 1);
        return Ok(REALTIME_FIELDS[..=last].iter().copied().filter(|it| *it != "s-ip").collect());
    };
    if configured.is_empty() {
        return Err(Wrong::new("fields", "there is no field in the list"));
    }
    for (nth, field) in configured.iter().enumerate() {
        if !REALTIME_FIELDS.contains(&field.as_str()) {
            let wrong = Wrong::new("fields", format!("CloudFront has no real-time log field `{field}`"));
            return Err(wrong.known(field, REALTIME_FIELDS.iter().copied()));
        }
        if configured[..nth].contains(field) {
            return Err(Wrong::new("fields", format!("field `{field}` stands twice in the list")));
        }
    }
    let is_configured = |field: &&str| configured.iter().any(|it| it == field);
    Ok(REALTIME_FIELDS.iter().copied().filter(is_configured).collect())
}

/// One group for each field. AWS does not say whether a record ends with a newline, so it may.
pub(crate) fn pattern(fields: &[&str]) -> Result<Pattern, Wrong> {
    let groups: Vec<String> = fields.iter().map(|it| format!(r"(?<{}>[^\t\r\n]*)", column(it))).collect();
    let pattern = format!(r"^{}\r?\n?$", groups.join(r"\t"));
    Pattern::try_from(pattern).map_err(|error| Wrong::new("fields", error))
}

/// The types of the fields that are more than text, by column.
pub(crate) fn types(fields: &[&str]) -> BTreeMap<String, Type> {
    fields.iter().map(|it| (column(it), kind(it))).collect()
}

fn column(field: &str) -> String {
    field.replace('-', "_")
}

/// What a field holds. What a viewer's player says of itself (`cmcd-…`) is text, since it may say anything.
fn kind(field: &str) -> Type {
    match field {
        "timestamp" => Type::EpochSeconds,
        "c-ip" | "s-ip" => Type::Ip,
        // AWS documents three digits behind the point; three more cost nothing, and no row if that changes.
        "time-to-first-byte" | "time-taken" | "origin-fbl" | "origin-lbl" => Type::Decimal(6),
        "x-edge-mqcs" => Type::U8,
        "sc-status" | "c-port" => Type::U16,
        "fle-encrypted-fields" | "cs-headers-count" | "asn" => Type::U32,
        "sc-bytes" | "cs-bytes" | "sc-content-len" | "sc-range-start" | "sc-range-end" => Type::U64,
        _ => Type::Text,
    }
}

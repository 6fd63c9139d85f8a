//! Records of CloudFront's real-time access logs: values without names, separated by tabs.

use std::collections::BTreeMap;

use forebay_api::Wrong;
use forebay_codec::cloudfront::REALTIME_FIELDS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern::Pattern;
use crate::types::Type;

/// A ready pattern with ready types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Amazon CloudFront's [real-time access logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html).
    /// The record carries no names, so `fields` must say what CloudFront was configured to deliver; a record with
    /// another number of values is refused, never shifted. Numbers, times and addresses have their types, texts stay
    /// as they were logged, percent-encoding included.
    CloudfrontRealtime,
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

mod addresses;
mod alb;
mod cloudfront;
mod columns;
mod own;
mod s3_access;
mod values;
mod web;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt16Array, UInt64Array,
};
use expect_test::{Expect, expect};
use forebay_api::{TransformConfig, Wrong};
use forebay_codec::cloudfront::{REALTIME_FIELDS, STANDARD_FIELDS};
use forebay_testkit::{Applied, canonical, columns, text};

use crate::Ecs;
use crate::convert::How;
use crate::fields::{Field, FieldType, Fields};
use crate::mapping::Mapping;

fn config(toml: &str) -> Ecs {
    toml::from_str(toml).unwrap()
}

/// Rows of text columns: first the names, then the values of each row.
fn table<'a>(lines: impl IntoIterator<Item = &'a str>) -> RecordBatch {
    let mut lines = lines.into_iter().map(|it| it.split('|').map(str::trim).collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let column =
        |index: usize| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|it| it[index]))) };
    columns(names.iter().enumerate().map(|(index, name)| (*name, column(index))))
}

fn transform(toml: &str, input: RecordBatch) -> Applied {
    let config = config(toml);
    forebay_testkit::transform(|| config.build().unwrap(), &[input])
}

/// Runs the conformance suite, and shows each row as a list of fields, and what was refused.
fn check(toml: &str, input: RecordBatch, expected: Expect) {
    let applied = transform(toml, input);
    let schema = applied.sent.schema();
    let mut shown = String::new();
    for (nth, origin) in applied.origins.iter().enumerate() {
        shown += &format!("row {origin}\n");
        for (index, field) in schema.fields().iter().enumerate() {
            let one = applied.sent.project(&[index]).unwrap().slice(nth, 1);
            let row = canonical(&[one]).join("");
            let value = row.split_once(':').unwrap().1.trim_end_matches('}');
            shown += &format!("  {}: {} = {value}\n", field.name(), field.data_type());
        }
    }
    for (origin, why) in &applied.refused {
        shown += &format!("row {origin} refused: {why}\n");
    }
    expected.assert_eq(&shown);
}

/// The same, with the values of a few fields only, one line for each row.
fn check_some(toml: &str, input: RecordBatch, fields: &[&str], expected: Expect) {
    let applied = transform(toml, input);
    let schema = applied.sent.schema();
    let indices: Vec<usize> = fields.iter().map(|it| schema.index_of(it).unwrap()).collect();
    let rows = canonical(&[applied.sent.project(&indices).unwrap()]);
    let refused = applied.refused.iter().map(|(origin, why)| format!("{origin} refused: {why}"));
    let rows = rows.iter().zip(&applied.origins).map(|(row, origin)| format!("{origin} {row}"));
    expected.assert_eq(&(rows.chain(refused).collect::<Vec<_>>().join("\n") + "\n"));
}

/// Shows what is wrong with a configuration, while it is read or planned.
fn check_wrong(toml: &str, input: RecordBatch, expected: Expect) {
    let config = match toml::from_str::<Ecs>(toml) {
        Ok(config) => config,
        Err(error) => return expected.assert_eq(&format!("{}\n", error.message())),
    };
    let error = config.build().unwrap().plan(&input.schema()).expect_err("the configuration is wrong");
    let Wrong { key, what, label, hint } = error.downcast_ref().expect("the error names a key");
    let (label, hint) = (label.as_deref().unwrap_or("-"), hint.as_deref().unwrap_or("-"));
    expected.assert_eq(&format!("{key}: {what}\n  {label}\n  {hint}\n"));
}

/// A row with a value for each field of real-time logs, as it is logged.
fn realtime() -> RecordBatch {
    let value = |field: &str| match field {
        "timestamp" => "1607374321.541",
        "c-ip" => "192.0.2.183",
        "s-ip" => "2001:DB8::1",
        "time-to-first-byte" | "time-taken" => "0.042",
        "sc-status" => "200",
        "sc-bytes" => "485",
        "cs-method" => "GET",
        "cs-protocol" => "HTTPS",
        "cs-host" => "www.example.com:8443",
        "cs-uri-stem" => "/img/a.b.gif?url=http%253A%252F%252Fcaf%C3%A9",
        "cs-bytes" => "745",
        "x-edge-location" => "EWR52-C4",
        "x-edge-request-id" => "6PfZe0cc_AjX==",
        "x-host-header" => "d111111abcdef8.cloudfront.net",
        "cs-protocol-version" => "HTTP/2.0",
        "c-ip-version" => "IPv4",
        "cs-user-agent" => "Mozilla/5.0%20(100%25%20caf%C3%A9)%2520",
        "cs-referer" => "http://localhost:5000/page-2",
        "cs-uri-query" => "url=http%253A%252F%252Fcaf%C3%A9",
        "x-forwarded-for" => "198.51.100.7,%20192.0.2.183,unknown",
        "ssl-protocol" => "TLSv1.3",
        "fle-encrypted-fields" => "2",
        "sc-content-type" => "image/gif",
        "sc-content-len" => "35",
        "sc-range-start" => "0",
        "sc-range-end" => "34",
        "c-port" => "49323",
        "c-country" => "US",
        "cs-headers" => "Host:a%0AAccept:*/*%0A",
        "cs-headers-count" => "2",
        "origin-fbl" | "origin-lbl" => "0.251",
        "asn" => "16509",
        "x-edge-mqcs" => "97",
        _ => "-",
    };
    columns(REALTIME_FIELDS.iter().map(|it| (*it, Arc::new(StringArray::from(vec![value(it)])) as ArrayRef)))
}

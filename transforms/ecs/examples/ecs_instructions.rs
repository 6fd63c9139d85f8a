//! What a row costs: applies a mapping to example logs so many times, for an instruction counter to watch.
//!
//! ```text
//! cargo build --release -p transform-ecs --example ecs_instructions
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
//!     target/release/examples/ecs_instructions realtime 3
//! ```
//!
//! Names of fields behind that narrow the work to these. The instructions that were counted, divided by the rows (three
//! times those of the example file), are the price.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use forebay_api::{BoxError, Outputs, Transform, TransformConfig};
use forebay_codec::cloudfront::{REALTIME_FIELDS, STANDARD_FIELDS};
use forebay_codec::decompress::Decompressor;
use forebay_codec::types::Type;
use forebay_codec::{Limits, convert};
use transform_ecs::Ecs;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let job = arguments.next().ok_or("which job: `realtime`, `standard` or `nginx`?")?;
    let times: usize = arguments.next().ok_or("how many times?")?.parse()?;
    let (mapping, rows) = match job.as_str() {
        "realtime" => ("cloudfront_realtime", realtime()?),
        "standard" => ("cloudfront_standard", standard()?),
        "nginx" => ("nginx", nginx()?),
        other => return Err(format!("`{other}` is no job").into()),
    };
    let config: Ecs = toml::from_str(&format!("mapping = '{mapping}'"))?;
    let mut transform = config.build()?;
    transform.plan(&rows.schema())?;
    let used: BTreeSet<String> = arguments.collect();
    if !used.is_empty() {
        transform.narrow(&used).ok_or("it does not narrow its work")?;
    }
    for _ in 0..times {
        let out = measured(transform.as_mut(), &rows)?;
        assert!(out.refused().is_empty(), "{:?}", out.refused());
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn measured(transform: &mut dyn Transform, rows: &RecordBatch) -> Result<Outputs, BoxError> {
    let mut out = Outputs::new(rows.num_rows());
    transform.apply(rows.clone(), &mut out)?;
    Ok(out)
}

/// Columns as the preset of `regex` makes them: typed, without `-`.
fn realtime() -> Result<RecordBatch, BoxError> {
    let last = REALTIME_FIELDS.iter().position(|it| *it == "asn").ok_or("no `asn`")?;
    let fields: Vec<&str> = REALTIME_FIELDS[..=last].iter().copied().filter(|it| *it != "s-ip").collect();
    let kind = |field: &str| match field {
        "timestamp" => Type::EpochSeconds,
        "c-ip" => Type::Ip,
        "time-to-first-byte" | "time-taken" | "origin-fbl" | "origin-lbl" => Type::Decimal(6),
        "sc-status" | "c-port" => Type::U16,
        "fle-encrypted-fields" | "cs-headers-count" | "asn" => Type::U32,
        "sc-bytes" | "cs-bytes" | "sc-content-len" | "sc-range-start" | "sc-range-end" => Type::U64,
        _ => Type::Text,
    };
    rows("realtime/2026-11-02-12.gz", &fields, kind, Some("-"))
}

/// Columns as a file of the W3C format has them: all text, with `-`.
fn standard() -> Result<RecordBatch, BoxError> {
    rows("standard/EXAMPLE.2026-11-01-00.2f1c7a90.gz", &STANDARD_FIELDS[..33], |_| Type::Text, None)
}

/// A file of the example data.
fn text(file: &str) -> Result<String, BoxError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data").join(file);
    let mut input = Decompressor::new(File::open(path)?, Limits::default().object_bytes_max);
    let mut bytes = Vec::new();
    loop {
        let count = input.fill()?.len();
        if count == 0 {
            return Ok(String::from_utf8(bytes)?);
        }
        bytes.extend_from_slice(input.take(count));
    }
}

fn rows(file: &str, fields: &[&str], kind: impl Fn(&str) -> Type, null: Option<&str>) -> Result<RecordBatch, BoxError> {
    let text = text(file)?;
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    table(lines.map(|it| it.split('\t').collect()).collect(), fields, kind, null)
}

/// Columns as the preset of `regex` makes them.
fn nginx() -> Result<RecordBatch, BoxError> {
    const FIELDS: [&str; 7] =
        ["remote_addr", "time_local", "request", "status", "body_bytes_sent", "http_referer", "http_user_agent"];
    let text = text("nginx/access.log")?;
    let kind = |field: &str| match field {
        "time_local" => Type::Strftime("%d/%b/%Y:%H:%M:%S %z".to_owned()),
        "status" => Type::U16,
        "body_bytes_sent" => Type::U64,
        _ => Type::Text,
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let quoted: Vec<&str> = line.split('"').collect();
        let [before, request, numbers, referer, _, agent, ..] = quoted[..] else { continue };
        let (address, time) =
            (before.split(' ').next().unwrap_or_default(), before.split(['[', ']']).nth(1).unwrap_or_default());
        let (status, bytes) = numbers.trim().split_once(' ').unwrap_or_default();
        lines.push(vec![address, time, request, status, bytes, referer, agent]);
    }
    // As many as make a batch.
    let lines = lines.iter().cycle().take(4096).cloned().collect();
    table(lines, &FIELDS, kind, Some("-"))
}

fn table(
    lines: Vec<Vec<&str>>,
    fields: &[&str],
    kind: impl Fn(&str) -> Type,
    null: Option<&str>,
) -> Result<RecordBatch, BoxError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::with_capacity(fields.len());
    for (nth, name) in fields.iter().enumerate() {
        let kind = kind(name);
        let cells = lines.iter().map(|it| it.get(nth).copied().filter(|it| Some(*it) != null));
        columns.push((Field::new(*name, kind.data_type(), true), convert::column(&kind, cells, |_, _| ())));
    }
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

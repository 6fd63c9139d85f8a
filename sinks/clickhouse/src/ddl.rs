//! Statements that make the table, or add columns to it. Pure.
//!
//! The shape is that of logs: what happened at one host lies together, minute by minute, and a day is a partition that
//! can be taken away at once. Texts of which there are few become dictionaries, addresses 16 bytes. A text that is not
//! there is empty, as it is usual in ClickHouse; a number or a time that is not there is `NULL`, since zero is a number.

use std::collections::BTreeMap;

use arrow_schema::{Field, SchemaRef};
use forebay_api::Wrong;

use crate::cast::{Conversion, is_text};
use crate::types::Type;
use crate::{ClickHouse, sql};

/// Columns that say which host was asked, the best first.
const HOSTS: [&str; 7] =
    ["cs_host", "x_host_header", "url_domain", "destination_domain", "aws_cloudfront_domain", "host", "server_name"];

/// Columns that say when it happened, the best first; else it is the first time there is.
const TIMES: [&str; 3] = ["timestamp", "time", "event_start"];

/// The ends of names of texts of which there are few.
const FEW: [&str; 30] = [
    "accept",
    "accept_encoding",
    "browser",
    "category",
    "cipher",
    "country",
    "country_iso_code",
    "dataset",
    "distribution_dns_name",
    "distribution_id",
    "domain",
    "edge_location",
    "extension",
    "fle_status",
    "header_names",
    "host",
    "host_header",
    "kind",
    "location",
    "method",
    "mime_type",
    "outcome",
    "path_pattern",
    "protocol",
    "provider",
    "region",
    "scheme",
    "type",
    "user_agent",
    "version",
];

/// The name of a column in a table that this sink makes. Dots mean more in ClickHouse: arrays `a.b` and `a.c` are one
/// nested structure, and must be of one length.
pub(crate) fn plain_name(name: &str) -> String {
    name.trim_start_matches('@').replace('.', "_")
}

/// Checks what can be known before the table is looked at.
pub(crate) fn check(config: &ClickHouse, input: &SchemaRef) -> Result<(), Wrong> {
    let inserted = || input.fields().iter().filter(|it| !config.omit.contains(it.name()));
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for field in inserted() {
        let name = plain_name(field.name());
        if *field.name() == config.delivery_column || name == config.delivery_column {
            let what = format!("the rows have a column `{}`, which is the sink's own", field.name());
            return Err(Wrong::new("delivery_column", what).hint("give this sink's column another name"));
        }
        if let Some(other) = names.insert(name.clone(), field.name()) {
            let what = format!("columns `{other}` and `{}` would both be `{name}`", field.name());
            return Err(Wrong::new("omit", what).hint("leave one of them out"));
        }
        planned(config, field)?;
    }
    if names.is_empty() {
        return Err(Wrong::new("omit", "no column is left to insert"));
    }
    for given in config.columns.keys() {
        let is_column = |it: &&str| it == given || plain_name(it) == *given;
        if !names.values().any(is_column) {
            let what = format!("column `{given}` does not exist");
            return Err(Wrong::new(format!("columns.{given}"), what).known(given, names.keys().map(String::as_str)));
        }
    }
    if config.ttl.is_some_and(|it| it.duration().as_secs() == 0) {
        return Err(Wrong::new("ttl", "rows would be deleted at once"));
    }
    if config.ttl.is_some() && time(config, input).is_none() {
        return Err(Wrong::new("ttl", "no column says when a row happened"));
    }
    Ok(())
}

/// The type that the file gives a column, or that it gets in a table of ours; checks that values go there.
fn planned(config: &ClickHouse, field: &Field) -> Result<Type, Wrong> {
    let plain = plain_name(field.name());
    let given = config.columns.get_key_value(field.name()).or_else(|| config.columns.get_key_value(&plain));
    let Some((key, text)) = given else {
        return ours(field).ok_or_else(|| {
            let what =
                format!("column `{}` holds {}, for which ClickHouse has no type", field.name(), field.data_type());
            Wrong::new("omit", what).hint("make columns of it upstream, or leave it out with `omit`")
        });
    };
    let wrong = |what: String| Wrong::new(format!("columns.{key}"), what);
    let of = Type::parse(text).ok_or_else(|| wrong(format!("`{text}` is no type of ClickHouse")))?;
    match Conversion::new(field.data_type(), &of) {
        Some(_) => Ok(of),
        None => Err(wrong(format!("column `{}` holds {}, which is no {of}", field.name(), field.data_type()))),
    }
}

/// The type of a column in a table of ours.
fn ours(field: &Field) -> Option<Type> {
    let name = plain_name(field.name()).to_lowercase();
    let few = FEW.iter().any(|it| name.strip_suffix(it).is_some_and(|it| it.is_empty() || it.ends_with('_')))
        || name.ends_with("user_agent_original");
    let text = || match few {
        true => Type::LowCardinality(Box::new(Type::String)),
        false => Type::String,
    };
    Some(match Conversion::natural(field.data_type())? {
        Type::String if !is_text(field.data_type()) => Type::String,
        Type::String if name == "ip" || name.ends_with("_ip") => Type::Ipv6,
        Type::String => text(),
        Type::Array(item) if matches!(item.plain(), Type::String) => Type::Array(Box::new(text())),
        scalar @ (Type::LowCardinality(_) | Type::Array(_) | Type::Map(..)) => scalar,
        scalar if field.is_nullable() => Type::Nullable(Box::new(scalar)),
        scalar => scalar,
    })
}

/// The statement that makes a table, without the semicolon.
pub(crate) fn create(config: &ClickHouse, table: &str, input: &SchemaRef) -> Result<String, Wrong> {
    let time = time(config, input);
    let host = first(config, input, &HOSTS, |_| true);
    let order: Vec<String> = match &config.order_by {
        Some(given) => given.clone(),
        None => {
            let host = host.iter().map(|it| sql::name(it));
            let times = time.iter().flat_map(|it| [format!("toStartOfMinute({0})", sql::name(it)), sql::name(it)]);
            host.chain(times).collect()
        }
    };
    let partition = match &config.partition_by {
        Some(given) => Some(given.clone()).filter(|it| !it.trim().is_empty()),
        None => time.as_ref().map(|it| format!("toDate({})", sql::name(it))),
    };
    let keys = || order.iter().chain(&partition);
    let mut columns = Vec::new();
    for field in input.fields().iter().filter(|it| !config.omit.contains(it.name())) {
        let name = plain_name(field.name());
        let mut of = planned(config, field)?;
        // What rows are sorted by, and what partitions are made of, may not be missing.
        let is_key = time.as_ref() == Some(&name) || keys().any(|it| mentions(it, &name));
        if let (true, Type::Nullable(inner)) = (is_key, &of) {
            of = inner.as_ref().clone();
        }
        columns.push(format!("    {} {of}{}", sql::name(&name), codec(&of)));
    }
    if config.exactly_once {
        columns.push(format!("    {}", stamp(config)));
    }
    let mut statement = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n{}\n)\nENGINE = MergeTree\n",
        config.full_name(table),
        columns.join(",\n")
    );
    if let Some(partition) = &partition {
        statement.push_str(&format!("PARTITION BY {partition}\n"));
    }
    statement.push_str(&format!("ORDER BY ({})\n", order.join(", ")));
    let mut settings = vec!["non_replicated_deduplication_window = 10000"];
    if let (Some(ttl), Some(time)) = (config.ttl, &time) {
        let seconds = ttl.duration().as_secs();
        statement.push_str(&format!("TTL toDateTime({}) + INTERVAL {seconds} SECOND\n", sql::name(time)));
        if partition.is_some() {
            settings.push("ttl_only_drop_parts = 1");
        }
    }
    statement.push_str(&format!("SETTINGS {}", settings.join(", ")));
    Ok(statement)
}

/// Whether a column stands in an expression, quoted or not.
fn mentions(expression: &str, column: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    expression.contains(&sql::name(column)) || expression.split(|it| !is_part(it)).any(|it| it == column)
}

/// Columns with their types that a table lacks.
pub(crate) fn added(
    config: &ClickHouse,
    input: &SchemaRef,
    lacks: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Wrong> {
    let mut added = Vec::new();
    for field in input.fields().iter().filter(|it| !config.omit.contains(it.name())) {
        let name = plain_name(field.name());
        if lacks(field.name()) && lacks(&name) {
            let of = planned(config, field)?;
            added.push(format!("{} {of}{}", sql::name(&name), codec(&of)));
        }
    }
    if config.exactly_once && lacks(&config.delivery_column) {
        added.push(stamp(config));
    }
    Ok(added)
}

/// The column that holds the name of each row's INSERT.
fn stamp(config: &ClickHouse) -> String {
    format!("{} LowCardinality(String) CODEC(ZSTD(1))", sql::name(&config.delivery_column))
}

/// How a column is compressed, where that is not as always: times differ by little from one to the next, and free
/// texts are most of the bytes.
fn codec(of: &Type) -> &'static str {
    match of {
        it if it.is_time() => " CODEC(Delta, ZSTD(1))",
        Type::String => " CODEC(ZSTD(1))",
        _ => "",
    }
}

/// The column that says when a row happened.
fn time(config: &ClickHouse, input: &SchemaRef) -> Option<String> {
    let is_time = |it: &Field| planned(config, it).is_ok_and(|it| it.plain().is_time());
    let any: Vec<String> = input.fields().iter().map(|it| plain_name(it.name())).collect();
    let any: Vec<&str> = any.iter().map(String::as_str).collect();
    first(config, input, &TIMES, is_time).or_else(|| first(config, input, &any, is_time))
}

/// The first of these columns that is inserted.
fn first(config: &ClickHouse, input: &SchemaRef, names: &[&str], fits: impl Fn(&Field) -> bool) -> Option<String> {
    let inserted = input.fields().iter().filter(|it| !config.omit.contains(it.name()) && fits(it));
    let inserted: Vec<String> = inserted.map(|it| plain_name(it.name())).collect();
    names.iter().find_map(|name| inserted.iter().find(|it| it.eq_ignore_ascii_case(name)).cloned())
}

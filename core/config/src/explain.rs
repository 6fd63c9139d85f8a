//! Serde's messages in the words of this program.
//!
//! Serde speaks of fields, variants and Rust's types to a person who wrote keys and values in a file.

use std::ops::Range;

use serde_json::Value as Json;

use crate::keys;
use crate::problem::Problem;
use crate::read::{self, Subject};
use crate::registry::Kind;
use crate::shape;

/// Explains an error within a table.
pub(crate) fn bad_value(subject: &Subject<'_, '_>, message: &str, span: Range<usize>) -> Problem {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(subject, rest, span);
    }
    let at = read::schema_at(subject.table, subject.schema, &span);
    if let Some((given, known)) = message.strip_prefix("unknown variant ").and_then(given_and_known) {
        return Problem::new(span, format!("unknown value `{given}`")).known(given, known);
    }
    if let Some(key) = message.strip_prefix("missing field ").map(|it| it.trim_matches('`')) {
        let problem = Problem::new(span, format!("missing key `{key}`"));
        let schema = at.and_then(|(_, table)| shape::property(table, key));
        return with_description(problem, key, schema);
    }
    let secret = at.as_ref().is_some_and(|(_, schema)| shape::is_secret(schema));
    let title = expected(message, secret).unwrap_or_else(|| message.to_owned());
    let (key, schema) = at.unzip();
    with_description(Problem::new(span, title), &key.unwrap_or_default(), schema)
}

/// Explains that a key is not there.
pub(crate) fn missing_key(subject: &Subject<'_, '_>, key: &str) -> Problem {
    let problem = Problem::new(subject.header.clone(), format!("missing key `{key}`"))
        .label(format!("{} needs it", subject.what));
    with_description(problem, key, shape::property(subject.schema, key))
}

fn with_description(problem: Problem, key: &str, schema: Option<&Json>) -> Problem {
    match schema.and_then(|it| description(key, it)) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// `` `colum`, expected one of `a`, `b` `` after `unknown field`.
fn unknown_key(subject: &Subject<'_, '_>, rest: &str, span: Range<usize>) -> Problem {
    let Some((given, mut known)) = given_and_known(rest) else {
        let given = rest.split('`').nth(1).unwrap_or(rest);
        return Problem::new(span, format!("unknown key `{given}`")).label(format!("{} has no keys", subject.what));
    };
    let outermost = subject.table.keys().any(|it| it.span() == span);
    if outermost {
        known.extend(subject.other_keys.iter().map(String::as_str));
    }
    let problem = Problem::new(span, format!("unknown key `{given}`")).known(given, known);
    let owners: Vec<&str> = Kind::ALL.into_iter().filter(|it| keys::has(*it, given)).map(Kind::section).collect();
    if outermost && !owners.is_empty() {
        return problem.label(format!("only {} have `{given}`", owners.join(" and ")));
    }
    problem
}

/// The names in backticks: the first one is what was given, the others what would have worked.
fn given_and_known(message: &str) -> Option<(&str, Vec<&str>)> {
    let (given, rest) = message.strip_prefix('`')?.split_once("`, ")?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((given, known))
}

/// `` `path`: where the files go; for example `path = "./data"` ``
fn description(key: &str, schema: &Json) -> Option<String> {
    let summary = shape::summary(schema)?;
    let example = schema["examples"].get(0);
    Some(match example {
        Some(example) => format!("`{key}`: {summary} For example `{key} = {}`", toml_text(example)),
        None => format!("`{key}`: {summary}"),
    })
}

/// A JSON value as one writes it in TOML.
pub(crate) fn toml_text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(_) | Json::Number(_) => value.to_string(),
        // A literal string needs no escapes, which patterns are full of.
        Json::String(text) if text.contains('\\') && !text.contains('\'') => format!("'{text}'"),
        Json::String(_) => value.to_string(),
        Json::Array(list) => format!("[{}]", list.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Json::Object(table) if table.is_empty() => "{}".to_owned(),
        Json::Object(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{} = {}", toml_key(key), toml_text(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'));
    if bare { key.to_owned() } else { Json::String(key.to_owned()).to_string() }
}

/// `invalid type: string "x", expected u64` in plain words.
fn expected(message: &str, secret: bool) -> Option<String> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    let wanted = plain_type(wanted);
    if secret {
        return Some(format!("expected {wanted}, found another type of value"));
    }
    Some(format!("expected {wanted}, found {}", plain_value(found)))
}

/// What the words of this program for a Rust type are.
fn plain_type(wanted: &str) -> String {
    let plain = match wanted {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "u128" | "usize" => "a whole number, not below 0",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" | "path string" | "a character" => "text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("a nonzero u") => "a whole number from 1",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    plain.to_owned()
}

/// What serde says it found: ``string "x"``, ``integer `5` ``, `map`.
fn plain_value(found: &str) -> String {
    match found {
        "map" => return "a table".to_owned(),
        "sequence" => return "a list".to_owned(),
        _ => {}
    }
    let kinds = ["string ", "integer ", "floating point ", "boolean "];
    let value = kinds.into_iter().find_map(|it| found.strip_prefix(it)).unwrap_or(found);
    if value.starts_with('`') { value.to_owned() } else { format!("`{value}`") }
}

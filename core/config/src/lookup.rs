//! Values that do not stand in the file, but are named there: `{ env = "X" }`, `{ file = "…" }`.
//!
//! They are put in after the text was parsed, as values; text is never substituted.
//! A table is such a reference only where the component's schema wants no table with such keys: a column may be called
//! `env`.

use std::ops::Range;
use std::path::Path;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::shape;

/// Where values come from that the file only names. This crate opens nothing itself.
pub trait Lookup {
    /// The value of an environment variable, or why there is none: `is not set here`.
    fn variable(&self, name: &str) -> Result<String, String>;

    /// The text of a file, or why it cannot be had: `cannot be read here (permission denied)`.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Variable(String),
    File(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{path}`"),
        }
    }
}

/// A reference in the file, and what it came to.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) span: Range<usize>,
    pub(crate) origin: Origin,
    /// The value, or a stand-in.
    text: String,
    /// Whether the place wants a number or a boolean, which the text then has to spell.
    literal: bool,
    pub(crate) outcome: Outcome,
    /// Whether it is a secret. What a component plans does not hang on those.
    pub(crate) secret: bool,
}

/// What a reference came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A value.
    Value,
    /// The value is not to be had, for this reason.
    Missing(String),
    /// The reference is not a good one, which has been reported.
    Malformed,
}

impl Found {
    /// The value, if there is one; for hiding it.
    pub(crate) fn value(&self) -> Option<&str> {
        (self.outcome == Outcome::Value).then_some(self.text.as_str())
    }
}

/// Looks up everything that a table refers to.
pub(crate) fn collect(
    table: &DeTable<'_>,
    schema: &Json,
    lookup: &dyn Lookup,
    found: &mut Vec<Found>,
    problems: &mut Vec<Problem>,
) {
    for (key, value) in table {
        if let Some(schema) = shape::property(schema, key.get_ref()) {
            collect_value(value, schema, lookup, found, problems);
        }
    }
}

fn collect_value(
    value: &Spanned<DeValue<'_>>,
    schema: &Json,
    lookup: &dyn Lookup,
    found: &mut Vec<Found>,
    problems: &mut Vec<Problem>,
) {
    match value.get_ref() {
        DeValue::Table(table) if is_reference(table) && takes_reference(schema) => match reference(table) {
            Ok((origin, default)) => {
                let text = look_up(&origin, default, lookup);
                found.push(Found::new(value.span(), origin, text, schema));
            }
            Err(wrong) => {
                problems.extend(wrong);
                let nothing = Origin::File(String::new());
                found.push(Found::new(value.span(), nothing, Err(Outcome::Malformed), schema));
            }
        },
        DeValue::Table(table) if shape::takes(schema, "object") => collect(table, schema, lookup, found, problems),
        DeValue::Array(list) => {
            for item in list.iter() {
                if let Some(schema) = shape::element(schema) {
                    collect_value(item, schema, lookup, found, problems);
                }
            }
        }
        _ => {}
    }
}

/// Whether a reference may stand here: where no table is wanted, or text as well as one that has no such keys.
fn takes_reference(schema: &Json) -> bool {
    let has_such_keys = || ["env", "file"].into_iter().any(|it| shape::property(schema, it).is_some());
    !shape::takes(schema, "object") || shape::takes(schema, "string") && !has_such_keys()
}

/// Whether a table is meant as a reference, where one may stand.
pub(crate) fn is_reference(table: &DeTable<'_>) -> bool {
    table.contains_key("env") || table.contains_key("file")
}

/// Reads `{ env = "X", default = "…" }` or `{ file = "…" }`.
fn reference(table: &DeTable<'_>) -> Result<(Origin, Option<String>), Vec<Problem>> {
    let main = if table.contains_key("env") { "env" } else { "file" };
    let known: &[&str] = if main == "env" { &["env", "default"] } else { &["file"] };
    let mut problems: Vec<Problem> = table
        .keys()
        .filter(|it| !known.contains(&it.get_ref().as_ref()))
        .map(|it| {
            let unknown = Problem::new(it.span(), format!("unknown key `{}` beside `{main}`", it.get_ref()));
            unknown.known(it.get_ref(), known.iter().copied())
        })
        .collect();
    let name = table[main].get_ref().as_str();
    if name.is_none() {
        problems.push(Problem::new(table[main].span(), format!("`{main}` must be text")));
    }
    let default = table.get("default").filter(|_| main == "env");
    let spelled = default.and_then(|it| spell(it.get_ref()));
    if let Some(default) = default
        && spelled.is_none()
    {
        problems.push(Problem::new(default.span(), "`default` must be text, a number or a boolean"));
    }
    match name {
        Some(name) if problems.is_empty() => {
            let name = name.to_owned();
            Ok((if main == "env" { Origin::Variable(name) } else { Origin::File(name) }, spelled))
        }
        _ => Err(problems),
    }
}

/// The text of a scalar.
fn spell(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn look_up(origin: &Origin, default: Option<String>, lookup: &dyn Lookup) -> Result<String, Outcome> {
    match origin {
        Origin::Variable(name) => lookup.variable(name).or_else(|why| default.ok_or(Outcome::Missing(why))),
        // Files that hold one value usually end their one line.
        Origin::File(path) => {
            let text = lookup.file(Path::new(path)).map_err(Outcome::Missing)?;
            Ok(text.strip_suffix('\n').map_or(text.as_str(), |it| it.trim_end_matches('\r')).to_owned())
        }
    }
}

impl Found {
    fn new(span: Range<usize>, origin: Origin, text: Result<String, Outcome>, schema: &Json) -> Self {
        let (text, outcome) = match text {
            Ok(text) => (text, Outcome::Value),
            Err(outcome) => (shape::stand_in(schema), outcome),
        };
        let literal = !shape::takes(schema, "string")
            && ["integer", "number", "boolean"].into_iter().any(|it| shape::takes(schema, it));
        Self { span, origin, text, literal, outcome, secret: shape::is_secret(schema) }
    }

    fn to_value(&self) -> DeValue<'_> {
        let spelled = self.literal.then(|| DeValue::parse(self.text.trim()).ok()).flatten();
        match spelled.map(Spanned::into_inner) {
            Some(value @ (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))) => value,
            _ => DeValue::String(self.text.as_str().into()),
        }
    }
}

/// The same table with the values in the places of their references.
pub(crate) fn fill<'t>(table: &DeTable<'t>, found: &'t [Found]) -> DeTable<'t> {
    table.iter().map(|(key, value)| (key.clone(), fill_value(value, found))).collect()
}

fn fill_value<'t>(value: &Spanned<DeValue<'t>>, found: &'t [Found]) -> Spanned<DeValue<'t>> {
    let span = value.span();
    let filled = match value.get_ref() {
        DeValue::Table(table) => match found.iter().find(|it| it.span == span) {
            Some(found) => found.to_value(),
            None => DeValue::Table(fill(table, found)),
        },
        DeValue::Array(list) => {
            let mut filled = toml::de::DeArray::new();
            for item in list.iter() {
                filled.push(fill_value(item, found));
            }
            DeValue::Array(filled)
        }
        scalar => scalar.clone(),
    };
    Spanned::new(span, filled)
}

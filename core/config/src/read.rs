//! A table into a typed value, with every problem in it: not only the first one, as serde has it.

use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::explain;
use crate::problem::Problem;
use crate::shape;

/// A table to be read, and what messages about it need to know.
pub(crate) struct Subject<'a, 't> {
    /// How to name the table in a message: ``sink `console` ``.
    pub(crate) what: String,
    pub(crate) table: &'a DeTable<'t>,
    /// The place of its header, for what is missing in it.
    pub(crate) header: Range<usize>,
    pub(crate) schema: &'a Json,
    /// Keys that may stand in the same table, but are read by somebody else.
    pub(crate) other_keys: &'a [String],
}

/// What came of a table.
pub(crate) enum Reading<T> {
    /// It is good.
    Good(T),
    /// It is good but for these keys, which were left out.
    Partly(T),
    /// A value could not be made.
    Not,
}

impl<T> Reading<T> {
    /// The value, if all of it is good.
    pub(crate) fn good(self) -> Option<T> {
        match self {
            Self::Good(value) => Some(value),
            Self::Partly(_) | Self::Not => None,
        }
    }

    /// The value, whatever was left out.
    pub(crate) fn any(self) -> Option<T> {
        match self {
            Self::Good(value) | Self::Partly(value) => Some(value),
            Self::Not => None,
        }
    }
}

/// Reads a table. Serde stops at the first bad key: that key is left out, and the rest is read again.
pub(crate) fn table<T>(
    subject: &Subject<'_, '_>,
    read: impl for<'t> Fn(Spanned<DeTable<'t>>) -> Result<T, toml::de::Error>,
    problems: &mut Vec<Problem>,
) -> Reading<T> {
    let mut rest = subject.table.clone();
    loop {
        let error = match read(Spanned::new(subject.header.clone(), rest.clone())) {
            Ok(value) if rest.len() == subject.table.len() => return Reading::Good(value),
            Ok(value) => return Reading::Partly(value),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(subject.header.clone());
        let bad_key = rest.iter().find(|(key, value)| covers(key, value, &span)).map(|(key, _)| key.clone());
        match bad_key {
            Some(key) => {
                problems.push(explain::bad_value(subject, error.message(), span));
                rest.remove(key.get_ref().as_ref());
            }
            None => {
                // What is left to go wrong concerns the table as a whole: most of the time a missing key.
                let meant = misspelt(subject);
                let there = |it: &&str| subject.table.contains_key(*it) || meant.contains(it);
                let missing: Vec<&str> = shape::required(subject.schema).filter(|it| !there(it)).collect();
                problems.extend(missing.iter().map(|it| explain::missing_key(subject, it)));
                let left_out = rest.len() < subject.table.len();
                if missing.is_empty() && !left_out {
                    problems.push(explain::bad_value(subject, error.message(), span));
                }
                return Reading::Not;
            }
        }
    }
}

/// The keys of the schema that unknown keys of the table are probably meant to be.
fn misspelt<'s>(subject: &Subject<'s, '_>) -> Vec<&'s str> {
    let Some(known) = subject.schema["properties"].as_object() else { return Vec::new() };
    let given = subject.table.keys().map(|it| it.get_ref().as_ref());
    let unknown = given.filter(|it| !known.contains_key(*it));
    unknown.filter_map(|it| forebay_api::nearest(it, known.keys().map(String::as_str))).collect()
}

/// Whether an entry of a table is the one in which an error is.
fn covers(key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    within(key.span()) || any_span(value, &within)
}

/// Whether a value, or one in it, has such a place. Tables with headers do not enclose what is in them.
fn any_span(value: &Spanned<DeValue<'_>>, fits: &dyn Fn(Range<usize>) -> bool) -> bool {
    fits(value.span())
        || match value.get_ref() {
            DeValue::Table(table) => any_entry(table, fits),
            DeValue::Array(list) => list.iter().any(|it| any_span(it, fits)),
            _ => false,
        }
}

/// Whether a key or value in a table has such a place.
pub(crate) fn any_entry(table: &DeTable<'_>, fits: &dyn Fn(Range<usize>) -> bool) -> bool {
    table.iter().any(|(key, value)| fits(key.span()) || any_span(value, fits))
}

/// The place of the value of a key: `types.sc_status`, `columns.2`. Names of keys may have dots themselves.
pub(crate) fn place(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    if let Some(value) = table.get(key) {
        return Some(value.span());
    }
    let mut dots = key.match_indices('.').map(|it| it.0);
    dots.find_map(|dot| place_in(table.get(&key[..dot])?, &key[dot + 1..]))
}

fn place_in(value: &Spanned<DeValue<'_>>, key: &str) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Table(table) => place(table, key),
        DeValue::Array(list) => {
            let (index, rest) = key.split_once('.').map_or((key, None), |(index, rest)| (index, Some(rest)));
            let item = list.get(index.parse::<usize>().ok()?)?;
            rest.map_or_else(|| Some(item.span()), |rest| place_in(item, rest))
        }
        _ => None,
    }
}

/// The schema of the value that stands at a place, and the name of its key.
pub(crate) fn schema_at<'s>(table: &DeTable<'_>, schema: &'s Json, span: &Range<usize>) -> Option<(String, &'s Json)> {
    for (key, value) in table {
        let Some(inner) = shape::property(schema, key.get_ref()) else {
            continue;
        };
        let name = key.get_ref().clone().into_owned();
        if let Some(found) = schema_in(value, inner, span, &name) {
            return Some(found);
        }
    }
    None
}

fn schema_in<'s>(
    value: &Spanned<DeValue<'_>>,
    schema: &'s Json,
    span: &Range<usize>,
    name: &str,
) -> Option<(String, &'s Json)> {
    if value.span() == *span {
        return Some((name.to_owned(), schema));
    }
    match value.get_ref() {
        DeValue::Table(table) => schema_at(table, schema, span),
        DeValue::Array(list) => {
            let element = shape::element(schema)?;
            list.iter().find_map(|it| schema_in(it, element, span, name))
        }
        _ => None,
    }
}

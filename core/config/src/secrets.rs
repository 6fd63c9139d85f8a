//! Keeps secrets and looked-up values out of what is printed.

use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::lookup::{self, Found};
use crate::problem::Problem;
use crate::shape;

/// The places of secrets that stand in a table as they are.
pub(crate) fn places(table: &DeTable<'_>, schema: &Json, places: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let given = key.get_ref().as_ref();
        // A misspelt key still holds its secret, and its line is quoted.
        let meant = shape::property(schema, given).or_else(|| {
            let known = schema["properties"].as_object()?;
            shape::property(schema, forebay_api::nearest(given, known.keys().map(String::as_str))?)
        });
        if let Some(schema) = meant {
            places_in(value, schema, places);
        }
    }
}

fn places_in(value: &Spanned<DeValue<'_>>, schema: &Json, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) if !shape::takes(schema, "object") && lookup::is_reference(table) => {}
        _ if shape::is_secret(schema) => found.push(value.span()),
        DeValue::Table(table) => places(table, schema, found),
        DeValue::Array(list) => {
            if let Some(element) = shape::element(schema) {
                list.iter().for_each(|it| places_in(it, element, found));
            }
        }
        _ => {}
    }
}

/// The text with stars in these places: as many bytes, so that every other place stays where it is.
pub(crate) fn mask(text: &str, places: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let hidden = letter != '\n' && places.iter().any(|it| it.contains(&at));
        if hidden {
            masked.extend(std::iter::repeat_n('*', letter.len_utf8()));
        } else {
            masked.push(letter);
        }
    }
    masked
}

/// Takes looked-up values out of a message, which may quote them.
pub(crate) fn hide(problem: &mut Problem, found: &[Found]) {
    if let Some(found) = found.iter().find(|it| it.span == problem.span) {
        // A message about the value itself may quote it in any form.
        problem.title = format!("the value of {} does not fit here", found.origin);
        problem.label = None;
    }
    let texts = [Some(&mut problem.title), problem.label.as_mut(), problem.help.as_mut()];
    for text in texts.into_iter().flatten() {
        for value in found.iter().filter_map(Found::value) {
            let escaped = format!("{value:?}");
            for value in [value, escaped.trim_matches('"')] {
                *text = without(text, value);
            }
        }
    }
}

/// The text with stars for each `value`. A short one might be part of any word: it counts only where it stands alone.
fn without(text: &str, value: &str) -> String {
    if value.is_empty() {
        return text.to_owned();
    }
    let mut rest = text;
    let mut clean = String::new();
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        let joins = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
        let part_of_word =
            value.chars().count() < 4 && (joins(before.chars().next_back()) || joins(after.chars().next()));
        clean.push_str(before);
        clean.push_str(if part_of_word { value } else { "***" });
        rest = after;
    }
    clean + rest
}

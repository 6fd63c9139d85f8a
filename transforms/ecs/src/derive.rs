//! Fields that follow from other fields, for the ready mappings.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, StringArray};

use crate::convert::rewritten;

/// A field, and the fields that it follows from. Of two rows for one field the first counts whose inputs are there.
pub(crate) struct Derived {
    pub(crate) field: &'static str,
    pub(crate) from: From,
    /// Gets those of `from` that are there, in that order.
    pub(crate) derive: fn(&[ArrayRef]) -> ArrayRef,
}

/// The inputs of a derived field.
pub(crate) enum From {
    /// It exists if all of these do.
    All(&'static [&'static str]),
    /// It exists if one of these does.
    Any(&'static [&'static str]),
}

#[rustfmt::skip]
pub(crate) const DERIVED: &[Derived] = &[
    all(&["http.request.id"], "event.id", same),
    all(&["http.response.status_code"], "event.outcome", outcome),
    all(&["source.ip"], "network.type", network_type),
    all(&["destination.domain"], "url.domain", same),
    all(&["network.protocol"], "url.scheme", same),
    all(&["url.path"], "url.extension", extension),
    all(&["network.protocol", "destination.address", "url.path", "url.query"], "url.full", url),
    all(&["network.protocol", "destination.address", "url.path"], "url.full", url),
    any(&["destination.domain", "aws.cloudfront.domain"], "related.hosts", distinct),
    any(&["source.ip", "network.forwarded_ip", "destination.ip"], "related.ip", distinct),
];

type Derive = fn(&[ArrayRef]) -> ArrayRef;

const fn all(from: &'static [&'static str], field: &'static str, derive: Derive) -> Derived {
    Derived { field, from: From::All(from), derive }
}

const fn any(from: &'static [&'static str], field: &'static str, derive: Derive) -> Derived {
    Derived { field, from: From::Any(from), derive }
}

impl From {
    /// The inputs that there are, if they are enough.
    pub(crate) fn present(&self, exists: impl Fn(&str) -> bool) -> Option<Vec<&'static str>> {
        match self {
            Self::All(fields) => fields.iter().all(|it| exists(it)).then(|| fields.to_vec()),
            Self::Any(fields) => {
                let present: Vec<_> = fields.iter().copied().filter(|it| exists(it)).collect();
                (!present.is_empty()).then_some(present)
            }
        }
    }
}

fn same(fields: &[ArrayRef]) -> ArrayRef {
    fields[0].clone()
}

/// CloudFront logs status 000 where the viewer left before the answer.
fn outcome(fields: &[ArrayRef]) -> ArrayRef {
    let outcome = |status| {
        if (1..400).contains(&status) { "success" } else { "failure" }
    };
    let outcomes = fields[0].as_primitive::<Int64Type>().iter().map(|it| it.map(outcome));
    Arc::new(outcomes.collect::<StringArray>())
}

fn network_type(fields: &[ArrayRef]) -> ArrayRef {
    rewritten(&fields[0], |it| Some(if it.contains(':') { "ipv6" } else { "ipv4" }.into()))
}

/// What stands behind the last dot of the last segment, unless the dot begins or ends it.
fn extension(fields: &[ArrayRef]) -> ArrayRef {
    rewritten(&fields[0], |path| {
        let segment = path.rsplit_once('/').map_or(path, |(_, last)| last);
        let (name, extension) = segment.rsplit_once('.')?;
        (!name.is_empty() && !extension.is_empty()).then_some(extension.into())
    })
}

/// Scheme, host with port, path and, perhaps, query.
fn url(fields: &[ArrayRef]) -> ArrayRef {
    let texts: Vec<&StringArray> = fields.iter().map(|it| it.as_string::<i32>()).collect();
    let (query, parts) = match texts.as_slice() {
        [parts @ .., query] if texts.len() == 4 => (Some(*query), parts),
        parts => (None, parts),
    };
    let mut urls = StringBuilder::new();
    let mut url = String::new();
    for row in 0..parts[0].len() {
        if parts.iter().any(|it| it.is_null(row)) {
            urls.append_null();
            continue;
        }
        url.clear();
        for (part, separator) in parts.iter().zip(["://", "", ""]) {
            url.push_str(part.value(row));
            url.push_str(separator);
        }
        if let Some(query) = query.filter(|it| it.is_valid(row)) {
            url.push('?');
            url.push_str(query.value(row));
        }
        urls.append_value(&url);
    }
    Arc::new(urls.finish())
}

/// All values of a row, each once, in order. A row without values is null.
fn distinct(fields: &[ArrayRef]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut seen = HashSet::new();
    for row in 0..fields[0].len() {
        seen.clear();
        for text in fields.iter().flat_map(|it| texts(it, row)) {
            if seen.insert(text) {
                lists.values().append_value(text);
            }
        }
        lists.append(!seen.is_empty());
    }
    Arc::new(lists.finish())
}

/// The texts in a row of a column of text, or of lists of text.
fn texts(column: &ArrayRef, row: usize) -> impl Iterator<Item = &str> {
    let (values, range) = match column.as_list_opt::<i32>() {
        Some(lists) => {
            let ends = lists.value_offsets();
            (lists.values().as_string::<i32>(), ends[row] as usize..ends[row + 1] as usize)
        }
        None => (column.as_string::<i32>(), row..row + 1),
    };
    range.filter(|it| values.is_valid(*it)).map(|it| values.value(it))
}

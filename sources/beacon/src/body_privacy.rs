//! What the file says must not leave the spool of a body: fields, and parameters of queries.

use std::borrow::Cow;

use forebay_codec::scan::Kind;

use crate::events::quote;
use crate::privacy::STRIPPED;
use crate::values::{Pair, unescaped};

/// Fields whose values are URLs, which may be relative ones. So are those of all other fields of the name `url`.
const URLS: [&str; 5] = ["url.full", "url.original", "event.url", "http.request.referrer", "log.origin.file.name"];
/// The query of one, and its fragment.
const QUERY: &str = "url.query";
const FRAGMENT: &str = "url.fragment";
/// The field of texts in which URLs are followed by places in files.
const STACK: &str = "error.stack_trace";
/// A line or a column of a place has no more digits than this.
const PLACE_DIGITS_MAX: usize = 7;

/// The fields and parameters that are removed.
#[derive(Clone, Debug, Default)]
pub struct BodyPrivacy {
    /// With all below them.
    pub removed: Vec<String>,
    /// The same, but only as far as events say them themselves: the server knows better.
    pub hidden: &'static [&'static str],
    /// The parameters that are kept; `None`: all.
    pub parameters: Option<Vec<String>>,
}

impl BodyPrivacy {
    /// Whether there is something to remove from an event.
    pub fn applies(&self, is_stripped: bool) -> bool {
        is_stripped || !self.removed.is_empty() || !self.hidden.is_empty() || self.parameters.is_some()
    }

    /// Whether a value that an event has is kept, or what [`BodyPrivacy::value`] makes of it.
    pub fn keeps(&self, pair: &Pair<'_>, is_stripped: bool) -> bool {
        let also = if is_stripped { &STRIPPED[..] } else { &[] };
        let mut removed = self.removed.iter().map(String::as_str);
        let mut hidden = self.hidden.iter().chain(also).copied();
        !removed.any(|it| concerns(pair, it)) && !hidden.any(|it| concerns(pair, it)) && !self.hides_query(pair)
    }

    /// Whether a value has, or may have, what cannot be cut out of it: it is a fragment, or no text.
    fn hides_query(&self, pair: &Pair<'_>) -> bool {
        let Some(parameters) = &self.parameters else { return false };
        let is_uncut = |field: &str| concerns(pair, field) && !(pair.kind == Kind::Text && pair.path == field);
        let has_url = || {
            let plain = unescaped(pair.raw);
            kept_text(&plain, parameters, false) != plain
        };
        concerns(pair, FRAGMENT)
            || URLS.into_iter().chain([QUERY]).any(is_uncut)
            || (pair.kind == Kind::Array && has_url())
    }

    /// Whether a field that the server fills is kept.
    pub fn keeps_of_head(&self, path: &str) -> bool {
        !self.removed.iter().any(|it| lies_in(path, it))
    }

    /// The value of a field as it may be kept.
    pub fn value<'a>(&self, path: &str, value: Cow<'a, str>) -> Cow<'a, str> {
        let Some(parameters) = &self.parameters else { return value };
        if path == QUERY {
            return kept_query(&value, parameters).into();
        }
        if value.find(MARKS).is_none() {
            return value;
        }
        match URLS.contains(&path) || path == "url" || path.ends_with(".url") {
            true => kept_url(&value, parameters).into(),
            false => kept_text(&value, parameters, path == STACK).into(),
        }
    }

    /// An event as it may be kept, in one object with the paths as names.
    pub fn event(&self, pairs: &[Pair<'_>], is_stripped: bool) -> String {
        let mut json = String::from("{");
        for pair in pairs.iter().filter(|it| self.keeps(it, is_stripped)) {
            if json.len() > 1 {
                json.push(',');
            }
            quote(&pair.path, &mut json);
            json.push(':');
            match pair.kind {
                Kind::Text => quote(&self.value(&pair.path, pair.text()), &mut json),
                _ => pair.json(&mut json),
            }
        }
        json.push('}');
        json
    }
}

/// Whether a value is that of a field, lies below it, or is an array that may hold it.
fn concerns(pair: &Pair<'_>, field: &str) -> bool {
    let may_hold = pair.kind == Kind::Array && (pair.path.is_empty() || lies_in(field, &pair.path));
    may_hold || lies_in(&pair.path, field)
}

fn lies_in(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|it| it.is_empty() || it.starts_with('.'))
}

/// What a query and a fragment begin with.
const MARKS: [char; 2] = ['?', '#'];

/// A URL without its fragment, and without the parameters that are not kept.
fn kept_url(url: &str, parameters: &[String]) -> String {
    let (before, rest) = url.split_at(url.find(MARKS).unwrap_or(url.len()));
    let query = rest.strip_prefix('?').and_then(|it| it.split('#').next()).unwrap_or_default();
    let query = kept_query(query, parameters);
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{before}{mark}{query}")
}

/// A text in which all that looks like a URL is cut down. `has_places`: behind a URL may be a place in its file.
fn kept_text(text: &str, parameters: &[String], has_places: bool) -> String {
    // Brackets and quotes, of which a text may have some around a URL, may stand in a query too. These never do.
    let is_end = |it: char| it.is_ascii_whitespace() || it.is_ascii_control() || matches!(it, '"' | '<' | '>');
    let mut kept = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_end) {
        let word = piece.strip_suffix(is_end).unwrap_or(piece);
        let is_url = word.find(MARKS).is_some_and(|it| word[it..].contains('=') || word.contains("://"));
        if is_url {
            let url = if has_places { without_place(word) } else { word };
            kept.push_str(&kept_url(url, parameters));
            kept.push_str(&word[url.len()..]);
        } else {
            kept.push_str(word);
        }
        kept.push_str(&piece[word.len()..]);
    }
    kept
}

/// A URL of a stack frame without the line and the column behind it, as in `https://e.com/a.js:12:34)`.
fn without_place(word: &str) -> &str {
    let number = |text: &'_ str| -> Option<usize> {
        let (before, digits) = text.rsplit_once(':')?;
        let is_number = (1..=PLACE_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
        is_number.then_some(before.len())
    };
    let place = word.strip_suffix(')').unwrap_or(word);
    let line = number(place).and_then(|column| number(&place[..column]));
    line.map_or(word, |it| &word[..it])
}

fn kept_query(query: &str, parameters: &[String]) -> String {
    let keeps = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        parameters.iter().any(|it| it == name)
    };
    // Some servers take `;` for `&`.
    query.split(['&', ';']).filter(keeps).collect::<Vec<_>>().join("&")
}

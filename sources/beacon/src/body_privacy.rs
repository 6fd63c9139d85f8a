//! What the file says must not leave the spool of a body: fields, and parameters of queries.

use std::borrow::Cow;

use forebay_codec::scan::Kind;

use crate::events::{Pair, quote};
use crate::privacy::STRIPPED;

/// Fields whose values are URLs, or the query of one.
const URLS: [&str; 3] = ["url.full", "url.original", "http.request.referrer"];
const QUERY: &str = "url.query";

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

    /// Whether a value may have a query that cannot be cut down, because it is no text.
    fn hides_query(&self, pair: &Pair<'_>) -> bool {
        let has_query = |field: &str| concerns(pair, field) && !(pair.kind == Kind::Text && pair.path == field);
        self.parameters.is_some() && URLS.into_iter().chain([QUERY]).any(has_query)
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
        if !URLS.contains(&path) {
            return value;
        }
        let Some((before, rest)) = value.split_once('?') else { return value };
        let (query, fragment) = rest.find('#').map_or((rest, ""), |at| rest.split_at(at));
        let query = kept_query(query, parameters);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{before}{mark}{query}{fragment}").into()
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

fn kept_query(query: &str, parameters: &[String]) -> String {
    let keeps = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        parameters.iter().any(|it| it == name)
    };
    query.split('&').filter(keeps).collect::<Vec<_>>().join("&")
}

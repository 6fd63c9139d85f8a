//! What the file says must not leave the spool: fields, and parameters of queries.

use std::borrow::Cow;

use forebay_codec::scan::Kind;

use crate::events::{Pair, quote};
use crate::privacy::STRIPPED;

/// Fields whose values are URLs, or the query of one.
const URLS: [&str; 3] = ["url.full", "url.original", "http.request.referrer"];
const QUERY: &str = "url.query";

/// The fields and parameters that are removed.
#[derive(Clone, Debug, Default)]
pub struct Tidy {
    /// With all below them.
    pub removed: Vec<String>,
    /// The same, but only as far as events say them themselves: the server knows better.
    pub hidden: &'static [&'static str],
    /// The parameters that are kept; `None`: all.
    pub parameters: Option<Vec<String>>,
}

impl Tidy {
    /// Whether there is something to remove from an event.
    pub fn applies(&self, is_stripped: bool) -> bool {
        is_stripped || !self.removed.is_empty() || !self.hidden.is_empty() || self.parameters.is_some()
    }

    /// Whether a field that an event has is kept.
    pub fn keeps(&self, path: &str, is_stripped: bool) -> bool {
        let also = if is_stripped { &STRIPPED[..] } else { &[] };
        self.keeps_of_head(path) && !self.hidden.iter().chain(also).any(|it| lies_in(path, it))
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
        for pair in pairs.iter().filter(|it| self.keeps(&it.path, is_stripped)) {
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

//! The values of an event, by the paths that lead to them, and the columns that these are.

use std::borrow::Cow;
use std::fmt;

use forebay_codec::scan::{Kind, Malformed, Scanner, Text, unescape};
use forebay_codec::{Names, Paths, Target};

use crate::columns::Layout;

/// The values of an event, and the bytes of a path that leads to one. Nobody's events have as many, and what is done for each
/// value, or with its path, is bounded by this.
pub const VALUES_MAX: usize = 1000;
pub const PATH_BYTES_MAX: usize = 1024;

/// A value of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The keys with dots between them, as the event has them after their escapes.
    pub path: Cow<'a, str>,
    /// The column of this path.
    pub column: Option<usize>,
    pub kind: Kind,
    /// The value as it stands there; of a string without its quotes.
    pub raw: &'a str,
    /// Where that begins in the text that was read.
    pub at: usize,
    /// A string has escapes.
    pub is_escaped: bool,
}

impl<'a> Pair<'a> {
    /// A string as the characters that it stands for, anything else as it was written.
    pub fn text(&self) -> Cow<'a, str> {
        match self.is_escaped {
            true => unescaped(self.raw).into(),
            false => self.raw.into(),
        }
    }

    /// The value as JSON.
    pub fn json(&self, to: &mut String) {
        match self.kind {
            Kind::Text => {
                to.push('"');
                to.push_str(self.raw);
                to.push('"');
            }
            _ => to.push_str(self.raw),
        }
    }
}

/// The characters that a string with escapes stands for.
pub fn unescaped(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    unescape(raw, &mut plain);
    plain
}

/// What is known about keys.
pub struct Keys<'a, 'n> {
    pub layout: &'a Layout,
    pub names: &'n mut Names,
}

/// Why an event has no values.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    Malformed(Malformed),
    NoObject(Kind),
    TooManyValues,
    LongPath,
}

impl From<Malformed> for Unfit {
    fn from(it: Malformed) -> Self {
        Self::Malformed(it)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(it) => write!(f, "it is not JSON: {} at byte {}", it.what, it.at + 1),
            Self::NoObject(kind) => write!(f, "it is {}, not an object", kind.noun()),
            Self::TooManyValues => write!(f, "it has more than {VALUES_MAX} values"),
            Self::LongPath => {
                write!(f, "it has a key of more than {PATH_BYTES_MAX} bytes, those around it included")
            }
        }
    }
}

/// Passes over an event, and puts its values in place of what `pairs` holds. Objects are taken apart, arrays are not; of
/// equal paths the last one counts. A value that stands as an object in a field that is one (`labels`) is taken apart too.
///
/// # Errors
///
/// At the first thing that is wrong: `scan` stands there, and `pairs` holds the values before it.
pub fn values<'a>(scan: &mut Scanner<'a>, keys: &mut Keys<'a, '_>, pairs: &mut Vec<Pair<'a>>) -> Result<(), Unfit> {
    pairs.clear();
    keys.names.begin();
    match scan.kind()? {
        Kind::Object => Walk { scan, keys, pairs }.object("", Some(Paths::ROOT), 0),
        other => Err(Unfit::NoObject(other)),
    }
}

/// One way through an event.
struct Walk<'a, 'w, 'n> {
    scan: &'w mut Scanner<'a>,
    keys: &'w mut Keys<'a, 'n>,
    pairs: &'w mut Vec<Pair<'a>>,
}

impl<'a> Walk<'a, '_, '_> {
    /// An object inside of so many others. `node`: where its path leads, if that is nearer to some columns.
    fn object(&mut self, under: &str, node: Option<usize>, depth: usize) -> Result<(), Unfit> {
        self.scan.open(depth)?;
        if self.scan.space() == Some(b'}') {
            self.scan.at += 1;
            return Ok(());
        }
        loop {
            self.scan.expect(b'"', "there is no name")?;
            let (name, target) = self.name(node)?;
            if under.len() + 1 + name.range().len() > PATH_BYTES_MAX {
                return Err(Unfit::LongPath);
            }
            self.scan.expect(b':', "there is no `:`")?;
            let kind = self.scan.kind()?;
            if kind == Kind::Object {
                let path = self.path(under, name, target);
                let inner = match target {
                    // An empty key at the top leads nowhere, and what is in there stands at the top too.
                    _ if path.is_empty() => Some(Paths::ROOT),
                    Target::Node(inner) => Some(inner),
                    Target::Column(_) | Target::Unknown => None,
                };
                self.object(&path, inner, depth + 1)?;
            } else if self.pairs.len() == VALUES_MAX {
                return Err(Unfit::TooManyValues);
            } else {
                let value = self.value(kind, depth)?;
                let column = match target {
                    Target::Column(column) => Some(column),
                    Target::Node(_) | Target::Unknown => None,
                };
                let path = self.path(under, name, target);
                let raw = &self.scan.text()[value.range()];
                self.pairs.push(Pair { path, column, kind, raw, at: value.start, is_escaped: value.escaped });
            }
            if self.scan.next(b'}')? {
                return Ok(());
            }
        }
    }

    /// Passes over a name, from after its first quote, and finds where it leads.
    fn name(&mut self, node: Option<usize>) -> Result<(Text, Target), Malformed> {
        let Some(node) = node else { return Ok((self.scan.string()?, Target::Unknown)) };
        let start = self.scan.at;
        if let Some((bytes, target)) = self.keys.names.expected(node, self.scan.rest()) {
            self.scan.at += bytes;
            return Ok((Text { start, end: self.scan.at - 1, escaped: false }, target));
        }
        let name = self.scan.string()?;
        let raw = &self.scan.text()[name.range()];
        let paths = &self.keys.layout.paths;
        let target = match name.escaped {
            true => paths.find(node, &unescaped(raw)),
            false => self.keys.names.find(paths, node, raw),
        };
        Ok((name, target))
    }

    /// Passes over a value that is no object: where it stands, of a string without its quotes.
    fn value(&mut self, kind: Kind, depth: usize) -> Result<Text, Malformed> {
        if kind == Kind::Text {
            self.scan.at += 1;
            return self.scan.string();
        }
        let start = self.scan.at;
        self.scan.skip(kind, depth + 1)?;
        Ok(Text { start, end: self.scan.at, escaped: false })
    }

    /// The path of a name. Most paths stand somewhere already.
    fn path(&self, under: &str, name: Text, target: Target) -> Cow<'a, str> {
        let raw = || &self.scan.text()[name.range()];
        match target {
            Target::Column(column) => self.keys.layout.columns[column].0.as_str().into(),
            _ if under.is_empty() && !name.escaped => raw().into(),
            _ => {
                let raw = raw();
                let mut path = String::with_capacity(under.len() + 1 + raw.len());
                if !under.is_empty() {
                    path.push_str(under);
                    path.push('.');
                }
                unescape(raw, &mut path);
                path.into()
            }
        }
    }
}

//! What stands in the file: one struct for each component, types that can only hold good values,
//! and an error that knows the key it is about.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::{DataType, Schema};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The configuration of a component: a struct whose doc comments are its reference page.
///
/// Derive `Deserialize` with `#[serde(deny_unknown_fields)]` and `JsonSchema`; never `flatten` or `untagged`,
/// which lose the place of an error. Give fields types that can only hold good values, and the error of a bad
/// value has its line for free.
pub trait Config: DeserializeOwned + JsonSchema + 'static {
    /// The component's name in `type = "…"`: its folder's name.
    const TYPE: &'static str;
}

/// An error in the file, found while planning, that knows the key it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The key within the component's table, with dots for keys of inner tables: `types.sc_status`.
    /// Empty: the component as a whole.
    pub key: String,
    /// What is wrong: one line, lower case, literals in backticks.
    pub what: String,
    /// The short text under the mark, for example ``did you mean `column`?``.
    pub label: Option<String>,
    /// What would have worked.
    pub hint: Option<String>,
}

impl Wrong {
    /// Says what is wrong with the value of `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), label: None, hint: None }
    }

    /// Adds the short text under the mark.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what would have worked.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Offers the nearest of the known names as label, and all of them as hint.
    #[must_use]
    pub fn known<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = format!("known: {}", known.join(", "));
        let wrong = match nearest(given, known.iter().copied()) {
            Some(near) => self.label(format!("did you mean `{near}`?")),
            None => self,
        };
        if known.is_empty() { wrong } else { wrong.hint(hint) }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

/// Finds the column that the value of `key` names, or says which ones there are.
pub fn column(input: &Schema, key: &str, name: &str) -> Result<usize, Wrong> {
    input.index_of(name).map_err(|_| {
        Wrong::new(key, format!("column `{name}` does not exist"))
            .known(name, input.fields().iter().map(|it| it.name().as_str()))
    })
}

/// Checks that the column that the value of `key` names holds what is `wanted`, in words: `text`, `a timestamp`.
pub fn same_type(
    input: &Schema,
    key: &str,
    name: &str,
    wanted: &str,
    fits: impl Fn(&DataType) -> bool,
) -> Result<usize, Wrong> {
    let index = column(input, key, name)?;
    let found = input.field(index).data_type();
    if fits(found) {
        return Ok(index);
    }
    Err(Wrong::new(key, format!("column `{name}` must hold {wanted}, but holds {found}")))
}

/// The candidate that `given` was probably meant to be, if one is near enough, or goes on where `given` stops:
/// `rows` for `rows_max`.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |it: &str| it.to_lowercase().replace(['-', '.', ' '], "_");
    let given = plain(given);
    let budget = (given.chars().count() / 3).max(1);
    let distance = |it: &str| match plain(it).strip_prefix(&given) {
        Some(rest) if rest.starts_with('_') => budget,
        _ => strsim::damerau_levenshtein(&given, &plain(it)),
    };
    candidates
        .into_iter()
        .map(|it| (distance(it), it))
        .filter(|(distance, _)| *distance <= budget)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// A value in the reason of a refusal: on one line, and not much longer than one.
pub fn shown(value: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut shown = String::new();
    for (nth, character) in value.chars().enumerate() {
        if nth == CHARACTERS_MAX {
            shown.push('…');
            break;
        }
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// Something that two components cannot use at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A TCP port to listen on, of one address or, if that is `0.0.0.0` or `[::]`, of all.
    Port(SocketAddr),
    /// A directory that the component writes to and takes to be its own.
    Directory(PathBuf),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Directory(path) => write!(f, "directory {}", path.display()),
        }
    }
}

/// A kind of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon Athena, over the Glue catalog.
    Athena,
    /// ClickHouse.
    ClickHouse,
    /// DuckDB.
    DuckDb,
}

/// Where a person finds what was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Whereabouts {
    /// The place: a path, a URL, a table.
    pub at: String,
    /// A command that shows the rows.
    pub query: Option<String>,
}

/// A value that never prints itself.
// `writeOnly` is how the schema tells messages about the file not to quote it from there either.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A number of bytes, written with its unit: `"64MiB"`, `"500KB"`, `"1GiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+ *(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)$"))]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        with_unit(&text, &BYTE_UNITS).map(Self).ok_or_else(|| {
            format!("`{text}` is not a size: write a number and a unit, such as \"64MiB\", \"500KB\" or \"1GiB\"")
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = largest_unit(self.0, &BYTE_UNITS);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A length of time, written with its unit: `"200ms"`, `"5s"`, `"10m"`, `"1h"`, `"7d"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+ *(ms|s|m|h|d)$"))]
pub struct Age(pub Duration);

const AGE_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Age {
    /// So many seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// So many milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// The length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        with_unit(&text, &AGE_UNITS).map(Self::millis).ok_or_else(|| {
            format!("`{text}` is not a length of time: write a number and a unit, such as \"200ms\", \"5s\" or \"10m\"")
        })
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        let (unit, factor) = largest_unit(millis, &AGE_UNITS);
        write!(f, "{}{unit}", millis / factor)
    }
}

impl Serialize for Age {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `<digits><unit>`.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.trim().parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit that divides `value`.
fn largest_unit(value: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    let divides = |it: &&(&str, u64)| value >= it.1 && value.is_multiple_of(it.1);
    let largest = units.iter().filter(divides).max_by_key(|it| it.1);
    largest.or(units.iter().min_by_key(|it| it.1)).copied().unwrap_or(("", 1))
}

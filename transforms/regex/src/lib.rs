//! The `regex` transform: named groups become typed columns.

mod apply;
mod lower;
mod matcher;
mod pattern;
mod piece;
mod preset;
mod scan;
mod search;
mod separated;
mod set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use forebay_api::{BoxError, Config, Transform, TransformConfig, Wrong};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::apply::Extract;
use crate::matcher::Matcher;
pub use crate::pattern::Pattern;
pub use crate::preset::Preset;
pub use forebay_codec::types::Type;

/// Takes text apart: each named group of a pattern becomes a typed column.
///
/// Exactly one of `pattern`, `patterns` and `preset` says what to match. The columns come in the order in which the
/// groups stand, and after them those of `keep`. A row that does not match, or holds a value that is not of its type,
/// is refused with the reason.
///
/// Where the next character alone decides how a pattern goes on, as in `^(?<a>[^\t]*)\t(?<b>[^\t]*)$`, it is lowered to
/// a scanner that walks a line once and finds what the regex engine would, many times faster. Classes that end at a
/// delimiter (`[^ ]*` before a blank, `[^"]*` before a quote) make it so; where all fields of a line end at the same
/// character, all of them are found at once. Parts for which more must be kept in mind (`GET|POST|PUT`, `(?:a;)*`) become
/// pieces for a one-pass automaton, if what stands behind them tells where they end. What is left is matched by the
/// engine, in a time that grows with the length of the line and never faster. `forebay check --explain` says what became
/// of a pattern, and why.
///
/// Columns of text that nothing behind this transform uses are not built; others are read, so that the same rows are
/// refused whoever uses them. A pattern may have 64 KiB, and 10 MiB when it is compiled; how long a line may be is said by its source.
///
/// ```toml
/// [transforms.parse]
/// type = "regex"
/// inputs = ["nginx"]
/// pattern = '^(?<client>\S+) - (?<user>\S+) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?<bytes>\d+)'
/// types = { client = "ip", time = "timestamp:%d/%b/%Y:%H:%M:%S %z", status = "u16", bytes = "u64" }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regex {
    /// The column that holds the text. Default: `"message"`.
    #[serde(default = "message")]
    pub column: String,

    /// A pattern with named groups, in the syntax of the [regex](https://docs.rs/regex/latest/regex/#syntax) crate:
    /// `'^(?<method>[A-Z]+) (?<path>\S+)$'`. It may match anywhere in the text unless it is anchored by `^` and `$`.
    pub pattern: Option<Pattern>,

    /// Several patterns, of which the first that matches gives the values. The columns are the groups of all of them;
    /// a group that the matching pattern does not have is null.
    pub patterns: Option<Vec<Pattern>>,

    /// A ready pattern with ready types: `"cloudfront_realtime"`, `"alb"`, `"s3_access"`, `"nginx"` or `"apache"`. The
    /// mappings of the same names of the `ecs` transform are made for their columns.
    pub preset: Option<Preset>,

    /// For `preset = "cloudfront_realtime"`: the fields that the real-time log configuration names, in any order, since
    /// CloudFront always delivers them in its own. `timestamp` becomes the column `timestamp`, `c-ip` becomes `c_ip`.
    /// Default: the first 46 fields of CloudFront's list without `s-ip`.
    pub fields: Option<Vec<String>>,

    /// The type of each group that is not plain text, for example `{ status = "u16", time = "timestamp:epoch_s" }`.
    /// With a preset: types that differ from the preset's.
    ///
    /// | type | reads | column |
    /// |--|--|--|
    /// | `text` | anything | Utf8 |
    /// | `percent_decoded` | text in which `%XX` stands for a byte, decoded once | Utf8 |
    /// | `i8` `i16` `i32` `i64` `u8` `u16` `u32` `u64` | a whole number, leading zeros allowed | the same |
    /// | `f32` `f64` | a finite number | the same |
    /// | `decimal:N` | a number of at most 18 digits, N of them behind the point, kept exactly | Decimal128(18, N) |
    /// | `bool` | `true` or `false` | Boolean |
    /// | `ip` | an IPv4 or IPv6 address, written in its canonical form | Utf8 |
    /// | `timestamp:epoch_s` | seconds since 1970, with or without a fraction | Timestamp(ms, UTC) |
    /// | `timestamp:epoch_ms` | milliseconds since 1970 | Timestamp(ms, UTC) |
    /// | `timestamp:rfc3339` | `2026-11-21T22:04:00.123Z` | Timestamp(ms, UTC) |
    /// | `timestamp:FORMAT` | a time in the directives of [strftime](https://docs.rs/jiff/latest/jiff/fmt/strtime/), UTC unless it says | Timestamp(ms, UTC) |
    ///
    /// Digits of a time that are finer than a millisecond are cut off. The `ecs` transform decodes what its mappings want
    /// decoded: leave such a group as `text` before it.
    #[serde(default)]
    pub types: BTreeMap<String, Type>,

    /// The text of a group that means that there is no value. Default: `"-"`.
    #[serde(default = "dash")]
    pub null: String,

    /// Columns of the input that are carried along, for example `["key"]`. Default: none.
    #[serde(default)]
    pub keep: Vec<String>,
}

fn message() -> String {
    "message".to_owned()
}

fn dash() -> String {
    "-".to_owned()
}

impl Config for Regex {
    const TYPE: &'static str = "regex";
}

impl TransformConfig for Regex {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(self.extract()?))
    }

    fn explain(&self) -> Vec<String> {
        self.extract().map(|it| it.matcher().paths()).unwrap_or_default()
    }
}

impl Regex {
    fn extract(&self) -> Result<Extract, Wrong> {
        let (matcher, mut types, fields) = match self.what()? {
            What::Patterns(patterns) => (Matcher::new(patterns), BTreeMap::new(), None),
            What::Preset(preset) => {
                let ready = preset::ready(preset, self.fields.as_deref())?;
                (Matcher::new(&ready.patterns), ready.types, ready.fields)
            }
        };
        for (group, kind) in &self.types {
            if !matcher.columns().contains(group) {
                let wrong = Wrong::new(format!("types.{group}"), format!("no group is named `{group}`"));
                return Err(wrong.known(group, matcher.columns().iter().map(String::as_str)));
            }
            types.insert(group.clone(), kind.clone());
        }
        let types = matcher.columns().iter().map(|it| types.remove(it).unwrap_or(Type::Text)).collect();
        Ok(Extract::new(self.column.clone(), matcher, types, self.null.clone(), self.keep.clone(), fields))
    }

    /// The one thing that says what to match.
    fn what(&self) -> Result<What<'_>, Wrong> {
        if self.fields.is_some() && self.preset.is_none() {
            return Err(Wrong::new("fields", "`fields` is for a `preset`"));
        }
        match (&self.pattern, &self.patterns, self.preset) {
            (Some(pattern), None, None) => Ok(What::Patterns(std::slice::from_ref(pattern))),
            (None, Some(patterns), None) if patterns.is_empty() => {
                Err(Wrong::new("patterns", "there is no pattern in the list"))
            }
            (None, Some(patterns), None) => Ok(What::Patterns(patterns)),
            (None, None, Some(preset)) => Ok(What::Preset(preset)),
            (None, None, None) => {
                Err(Wrong::new("", "nothing says what to match").hint("give one of `pattern`, `patterns` and `preset`"))
            }
            (Some(_), Some(_), _) => Err(only_one("patterns", "pattern")),
            (Some(_), None, Some(_)) => Err(only_one("preset", "pattern")),
            (None, Some(_), Some(_)) => Err(only_one("preset", "patterns")),
        }
    }
}

enum What<'a> {
    Patterns(&'a [Pattern]),
    Preset(Preset),
}

fn only_one(key: &str, other: &str) -> Wrong {
    Wrong::new(key, format!("`{key}` cannot stand beside `{other}`"))
        .hint("give exactly one of `pattern`, `patterns` and `preset`")
}

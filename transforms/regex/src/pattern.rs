//! A pattern that was compiled while the file was read, so that an error in it has its place there.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;
use schemars::JsonSchema;
use serde::Deserialize;

/// A pattern may be so many bytes long: a hundred times what a log with many fields needs.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// Compiled, a pattern may take so many bytes. Counted classes (`\w{1000}`) are what makes a short pattern large, and a
/// large one slow: the time for a line is bounded by the product of both lengths.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// Groups, classes and repetitions may stand within each other so many times.
const NESTED_MAX: u32 = 250;

/// A regular expression with at least one named group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("format" = "regex"))]
pub struct Pattern(Regex);

impl Pattern {
    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// The pattern taken apart, with the same rules as the compiled expression.
    pub(crate) fn syntax(&self) -> Hir {
        let mut parser = ParserBuilder::new().nest_limit(NESTED_MAX).build();
        parser.parse(self.0.as_str()).expect("a pattern that compiled can be taken apart")
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern has {} bytes, of {PATTERN_BYTES_MAX} at most", text.len()));
        }
        let limited = RegexBuilder::new(&text).size_limit(COMPILED_BYTES_MAX).nest_limit(NESTED_MAX).build();
        let regex = limited.map_err(|error| readable(&text, &error))?;
        if regex.capture_names().flatten().next().is_none() {
            return Err("the pattern has no named group: write `(?<name>…)` around what is to become a column".into());
        }
        Ok(Self(regex))
    }
}

/// The regex crate draws the pattern with a mark under the place, over several lines. This makes one line of it.
fn readable(pattern: &str, error: &regex::Error) -> String {
    let drawn = match error {
        regex::Error::CompiledTooBig(bytes) => {
            return format!("the compiled pattern would exceed {bytes} bytes");
        }
        other => other.to_string(),
    };
    let reason = drawn.lines().rev().find_map(|it| it.strip_prefix("error: ")).unwrap_or(&drawn);
    match marked(pattern, &drawn) {
        Some(place) => format!("not a regular expression: {reason} at `{place}`"),
        None => format!("not a regular expression: {reason}"),
    }
}

/// The text of a one-line pattern from the mark on, as much as tells the place.
fn marked(pattern: &str, drawn: &str) -> Option<String> {
    const INDENT: usize = 4;
    const SHOWN: usize = 20;
    let mark = drawn.lines().find(|it| it.trim_start().starts_with('^') && it.trim().trim_matches('^').is_empty())?;
    let column = (mark.len() - mark.trim_start().len()).checked_sub(INDENT)?;
    let place: String = pattern.chars().skip(column).take(SHOWN).collect();
    (!place.is_empty() && !pattern.contains('\n')).then_some(place)
}

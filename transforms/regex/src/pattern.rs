//! A pattern that was compiled while the file was read, so that an error in it has its place there.

use regex::Regex;
use regex_syntax::hir::Hir;
use schemars::JsonSchema;
use serde::Deserialize;

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
        regex_syntax::parse(self.0.as_str()).expect("a pattern that compiled can be taken apart")
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let regex = Regex::new(&text).map_err(|error| readable(&text, &error))?;
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

//! Which keys are read.

use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which keys are read: a pattern in which `*` stays within a name and `**` does not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct KeyPattern(GlobMatcher);

impl KeyPattern {
    /// Whether a key below `path` is meant. Unfinished and hidden ones are not, whatever the pattern says, nor are the
    /// empty objects that stand for directories in some buckets.
    pub fn is_match(&self, key: &str) -> bool {
        let is_directory = key.is_empty() || key.ends_with('/');
        !is_directory && !key.split('/').any(is_passed_over) && self.0.is_match(key)
    }

    /// What every key begins with that is meant.
    pub fn literal_head(&self) -> &str {
        let pattern = self.0.glob().glob();
        &pattern[..pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len())]
    }
}

/// Whether files and directories of this name are passed over: hidden ones, notes of other programs (`_SUCCESS`), and
/// files that are being written.
pub fn is_passed_over(name: &str) -> bool {
    name.starts_with(['.', '_']) || name.ends_with(".tmp")
}

impl TryFrom<String> for KeyPattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        glob.map(|it| Self(it.compile_matcher()))
            .map_err(|error| format!("`{pattern}` is not a pattern: {}", error.kind()))
    }
}

impl Default for KeyPattern {
    fn default() -> Self {
        Self::try_from("**".to_owned()).expect("`**` is a pattern")
    }
}

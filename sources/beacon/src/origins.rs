//! Which pages may send.

use schemars::JsonSchema;
use serde::Deserialize;

/// An origin, such as `https://example.com`, or with `*.` before its name all hosts below it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Origin {
    /// `https://`
    scheme: String,
    /// The host with its port, if that is not the usual one.
    host: String,
    /// Hosts below that are meant, not itself.
    is_below: bool,
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not an origin: write a scheme and a host, such as \"https://example.com\" or \"https://*.example.com\""
            )
        };
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let (is_below, host) = host.strip_prefix("*.").map_or((false, host), |it| (true, it));
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"-._:[]".contains(&it);
        if !matches!(scheme, "http" | "https") || host.is_empty() || !host.bytes().all(fits) {
            return Err(wrong());
        }
        Ok(Self { scheme: format!("{scheme}://"), host: host.to_lowercase(), is_below })
    }
}

impl Origin {
    /// Whether this is what a browser sends as `Origin`: it writes schemes and hosts in lower case.
    pub fn allows(&self, origin: &str) -> bool {
        let Some(host) = origin.strip_prefix(self.scheme.as_str()) else { return false };
        match self.is_below {
            false => host == self.host,
            true => host.strip_suffix(self.host.as_str()).is_some_and(|it| it.len() > 1 && it.ends_with('.')),
        }
    }
}

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
        if text == "*" {
            return Err("`*` is not an origin: leave `origins` away, and the pages of all may send".to_owned());
        }
        let wrong = || {
            format!(
                "`{text}` is not an origin: write a scheme and a host, such as \"https://example.com\" or \"https://*.example.com\""
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (is_below, rest) = rest.strip_prefix("*.").map_or((false, rest), |it| (true, it));
        let usual_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong()),
        };
        // An IPv6 address has colons of its own, in brackets.
        let behind_host = rest.rfind(']').map_or(0, |it| it + 1);
        let (host, port) = match rest[behind_host..].find(':').map(|it| rest.split_at(behind_host + it)) {
            Some((host, port)) => (host, Some(port[1..].parse::<u16>().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        let is_address = host.starts_with('[') && host.ends_with(']');
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it) || is_address && b":[]".contains(&it);
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(wrong());
        }
        // Browsers leave the usual port out.
        let port = port.filter(|it| *it != usual_port).map_or(String::new(), |it| format!(":{it}"));
        Ok(Self { scheme: format!("{scheme}://"), host: host.to_lowercase() + &port, is_below })
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

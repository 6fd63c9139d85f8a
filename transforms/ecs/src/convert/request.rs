//! Request lines: `GET /index.html HTTP/1.1`, and what comes in their place from scanners and broken clients.

use memchr::{memchr, memrchr};

/// The parts of a request line, where they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine<'a> {
    pub(crate) method: Option<&'a str>,
    pub(crate) target: Option<&'a str>,
    /// The number behind `HTTP/`.
    pub(crate) version: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Takes a line apart. A part that is `-` or empty is not there; a line that begins with no method is a target as a
    /// whole, so that nothing of it is lost.
    pub(crate) fn of(line: &'a str) -> Self {
        let line = if line.ends_with(' ') { line.trim_end_matches(' ') } else { line };
        let Some((method, rest)) = method(line) else {
            return Self { method: None, target: there(line), version: None };
        };
        let (target, version) = match memrchr(b' ', rest.as_bytes()) {
            Some(blank) => match &rest[blank + 1..] {
                "-" => (&rest[..blank], None),
                last => match last.strip_prefix("HTTP/") {
                    Some(version) => (&rest[..blank], there(version)),
                    None => (rest, None),
                },
            },
            None => (rest, None),
        };
        Self { method: there(method), target: there(target), version }
    }
}

fn there(part: &str) -> Option<&str> {
    (!matches!(part, "" | "-")).then_some(part)
}

/// The method, and what follows the blank behind it.
fn method(line: &str) -> Option<(&str, &str)> {
    const LENGTH_MAX: usize = 32;
    // Nearly all of them, without a look at each character.
    for known in ["GET", "POST", "HEAD"] {
        if let Some(rest) = line.strip_prefix(known).and_then(|it| it.strip_prefix(' ')) {
            return Some((known, rest));
        }
    }
    let bytes = line.as_bytes();
    let end = memchr(b' ', &bytes[..bytes.len().min(LENGTH_MAX + 1)])?;
    let is_method = bytes[..end].iter().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    (is_method && end > 0).then(|| (&line[..end], &line[end + 1..]))
}

/// The parts of a request's target in the forms that RFC 9112 (section 3.2) gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: Option<&'a str>,
    /// The host without its port. An IPv6 address keeps its brackets.
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<&'a str>,
    /// What stands behind the first question mark; empty if there is nothing behind it.
    pub(crate) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Takes a target apart. Of a form without a path, as `*` and `host:port` are, there are no parts.
    pub(crate) fn of(target: &'a str) -> Self {
        if target.starts_with('/') {
            let (path, query) = path_and_query(target);
            return Self { path: Some(path), query, ..Self::default() };
        }
        let Some((scheme, rest)) = scheme(target) else {
            return Self::default();
        };
        let end = rest.bytes().position(|it| matches!(it, b'/' | b'?')).unwrap_or(rest.len());
        let (host, port) = host_and_port(&rest[..end]);
        let (path, query) = path_and_query(&rest[end..]);
        Self { scheme: Some(scheme), host: there(host), port, path: there(path), query }
    }
}

/// What stands before `://`, and what follows it.
pub(crate) fn scheme(target: &str) -> Option<(&str, &str)> {
    let is_scheme = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
    let end = target.bytes().position(|it| !is_scheme(it)).filter(|it| *it > 0)?;
    Some((&target[..end], target[end..].strip_prefix("://")?))
}

/// The parts before and behind the first question mark.
pub(crate) fn path_and_query(target: &str) -> (&str, Option<&str>) {
    match memchr(b'?', target.as_bytes()) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// Takes `www.example.com:443` apart. For a request that has no path, a load balancer writes `-` behind the port.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            match port.strip_suffix('-').unwrap_or(port).parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (authority, None),
            }
        }
        _ => (authority, None),
    }
}

//! What becomes of single texts.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use memchr::{memchr, memrchr};
use percent_encoding::percent_decode_str;

use super::request::path_and_query;
use crate::texts::{Change, Memo, changed, holds, holds_any, rewritten};

pub(super) fn lowercase(texts: &StringArray) -> ArrayRef {
    if !holds_any(texts, |it| it.is_ascii_uppercase()) {
        return shared(texts);
    }
    rewritten(texts, |_, text, buffer| match text {
        // What CloudFront calls them in every row.
        "IPv4" => Change::To("ipv4"),
        "IPv6" => Change::To("ipv6"),
        _ => {
            buffer.push_str(text);
            buffer.make_ascii_lowercase();
            Change::Written
        }
    })
}

/// Decodes once. What is not UTF-8 then stays as it was logged.
pub(super) fn percent_decoded(texts: &StringArray) -> ArrayRef {
    if !holds(texts, b'%') {
        return shared(texts);
    }
    let mut memo = Memo::new();
    let decoded = |text| match percent_decode_str(text).decode_utf8() {
        Ok(Cow::Owned(decoded)) => Some(decoded),
        Ok(Cow::Borrowed(_)) | Err(_) => None,
    };
    rewritten(texts, |_, text, buffer| memo.write(text, buffer, decoded))
}

/// Undoes what nginx and Apache do to a text. What is not UTF-8 then stays as it was logged.
pub(super) fn unescaped(texts: &StringArray) -> ArrayRef {
    if !holds(texts, b'\\') {
        return shared(texts);
    }
    rewritten(texts, |_, text, buffer| match without_escapes(text) {
        Some(text) => {
            buffer.push_str(&text);
            Change::Written
        }
        None => Change::Keep,
    })
}

/// The text that a web server escaped: with `\xXX` for a byte, as nginx and Apache write it, or as Apache does with the
/// escapes of C. `None` if there was nothing to undo.
pub(super) fn without_escapes(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    memchr(b'\\', rest)?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(at) = memchr(b'\\', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let (byte, length) = match rest[at + 1..] {
            [b'x', high, low, ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (high * 16 + low, 4),
                _ => (b'\\', 1),
            },
            [b'n', ..] => (b'\n', 2),
            [b't', ..] => (b'\t', 2),
            [b'r', ..] => (b'\r', 2),
            [b'b', ..] => (0x08, 2),
            [b'v', ..] => (0x0b, 2),
            [b'f', ..] => (0x0c, 2),
            [quoted @ (b'"' | b'\\'), ..] => (quoted, 2),
            _ => (b'\\', 1),
        };
        bytes.push(byte);
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest);
    String::from_utf8(bytes).ok().filter(|it| it != text)
}

fn digit(hexadecimal: u8) -> Option<u8> {
    char::from(hexadecimal).to_digit(16).map(|it| it as u8)
}

pub(super) fn http_version(texts: &StringArray) -> ArrayRef {
    changed(texts, |_, text| text.strip_prefix("HTTP/").map_or(Change::Keep, Change::To))
}

/// `tls` of `TLSv1.2`, `ssl` of `SSLv3`.
pub(super) fn tls_protocol(texts: &StringArray) -> ArrayRef {
    rewritten(texts, |_, text, buffer| match tls(text).0 {
        "TLS" => Change::To("tls"),
        "SSL" => Change::To("ssl"),
        other => {
            buffer.push_str(other);
            buffer.make_ascii_lowercase();
            Change::Written
        }
    })
}

pub(super) fn tls_version(texts: &StringArray) -> ArrayRef {
    changed(texts, |_, text| Change::to_option(tls(text).1))
}

/// Protocol and version of `TLSv1.2` and `SSLv3`.
fn tls(text: &str) -> (&str, Option<&str>) {
    // Nearly all of them.
    if let Some(version) = text.strip_prefix("TLSv") {
        return ("TLS", (!version.is_empty()).then_some(version));
    }
    match text.bytes().position(|it| it.is_ascii_digit()) {
        Some(digit) => (text[..digit].trim_end_matches('v'), Some(&text[digit..])),
        None => (text, None),
    }
}

/// Hosts without their ports. An IPv6 address keeps its brackets.
pub(super) fn host_name(texts: &StringArray) -> ArrayRef {
    if !holds(texts, b':') {
        return shared(texts);
    }
    let is_port = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    changed(texts, |_, host| match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => Change::To(name),
        _ => Change::Keep,
    })
}

pub(super) fn before_question_mark(texts: &StringArray) -> ArrayRef {
    if !holds(texts, b'?') {
        return shared(texts);
    }
    changed(texts, |_, text| match path_and_query(text) {
        (path, Some(_)) => Change::To(path),
        (_, None) => Change::Keep,
    })
}

/// What stands behind the first question mark; without one, what `queries` has in that row.
pub(super) fn behind_question_mark(uris: &StringArray, queries: Option<&ArrayRef>) -> ArrayRef {
    let queries = queries.map(|it| it.as_string::<i32>());
    if let (false, Some(queries)) = (holds(uris, b'?'), queries) {
        return shared(queries);
    }
    let rows = uris.iter().enumerate().map(|(row, uri)| {
        let own = uri.and_then(|it| path_and_query(it).1);
        own.or_else(|| queries.filter(|it| it.is_valid(row)).map(|it| it.value(row)))
    });
    Arc::new(StringArray::from_iter(rows))
}

/// The root of a trace in an `X-Amzn-Trace-Id` header: `1-5833…` of `Root=1-5833…;Self=…`. Without one, the text.
pub(super) fn trace_root(texts: &StringArray) -> ArrayRef {
    changed(texts, |_, text| {
        let root = text.split(';').find_map(|it| it.strip_prefix("Root="));
        root.map_or(Change::Keep, Change::To)
    })
}

/// The host of `192.0.2.1:443` and `[fe80::1]:443`, without brackets.
pub(super) fn endpoint_host(texts: &StringArray) -> ArrayRef {
    changed(texts, |_, text| match memrchr(b':', text.as_bytes()) {
        Some(colon) => Change::To(text[..colon].trim_matches(['[', ']'])),
        None => Change::Keep,
    })
}

/// The port of `192.0.2.1:443`, if it has one.
pub(super) fn endpoint_port(endpoint: &str) -> Option<&str> {
    memrchr(b':', endpoint.as_bytes()).map(|it| &endpoint[it + 1..]).filter(|it| *it != "-")
}

fn shared(texts: &StringArray) -> ArrayRef {
    Arc::new(texts.clone())
}

//! IP addresses, and what stands in their place.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{Array, ArrayRef, StringArray, new_null_array};
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::fields::{Field, FieldType};
use crate::texts::{Change, changed, rewritten};

/// The addresses of X-Forwarded-For, where anybody may write anything: with blanks, with ports, and with nonsense.
pub(super) fn addresses(texts: &StringArray) -> ArrayRef {
    if texts.null_count() == texts.len() {
        return new_null_array(&Field { kind: FieldType::Ip, list: true }.data_type(), texts.len());
    }
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), texts.len());
    for text in texts {
        let mut found = false;
        for item in text.into_iter().flat_map(|it| it.split(',')) {
            let decoded = match memchr(b'%', item.as_bytes()) {
                Some(_) => percent_decode_str(item).decode_utf8_lossy(),
                None => item.into(),
            };
            let item = decoded.trim();
            let with_port = || Some(SocketAddr::from_str(item).ok()?.ip().to_string().into());
            if let Some(address) = canonical(item).or_else(with_port) {
                lists.values().append_value(address);
                found = true;
            }
        }
        lists.append(found);
    }
    Arc::new(lists.finish())
}

/// Addresses in canonical form; what is no address is null.
pub(super) fn only_addresses(texts: &StringArray) -> ArrayRef {
    rewritten(texts, |_, text, buffer| address(text, buffer).unwrap_or(Change::Null))
}

/// What is no address.
pub(super) fn no_addresses(texts: &StringArray) -> ArrayRef {
    let is_address = |it: &str| is_canonical_ipv4(it.as_bytes()) || IpAddr::from_str(it).is_ok();
    changed(texts, |_, text| if is_address(text) { Change::Null } else { Change::Keep })
}

/// What makes an address canonical, if it is one.
pub(super) fn address<'a>(text: &'a str, buffer: &mut String) -> Option<Change<'a>> {
    if is_canonical_ipv4(text.as_bytes()) || is_canonical_ipv6(text.as_bytes()) {
        return Some(Change::Keep);
    }
    write!(buffer, "{}", IpAddr::from_str(text).ok()?).ok()?;
    Some(Change::Written)
}

/// The canonical form of an address, if it is one.
pub(crate) fn canonical(text: &str) -> Option<Cow<'_, str>> {
    let mut buffer = String::new();
    Some(match address(text, &mut buffer)? {
        Change::Written => buffer.into(),
        _ => text.into(),
    })
}

/// Whether this is an IPv4 address. There is only one way to write one.
fn is_canonical_ipv4(text: &[u8]) -> bool {
    let (mut dots, mut digits, mut value) = (0, 0, 0_u32);
    for byte in text {
        if *byte == b'.' {
            if digits == 0 {
                return false;
            }
            (dots, digits, value) = (dots + 1, 0, 0);
            continue;
        }
        let digit = u32::from(byte.wrapping_sub(b'0'));
        let leading_zero = digits > 0 && value == 0;
        value = value * 10 + digit;
        digits += 1;
        if digit > 9 || leading_zero || value > 255 {
            return false;
        }
    }
    dots == 3 && digits > 0
}

/// Whether this is an IPv6 address as RFC 5952 wants it written. Those that hold an IPv4 address are left to the
/// standard library; so is every doubt.
fn is_canonical_ipv6(text: &[u8]) -> bool {
    const GROUPS: usize = 8;
    // How many groups there are, how many of them before `::`, and how many zeros end at this place.
    let (mut groups, mut gap, mut zeros) = (0, None, 0);
    // The longest runs of zeros, of all and before `::`.
    let (mut longest, mut longest_before) = (0, 0);
    let mut at = 0;
    if text.starts_with(b"::") {
        (gap, at) = (Some(0), 2);
    }
    while at < text.len() {
        let start = at;
        while text.get(at).is_some_and(|it| LOWER_HEX[usize::from(*it)]) {
            at += 1;
        }
        let zero = text[start..at] == *b"0";
        let well_written = matches!(at - start, 1..=4) && (zero || text[start] != b'0');
        // A zero beside the gap would be part of it.
        if !well_written || (zero && gap == Some(groups)) {
            return false;
        }
        groups += 1;
        zeros = if zero { zeros + 1 } else { 0 };
        longest = longest.max(zeros);
        match text[at..] {
            [] => {}
            [b':', b':', ..] if gap.is_none() && !zero => {
                (gap, longest_before) = (Some(groups), longest);
                at += 2;
            }
            [b':', next, ..] if next != b':' => at += 1,
            _ => return false,
        }
    }
    match gap {
        None => groups == GROUPS && longest < 2,
        Some(_) => {
            // The longest run of zeros is left out, the first of several; and `::ffff:…` is an IPv4 address.
            let left_out = GROUPS.saturating_sub(groups);
            left_out >= 2 && longest_before < left_out && longest <= left_out && !text.starts_with(b"::ffff:")
        }
    }
}

/// The digits of hexadecimal numbers, as RFC 5952 wants them.
const LOWER_HEX: [bool; 256] = {
    let mut digits = [false; 256];
    let mut byte = 0;
    while byte < digits.len() {
        digits[byte] = matches!(byte as u8, b'0'..=b'9' | b'a'..=b'f');
        byte += 1;
    }
    digits
};

//! The fields of `url`.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};

use crate::convert::request::{Target, path_and_query, scheme as scheme_of};
use crate::texts::{Change, bytes, changed, rewritten};

/// What stands behind the last dot of the last segment, unless the dot begins or ends it.
pub(crate) fn extension(fields: &[ArrayRef]) -> ArrayRef {
    changed(fields[0].as_string(), |_, path| Change::to_option(extension_of(path)))
}

fn extension_of(path: &str) -> Option<&str> {
    // Most extensions are a few characters long, so that the way from the end is short.
    let dot = path.bytes().rposition(|it| matches!(it, b'.' | b'/'))?;
    let begins_the_segment = dot == 0 || path.as_bytes()[dot - 1] == b'/';
    let (at, extension) = path[dot..].split_at(1);
    (at == "." && !begins_the_segment && !extension.is_empty()).then_some(extension)
}

/// Scheme, host with port, path and, perhaps, query.
pub(crate) fn full(fields: &[ArrayRef]) -> ArrayRef {
    let texts: Vec<&StringArray> = fields.iter().map(|it| it.as_string::<i32>()).collect();
    let [schemes, hosts, paths] = [texts[0], texts[1], texts[2]];
    let queries = texts.get(3).copied();
    let rows = schemes.len();
    let separators = rows * "://?".len();
    let length = texts.iter().map(|it| bytes(it).len()).sum::<usize>() + separators;
    let mut urls = StringBuilder::with_capacity(rows, length);
    let parts = schemes.iter().zip(hosts).zip(paths).enumerate();
    for (row, parts) in parts {
        let ((Some(scheme), Some(host)), Some(path)) = parts else {
            urls.append_null();
            continue;
        };
        let mut put = |part: &str| urls.write_str(part).expect("memory takes every text");
        put(scheme);
        put("://");
        put(host);
        put(path);
        if let Some(queries) = queries.filter(|it| it.is_valid(row)) {
            put("?");
            put(queries.value(row));
        }
        urls.append_value("");
    }
    Arc::new(urls.finish())
}

/// The target of a request, if it is a whole URL. What a load balancer writes for a path that is not there is left out.
pub(crate) fn absolute(targets: &[ArrayRef]) -> ArrayRef {
    changed(targets[0].as_string(), |_, it| match (scheme_of(it), it.strip_suffix('-')) {
        (None, _) => Change::Null,
        (Some(_), Some(url)) if matches!(Target::of(it), Target { port: Some(_), path: None, query: None, .. }) => {
            Change::To(url)
        }
        (Some(_), _) => Change::Keep,
    })
}

/// The scheme of a target that is a whole URL.
pub(crate) fn scheme(targets: &[ArrayRef]) -> ArrayRef {
    rewritten(targets[0].as_string(), |_, it, buffer| match scheme_of(it) {
        Some((scheme, _)) if scheme.bytes().any(|it| it.is_ascii_uppercase()) => {
            buffer.push_str(scheme);
            buffer.make_ascii_lowercase();
            Change::Written
        }
        scheme => Change::to_option(scheme.map(|it| it.0)),
    })
}

/// The host of a target that is a whole URL, without its port.
pub(crate) fn domain(targets: &[ArrayRef]) -> ArrayRef {
    changed(targets[0].as_string(), |_, it| Change::to_option(Target::of(it).host))
}

/// The port of a target that is a whole URL, if it says one.
pub(crate) fn port(targets: &[ArrayRef]) -> ArrayRef {
    let targets = targets[0].as_string::<i32>();
    let ports = targets.iter().map(|it| it.and_then(|it| Target::of(it).port).map(i64::from));
    Arc::new(ports.collect::<PrimitiveArray<Int64Type>>())
}

/// The path of a target.
pub(crate) fn path(targets: &[ArrayRef]) -> ArrayRef {
    changed(targets[0].as_string(), |_, it| match it.as_bytes() {
        [b'/', ..] => match path_and_query(it) {
            (_, None) => Change::Keep,
            (path, Some(_)) => Change::To(path),
        },
        _ => Change::to_option(Target::of(it).path),
    })
}

/// What stands behind the question mark of a target; empty if nothing does.
pub(crate) fn query(targets: &[ArrayRef]) -> ArrayRef {
    changed(targets[0].as_string(), |_, it| match it.as_bytes() {
        [b'/', ..] => Change::to_option(path_and_query(it).1),
        _ => Change::to_option(Target::of(it).query),
    })
}

/// The scheme of a request that has a path, by whether TLS was spoken.
pub(crate) fn scheme_by_tls(fields: &[ArrayRef]) -> ArrayRef {
    let versions = &fields[1];
    changed(fields[0].as_string(), |row, _| Change::To(if versions.is_valid(row) { "https" } else { "http" }))
}

//! Web servers: nginx and Apache. They escape what clients send, which is undone here.

use super::{Row, row};
use crate::convert::How::*;
use crate::derive::{Derived, all, any, hosts, outcome, url};

#[rustfmt::skip]
pub(super) const NGINX: &[Row] = &[
    row(&["remote_addr"], "source.address", Copy),
    row(&["remote_addr"], "source.ip", Address),
    row(&["remote_port"], "source.port", Copy),
    row(&["remote_user"], "user.name", Unescaped),
    row(&["msec"], "@timestamp", EpochSeconds),
    row(&["time_iso8601"], "@timestamp", Copy),
    row(&["time_local"], "@timestamp", LogTime),
    row(&["request"], "http.request.method", RequestMethod),
    row(&["request_method"], "http.request.method", Copy),
    row(&["request"], "url.original", EscapedRequestTarget),
    row(&["request_uri"], "url.original", Unescaped),
    row(&["request"], "http.version", RequestVersion),
    row(&["server_protocol"], "http.version", HttpVersion),
    row(&["request_id"], "http.request.id", Copy),
    row(&["request_id"], "event.id", Copy),
    row(&["request_length"], "http.request.bytes", Copy),
    row(&["status"], "http.response.status_code", Copy),
    row(&["body_bytes_sent"], "http.response.body.bytes", Copy),
    row(&["bytes_sent"], "http.response.bytes", Copy),
    row(&["request_time"], "event.duration", Nanoseconds),
    row(&["http_referer"], "http.request.referrer", Unescaped),
    row(&["http_user_agent"], "user_agent.original", Unescaped),
    row(&["http_x_forwarded_for"], "network.forwarded_ip", Addresses),
    row(&["scheme"], "url.scheme", Lowercase),
    row(&["host"], "destination.domain", HostName),
    row(&["server_name"], "destination.domain", HostName),
    row(&["server_port"], "destination.port", Copy),
    row(&["ssl_cipher"], "tls.cipher", Copy),
    row(&["ssl_protocol"], "tls.version_protocol", TlsProtocol),
    row(&["ssl_protocol"], "tls.version", TlsVersion),
];

#[rustfmt::skip]
pub(super) const APACHE: &[Row] = &[
    row(&["server_name"], "destination.domain", HostName),
    row(&["server_port"], "destination.port", Copy),
    row(&["remote_host"], "source.address", Copy),
    row(&["remote_host"], "source.ip", Address),
    // With `HostnameLookups` the server logs names.
    row(&["remote_host"], "source.domain", NoAddress),
    row(&["remote_user"], "user.name", Unescaped),
    row(&["time"], "@timestamp", LogTime),
    row(&["request"], "http.request.method", RequestMethod),
    row(&["request"], "url.original", EscapedRequestTarget),
    row(&["request"], "http.version", RequestVersion),
    row(&["status"], "http.response.status_code", Copy),
    // `%b` is `-` where no byte was sent.
    row(&["bytes"], "http.response.body.bytes", OrZero),
    row(&["referer"], "http.request.referrer", Unescaped),
    row(&["user_agent"], "user_agent.original", Unescaped),
    row(&["x_forwarded_for"], "network.forwarded_ip", Addresses),
];

#[rustfmt::skip]
pub(super) const DERIVED: &[Derived] = &[
    all(&["http.response.status_code"], "event.outcome", outcome::of_status),
    all(&["source.ip"], "network.type", hosts::network_type),
    all(&["destination.domain"], "url.domain", hosts::same),
    all(&["url.original"], "url.domain", url::domain),
    all(&["url.original"], "url.scheme", url::scheme),
    all(&["url.original"], "url.path", url::path),
    all(&["url.original"], "url.query", url::query),
    all(&["url.path"], "url.extension", url::extension),
    any(&["destination.domain", "source.domain"], "related.hosts", hosts::distinct),
    any(&["source.ip", "network.forwarded_ip"], "related.ip", hosts::distinct),
    any(&["user.name"], "related.user", hosts::distinct),
];

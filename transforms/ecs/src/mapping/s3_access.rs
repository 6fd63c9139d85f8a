//! Server access logs of S3. The names of the `aws.s3access` fields are those of Elastic's integration.

use super::{Row, row};
use crate::convert::How::*;
use crate::derive::{Derived, all, any, hosts, outcome, url};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(&["bucket_owner"], "aws.s3access.bucket_owner", Copy),
    row(&["bucket"], "aws.s3access.bucket", Copy),
    row(&["time"], "@timestamp", LogTime),
    row(&["remote_ip"], "client.address", Copy),
    row(&["remote_ip"], "client.ip", Address),
    row(&["requester"], "client.user.id", Copy),
    row(&["request_id"], "event.id", Copy),
    row(&["operation"], "event.action", Copy),
    // As it is logged: percent-encoded, some keys twice.
    row(&["key"], "aws.s3access.key", Copy),
    row(&["request"], "http.request.method", RequestMethod),
    row(&["request"], "url.original", RequestTarget),
    row(&["request"], "http.version", RequestVersion),
    row(&["http_status"], "http.response.status_code", Copy),
    row(&["error_code"], "event.code", Copy),
    row(&["bytes_sent"], "http.response.body.bytes", Copy),
    row(&["object_size"], "aws.s3access.object_size", Copy),
    row(&["total_time"], "event.duration", NanosecondsOfMillis),
    row(&["turn_around_time"], "aws.s3access.turn_around_time", Copy),
    row(&["referer"], "http.request.referrer", Copy),
    row(&["user_agent"], "user_agent.original", Copy),
    row(&["version_id"], "aws.s3access.version_id", Copy),
    row(&["host_id"], "aws.s3access.host_id", Copy),
    row(&["signature_version"], "aws.s3access.signature_version", Copy),
    row(&["cipher_suite"], "tls.cipher", Copy),
    row(&["authentication_type"], "aws.s3access.authentication_type", Copy),
    row(&["host_header"], "destination.address", Copy),
    row(&["host_header"], "destination.domain", HostName),
    row(&["tls_version"], "tls.version_protocol", TlsProtocol),
    row(&["tls_version"], "tls.version", TlsVersion),
    row(&["access_point_arn"], "aws.s3access.access_point_arn", Copy),
    row(&["acl_required"], "aws.s3access.acl_required", Copy),
    row(&["source_region"], "aws.s3access.source_region", Copy),
];

#[rustfmt::skip]
pub(super) const DERIVED: &[Derived] = &[
    all(&["http.response.status_code", "event.code"], "event.outcome", outcome::of_status_and_code),
    all(&["http.response.status_code"], "event.outcome", outcome::of_status),
    all(&["client.ip"], "network.type", hosts::network_type),
    all(&["destination.domain"], "url.domain", hosts::same),
    all(&["url.original"], "url.path", url::path),
    all(&["url.original"], "url.query", url::query),
    all(&["url.path"], "url.extension", url::extension),
    all(&["url.path", "tls.version"], "url.scheme", url::scheme_by_tls),
    all(&["url.scheme", "destination.address", "url.path", "url.query"], "url.full", url::full),
    any(&["destination.domain"], "related.hosts", hosts::distinct),
    any(&["client.ip"], "related.ip", hosts::distinct),
    any(&["client.user.id"], "related.user", hosts::distinct),
];

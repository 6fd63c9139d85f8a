//! Application Load Balancers.
//!
//! The names of the `aws.elb` fields are those of Elastic's integration, except that sizes, which count headers too, are
//! those of the request and the response and not of their bodies.

use super::{Row, row};
use crate::convert::How::*;
use crate::derive::{Derived, all, any, duration, hosts, outcome, url};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(&["type"], "aws.elb.type", Copy),
    row(&["type"], "network.protocol", Lowercase),
    row(&["time"], "@timestamp", Copy),
    row(&["time"], "event.end", Copy),
    row(&["elb"], "aws.elb.name", Copy),
    row(&["client"], "source.address", EndpointHost),
    row(&["client"], "source.ip", EndpointHost),
    row(&["client"], "source.port", EndpointPort),
    row(&["target"], "aws.elb.backend.ip", EndpointHost),
    row(&["target"], "aws.elb.backend.port", EndpointPort),
    row(&["request_processing_time"], "aws.elb.request_processing_time.sec", NotNegative),
    row(&["target_processing_time"], "aws.elb.backend_processing_time.sec", NotNegative),
    row(&["response_processing_time"], "aws.elb.response_processing_time.sec", NotNegative),
    row(&["elb_status_code"], "http.response.status_code", Copy),
    row(&["target_status_code"], "aws.elb.backend.http.response.status_code", Copy),
    row(&["received_bytes"], "http.request.bytes", Copy),
    row(&["sent_bytes"], "http.response.bytes", Copy),
    row(&["request"], "http.request.method", RequestMethod),
    row(&["request"], "url.original", RequestTarget),
    row(&["request"], "http.version", RequestVersion),
    row(&["user_agent"], "user_agent.original", Copy),
    row(&["ssl_cipher"], "tls.cipher", Copy),
    row(&["ssl_protocol"], "tls.version_protocol", TlsProtocol),
    row(&["ssl_protocol"], "tls.version", TlsVersion),
    row(&["target_group_arn"], "aws.elb.target_group.arn", Copy),
    row(&["trace_id"], "aws.elb.trace_id", Copy),
    row(&["trace_id"], "trace.id", TraceRoot),
    // The name that the client gave while TLS was negotiated (SNI).
    row(&["domain_name"], "destination.domain", Copy),
    row(&["domain_name"], "tls.client.server_name", Copy),
    row(&["chosen_cert_arn"], "aws.elb.chosen_cert.arn", Copy),
    row(&["matched_rule_priority"], "aws.elb.matched_rule_priority", Copy),
    row(&["request_creation_time"], "event.start", Copy),
    row(&["actions_executed"], "aws.elb.action_executed", ListOf(',')),
    row(&["redirect_url"], "aws.elb.redirect_url", Copy),
    row(&["error_reason"], "aws.elb.error.reason", Copy),
    row(&["target_port_list"], "aws.elb.target_port", ListOf(' ')),
    row(&["target_status_code_list"], "aws.elb.target_status_code", ListOf(' ')),
    row(&["classification"], "aws.elb.classification", Copy),
    row(&["classification_reason"], "aws.elb.classification_reason", Copy),
    row(&["conn_trace_id"], "aws.elb.conn_trace_id", Copy),
    row(&["transformed_host"], "aws.elb.transformed_host", Copy),
    row(&["transformed_uri"], "aws.elb.transformed_uri", Copy),
    row(&["request_transform_status"], "aws.elb.request_transform_status", Copy),
];

#[rustfmt::skip]
pub(super) const DERIVED: &[Derived] = &[
    all(&["event.start", "event.end"], "event.duration", duration),
    all(&["http.response.status_code"], "event.outcome", outcome::of_status),
    all(&["source.ip"], "network.type", hosts::network_type),
    all(&["url.original"], "url.full", url::absolute),
    all(&["url.original"], "url.scheme", url::scheme),
    all(&["url.original"], "url.domain", url::domain),
    all(&["url.original"], "url.port", url::port),
    all(&["url.original"], "url.path", url::path),
    all(&["url.original"], "url.query", url::query),
    all(&["url.path"], "url.extension", url::extension),
    any(&["url.domain", "destination.domain"], "related.hosts", hosts::distinct),
    any(&["source.ip", "aws.elb.backend.ip"], "related.ip", hosts::distinct),
];

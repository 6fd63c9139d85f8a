//! The ready mappings, as tables.
//!
//! The names of the `aws.cloudfront` fields, and which fields of ECS to use, are those of Elastic's integration for
//! standard logs where that has one. Where a table names a field twice, the first row counts whose columns are there.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::convert::How::{self, *};
use crate::fields::FieldType;

/// A ready mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// The fields of CloudFront's [real-time access logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html),
    /// where `cs-host` is the host that the viewer asked for.
    CloudfrontRealtime,
    /// The fields of CloudFront's [standard logs](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html),
    /// where `x-host-header` is the host that the viewer asked for.
    CloudfrontStandard,
}

/// One field, and the columns that it is made of.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) columns: &'static [&'static str],
    pub(crate) field: &'static str,
    pub(crate) how: How,
}

impl Mapping {
    pub(crate) fn rows(self) -> &'static [Row] {
        match self {
            Self::CloudfrontRealtime => REALTIME,
            Self::CloudfrontStandard => STANDARD,
        }
    }

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CloudfrontRealtime => "cloudfront_realtime",
            Self::CloudfrontStandard => "cloudfront_standard",
        }
    }
}

/// What holds for every request that CloudFront logs.
pub(crate) const CONSTANTS: &[(&str, &str)] =
    &[("cloud.provider", "aws"), ("event.category", "web"), ("event.kind", "event"), ("event.type", "access")];

/// The type of a field that the mappings fill and ECS does not know.
pub(crate) fn own_field(name: &str) -> Option<FieldType> {
    if !own_fields().any(|it| it == name) {
        return None;
    }
    Some(match name {
        "aws.cloudfront.time_to_first_byte" | "aws.cloudfront.origin_fbl" | "aws.cloudfront.origin_lbl" => {
            FieldType::Double
        }
        "aws.cloudfront.edge_mqcs"
        | "aws.cloudfront.fle_encrypted_fields"
        | "aws.cloudfront.headers_count"
        | "aws.cloudfront.range_end"
        | "aws.cloudfront.range_start" => FieldType::Long,
        _ => FieldType::Keyword,
    })
}

/// The fields that the mappings fill and ECS does not know.
pub(crate) fn own_fields() -> impl Iterator<Item = &'static str> {
    REALTIME.iter().chain(STANDARD).map(|it| it.field).filter(|it| it.starts_with("aws.cloudfront."))
}

const fn row(columns: &'static [&'static str], field: &'static str, how: How) -> Row {
    Row { columns, field, how }
}

#[rustfmt::skip]
const REALTIME: &[Row] = &[
    row(&["timestamp"], "@timestamp", EpochSeconds),
    row(&["c-ip"], "source.address", Copy),
    row(&["c-ip"], "source.ip", Copy),
    row(&["s-ip"], "destination.ip", Copy),
    row(&["time-to-first-byte"], "aws.cloudfront.time_to_first_byte", Copy),
    row(&["sc-status"], "http.response.status_code", Copy),
    row(&["sc-bytes"], "http.response.bytes", Copy),
    row(&["cs-method"], "http.request.method", Copy),
    row(&["cs-protocol"], "network.protocol", Lowercase),
    row(&["cs-host"], "destination.address", Copy),
    row(&["cs-host"], "destination.domain", HostName),
    // The real-time field holds the query too, and tells "no query" from "an empty query" as `cs-uri-query` cannot.
    row(&["cs-uri-stem"], "url.path", BeforeQuestionMark),
    row(&["cs-uri-stem", "cs-uri-query"], "url.query", BehindQuestionMark),
    row(&["cs-uri-stem"], "url.query", BehindQuestionMark),
    row(&["cs-uri-query"], "url.query", Copy),
    row(&["cs-bytes"], "http.request.bytes", Copy),
    row(&["x-edge-location"], "aws.cloudfront.edge_location", Copy),
    row(&["x-edge-request-id"], "http.request.id", Copy),
    row(&["x-host-header"], "aws.cloudfront.domain", Copy),
    row(&["time-taken"], "event.duration", Nanoseconds),
    row(&["cs-protocol-version"], "http.version", HttpVersion),
    row(&["c-ip-version"], "network.type", Lowercase),
    row(&["cs-user-agent"], "user_agent.original", PercentDecoded),
    row(&["cs-referer"], "http.request.referrer", Copy),
    row(&["cs-cookie"], "aws.cloudfront.cookies", Copy),
    row(&["x-edge-response-result-type"], "aws.cloudfront.edge_response_result_type", Copy),
    row(&["x-forwarded-for"], "network.forwarded_ip", Addresses),
    row(&["ssl-protocol"], "tls.version_protocol", TlsProtocol),
    row(&["ssl-protocol"], "tls.version", TlsVersion),
    row(&["ssl-cipher"], "tls.cipher", Copy),
    row(&["x-edge-result-type"], "aws.cloudfront.edge_result_type", Copy),
    row(&["fle-encrypted-fields"], "aws.cloudfront.fle_encrypted_fields", Copy),
    row(&["fle-status"], "aws.cloudfront.fle_status", Copy),
    row(&["sc-content-type"], "http.response.mime_type", Copy),
    row(&["sc-content-len"], "http.response.body.bytes", Copy),
    row(&["sc-range-start"], "aws.cloudfront.range_start", Copy),
    row(&["sc-range-end"], "aws.cloudfront.range_end", Copy),
    row(&["c-port"], "source.port", Copy),
    row(&["x-edge-detailed-result-type"], "aws.cloudfront.edge_detailed_result_type", Copy),
    row(&["c-country"], "source.geo.country_iso_code", Copy),
    row(&["cs-accept-encoding"], "aws.cloudfront.accept_encoding", Copy),
    row(&["cs-accept"], "aws.cloudfront.accept", Copy),
    row(&["cache-behavior-path-pattern"], "aws.cloudfront.cache_behavior_path_pattern", Copy),
    row(&["cs-headers"], "aws.cloudfront.headers", Copy),
    row(&["cs-header-names"], "aws.cloudfront.header_names", Copy),
    row(&["cs-headers-count"], "aws.cloudfront.headers_count", Copy),
    row(&["primary-distribution-id"], "aws.cloudfront.primary_distribution_id", Copy),
    row(&["primary-distribution-dns-name"], "aws.cloudfront.primary_distribution_dns_name", Copy),
    row(&["origin-fbl"], "aws.cloudfront.origin_fbl", Copy),
    row(&["origin-lbl"], "aws.cloudfront.origin_lbl", Copy),
    row(&["asn"], "source.as.number", Copy),
    // What a viewer's player says of itself (CTA-5004) is kept as it says it.
    row(&["cmcd-encoded-bitrate"], "aws.cloudfront.cmcd_encoded_bitrate", Copy),
    row(&["cmcd-buffer-length"], "aws.cloudfront.cmcd_buffer_length", Copy),
    row(&["cmcd-buffer-starvation"], "aws.cloudfront.cmcd_buffer_starvation", Copy),
    row(&["cmcd-content-id"], "aws.cloudfront.cmcd_content_id", Copy),
    row(&["cmcd-object-duration"], "aws.cloudfront.cmcd_object_duration", Copy),
    row(&["cmcd-deadline"], "aws.cloudfront.cmcd_deadline", Copy),
    row(&["cmcd-measured-throughput"], "aws.cloudfront.cmcd_measured_throughput", Copy),
    row(&["cmcd-next-object-request"], "aws.cloudfront.cmcd_next_object_request", Copy),
    row(&["cmcd-next-range-request"], "aws.cloudfront.cmcd_next_range_request", Copy),
    row(&["cmcd-object-type"], "aws.cloudfront.cmcd_object_type", Copy),
    row(&["cmcd-playback-rate"], "aws.cloudfront.cmcd_playback_rate", Copy),
    row(&["cmcd-requested-maximum-throughput"], "aws.cloudfront.cmcd_requested_maximum_throughput", Copy),
    row(&["cmcd-streaming-format"], "aws.cloudfront.cmcd_streaming_format", Copy),
    row(&["cmcd-session-id"], "aws.cloudfront.cmcd_session_id", Copy),
    row(&["cmcd-stream-type"], "aws.cloudfront.cmcd_stream_type", Copy),
    row(&["cmcd-startup"], "aws.cloudfront.cmcd_startup", Copy),
    row(&["cmcd-top-bitrate"], "aws.cloudfront.cmcd_top_bitrate", Copy),
    row(&["cmcd-version"], "aws.cloudfront.cmcd_version", Copy),
    row(&["r-host"], "aws.cloudfront.r_host", Copy),
    row(&["sr-reason"], "aws.cloudfront.sr_reason", Copy),
    row(&["x-edge-mqcs"], "aws.cloudfront.edge_mqcs", Copy),
    row(&["distribution-tenant-id"], "aws.cloudfront.distribution_tenant_id", Copy),
    row(&["connection-id"], "aws.cloudfront.connection_id", Copy),
    row(&["viewer-request-log-data"], "aws.cloudfront.viewer_request_log_data", Copy),
    row(&["viewer-response-log-data"], "aws.cloudfront.viewer_response_log_data", Copy),
];

#[rustfmt::skip]
const STANDARD: &[Row] = &[
    // The second version of standard logging can add the time in one field, more exactly.
    row(&["timestamp(ms)"], "@timestamp", EpochMillis),
    row(&["date", "time"], "@timestamp", DateAndTime),
    row(&["timestamp"], "@timestamp", EpochSeconds),
    row(&["x-edge-location"], "aws.cloudfront.edge_location", Copy),
    row(&["sc-bytes"], "http.response.bytes", Copy),
    row(&["c-ip"], "source.address", Copy),
    row(&["c-ip"], "source.ip", Copy),
    row(&["cs-method"], "http.request.method", Copy),
    row(&["cs(Host)"], "aws.cloudfront.domain", Copy),
    row(&["cs-uri-stem"], "url.path", Copy),
    row(&["sc-status"], "http.response.status_code", Copy),
    row(&["cs(Referer)"], "http.request.referrer", Copy),
    row(&["cs(User-Agent)"], "user_agent.original", PercentDecoded),
    row(&["cs-uri-query"], "url.query", Copy),
    row(&["cs(Cookie)"], "aws.cloudfront.cookies", Copy),
    row(&["x-edge-result-type"], "aws.cloudfront.edge_result_type", Copy),
    row(&["x-edge-request-id"], "http.request.id", Copy),
    row(&["x-host-header"], "destination.address", Copy),
    row(&["x-host-header"], "destination.domain", HostName),
    row(&["cs-protocol"], "network.protocol", Lowercase),
    row(&["cs-bytes"], "http.request.bytes", Copy),
    row(&["time-taken"], "event.duration", Nanoseconds),
    row(&["x-forwarded-for"], "network.forwarded_ip", Addresses),
    row(&["ssl-protocol"], "tls.version_protocol", TlsProtocol),
    row(&["ssl-protocol"], "tls.version", TlsVersion),
    row(&["ssl-cipher"], "tls.cipher", Copy),
    row(&["x-edge-response-result-type"], "aws.cloudfront.edge_response_result_type", Copy),
    row(&["cs-protocol-version"], "http.version", HttpVersion),
    row(&["fle-status"], "aws.cloudfront.fle_status", Copy),
    row(&["fle-encrypted-fields"], "aws.cloudfront.fle_encrypted_fields", Copy),
    row(&["c-port"], "source.port", Copy),
    row(&["time-to-first-byte"], "aws.cloudfront.time_to_first_byte", Copy),
    row(&["x-edge-detailed-result-type"], "aws.cloudfront.edge_detailed_result_type", Copy),
    row(&["sc-content-type"], "http.response.mime_type", Copy),
    row(&["sc-content-len"], "http.response.body.bytes", Copy),
    row(&["sc-range-start"], "aws.cloudfront.range_start", Copy),
    row(&["sc-range-end"], "aws.cloudfront.range_end", Copy),
    row(&["distribution-tenant-id"], "aws.cloudfront.distribution_tenant_id", Copy),
    row(&["connection-id"], "aws.cloudfront.connection_id", Copy),
    // Fields that only the second version of standard logging delivers.
    row(&["c-country"], "source.geo.country_iso_code", Copy),
    row(&["cache-behavior-path-pattern"], "aws.cloudfront.cache_behavior_path_pattern", Copy),
    row(&["origin-fbl"], "aws.cloudfront.origin_fbl", Copy),
    row(&["origin-lbl"], "aws.cloudfront.origin_lbl", Copy),
    row(&["asn"], "source.as.number", Copy),
    row(&["viewer-request-log-data"], "aws.cloudfront.viewer_request_log_data", Copy),
    row(&["viewer-response-log-data"], "aws.cloudfront.viewer_response_log_data", Copy),
];

//! The ready mappings, field by field.

use super::*;

/// Scenario: a real-time log with every field that CloudFront knows, all of them text.
/// Guarantees: no field is forgotten; the viewer's host is `cs-host`; milliseconds are kept; the user agent is decoded
/// once, and nothing else; `-` is null.
#[test]
fn cloudfront_realtime() {
    check(
        "mapping = 'cloudfront_realtime'",
        realtime(),
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2020-12-07T20:52:01.541Z"
          aws.cloudfront.accept: Utf8 = null
          aws.cloudfront.accept_encoding: Utf8 = null
          aws.cloudfront.cache_behavior_path_pattern: Utf8 = null
          aws.cloudfront.cmcd_buffer_length: Utf8 = null
          aws.cloudfront.cmcd_buffer_starvation: Utf8 = null
          aws.cloudfront.cmcd_content_id: Utf8 = null
          aws.cloudfront.cmcd_deadline: Utf8 = null
          aws.cloudfront.cmcd_encoded_bitrate: Utf8 = null
          aws.cloudfront.cmcd_measured_throughput: Utf8 = null
          aws.cloudfront.cmcd_next_object_request: Utf8 = null
          aws.cloudfront.cmcd_next_range_request: Utf8 = null
          aws.cloudfront.cmcd_object_duration: Utf8 = null
          aws.cloudfront.cmcd_object_type: Utf8 = null
          aws.cloudfront.cmcd_playback_rate: Utf8 = null
          aws.cloudfront.cmcd_requested_maximum_throughput: Utf8 = null
          aws.cloudfront.cmcd_session_id: Utf8 = null
          aws.cloudfront.cmcd_startup: Utf8 = null
          aws.cloudfront.cmcd_stream_type: Utf8 = null
          aws.cloudfront.cmcd_streaming_format: Utf8 = null
          aws.cloudfront.cmcd_top_bitrate: Utf8 = null
          aws.cloudfront.cmcd_version: Utf8 = null
          aws.cloudfront.connection_id: Utf8 = null
          aws.cloudfront.cookies: Utf8 = null
          aws.cloudfront.distribution_tenant_id: Utf8 = null
          aws.cloudfront.domain: Utf8 = "d111111abcdef8.cloudfront.net"
          aws.cloudfront.edge_detailed_result_type: Utf8 = null
          aws.cloudfront.edge_location: Utf8 = "EWR52-C4"
          aws.cloudfront.edge_mqcs: Int64 = 97
          aws.cloudfront.edge_response_result_type: Utf8 = null
          aws.cloudfront.edge_result_type: Utf8 = null
          aws.cloudfront.fle_encrypted_fields: Int64 = 2
          aws.cloudfront.fle_status: Utf8 = null
          aws.cloudfront.header_names: Utf8 = null
          aws.cloudfront.headers: Utf8 = "Host:a%0AAccept:*/*%0A"
          aws.cloudfront.headers_count: Int64 = 2
          aws.cloudfront.origin_fbl: Float64 = 0.251
          aws.cloudfront.origin_lbl: Float64 = 0.251
          aws.cloudfront.primary_distribution_dns_name: Utf8 = null
          aws.cloudfront.primary_distribution_id: Utf8 = null
          aws.cloudfront.r_host: Utf8 = null
          aws.cloudfront.range_end: Int64 = 34
          aws.cloudfront.range_start: Int64 = 0
          aws.cloudfront.sr_reason: Utf8 = null
          aws.cloudfront.time_to_first_byte: Float64 = 0.042
          cloud.provider: Utf8 = "aws"
          destination.address: Utf8 = "www.example.com:8443"
          destination.domain: Utf8 = "www.example.com"
          destination.ip: Utf8 = "2001:db8::1"
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.duration: Int64 = 42000000
          event.id: Utf8 = "6PfZe0cc_AjX=="
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "success"
          event.type: List(Utf8) = ["access"]
          http.request.bytes: Int64 = 745
          http.request.id: Utf8 = "6PfZe0cc_AjX=="
          http.request.method: Utf8 = "GET"
          http.request.referrer: Utf8 = "http://localhost:5000/page-2"
          http.response.body.bytes: Int64 = 35
          http.response.bytes: Int64 = 485
          http.response.mime_type: Utf8 = "image/gif"
          http.response.status_code: Int64 = 200
          http.version: Utf8 = "2.0"
          network.forwarded_ip: List(Utf8) = ["198.51.100.7","192.0.2.183"]
          network.protocol: Utf8 = "https"
          network.type: Utf8 = "ipv4"
          related.hosts: List(Utf8) = ["www.example.com","d111111abcdef8.cloudfront.net"]
          related.ip: List(Utf8) = ["192.0.2.183","198.51.100.7","2001:db8::1"]
          source.address: Utf8 = "192.0.2.183"
          source.as.number: Int64 = 16509
          source.geo.country_iso_code: Utf8 = "US"
          source.ip: Utf8 = "192.0.2.183"
          source.port: Int64 = 49323
          tls.cipher: Utf8 = null
          tls.version: Utf8 = "1.3"
          tls.version_protocol: Utf8 = "tls"
          url.domain: Utf8 = "www.example.com"
          url.extension: Utf8 = "gif"
          url.full: Utf8 = "https://www.example.com:8443/img/a.b.gif?url=http%253A%252F%252Fcaf%C3%A9"
          url.path: Utf8 = "/img/a.b.gif"
          url.query: Utf8 = "url=http%253A%252F%252Fcaf%C3%A9"
          url.scheme: Utf8 = "https"
          user_agent.original: Utf8 = "Mozilla/5.0 (100% café)%20"
    "#]],
    );
}

/// Scenario: a standard log with the 35 fields of today, all of them text.
/// Guarantees: no field is forgotten; the viewer's host is `x-host-header`, the other way round than in real-time logs.
#[test]
fn cloudfront_standard() {
    let value = |field: &str| match field {
        "date" => "2019-12-04",
        "time" => "21:02:31",
        "x-edge-location" => "LAX1",
        "sc-bytes" => "392",
        "c-ip" => "2001:db8::12",
        "cs-method" => "GET",
        "cs(Host)" => "d111111abcdef8.cloudfront.net",
        "cs-uri-stem" => "/index.html",
        "sc-status" => "000",
        "cs(User-Agent)" => "Mozilla/5.0%20(Windows)",
        "x-edge-result-type" => "Hit",
        "x-edge-request-id" => "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==",
        "x-host-header" => "www.example.com",
        "cs-protocol" => "https",
        "cs-bytes" => "23",
        "time-taken" => "0.001",
        "ssl-protocol" => "SSLv3",
        "cs-protocol-version" => "HTTP/1.1",
        "c-port" => "11040",
        "time-to-first-byte" => "0.001",
        _ => "-",
    };
    let input =
        columns(STANDARD_FIELDS.iter().map(|it| (*it, Arc::new(StringArray::from(vec![value(it)])) as ArrayRef)));
    check(
        "mapping = 'cloudfront_standard'",
        input,
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2019-12-04T21:02:31Z"
          aws.cloudfront.connection_id: Utf8 = null
          aws.cloudfront.cookies: Utf8 = null
          aws.cloudfront.distribution_tenant_id: Utf8 = null
          aws.cloudfront.domain: Utf8 = "d111111abcdef8.cloudfront.net"
          aws.cloudfront.edge_detailed_result_type: Utf8 = null
          aws.cloudfront.edge_location: Utf8 = "LAX1"
          aws.cloudfront.edge_response_result_type: Utf8 = null
          aws.cloudfront.edge_result_type: Utf8 = "Hit"
          aws.cloudfront.fle_encrypted_fields: Int64 = null
          aws.cloudfront.fle_status: Utf8 = null
          aws.cloudfront.range_end: Int64 = null
          aws.cloudfront.range_start: Int64 = null
          aws.cloudfront.time_to_first_byte: Float64 = 0.001
          cloud.provider: Utf8 = "aws"
          destination.address: Utf8 = "www.example.com"
          destination.domain: Utf8 = "www.example.com"
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.duration: Int64 = 1000000
          event.id: Utf8 = "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ=="
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "failure"
          event.type: List(Utf8) = ["access"]
          http.request.bytes: Int64 = 23
          http.request.id: Utf8 = "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ=="
          http.request.method: Utf8 = "GET"
          http.request.referrer: Utf8 = null
          http.response.body.bytes: Int64 = null
          http.response.bytes: Int64 = 392
          http.response.mime_type: Utf8 = null
          http.response.status_code: Int64 = 0
          http.version: Utf8 = "1.1"
          network.forwarded_ip: List(Utf8) = null
          network.protocol: Utf8 = "https"
          network.type: Utf8 = "ipv6"
          related.hosts: List(Utf8) = ["www.example.com","d111111abcdef8.cloudfront.net"]
          related.ip: List(Utf8) = ["2001:db8::12"]
          source.address: Utf8 = "2001:db8::12"
          source.ip: Utf8 = "2001:db8::12"
          source.port: Int64 = 11040
          tls.cipher: Utf8 = null
          tls.version: Utf8 = "3"
          tls.version_protocol: Utf8 = "ssl"
          url.domain: Utf8 = "www.example.com"
          url.extension: Utf8 = "html"
          url.full: Utf8 = "https://www.example.com/index.html"
          url.path: Utf8 = "/index.html"
          url.query: Utf8 = null
          url.scheme: Utf8 = "https"
          user_agent.original: Utf8 = "Mozilla/5.0 (Windows)"
    "#]],
    );
}

/// Scenario: the same columns as text and already typed.
/// Guarantees: the same fields come out.
#[test]
fn typed_columns() {
    let as_text = table([
        "timestamp | sc-status | sc-bytes | time-taken | origin-fbl",
        "1607374321.541 | 000 | 485 | 0.042 | 0.251",
        "1607374321 | 404 | 9223372036854775807 | 1.5 | -",
    ]);
    let decimal = |values: Vec<Option<i128>>| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(18, 6).unwrap())
    };
    let typed = columns([
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from(vec![1_607_374_321_541, 1_607_374_321_000]).with_timezone("UTC"))
                as ArrayRef,
        ),
        ("sc_status", Arc::new(UInt16Array::from(vec![0, 404]))),
        ("sc_bytes", Arc::new(UInt64Array::from(vec![485, 9_223_372_036_854_775_807]))),
        ("time_taken", decimal(vec![Some(42_000), Some(1_500_000)])),
        ("origin_fbl", decimal(vec![Some(251_000), None])),
    ]);
    let toml = "mapping = 'cloudfront_realtime'";
    let (as_text, typed) = (transform(toml, as_text), transform(toml, typed));
    assert_eq!(as_text, typed);
    let fields = ["@timestamp", "aws.cloudfront.origin_fbl", "event.duration", "event.outcome", "http.response.bytes"];
    let indices = fields.map(|it| typed.sent.schema().index_of(it).unwrap());
    expect![[r#"
        {"@timestamp":"2020-12-07T20:52:01.541Z","aws.cloudfront.origin_fbl":0.251,"event.duration":42000000,"event.outcome":"failure","http.response.bytes":485}
        {"@timestamp":"2020-12-07T20:52:01Z","aws.cloudfront.origin_fbl":null,"event.duration":1500000000,"event.outcome":"failure","http.response.bytes":9223372036854775807}"#]].assert_eq(&canonical(&[typed.sent.project(&indices).unwrap()]).join("\n"));
}

/// Scenario: one request as the second version of standard logging writes it: as JSON, whose values are all text, under
/// the names of the first version, and as Parquet, under names with underscores.
/// Guarantees: the same fields come out, as from a file of the first version with the more exact time.
#[test]
fn standard_logging_v2() {
    let row = "2024-11-14 | 21:34:06 | SOF50-P2 | 16509 | 1731620046814 | 0.251 | 0.252 | d111111abcdef8.cloudfront.net | \
        examplecookie=value | www.example.com | 000 | Mozilla/5.0%20(X11) | - | DE | *";
    let json = "date | time | x-edge-location | asn | timestamp(ms) | origin-fbl | origin-lbl | cs(Host) | cs(Cookie) | \
        x-host-header | sc-status | cs(User-Agent) | cs(Referer) | c-country | cache-behavior-path-pattern";
    let parquet = "date | time | x_edge_location | asn | timestamp_ms | origin_fbl | origin_lbl | cs_host | cs_cookie | \
        x_host_header | sc_status | cs_user_agent | cs_referer | c_country | cache_behavior_path_pattern";
    let [json, parquet] =
        [json, parquet].map(|names| transform("mapping = 'cloudfront_standard'", table([names, row])));
    assert_eq!(json, parquet);
    let rows = canonical(&[json.sent]).join("\n");
    expect![[r#"{"@timestamp":"2024-11-14T21:34:06.814Z","aws.cloudfront.cache_behavior_path_pattern":"*","aws.cloudfront.cookies":"examplecookie=value","aws.cloudfront.domain":"d111111abcdef8.cloudfront.net","aws.cloudfront.edge_location":"SOF50-P2","aws.cloudfront.origin_fbl":0.251,"aws.cloudfront.origin_lbl":0.252,"cloud.provider":"aws","destination.address":"www.example.com","destination.domain":"www.example.com","ecs.version":"9.4.0","event.category":["web"],"event.kind":"event","event.outcome":"failure","event.type":["access"],"http.request.referrer":null,"http.response.status_code":0,"related.hosts":["www.example.com","d111111abcdef8.cloudfront.net"],"source.as.number":16509,"source.geo.country_iso_code":"DE","url.domain":"www.example.com","user_agent.original":"Mozilla/5.0 (X11)"}"#]].assert_eq(&rows);
}

//! Application Load Balancers.

use super::*;

const COLUMNS: &str = "type | time | elb | client | target | request_processing_time | target_processing_time | \
    response_processing_time | elb_status_code | target_status_code | received_bytes | sent_bytes | request | user_agent | \
    ssl_cipher | ssl_protocol | target_group_arn | trace_id | domain_name | chosen_cert_arn | matched_rule_priority | \
    request_creation_time | actions_executed | redirect_url | error_reason | target_port_list | \
    target_status_code_list | classification | classification_reason | conn_trace_id | transformed_host | \
    transformed_uri | request_transform_status";

/// Scenario: an entry with all fields of today.
/// Guarantees: no field is forgotten; sizes are those of messages with their headers; the duration is what lies between
/// the two times.
#[test]
fn entry() {
    let row = "h2 | 2026-11-01T09:00:01.186641Z | app/shop/50dc6c495c0c9188 | [2001:DB8::1]:43210 | 10.0.0.66:9000 | \
        0.000 | 0.002 | -1 | 200 | 200 | 257 | 4200 | GET https://Shop.example.com:443/img/a.b.webp?size=M HTTP/2.0 | \
        Mozilla/5.0 (X11) | ECDHE-RSA-AES128-GCM-SHA256 | TLSv1.2 | arn:aws:tg | Self=1-2-3;Root=1-58337281-1d84f3d7 | \
        shop.example.com | arn:aws:cert | 2 | 2026-11-01T09:00:01.183000Z | waf,forward | - | - | 10.0.0.66:9000 10.0.0.67:9000 | \
        502 200 | Acceptable | - | TID_1234 | origin.example.com | /v2 | TransformSuccess";
    check(
        "mapping = 'alb'",
        table([COLUMNS, row]),
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:01.186Z"
          aws.elb.action_executed: List(Utf8) = ["waf","forward"]
          aws.elb.backend.http.response.status_code: Int64 = 200
          aws.elb.backend.ip: Utf8 = "10.0.0.66"
          aws.elb.backend.port: Int64 = 9000
          aws.elb.backend_processing_time.sec: Float64 = 0.002
          aws.elb.chosen_cert.arn: Utf8 = "arn:aws:cert"
          aws.elb.classification: Utf8 = "Acceptable"
          aws.elb.classification_reason: Utf8 = null
          aws.elb.conn_trace_id: Utf8 = "TID_1234"
          aws.elb.error.reason: Utf8 = null
          aws.elb.matched_rule_priority: Utf8 = "2"
          aws.elb.name: Utf8 = "app/shop/50dc6c495c0c9188"
          aws.elb.redirect_url: Utf8 = null
          aws.elb.request_processing_time.sec: Float64 = 0.0
          aws.elb.request_transform_status: Utf8 = "TransformSuccess"
          aws.elb.response_processing_time.sec: Float64 = null
          aws.elb.target_group.arn: Utf8 = "arn:aws:tg"
          aws.elb.target_port: List(Utf8) = ["10.0.0.66:9000","10.0.0.67:9000"]
          aws.elb.target_status_code: List(Utf8) = ["502","200"]
          aws.elb.trace_id: Utf8 = "Self=1-2-3;Root=1-58337281-1d84f3d7"
          aws.elb.transformed_host: Utf8 = "origin.example.com"
          aws.elb.transformed_uri: Utf8 = "/v2"
          aws.elb.type: Utf8 = "h2"
          cloud.provider: Utf8 = "aws"
          destination.domain: Utf8 = "shop.example.com"
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.duration: Int64 = 3000000
          event.end: Timestamp(ms, "UTC") = "2026-11-01T09:00:01.186Z"
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "success"
          event.start: Timestamp(ms, "UTC") = "2026-11-01T09:00:01.183Z"
          event.type: List(Utf8) = ["access"]
          http.request.bytes: Int64 = 257
          http.request.method: Utf8 = "GET"
          http.response.bytes: Int64 = 4200
          http.response.status_code: Int64 = 200
          http.version: Utf8 = "2.0"
          network.protocol: Utf8 = "h2"
          network.type: Utf8 = "ipv6"
          related.hosts: List(Utf8) = ["Shop.example.com","shop.example.com"]
          related.ip: List(Utf8) = ["2001:db8::1","10.0.0.66"]
          source.address: Utf8 = "2001:DB8::1"
          source.ip: Utf8 = "2001:db8::1"
          source.port: Int64 = 43210
          tls.cipher: Utf8 = "ECDHE-RSA-AES128-GCM-SHA256"
          tls.client.server_name: Utf8 = "shop.example.com"
          tls.version: Utf8 = "1.2"
          tls.version_protocol: Utf8 = "tls"
          trace.id: Utf8 = "1-58337281-1d84f3d7"
          url.domain: Utf8 = "Shop.example.com"
          url.extension: Utf8 = "webp"
          url.full: Utf8 = "https://Shop.example.com:443/img/a.b.webp?size=M"
          url.original: Utf8 = "https://Shop.example.com:443/img/a.b.webp?size=M"
          url.path: Utf8 = "/img/a.b.webp"
          url.port: Int64 = 443
          url.query: Utf8 = "size=M"
          url.scheme: Utf8 = "https"
          user_agent.original: Utf8 = "Mozilla/5.0 (X11)"
    "#]],
    );
}

/// Scenario: requests that are none, clients and targets of all shapes, and times that were never taken.
/// Guarantees: what is not there is null; hosts, ports and paths are right in every form.
#[test]
fn requests() {
    let input = table([
        "request | client | target | target_processing_time | request_creation_time | time",
        "GET http://www.example.com:80/a?b=c?d HTTP/1.1 | 192.0.2.1:80 | 10.0.0.1:80 | 0.5 | 2026-11-01T09:00:00Z | 2026-11-01T09:00:01.5Z",
        "- http://www.example.com:80-  | 2001:db8::1:80 | - | -1 | 2026-11-01T09:00:02Z | 2026-11-01T09:00:01Z",
        "- - -  | - | -:- | -1 | - | 2026-11-01T09:00:01Z",
        "GET https://[2001:db8::5]:8443? HTTP/2.0 | [::ffff:192.0.2.1]:1 | x | - | - | -",
        "OPTIONS * HTTP/1.1 | - | - | - | - | -",
        "GET wss://www.example.com/live/a b HTTP/1.1 | - | - | - | - | -",
    ]);
    let fields = [
        "http.request.method",
        "http.version",
        "url.original",
        "url.full",
        "url.scheme",
        "url.domain",
        "url.port",
        "url.path",
        "url.query",
    ];
    check_some(
        "mapping = 'alb'",
        input.clone(),
        &fields,
        expect![[r#"
        0 {"http.request.method":"GET","http.version":"1.1","url.original":"http://www.example.com:80/a?b=c?d","url.full":"http://www.example.com:80/a?b=c?d","url.scheme":"http","url.domain":"www.example.com","url.port":80,"url.path":"/a","url.query":"b=c?d"}
        1 {"http.request.method":null,"http.version":null,"url.original":"http://www.example.com:80-","url.full":"http://www.example.com:80","url.scheme":"http","url.domain":"www.example.com","url.port":80,"url.path":null,"url.query":null}
        2 {"http.request.method":null,"http.version":null,"url.original":null,"url.full":null,"url.scheme":null,"url.domain":null,"url.port":null,"url.path":null,"url.query":null}
        3 {"http.request.method":"GET","http.version":"2.0","url.original":"https://[2001:db8::5]:8443?","url.full":"https://[2001:db8::5]:8443?","url.scheme":"https","url.domain":"[2001:db8::5]","url.port":8443,"url.path":null,"url.query":""}
        4 {"http.request.method":"OPTIONS","http.version":"1.1","url.original":"*","url.full":null,"url.scheme":null,"url.domain":null,"url.port":null,"url.path":null,"url.query":null}
        5 {"http.request.method":"GET","http.version":"1.1","url.original":"wss://www.example.com/live/a b","url.full":"wss://www.example.com/live/a b","url.scheme":"wss","url.domain":"www.example.com","url.port":null,"url.path":"/live/a b","url.query":null}
    "#]],
    );
    let fields = [
        "source.address",
        "source.ip",
        "source.port",
        "aws.elb.backend.ip",
        "aws.elb.backend.port",
        "aws.elb.backend_processing_time.sec",
        "event.duration",
        "related.ip",
    ];
    check_some(
        "mapping = 'alb'",
        input,
        &fields,
        expect![[r#"
        0 {"source.address":"192.0.2.1","source.ip":"192.0.2.1","source.port":80,"aws.elb.backend.ip":"10.0.0.1","aws.elb.backend.port":80,"aws.elb.backend_processing_time.sec":0.5,"event.duration":1500000000,"related.ip":["192.0.2.1","10.0.0.1"]}
        1 {"source.address":"2001:db8::1","source.ip":"2001:db8::1","source.port":80,"aws.elb.backend.ip":null,"aws.elb.backend.port":null,"aws.elb.backend_processing_time.sec":null,"event.duration":null,"related.ip":["2001:db8::1"]}
        2 {"source.address":null,"source.ip":null,"source.port":null,"aws.elb.backend.ip":null,"aws.elb.backend.port":null,"aws.elb.backend_processing_time.sec":null,"event.duration":null,"related.ip":null}
        3 {"source.address":"::ffff:192.0.2.1","source.ip":"::ffff:192.0.2.1","source.port":1,"aws.elb.backend.ip":null,"aws.elb.backend.port":null,"aws.elb.backend_processing_time.sec":null,"event.duration":null,"related.ip":["::ffff:192.0.2.1"]}
        4 {"source.address":null,"source.ip":null,"source.port":null,"aws.elb.backend.ip":null,"aws.elb.backend.port":null,"aws.elb.backend_processing_time.sec":null,"event.duration":null,"related.ip":null}
        5 {"source.address":null,"source.ip":null,"source.port":null,"aws.elb.backend.ip":null,"aws.elb.backend.port":null,"aws.elb.backend_processing_time.sec":null,"event.duration":null,"related.ip":null}
    "#]],
    );
}

/// Scenario: a port that is no number.
/// Guarantees: the row is refused.
#[test]
fn bad_port() {
    let input = table(["client", "192.0.2.1:http", "192.0.2.1:443"]);
    check_some(
        "mapping = 'alb'",
        input,
        &["source.port"],
        expect![[r#"
        1 {"source.port":443}
        0 refused: column `client`: `192.0.2.1:http` is not a whole number of 64 bits
    "#]],
    );
}

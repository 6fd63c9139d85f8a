//! nginx and Apache.

use super::*;

/// Scenario: a line of nginx' `main` format, in the columns of the preset.
/// Guarantees: no field is forgotten; a time with a zone is a time in UTC.
#[test]
fn nginx() {
    let input = table([
        "remote_addr | remote_user | time_local | request | status | body_bytes_sent | http_referer | http_user_agent | http_x_forwarded_for",
        "192.0.2.1 | frank | 01/Nov/2026:14:30:00 +0530 | GET /a/b.html?q=1 HTTP/1.1 | 200 | 612 | https://example.org/ | curl/8 | 198.51.100.7, unknown",
    ]);
    check(
        "mapping = 'nginx'",
        input,
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:00Z"
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "success"
          event.type: List(Utf8) = ["access"]
          http.request.method: Utf8 = "GET"
          http.request.referrer: Utf8 = "https://example.org/"
          http.response.body.bytes: Int64 = 612
          http.response.status_code: Int64 = 200
          http.version: Utf8 = "1.1"
          network.forwarded_ip: List(Utf8) = ["198.51.100.7"]
          network.type: Utf8 = "ipv4"
          related.ip: List(Utf8) = ["192.0.2.1","198.51.100.7"]
          related.user: List(Utf8) = ["frank"]
          source.address: Utf8 = "192.0.2.1"
          source.ip: Utf8 = "192.0.2.1"
          url.domain: Utf8 = null
          url.extension: Utf8 = "html"
          url.original: Utf8 = "/a/b.html?q=1"
          url.path: Utf8 = "/a/b.html"
          url.query: Utf8 = "q=1"
          url.scheme: Utf8 = null
          user.name: Utf8 = "frank"
          user_agent.original: Utf8 = "curl/8"
    "#]],
    );
}

/// Scenario: a line of Apache's `vhost_combined` format, in the columns of the preset.
/// Guarantees: no field is forgotten.
#[test]
fn apache() {
    let input = table([
        "server_name | server_port | remote_host | remote_user | time | request | status | bytes | referer | user_agent",
        "www.example.com | 443 | 192.0.2.1 | - | 01/Nov/2026:10:00:00 +0100 | POST /cgi-bin/form.pl HTTP/1.1 | 500 | 17 | - | curl/8",
        "www.example.com | 443 | client.example.net | - | 01/Nov/2026:10:00:00 +0100 | GET / HTTP/1.1 | 304 | - | - | -",
    ]);
    check(
        "mapping = 'apache'",
        input,
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:00Z"
          destination.domain: Utf8 = "www.example.com"
          destination.port: Int64 = 443
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "failure"
          event.type: List(Utf8) = ["access"]
          http.request.method: Utf8 = "POST"
          http.request.referrer: Utf8 = null
          http.response.body.bytes: Int64 = 17
          http.response.status_code: Int64 = 500
          http.version: Utf8 = "1.1"
          network.type: Utf8 = "ipv4"
          related.hosts: List(Utf8) = ["www.example.com"]
          related.ip: List(Utf8) = ["192.0.2.1"]
          related.user: List(Utf8) = null
          source.address: Utf8 = "192.0.2.1"
          source.domain: Utf8 = null
          source.ip: Utf8 = "192.0.2.1"
          url.domain: Utf8 = "www.example.com"
          url.extension: Utf8 = "pl"
          url.original: Utf8 = "/cgi-bin/form.pl"
          url.path: Utf8 = "/cgi-bin/form.pl"
          url.query: Utf8 = null
          url.scheme: Utf8 = null
          user.name: Utf8 = null
          user_agent.original: Utf8 = "curl/8"
        row 1
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:00Z"
          destination.domain: Utf8 = "www.example.com"
          destination.port: Int64 = 443
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.kind: Utf8 = "event"
          event.outcome: Utf8 = "success"
          event.type: List(Utf8) = ["access"]
          http.request.method: Utf8 = "GET"
          http.request.referrer: Utf8 = null
          http.response.body.bytes: Int64 = 0
          http.response.status_code: Int64 = 304
          http.version: Utf8 = "1.1"
          network.type: Utf8 = null
          related.hosts: List(Utf8) = ["www.example.com","client.example.net"]
          related.ip: List(Utf8) = null
          related.user: List(Utf8) = null
          source.address: Utf8 = "client.example.net"
          source.domain: Utf8 = "client.example.net"
          source.ip: Utf8 = null
          url.domain: Utf8 = "www.example.com"
          url.extension: Utf8 = null
          url.original: Utf8 = "/"
          url.path: Utf8 = "/"
          url.query: Utf8 = null
          url.scheme: Utf8 = null
          user.name: Utf8 = null
          user_agent.original: Utf8 = null
    "#]],
    );
}

/// Scenario: variables that are often added to nginx' formats.
/// Guarantees: they become what ECS has for them; durations are exact.
#[test]
fn more_variables() {
    let input = table([
        "msec | request_method | request_uri | server_protocol | scheme | host | request_time | request_length | bytes_sent | ssl_protocol | request_id",
        "1793523600.123 | GET | /a?b | HTTP/2.0 | https | www.example.com | 0.007 | 99 | 812 | TLSv1.3 | 8f14",
    ]);
    check(
        "mapping = 'nginx'",
        input,
        expect![[r#"
        row 0
          @timestamp: Timestamp(ms, "UTC") = "2026-11-01T09:00:00.123Z"
          destination.domain: Utf8 = "www.example.com"
          ecs.version: Utf8 = "9.4.0"
          event.category: List(Utf8) = ["web"]
          event.duration: Int64 = 7000000
          event.id: Utf8 = "8f14"
          event.kind: Utf8 = "event"
          event.type: List(Utf8) = ["access"]
          http.request.bytes: Int64 = 99
          http.request.id: Utf8 = "8f14"
          http.request.method: Utf8 = "GET"
          http.response.bytes: Int64 = 812
          http.version: Utf8 = "2.0"
          related.hosts: List(Utf8) = ["www.example.com"]
          tls.version: Utf8 = "1.3"
          tls.version_protocol: Utf8 = "tls"
          url.domain: Utf8 = "www.example.com"
          url.extension: Utf8 = null
          url.original: Utf8 = "/a?b"
          url.path: Utf8 = "/a"
          url.query: Utf8 = "b"
          url.scheme: Utf8 = "https"
    "#]],
    );
}

/// Scenario: what clients send in place of requests, with the escapes of the servers.
/// Guarantees: escapes are undone once, and only where text comes of it; nothing is lost of what is no request.
#[test]
fn requests() {
    let requests = [
        r"GET /caf\xC3\xA9?q=\x22x\x22 HTTP/1.1",
        r#"GET /a\"b\\n\t HTTP/1.0"#,
        r"GET /\xff\q\x2 HTTP/1.1",
        r"\x16\x03\x01\x02",
        "GET /a b.html HTTP/1.1",
        "GET /",
        "GET",
        "-",
        "",
        "CONNECT www.example.com:443 HTTP/1.1",
        "GET http://www.example.com/x HTTP/1.1",
        "GET HTTP://WWW.example.com HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /?",
    ];
    let fields =
        ["http.request.method", "url.original", "http.version", "url.domain", "url.path", "url.query", "url.extension"];
    let lines = ["request"].into_iter().chain(requests);
    check_some(
        "mapping = 'nginx'",
        table(lines),
        &fields,
        expect![[r#"
        0 {"http.request.method":"GET","url.original":"/café?q=\"x\"","http.version":"1.1","url.domain":null,"url.path":"/café","url.query":"q=\"x\"","url.extension":null}
        1 {"http.request.method":"GET","url.original":"/a\"b\\n\t","http.version":"1.0","url.domain":null,"url.path":"/a\"b\\n\t","url.query":null,"url.extension":null}
        2 {"http.request.method":"GET","url.original":"/\\xff\\q\\x2","http.version":"1.1","url.domain":null,"url.path":"/\\xff\\q\\x2","url.query":null,"url.extension":null}
        3 {"http.request.method":null,"url.original":"\u0016\u0003\u0001\u0002","http.version":null,"url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        4 {"http.request.method":"GET","url.original":"/a b.html","http.version":"1.1","url.domain":null,"url.path":"/a b.html","url.query":null,"url.extension":"html"}
        5 {"http.request.method":"GET","url.original":"/","http.version":null,"url.domain":null,"url.path":"/","url.query":null,"url.extension":null}
        6 {"http.request.method":null,"url.original":"GET","http.version":null,"url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        7 {"http.request.method":null,"url.original":null,"http.version":null,"url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        8 {"http.request.method":null,"url.original":null,"http.version":null,"url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        9 {"http.request.method":"CONNECT","url.original":"www.example.com:443","http.version":"1.1","url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        10 {"http.request.method":"GET","url.original":"http://www.example.com/x","http.version":"1.1","url.domain":"www.example.com","url.path":"/x","url.query":null,"url.extension":null}
        11 {"http.request.method":"GET","url.original":"HTTP://WWW.example.com","http.version":"1.1","url.domain":"WWW.example.com","url.path":null,"url.query":null,"url.extension":null}
        12 {"http.request.method":"PRI","url.original":"*","http.version":"2.0","url.domain":null,"url.path":null,"url.query":null,"url.extension":null}
        13 {"http.request.method":"GET","url.original":"/?","http.version":null,"url.domain":null,"url.path":"/","url.query":"","url.extension":null}
    "#]],
    );
}

/// Scenario: clients that are no addresses, and texts with escapes.
/// Guarantees: an address is an address, a name is a name; agents and referrers are what the client sent.
#[test]
fn clients() {
    let input = table([
        "remote_host | user_agent | referer | status",
        r#"2001:DB8::1 | agent \"with\" quotes | - | 200"#,
        r"client.example.net | a \\ and a \t | https://example.com/?q=\x22 | 400",
        "- | - | - | -",
    ]);
    let fields = [
        "source.address",
        "source.ip",
        "source.domain",
        "network.type",
        "related.hosts",
        "related.ip",
        "user_agent.original",
        "http.request.referrer",
        "event.outcome",
    ];
    check_some(
        "mapping = 'apache'",
        input,
        &fields,
        expect![[r#"
        0 {"source.address":"2001:DB8::1","source.ip":"2001:db8::1","source.domain":null,"network.type":"ipv6","related.hosts":null,"related.ip":["2001:db8::1"],"user_agent.original":"agent \"with\" quotes","http.request.referrer":null,"event.outcome":"success"}
        1 {"source.address":"client.example.net","source.ip":null,"source.domain":"client.example.net","network.type":null,"related.hosts":["client.example.net"],"related.ip":null,"user_agent.original":"a \\ and a \t","http.request.referrer":"https://example.com/?q=\"","event.outcome":"failure"}
        2 {"source.address":null,"source.ip":null,"source.domain":null,"network.type":null,"related.hosts":null,"related.ip":null,"user_agent.original":null,"http.request.referrer":null,"event.outcome":null}
    "#]],
    );
}

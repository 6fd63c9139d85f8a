//! What becomes of single values.

use super::*;

/// Scenario: URIs with and without a query, with an empty one, and with the query in its own column only.
/// Guarantees: path and query are split at the first question mark; no query is null and an empty one is empty.
#[test]
fn urls() {
    let toml = "mapping = 'cloudfront_realtime'";
    let fields = ["url.path", "url.query", "url.extension", "url.full"];
    check_some(
        toml,
        table([
            "cs-protocol | cs-host | cs-uri-stem | cs-uri-query",
            "https | example.com | /a/b.tar.gz?x=1?y | x=1?y",
            "https | example.com | / | -",
            "https | example.com | /i? | -",
            "https | example.com | /i.js | x=1",
            "wss | [2001:db8::1]:443 | /.htaccess | -",
            "https | - | /a. | -",
            "https | example.com | - | -",
        ]),
        &fields,
        expect![[r#"
            0 {"url.path":"/a/b.tar.gz","url.query":"x=1?y","url.extension":"gz","url.full":"https://example.com/a/b.tar.gz?x=1?y"}
            1 {"url.path":"/","url.query":null,"url.extension":null,"url.full":"https://example.com/"}
            2 {"url.path":"/i","url.query":"","url.extension":null,"url.full":"https://example.com/i?"}
            3 {"url.path":"/i.js","url.query":"x=1","url.extension":"js","url.full":"https://example.com/i.js?x=1"}
            4 {"url.path":"/.htaccess","url.query":null,"url.extension":null,"url.full":"wss://[2001:db8::1]:443/.htaccess"}
            5 {"url.path":"/a.","url.query":null,"url.extension":null,"url.full":null}
            6 {"url.path":null,"url.query":null,"url.extension":null,"url.full":null}
        "#]],
    );
    let stem_only = table(["cs-uri-stem", "/i?a=b"]);
    check_some(
        toml,
        stem_only,
        &["url.path", "url.query"],
        expect![[r#"
        0 {"url.path":"/i","url.query":"a=b"}
    "#]],
    );
    let query_only = table(["cs-uri-query", "a=b"]);
    check_some(
        toml,
        query_only,
        &["url.query"],
        expect![[r#"
        0 {"url.query":"a=b"}
    "#]],
    );
    let hosts = table(["cs-host", "example.com:8443", "[2001:db8::1]:443", "[2001:db8::1]", "2001:db8::1", "a:b"]);
    check_some(
        toml,
        hosts,
        &["destination.address", "destination.domain", "url.domain"],
        expect![[r#"
            0 {"destination.address":"example.com:8443","destination.domain":"example.com","url.domain":"example.com"}
            1 {"destination.address":"[2001:db8::1]:443","destination.domain":"[2001:db8::1]","url.domain":"[2001:db8::1]"}
            2 {"destination.address":"[2001:db8::1]","destination.domain":"[2001:db8::1]","url.domain":"[2001:db8::1]"}
            3 {"destination.address":"2001:db8::1","destination.domain":"2001:db8::1","url.domain":"2001:db8::1"}
            4 {"destination.address":"a:b","destination.domain":"a:b","url.domain":"a:b"}
        "#]],
    );
}

/// Scenario: status codes of all kinds.
/// Guarantees: below 400 is success; 400 and more, and 000 (the viewer left), is failure; no status, no outcome.
#[test]
fn outcomes() {
    let input = table(["sc-status", "000", "100", "200", "399", "400", "503", "-", "abc", "99999999999999999999"]);
    let fields = ["http.response.status_code", "event.outcome"];
    check_some(
        "mapping = 'cloudfront_realtime'",
        input,
        &fields,
        expect![[r#"
            0 {"http.response.status_code":0,"event.outcome":"failure"}
            1 {"http.response.status_code":100,"event.outcome":"success"}
            2 {"http.response.status_code":200,"event.outcome":"success"}
            3 {"http.response.status_code":399,"event.outcome":"success"}
            4 {"http.response.status_code":400,"event.outcome":"failure"}
            5 {"http.response.status_code":503,"event.outcome":"failure"}
            6 {"http.response.status_code":null,"event.outcome":null}
            7 refused: column `sc-status`: `abc` is not a whole number of 64 bits
            8 refused: column `sc-status`: `99999999999999999999` is not a whole number of 64 bits
        "#]],
    );
}

/// Scenario: viewers' addresses, with lists of proxies that hold blanks, ports, repetitions and nonsense.
/// Guarantees: valid ones are kept in order, in canonical form; all addresses of a request are related, each once;
/// an address column that holds none refuses the row.
#[test]
fn addresses() {
    let input = table([
        "c-ip | x-forwarded-for",
        "192.0.2.1 | 198.51.100.7, 192.0.2.1,,unknown,198.51.100.7",
        "2001:DB8:0::1 | [2001:db8::2]:443,%20198.51.100.7:80",
        "192.0.2.1 | -",
        "192.0.2.1 | _hidden",
        "- | -",
        "192.0.2.256 | -",
    ]);
    let fields = ["source.address", "source.ip", "network.type", "network.forwarded_ip", "related.ip"];
    check_some(
        "mapping = 'cloudfront_realtime'",
        input,
        &fields,
        expect![[r#"
            0 {"source.address":"192.0.2.1","source.ip":"192.0.2.1","network.type":"ipv4","network.forwarded_ip":["198.51.100.7","192.0.2.1","198.51.100.7"],"related.ip":["192.0.2.1","198.51.100.7"]}
            1 {"source.address":"2001:DB8:0::1","source.ip":"2001:db8::1","network.type":"ipv6","network.forwarded_ip":["2001:db8::2","198.51.100.7"],"related.ip":["2001:db8::1","2001:db8::2","198.51.100.7"]}
            2 {"source.address":"192.0.2.1","source.ip":"192.0.2.1","network.type":"ipv4","network.forwarded_ip":null,"related.ip":["192.0.2.1"]}
            3 {"source.address":"192.0.2.1","source.ip":"192.0.2.1","network.type":"ipv4","network.forwarded_ip":null,"related.ip":["192.0.2.1"]}
            4 {"source.address":null,"source.ip":null,"network.type":null,"network.forwarded_ip":null,"related.ip":null}
            5 refused: column `c-ip`: `192.0.2.256` is not an IP address
        "#]],
    );
}

/// Scenario: user agents as logged: with escapes, with escaped escapes, with bytes that are not UTF-8.
/// Guarantees: one pass of decoding; what is not UTF-8 afterwards stays as it was logged, and the row with it.
#[test]
fn user_agents() {
    let input =
        table(["cs(User-Agent)", "a%20b", "a%2520b", "100%25", "%E6%97%A5%E6%9C%AC", "日本", "caf%E9", "%", "-"]);
    check_some(
        "mapping = 'cloudfront_standard'",
        input,
        &["user_agent.original"],
        expect![[r#"
            0 {"user_agent.original":"a b"}
            1 {"user_agent.original":"a%20b"}
            2 {"user_agent.original":"100%"}
            3 {"user_agent.original":"日本"}
            4 {"user_agent.original":"日本"}
            5 {"user_agent.original":"caf%E9"}
            6 {"user_agent.original":"%"}
            7 {"user_agent.original":null}
        "#]],
    );
}

/// Scenario: protocols of TLS and HTTP.
/// Guarantees: name and number are apart, in lower case.
#[test]
fn protocols() {
    let input = table([
        "ssl-protocol | cs-protocol-version | cs-protocol",
        "SSLv3 | HTTP/0.9 | HTTP",
        "TLSv1 | HTTP/1.1 | wss",
        "TLSv1.2 | HTTP/3.0 | grpcs",
        "- | - | -",
    ]);
    let fields = ["tls.version_protocol", "tls.version", "http.version", "network.protocol", "url.scheme"];
    check_some(
        "mapping = 'cloudfront_realtime'",
        input,
        &fields,
        expect![[r#"
            0 {"tls.version_protocol":"ssl","tls.version":"3","http.version":"0.9","network.protocol":"http","url.scheme":"http"}
            1 {"tls.version_protocol":"tls","tls.version":"1","http.version":"1.1","network.protocol":"wss","url.scheme":"wss"}
            2 {"tls.version_protocol":"tls","tls.version":"1.2","http.version":"3.0","network.protocol":"grpcs","url.scheme":"grpcs"}
            3 {"tls.version_protocol":null,"tls.version":null,"http.version":null,"network.protocol":null,"url.scheme":null}
        "#]],
    );
}

/// Scenario: standard logs with a time in milliseconds beside date and time, with date and time only, and damaged ones.
/// Guarantees: the most exact one counts; a date that there is not refuses the row, naming both columns.
#[test]
fn times_of_standard_logs() {
    let toml = "mapping = 'cloudfront_standard'";
    let v2 = table(["date | time | timestamp(ms)", "2024-11-14 | 21:34:06 | 1731620046814"]);
    check_some(
        toml,
        v2,
        &["@timestamp"],
        expect![[r#"
        0 {"@timestamp":"2024-11-14T21:34:06.814Z"}
    "#]],
    );
    let parquet = table(["date | time | timestamp_ms", "2024-11-14 | 21:34:06 | 1731620046814"]);
    check_some(
        toml,
        parquet,
        &["@timestamp"],
        expect![[r#"
        0 {"@timestamp":"2024-11-14T21:34:06.814Z"}
    "#]],
    );
    let v1 = table(["date | time", "2024-11-14 | 21:34:06", "2024-02-30 | 00:00:00", "- | 00:00:00", "x | \t"]);
    check_some(
        toml,
        v1,
        &["@timestamp"],
        expect![[r#"
        0 {"@timestamp":"2024-11-14T21:34:06Z"}
        2 {"@timestamp":null}
        1 refused: columns `date` and `time`: `2024-02-30 00:00:00` is not a date and a time
        3 refused: columns `date` and `time`: `x ` is not a date and a time
    "#]],
    );
}

/// Scenario: durations with digits that floating point cannot hold.
/// Guarantees: they are exact in nanoseconds.
#[test]
fn durations() {
    let input = table(["time-taken", "0.1", "0.3", "4.35", "1234567.001", "0.0000000019", "-", "1e3"]);
    check_some(
        "mapping = 'cloudfront_realtime'",
        input,
        &["event.duration"],
        expect![[r#"
            0 {"event.duration":100000000}
            1 {"event.duration":300000000}
            2 {"event.duration":4350000000}
            3 {"event.duration":1234567001000000}
            4 {"event.duration":1}
            5 {"event.duration":null}
            6 refused: column `time-taken`: `1e3` is not a number of seconds
        "#]],
    );
}

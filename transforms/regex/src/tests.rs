mod lowering;
mod presets;
mod several;

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use forebay_api::{Outputs, TransformConfig, Wrong};
use forebay_testkit::{Applied, canonical, columns, text};
use proptest::prelude::*;

use crate::{Regex, preset};

fn config(toml: &str) -> Regex {
    toml::from_str(toml).unwrap()
}

/// Runs the conformance suite, and shows the columns, what was sent and what was refused.
fn check<'a>(toml: &str, lines: impl IntoIterator<Item = &'a str>, expected: Expect) {
    let config = config(toml);
    let applied = forebay_testkit::transform(|| config.build().unwrap(), &[text("message", lines)]);
    expected.assert_eq(&show(&applied));
}

fn show(applied: &Applied) -> String {
    let schema = applied.sent.schema();
    let columns: Vec<String> = schema.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type())).collect();
    let mut shown = format!("{}\n", columns.join(", "));
    for (row, origin) in canonical(std::slice::from_ref(&applied.sent)).iter().zip(&applied.origins) {
        shown += &format!("{origin} {row}\n");
    }
    for (origin, why) in &applied.refused {
        shown += &format!("{origin} refused: {why}\n");
    }
    shown
}

/// Shows what is wrong with a configuration, while it is read, built or planned.
fn check_wrong(toml: &str, expected: Expect) {
    let config = match toml::from_str::<Regex>(toml) {
        Ok(config) => config,
        Err(error) => return expected.assert_eq(&format!("{}\n", error.message())),
    };
    let planned = config.build().and_then(|mut it| it.plan(&text("message", ["x"]).schema()));
    let error = planned.expect_err("the configuration is wrong");
    let Wrong { key, what, label, hint } = error.downcast_ref().expect("the error names a key");
    expected.assert_eq(&format!(
        "{key}: {what}\n  {}\n  {}\n",
        label.as_deref().unwrap_or("-"),
        hint.as_deref().unwrap_or("-")
    ));
}

/// Scenario: one pattern with each type of number, good values and bad ones.
/// Guarantees: values keep their type exactly; a bad value refuses its row with column and value, and the first
/// bad value of a row is the one that is told.
#[test]
fn numbers() {
    check(
        r#"
        pattern = '^(?<a>\S+) (?<b>\S+) (?<c>\S+) (?<d>\S+)'
        types = { a = "u16", b = "i8", c = "f64", d = "decimal:3" }
        "#,
        [
            "200 -128 1.5 0.042",
            "000 007 1e3 -12.5",
            "- - - -",
            "abc 1 1 1",
            "65536 128 1 1",
            "1 1 nan 1",
            "1 1 inf 1",
            "1 1 1 0.0001",
            "1 1 1 7.120000",
            "1 1 1 123456789012345.999",
            "1 1 1 1234567890123456.7",
            "1 1 1 .5",
            "1 1 1 5.",
            "1 1 1 1e3",
        ],
        expect![[r#"
            a: UInt16, b: Int8, c: Float64, d: Decimal128(18, 3)
            0 {"a":200,"b":-128,"c":1.5,"d":0.042}
            1 {"a":0,"b":7,"c":1000.0,"d":-12.500}
            2 {"a":null,"b":null,"c":null,"d":null}
            8 {"a":1,"b":1,"c":1.0,"d":7.120}
            9 {"a":1,"b":1,"c":1.0,"d":123456789012345.999}
            3 refused: column `a`: `abc` is not a u16
            4 refused: column `a`: `65536` is not a u16
            5 refused: column `c`: `nan` is not a finite f64
            6 refused: column `c`: `inf` is not a finite f64
            7 refused: column `d`: `0.0001` is not a number with 3 digits behind the point
            10 refused: column `d`: `1234567890123456.7` is not a number with 3 digits behind the point
            11 refused: column `d`: `.5` is not a number with 3 digits behind the point
            12 refused: column `d`: `5.` is not a number with 3 digits behind the point
            13 refused: column `d`: `1e3` is not a number with 3 digits behind the point
        "#]],
    );
}

/// Scenario: the other integers and booleans.
/// Guarantees: each type takes its whole range and no more.
#[test]
fn ranges() {
    check(
        r#"
        pattern = '^(?<a>\S+) (?<b>\S+) (?<c>\S+) (?<d>\S+) (?<e>\S+) (?<f>\S+) (?<g>\S+) (?<h>\S+)'
        types = { a = "i16", b = "i32", c = "i64", d = "u8", e = "u32", f = "u64", g = "f32", h = "bool" }
        "#,
        [
            "-32768 -2147483648 -9223372036854775808 255 4294967295 18446744073709551615 0.5 true",
            "1 1 1 1 1 1 1 false",
            "1 1 1 1 1 1 1 1",
            "1 1 1 256 1 1 1 true",
            "1 1 1 1 -1 1 1 true",
        ],
        expect![[r#"
            a: Int16, b: Int32, c: Int64, d: UInt8, e: UInt32, f: UInt64, g: Float32, h: Boolean
            0 {"a":-32768,"b":-2147483648,"c":-9223372036854775808,"d":255,"e":4294967295,"f":18446744073709551615,"g":0.5,"h":true}
            1 {"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1.0,"h":false}
            2 refused: column `h`: `1` is not `true` or `false`
            3 refused: column `d`: `256` is not a u8
            4 refused: column `e`: `-1` is not a u32
        "#]],
    );
}

/// Scenario: times as seconds with a fraction, milliseconds, RFC 3339 and a format.
/// Guarantees: milliseconds are exact, finer digits are cut off, a time without an offset is UTC, and milliseconds
/// given as seconds are found out.
#[test]
fn times() {
    check(
        r#"
        pattern = '^s=(?<s>\S+) ms=(?<ms>\S+) r=(?<r>\S+) f=(?<f>.*)$'
        types = { s = "timestamp:epoch_s", ms = "timestamp:epoch_ms", r = "timestamp:rfc3339", f = "timestamp:%d/%b/%Y:%H:%M:%S %z" }
        "#,
        [
            "s=1607374321.541 ms=1607374321541 r=2020-12-07T20:52:01.541Z f=07/Dec/2020:20:52:01 +0000",
            "s=1607374321 ms=- r=2020-12-07T22:52:01.5419+02:00 f=28/Sep/1970:12:00:00 +0600",
            "s=1607374321.5419 ms=0 r=- f=-",
            "s=1607374321541 ms=- r=- f=-",
            "s=- ms=16e3 r=- f=-",
            "s=- ms=- r=2020-12-07 f=-",
            "s=- ms=- r=- f=31/Feb/2020:00:00:00 +0000",
        ],
        expect![[r#"
            s: Timestamp(ms, "UTC"), ms: Timestamp(ms, "UTC"), r: Timestamp(ms, "UTC"), f: Timestamp(ms, "UTC")
            0 {"s":"2020-12-07T20:52:01.541Z","ms":"2020-12-07T20:52:01.541Z","r":"2020-12-07T20:52:01.541Z","f":"2020-12-07T20:52:01Z"}
            1 {"s":"2020-12-07T20:52:01Z","ms":null,"r":"2020-12-07T20:52:01.541Z","f":"1970-09-28T06:00:00Z"}
            2 {"s":"2020-12-07T20:52:01.541Z","ms":"1970-01-01T00:00:00Z","r":null,"f":null}
            3 refused: column `s`: `1607374321541` is not a time in seconds since 1970
            4 refused: column `ms`: `16e3` is not a time in milliseconds since 1970
            5 refused: column `r`: `2020-12-07` is not a time of RFC 3339
            6 refused: column `f`: `31/Feb/2020:00:00:00 +0000` is not a time like `%d/%b/%Y:%H:%M:%S %z`
        "#]],
    );
    check(
        r#"
        pattern = '^(?<at>.*)$'
        types = { at = "timestamp:%Y-%m-%d %H:%M:%S%.f" }
        "#,
        ["2024-11-14 21:34:06.814", "2024-11-14"],
        expect![[r#"
            at: Timestamp(ms, "UTC")
            0 {"at":"2024-11-14T21:34:06.814Z"}
            1 refused: column `at`: `2024-11-14` is not a time like `%Y-%m-%d %H:%M:%S%.f`
        "#]],
    );
}

/// Scenario: addresses and percent-encoded text.
/// Guarantees: addresses come out in canonical form; text is decoded exactly once, so that `%25` is a literal percent
/// sign; bytes that are not UTF-8 refuse the row; values in messages are short and on one line.
#[test]
fn texts() {
    let long = "9".repeat(300);
    check(
        r#"
        pattern = '(?s)^(?<ip>[^ ]*) (?<agent>.*)$'
        types = { ip = "ip", agent = "percent_decoded" }
        "#,
        [
            "192.0.2.183 Mozilla/5.0%20(Macintosh)",
            "2001:DB8:0:0::1 http%253A%252F%252Flocalhost",
            "- 100%25%20caf%C3%A9 café",
            "- -",
            "- caf%E9",
            "- %",
            "192.0.2.256 x",
            "192.0.2.1\n x",
            &format!("{long} x"),
        ],
        expect![[r#"
            ip: Utf8, agent: Utf8
            0 {"ip":"192.0.2.183","agent":"Mozilla/5.0 (Macintosh)"}
            1 {"ip":"2001:db8::1","agent":"http%3A%2F%2Flocalhost"}
            2 {"ip":null,"agent":"100% café café"}
            3 {"ip":null,"agent":null}
            5 {"ip":null,"agent":"%"}
            4 refused: column `agent`: `caf%E9` is not percent-encoded UTF-8
            6 refused: column `ip`: `192.0.2.256` is not an IP address
            7 refused: column `ip`: `192.0.2.1\n` is not an IP address
            8 refused: column `ip`: `99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999…` is not an IP address
        "#]],
    );
}

/// Scenario: several patterns with some groups in common, an optional group, and another text for null.
/// Guarantees: the first match wins, the columns are the union, and what has no value is null.
#[test]
fn patterns() {
    check(
        r#"
        patterns = ['^user=(?<user>\S+)( age=(?<age>\d+))?$', '^host=(?<host>\S*) user=(?<user>\S+)$', '(?<rest>.+)']
        types = { age = "u8" }
        null = ""
        "#,
        ["user=ann age=31", "user=bob", "host= user=-", "anything", ""],
        expect![[r#"
            user: Utf8, age: UInt8, host: Utf8, rest: Utf8
            0 {"user":"ann","age":31,"host":null,"rest":null}
            1 {"user":"bob","age":null,"host":null,"rest":null}
            2 {"user":"-","age":null,"host":null,"rest":null}
            3 {"user":null,"age":null,"host":null,"rest":"anything"}
            4 refused: does not match the pattern
        "#]],
    );
}

/// Scenario: another text column, one more column to keep, and a null in the text.
/// Guarantees: kept values stay with their rows when rows between them are refused; null text is refused.
#[test]
fn keep() {
    let config = config("column = 'line'\npattern = '^(?<n>.)$'\ntypes = { n = 'u8' }\nkeep = ['key']");
    let lines = text("line", [Some("1"), Some("x"), None, Some("22"), Some("3")]).column(0).clone();
    let keys = text("key", ["a", "b", "c", "d", "e"]).column(0).clone();
    let input = columns([("line", lines), ("key", keys)]);
    let applied = forebay_testkit::transform(|| config.build().unwrap(), &[input]);
    expect![[r#"
        n: UInt8, key: Utf8
        0 {"n":1,"key":"a"}
        4 {"n":3,"key":"e"}
        1 refused: column `n`: `x` is not a u8
        2 refused: column `line` is null
        3 refused: does not match the pattern
    "#]]
    .assert_eq(&show(&applied));
}

/// Scenario: something behind the transform uses one column, another one, and none; some values are not of their type.
/// Guarantees: only what is used comes out, and only its values are checked; each time it is said anew. What must come
/// in is the text and what is carried along.
#[test]
fn only_what_is_used_is_built() {
    let config =
        config("pattern = '^(?<a>[^ ]*) (?<b>[^ ]*)( (?<c>x|xy))?$'\ntypes = { a = 'u8', b = 'u8' }\nkeep = ['key']");
    let lines = text("message", ["1 2", "x 3 xy", "4 x", "5"]).column(0).clone();
    let keys = text("key", ["k1", "k2", "k3", "k4"]).column(0).clone();
    let input = columns([("message", lines), ("key", keys)]);
    let mut transform = config.build().unwrap();
    transform.plan(&input.schema()).unwrap();
    let mut shown = String::new();
    for used in [&["b", "key"][..], &["a"], &[]] {
        let used: BTreeSet<String> = used.iter().map(|it| (*it).to_owned()).collect();
        let schema = transform.narrow(&used).unwrap();
        let mut out = Outputs::new(input.num_rows());
        transform.apply(input.clone(), &mut out).unwrap();
        let (sent, picked) = &out.sent()[0];
        assert_eq!(sent.schema(), schema);
        let names: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
        let rows = canonical(std::slice::from_ref(sent)).join(" ");
        let origins = picked.as_ref().unwrap().values().to_vec();
        shown += &format!("{names:?} {rows} {origins:?}, refused {:?}\n", out.refused());
    }
    expect![[r#"
        ["b", "key"] {"b":2,"key":"k1"} [0], refused [(1, "column `a`: `x` is not a u8"), (2, "column `b`: `x` is not a u8"), (3, "does not match the pattern")]
        ["a"] {"a":1} [0], refused [(1, "column `a`: `x` is not a u8"), (2, "column `b`: `x` is not a u8"), (3, "does not match the pattern")]
        [] {} [0], refused [(1, "column `a`: `x` is not a u8"), (2, "column `b`: `x` is not a u8"), (3, "does not match the pattern")]
    "#]].assert_eq(&shown);
    assert_eq!(transform.uses(), Some(BTreeSet::from(["key".to_owned(), "message".to_owned()])));
}

/// A record of the year 2020 as documented by AWS, shortened, with the fields of that time.
const RECORD: &str = "1607374321.541\t192.0.2.183\t0.042\t200\t485\tGET\thttps\twww.example.com\t\
    /i?url=http%253A%252F%252Flocalhost\t745\tEWR52-C4\t6PfZe0cc_AjX==\td111111abcdef8.cloudfront.net\t0.042\t\
    HTTP/2.0\tIPv4\tMozilla/5.0%20(Macintosh)\thttp://localhost:5000/page-2\t-\turl=http%253A%252F%252Flocalhost\t\
    Miss\t-\tTLSv1.3\tECDHE-RSA-AES128-GCM-SHA256\tHit\t-\t-\timage/gif\t35\t-\t-\t49323\tMiss\tUS\tgzip,%20deflate\t\
    image/webp,*/*\t*\tHost:a%0AAccept:*/*%0A\tHost%0AAccept%0A\t8";

/// Scenario: real-time log records, as they are by default, with trailing newlines, and with columns too few or many.
/// Guarantees: 45 fields with their types; texts stay percent-encoded; 000 is the number 0; a newline is tolerated;
/// a record with another number of columns is refused and says so.
#[test]
fn cloudfront() {
    let record = format!("{RECORD}\t-\t-\t0.251\t0.251\t16509");
    let left_first = record.replace("\t200\t", "\t000\t");
    check(
        "preset = 'cloudfront_realtime'",
        [
            record.as_str(),
            &format!("{left_first}\n"),
            &format!("{record}\r\n"),
            RECORD,
            &format!("{record}\t-"),
            &format!("{record}\n\n"),
            "",
            &record.replace("49323", "4932x"),
        ],
        expect![[r#"
            timestamp: Timestamp(ms, "UTC"), c_ip: Utf8, time_to_first_byte: Decimal128(18, 6), sc_status: UInt16, sc_bytes: UInt64, cs_method: Utf8, cs_protocol: Utf8, cs_host: Utf8, cs_uri_stem: Utf8, cs_bytes: UInt64, x_edge_location: Utf8, x_edge_request_id: Utf8, x_host_header: Utf8, time_taken: Decimal128(18, 6), cs_protocol_version: Utf8, c_ip_version: Utf8, cs_user_agent: Utf8, cs_referer: Utf8, cs_cookie: Utf8, cs_uri_query: Utf8, x_edge_response_result_type: Utf8, x_forwarded_for: Utf8, ssl_protocol: Utf8, ssl_cipher: Utf8, x_edge_result_type: Utf8, fle_encrypted_fields: UInt32, fle_status: Utf8, sc_content_type: Utf8, sc_content_len: UInt64, sc_range_start: UInt64, sc_range_end: UInt64, c_port: UInt16, x_edge_detailed_result_type: Utf8, c_country: Utf8, cs_accept_encoding: Utf8, cs_accept: Utf8, cache_behavior_path_pattern: Utf8, cs_headers: Utf8, cs_header_names: Utf8, cs_headers_count: UInt32, primary_distribution_id: Utf8, primary_distribution_dns_name: Utf8, origin_fbl: Decimal128(18, 6), origin_lbl: Decimal128(18, 6), asn: UInt32
            0 {"timestamp":"2020-12-07T20:52:01.541Z","c_ip":"192.0.2.183","time_to_first_byte":0.042000,"sc_status":200,"sc_bytes":485,"cs_method":"GET","cs_protocol":"https","cs_host":"www.example.com","cs_uri_stem":"/i?url=http%253A%252F%252Flocalhost","cs_bytes":745,"x_edge_location":"EWR52-C4","x_edge_request_id":"6PfZe0cc_AjX==","x_host_header":"d111111abcdef8.cloudfront.net","time_taken":0.042000,"cs_protocol_version":"HTTP/2.0","c_ip_version":"IPv4","cs_user_agent":"Mozilla/5.0%20(Macintosh)","cs_referer":"http://localhost:5000/page-2","cs_cookie":null,"cs_uri_query":"url=http%253A%252F%252Flocalhost","x_edge_response_result_type":"Miss","x_forwarded_for":null,"ssl_protocol":"TLSv1.3","ssl_cipher":"ECDHE-RSA-AES128-GCM-SHA256","x_edge_result_type":"Hit","fle_encrypted_fields":null,"fle_status":null,"sc_content_type":"image/gif","sc_content_len":35,"sc_range_start":null,"sc_range_end":null,"c_port":49323,"x_edge_detailed_result_type":"Miss","c_country":"US","cs_accept_encoding":"gzip,%20deflate","cs_accept":"image/webp,*/*","cache_behavior_path_pattern":"*","cs_headers":"Host:a%0AAccept:*/*%0A","cs_header_names":"Host%0AAccept%0A","cs_headers_count":8,"primary_distribution_id":null,"primary_distribution_dns_name":null,"origin_fbl":0.251000,"origin_lbl":0.251000,"asn":16509}
            1 {"timestamp":"2020-12-07T20:52:01.541Z","c_ip":"192.0.2.183","time_to_first_byte":0.042000,"sc_status":0,"sc_bytes":485,"cs_method":"GET","cs_protocol":"https","cs_host":"www.example.com","cs_uri_stem":"/i?url=http%253A%252F%252Flocalhost","cs_bytes":745,"x_edge_location":"EWR52-C4","x_edge_request_id":"6PfZe0cc_AjX==","x_host_header":"d111111abcdef8.cloudfront.net","time_taken":0.042000,"cs_protocol_version":"HTTP/2.0","c_ip_version":"IPv4","cs_user_agent":"Mozilla/5.0%20(Macintosh)","cs_referer":"http://localhost:5000/page-2","cs_cookie":null,"cs_uri_query":"url=http%253A%252F%252Flocalhost","x_edge_response_result_type":"Miss","x_forwarded_for":null,"ssl_protocol":"TLSv1.3","ssl_cipher":"ECDHE-RSA-AES128-GCM-SHA256","x_edge_result_type":"Hit","fle_encrypted_fields":null,"fle_status":null,"sc_content_type":"image/gif","sc_content_len":35,"sc_range_start":null,"sc_range_end":null,"c_port":49323,"x_edge_detailed_result_type":"Miss","c_country":"US","cs_accept_encoding":"gzip,%20deflate","cs_accept":"image/webp,*/*","cache_behavior_path_pattern":"*","cs_headers":"Host:a%0AAccept:*/*%0A","cs_header_names":"Host%0AAccept%0A","cs_headers_count":8,"primary_distribution_id":null,"primary_distribution_dns_name":null,"origin_fbl":0.251000,"origin_lbl":0.251000,"asn":16509}
            2 {"timestamp":"2020-12-07T20:52:01.541Z","c_ip":"192.0.2.183","time_to_first_byte":0.042000,"sc_status":200,"sc_bytes":485,"cs_method":"GET","cs_protocol":"https","cs_host":"www.example.com","cs_uri_stem":"/i?url=http%253A%252F%252Flocalhost","cs_bytes":745,"x_edge_location":"EWR52-C4","x_edge_request_id":"6PfZe0cc_AjX==","x_host_header":"d111111abcdef8.cloudfront.net","time_taken":0.042000,"cs_protocol_version":"HTTP/2.0","c_ip_version":"IPv4","cs_user_agent":"Mozilla/5.0%20(Macintosh)","cs_referer":"http://localhost:5000/page-2","cs_cookie":null,"cs_uri_query":"url=http%253A%252F%252Flocalhost","x_edge_response_result_type":"Miss","x_forwarded_for":null,"ssl_protocol":"TLSv1.3","ssl_cipher":"ECDHE-RSA-AES128-GCM-SHA256","x_edge_result_type":"Hit","fle_encrypted_fields":null,"fle_status":null,"sc_content_type":"image/gif","sc_content_len":35,"sc_range_start":null,"sc_range_end":null,"c_port":49323,"x_edge_detailed_result_type":"Miss","c_country":"US","cs_accept_encoding":"gzip,%20deflate","cs_accept":"image/webp,*/*","cache_behavior_path_pattern":"*","cs_headers":"Host:a%0AAccept:*/*%0A","cs_header_names":"Host%0AAccept%0A","cs_headers_count":8,"primary_distribution_id":null,"primary_distribution_dns_name":null,"origin_fbl":0.251000,"origin_lbl":0.251000,"asn":16509}
            3 refused: 40 columns where 45 fields are configured: CloudFront's field list and `fields` differ
            4 refused: 46 columns where 45 fields are configured: CloudFront's field list and `fields` differ
            5 refused: does not match the pattern
            6 refused: 1 column where 45 fields are configured: CloudFront's field list and `fields` differ
            7 refused: column `c_port`: `4932x` is not a u16
        "#]],
    );
}

/// Scenario: five fields configured out of order.
/// Guarantees: CloudFront's order counts, and a type of one's own replaces the preset's.
#[test]
fn cloudfront_order() {
    check(
        r#"
        preset = "cloudfront_realtime"
        fields = ["sc-bytes", "time-to-first-byte", "time-taken", "c-country", "sc-status"]
        types = { time_taken = "f64" }
        "#,
        ["0.042\t200\t485\t0.043\tUS", "0.042\t200\t485\tUS"],
        expect![[r#"
            time_to_first_byte: Decimal128(18, 6), sc_status: UInt16, sc_bytes: UInt64, time_taken: Float64, c_country: Utf8
            0 {"time_to_first_byte":0.042000,"sc_status":200,"sc_bytes":485,"time_taken":0.043,"c_country":"US"}
            1 refused: 4 columns where 5 fields are configured: CloudFront's field list and `fields` differ
        "#]],
    );
}

/// Scenario: every field that CloudFront knows.
/// Guarantees: a record with all of them matches.
#[test]
fn cloudfront_all() {
    let fields: Vec<String> = forebay_codec::cloudfront::REALTIME_FIELDS.iter().map(|it| (*it).to_owned()).collect();
    let mut all = config("preset = 'cloudfront_realtime'");
    all.fields = Some(fields.clone());
    let mut transform = all.build().unwrap();
    let input = text("message", [vec!["-"; fields.len()].join("\t").as_str()]);
    let output = transform.plan(&input.schema()).unwrap();
    assert_eq!(output.fields().len(), fields.len());
    let mut out = Outputs::new(1);
    transform.apply(input, &mut out).unwrap();
    assert!(out.refused().is_empty(), "{:?}", out.refused());
    assert_eq!(preset::in_order(None).unwrap().len(), 45);
}

/// Scenario: configurations with one mistake each.
/// Guarantees: each is told with the key to blame and, where there is one, the name that was probably meant.
#[test]
fn wrong() {
    for (toml, expected) in [
        (
            "pattern = '(?<a'",
            expect![[r#"
            not a regular expression: unclosed capture group name
        "#]],
        ),
        (
            "pattern = '^(?<a>x)) y'",
            expect![[r#"
            not a regular expression: unopened group at `) y`
        "#]],
        ),
        (
            "pattern = '(?<a>.{1000}){1000}'",
            expect![[r#"
            the compiled pattern would exceed 10485760 bytes
        "#]],
        ),
        (
            "pattern = '^x$'",
            expect![[r#"
            the pattern has no named group: write `(?<name>…)` around what is to become a column
        "#]],
        ),
        (
            "patern = '^x$'",
            expect![[r#"
            unknown field `patern`, expected one of `column`, `pattern`, `patterns`, `preset`, `fields`, `types`, `null`, `keep`
        "#]],
        ),
        (
            &format!("pattern = '(?<a>{})'", "x".repeat(70_000)),
            expect![[r#"
                the pattern has 70006 bytes, of 65536 at most
            "#]],
        ),
        (
            r"pattern = '(?<a>(?:\w{1000}){1000})'",
            expect![[r#"
                the compiled pattern would exceed 10485760 bytes
            "#]],
        ),
        (
            &format!("pattern = '{}(?<a>x){}'", "(".repeat(300), ")".repeat(300)),
            expect![[r#"
                not a regular expression: exceed the maximum number of nested parentheses/brackets (250) at `((((((((((((((((((((`
            "#]],
        ),
        (
            "patterns = []",
            expect![[r#"
            patterns: there is no pattern in the list
              -
              -
        "#]],
        ),
        (
            "",
            expect![[r#"
            : nothing says what to match
              -
              give one of `pattern`, `patterns` and `preset`
        "#]],
        ),
        (
            "pattern = '(?<a>.)'\npatterns = ['(?<a>.)']",
            expect![[r#"
            patterns: `patterns` cannot stand beside `pattern`
              -
              give exactly one of `pattern`, `patterns` and `preset`
        "#]],
        ),
        (
            "pattern = '(?<a>.)'\npreset = 'cloudfront_realtime'",
            expect![[r#"
                preset: `preset` cannot stand beside `pattern`
                  -
                  give exactly one of `pattern`, `patterns` and `preset`
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\nfields = ['c-ip']",
            expect![[r#"
            fields: `fields` is for a `preset`
              -
              -
        "#]],
        ),
        (
            "preset = 'cloudfront'",
            expect![[r#"
                unknown variant `cloudfront`, expected one of `cloudfront_realtime`, `alb`, `s3_access`, `nginx`, `apache`
            "#]],
        ),
        (
            "preset = 'cloudfront_realtime'\nfields = []",
            expect![[r#"
            fields: there is no field in the list
              -
              -
        "#]],
        ),
        (
            "preset = 'cloudfront_realtime'\nfields = ['c-ip', 'c-ip']",
            expect![[r#"
                fields: field `c-ip` stands twice in the list
                  -
                  -
            "#]],
        ),
        (
            "pattern = '(?<status>.)'\ntypes = { staus = 'u16' }",
            expect![[r#"
                types.staus: no group is named `staus`
                  did you mean `status`?
                  known: status
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\ntypes = { a = 'u17' }",
            expect![[r#"
            `u17` is not a type, known are `text`, `percent_decoded`, `i8`, `i16`, `i32`, `i64`, `u8`, `u16`, `u32`, `u64`, `f32`, `f64`, `decimal:N`, `bool`, `ip`, `timestamp:epoch_s`, `timestamp:epoch_ms`, `timestamp:rfc3339`, `timestamp:FORMAT`
        "#]],
        ),
        (
            "pattern = '(?<a>.)'\ntypes = { a = 'decimal:19' }",
            expect![[r#"
                `decimal:19` must have 0 to 18 digits behind the point
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\ntypes = { a = 'timestamp:%H:%M' }",
            expect![[r#"
                `%H:%M` does not say a whole date, or reads another text than it writes
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\ntypes = { a = 'timestamp:epoch' }",
            expect![[r#"
                `timestamp:epoch` is not a type, known are `text`, `percent_decoded`, `i8`, `i16`, `i32`, `i64`, `u8`, `u16`, `u32`, `u64`, `f32`, `f64`, `decimal:N`, `bool`, `ip`, `timestamp:epoch_s`, `timestamp:epoch_ms`, `timestamp:rfc3339`, `timestamp:FORMAT`
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\ntypes = { a = 'timestamp:%Y-%q' }",
            expect![[r#"
                `%Y-%q` does not say a whole date, or reads another text than it writes
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\ncolumn = 'mesage'",
            expect![[r#"
            column: column `mesage` does not exist
              did you mean `message`?
              known: message
        "#]],
        ),
        (
            "pattern = '(?<message>.)'\nkeep = ['message']",
            expect![[r#"
                keep: there would be two columns `message`
                  -
                  -
            "#]],
        ),
        (
            "pattern = '(?<a>.)'\nkeep = ['key']",
            expect![[r#"
            keep: column `key` does not exist
              -
              known: message
        "#]],
        ),
    ] {
        check_wrong(toml, expected);
    }
    let wrong = preset::in_order(Some(&["sc-staus".to_owned()])).unwrap_err();
    assert_eq!((wrong.key.as_str(), wrong.label.as_deref()), ("fields", Some("did you mean `sc-status`?")));
}

proptest! {
    /// Scenario: texts without tabs or newlines, joined as CloudFront joins them.
    /// Guarantees: each comes out as it went in.
    #[test]
    fn values_stay_in_their_columns(values in prop::collection::vec("[^\t\r\n]*", 3)) {
        let config = config("preset = 'cloudfront_realtime'\nnull = '\t'\nfields = ['cs-method', 'cs-host', 'cs-cookie']");
        let input = text("message", [values.join("\t").as_str()]);
        let applied = forebay_testkit::apply(config.build().unwrap().as_mut(), &[input]);
        for (column, value) in values.iter().enumerate() {
            let found = arrow_array::cast::AsArray::as_string::<i32>(applied.sent.column(column));
            prop_assert_eq!(found.value(0), value);
        }
    }
}

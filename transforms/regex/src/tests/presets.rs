//! The ready patterns.

use super::*;
use crate::Preset;
use crate::lower::lower;

/// What a preset makes of some lines: the columns that are there, by name.
fn check_preset(preset: &str, lines: &[&str], expected: Expect) {
    let config = config(&format!("preset = '{preset}'"));
    let applied = forebay_testkit::transform(|| config.build().unwrap(), &[text("message", lines.to_vec())]);
    let schema = applied.sent.schema();
    let mut shown = String::new();
    for (nth, origin) in applied.origins.iter().enumerate() {
        shown += &format!("line {origin}\n");
        for (index, field) in schema.fields().iter().enumerate() {
            let row = canonical(&[applied.sent.project(&[index]).unwrap().slice(nth, 1)]).join("");
            let value = row.split_once(':').unwrap().1.trim_end_matches('}');
            if value != "null" {
                shown += &format!("  {} = {value}\n", field.name());
            }
        }
    }
    for (origin, why) in &applied.refused {
        shown += &format!("line {origin} refused: {why}\n");
    }
    expected.assert_eq(&shown);
}

/// Scenario: every preset.
/// Guarantees: the patterns that nearly all lines match are lowered, and a line that they do not match costs no search.
#[test]
fn presets_are_lowered() {
    for (preset, lowered) in [
        (Preset::CloudfrontRealtime, 1),
        (Preset::Alb, 1),
        (Preset::S3Access, 1),
        (Preset::Nginx, 1),
        (Preset::Apache, 2),
    ] {
        let ready = preset::ready(preset, None).unwrap();
        for pattern in &ready.patterns[..lowered] {
            let program = lower(&pattern.syntax());
            assert!(program.as_ref().is_ok_and(|it| it.anchored), "{preset:?}: {program:?}");
        }
        assert!(ready.patterns.iter().all(|it| it.regex().as_str().contains('^')));
    }
}

/// Scenario: CloudFront's real-time records of every generation: the 40 fields of 2020, the 43 and 45 of 2021 to 2023,
/// 46, those of media players, and all of today; each configured in another order than CloudFront's.
/// Guarantees: each value is in its column; a record with one value more or less is refused.
#[test]
fn generations_of_real_time_records() {
    let all = forebay_codec::cloudfront::REALTIME_FIELDS;
    let without = |names: &[&str]| all.iter().copied().filter(|it| !names.contains(it)).collect::<Vec<_>>();
    let new = ["s-ip", "origin-fbl", "origin-lbl", "asn", "primary-distribution-id", "primary-distribution-dns-name"];
    let until = |count: usize, names: &[&str]| without(names).into_iter().take(count).collect::<Vec<_>>();
    for fields in [
        until(40, &new),
        until(43, &[new[0], new[4], new[5]]),
        until(45, &new[..1]),
        until(46, &[]),
        until(64, &[]),
        until(69, &[]),
        vec!["time-to-first-byte", "sc-status", "sc-bytes", "time-taken", "c-country"],
    ] {
        let value = |field: &&str| match *field {
            "timestamp" => "1607374321.541".to_owned(),
            "c-ip" | "s-ip" => "192.0.2.1".to_owned(),
            "time-to-first-byte" | "time-taken" | "origin-fbl" | "origin-lbl" => "0.042".to_owned(),
            "sc-status" | "c-port" | "sc-bytes" | "cs-bytes" | "asn" | "x-edge-mqcs" | "cs-headers-count" => {
                "20".to_owned()
            }
            "fle-encrypted-fields" | "sc-content-len" | "sc-range-start" | "sc-range-end" => "-".to_owned(),
            text => text.to_owned(),
        };
        let line = fields.iter().map(value).collect::<Vec<_>>().join("\t");
        let mut configured = fields.clone();
        configured.reverse();
        let config = config(&format!("preset = 'cloudfront_realtime'\nfields = {configured:?}"));
        let lines = [line.clone(), format!("{line}\tx"), line.rsplit_once('\t').unwrap().0.to_owned()];
        let input = text("message", lines.iter().map(String::as_str).collect::<Vec<_>>());
        let applied = forebay_testkit::transform(|| config.build().unwrap(), &[input]);
        assert_eq!(applied.origins, [0], "{} fields", fields.len());
        let schema = applied.sent.schema();
        let names: Vec<String> = fields.iter().map(|it| it.replace('-', "_")).collect();
        assert_eq!(schema.fields().iter().map(|it| it.name().as_str()).collect::<Vec<_>>(), names);
        for (index, field) in fields.iter().enumerate() {
            if let Some(texts) = applied.sent.column(index).as_any().downcast_ref::<arrow_array::StringArray>() {
                assert_eq!(texts.iter().next().flatten(), Some(value(field).as_str()), "{field}");
            }
        }
    }
}

const ALB: &str = "h2 2026-11-01T09:00:01.186641Z app/shop/50dc 192.0.2.1:43210 10.0.0.66:9000 0.000 0.002 0.000 200 200 257 \
    4200 \"GET https://shop.example.com:443/ HTTP/2.0\" \"curl/8\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:tg \
    \"Root=1-5833-1d84\"";
const SINCE: &str = " \"shop.example.com\" \"arn:aws:cert\" 2 2026-11-01T09:00:01.183000Z \"waf,forward\" \"-\" \"-\" \
    \"10.0.0.66:9000\" \"200\" \"-\" \"-\"";
const NEW: &str = " TID_1234 \"-\" \"/v2\" \"-\"";

/// Scenario: entries of load balancers of 2016, 2020 and today, of tomorrow, and with clients that are hard to read.
/// Guarantees: every generation gives the fields that it has; a request that is none, a target that is none and times
/// that are none do not refuse an entry; an entry that was cut does.
#[test]
fn alb() {
    let malformed = "http 2026-11-01T09:00:01Z app/shop/50dc [fe80::1]:443 - -1 -1 -1 400 - 0 272 \"- http://host:80- \" \"-\" - - - \"-\"";
    let quotes = ALB.replace("curl/8", r#"agent \"x\" y"#);
    check_preset(
        "alb",
        &[
            ALB,
            &format!("{ALB}{SINCE}{NEW}"),
            &format!("{ALB}{SINCE}{NEW} \"tomorrow\" 17"),
            &format!("{ALB}{SINCE} TID_1234 no quotes"),
            malformed,
            &format!("{quotes}{SINCE}"),
            &ALB[..120],
            &ALB.replace(" 257 ", " many "),
            "",
        ],
        expect![[r#"
            line 0
              type = "h2"
              time = "2026-11-01T09:00:01.186Z"
              elb = "app/shop/50dc"
              client = "192.0.2.1:43210"
              target = "10.0.0.66:9000"
              request_processing_time = 0.000000
              target_processing_time = 0.002000
              response_processing_time = 0.000000
              elb_status_code = 200
              target_status_code = 200
              received_bytes = 257
              sent_bytes = 4200
              request = "GET https://shop.example.com:443/ HTTP/2.0"
              user_agent = "curl/8"
              ssl_cipher = "ECDHE-RSA-AES128-GCM-SHA256"
              ssl_protocol = "TLSv1.2"
              target_group_arn = "arn:aws:tg"
              trace_id = "Root=1-5833-1d84"
            line 1
              type = "h2"
              time = "2026-11-01T09:00:01.186Z"
              elb = "app/shop/50dc"
              client = "192.0.2.1:43210"
              target = "10.0.0.66:9000"
              request_processing_time = 0.000000
              target_processing_time = 0.002000
              response_processing_time = 0.000000
              elb_status_code = 200
              target_status_code = 200
              received_bytes = 257
              sent_bytes = 4200
              request = "GET https://shop.example.com:443/ HTTP/2.0"
              user_agent = "curl/8"
              ssl_cipher = "ECDHE-RSA-AES128-GCM-SHA256"
              ssl_protocol = "TLSv1.2"
              target_group_arn = "arn:aws:tg"
              trace_id = "Root=1-5833-1d84"
              domain_name = "shop.example.com"
              chosen_cert_arn = "arn:aws:cert"
              matched_rule_priority = "2"
              request_creation_time = "2026-11-01T09:00:01.183Z"
              actions_executed = "waf,forward"
              target_port_list = "10.0.0.66:9000"
              target_status_code_list = "200"
              conn_trace_id = "TID_1234"
              transformed_uri = "/v2"
            line 2
              type = "h2"
              time = "2026-11-01T09:00:01.186Z"
              elb = "app/shop/50dc"
              client = "192.0.2.1:43210"
              target = "10.0.0.66:9000"
              request_processing_time = 0.000000
              target_processing_time = 0.002000
              response_processing_time = 0.000000
              elb_status_code = 200
              target_status_code = 200
              received_bytes = 257
              sent_bytes = 4200
              request = "GET https://shop.example.com:443/ HTTP/2.0"
              user_agent = "curl/8"
              ssl_cipher = "ECDHE-RSA-AES128-GCM-SHA256"
              ssl_protocol = "TLSv1.2"
              target_group_arn = "arn:aws:tg"
              trace_id = "Root=1-5833-1d84"
              domain_name = "shop.example.com"
              chosen_cert_arn = "arn:aws:cert"
              matched_rule_priority = "2"
              request_creation_time = "2026-11-01T09:00:01.183Z"
              actions_executed = "waf,forward"
              target_port_list = "10.0.0.66:9000"
              target_status_code_list = "200"
              conn_trace_id = "TID_1234"
              transformed_uri = "/v2"
            line 3
              type = "h2"
              time = "2026-11-01T09:00:01.186Z"
              elb = "app/shop/50dc"
              client = "192.0.2.1:43210"
              target = "10.0.0.66:9000"
              request_processing_time = 0.000000
              target_processing_time = 0.002000
              response_processing_time = 0.000000
              elb_status_code = 200
              target_status_code = 200
              received_bytes = 257
              sent_bytes = 4200
              request = "GET https://shop.example.com:443/ HTTP/2.0"
              user_agent = "curl/8"
              ssl_cipher = "ECDHE-RSA-AES128-GCM-SHA256"
              ssl_protocol = "TLSv1.2"
              target_group_arn = "arn:aws:tg"
              trace_id = "Root=1-5833-1d84"
              domain_name = "shop.example.com"
              chosen_cert_arn = "arn:aws:cert"
              matched_rule_priority = "2"
              request_creation_time = "2026-11-01T09:00:01.183Z"
              actions_executed = "waf,forward"
              target_port_list = "10.0.0.66:9000"
              target_status_code_list = "200"
              conn_trace_id = "TID_1234"
            line 4
              type = "http"
              time = "2026-11-01T09:00:01Z"
              elb = "app/shop/50dc"
              client = "[fe80::1]:443"
              request_processing_time = -1.000000
              target_processing_time = -1.000000
              response_processing_time = -1.000000
              elb_status_code = 400
              received_bytes = 0
              sent_bytes = 272
              request = "- http://host:80- "
            line 5
              type = "h2"
              time = "2026-11-01T09:00:01.186Z"
              elb = "app/shop/50dc"
              client = "192.0.2.1:43210"
              target = "10.0.0.66:9000"
              request_processing_time = 0.000000
              target_processing_time = 0.002000
              response_processing_time = 0.000000
              elb_status_code = 200
              target_status_code = 200
              received_bytes = 257
              sent_bytes = 4200
              request = "GET https://shop.example.com:443/ HTTP/2.0"
              user_agent = "agent \\\"x\\\" y"
              ssl_cipher = "ECDHE-RSA-AES128-GCM-SHA256"
              ssl_protocol = "TLSv1.2"
              target_group_arn = "arn:aws:tg"
              trace_id = "Root=1-5833-1d84"
              domain_name = "shop.example.com"
              chosen_cert_arn = "arn:aws:cert"
              matched_rule_priority = "2"
              request_creation_time = "2026-11-01T09:00:01.183Z"
              actions_executed = "waf,forward"
              target_port_list = "10.0.0.66:9000"
              target_status_code_list = "200"
            line 6 refused: does not match the pattern
            line 7 refused: column `received_bytes`: `many` is not an i64
            line 8 refused: does not match the pattern
        "#]],
    );
}

const S3: &str = "79a5 bucket [01/Nov/2026:09:00:00 +0000] 192.0.2.3 arn:aws:iam::1:user/me 3E57 REST.GET.OBJECT a%2520b.jpg \
    \"GET /a%20b.jpg HTTP/1.1\" 200 - 113 4406583 41 28 \"-\" \"sdk/1\" -";
const S3_SINCE: &str = " hostid= SigV4 TLS_AES AuthHeader bucket.s3.amazonaws.com TLSv1.3 - Yes";

/// Scenario: records of S3 of several generations, without a request, and with quotes from a client.
/// Guarantees: every generation gives the fields that it has; `-` without quotes is no value.
#[test]
fn s3_access() {
    check_preset(
        "s3_access",
        &[
            S3,
            &format!("{S3}{S3_SINCE}"),
            &format!("{S3}{S3_SINCE} eu-central-1 tomorrow \"x y\""),
            "79a5 bucket [01/Nov/2026:09:00:00 +0000] - - 3E57 S3.COMPUTE.OBJECT.CHECKSUM k - - - - 17 - - - - - hostid= - - - - - - -",
            &format!(
                "{}{S3_SINCE}",
                S3.replace("\"-\" \"sdk/1\"", "\"https://example.com/?q=\"x y\"\" \"an \"agent\" of\"\"")
            ),
            &S3[..100],
            &S3.replace("01/Nov", "32/Nov"),
        ],
        expect![[r#"
            line 0
              bucket_owner = "79a5"
              bucket = "bucket"
              time = "2026-11-01T09:00:00Z"
              remote_ip = "192.0.2.3"
              requester = "arn:aws:iam::1:user/me"
              request_id = "3E57"
              operation = "REST.GET.OBJECT"
              key = "a%2520b.jpg"
              request = "GET /a%20b.jpg HTTP/1.1"
              http_status = 200
              bytes_sent = 113
              object_size = 4406583
              total_time = 41
              turn_around_time = 28
              user_agent = "sdk/1"
            line 1
              bucket_owner = "79a5"
              bucket = "bucket"
              time = "2026-11-01T09:00:00Z"
              remote_ip = "192.0.2.3"
              requester = "arn:aws:iam::1:user/me"
              request_id = "3E57"
              operation = "REST.GET.OBJECT"
              key = "a%2520b.jpg"
              request = "GET /a%20b.jpg HTTP/1.1"
              http_status = 200
              bytes_sent = 113
              object_size = 4406583
              total_time = 41
              turn_around_time = 28
              user_agent = "sdk/1"
              host_id = "hostid="
              signature_version = "SigV4"
              cipher_suite = "TLS_AES"
              authentication_type = "AuthHeader"
              host_header = "bucket.s3.amazonaws.com"
              tls_version = "TLSv1.3"
              acl_required = "Yes"
            line 2
              bucket_owner = "79a5"
              bucket = "bucket"
              time = "2026-11-01T09:00:00Z"
              remote_ip = "192.0.2.3"
              requester = "arn:aws:iam::1:user/me"
              request_id = "3E57"
              operation = "REST.GET.OBJECT"
              key = "a%2520b.jpg"
              request = "GET /a%20b.jpg HTTP/1.1"
              http_status = 200
              bytes_sent = 113
              object_size = 4406583
              total_time = 41
              turn_around_time = 28
              user_agent = "sdk/1"
              host_id = "hostid="
              signature_version = "SigV4"
              cipher_suite = "TLS_AES"
              authentication_type = "AuthHeader"
              host_header = "bucket.s3.amazonaws.com"
              tls_version = "TLSv1.3"
              acl_required = "Yes"
              source_region = "eu-central-1"
            line 3
              bucket_owner = "79a5"
              bucket = "bucket"
              time = "2026-11-01T09:00:00Z"
              request_id = "3E57"
              operation = "S3.COMPUTE.OBJECT.CHECKSUM"
              key = "k"
              object_size = 17
              host_id = "hostid="
            line 4
              bucket_owner = "79a5"
              bucket = "bucket"
              time = "2026-11-01T09:00:00Z"
              remote_ip = "192.0.2.3"
              requester = "arn:aws:iam::1:user/me"
              request_id = "3E57"
              operation = "REST.GET.OBJECT"
              key = "a%2520b.jpg"
              request = "GET /a%20b.jpg HTTP/1.1"
              http_status = 200
              bytes_sent = 113
              object_size = 4406583
              total_time = 41
              turn_around_time = 28
              referer = "https://example.com/?q=\"x y\""
              user_agent = "an \"agent\" of\""
              host_id = "hostid="
              signature_version = "SigV4"
              cipher_suite = "TLS_AES"
              authentication_type = "AuthHeader"
              host_header = "bucket.s3.amazonaws.com"
              tls_version = "TLSv1.3"
              acl_required = "Yes"
            line 5 refused: does not match the pattern
            line 6 refused: column `time`: `32/Nov/2026:09:00:00 +0000` is not a time like `%d/%b/%Y:%H:%M:%S %z`
        "#]],
    );
}

/// Scenario: nginx' `combined` and `main`, with clients that are hard to read.
/// Guarantees: what follows what is known does no harm; blanks in a user's name do none either.
#[test]
fn nginx() {
    let line = r#"192.0.2.1 - - [28/Sep/1970:12:00:00 +0600] "GET / HTTP/1.1" 200 612 "-" "curl/8""#;
    check_preset(
        "nginx",
        &[
            line,
            &format!("{line} \"198.51.100.7, 10.0.0.1\""),
            &format!("{line} \"-\" 0.005 \"x\""),
            &format!("{line} 0.005"),
            &line.replace("- - [", "- john doe ["),
            r#"unix: - - [28/Sep/1970:12:00:00 +0600] "\x16\x03\x01" 400 157 "-" "a \x22quoted\x22 agent""#,
            &line.replace(" 200 ", " 2OO "),
            &line[..60],
        ],
        expect![[r#"
            line 0
              remote_addr = "192.0.2.1"
              time_local = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              body_bytes_sent = 612
              http_user_agent = "curl/8"
            line 1
              remote_addr = "192.0.2.1"
              time_local = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              body_bytes_sent = 612
              http_user_agent = "curl/8"
              http_x_forwarded_for = "198.51.100.7, 10.0.0.1"
            line 2
              remote_addr = "192.0.2.1"
              time_local = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              body_bytes_sent = 612
              http_user_agent = "curl/8"
            line 3
              remote_addr = "192.0.2.1"
              time_local = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              body_bytes_sent = 612
              http_user_agent = "curl/8"
            line 4
              remote_addr = "192.0.2.1"
              remote_user = "john doe"
              time_local = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              body_bytes_sent = 612
              http_user_agent = "curl/8"
            line 5
              remote_addr = "unix:"
              time_local = "1970-09-28T06:00:00Z"
              request = "\\x16\\x03\\x01"
              status = 400
              body_bytes_sent = 157
              http_user_agent = "a \\x22quoted\\x22 agent"
            line 6 refused: column `status`: `2OO` is not a u16
            line 7 refused: does not match the pattern
        "#]],
    );
}

/// Scenario: Apache's `common`, `combined` and `vhost_combined`, with clients that are hard to read.
/// Guarantees: the formats are told apart line by line; escaped quotes do not end a text.
#[test]
fn apache() {
    let common = r#"192.0.2.1 - frank [28/Sep/1970:12:00:00 +0600] "GET / HTTP/1.1" 200 612"#;
    let odd = r#"2001:db8::1 - john doe [28/Sep/1970:12:00:00 +0600] "GET /\"a\" HTTP/1.1" 200 - "a\" " "\\\"x""#;
    check_preset(
        "apache",
        &[
            common,
            &format!("{common} \"-\" \"curl/8\""),
            &format!("{common} \"-\" \"curl/8\" \"-\" 17"),
            &format!("{common} 17"),
            &format!("www.example.com:443 {common} \"-\" \"curl/8\""),
            &format!("[2001:db8::80]:80 {common} \"-\" \"curl \\\"8\\\"\""),
            odd,
            &common[..40],
        ],
        expect![[r#"
            line 0
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
            line 1
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
              user_agent = "curl/8"
            line 2
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
              user_agent = "curl/8"
            line 3
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
            line 4
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
              user_agent = "curl/8"
              server_name = "www.example.com"
              server_port = 443
            line 5
              remote_host = "192.0.2.1"
              remote_user = "frank"
              time = "1970-09-28T06:00:00Z"
              request = "GET / HTTP/1.1"
              status = 200
              bytes = 612
              user_agent = "curl \\\"8\\\""
              server_name = "[2001:db8::80]"
              server_port = 80
            line 6
              remote_host = "2001:db8::1"
              remote_user = "john doe"
              time = "1970-09-28T06:00:00Z"
              request = "GET /\\\"a\\\" HTTP/1.1"
              status = 200
              referer = "a\\\" "
              user_agent = "\\\\\\\"x"
            line 7 refused: does not match the pattern
        "#]],
    );
}

/// Scenario: `fields` for a preset whose lines need none.
/// Guarantees: it is told.
#[test]
fn fields_are_for_cloudfront() {
    check_wrong(
        "preset = 'alb'\nfields = ['type']",
        expect![[r#"
        fields: `fields` is for `preset = "cloudfront_realtime"`
          -
          -
    "#]],
    );
}

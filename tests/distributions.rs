//! Several distributions in one pipeline, as the example has them, between real servers.

use std::fs;
use std::io::Read;
use std::process::Command;

use expect_test::expect;
use flate2::read::MultiGzDecoder;
use forebay_codec::cloudfront;
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, KinesisServer, SECRET_KEY};

use crate::beacon::until;
use crate::harness::{forebay, root, signal};

/// The fields of `blog` that the example names.
const BLOG: [&str; 11] = [
    "timestamp",
    "c-ip",
    "c-country",
    "cs-host",
    "cs-method",
    "cs-uri-stem",
    "cs-user-agent",
    "sc-bytes",
    "sc-status",
    "time-taken",
    "x-edge-result-type",
];

/// The fields of the example data, in CloudFront's order.
fn fields() -> impl Iterator<Item = &'static str> {
    cloudfront::REALTIME_FIELDS.iter().copied().filter(|it| *it != "s-ip")
}

/// Scenario: the example of several distributions runs as it is between three streams and ClickHouse. One distribution logs
/// all fields, one a few, and many share a stream; into the stream of the one with few fields come two records of the other.
/// Guarantees: each row is in the table of its distribution, or of its host, with the values that its record has under the
/// right names; a record with another number of fields is in the dead letters, and nothing is shifted.
#[test]
fn rows_go_to_their_tables() {
    let kinesis = KinesisServer::start();
    let clickhouse = ClickHouse::start();
    ["shop-logs", "blog-logs", "sites-logs"].iter().for_each(|it| kinesis.create_stream(it, 2));
    let mut text = String::new();
    let file = fs::File::open(root().join("examples/data/realtime/2026-11-01-00.gz")).unwrap();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().take(400).collect();
    let few = |line: &str| -> String {
        let chosen = fields().zip(line.split('\t')).filter(|it| BLOG.contains(&it.0));
        chosen.map(|it| it.1).collect::<Vec<_>>().join("\t")
    };
    let hosts = ["docs.example.com", "status.example.com", "one.example.com", "two.example.com"];
    let of_host = |(nth, line): (usize, &&str)| -> String {
        let mut values: Vec<&str> = line.split('\t').collect();
        values[fields().position(|it| it == "cs-host").unwrap()] = hosts[nth % hosts.len()];
        values.join("\t")
    };
    let put = |stream: &str, lines: Vec<String>| {
        kinesis
            .put_directly(stream, lines.iter().enumerate().map(|(nth, line)| (nth.to_string(), format!("{line}\n"))));
    };
    put("shop-logs", lines.iter().map(|it| (*it).to_owned()).collect());
    put("blog-logs", lines.iter().map(|it| few(it)).chain(lines[..2].iter().map(|it| (*it).to_owned())).collect());
    put("sites-logs", lines.iter().enumerate().map(of_host).collect());

    let dir = tempfile::tempdir().unwrap();
    let mut command: Command = forebay(dir.path());
    command.args(["run", "--quiet"]).arg(root().join("examples/two-distributions.toml"));
    command.env("CLICKHOUSE", clickhouse.endpoint()).env("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint());
    command
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let mut child = command.spawn().unwrap();
    let count = |table: &str| -> u64 {
        clickhouse.ask(&format!("SELECT count() FROM cdn.{table}")).ok().and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    let tables =
        ["shop_requests", "blog_requests", "docs_requests", "status_requests", "other_requests"].map(|it| (it, 100));
    let due = |(table, rows): (&str, u64)| match table {
        "shop_requests" | "blog_requests" => 400,
        "other_requests" => 2 * rows,
        _ => rows,
    };
    until("all rows are there", || tables.iter().all(|it| count(it.0) >= due(*it)));
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    for table in tables {
        assert_eq!(count(table.0), due(table), "{}", table.0);
    }
    // What both tables have is the same, value by value.
    let common = "timestamp, source_ip, source_geo_country_iso_code, url_domain, url_path, http_request_method, \
        http_response_status_code, http_response_bytes, event_duration, user_agent_original, \
        aws_cloudfront_edge_result_type";
    let of = |table: &str| clickhouse.query(&format!("SELECT {common} FROM cdn.{table} ORDER BY ALL FORMAT TSV"));
    assert_eq!(of("shop_requests"), of("blog_requests"));
    expect![[r#"
        one.example.com	100
        two.example.com	100"#]]
    .assert_eq(
        &clickhouse.query("SELECT url_domain, count() FROM cdn.other_requests GROUP BY ALL ORDER BY ALL FORMAT TSV"),
    );
    let refused: usize = crate::harness::files(&dir.path().join("data/two-distributions/refused"))
        .iter()
        .map(|it| fs::read_to_string(it).unwrap().lines().count())
        .sum();
    assert_eq!(refused, 2);
}

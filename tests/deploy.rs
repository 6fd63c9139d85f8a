//! `deploy/`, as near as it can be run without Docker, Grafana and an account of AWS: the pipeline is started as
//! `compose.yaml` says, between the stand-in of Kinesis and a real ClickHouse, and what dashboards and alerts ask is asked
//! there; the files are read by readers that are not ours, and held against each other and against the program.

mod files;
mod plugin;
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use expect_test::expect;
use serde_json::{Value, json};

use self::plugin::{Range, Variables};
use self::site::{CALM, INCIDENT, SILENCE, Site};
use crate::harness::{files, root, succeed};

/// Readers of YAML, Compose files, CloudFormation templates and PromQL.
const REQUIREMENTS: [&str; 4] = ["cfn-lint==1.58.0", "compose-spec==0.2.1", "promql-parser==0.12.0", "pyyaml==6.0.3"];

/// What Prometheus makes by itself, and the labels that are put to it there.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];
const LABELS_OF_PROMETHEUS: [&str; 4] = ["job", "alertname", "alertstate", "severity"];

fn folder() -> PathBuf {
    root().join("deploy/cloudfront")
}

/// A Python with [`REQUIREMENTS`], about to do something.
fn python() -> Command {
    Command::new(forebay_testkit::services::python(&REQUIREMENTS))
}

/// A file of YAML.
fn yaml(path: &str) -> Value {
    let said = succeed(python().arg(root().join("tests/deploy.py")).arg("yaml").arg(folder().join(path)));
    serde_json::from_str::<Value>(&said.out).unwrap()[0].take()
}

/// `compose.yaml` with the variables of `.env.example`.
fn compose() -> Value {
    let (file, environment) = (folder().join("compose.yaml"), folder().join(".env.example"));
    let said = succeed(python().arg(root().join("tests/deploy.py")).arg("compose").arg(file).arg(environment));
    serde_json::from_str(&said.out).unwrap()
}

/// The metrics and labels of expressions in PromQL.
fn understood(expressions: &[String]) -> Vec<Value> {
    let mut command = python();
    command.arg(root().join("tests/deploy.py")).arg("promql").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(expressions).to_string().as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "{expressions:#?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn dashboards() -> Vec<Value> {
    let paths = files(&folder().join("grafana/dashboards"));
    paths.iter().map(|it| serde_json::from_str(&fs::read_to_string(it).unwrap()).unwrap()).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| panic!("{value} is no list"), Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The panels of a dashboard that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(&dashboard["panels"]).iter().filter(|it| it["type"] != "row")
}

/// Rules that Grafana evaluates.
fn rules() -> Vec<Value> {
    array(&yaml("grafana/provisioning/alerting/rules.yaml")["groups"][0]["rules"]).to_vec()
}

/// Scenario: each panel's query is put to the table that the pipeline has made and filled, with the plug-in's macros in
/// place, over a time with calm and an incident: for all hosts, and for a host and a distribution that the variables offer.
/// Guarantees: each has rows and the columns that its kind of panel needs; a unit is for a column that is there; a host
/// that is chosen is the only one.
#[test]
fn panels_show_something() {
    let site = Site::shared();
    let range = Range { from: site.end + CALM.start, to: site.end + INCIDENT.end };
    let mut shown = String::new();
    for dashboard in dashboards() {
        let mut chosen = Variables::new();
        for variable in array(&dashboard["templating"]["list"]) {
            let offered = site.ask(text(&variable["query"]), range, &Variables::new());
            assert_eq!(offered.columns.len(), 1, "{variable}");
            chosen.insert(text(&variable["name"]), text(&offered.rows[0][0]).to_owned());
        }
        assert_eq!(chosen["host"], "www.example.com");
        for panel in panels(&dashboard) {
            let title = format!("{} / {}", text(&dashboard["title"]), text(&panel["title"]));
            let Some(sql) = panel["targets"][0]["rawSql"].as_str() else { continue };
            let all = site.ask(sql, range, &Variables::new());
            all.suits(panel).unwrap_or_else(|wrong| panic!("{title}: {wrong}\n{sql}"));
            assert_eq!(site.ask(sql, range, &chosen).columns, all.columns, "{title}");
            if sql.contains("$host") {
                let mut other = chosen.clone();
                other.insert("host", "it's another.example.com".to_owned());
                let none = site.ask(sql, range, &other);
                let is_nothing = |it: &Value| it.is_null() || *it == json!(0);
                assert!(none.rows.iter().flatten().all(is_nothing), "{title}: {:?}", none.rows);
            }
            shown += &format!("{title}: {}\n", all.names().join(", "));
        }
    }
    expect![[r#"
        CDN clients / Addresses: addresses
        CDN clients / Countries: countries
        CDN clients / Edge locations: locations
        CDN clients / IPv6: ratio
        CDN clients / TLS 1.3: ratio
        CDN clients / Say that they are robots: ratio
        CDN clients / Requests by country: country, requests
        CDN clients / Requests by edge location: location, requests
        CDN clients / Networks: network, requests, addresses, bytes
        CDN clients / Countries: time, country, requests
        CDN clients / Edge locations over time: time, location, requests
        CDN clients / Busiest addresses: address, country, requests, bytes, errors, agent
        CDN clients / Busiest addresses over time: time, address, requests
        CDN clients / User agents: agent, robot, requests, addresses, bytes
        CDN clients / Referrers: referrer, requests
        CDN clients / HTTP versions: version, requests
        CDN clients / Methods: method, requests
        CDN clients / TLS versions and ciphers: version, cipher, requests
        CDN clients / Content types: type, requests
        CDN overview / Requests: requests
        CDN overview / Bytes to viewers: bytes
        CDN overview / Cache hit ratio: ratio
        CDN overview / Success rate: ratio
        CDN overview / 4xx rate: ratio
        CDN overview / 5xx rate: ratio
        CDN overview / Requests a second, by status: time, class, requests
        CDN overview / Bandwidth: time, to_viewers, from_viewers
        CDN overview / Requests a second, by cache result: time, aws_cloudfront_edge_result_type, requests
        CDN overview / Cache hit ratio over time: time, ratio
        CDN overview / Error rates: time, rate_4xx, rate_5xx
        CDN overview / Status codes: status, result, requests
        CDN overview / Paths with errors: host, path, status, requests
        CDN overview / Paths that miss the cache: host, path, misses, bytes
        CDN overview / Time to first byte: time, p50, p95, p99
        CDN overview / Top paths: host, path, requests, bytes, hit_ratio, errors
        CDN overview / Refused at the edge: time, limit_exceeded, capacity_exceeded
        CDN overview / Newest row: behind
        CDN overview / Rows a minute: rows
        CDN performance / First byte, median: seconds
        CDN performance / First byte, 95 %: seconds
        CDN performance / First byte, 99 %: seconds
        CDN performance / Whole answer, median: nanoseconds
        CDN performance / Whole answer, 95 %: nanoseconds
        CDN performance / Origin's first byte, 95 %: seconds
        CDN performance / Time to first byte: time, mean, p50, p95, p99
        CDN performance / Time taken: time, mean, p50, p95, p99
        CDN performance / Time to first byte by cache result, 95 %: time, aws_cloudfront_edge_result_type, p95
        CDN performance / Time taken by status, 95 %: time, class, p95
        CDN performance / Origin: time, first_p50, first_p95, last_p95
        CDN performance / Bytes a minute: time, bytes
        CDN performance / Edge locations: location, requests, first_byte_p50, first_byte_p95, taken_mean, taken_p95
        CDN performance / Countries: country, requests, first_byte_p50, first_byte_p95, taken_mean, taken_p95
        CDN performance / Cache results: result, requests, first_byte_p50, first_byte_p95, taken_mean, taken_p95
        CDN performance / HTTP versions: version, network, requests, first_byte_p50, first_byte_p95, taken_mean, taken_p95
        CDN performance / Slowest paths: host, path, requests, first_byte_p50, first_byte_p95, taken_mean, taken_p95
    "#]].assert_eq(&shown);
}

/// Scenario: the user of the dashboards changes a row and a table, makes one, reads what is not for dashboards, and sets a limit
/// as the plug-in does.
/// Guarantees: all but the last is refused: whoever may look at dashboards can type any SQL there.
#[test]
fn dashboards_only_read() {
    let site = Site::shared();
    for sql in [
        "INSERT INTO cdn.requests (url_path) VALUES ('/')",
        "ALTER TABLE cdn.requests DELETE WHERE 1",
        "DROP TABLE cdn.requests",
        "CREATE TABLE cdn.other (it Int8) ENGINE = Memory",
        "SELECT * FROM system.users",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    ] {
        let error = site.read(sql).unwrap_err();
        assert!(error.contains("ACCESS_DENIED") || error.contains("READONLY"), "{sql}: {error}");
    }
    site.read("SELECT count() FROM cdn.requests SETTINGS max_execution_time = 30").unwrap();
}

/// Scenario: the rules are evaluated at the end of two calm hours, at the end of an incident in which the origin fails, paths
/// are missing, all is slow and nothing is cached, and after ten minutes without requests.
/// Guarantees: none fires in calm; each of those about requests fires in the incident; silence is told by the rule for it
/// and is no error rate of its own; each waits for as long as it says and names people something to read.
#[test]
fn alerts_fire_when_they_should() {
    let site = Site::shared();
    let rules = rules();
    let firing = |now: i64| -> Vec<&str> {
        let of_the_table = rules.iter().filter(|it| it["data"][0]["datasourceUid"] == "clickhouse");
        of_the_table.filter(|it| site.fires(it, site.end + now)).map(|it| text(&it["uid"])).collect()
    };
    assert_eq!(firing(CALM.end), Vec::<&str>::new());
    expect![[r#"
        cdn-errors-5xx
        cdn-errors-4xx
        cdn-first-byte
        cdn-cache
        cdn-traffic
        cdn-edge-limits"#]]
    .assert_eq(&firing(INCIDENT.end).join("\n"));
    assert_eq!(firing(SILENCE.end), ["cdn-no-rows"]);
    for rule in &rules {
        assert!(!text(&rule["annotations"]["summary"]).is_empty() && rule["for"].is_string(), "{rule}");
        // Grafana would take it for a variable of its environment.
        assert!(!rule["annotations"].to_string().contains('$'), "{rule}");
    }
}

/// Scenario: every expression of Prometheus' rules, of the panels and of the rule that hands on, beside what the running
/// pipeline says at `/metrics`.
/// Guarantees: each can be parsed, and asks for metrics and labels that are there.
#[test]
fn metrics_are_there() {
    let site = Site::shared();
    let alerts = yaml("prometheus/alerts.yml");
    let mut expressions: Vec<String> =
        array(&alerts["groups"][0]["rules"]).iter().map(|it| text(&it["expr"]).to_owned()).collect();
    let dashboards = dashboards();
    let targets = dashboards.iter().flat_map(panels).flat_map(|it| array(&it["targets"]));
    let rules = rules();
    let models = rules.iter().map(|it| &it["data"][0]["model"]);
    expressions.extend(targets.chain(models).filter_map(|it| it["expr"].as_str()).map(str::to_owned));
    assert!(expressions.len() > 12, "{expressions:?}");
    let mut asked = BTreeSet::new();
    for (expression, understood) in expressions.iter().zip(understood(&expressions)) {
        for metric in array(&understood["metrics"]).iter().map(text).filter(|it| !OF_PROMETHEUS.contains(it)) {
            assert!(site.metrics.contains(metric), "{expression}: no {metric} among {:?}", site.metrics);
            asked.insert(metric.to_owned());
        }
        for label in array(&understood["labels"]).iter().map(text).filter(|it| !LABELS_OF_PROMETHEUS.contains(it)) {
            assert!(site.labels.contains(label), "{expression}: no {label} among {:?}", site.labels);
        }
    }
    expect![[r#"
        forebay_sink_delivered_rows_total
        forebay_sink_refused_rows_total
        forebay_sink_retries_total
        forebay_sink_waiting_seconds
        forebay_source_behind_seconds
        forebay_source_refused_rows_total
        forebay_source_rows_total
        forebay_transform_refused_rows_total"#]]
    .assert_eq(&asked.into_iter().collect::<Vec<_>>().join("\n"));
}

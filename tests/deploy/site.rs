//! An imaginary web site whose requests have come through the pipeline of `compose.yaml`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::ops::Range as Times;
use std::sync::OnceLock;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use forebay_codec::cloudfront;
use forebay_testkit::services::{ACCESS_KEY, ClickHouse, KinesisServer, SECRET_KEY};
use serde_json::Value;

use super::plugin::{Range, Variables, filled};
use super::{array, compose, folder, text};
use crate::beacon::{Running, free_port, until};
use crate::harness::{files, forebay, root};
use crate::metrics::{get, samples};

/// Two hours of usual requests, in seconds before the end.
pub const CALM: Times<i64> = -9_000..-1_800;
/// Then nothing is well.
pub const INCIDENT: Times<i64> = -1_800..-1_200;
/// Then nobody comes.
pub const SILENCE: Times<i64> = -1_200..0;

const CALM_REQUESTS: usize = 3_000;
const INCIDENT_REQUESTS: usize = 900;

/// What has become of the requests.
pub struct Site {
    clickhouse: ClickHouse,
    /// When it was looked at, in seconds since 1970: a full minute.
    pub end: i64,
    /// The names of the metrics that the pipeline gave while it ran, and their labels.
    pub metrics: BTreeSet<String>,
    pub labels: BTreeSet<String>,
}

/// The answer to a query.
pub struct Answer {
    /// Names and types.
    pub columns: Vec<(String, String)>,
    pub rows: Vec<Vec<Value>>,
}

impl Site {
    /// The one that all tests look at. The pipeline has ended when it is given.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Site> = OnceLock::new();
        SHARED.get_or_init(Self::visited)
    }

    fn visited() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let end = now - now % 60;
        let (kinesis, clickhouse) = (KinesisServer::start(), ClickHouse::with_users(&reader()));
        let service = &compose()["services"]["forebay"];
        let stream = text(&service["environment"]["STREAM"]);
        kinesis.create_stream(stream, 2);
        let lines = requests(end);
        kinesis.put_directly(stream, lines.iter().enumerate().map(|(nth, line)| (nth.to_string(), line.clone())));

        let dir = tempfile::tempdir().unwrap();
        let watched = free_port();
        let mut command = forebay(dir.path());
        let (mounted, inside) = text(&service["volumes"][0]).trim_end_matches(":ro").split_once(':').unwrap();
        for argument in array(&service["command"]).iter().map(text) {
            if argument == inside {
                command.arg(folder().join(mounted))
            } else {
                command.arg(argument)
            };
        }
        for (name, value) in service["environment"].as_object().unwrap() {
            match name.as_str() {
                "METRICS" => command.env(name, format!("127.0.0.1:{watched}")),
                "CLICKHOUSE" => command.env(name, clickhouse.endpoint()),
                "CLICKHOUSE_USER" => command.env(name, ClickHouse::USER),
                "CLICKHOUSE_PASSWORD" => command.env(name, ClickHouse::PASSWORD),
                "AWS_ACCESS_KEY_ID" => command.env(name, ACCESS_KEY),
                "AWS_SECRET_ACCESS_KEY" => command.env(name, SECRET_KEY),
                "AWS_SESSION_TOKEN" => command.env_remove(name),
                _ => command.env(name, text(value)),
            };
        }
        command.env("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint());
        let running = Running::start(dir.path(), watched, command);
        let count = || clickhouse.ask("SELECT count() FROM cdn.requests").unwrap_or_default();
        until("all rows are there", || count() == lines.len().to_string());
        until("it knows that it is not behind", || {
            samples(watched).contains_key("forebay_source_behind_seconds requests")
        });
        assert_eq!(get(watched, "/health").0, 200);
        let metrics = samples(watched).into_keys().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
        let said = get(watched, "/metrics").1;
        let names = said.split(['{', ',']).filter_map(|it| it.split_once("=\"")).map(|it| it.0.to_owned());
        let labels = names.collect();
        running.stop();
        Self { clickhouse, end, metrics, labels }
    }

    /// What the user of the dashboards is answered.
    pub fn read(&self, sql: &str) -> Result<String, String> {
        self.clickhouse.ask_as("reader", ClickHouse::PASSWORD, sql)
    }

    /// Asks the table what Grafana would ask it.
    pub fn ask(&self, sql: &str, range: Range, variables: &Variables<'_>) -> Answer {
        let sql = format!("{} FORMAT JSONCompact", filled(sql, range, variables));
        let said = self.read(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let said: Value = serde_json::from_str(&said).unwrap();
        let column = |it: &Value| (text(&it["name"]).to_owned(), text(&it["type"]).to_owned());
        Answer {
            columns: array(&said["meta"]).iter().map(column).collect(),
            rows: array(&said["data"]).iter().map(|it| array(it).to_vec()).collect(),
        }
    }

    /// Whether a rule of Grafana's fires when it is evaluated at a time: its query, the last value, the limit.
    pub fn fires(&self, rule: &Value, now: i64) -> bool {
        let [query, reduced, compared] = array(&rule["data"]) else { panic!("{rule}") };
        let ago = |it: &str| now - query["relativeTimeRange"][it].as_i64().unwrap();
        let range = Range { from: ago("from"), to: ago("to") };
        let answer = self.ask(text(&query["model"]["rawSql"]), range, &Variables::new());
        let reduce = &reduced["model"];
        assert_eq!((&reduce["type"], &reduce["expression"]), (&"reduce".into(), &query["refId"]), "{rule}");
        assert_eq!((&rule["condition"], &compared["model"]["expression"]), (&compared["refId"], &reduced["refId"]));
        assert_eq!((answer.columns.len(), &reduce["reducer"]), (1, &"last".into()), "{rule}");
        let Some(value) = answer.rows.last().map(|it| it[0].as_f64()) else {
            return rule["noDataState"] == "Alerting";
        };
        let value = value.unwrap_or_else(|| panic!("{}: no number", rule["uid"]));
        let evaluator = &compared["model"]["conditions"][0]["evaluator"];
        let limit = evaluator["params"][0].as_f64().unwrap();
        match text(&evaluator["type"]) {
            "gt" => value > limit,
            "lt" => value < limit,
            other => panic!("{other}"),
        }
    }
}

impl Answer {
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|it| it.0.as_str()).collect()
    }

    fn is_number(&self, column: usize) -> bool {
        ["Int", "UInt", "Float", "Nullable(Int", "Nullable(UInt", "Nullable(Float"]
            .iter()
            .any(|it| self.columns[column].1.starts_with(it))
    }

    /// Whether a panel can show it.
    pub fn suits(&self, panel: &Value) -> Result<(), String> {
        let numbers = (0..self.columns.len()).filter(|it| self.is_number(*it)).count();
        let has_values = self.rows.iter().any(|row| (0..row.len()).any(|it| self.is_number(it) && !row[it].is_null()));
        let query_form = panel["targets"][0]["format"].as_i64();
        let (is_so, form) = match text(&panel["type"]) {
            "stat" => (self.rows.len() == 1 && numbers == 1 && self.columns.len() == 1, 1),
            "barchart" => (!self.is_number(0) && numbers == 1, 1),
            "table" => (numbers > 0, 1),
            "timeseries" => {
                // Curves are told apart by texts.
                let texts = self.columns.iter().skip(1).filter(|it| it.1.contains("String")).count();
                let is_time = self.columns[0].0 == "time" && self.columns[0].1.starts_with("DateTime");
                (is_time && numbers > 0 && 1 + texts + numbers == self.columns.len(), 0)
            }
            other => return Err(format!("a panel of another kind: {other}")),
        };
        if !is_so || !has_values || query_form != Some(form) {
            return Err(format!("{:?}, {} rows", self.columns, self.rows.len()));
        }
        let named = array(&panel["fieldConfig"]["overrides"]).iter().map(|it| text(&it["matcher"]["options"]));
        let label = panel["fieldConfig"]["defaults"]["displayName"].as_str();
        let label = label.map(|it| it.trim_start_matches("${__field.labels.").trim_end_matches('}'));
        match named.chain(label).find(|it| !self.names().contains(it)) {
            Some(missing) => Err(format!("no column `{missing}` in {:?}", self.names())),
            None => Ok(()),
        }
    }
}

/// The user of the dashboards, with a password that the tests know.
fn reader() -> String {
    let file = fs::read_to_string(folder().join("clickhouse/reader.xml")).unwrap();
    let (before, after) = file.split_once(" from_env=\"CLICKHOUSE_READER_PASSWORD\"/>").unwrap();
    format!("{before}>{}</password>{after}", ClickHouse::PASSWORD)
}

/// Lines of the example data at the times of calm and incident, and what the incident makes of them.
fn requests(end: i64) -> Vec<String> {
    let mut data = String::new();
    for path in
        files(&root().join("examples/data/realtime")).iter().filter(|it| it.extension().is_some_and(|it| it == "gz"))
    {
        MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut data).unwrap();
    }
    let fields: Vec<&str> = cloudfront::REALTIME_FIELDS.iter().copied().filter(|it| *it != "s-ip").collect();
    let place = |name: &str| fields.iter().position(|it| *it == name).unwrap();
    let line = |(nth, line): (usize, &str)| {
        let mut values: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let is_calm = nth < CALM_REQUESTS;
        let (times, nth, of) =
            if is_calm { (CALM, nth, CALM_REQUESTS) } else { (INCIDENT, nth - CALM_REQUESTS, INCIDENT_REQUESTS) };
        let at = end + times.start;
        let millis = (times.end - times.start) as usize * 1_000 * nth / of;
        values[place("timestamp")] = format!("{}.{:03}", at + (millis / 1_000) as i64, millis % 1_000);
        if !is_calm {
            let (status, result) = match nth % 10 {
                0..3 => ("503", "Error"),
                3..5 => ("404", "Error"),
                5 => ("503", "LimitExceeded"),
                _ => ("200", "Miss"),
            };
            values[place("sc-status")] = status.to_owned();
            values[place("x-edge-result-type")] = result.to_owned();
            values[place("time-to-first-byte")] = "2.500".to_owned();
            values[place("sc-bytes")] += "00";
        }
        values.join("\t") + "\n"
    };
    let lines = data.lines().take(CALM_REQUESTS + INCIDENT_REQUESTS).enumerate().map(line).collect::<Vec<_>>();
    assert_eq!(lines.len(), CALM_REQUESTS + INCIDENT_REQUESTS);
    lines
}

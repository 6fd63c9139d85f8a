//! The files of `deploy/`, held against each other and against the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_testkit::services::ClickHouse;
use serde_json::{Value, json};

use super::{array, compose, dashboards, folder, panels, python, rules, text, yaml};
use crate::harness::{copy_all, files, forebay, root, succeed};

/// The pipeline that is deployed.
const PIPELINE: &str = "examples/cloudfront-clickhouse.toml";

/// What `forebay check` finds in the pipeline.
fn plan() -> Value {
    let said = succeed(forebay(&root()).args(["check", "--explain", "--json", "--env", "container", PIPELINE]));
    serde_json::from_str::<Value>(&said.out).unwrap()["plans"][0]["plan"].take()
}

fn pipeline() -> toml::Table {
    fs::read_to_string(root().join(PIPELINE)).unwrap().parse().unwrap()
}

/// The variables that a value of a pipeline refers to, each with its default.
fn variables(value: &toml::Value, found: &mut Vec<(String, Option<String>)>) {
    let toml::Value::Table(table) = value else { return };
    if let Some(name) = table.get("env").and_then(toml::Value::as_str) {
        let default = table.get("default").and_then(toml::Value::as_str);
        found.push((name.to_owned(), default.map(str::to_owned)));
    }
    table.values().for_each(|it| variables(it, found));
}

/// Seconds of `30s`.
fn seconds(duration: &Value) -> u64 {
    text(duration).strip_suffix('s').and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{duration}"))
}

/// Scenario: `compose.yaml` with the variables of `.env.example`, by a reader of the Compose specification; beside it the
/// pipeline, and what is mounted for ClickHouse, Prometheus and Grafana.
/// Guarantees: it is valid; the pipeline takes each variable that it is given; a file that is mounted is there; who asks
/// somebody asks a service that there is, at the port at which it listens; passwords come from variables and reach those who
/// read them; the program has the time to stop in; ClickHouse is that of the tests.
#[test]
fn compose_fits_together() {
    let compose = compose();
    let services = &compose["services"];
    let forebay = &services["forebay"];
    let mut taken = Vec::new();
    pipeline().values().for_each(|it| variables(it, &mut taken));
    for name in forebay["environment"].as_object().unwrap().keys().filter(|it| !it.starts_with("AWS_")) {
        assert!(taken.iter().any(|it| it.0 == *name), "the pipeline has no {name}");
    }
    let default = |name: &str| taken.iter().find(|it| it.0 == name).unwrap().1.clone().unwrap();
    assert_eq!(forebay["environment"]["STREAM"], default("STREAM"));
    assert_eq!(forebay["environment"]["METRICS"], default("METRICS"));
    // The dashboards name it.
    assert_eq!(default("CLICKHOUSE_DATABASE"), "cdn");

    let port = text(&forebay["environment"]["METRICS"]).split_once(':').unwrap().1;
    let health = array(&forebay["healthcheck"]["test"]).last().unwrap();
    assert_eq!(text(health), format!("http://127.0.0.1:{port}/health"));
    let scraped = &yaml("prometheus/prometheus.yml")["scrape_configs"][0];
    assert_eq!(scraped["static_configs"][0]["targets"], json!([format!("forebay:{port}")]));
    assert_eq!(scraped["job_name"], "forebay");
    assert_eq!(forebay["environment"]["CLICKHOUSE"], "http://clickhouse:8123");
    assert!(text(array(&services["clickhouse"]["healthcheck"]["test"]).last().unwrap()).contains(":8123/"));
    assert!(seconds(&forebay["stop_grace_period"]) > seconds(&plan()["drain_max"]));

    for (name, service) in services.as_object().unwrap() {
        for volume in array(&service["volumes"]).iter().map(text) {
            let from = volume.split(':').next().unwrap();
            let is_there = compose["volumes"].get(from).is_some() || folder().join(from).try_exists().unwrap();
            assert!(is_there, "{name}: {volume}");
        }
    }
    let sources = yaml("grafana/provisioning/datasources/datasources.yaml");
    let [clickhouse, prometheus] = array(&sources["datasources"]) else { panic!("{sources}") };
    let place = &clickhouse["jsonData"];
    assert_eq!(
        (&place["host"], &place["port"], &place["protocol"]),
        (&"clickhouse".into(), &9000.into(), &"native".into())
    );
    assert_eq!(prometheus["url"], "http://prometheus:9090");

    let reader = fs::read_to_string(folder().join("clickhouse/reader.xml")).unwrap();
    assert!(reader.contains(&format!("<{}>", text(&place["username"]))), "{reader}");
    let password = reader.split("from_env=\"").nth(1).and_then(|it| it.split('"').next()).unwrap();
    assert_eq!(clickhouse["secureJsonData"]["password"], format!("${password}"));
    let set = |service: &str, name: &str| services[service]["environment"][name].clone();
    assert_eq!(set("clickhouse", password), set("grafana", password));
    let points = yaml("grafana/provisioning/alerting/contact-points.yaml");
    let to = text(&points["contactPoints"][0]["receivers"][0]["settings"]["addresses"]);
    assert!(set("grafana", to.strip_prefix('$').unwrap()).is_string(), "{to}");
    assert_eq!(points["policies"][0]["receiver"], points["contactPoints"][0]["name"]);

    let version = ClickHouse::shared().query("SELECT version()");
    let tested = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let image = text(&services["clickhouse"]["image"]);
    assert!(image.starts_with(&format!("clickhouse/clickhouse-server:{tested}.")), "{image}, {version}");
}

/// Scenario: the provisioned data sources, dashboards and rules.
/// Guarantees: whatever asks a data source asks one that is provisioned, as the plug-in at the version that is installed; the
/// ids of panels and the uids of dashboards and rules are each one's own; no two panels lie over each other; where Grafana
/// looks for dashboards they are mounted.
#[test]
fn dashboards_are_well_formed() {
    let sources = yaml("grafana/provisioning/datasources/datasources.yaml");
    let sources: BTreeSet<(&str, &str)> =
        array(&sources["datasources"]).iter().map(|it| (text(&it["type"]), text(&it["uid"]))).collect();
    let compose = compose();
    let grafana = &compose["services"]["grafana"];
    let plugin = text(&grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]);
    let dashboards = dashboards();
    let of = |it: &Value| -> bool { sources.contains(&(text(&it["type"]), text(&it["uid"]))) };
    let mut uids = BTreeSet::new();
    for dashboard in &dashboards {
        assert!(uids.insert(text(&dashboard["uid"])), "{}", dashboard["uid"]);
        for variable in array(&dashboard["templating"]["list"]) {
            assert!(of(&variable["datasource"]), "{variable}");
        }
        let (mut ids, mut covered) = (BTreeSet::new(), BTreeSet::new());
        for panel in array(&dashboard["panels"]) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
            let at = |it: &str| panel["gridPos"][it].as_u64().unwrap();
            let cells = (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)));
            assert!(at("x") + at("w") <= 24 && cells.into_iter().all(|it| covered.insert(it)), "{panel}");
        }
        for panel in panels(dashboard) {
            assert!(of(&panel["datasource"]), "{panel}");
            for target in array(&panel["targets"]) {
                assert_eq!(target["datasource"], panel["datasource"], "{panel}");
                let version = target["pluginVersion"].as_str();
                assert!(version.is_none_or(|it| plugin == format!("grafana-clickhouse-datasource@{it}")), "{panel}");
            }
        }
    }
    for rule in rules() {
        assert!(!uids.contains(text(&rule["uid"])), "{rule}");
        for query in array(&rule["data"]) {
            let uid = text(&query["datasourceUid"]);
            assert!(uid == "__expr__" || sources.iter().any(|it| it.1 == uid), "{rule}");
            assert_eq!(query["refId"], query["model"]["refId"], "{rule}");
        }
    }
    let provider = yaml("grafana/provisioning/dashboards/dashboards.yaml");
    let path = text(&provider["providers"][0]["options"]["path"]);
    assert!(array(&grafana["volumes"]).contains(&json!(format!("./grafana/dashboards:{path}:ro"))));
    let home = text(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]);
    assert!(folder().join("grafana/dashboards").join(home.strip_prefix(path).unwrap().trim_matches('/')).is_file());
}

/// The rights that texts of ours name.
fn rights(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let quoted = text.split('`').skip(1).step_by(2).filter(|it| {
        it.split_once(':').is_some_and(|(service, action)| {
            ["kinesis", "dynamodb", "kms"].contains(&service) && action.chars().all(|it| it.is_ascii_alphabetic())
        })
    });
    quoted.map(str::to_owned).collect()
}

/// Scenario: the template, by AWS' own linter of templates; beside it the pipeline and the pages of its source.
/// Guarantees: it is valid; CloudFront is told to send the fields that the pipeline's pattern has, in that order; the rights
/// are those that the pages say, no more and no fewer; names are the pipeline's; the alert before rows are lost comes at
/// half of what the stream keeps.
#[test]
fn the_template_fits_the_pipeline() {
    let path = folder().join("cloudformation.yaml");
    succeed(Command::new(Path::new(python().get_program()).with_file_name("cfn-lint")).arg(&path));
    let template = yaml("cloudformation.yaml");
    let plan = plan();
    let columns = array(&plan["transforms"][0]["columns"]).iter().map(|it| text(&it["name"]).to_owned());
    let fields = &template["Resources"]["LogConfiguration"]["Properties"]["Fields"];
    let sent: Vec<String> = array(fields).iter().map(|it| text(it).replace('-', "_")).collect();
    assert_eq!(sent, columns.collect::<Vec<_>>());

    let statements = &template["Resources"]["ReaderPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    let actions = array(statements).iter().flat_map(|it| match &it["Action"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    });
    let granted: BTreeSet<String> = actions.map(|it| text(&it).to_owned()).collect();
    let needed = rights("sources/kinesis/src/lib.rs").into_iter().chain(rights("core/leases/src/lib.rs"));
    assert_eq!(granted, needed.collect());

    let default = |name: &str| template["Parameters"][name]["Default"].clone();
    let pipeline = pipeline();
    let stream = pipeline["sources"]["requests"]["stream"]["default"].as_str().unwrap();
    assert_eq!(default("StreamName"), stream);
    let leases = &pipeline["env"]["fleet"]["sources"]["requests"]["leases"]["table"];
    assert_eq!(default("LeaseTable"), leases.as_str().unwrap());
    let alerts = yaml("prometheus/alerts.yml");
    let alert = array(&alerts["groups"][0]["rules"]).iter().find(|it| it["alert"] == "SourceNearsRetention").unwrap();
    let half = default("RetentionHours").as_u64().unwrap() * 3_600 / 2;
    assert!(text(&alert["expr"]).ends_with(&format!("> {half}")), "{alert}");
}

/// Scenario: what `Dockerfile.dockerignore` lets through, in a directory of its own, with the command of the Dockerfile, but
/// for compiling.
/// Guarantees: cargo finds each crate of the workspace and the lock file is as it was; the compiler is that of the repository;
/// the program is the one that is copied; it is stopped by the signal that it understands, and is not root.
#[test]
fn the_image_has_what_it_needs() {
    let file = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let toolchain: toml::Table = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap().parse().unwrap();
    let compiler = toolchain["toolchain"]["channel"].as_str().unwrap();
    for due in [
        format!("FROM rust:{compiler}-").as_str(),
        "RUN cargo build --release --locked --package forebay-cli\n",
        "target/release/forebay /usr/local/bin/forebay\n",
        "ENTRYPOINT [\"forebay\"]\n",
        "STOPSIGNAL SIGTERM\n",
        "USER forebay\n",
    ] {
        assert!(file.contains(due), "{due}");
    }
    let ignored = fs::read_to_string(root().join("deploy/Dockerfile.dockerignore")).unwrap();
    let context = tempfile::tempdir().unwrap();
    for name in ignored.lines().filter_map(|it| it.strip_prefix('!')) {
        let (from, to) = (root().join(name), context.path().join(name));
        if from.is_dir() { copy_all(&from, &to) } else { fs::copy(from, to).map(drop).unwrap() }
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(context.path()).args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    // What other systems need was never fetched.
    cargo.args(["--filter-platform", "host-tuple"]);
    let metadata: Value = serde_json::from_str(&succeed(&mut cargo).out).unwrap();
    let members = array(&metadata["workspace_members"]).len();
    let manifests = |it: &Path| files(it).into_iter().filter(|it| it.ends_with("Cargo.toml")).count();
    // One is that of the workspace.
    assert_eq!(members, manifests(context.path()) - 1);
    // What is built into the program lies beside the code.
    let outside: Vec<PathBuf> = ["core", "sources", "sinks", "transforms"]
        .iter()
        .flat_map(|it| files(&root().join(it)))
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .filter(|it| fs::read_to_string(it).unwrap().contains("include_str!(\"../../.."))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

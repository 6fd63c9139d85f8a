//! Every pipeline in the repository is right.

use std::fs;
use std::path::PathBuf;

use crate::harness::{copy_all, files, forebay, root, succeed};

/// Those that need servers in each of their environments, and where they are run between such.
const ELSEWHERE: [(&str, &str); 2] = [
    ("cloudfront-clickhouse.toml", "examples/playground/tests/plays.rs"),
    ("web-telemetry.toml", "tests/telemetry.rs"),
];

/// Pipelines of the repository, but for those of a program of their own, which tests them itself.
fn pipelines() -> Vec<PathBuf> {
    let mut pipelines = files(&root().join("examples"));
    let crates: Vec<PathBuf> =
        pipelines.iter().filter(|it| it.ends_with("Cargo.toml")).map(|it| it.parent().unwrap().to_path_buf()).collect();
    pipelines.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    pipelines.retain(|it| !crates.iter().any(|its| it.starts_with(its)));
    pipelines.push(root().join("pipeline.toml"));
    pipelines
}

/// Scenario: `forebay check --all-envs` of every pipeline in the repository, from its root.
/// Guarantees: what newcomers copy is right in each of its environments.
#[test]
fn examples_pass_the_check() {
    for pipeline in pipelines() {
        let name = pipeline.strip_prefix(root()).unwrap().to_path_buf();
        succeed(forebay(&root()).args(["check", "--all-envs"]).arg(name));
    }
}

/// Scenario: every example is run twice over the example data of the repository, from a directory of its own: those that
/// need servers, or are some, in their environment `dev`, or in a test of their own.
/// Guarantees: each delivers most of what it reads, keeps what it refuses, and finds nothing new the second time.
#[test]
fn examples_deliver() {
    let mut ran = 0;
    for pipeline in pipelines() {
        let text = fs::read_to_string(&pipeline).unwrap();
        let has = |it: &str| text.contains(it);
        let needs_servers = has("s3://") || has("type = \"kinesis\"") || has("type = \"beacon\"");
        let environment: &[&str] = match (needs_servers, has("[env.dev.sources.")) {
            (false, _) => &[],
            (true, true) => &["--env", "dev"],
            (true, false) => {
                let elsewhere = ELSEWHERE.iter().find(|it| pipeline.ends_with(it.0));
                let (name, test) = elsewhere.unwrap_or_else(|| panic!("{} is run nowhere", pipeline.display()));
                assert!(fs::read_to_string(root().join(test)).unwrap().contains(name), "{test} does not run {name}");
                continue;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        copy_all(&root().join("examples/data"), &dir.path().join("examples/data"));
        let run = || -> serde_json::Value {
            let said = succeed(forebay(dir.path()).args(["run", "--json"]).args(environment).arg(&pipeline));
            serde_json::from_str(&said.out).unwrap()
        };
        let (first, second) = (run(), run());
        let sum = |of: &str, what: &str| -> u64 {
            first[of].as_object().unwrap().values().map(|it| it[what].as_u64().unwrap()).sum()
        };
        let (read, delivered) = (sum("sources", "read"), sum("sinks", "delivered"));
        assert!(delivered > 0 && delivered >= read * 9 / 10, "{}: {first}", pipeline.display());
        assert_eq!(second["nothing_new"], true, "{}: {second}", pipeline.display());
        ran += 1;
    }
    assert_eq!(ran, 7);
}

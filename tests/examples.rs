//! Every pipeline in the repository is right.

use std::path::PathBuf;

use crate::harness::{files, forebay, root, succeed};

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

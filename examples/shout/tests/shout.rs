//! The component by itself, and the program that it is part of.

#![allow(clippy::unwrap_used, reason = "what a test helper cannot do fails the test")]

use std::process::Command;

use forebay_api::{Transform, TransformConfig};
use forebay_testkit::{canonical, text};
use serde_json::json;
use shout::Shout;

fn build(column: &str) -> Box<dyn Transform> {
    let config: Shout = serde_json::from_value(json!({ "column": column })).unwrap();
    config.build().unwrap()
}

/// Scenario: rows with text and nulls, however they are cut into batches; and a column that does not exist.
/// Guarantees: the transform keeps the contract, shouts, and names the key that is to blame.
#[test]
fn keeps_the_contract() {
    let input = [text("message", [Some("hello"), None]), text("message", ["größe"])];
    let applied = forebay_testkit::transform(|| build("message"), &input);
    let shouted = text("message", [Some("HELLO"), None, Some("GRÖSSE")]);
    assert_eq!(canonical(&[applied.sent]), canonical(&[shouted]));

    let error = build("massage").plan(&input[0].schema()).unwrap_err();
    let wrong = error.downcast_ref::<forebay_api::Wrong>().unwrap();
    assert_eq!(wrong.key, "column");
    assert_eq!(wrong.label.as_deref(), Some("did you mean `message`?"));
}

/// Scenario: the third party's own program runs its pipeline.
/// Guarantees: a component from outside is read from the file, planned and run like any other.
#[test]
fn runs_in_its_own_program() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_shout"))
        .args(["run", pipeline])
        .current_dir(dir.path())
        .env_remove("FOREBAY_ENV")
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.lines().count(), 5, "{out}");
    for line in out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = row["message"].as_str().unwrap();
        assert!(message.contains("HTTP/"), "{message}");
        assert_eq!(message, message.to_uppercase());
    }
}

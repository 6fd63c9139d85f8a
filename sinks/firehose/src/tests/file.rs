//! What stands in the file.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use expect_test::expect;
use forebay_api::{Promise, SinkConfig, Wrong};
use forebay_testkit::columns;

use super::config;

/// Scenario: files with a fault each, and good ones at the bounds.
/// Guarantees: the fault is found before anything runs, with its key and what would have worked.
#[test]
fn faults() {
    let numbers = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let input = columns([("url", numbers()), ("url.path", numbers()), ("a..b", numbers()), (".c", numbers())]);
    let long = format!("stream = '{}'", "x".repeat(65));
    let mut found = String::new();
    for toml in [
        "stream = ''",
        "stream = 'web events'",
        &long,
        "stream = 'a'\npack = '5119B'",
        "stream = 'a'\npack = '1MiB'",
        "stream = 'a'\npack = '5KiB'",
        "stream = 'a'\npack = '1000KiB'",
        "stream = 'a'\nshape = 'nested'",
        "stream = 'a'\naws = { region = 'Ireland' }",
        "stream = 'A-1_z.'",
    ] {
        let config = config(toml);
        found += &match config.plan(&input.schema()) {
            Ok(()) => format!("{toml:?}: {:?} bytes a record\n", config.packed_bytes()),
            Err(error) => {
                let wrong: &Wrong = error.downcast_ref().unwrap();
                format!("{}: {wrong} ({})\n", wrong.key, wrong.hint.as_deref().unwrap_or_default())
            }
        };
    }
    expect![[r#"
        stream: `` is not the name of a stream (1 to 64 of A-Z a-z 0-9 _ . -)
        stream: `web events` is not the name of a stream (1 to 64 of A-Z a-z 0-9 _ . -)
        stream: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not the name of a stream (1 to 64 of A-Z a-z 0-9 _ . -)
        pack: a record has at least "5KiB" and at most "1000KiB", not "5119B" ()
        pack: a record has at least "5KiB" and at most "1000KiB", not "1MiB" ()
        "stream = 'a'\npack = '5KiB'": Some(5120) bytes a record
        "stream = 'a'\npack = '1000KiB'": Some(1024000) bytes a record
        shape: column `url.path` would be a value and an object at once, with the columns beside it (rename one of them, or write `shape = "flat"`)
        aws.region: `Ireland` is not a region (write the region as AWS does, such as "eu-central-1")
        "stream = 'A-1_z.'": None bytes a record
    "#]].assert_eq(&found);
    assert_eq!(config("stream = 'a'").promise(), Promise::AtLeastOnce);
}

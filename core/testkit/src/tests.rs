//! The suites tested against fakes that are right, and against such as are wrong in one thing each.

#[cfg(feature = "services")]
mod clickhouse;
#[cfg(feature = "services")]
mod firehose;
#[cfg(feature = "services")]
mod kinesis;
mod oracle;
#[cfg(feature = "services")]
mod poison;
#[cfg(feature = "services")]
mod services;
mod sink;
mod source;
mod transform;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use expect_test::{Expect, expect};

use crate::{canonical, cut, text};

/// What a suite says, or `passes`.
fn verdict(suite: impl Future<Output = ()>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite))) {
        Ok(()) => "passes".to_owned(),
        Err(panic) => match panic.downcast::<String>() {
            Ok(said) => *said,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        },
    }
}

/// Compares what a suite said about each mutant, none of which may pass.
fn check(verdicts: impl IntoIterator<Item = (String, String)>, expected: Expect) {
    let mut report = String::new();
    for (mutant, verdict) in verdicts {
        assert!(verdict != "passes", "the suite does not catch the mutant {mutant}");
        report += &format!("{mutant}\n    {}\n", verdict.replace('\n', "\n    "));
    }
    expected.assert_eq(&report);
}

/// Scenario: rows with nulls, as text and cut into smaller batches.
/// Guarantees: each row is one line with all its columns, nulls included; cutting keeps rows and order, and leaves no
/// empty batch.
#[test]
fn rows_as_text() {
    let rows = text("message", [Some("a"), None, Some("null"), Some("\"")]);
    let lines = canonical(std::slice::from_ref(&rows));
    expect![[r#"
        [
            "{\"message\":\"a\"}",
            "{\"message\":null}",
            "{\"message\":\"null\"}",
            "{\"message\":\"\\\"\"}",
        ]
    "#]]
    .assert_debug_eq(&lines);
    let pieces = cut(&[rows.slice(0, 0), rows.clone()], 3);
    assert_eq!(pieces.iter().map(|it| it.num_rows()).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(canonical(&pieces), lines);
}

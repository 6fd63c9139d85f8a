use std::time::Duration;

use arrow_array::RecordBatch;
use forebay_api::{Age, Promise, SinkConfig};

use super::Blackhole;

fn rows() -> RecordBatch {
    forebay_testkit::text("message", ["one", "two", "three"])
}

/// Scenario: a delivery to a blackhole that is told to wait.
/// Guarantees: it takes every row, and `commit` takes as long as the file says, `stage` no time.
#[tokio::test(start_paused = true)]
async fn waits_once_a_delivery() {
    let sink = Blackhole { wait: Age::millis(5) }.open(rows().schema()).await.unwrap();
    let mut draft = sink.begin(&forebay_testkit::delivery(1)).await.unwrap();
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert!(draft.stage(rows()).await.unwrap().is_empty());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(draft.commit().await.unwrap().is_empty());
    assert_eq!(start.elapsed(), Duration::from_millis(5));
}

/// Scenario: the file says nothing, or something wrong.
/// Guarantees: no wait is the default, a wait without a unit is an error, and the promise is the weak one.
#[test]
fn reads_its_table() {
    let default: Blackhole = toml::from_str("").unwrap();
    assert_eq!(default.wait, Age::millis(0));
    assert_eq!(default.promise(), Promise::AtLeastOnce);
    assert!(toml::from_str::<Blackhole>("wait = 5").is_err());
    assert!(toml::from_str::<Blackhole>("waits = \"5ms\"").is_err());
}

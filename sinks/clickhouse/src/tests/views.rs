//! Materialized views that come into being while the pipeline runs.

use super::once::commit;
use super::{NUMBERS, Place, numbers, said, staged};

/// Scenario: a view that does not take some rows is made while the pipeline runs, so that nobody knows of it when they are
/// inserted: because of a constraint, a function that fails, or a text that is no number. Then it is mended, or taken away.
/// Guarantees: it is the view that is blamed, not the rows: none is refused, and the sink waits; then each row is there once, and
/// a view that was mended gets what it lacks.
#[tokio::test]
async fn a_view_that_nobody_knew_of() {
    for (target, select, mend) in [
        ("n Int64, CONSTRAINT odd CHECK n != 7", "n", Some("ALTER TABLE other DROP CONSTRAINT odd")),
        ("n Int64", "n + throwIf(n = 7) AS n", None),
        ("n UInt8", "toUInt8(replaceOne(text, 'text 7', 'seven')) AS n", None),
        ("n UInt8", "toUInt8(substring(text, 6 + (n = 7))) AS n", None),
    ] {
        let place = Place::new();
        place.table(NUMBERS);
        let sink = place.open("", &numbers(0..1)).await;
        let remembers = "SETTINGS non_replicated_deduplication_window = 100";
        place.query(&format!("CREATE TABLE other ({target}) ENGINE = MergeTree ORDER BY n {remembers}"));
        place.query(&format!("CREATE MATERIALIZED VIEW view TO other AS SELECT {select} FROM {}.rows", place.database));
        let mut draft = staged(sink.as_ref(), 1, &[numbers(0..100)]).await;
        for _ in 0..2 {
            let waiting = said(draft.commit().await);
            assert!(waiting.starts_with("retry: ") && waiting.contains("while pushing to view"), "{select}: {waiting}");
        }
        match mend {
            Some(mend) => place.query(mend),
            None => place.query(&format!("DROP VIEW {}.view", place.database)),
        };
        assert!(commit(&mut draft).await.is_empty());
        assert_eq!(place.count(), "100\t100", "{select}");
        if mend.is_some() {
            assert_eq!(place.query("SELECT count(), uniqExact(n) FROM other"), "100\t100");
        }
    }
}

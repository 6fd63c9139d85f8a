//! Events that come twice.

use expect_test::{Expect, expect};

use super::*;

async fn check(keys: Value, frames: impl IntoIterator<Item = Frame>, expected: Expect) {
    let beacon = beacon(json!({ "fields": ["message"], "dedupe": keys }));
    put(&beacon, frames).await;
    expected.assert_eq(&shown(&read(&beacon).await));
}

/// Scenario: events with the same id in one request, in two, much later, and after many others.
/// Guarantees: a copy is no row if it comes within the window; one that is refused counts as having been there; events
/// without an id are never copies.
#[tokio::test]
async fn copies() {
    let events = |ids: &[&str]| {
        let events: Vec<String> = ids.iter().map(|it| format!(r#"{{"event.id": "{it}"}}"#)).collect();
        events.join("\n")
    };
    let frames = || {
        [
            frame(0, &events(&["a", "b", "a"])),
            frame(10, r#"[{"event": {"id": "b"}}, {"event.id": "\u0062"}, {"event.id": ""}, {"event.id": ""}, {}]"#),
            frame(20, r#"[{"event.id": 7, "@timestamp": "never"}, {"event.id": "7"}, {"event.id": "c"}]"#),
            frame(60, &events(&["a", "c"])),
        ]
    };
    check(
        json!({}),
        frames(),
        expect![[r#"
        1:1 event.id=a
        1:2 event.id=b
        2:3 event.id=
        2:4 event.id=
        2:5
        3:1 REFUSED "{\"event.id\": 7, \"@timestamp\": \"never\"}": `@timestamp`: `never` is not a time of RFC 3339
        3:3 event.id=c
    "#]],
    )
    .await;
    check(
        json!({ "window": "45s" }),
        frames(),
        expect![[r#"
        1:1 event.id=a
        1:2 event.id=b
        2:3 event.id=
        2:4 event.id=
        2:5
        3:1 REFUSED "{\"event.id\": 7, \"@timestamp\": \"never\"}": `@timestamp`: `never` is not a time of RFC 3339
        3:3 event.id=c
        4:1 @timestamp=2026-11-22T08:01:00Z event.id=a event.ingested=2026-11-22T08:01:00Z
    "#]],
    )
    .await;
    check(
        json!({ "window": "0s" }),
        frames(),
        expect![[r#"
        1:1 event.id=a
        1:2 event.id=b
        1:3 event.id=a
        2:1 event.id=b
        2:2 event.id=b
        2:3 event.id=
        2:4 event.id=
        2:5
        3:1 REFUSED "{\"event.id\": 7, \"@timestamp\": \"never\"}": `@timestamp`: `never` is not a time of RFC 3339
        3:2 event.id=7
        3:3 event.id=c
        4:1 @timestamp=2026-11-22T08:01:00Z event.id=a event.ingested=2026-11-22T08:01:00Z
        4:2 @timestamp=2026-11-22T08:01:00Z event.id=c event.ingested=2026-11-22T08:01:00Z
    "#]],
    )
    .await;
    check(
        json!({ "ids_max": 2 }),
        frames(),
        expect![[r#"
        1:1 event.id=a
        1:2 event.id=b
        2:3 event.id=
        2:4 event.id=
        2:5
        3:1 REFUSED "{\"event.id\": 7, \"@timestamp\": \"never\"}": `@timestamp`: `never` is not a time of RFC 3339
        3:3 event.id=c
        4:1 @timestamp=2026-11-22T08:01:00Z event.id=a event.ingested=2026-11-22T08:01:00Z
    "#]],
    )
    .await;
}

/// Scenario: requests with copies are read in one go, and again from every place that a first reading has given.
/// Guarantees: which events are copies does not depend on where reading begins.
#[tokio::test]
async fn the_same_from_everywhere() {
    let beacon = beacon(json!({ "fields": ["message"], "dedupe": { "window": "30s", "ids_max": 12 } }));
    let body = |nth: u64| {
        let events: Vec<String> =
            (0..4).map(|it| format!(r#"{{"event.id": "{}"}}"#, (nth * 7 + it * 3) % 11)).collect();
        format!("[{}]", events.join(","))
    };
    put(&beacon, (0..40).map(|nth| frame(nth * 2, &body(nth)))).await;
    forebay_testkit::source(&beacon).await;
    let rows: usize = read(&beacon).await.iter().map(|it| it.rows.num_rows()).sum();
    assert!((40..150).contains(&rows), "{rows} of 160 events are rows");
}

//! Rows that the server does not take.

use std::time::Duration;

use expect_test::expect;
use forebay_testkit::cut;
use forebay_testkit::services::{Fault, FaultProxy, Rule};

use super::once::{again, commit};
use super::{NUMBERS, Place, deliver, numbers, open, reasons, said, staged};

/// Scenario: the server does not take some rows; then it is asked again for all, before and after it takes them.
/// Guarantees: exactly these rows are refused, with the server's reason; the others are there once; once the table takes
/// them, they are inserted.
#[tokio::test]
async fn rows_that_the_server_does_not_take() {
    let place = Place::new();
    place.table_with(&format!("{NUMBERS}, CONSTRAINT odd CHECK n % 1000 != 7"), "ORDER BY n");
    let rows = numbers(0..3500);
    let sink = place.open("", &rows).await;
    let refused = deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let printed = reasons(&refused).replace(&place.database, "database");
    let printed: Vec<&str> = printed.lines().map(|it| it.split(" is violated").next().unwrap()).collect();
    let printed: Vec<&str> = printed.iter().map(|it| it.split(" (").next().unwrap()).collect();
    expect![[r#"
        7: inserting 1 rows into `database`.`rows`: Code: 469. DB::Exception: Constraint `odd` for table database.rows
        1007: inserting 1 rows into `database`.`rows`: Code: 469. DB::Exception: Constraint `odd` for table database.rows
        2007: inserting 1 rows into `database`.`rows`: Code: 469. DB::Exception: Constraint `odd` for table database.rows
        3007: inserting 1 rows into `database`.`rows`: Code: 469. DB::Exception: Constraint `odd` for table database.rows"#]]
    .assert_eq(&printed.join("\n"));
    assert_eq!(forebay_testkit::canonical(&[refused[1].payload.clone()]), [r#"{"n":1007,"text":"text 1007"}"#]);
    assert_eq!(place.count(), "3496\t3496");
    let sink = place.open("", &rows).await;
    assert_eq!(deliver(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 900)).await.len(), 4);
    assert_eq!(commit(&mut again(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 64)).await).await.len(), 4);
    assert_eq!(place.count(), "3496\t3496");
    place.query("ALTER TABLE rows DROP CONSTRAINT odd");
    assert!(commit(&mut again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await).await.is_empty());
    assert_eq!(place.count(), "3500\t3500");
}

/// Scenario: of 4,096 rows the server does not take one.
/// Guarantees: it is found with an INSERT of all, one for each half that it is not in, and one of it alone: the server says
/// where it is.
#[tokio::test]
async fn the_server_names_the_row() {
    let place = Place::new();
    place.table_with(&format!("{NUMBERS}, CONSTRAINT odd CHECK n != 3000"), "ORDER BY n");
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let rows = numbers(0..4096);
    let sink = open(&place.config_at(&proxy.endpoint(), ""), &rows).await;
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    proxy.set_rules(vec![Rule::new(Fault::Delay(Duration::ZERO)).path_contains("INSERT")]);
    let refused = commit(&mut draft).await;
    assert_eq!(refused.iter().map(|it| it.row).collect::<Vec<_>>(), [3000]);
    assert_eq!(place.count(), "4095\t4095");
    assert_eq!(proxy.faults(), 1 + 12 + 1);
}

/// Scenario: the process ends after each request while bad rows are looked for, among INSERTs alone and, in a table of
/// partitions, also looks into the table; this is mended before the process starts again.
/// Guarantees: each row is there once.
#[tokio::test]
async fn a_crash_while_bad_rows_are_looked_for() {
    // Of the second one the server does not say which row it is.
    let (named, unnamed) = ("CHECK n != 300", "CHECK throwIf(n = 300) = 0");
    let (plain, parted) = ("ORDER BY n", "PARTITION BY n % 2 ORDER BY n");
    let cases = [1, 2, 3, 5, 8, 10].map(|requests| (requests, named, plain)).into_iter();
    let cases = cases.chain([2, 5, 8, 11].map(|requests| (requests, named, parted)));
    let cases = cases.chain([1, 2, 3, 5, 8, 13, 18].map(|requests| (requests, unnamed, plain)));
    let cases = cases.chain([2, 5, 13, 21].map(|requests| (requests, unnamed, parted)));
    for (requests, check, rest) in cases {
        let place = Place::new();
        place.table_with(&format!("{NUMBERS}, CONSTRAINT odd {check}"), rest);
        let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
        let rows = numbers(0..512);
        let sink = open(&place.config_at(&proxy.endpoint(), ""), &rows).await;
        let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        proxy.set_rules(vec![Rule::new(Fault::AnswerLost).after(requests)]);
        let first = said(draft.commit().await);
        assert!(first.starts_with("retry: "), "{first}");
        drop((draft, sink));
        place.query("ALTER TABLE rows DROP CONSTRAINT odd");
        let sink = place.open("", &rows).await;
        assert!(commit(&mut again(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 100)).await).await.is_empty());
        assert_eq!(place.count(), "512\t512", "after {requests} requests, {check}, {rest}");
    }
}

/// Scenario: of 4,096 rows the server does not take 32, here and there; the process ends when all are found, and another one
/// makes the delivery again.
/// Guarantees: it passes the hundreds of ranges that were halved without asking for each whether the table has it: it asks
/// once, and for each row that it sends again; the same rows are refused, and the others are there once.
#[tokio::test]
async fn what_was_halved_is_passed_quickly() {
    let place = Place::new();
    place.table_with(&format!("{NUMBERS}, CONSTRAINT odd CHECK n % 128 != 77"), "ORDER BY n");
    let rows = numbers(0..4096);
    let sink = place.open("", &rows).await;
    assert_eq!(deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.len(), 32);
    let inserts: u64 = place.query("SELECT uniqExact(_delivery) FROM rows").parse().unwrap();
    assert!(inserts > 200, "{inserts}");
    let sink = place.open("", &rows).await;
    let mut draft = again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let before = place.searches();
    assert_eq!(commit(&mut draft).await.len(), 32);
    assert_eq!(place.searches() - before, 1 + 32);
    assert_eq!(place.count(), "4064\t4064");
}

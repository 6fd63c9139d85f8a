//! Many rows that the server does not take.

use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use forebay_testkit::services::FaultProxy;

use super::{NUMBERS, Place, id, numbers, open, staged};
use crate::slowly::{APART, QUICK_ROWS, Slowly};

/// Scenario: INSERTs follow each other while more and more rows of a delivery are refused.
/// Guarantees: up to so many rows none waits; from then on, each does until so long after the one before it, which may have taken
/// as long itself.
#[tokio::test(start_paused = true)]
async fn a_pace_once_many_are_refused() {
    let mut slowly = Slowly::default();
    let begun = tokio::time::Instant::now();
    for _ in 0..QUICK_ROWS {
        slowly.wait("t", &id(1)).await;
        slowly.refused("why");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    for _ in 0..=10 {
        slowly.wait("t", &id(1)).await;
    }
    let (least, most) = (APART * 10, APART * 10 + Duration::from_millis(100));
    assert!((least..most).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let before = begun.elapsed();
    tokio::time::advance(APART * 3).await;
    slowly.wait("t", &id(1)).await;
    assert_eq!(begun.elapsed(), before + APART * 3);
}

fn inserts(proxy: &FaultProxy) -> usize {
    proxy.seen().iter().filter(|it| it.path.contains("INSERT")).count()
}

/// Scenario: a table takes none of the rows of a delivery that is a little larger than what is looked for quickly; one that is
/// much larger, until somebody mends the table.
/// Guarantees: each row is refused alone, or there; after so many there are no more INSERTs than one in each interval, so that
/// most rows are still to come when the table is mended, and these go in with few INSERTs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_which_the_table_takes_none() {
    let place = Place::new();
    place.table_with(&format!("{NUMBERS}, CONSTRAINT wrong CHECK n < 0"), "ORDER BY n");
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let (few, many) = (numbers(0..QUICK_ROWS as i64 + 16), numbers(1000..101_000));
    let sink = open(&place.config_at(&proxy.endpoint(), ""), &few).await;
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&few)).await;
    let refused = draft.commit().await.unwrap();
    assert_eq!(refused.iter().map(|it| it.row).collect::<Vec<_>>(), (0..few.num_rows() as u64).collect::<Vec<_>>());
    // Each alone, and not more than the first and two for each halving.
    assert!((few.num_rows()..2 * few.num_rows()).contains(&inserts(&proxy)), "{} INSERTs", inserts(&proxy));

    let mut draft = staged(sink.as_ref(), 2, std::slice::from_ref(&many)).await;
    let before = inserts(&proxy);
    let so_many = async |count: usize| {
        while inserts(&proxy) - before < count {
            tokio::time::sleep(APART / 10).await;
        }
        (inserts(&proxy) - before, Instant::now())
    };
    let committing = tokio::spawn(async move { draft.commit().await.unwrap() });
    // The way to the first row, and two for each of so many.
    let (quickly, begun) = so_many(17 + 2 * QUICK_ROWS as usize).await;
    let (seen, now) = so_many(quickly + 20).await;
    // The first of them may have come late.
    let slowly = (seen - quickly) as u32 - 5;
    assert!(now - begun >= APART * slowly, "{slowly} INSERTs in {:?}", now - begun);
    place.query("ALTER TABLE rows DROP CONSTRAINT wrong");
    let refused = committing.await.unwrap();
    let letters: Vec<i64> =
        refused.iter().map(|it| it.payload.column(0).as_primitive::<Int64Type>().value(0)).collect();
    assert!((QUICK_ROWS as usize..quickly).contains(&letters.len()), "{} letters", letters.len());
    assert_eq!(letters, (1000..1000 + letters.len() as i64).collect::<Vec<_>>());
    let there = many.num_rows() - letters.len();
    assert_eq!(place.count(), format!("{there}\t{there}"));
    let all = inserts(&proxy) - before;
    assert!(all < seen + 100, "{all} INSERTs, {seen} of them before the table was mended");
}

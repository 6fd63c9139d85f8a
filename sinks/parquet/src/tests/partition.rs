//! Which file a row comes to.

use expect_test::{Expect, expect};
use forebay_testkit::{cut, delivery};

use super::{HOUR, Place, SEVEN, begin, deliver, events};
use crate::layout::encoded;

/// Scenario: rows on both sides of the hour, the day, the year, the first leap day of a century year, and the epoch,
/// for each length of a partition.
/// Guarantees: every row is in the partition of its own time in UTC, before 1970 too, in the order in which it came.
#[tokio::test]
async fn routes_by_time() {
    async fn check(every: &str, expected: Expect) {
        let place = Place::new();
        let year_2000 = 946_684_800_000;
        let leap_day = 951_782_400_000;
        let times = [
            SEVEN,
            SEVEN - 1,
            SEVEN + HOUR - 1,
            SEVEN + HOUR,
            0,
            -1,
            SEVEN,
            year_2000 - 1,
            year_2000,
            leap_day,
            leap_day + 24 * HOUR,
            -62_167_219_200_000,
        ];
        let rows = events(&times.map(|it| (Some(it), None)));
        let sink = place.open(&format!("partition = {{ time = 'time', every = '{every}' }}"), &rows).await;
        assert!(deliver(sink.as_ref(), 1, &[rows]).await.is_empty());
        let numbers = place.listing().replace("\"country\":null,", "").replace(".000", "");
        expected.assert_eq(&numbers);
    }
    check(
        "hour",
        expect![[r#"
        year=0000/month=01/day=01/hour=00/*-0.parquet
            {"time":"0000-01-01T00:00:00Z","number":11}
        year=1969/month=12/day=31/hour=23/*-0.parquet
            {"time":"1969-12-31T23:59:59.999Z","number":5}
        year=1970/month=01/day=01/hour=00/*-0.parquet
            {"time":"1970-01-01T00:00:00Z","number":4}
        year=1999/month=12/day=31/hour=23/*-0.parquet
            {"time":"1999-12-31T23:59:59.999Z","number":7}
        year=2000/month=01/day=01/hour=00/*-0.parquet
            {"time":"2000-01-01T00:00:00Z","number":8}
        year=2000/month=02/day=29/hour=00/*-0.parquet
            {"time":"2000-02-29T00:00:00Z","number":9}
        year=2000/month=03/day=01/hour=00/*-0.parquet
            {"time":"2000-03-01T00:00:00Z","number":10}
        year=2026/month=11/day=01/hour=06/*-0.parquet
            {"time":"2026-11-01T06:59:59.999Z","number":1}
        year=2026/month=11/day=01/hour=07/*-0.parquet
            {"time":"2026-11-01T07:00:00Z","number":0}
            {"time":"2026-11-01T07:59:59.999Z","number":2}
            {"time":"2026-11-01T07:00:00Z","number":6}
        year=2026/month=11/day=01/hour=08/*-0.parquet
            {"time":"2026-11-01T08:00:00Z","number":3}
    "#]],
    )
    .await;
    check(
        "day",
        expect![[r#"
        year=0000/month=01/day=01/*-0.parquet
            {"time":"0000-01-01T00:00:00Z","number":11}
        year=1969/month=12/day=31/*-0.parquet
            {"time":"1969-12-31T23:59:59.999Z","number":5}
        year=1970/month=01/day=01/*-0.parquet
            {"time":"1970-01-01T00:00:00Z","number":4}
        year=1999/month=12/day=31/*-0.parquet
            {"time":"1999-12-31T23:59:59.999Z","number":7}
        year=2000/month=01/day=01/*-0.parquet
            {"time":"2000-01-01T00:00:00Z","number":8}
        year=2000/month=02/day=29/*-0.parquet
            {"time":"2000-02-29T00:00:00Z","number":9}
        year=2000/month=03/day=01/*-0.parquet
            {"time":"2000-03-01T00:00:00Z","number":10}
        year=2026/month=11/day=01/*-0.parquet
            {"time":"2026-11-01T07:00:00Z","number":0}
            {"time":"2026-11-01T06:59:59.999Z","number":1}
            {"time":"2026-11-01T07:59:59.999Z","number":2}
            {"time":"2026-11-01T08:00:00Z","number":3}
            {"time":"2026-11-01T07:00:00Z","number":6}
    "#]],
    )
    .await;
    check(
        "month",
        expect![[r#"
        year=0000/month=01/*-0.parquet
            {"time":"0000-01-01T00:00:00Z","number":11}
        year=1969/month=12/*-0.parquet
            {"time":"1969-12-31T23:59:59.999Z","number":5}
        year=1970/month=01/*-0.parquet
            {"time":"1970-01-01T00:00:00Z","number":4}
        year=1999/month=12/*-0.parquet
            {"time":"1999-12-31T23:59:59.999Z","number":7}
        year=2000/month=01/*-0.parquet
            {"time":"2000-01-01T00:00:00Z","number":8}
        year=2000/month=02/*-0.parquet
            {"time":"2000-02-29T00:00:00Z","number":9}
        year=2000/month=03/*-0.parquet
            {"time":"2000-03-01T00:00:00Z","number":10}
        year=2026/month=11/*-0.parquet
            {"time":"2026-11-01T07:00:00Z","number":0}
            {"time":"2026-11-01T06:59:59.999Z","number":1}
            {"time":"2026-11-01T07:59:59.999Z","number":2}
            {"time":"2026-11-01T08:00:00Z","number":3}
            {"time":"2026-11-01T07:00:00Z","number":6}
    "#]],
    )
    .await;
    check(
        "year",
        expect![[r#"
        year=0000/*-0.parquet
            {"time":"0000-01-01T00:00:00Z","number":11}
        year=1969/*-0.parquet
            {"time":"1969-12-31T23:59:59.999Z","number":5}
        year=1970/*-0.parquet
            {"time":"1970-01-01T00:00:00Z","number":4}
        year=1999/*-0.parquet
            {"time":"1999-12-31T23:59:59.999Z","number":7}
        year=2000/*-0.parquet
            {"time":"2000-01-01T00:00:00Z","number":8}
            {"time":"2000-02-29T00:00:00Z","number":9}
            {"time":"2000-03-01T00:00:00Z","number":10}
        year=2026/*-0.parquet
            {"time":"2026-11-01T07:00:00Z","number":0}
            {"time":"2026-11-01T06:59:59.999Z","number":1}
            {"time":"2026-11-01T07:59:59.999Z","number":2}
            {"time":"2026-11-01T08:00:00Z","number":3}
            {"time":"2026-11-01T07:00:00Z","number":6}
    "#]],
    )
    .await;
}

/// Scenario: partition values as an attacker would choose them, none, the empty text, and Hive's own word for none.
/// Guarantees: each value has a directory of its own under the table's, and none leads out of it or is hidden.
#[tokio::test]
async fn routes_by_columns() {
    let place = Place::new();
    let values = [
        Some("de"),
        None,
        Some(""),
        Some(".."),
        Some("../../etc"),
        Some("/"),
        Some(".hidden"),
        Some("a=b&c%"),
        Some("\0\n"),
        Some("ö"),
        Some("__HIVE_DEFAULT_PARTITION__"),
        Some("de"),
    ];
    let rows = events(&values.map(|it| (Some(SEVEN), it)));
    let sink = place.open("partition = { time = 'time', every = 'year', columns = ['country', 'number'] }", &rows);
    assert!(deliver(sink.await.as_ref(), 1, &[rows]).await.is_empty());
    let directories: Vec<String> =
        place.files().into_keys().map(|it| it.rsplit_once('/').unwrap().0.to_owned()).collect();
    expect![[r#"
        year=2026/country=%00%0A/number=8
        year=2026/country=%2E.%2F..%2Fetc/number=4
        year=2026/country=%2E./number=3
        year=2026/country=%2Ehidden/number=6
        year=2026/country=%2F/number=5
        year=2026/country=%5F_HIVE_DEFAULT_PARTITION__/number=10
        year=2026/country=%C3%B6/number=9
        year=2026/country=__HIVE_DEFAULT_PARTITION__/number=1
        year=2026/country=__HIVE_DEFAULT_PARTITION__/number=2
        year=2026/country=a%3Db%26c%25/number=7
        year=2026/country=de/number=0
        year=2026/country=de/number=11"#]]
    .assert_eq(&directories.join("\n"));
    let inside = std::fs::read_dir(place.directory.path()).unwrap().count();
    assert_eq!(inside, 1, "nothing is beside the table");
}

/// Scenario: names for directories.
/// Guarantees: what is encoded can be told apart, and holds none but safe characters.
#[test]
fn encodes_values() {
    let values =
        ["a b", "a+b", "a%20b", ".", "%2E", "..", "__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"];
    let shown: Vec<String> = values.map(|it| format!("{it} -> {}", encoded(it))).to_vec();
    expect![[r#"
        a b -> a%20b
        a+b -> a%2Bb
        a%20b -> a%2520b
        . -> %2E
        %2E -> %252E
        .. -> %2E.
        __HIVE_DEFAULT_PARTITION__ -> %5F_HIVE_DEFAULT_PARTITION__
        %5F_HIVE_DEFAULT_PARTITION__ -> %255F_HIVE_DEFAULT_PARTITION__"#]]
    .assert_eq(&shown.join("\n"));
}

/// Scenario: rows without a time, too far in the past or the future, and with a value longer than a directory's name,
/// in two batches.
/// Guarantees: each is refused by its number in the delivery, whole, with the reason; all others are delivered.
#[tokio::test]
async fn refuses_rows_without_a_place() {
    let place = Place::new();
    let long = "x".repeat(300);
    let longest = "y".repeat(255 - "country=".len());
    let rows = events(&[
        (Some(SEVEN), Some("de")),
        (None, Some("de")),
        (Some(i64::MIN), None),
        (Some(SEVEN), Some(&long)),
        (Some(i64::MAX), None),
        (Some(SEVEN), Some(&longest)),
        (None, None),
    ]);
    let sink = place.open("partition = { time = 'time', columns = ['country'] }", &rows).await;
    let refused = deliver(sink.as_ref(), 1, &cut(&[rows], 3)).await;
    let shown: Vec<String> = refused
        .iter()
        .map(|it| {
            assert_eq!((it.payload.num_rows(), it.payload.num_columns()), (1, 3));
            let number = it.payload.column(2);
            assert_eq!(arrow_cast::display::array_value_to_string(number, 0).unwrap(), it.row.to_string());
            format!("{}: {}", it.row, it.why)
        })
        .collect();
    expect![[r#"
        1: column `time` is null, so the row belongs to no partition
        2: column `time` lies outside the years 0 to 9999
        3: the value of column `country` is too long for the name of a directory
        4: column `time` lies outside the years 0 to 9999
        6: column `time` is null, so the row belongs to no partition"#]]
    .assert_eq(&shown.join("\n"));
    assert_eq!(place.rows().len(), 2);
}

/// Scenario: four partitions of which three have bytes on disk, where two may; then the one that had no rows for the
/// longest time gets some again.
/// Guarantees: that one's file ends, and its later rows come to its next file.
#[tokio::test]
async fn ends_the_file_that_waits_longest() {
    let place = Place::new();
    let chunks = |country| vec![(None, Some(country)); 2 * 8192];
    let few = vec![(None, Some("d")); 5];
    let rows = events(&[chunks("a"), chunks("b"), few, chunks("c"), chunks("a"), chunks("b")].concat());
    let keys = "partition = { columns = ['country'] }\nopen_files_max = 2\nrow_group_rows_max = 8192";
    let sink = place.open(keys, &rows).await;
    deliver(sink.as_ref(), 1, &[rows]).await;
    let names: Vec<String> = place.files().into_keys().map(|it| it.replace(delivery(1).as_str(), "*")).collect();
    expect![[r#"
        country=a/*-0.parquet
        country=b/*-0.parquet
        country=b/*-1.parquet
        country=c/*-0.parquet
        country=d/*-0.parquet"#]]
    .assert_eq(&names.join("\n"));
}

/// Scenario: rows of 2,250 partitions come in pieces of 250.
/// Guarantees: the draft asks to be ended once it has 2,048 files, not before.
#[tokio::test]
async fn asks_to_end_with_very_many_files() {
    let place = Place::new();
    let names: Vec<String> = (0..2500).map(|it| format!("country {it}")).collect();
    let rows = |from: usize| events(&names[from..from + 250].iter().map(|it| (None, Some(&**it))).collect::<Vec<_>>());
    let sink = place.open("partition = { columns = ['country'] }", &rows(0)).await;
    let mut draft = begin(sink.as_ref(), 1).await;
    let mut asked = Vec::new();
    for from in (0..2500).step_by(250) {
        draft.stage(rows(from)).await.unwrap();
        asked.push(draft.is_full());
    }
    assert_eq!(asked, [[false; 8].as_slice(), &[true; 2]].concat());
}

//! Prefixes as Firehose has them, and late rows.

use expect_test::{Expect, expect};
use forebay_testkit::delivery;
use jiff::civil::DateTime;

use super::{HOUR, Place, SEVEN, deliver, events};
use crate::template::random_string;
use crate::time_pattern::TimePattern;

/// Scenario: patterns of times, for a morning, a night and the first day of a year.
/// Guarantees: what is written is what Java's `DateTimeFormatter` writes in English and UTC.
#[test]
fn writes_times_as_java_does() {
    let times = [
        DateTime::constant(2026, 11, 1, 7, 5, 9, 41_000_000),
        DateTime::constant(2027, 1, 1, 0, 0, 0, 0),
        DateTime::constant(2024, 12, 31, 12, 59, 59, 999_999_999),
    ];
    let patterns = [
        "yyyy/MM/dd/HH/",
        "'year='yyyy'/month='MM",
        "yy-M-d H:m:s",
        "uuuu DDD D",
        "MMM MMMM L LL",
        "E EEEE",
        "hh a h",
        "HH:mm:ss.SSS SSSSSSSSS S",
        "'it''s' ''yyyy''",
        "yyyy-MM-dd'T'HH'Z'",
    ];
    let shown: Vec<String> = patterns
        .iter()
        .map(|pattern| {
            let parsed = TimePattern::parse(pattern).unwrap();
            let write = |time: &DateTime| {
                let mut text = String::new();
                parsed.write(*time, &mut text);
                text
            };
            format!("{pattern} ({}) -> {}", parsed.unit(), times.iter().map(write).collect::<Vec<_>>().join(" | "))
        })
        .collect();
    expect![[r#"
        yyyy/MM/dd/HH/ (3600) -> 2026/11/01/07/ | 2027/01/01/00/ | 2024/12/31/12/
        'year='yyyy'/month='MM (86400) -> year=2026/month=11 | year=2027/month=01 | year=2024/month=12
        yy-M-d H:m:s (1) -> 26-11-1 7:5:9 | 27-1-1 0:0:0 | 24-12-31 12:59:59
        uuuu DDD D (86400) -> 2026 305 305 | 2027 001 1 | 2024 366 366
        MMM MMMM L LL (86400) -> Nov November 11 11 | Jan January 1 01 | Dec December 12 12
        E EEEE (86400) -> Sun Sunday | Fri Friday | Tue Tuesday
        hh a h (3600) -> 07 AM 7 | 12 AM 12 | 12 PM 12
        HH:mm:ss.SSS SSSSSSSSS S (0) -> 07:05:09.041 041000000 0 | 00:00:00.000 000000000 0 | 12:59:59.999 999999999 9
        'it''s' ''yyyy'' (86400) -> it's '2026' | it's '2027' | it's '2024'
        yyyy-MM-dd'T'HH'Z' (3600) -> 2026-11-01T07Z | 2027-01-01T00Z | 2024-12-31T12Z"#]]
    .assert_eq(&shown.join("\n"));
}

/// Scenario: the random text of two deliveries, of two places in a prefix.
/// Guarantees: it has 11 letters and digits, differs from each other, and is the same for the same delivery.
#[test]
fn random_text_follows_from_the_delivery() {
    let text = |id: u64, nth| random_string(delivery(id).as_str(), nth);
    let texts = [text(1, 0), text(1, 1), text(2, 0)];
    assert_eq!(texts, [text(1, 0), text(1, 1), text(2, 0)]);
    assert!(texts.iter().all(|it| it.len() == 11 && it.bytes().all(|it| it.is_ascii_alphanumeric())));
    assert!(texts[0] != texts[1] && texts[0] != texts[2]);
}

/// The names of the files that some rows make, with the number of rows in each, and why others are refused.
async fn check(keys: &str, rows: &[(Option<i64>, Option<&str>)], expected: Expect) {
    let place = Place::new();
    let rows = events(rows);
    let sink = place.open(&format!("partition = {{ time = 'time' }}\n{keys}"), &rows).await;
    let refused = deliver(sink.as_ref(), 1, &[rows]).await;
    let id = delivery(1).to_string();
    let mut lines: Vec<String> =
        place.files().iter().map(|(name, path)| format!("{} {}", name.replace(&id, "*"), rows_of(path))).collect();
    lines.extend(refused.iter().map(|it| format!("refused {}: {}", it.row, it.why)));
    expected.assert_eq(&lines.join("\n"));
}

fn rows_of(path: &std::path::Path) -> usize {
    super::read(path).iter().map(arrow_array::RecordBatch::num_rows).sum()
}

/// Scenario: the prefix of the Firehose guide, one without a time, one without a slash, one of a column with values that
/// lead out, one that two days share, one that is too long for some rows, and an empty one.
/// Guarantees: rows are where Firehose would put records that arrive at their time; unsafe values are encoded, what is
/// too long is refused, and rows of the same path share a file.
#[tokio::test]
async fn prefixes() {
    let rows = [(Some(SEVEN), Some("de")), (Some(SEVEN + HOUR), Some("..")), (Some(SEVEN + 24 * HOUR), None)];
    let hive = "prefix = 'data/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/'";
    check(
        hive,
        &rows,
        expect![[r#"
        data/year=2026/month=11/day=01/hour=07/*-0.parquet 1
        data/year=2026/month=11/day=01/hour=08/*-0.parquet 1
        data/year=2026/month=11/day=02/hour=07/*-0.parquet 1"#]],
    )
    .await;
    check(
        "prefix = 'logs/'",
        &rows,
        expect![[r#"
        logs/2026/11/01/07/*-0.parquet 1
        logs/2026/11/01/08/*-0.parquet 1
        logs/2026/11/02/07/*-0.parquet 1"#]],
    )
    .await;
    check(
        "prefix = 'logs'",
        &rows,
        expect![[r#"
        logs2026/11/01/07/*-0.parquet 1
        logs2026/11/01/08/*-0.parquet 1
        logs2026/11/02/07/*-0.parquet 1"#]],
    )
    .await;
    check(
        "prefix = ''",
        &rows,
        expect![[r#"
        2026/11/01/07/*-0.parquet 1
        2026/11/01/08/*-0.parquet 1
        2026/11/02/07/*-0.parquet 1"#]],
    )
    .await;
    check("prefix = \"!{timestamp:yyyy'-Q'MM}-\"", &rows, expect!["2026-Q11-*-0.parquet 3"]).await;
    check(
        "prefix = 'c=!{partitionKeyFromQuery:country}/!{partitionKeyFromQuery:number}-!{timestamp:HH}/'",
        &rows,
        expect![[r#"
            c=%2E./1-08/*-0.parquet 1
            c=__HIVE_DEFAULT_PARTITION__/2-07/*-0.parquet 1
            c=de/0-07/*-0.parquet 1"#]],
    )
    .await;
    let long = "y".repeat(200);
    let rows = [(Some(SEVEN), Some("de")), (Some(SEVEN), Some(long.as_str()))];
    let thrice = "!{partitionKeyFromQuery:country}/".repeat(3);
    check(
        &format!("prefix = '{thrice}!{{timestamp:yyyy}}/'"),
        &rows,
        expect![[r#"
        de/de/de/2026/*-0.parquet 1
        refused 1: the prefix of the row's partition has more than 512 characters"#]],
    )
    .await;
}

/// Scenario: rows out of order, up to three hours behind the latest before them, and a lateness of one hour.
/// Guarantees: late are those that lie more than an hour behind a row before them, and go where the file says.
#[tokio::test]
async fn late_rows() {
    let at = |hours: i64| (Some(SEVEN + hours * HOUR), Some("de"));
    let rows = [at(0), at(2), at(1), at(0), at(3), at(1), at(-1)];
    check(
        "late = {}",
        &rows,
        expect![[r#"
        year=2026/month=11/day=01/hour=06/*-0.parquet 1
        year=2026/month=11/day=01/hour=07/*-0.parquet 2
        year=2026/month=11/day=01/hour=08/*-0.parquet 2
        year=2026/month=11/day=01/hour=09/*-0.parquet 1
        year=2026/month=11/day=01/hour=10/*-0.parquet 1"#]],
    )
    .await;
    check(
        "late = { to = 'refuse' }",
        &rows,
        expect![[r#"
        year=2026/month=11/day=01/hour=07/*-0.parquet 1
        year=2026/month=11/day=01/hour=08/*-0.parquet 1
        year=2026/month=11/day=01/hour=09/*-0.parquet 1
        year=2026/month=11/day=01/hour=10/*-0.parquet 1
        refused 3: column `time` lies too far behind the rows before it
        refused 5: column `time` lies too far behind the rows before it
        refused 6: column `time` lies too far behind the rows before it"#]],
    )
    .await;
    let errors = "error_prefix = 'errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/'";
    check(
        &format!("late = {{ after = '90m', to = 'prefix' }}\n{errors}"),
        &rows,
        expect![[r#"
        errors/late/2026/11/01/*-0.parquet 3
        year=2026/month=11/day=01/hour=07/*-0.parquet 1
        year=2026/month=11/day=01/hour=08/*-0.parquet 1
        year=2026/month=11/day=01/hour=09/*-0.parquet 1
        year=2026/month=11/day=01/hour=10/*-0.parquet 1"#]],
    )
    .await;
}

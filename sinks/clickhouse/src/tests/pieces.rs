//! Names of INSERTs, and what is decided by them.

use expect_test::expect;

use super::id;
use crate::pieces::{CHUNK_ROWS, Found, Name, Next, Range, next, was_halved};

fn range(text: &str) -> Range {
    let (from, to) = text.split_once('-').unwrap();
    Range { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// Scenario: deliveries of no rows, of some, and of more than go into an INSERT; halves of their ranges;
/// ranges of which some rows are left out.
/// Guarantees: the chunks hold each row once, in order, at numbers that do not depend on how many rows follow; so do
/// halves, down to single rows; a row is found by its number among those that are left.
#[test]
fn ranges_hold_each_row_once() {
    let chunks = |rows| Range::chunks(rows).map(|it| it.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(chunks(0), "");
    assert_eq!(chunks(1), "0-1");
    assert_eq!(chunks(CHUNK_ROWS), "0-1000000");
    assert_eq!(chunks(2 * CHUNK_ROWS + 1), "0-1000000 1000000-2000000 2000000-2000001");
    let mut ranges = vec![range("3-70")];
    let mut rows = Vec::new();
    while let Some(range) = ranges.pop() {
        match range.halves() {
            Some([first, second]) => ranges.extend([second, first]),
            None => rows.push(range.from),
        }
    }
    assert_eq!(rows, (3..70).collect::<Vec<_>>());

    // Rows 4 and 6 are left out: the others are 3, 5, 7, 8.
    assert_eq!([0, 1, 2, 3].map(|nth| range("3-9").nth(nth, [4, 6].into_iter())), [3, 5, 7, 8]);
}

/// Scenario: the same rows, and the same without some of them.
/// Guarantees: the name depends on the delivery, on the range and on each row that is left out, and stays what it is: a
/// newer program knows what an older one has sent.
#[test]
fn names() {
    let name = |n, text, without: &[u64]| Name::new(&id(n), range(text), without).as_str().to_owned();
    let names = [
        name(1, "0-10", &[]),
        name(2, "0-10", &[]),
        name(1, "10-20", &[]),
        name(1, "10-20", &[11]),
        name(1, "10-20", &[11, 12]),
        name(1, "10-20", &[12]),
    ];
    expect![[r#"
        00000000000000000000000000000001-0-10
        00000000000000000000000000000002-0-10
        00000000000000000000000000000001-10-20
        00000000000000000000000000000001-10-20-2abb136b5b23df0c
        00000000000000000000000000000001-10-20-dd837f06cd4d245b
        00000000000000000000000000000001-10-20-9e9e459506814997"#]]
    .assert_eq(&names.join("\n"));
}

/// Scenario: a range is to be sent of which the table has nothing, all, some, halves, other parts, or what does not go
/// together with it.
/// Guarantees: it is sent only if nothing of it is there, completed if some is, and cut as it was cut before.
#[test]
fn decisions() {
    let mut printed = String::new();
    for (text, rows, found) in [
        ("0-10", 10, ""),
        ("0-10", 10, "0-10:10"),
        ("0-10", 10, "0-10:4"),
        ("0-10", 10, "0-5:5"),
        ("0-10", 10, "5-10:1"),
        ("0-10", 10, "7-8:1"),
        ("0-5", 5, "5-10:5"),
        ("0-5", 5, "5-10:5 0-5:5"),
        ("5-10", 5, "0-10:10"),
        ("0-10", 10, "5-15:10"),
        ("0-10", 9, "0-10:10"),
        ("0-10", 10, "0-5:5 5-10:5 0-10:10"),
        ("0-10", 10, "1000000-2000000:1000000"),
        ("0-10", 10, "0-10-0123456789abcdef:9"),
        ("0-10", 10, "by-hand:9"),
    ] {
        let found: Vec<Found> = found
            .split_whitespace()
            .map(|it| {
                let (name, rows) = it.split_once(':').unwrap();
                Found { name: format!("{}-{name}", id(1)), rows: rows.parse().unwrap(), partitions: 1 }
            })
            .collect();
        let next = next(range(text), &Name::new(&id(1), range(text), &[]), rows, &found);
        assert_eq!(was_halved(range(text), &found), next == Next::Halve);
        let next = match next {
            Next::Unclear(other) => format!("unclear because of {}", other.split_once('-').unwrap().1),
            other => format!("{other:?}"),
        };
        let found: Vec<String> = found.iter().map(|it| format!("{}:{}", &it.name[33..], it.rows)).collect();
        printed.push_str(&format!("{rows} rows of {text}, there is [{}]: {next}\n", found.join(" ")));
    }
    expect![[r#"
        10 rows of 0-10, there is []: Send
        10 rows of 0-10, there is [0-10:10]: Done
        10 rows of 0-10, there is [0-10:4]: Complete
        10 rows of 0-10, there is [0-5:5]: Halve
        10 rows of 0-10, there is [5-10:1]: Halve
        10 rows of 0-10, there is [7-8:1]: Halve
        5 rows of 0-5, there is [5-10:5]: Send
        5 rows of 0-5, there is [5-10:5 0-5:5]: Done
        5 rows of 5-10, there is [0-10:10]: unclear because of 0-10
        10 rows of 0-10, there is [5-15:10]: unclear because of 5-15
        9 rows of 0-10, there is [0-10:10]: Done
        10 rows of 0-10, there is [0-5:5 5-10:5 0-10:10]: Done
        10 rows of 0-10, there is [1000000-2000000:1000000]: Send
        10 rows of 0-10, there is [0-10-0123456789abcdef:9]: unclear because of 0-10-0123456789abcdef
        10 rows of 0-10, there is [by-hand:9]: Send
    "#]]
    .assert_eq(&printed);
}

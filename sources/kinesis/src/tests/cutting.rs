//! From records to reads.

use std::collections::VecDeque;

use expect_test::{Expect, expect};
use forebay_api::{Position, Read};
use forebay_testkit::canonical;
use forebay_testkit::services::aggregate;
use proptest::prelude::*;

use super::{cutter, messages, record, shard};
use crate::columns::Column;
use crate::cut::{Cutter, Framing, OtherShards};
use crate::record::ALL_HASH_KEYS;
use crate::record::{Record, Shard};

/// All reads of the records after `from`, up to `stop`, and how many records are left.
fn cut(cutter: &Cutter, shard: &Shard, records: &[Record], from: &str, stop: &str) -> (Vec<Read>, usize) {
    let mut left: VecDeque<Record> = records.iter().cloned().collect();
    let (mut at, stop): (Position, Position) = (from.parse().unwrap(), stop.parse().unwrap());
    let mut reads = Vec::new();
    while let Some(cut) = cutter.cut(shard, &at, &mut left, &stop) {
        assert_eq!(cut.read.fault(), None);
        at = cut.read.span.to.clone();
        reads.push(cut.read);
    }
    (reads, left.len())
}

fn check(cutter: &Cutter, shard: &Shard, records: &[Record], from: &str, stop: &str, expected: Expect) {
    let (reads, left) = cut(cutter, shard, records, from, stop);
    let mut text = String::new();
    for read in &reads {
        text += &format!("({}..{}]\n", read.span.from, read.span.to);
        for (nth, row) in messages(std::slice::from_ref(read)).iter().enumerate() {
            text += &format!("  {} {row:?}\n", read.position(nth));
        }
        for refusal in &read.refused {
            text += &format!("  {} refused {:?}: {}\n", refusal.position, refusal.payload, refusal.why);
        }
    }
    expected.assert_eq(&format!("{text}{left} left\n"));
}

fn some_records() -> Vec<Record> {
    vec![
        record(5, "a", b"plain\r\n"),
        record(
            70,
            "a",
            &aggregate(&[("a", None, b"one\n"), ("z", None, b"two"), ("a", None, b"\xff"), ("a", None, b"four")]),
        ),
        record(800, "a", b"first\nsecond\r\n\nthird"),
        record(9000, "a", b""),
    ]
}

/// Scenario: plain and aggregated records, one of which is not UTF-8, as records and as lines.
/// Guarantees: rows are numbered within their record as they stand in it; what is refused, filtered or empty keeps its
/// number; positions rise.
#[test]
fn rows() {
    let records = some_records();
    let whole = shard(ALL_HASH_KEYS);
    let by_record = cutter(&[], Framing::Record, OtherShards::Filter);
    check(
        &by_record,
        &whole,
        &records,
        "start",
        "end",
        expect![[r#"
        (start..9000:1]
          5:1 "plain"
          70:1 "one"
          70:2 "two"
          70:4 "four"
          800:1 "first\nsecond\r\n\nthird"
          9000:1 ""
          70:3 refused [255]: it is not UTF-8: byte 1 is 0xff
        0 left
    "#]],
    );
    let by_line = cutter(&[], Framing::Lines, OtherShards::Filter);
    check(
        &by_line,
        &whole,
        &records,
        "start",
        "end",
        expect![[r#"
        (start..9000:1]
          5:1 "plain"
          70:1 "one"
          70:2 "two"
          70:4 "four"
          800:1 "first"
          800:2 "second"
          800:4 "third"
          70:3 refused [255]: it is not UTF-8: byte 1 is 0xff
        0 left
    "#]],
    );
    // `z` belongs to the upper half: with it the records of `a` are sent again.
    let (lower, upper) = (shard(0..=u128::MAX / 2), shard(u128::MAX / 2 + 1..=u128::MAX));
    let of_both = &records[1..2];
    let of_upper =
        [record(71, "a", &aggregate(&[("z", None, b"one"), ("z", None, b"two")])), record(72, "a", b"plain")];
    check(
        &by_record,
        &lower,
        of_both,
        "start",
        "end",
        expect![[r#"
        (start..70:4]
        0 left
    "#]],
    );
    check(
        &by_record,
        &upper,
        of_both,
        "start",
        "end",
        expect![[r#"
        (start..70:4]
        0 left
    "#]],
    );
    check(
        &by_record,
        &lower,
        &of_upper,
        "start",
        "end",
        expect![[r#"
        (start..72:1]
          72:1 "plain"
        0 left
    "#]],
    );
    check(
        &by_record,
        &upper,
        &of_upper,
        "start",
        "end",
        expect![[r#"
        (start..72:1]
          71:1 "one"
          71:2 "two"
          72:1 "plain"
        0 left
    "#]],
    );
    let keep = cutter(&[], Framing::Record, OtherShards::Keep);
    check(
        &keep,
        &upper,
        &records[1..2],
        "70:1",
        "end",
        expect![[r#"
        (70:1..70:4]
          70:2 "two"
          70:4 "four"
          70:3 refused [255]: it is not UTF-8: byte 1 is 0xff
        0 left
    "#]],
    );
}

/// Scenario: reading goes on after a row in the middle of an aggregated record, at its end, before and after others; and
/// stops at such places.
/// Guarantees: exactly the rows between; a record in which it stops stays; there is no read without a stretch.
#[test]
fn places() {
    let (cutter, shard, records) =
        (cutter(&[], Framing::Record, OtherShards::Filter), shard(ALL_HASH_KEYS), some_records());
    check(
        &cutter,
        &shard,
        &records,
        "70:2",
        "70:3",
        expect![[r#"
        (70:2..70:3]
          70:3 refused [255]: it is not UTF-8: byte 1 is 0xff
        3 left
    "#]],
    );
    check(
        &cutter,
        &shard,
        &records,
        "70:3",
        "800:1",
        expect![[r#"
        (70:3..800:1]
          70:4 "four"
          800:1 "first\nsecond\r\n\nthird"
        1 left
    "#]],
    );
    check(
        &cutter,
        &shard,
        &records,
        "70:0",
        "70:1",
        expect![[r#"
        (70:0..70:1]
          70:1 "one"
        3 left
    "#]],
    );
    check(
        &cutter,
        &shard,
        &records,
        "9000:1",
        "end",
        expect![[r#"
        0 left
    "#]],
    );
    check(
        &cutter,
        &shard,
        &records[..1],
        "70:4",
        "end",
        expect![[r#"
        0 left
    "#]],
    );
}

/// Scenario: every column that can be asked for.
/// Guarantees: they have these names, types and values; a key that was not given is null.
#[test]
fn columns() {
    let columns = [
        Column::PartitionKey,
        Column::SequenceNumber,
        Column::SubSequenceNumber,
        Column::Shard,
        Column::ApproximateArrivalTime,
        Column::Stream,
    ];
    let cutter = cutter(&columns, Framing::Record, OtherShards::Filter);
    let mut records = some_records();
    records[0].partition_key = None;
    records.truncate(2);
    let (reads, _) = cut(&cutter, &shard(ALL_HASH_KEYS), &records, "start", "end");
    let rows = canonical(&[reads[0].rows.clone()]).join("\n");
    expect![[r#"
        {"message":"plain","partition_key":null,"sequence_number":"5","sub_sequence_number":0,"shard":"shardId-000000000000","approximate_arrival_time":"2026-11-21T22:00:00Z","stream":"cdn"}
        {"message":"one","partition_key":"a","sequence_number":"70","sub_sequence_number":0,"shard":"shardId-000000000000","approximate_arrival_time":"2026-11-21T22:00:00Z","stream":"cdn"}
        {"message":"two","partition_key":"z","sequence_number":"70","sub_sequence_number":1,"shard":"shardId-000000000000","approximate_arrival_time":"2026-11-21T22:00:00Z","stream":"cdn"}
        {"message":"four","partition_key":"a","sequence_number":"70","sub_sequence_number":3,"shard":"shardId-000000000000","approximate_arrival_time":"2026-11-21T22:00:00Z","stream":"cdn"}"#]].assert_eq(&rows);
}

/// Scenario: more records than one read takes; records that hold more rows than one read takes, or longer ones, as aggregates
/// and as lines, some of them empty or not UTF-8.
/// Guarantees: several reads that follow each other, each within its bounds, with all rows under their numbers; a read is as
/// long as it says, and no longer than what is made of a mebibyte or 8192 rows.
#[test]
fn bounds() {
    let (by_record, by_line) =
        (cutter(&[], Framing::Record, OtherShards::Filter), cutter(&[], Framing::Lines, OtherShards::Filter));
    let shard = shard(0..=u128::MAX - 1);
    let lengths = |cutter: &Cutter, records: &[Record]| -> Vec<usize> {
        let (reads, left) = cut(cutter, &shard, records, "start", "end");
        assert_eq!(left, 0);
        assert!(reads.windows(2).all(|it| it[0].span.to == it[1].span.from));
        let rows = messages(&reads);
        let numbers: Vec<Position> =
            reads.iter().flat_map(|it| (0..it.rows.num_rows()).map(|row| it.position(row))).collect();
        assert_eq!(rows.len(), numbers.len());
        // Where a row says its number, it has that.
        for (row, number) in rows.iter().zip(numbers) {
            let said: Option<u64> = row.split(' ').next().unwrap().parse().ok();
            assert!(said.is_none_or(|it| number.to_string().ends_with(&format!(":{it}"))), "{row} is at {number}");
        }
        reads.iter().map(|it| it.rows.num_rows() + it.refused.len()).collect()
    };
    let small: Vec<Record> = (1..=20_000).map(|it| record(it, "a", b"x")).collect();
    let large: Vec<Record> = (1..=5).map(|it| record(it, "a", &[b'x'; 700_000])).collect();
    assert_eq!(lengths(&by_record, &small), [8192, 8192, 3616]);
    assert_eq!(lengths(&by_record, &large), [2, 2, 1]);

    let rows: Vec<String> = (1..=20_000).map(|it| it.to_string()).collect();
    let entries: Vec<(&str, Option<&str>, &[u8])> = rows.iter().map(|it| ("a", None, it.as_bytes())).collect();
    let aggregated = [record(1, "a", b"x"), record(5, "a", &aggregate(&entries)), record(9, "a", b"x")];
    assert_eq!(lengths(&by_record, &aggregated), [8192, 8192, 3618]);
    let mut lines = rows.join("\n").into_bytes();
    // In place of the first one, which is not UTF-8, and of the third one, which is empty.
    lines[0] = 0xff;
    lines.remove(4);
    lines.extend_from_slice(b"\n\n\r\n");
    assert_eq!(lengths(&by_line, &[record(5, "a", &lines), record(9, "a", b"x")]), [8192, 8192, 3616]);
    let long: Vec<String> = (1..=5).map(|it| format!("{it} {}", "x".repeat(700_000))).collect();
    assert_eq!(lengths(&by_line, &[record(5, "a", long.join("\n").as_bytes())]), [2, 2, 1]);

    // The smallest rows that there are: half a million in a mebibyte.
    let mut records: VecDeque<Record> = [record(5, "a", &b"x\n".repeat(1 << 19))].into();
    let (mut at, mut rows) = (Position::Start, 0);
    while let Some(cut) = by_line.cut(&shard, &at, &mut records, &Position::End) {
        rows += cut.read.rows.num_rows();
        let positions = cut.read.rows.num_rows() * size_of::<Position>();
        assert!((positions..2 << 20).contains(&cut.bytes), "{}", cut.bytes);
        at = cut.read.span.to;
    }
    assert_eq!(rows, 1 << 19);
}

/// A record of any kind, and the rows that it must give.
fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let data = proptest::collection::vec(any::<u8>(), 0..40);
    let good = proptest::collection::vec(("[a-z]{1,3}", data.clone()), 1..8).prop_map(|rows| {
        let rows: Vec<(&str, Option<&str>, &[u8])> =
            rows.iter().map(|(key, data)| (key.as_str(), None, data.as_slice())).collect();
        aggregate(&rows)
    });
    let damaged = (good.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut record, at, to)| {
        let at = at.index(record.len());
        record[at] = to;
        record
    });
    prop_oneof![data, good, damaged]
}

proptest! {
    /// Scenario: any records: plain, aggregated, damaged; read at once, and cut at every row.
    /// Guarantees: nothing panics, and the pieces are the whole; every record gives at least a row or a refusal, unless it
    /// is an aggregate of nothing.
    #[test]
    fn pieces_are_the_whole(datas in proptest::collection::vec(any_record(), 1..6)) {
        let (cutter, shard) = (cutter(&[], Framing::Record, OtherShards::Filter), shard(ALL_HASH_KEYS));
        let records: Vec<Record> = datas.iter().enumerate().map(|(nth, it)| record(nth as u64 * 3 + 1, "k", it)).collect();
        let everything = |reads: &[Read]| {
            let mut all: Vec<(Position, Vec<u8>)> = Vec::new();
            for read in reads {
                let rows = messages(std::slice::from_ref(read));
                all.extend(rows.into_iter().enumerate().map(|(nth, row)| (read.position(nth), row.into_bytes())));
                all.extend(read.refused.iter().map(|it| (it.position.clone(), it.payload.clone())));
            }
            all.sort();
            all
        };
        let whole = everything(&cut(&cutter, &shard, &records, "start", "end").0);
        prop_assert!(whole.len() >= records.len());
        for (nth, (place, _)) in whole.iter().enumerate() {
            let place = place.to_string();
            let before = everything(&cut(&cutter, &shard, &records, "start", &place).0);
            let after = everything(&cut(&cutter, &shard, &records, &place, "end").0);
            prop_assert_eq!(&before[..], &whole[..=nth]);
            prop_assert_eq!(&after[..], &whole[nth + 1..]);
        }
    }
}

//! Records that hold records.

use expect_test::{Expect, expect};
use forebay_testkit::services::aggregate;
use md5::{Digest, Md5};
use proptest::prelude::*;

use crate::aggregate::{Aggregate, are_aggregates};
use crate::record::ALL_HASH_KEYS;

/// A message with the frame that makes it an aggregate.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xf3, 0x89, 0x9a, 0xc2], message, &Md5::digest(message)[..]].concat()
}

fn parsed(record: &[u8]) -> Option<Aggregate<'_>> {
    are_aggregates(&[record])[0].then(|| Aggregate::parse(record)).flatten()
}

fn check(record: &[u8], expected: Expect) {
    let text = match parsed(record) {
        None => "a plain record".to_owned(),
        Some(it) => {
            let row = |nth| format!("{}={}", it.partition_key(nth), String::from_utf8_lossy(it.data(nth)));
            (0..it.len()).map(row).collect::<Vec<_>>().join(" ")
        }
    };
    expected.assert_eq(&text);
}

/// Scenario: aggregates in every order and with every kind of field that the format allows; and records that are not
/// quite aggregates: other magic, wrong MD5, cut, keys that are not in the tables, fields of a wrong type or missing.
/// Guarantees: the former are taken apart; the latter are plain records.
#[test]
fn what_is_an_aggregate() {
    let good = aggregate(&[("a", None, b"one"), ("b", Some("7"), b"two"), ("a", None, b"")]);
    check(&good, expect!["a=one b=two a="]);
    check(&framed(b""), expect!["a plain record"]);
    check(&good[1..], expect!["a plain record"]);
    check(&good[..good.len() - 1], expect!["a plain record"]);
    check(&[&good[..good.len() - 1], b"x"].concat(), expect!["a plain record"]);
    check(&good[..12], expect!["a plain record"]);
    // Records before the tables.
    check(&framed(b"\x1a\x05\x08\x00\x1a\x01x\x0a\x01k"), expect!["k=x"]);
    // The last of several values counts; unknown fields, fixed numbers, groups and tags are passed over.
    check(&framed(b"\x0a\x01k\x1a\x07\x08\x05\x08\x00\x1a\x01x"), expect!["k=x"]);
    check(
        &framed(b"\x0a\x01k\x20\x01\x29abcdefgh\x35abcd\x3b\x43\x44\x08\x01\x3c\x1a\x05\x08\x00\x1a\x01x"),
        expect!["k=x"],
    );
    check(&framed(b"\x0a\x01k\x1a\x08\x08\x00\x1a\x01x\x22\x01t"), expect!["k=x"]);
    // A table without records.
    check(&framed(b"\x0a\x01k"), expect![""]);
    // No such key; no data; no key; a key that is not text; a hash key that is no number; a wrong type; a cut message.
    check(&framed(b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x"), expect!["a plain record"]);
    check(&framed(b"\x0a\x01k\x1a\x02\x08\x00"), expect!["a plain record"]);
    check(&framed(b"\x0a\x01k\x1a\x03\x1a\x01x"), expect!["a plain record"]);
    check(&framed(b"\x0a\x01\xff\x1a\x05\x08\x00\x1a\x01x"), expect!["a plain record"]);
    check(&framed(b"\x0a\x01k\x12\x01h\x1a\x05\x08\x00\x1a\x01x"), expect!["a plain record"]);
    check(&framed(b"\x08\x01"), expect!["a plain record"]);
    check(&framed(b"\x0a\x01k\x1a\x05\x08\x00\x1a\x09x"), expect!["a plain record"]);
    check(&framed(b"\x3b\x08\x01"), expect!["a plain record"]);
    check(&framed(b"\x3b\x44"), expect!["a plain record"]);
    check(&framed(&[0xff; 11]), expect!["a plain record"]);
}

/// Scenario: an answer with aggregates of very different lengths, plain records between them, and some with a wrong digest.
/// Guarantees: each is what it would be by itself.
#[test]
fn which_of_an_answer_are_aggregates() {
    let long = "x".repeat(50_000);
    let good = ["", "one", &long, "two", "three"].map(|it| aggregate(&[("a", None, it.as_bytes())]));
    let bad = [&good[2][..good[2].len() - 1], b"."].concat();
    let records: [&[u8]; 9] = [&good[0], b"plain", &good[1], &bad, &good[2], b"", &good[3], &good[4][..20], &good[4]];
    let expected = [true, false, true, false, true, false, true, false, true];
    assert_eq!(are_aggregates(&records), expected);
    assert_eq!(records.map(|it| are_aggregates(&[it])[0]), expected);
}

/// Scenario: user records with and without explicit hash keys, alone and together, and shards that split the hash keys.
/// Guarantees: the explicit hash key decides, or else the MD5 of the partition key as a number; all records of an aggregate
/// must belong to the shard.
#[test]
fn whose_records_they_are() {
    const LAST: &str = "340282366920938463463374607431768211455";
    let (low, high) = (0..=u128::MAX / 2, u128::MAX / 2 + 1..=u128::MAX);
    let whose = |records: &[(&str, Option<&str>, &[u8])]| {
        let record = aggregate(records);
        let mut aggregate = parsed(&record).unwrap();
        [&low, &high, &ALL_HASH_KEYS].map(|it| aggregate.is_all_in(it))
    };
    // md5("a") = 0cc1…, md5("z") = fbad….
    assert_eq!(whose(&[("a", None, b"")]), [true, false, true]);
    assert_eq!(whose(&[("z", None, b"")]), [false, true, true]);
    assert_eq!(whose(&[("a", Some(LAST), b"")]), [false, true, true]);
    assert_eq!(whose(&[("z", None, b""), ("a", Some(LAST), b""), ("z", Some(LAST), b"")]), [false, true, true]);
    assert_eq!(whose(&[("a", None, b""), ("a", None, b""), ("z", None, b"")]), [false, false, true]);
}

proptest! {
    /// Scenario: any bytes as a record, with and without a frame that makes them look like an aggregate.
    /// Guarantees: nothing panics.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        parsed(&bytes);
        if let Some(mut it) = parsed(&framed(&bytes)) {
            it.is_all_in(&(1..=2));
        }
    }

    /// Scenario: an aggregate with any one byte changed, before its MD5 is made.
    /// Guarantees: nothing panics, and what is read lies within the record.
    #[test]
    fn a_byte_changed(at in 0_usize..60, to in any::<u8>()) {
        let good = aggregate(&[("key", None, b"the first"), ("another", Some("12345"), b"the second"), ("key", None, b"")]);
        let mut message = good[4..good.len() - 16].to_vec();
        let at = at % message.len();
        message[at] = to;
        if let Some(it) = parsed(&framed(&message)) {
            for nth in 0..it.len() {
                prop_assert!(it.data(nth).len() <= message.len());
            }
        }
    }

    /// Scenario: any records, aggregated.
    /// Guarantees: the same records come out.
    #[test]
    fn there_and_back(rows in proptest::collection::vec(("[a-c]{0,3}", proptest::collection::vec(any::<u8>(), 0..50)), 0..20)) {
        let given: Vec<(&str, Option<&str>, &[u8])> = rows.iter().map(|(key, data)| (key.as_str(), None, data.as_slice())).collect();
        let record = aggregate(&given);
        match parsed(&record) {
            None => prop_assert!(given.is_empty()),
            Some(it) => {
                let found: Vec<_> = (0..it.len()).map(|nth| (it.partition_key(nth), None, it.data(nth))).collect();
                prop_assert_eq!(found, given);
            }
        }
    }
}

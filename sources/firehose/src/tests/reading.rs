//! From frames to rows.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use expect_test::{Expect, expect};
use forebay_api::Position;
use forebay_testkit::canonical;

use crate::frame::{Frame, encode};
use crate::request::{Body, Head};
use crate::rows::{Cutter, Framing, Reading, at, schema};

fn frame(records: &[&[u8]]) -> Frame {
    let head = Head { id: None, source_arn: None, attributes: BTreeMap::new(), is_gzip: false };
    let records: Vec<_> = records.iter().map(|it| serde_json::json!({ "data": BASE64_STANDARD.encode(it) })).collect();
    let json = serde_json::json!({ "requestId": "r", "timestamp": 1, "records": records }).to_string();
    let body = Body::read(&head, json.as_bytes()).unwrap();
    Frame::read(encode(head.clone(), &body, 2).unwrap()).unwrap()
}

fn cutter(framing: Framing) -> Cutter {
    let schema = schema(&[], &[]).unwrap();
    Cutter { schema, columns: Vec::new(), attributes: Vec::new(), framing, partition: "spool".into() }
}

/// The rows of request 7 behind `from`, up to `stop`, by their numbers.
fn check(framing: Framing, records: &[&[u8]], from: Position, stop: Position, expected: Expect) {
    let mut reading = Reading::new(7, frame(records));
    let cutter = cutter(framing);
    let mut found = String::new();
    let mut reached = from;
    while let Some(read) = cutter.cut(&mut reading, &reached, &stop) {
        assert_eq!(read.fault(), None);
        found += &format!("{}\n", read.span);
        for (row, text) in canonical(std::slice::from_ref(&read.rows)).iter().enumerate() {
            found += &format!("  {} {text}\n", read.position(row));
        }
        for it in &read.refused {
            found += &format!("  {} refused {}: {}\n", it.position, it.payload.escape_ascii(), it.why);
        }
        reached = read.span.to;
    }
    expected.assert_eq(&found);
}

/// Scenario: records with line ends of every kind, empty ones and one that is not UTF-8, as records and as lines, whole
/// and from the middle to the middle.
/// Guarantees: numbers depend on the records alone; line ends are left out; a row is read once.
#[test]
fn records_and_lines() {
    let records: &[&[u8]] = &[b"a\r\nb\n", b"", b"\n\nc", b"d\r\n", b"\xff", b"e"];
    let (all, end) = (at(6, 9), Position::End);
    check(
        Framing::Record,
        records,
        all.clone(),
        end.clone(),
        expect![[r#"
        spool:(6:9..7:6]
          7:1 {"message":"a\r\nb"}
          7:3 {"message":"\n\nc"}
          7:4 {"message":"d"}
          7:6 {"message":"e"}
          7:5 refused \xff: it is not UTF-8: byte 1 is 0xff
    "#]],
    );
    check(
        Framing::Lines,
        records,
        all,
        end,
        expect![[r#"
        spool:(6:9..7:9]
          7:1 {"message":"a"}
          7:2 {"message":"b"}
          7:6 {"message":"c"}
          7:7 {"message":"d"}
          7:9 {"message":"e"}
          7:8 refused \xff: it is not UTF-8: byte 1 is 0xff
    "#]],
    );
    check(
        Framing::Lines,
        records,
        at(7, 2),
        at(7, 7),
        expect![[r#"
        spool:(7:2..7:7]
          7:6 {"message":"c"}
          7:7 {"message":"d"}
    "#]],
    );
    check(Framing::Lines, records, at(7, 9), Position::End, expect![[r#""#]]);
    check(
        Framing::Lines,
        &[],
        Position::Start,
        Position::End,
        expect![[r#"
        spool:(start..7:0]
    "#]],
    );
}

/// Scenario: more lines than a read has.
/// Guarantees: the reads follow each other, and none is too large.
#[test]
fn many_lines() {
    let record = "line\n".repeat(20_000);
    let mut reading = Reading::new(1, frame(&[record.as_bytes(), b"last"]));
    let cutter = cutter(Framing::Lines);
    let mut spans = Vec::new();
    let mut from = Position::Start;
    while let Some(read) = cutter.cut(&mut reading, &from, &Position::End) {
        from = read.span.to.clone();
        spans.push(format!("{} {}", read.span, read.rows.num_rows()));
    }
    expect![[r#"
        spool:(start..1:8192] 8192
        spool:(1:8192..1:16384] 8192
        spool:(1:16384..1:20001] 3617"#]]
    .assert_eq(&spans.join("\n"));
}

/// Scenario: bytes that are no frame of this version, and a frame that was cut.
/// Guarantees: they are told from frames, and of a cut one nothing is made up.
#[test]
fn no_frames() {
    for bytes in [&b""[..], b"\x02\x02\0\0\0{}", b"\x01\xff\xff\xff\xff{}", b"\x01\x02\0\0\0{}"] {
        assert!(Frame::read(bytes::Bytes::from_static(bytes)).is_none(), "{bytes:?}");
    }
}

//! The pure decisions, as data. Wiring is the simulation's business.

mod alone;
mod budget;
mod claims;
mod fakes;
mod halts;
mod limits;
mod narrow;
mod pace;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use expect_test::{Expect, expect};
use forebay_api::plan::Retry;
use forebay_api::{Age, Batch, ByteSize, DeliveryId, Partition, Position, Positions, Read, Span};
use forebay_state::{LogKey, Pending, SourceSpan};

use crate::flow::batch_bytes;
use crate::ledger::Ledger;
use crate::letters;
use crate::recovery::Standing;
use crate::rules::{Answer, Fill, Flush, Rules, back_off, fits, flush, judge};

fn position(n: u64) -> Position {
    if n == 99 { Position::End } else { Position::row(n) }
}

fn span(partition: &str, from: u64, to: u64) -> Span {
    Span::new(partition, position(from), position(to))
}

fn key(sink: &str, partition: &str) -> LogKey {
    LogKey { sink: sink.into(), source: "cdn".into(), partition: Partition::from(partition) }
}

/// Enters (delivery, partition, from, to) and settles deliveries, in the order of the steps, and says what moved.
fn check_ledger(committed: &[(&str, u64)], steps: &[Step], expected: Expect) {
    let committed: BTreeMap<LogKey, Position> =
        committed.iter().map(|(partition, at)| (key("out", partition), position(*at))).collect();
    let mut ledger = Ledger::new("out", Rules::default(), &committed);
    let mut story = String::new();
    for step in steps {
        match step {
            Step::Enter(delivery, partition, from, to) => {
                if let Err(gap) = ledger.enter(*delivery, "cdn", &span(partition, *from, *to)) {
                    writeln!(story, "enter {delivery}: {gap}").unwrap();
                }
            }
            Step::Settle(delivery) => {
                let moves = ledger.settle(*delivery);
                let advances: Vec<String> =
                    moves.advance.iter().map(|it| format!("{} {}->{}", it.key.partition, it.from, it.to)).collect();
                writeln!(story, "settle {delivery}: [{}], done {:?}", advances.join(", "), moves.done).unwrap();
            }
        }
    }
    writeln!(story, "square: {}", ledger.is_square()).unwrap();
    expected.assert_eq(&story);
}

enum Step {
    Enter(u64, &'static str, u64, u64),
    Settle(u64),
}
use Step::{Enter, Settle};

/// Scenario: deliveries are settled in and out of order, over one log and two; a span is forgotten; a log ends.
/// Guarantees: a committed position passes exactly the settled prefix, and a gap is an error that names it.
#[test]
fn ledger_passes_only_a_settled_prefix() {
    check_ledger(
        &[],
        &[Enter(0, "a", 0, 3), Enter(1, "a", 3, 5), Settle(0), Settle(1)],
        expect![[r#"
            settle 0: [a start->3], done [0]
            settle 1: [a 3->5], done [1]
            square: true
        "#]],
    );
    check_ledger(
        &[("a", 7)],
        &[Enter(0, "a", 7, 9), Enter(1, "a", 9, 99), Settle(1), Settle(0)],
        expect![[r#"
            settle 1: [], done []
            settle 0: [a 7->end], done [0, 1]
            square: true
        "#]],
    );
    // Delivery 1 joined both logs: `b` may pass it, `a` may not before delivery 0.
    check_ledger(
        &[],
        &[Enter(0, "a", 0, 2), Enter(1, "a", 2, 4), Enter(1, "b", 0, 6), Settle(1), Settle(0)],
        expect![[r#"
            settle 1: [b start->6], done []
            settle 0: [a start->4], done [0, 1]
            square: true
        "#]],
    );
    check_ledger(
        &[("a", 4), ("b", 99)],
        &[Enter(0, "a", 5, 6), Enter(1, "b", 0, 1), Enter(2, "a", 4, 5)],
        expect![[r#"
            enter 0: a:(5..6] of source `cdn` does not follow 4: what lies between was forgotten
            enter 1: b:(start..1] of source `cdn` does not follow end: what lies between was forgotten
            square: false
        "#]],
    );
}

/// Scenario: the state has a delivery over two logs, one of which has passed it already.
/// Guarantees: only what is not passed is entered again, and the delivery is forgotten when the rest has passed.
#[test]
fn ledger_takes_up_what_is_half_passed() {
    let committed = BTreeMap::from([(key("out", "b"), position(6))]);
    let mut ledger = Ledger::new("out", Rules::default(), &committed);
    let pending = |number, spans: Vec<Span>, settled| Pending {
        sink: "out".into(),
        number,
        id: DeliveryId::derive("p", "out", "f", "cdn", &spans[0]),
        fingerprint: "f".into(),
        spans: spans.into_iter().map(|span| SourceSpan { source: "cdn".into(), span }).collect(),
        rows: 1,
        intended: None,
        settled,
    };
    ledger.enter_again(&pending(0, vec![span("a", 0, 2)], false)).unwrap();
    ledger.enter_again(&pending(1, vec![span("a", 2, 4), span("b", 0, 6)], true)).unwrap();
    assert_eq!(ledger.settle(1), Default::default());
    let change = ledger.settle(0).into_change("out", 0);
    assert_eq!(change.forget, vec![("out".to_owned(), 0), ("out".to_owned(), 1)]);
    assert_eq!(change.settle, vec![]);
    assert!(ledger.is_square());
}

/// Scenario: deliveries of every fullness and age.
/// Guarantees: rows, bytes and spans have bounds; age lets a delivery go, and lets it grow while it cannot; one without rows
/// goes about once a second.
#[test]
fn flush_decides_by_what_comes_first() {
    let batch =
        Batch { rows_max: 10, bytes_max: ByteSize(1_000), age_max: Age::millis(200), interval_min: Age::millis(0) };
    let at_once = Batch { age_max: Age::millis(0), ..batch };
    let fill = |rows, bytes, spans, millis| Fill {
        rows,
        bytes,
        spans,
        refused: 0,
        full: false,
        age: Duration::from_millis(millis),
    };
    let left = |millis| Flush::In(Duration::from_millis(millis));
    let cases = [
        (fill(0, 0, 0, 0), batch, Flush::Empty),
        (fill(1, 1, 1, 50), batch, left(150)),
        (fill(1, 1, 1, 200), batch, Flush::MayGrow),
        (fill(1, 1, 1, 0), at_once, Flush::MayGrow),
        (fill(10, 1, 1, 0), batch, Flush::Now),
        (fill(11, 1, 1, 900), batch, Flush::Now),
        (fill(1, 1_000, 1, 0), batch, Flush::Now),
        (fill(1, 1, 4_096, 0), batch, Flush::Now),
        (Fill { refused: 1_000, ..fill(9, 1, 1, 0) }, batch, Flush::Now),
        (Fill { full: true, ..fill(1, 1, 1, 0) }, batch, Flush::Now),
        (fill(0, 0, 1, 200), batch, left(800)),
        (fill(0, 0, 1, 0), at_once, left(1_000)),
        (fill(0, 0, 9, 1_000), batch, Flush::MayGrow),
        (fill(0, 0, 4_096, 0), batch, Flush::Now),
    ];
    for (fill, batch, expected) in cases {
        assert_eq!(flush(fill, &batch), expected, "{fill:?}");
    }
    assert!(fits(fill(0, 0, 3, 0), 1_000, &batch), "one read may be larger than a delivery");
    assert!(fits(fill(4, 0, 1, 0), 6, &batch));
    assert!(!fits(fill(5, 0, 1, 0), 6, &batch));
}

/// Scenario: failures one after the other, with the least and the most jitter.
/// Guarantees: waits double up to their bound, never fall under half of it, and never overflow.
#[test]
fn waits_double_and_have_a_bound() {
    let retry = Retry { wait_min: Age::millis(200), wait_max: Age::seconds(30), ..Retry::default() };
    let waits = |jitter| [0, 1, 2, 7, 8, 40, u32::MAX].map(|it| back_off(it, &retry, jitter).as_millis());
    assert_eq!(waits(1.0), [200, 400, 800, 25_600, 30_000, 30_000, 30_000]);
    assert_eq!(waits(0.0), [100, 200, 400, 12_800, 15_000, 15_000, 15_000]);
    let upside_down = Retry { wait_min: Age::seconds(5), wait_max: Age::seconds(1), ..Retry::default() };
    assert_eq!(back_off(3, &upside_down, 1.0), Duration::from_secs(5));
}

/// Scenario: every answer that can come about a delivery.
/// Guarantees: only a sink's own word makes it delivered.
#[test]
fn only_a_word_counts_as_delivered() {
    let verdicts = [Answer::Done, Answer::Failed, Answer::Silence].map(|it| format!("{it:?}: {:?}", judge(it)));
    assert_eq!(verdicts, ["Done: Delivered", "Failed: Abandoned", "Silence: Abandoned"]);
}

fn read(partition: &str, from: u64, to: u64) -> Read {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let ids: Vec<i64> = (from as i64 + 1..=to as i64).collect();
    Read::counted(partition, from, RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids))]).unwrap())
}

/// Scenario: three sinks stand at different places of a log, and a read covers them all.
/// Guarantees: the source resumes at the least of them; the read is cut so that each sink gets what it lacks and
/// nothing twice; a partition that a sink does not know is read from its start.
#[test]
fn sinks_that_stand_apart_get_what_they_lack() {
    let mut standing = Standing::default();
    for (sink, partition, at) in [(0, "a", 4), (1, "a", 6), (2, "a", 99), (0, "b", 3), (1, "b", 99), (2, "b", 99)] {
        standing.set(sink, &Partition::from(partition), &position(at));
    }
    standing.set(0, &Partition::from("c"), &position(5));
    let all = BTreeSet::from([0, 1, 2]);
    let resume = standing.resume(&all);
    assert_eq!(resume, BTreeMap::from([("a".into(), position(4)), ("b".into(), position(3))]));

    let pieces = |partition, from, to| -> Vec<String> {
        let pieces = standing.pieces(&all, read(partition, from, to));
        pieces.iter().map(|(read, wanted)| format!("{} {} {wanted:?}", read.span, read.rows.num_rows())).collect()
    };
    assert_eq!(pieces("a", 4, 9), ["a:(4..6] 2 {0}", "a:(6..9] 3 {0, 1}"]);
    assert_eq!(pieces("a", 6, 9), ["a:(6..9] 3 {0, 1}"]);
    assert_eq!(pieces("c", 0, 9), ["c:(start..5] 5 {1, 2}", "c:(5..9] 4 {0, 1, 2}"]);
    assert_eq!(pieces("d", 0, 2), ["d:(start..2] 2 {0, 1, 2}"]);
}

/// Scenario: a read that ends its partition is cut after its last row.
/// Guarantees: the end stays with the second piece, which has no rows.
#[test]
fn an_end_can_stand_alone() {
    let ending = Read { positions: Positions::Counted, ..read("a", 2, 5) }.ending();
    let (head, tail) = ending.split(&position(5));
    assert_eq!((head.span.to_string().as_str(), head.rows.num_rows()), ("a:(2..5]", 3));
    assert_eq!((tail.span.to_string().as_str(), tail.rows.num_rows()), ("a:(5..end]", 0));
    assert_eq!((head.fault(), tail.fault()), (None, None));
}

/// Scenario: rows of one text column, of several columns, and bytes that are no text are refused; the same delivery
/// of letters is written twice.
/// Guarantees: a letter holds the payload as it was, how to read it, the reason and the place; one copy stays, and
/// nothing half-written is to be seen.
#[test]
fn letters_hold_all_that_is_needed() {
    use forebay_api::Refusal;
    let partition = Partition::from("a.gz@1:2");
    let place = letters::Place { pipeline: "p", version: "v1", source: "cdn", partition: &partition };
    let refusal = |payload: &[u8]| Refusal { position: position(3), payload: payload.to_vec(), why: "odd".into() };
    let by_source = letters::of_source(&place, &[refusal(b"a \"line\""), refusal(b"\xff")]);
    let two_columns = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, Some("UTC".into())), true),
    ]));
    let at = arrow_array::TimestampMillisecondArray::from(vec![1_607_374_321_541]).with_timezone("UTC");
    let origin = RecordBatch::try_new(two_columns, vec![Arc::new(Int64Array::from(vec![7])), Arc::new(at)]).unwrap();
    let by_transform = letters::of_transform(&place, "parse", &origin, [((0, position(4)), "no match")].into_iter());

    let mut text = Vec::new();
    let mut writer = arrow_json::LineDelimitedWriter::new(&mut text);
    writer.write_batches(&[&by_source, &by_transform]).unwrap();
    writer.finish().unwrap();
    expect![[r#"
        {"payload":"a \"line\"","encoding":"text","reason":"odd","component":"cdn","source":"cdn","partition":"a.gz@1:2","position":"3","pipeline":"p","version":"v1"}
        {"payload":"/w==","encoding":"base64","reason":"odd","component":"cdn","source":"cdn","partition":"a.gz@1:2","position":"3","pipeline":"p","version":"v1"}
        {"payload":"{\"id\":7,\"at\":\"2020-12-07T20:52:01.541Z\"}","encoding":"json","reason":"no match","component":"parse","source":"cdn","partition":"a.gz@1:2","position":"4","pipeline":"p","version":"v1"}
    "#]].assert_eq(&String::from_utf8(text).unwrap());
}

/// Scenario: columns of all kinds, with nulls and without, whole, cut and empty.
/// Guarantees: their bytes are what Arrow says they are.
#[test]
fn the_bytes_of_a_batch() {
    let columns: [ArrayRef; 7] = [
        Arc::new(StringArray::from(vec!["one", "", "three", "four"])),
        Arc::new(StringArray::from(vec![Some("one"), None, None, Some("four")])),
        Arc::new(StringArray::new_null(4)),
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), None])),
        Arc::new(ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(vec![
            Some(vec![Some(1)]),
            None,
            Some(vec![]),
            Some(vec![Some(2), None]),
        ])),
    ];
    for (nth, column) in columns.iter().enumerate() {
        for (from, rows) in [(0, 4), (1, 2), (3, 1), (4, 0)] {
            let part = column.slice(from, rows);
            let due = part.to_data().get_slice_memory_size().unwrap() as u64;
            let batch = RecordBatch::try_from_iter([("it", part)]).unwrap();
            assert_eq!(batch_bytes(&batch), due, "column {nth}, {rows} rows from {from}");
        }
    }
}

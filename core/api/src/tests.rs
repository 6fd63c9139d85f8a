use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use crate::{Age, ByteSize, DeliveryId, Position, Positions, Read, Refusal, Secret, Span, column, nearest};

/// Scenario: positions of every kind, in their order, written and read again.
/// Guarantees: sequence numbers are compared as numbers of any length, and the text form loses nothing.
#[test]
fn positions_are_ordered_and_have_a_text_form() {
    let sequence = |digits: &str, row| Position::sequence(digits, row).unwrap();
    let ordered = [
        Position::Start,
        Position::row(1),
        Position::row(10),
        sequence("9", 7),
        sequence("10", 0),
        sequence("49590338271490256608559692538361571095921575989136588898", 0),
        sequence("49590338271490256608559692538361571095921575989136588898", 1),
        sequence("149590338271490256608559692538361571095921575989136588898", 0),
        Position::End,
    ];
    for pair in ordered.windows(2) {
        assert!(pair[0] < pair[1], "{} < {}", pair[0], pair[1]);
    }
    for position in &ordered {
        assert_eq!(position.to_string().parse().as_ref(), Ok(position));
    }
    assert_eq!(sequence("007", 1), sequence("7", 1));
    assert_eq!(Position::row(0), Position::Start);
    for bad in ["", "x", "-1", "1:", ":1", "1:x", "a:1"] {
        assert!(bad.parse::<Position>().is_err(), "{bad:?}");
    }
}

/// Scenario: positions of rows, and those that are made up.
/// Guarantees: they are told from each other; a point in time comes after the start and before every record, and the place
/// before a record before its first row.
#[test]
fn positions_at_which_no_row_stands() {
    let first: Position = "4959:1".parse().unwrap();
    let Position::At { sequence, .. } = &first else { panic!() };
    let (time, before) = (Position::time(1_700_000_000_000), Position::before(sequence));
    assert!(Position::Start < time && time < before && before < first);
    assert_eq!([time.to_string(), before.to_string()], ["0:1700000000000", "4959:0"]);
    assert_eq!([&time, &before, &first].map(Position::as_time), [Some(1_700_000_000_000), None, None]);
    assert!(time.is_made_up() && before.is_made_up());
    assert!([Position::Start, Position::row(1), first, Position::End].iter().all(|it| !it.is_made_up()));
}

fn rows(ids: &[i64]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef]).unwrap()
}

/// Scenario: a read with rows, refused rows and places without either is cut at each place.
/// Guarantees: rows and refusals go to the side where their position lies, and both pieces keep the contract.
#[test]
fn a_read_is_cut_where_asked() {
    let refusal = |n| Refusal { position: Position::row(n), payload: vec![], why: String::new() };
    let read = Read {
        span: Span::new("a", Position::row(2), Position::row(9)),
        rows: rows(&[3, 6, 8]),
        positions: Positions::Listed([3, 6, 8].map(Position::row).to_vec()),
        refused: vec![refusal(4), refusal(9)],
    };
    assert_eq!(read.fault(), None);
    for at in 3..9 {
        let (head, tail) = read.clone().split(&Position::row(at));
        let count = |it: &Read| (it.rows.num_rows(), it.refused.len());
        let before = [3, 6, 8].iter().filter(|it| **it <= at).count();
        let refused_before = usize::from(at >= 4);
        assert_eq!((count(&head), count(&tail)), ((before, refused_before), (3 - before, 2 - refused_before)), "{at}");
        assert_eq!((head.fault(), tail.fault(), &head.span.to), (None, None, &tail.span.from));
    }
}

/// Scenario: reads that break the contract in each way.
/// Guarantees: the fault is found and said.
#[test]
fn a_faulty_read_is_found() {
    let good = Read::counted("a", 5, rows(&[6, 7]));
    assert_eq!(good.fault(), None);
    let listed = |positions: &[u64]| Positions::Listed(positions.iter().map(|it| Position::row(*it)).collect());
    let faulty = [
        (Read { span: Span::new("a", Position::row(5), Position::row(8)), ..good.clone() }, "does not hold the 2 rows"),
        (Read { positions: listed(&[6]), ..good.clone() }, "1 positions for 2 rows"),
        (Read { positions: listed(&[6, 8]), ..good.clone() }, "row 8 is not in a:(5..7]"),
        (Read { positions: listed(&[7, 6]), ..good }, "row 6 comes after row 7"),
    ];
    for (read, expected) in faulty {
        let fault = read.fault().unwrap();
        assert!(fault.contains(expected), "{fault}");
    }
}

/// Scenario: deliveries that differ in each single part.
/// Guarantees: the id depends on every part and on where the parts are cut, but not on how far the span goes.
#[test]
fn a_delivery_id_stands_for_where_it_begins() {
    let id = |pipeline, sink, fingerprint, source, from, to| {
        let span = Span::new("p", Position::row(from), Position::row(to));
        DeliveryId::derive(pipeline, sink, fingerprint, source, &span)
    };
    let one = id("a", "b", "c", "d", 1, 2);
    assert_eq!(one, id("a", "b", "c", "d", 1, 9));
    assert_eq!(one.as_str().parse().as_ref(), Ok(&one));
    let others = [id("x", "b", "c", "d", 1, 2), id("ab", "", "c", "d", 1, 2), id("a", "b", "c", "x", 1, 2)];
    for other in others.into_iter().chain([id("a", "b", "x", "d", 1, 2), id("a", "b", "c", "d", 0, 2)]) {
        assert_ne!(one, other);
    }
}

/// Scenario: sizes and lengths of time as people write them, right and wrong.
/// Guarantees: each unit means what it says, wrong ones are told what would have worked.
#[test]
fn words_with_units() {
    let size = |text: &str| ByteSize::try_from(text.to_owned()).map(ByteSize::bytes);
    assert_eq!([size("1KiB"), size("64 MiB"), size("2GB")], [Ok(1024), Ok(64 << 20), Ok(2_000_000_000)]);
    let age = |text: &str| Age::try_from(text.to_owned()).map(|it| it.duration().as_millis());
    assert_eq!([age("200ms"), age("5s"), age("2m"), age("1h")], [Ok(200), Ok(5_000), Ok(120_000), Ok(3_600_000)]);
    for bad in ["", "5", "5 parsecs", "-1s", "1.5s", "99999999999999999999s"] {
        assert!(age(bad).is_err() && size(bad).is_err(), "{bad:?}");
    }
    assert_eq!((ByteSize::mib(64).to_string(), Age::seconds(90).to_string()), ("64MiB".into(), "90s".into()));
    assert!(age("x").unwrap_err().contains("such as \"200ms\""));
}

/// Scenario: names with a slip of the keyboard, with other separators, and with nothing near.
/// Guarantees: the near ones are offered, others are not.
#[test]
fn the_nearest_name_is_offered() {
    let fields = ["sc_status", "sc_bytes", "cs_host"];
    assert_eq!(nearest("sc_staus", fields), Some("sc_status"));
    assert_eq!(nearest("SC-STATUS", fields), Some("sc_status"));
    assert_eq!(nearest("user", fields), None);
    let schema = Schema::new(vec![Field::new("sc_status", DataType::Utf8, true)]);
    let wrong = column(&schema, "column", "sc_staus").unwrap_err();
    assert_eq!((wrong.what.as_str(), wrong.key.as_str()), ("column `sc_staus` does not exist", "column"));
    assert_eq!(wrong.label.as_deref(), Some("did you mean `sc_status`?"));
}

/// Scenario: a secret is printed in every way.
/// Guarantees: it does not show itself.
#[test]
fn a_secret_never_prints_itself() {
    let secret = Secret::new("hunter2");
    assert_eq!((format!("{secret}"), format!("{secret:?}")), ("***".into(), "***".into()));
    assert_eq!(secret.reveal(), "hunter2");
}

//! What a dead letter says.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMillisecondType, UInt16Type, UInt64Type};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::poison::Poison;

/// The row that it is about, as a line.
///
/// # Panics
///
/// If its payload is not what it says.
pub(super) fn row(letter: &Value) -> Vec<u8> {
    let payload = text(letter, "payload");
    match text(letter, "encoding") {
        "text" => payload.as_bytes().to_vec(),
        "base64" => BASE64_STANDARD.decode(payload).unwrap_or_else(|error| panic!("{letter}: {error}")),
        "json" => line(payload).into_bytes(),
        other => panic!("payload as `{other}`: {letter}"),
    }
}

/// Makes sure that it says who refused the row, why, and where that stands.
///
/// # Panics
///
/// If it does not.
pub(super) fn check(letter: &Value, poison: Poison) {
    let (component, encoding, reason) = poison.letter();
    assert_eq!((text(letter, "component"), text(letter, "encoding")), (component, encoding), "{poison:?}: {letter}");
    assert!(text(letter, "reason").contains(reason), "{poison:?}: no `{reason}` in the reason of {letter}");
    assert_eq!((text(letter, "pipeline"), text(letter, "source")), ("proof", "logs"), "{letter}");
    assert!(text(letter, "partition").contains("shardId-"), "no shard: {letter}");
    assert!(!text(letter, "position").is_empty(), "no place: {letter}");
}

fn text<'a>(letter: &'a Value, name: &str) -> &'a str {
    letter[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {letter}"))
}

/// A row of the transform's columns as the line that it was.
fn line(json: &str) -> String {
    let field = |name: &str, kind| Field::new(name, kind, true);
    let moment = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        field("id", DataType::UInt64),
        field("moment", moment),
        field("host", DataType::Utf8),
        field("path", DataType::Utf8),
        field("status", DataType::UInt16),
        field("bytes", DataType::UInt64),
        field("seal", DataType::Utf8),
    ]);
    let mut decoder = ReaderBuilder::new(Arc::new(schema)).build_decoder().expect("JSON can hold these types");
    decoder.decode(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
    let rows = decoder.flush().unwrap_or_else(|error| panic!("{json}: {error}")).expect("a row is there");
    let number = |column: usize| rows.column(column).as_primitive::<UInt64Type>().value(0);
    let text = |column: usize| rows.column(column).as_string::<i32>().value(0);
    let moment = rows.column(1).as_primitive::<TimestampMillisecondType>().value(0);
    let status = rows.column(4).as_primitive::<UInt16Type>().value(0);
    format!("{}\t{moment}\t{}\t{}\t{status}\t{}\t{}", number(0), text(2), text(3), number(5), text(6))
}

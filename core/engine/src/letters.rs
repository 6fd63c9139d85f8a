//! Dead letters: refused rows, kept with payload, reason and place.
//!
//! Rows that sources and transforms refuse travel like any others, to a sink of the engine's for each node that
//! refuses; its progress is kept like any other sink's, so that each letter is there once. Rows that a sink refuses are written when that
//! delivery is made, before it counts as delivered, under an id that derives from it.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use forebay_api::plan::letter_schema;
use forebay_api::{Partition, Position, Refusal};

/// What all letters of a read have in common.
pub(crate) struct Place<'a> {
    pub pipeline: &'a str,
    pub version: &'a str,
    pub source: &'a str,
    pub partition: &'a Partition,
}

/// Letters for what a source refused.
pub(crate) fn of_source(place: &Place<'_>, refused: &[Refusal]) -> RecordBatch {
    let letter = |it: &Refusal| {
        let payload = match std::str::from_utf8(&it.payload) {
            Ok(text) => (text.to_owned(), "text"),
            Err(_) => (BASE64_STANDARD.encode(&it.payload), "base64"),
        };
        (payload, it.why.clone(), it.position.clone())
    };
    batch(place, place.source, refused.iter().map(letter).collect())
}

/// Letters for what a transform refused: the row of `origin` that each came from, its position, and the reason.
pub(crate) fn of_transform<'a>(
    place: &Place<'_>,
    component: &str,
    origin: &RecordBatch,
    refused: impl Iterator<Item = ((usize, Position), &'a str)>,
) -> RecordBatch {
    let letter = |((row, position), why): ((usize, Position), &str)| {
        (forebay_payload::write(origin, row), why.to_owned(), position)
    };
    batch(place, component, refused.map(letter).collect())
}

/// Letters for what a sink refused: a row of a batch, its position, and the reason.
pub(crate) fn of_sink<'a>(
    place: &Place<'_>,
    sink: &str,
    refused: impl Iterator<Item = (&'a RecordBatch, usize, Position, &'a str)>,
) -> RecordBatch {
    let letter = |(rows, row, position, why): (&RecordBatch, usize, Position, &str)| {
        (forebay_payload::write(rows, row), why.to_owned(), position)
    };
    batch(place, sink, refused.map(letter).collect())
}

type Letter = ((String, &'static str), String, Position);

fn batch(place: &Place<'_>, component: &str, letters: Vec<Letter>) -> RecordBatch {
    let n = letters.len();
    let same = |text: &str| StringArray::from_iter_values(std::iter::repeat_n(text, n));
    let columns = [
        StringArray::from_iter_values(letters.iter().map(|((payload, _), ..)| payload)),
        StringArray::from_iter_values(letters.iter().map(|((_, encoding), ..)| encoding)),
        StringArray::from_iter_values(letters.iter().map(|(_, why, _)| why)),
        same(component),
        same(place.source),
        same(place.partition.as_str()),
        StringArray::from_iter_values(letters.iter().map(|(.., position)| position.to_string())),
        same(place.pipeline),
        same(place.version),
    ];
    let columns = columns.into_iter().map(|it| Arc::new(it) as ArrayRef).collect();
    RecordBatch::try_new(letter_schema(), columns).expect("the columns are those of the letter schema")
}

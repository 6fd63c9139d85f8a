//! Rows to test with, and rows as text.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;

/// A batch with one column of text. `None` is null.
pub fn text<'a, I>(column: &str, values: I) -> RecordBatch
where
    I: IntoIterator,
    I::Item: Into<Option<&'a str>>,
{
    let values: StringArray = values.into_iter().map(Into::into).collect();
    columns([(column, Arc::new(values) as ArrayRef)])
}

/// A batch of these columns, each of which may hold nulls.
///
/// # Panics
///
/// If the columns differ in length.
pub fn columns<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    let nullable = columns.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(nullable).expect("columns of one length")
}

/// The same rows in batches of at most `rows_max`, without empty batches.
pub fn cut(batches: &[RecordBatch], rows_max: usize) -> Vec<RecordBatch> {
    let pieces = |batch: &RecordBatch| {
        let batch = batch.clone();
        let starts = (0..batch.num_rows()).step_by(rows_max);
        starts.map(move |start| batch.slice(start, rows_max.min(batch.num_rows() - start))).collect::<Vec<_>>()
    };
    batches.iter().flat_map(pieces).collect()
}

/// Each row as one JSON object, in order, nulls included: rows as text, for comparing.
///
/// # Panics
///
/// If a column has a type that JSON cannot hold.
pub fn canonical(batches: &[RecordBatch]) -> Vec<String> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch).expect("columns that JSON can hold");
    }
    writer.finish().expect("memory can be written to");
    let text = String::from_utf8(writer.into_inner()).expect("JSON is UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// All rows in one batch.
pub(crate) fn joined(schema: &arrow_schema::SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    arrow_select::concat::concat_batches(schema, batches).expect("batches of one schema")
}

/// What is in `left` but not in `right`, each as often as it is missing there.
pub(crate) fn difference(left: &[String], right: &[String]) -> Vec<String> {
    let mut left = left.to_vec();
    let mut right = right.to_vec();
    left.sort_unstable();
    right.sort_unstable();
    let mut right = right.into_iter().peekable();
    left.retain(|it| {
        while right.next_if(|other| other < it).is_some() {}
        right.next_if_eq(it).is_none()
    });
    left
}

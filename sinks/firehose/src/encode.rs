//! Rows as lines of JSON.

use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{ArrowError, Field, Schema};
use forebay_api::Wrong;

use crate::Shape;
use crate::nested::Object;

/// A time of no zone, as Firehose's conversion of formats reads it. One of UTC is read as it is written anyway.
const ZONELESS: &str = "%Y-%m-%d %H:%M:%S%.f";

/// Makes lines of rows.
#[derive(Debug)]
pub(crate) struct Encoder {
    nested: Option<Object>,
}

impl Encoder {
    /// An encoder for rows of these columns, or why they cannot be written.
    pub(crate) fn new(shape: Shape, schema: &Schema) -> Result<Self, Wrong> {
        let nested = match shape {
            Shape::Flat => None,
            Shape::Nested => Some(Object::of(schema)?),
        };
        let encoder = Self { nested };
        let nullable = schema.fields().iter().map(|it| it.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<Field>>()));
        let nulls = schema.fields().iter().map(|it| new_null_array(it.data_type(), 1)).collect();
        let tried = RecordBatch::try_new(schema, nulls).and_then(|row| encoder.lines(&row));
        tried.map_err(|error| Wrong::new("", format!("these columns cannot be written as JSON: {error}")))?;
        Ok(encoder)
    }

    /// A line for each row, with its line break. JSON has none within.
    pub(crate) fn lines(&self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let builder = WriterBuilder::new().with_timestamp_format(ZONELESS.to_owned());
        let mut writer = builder.build::<_, LineDelimited>(Vec::new());
        match &self.nested {
            None => writer.write(rows)?,
            Some(object) => writer.write(&object.nest(rows)?)?,
        }
        writer.finish()?;
        Ok(writer.into_inner())
    }
}

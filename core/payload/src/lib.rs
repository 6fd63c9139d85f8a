//! A row as the text of a letter, and back: [`write()`] and [`read`].
//!
//! A row of one text is that text. Any other row is a JSON object whose null columns are left out. People read letters,
//! and so do programs that know nothing of Arrow; but a row that comes back must be the row that went, value for value.
//! So values that JSON has no form for have one here:
//!
//! | type | in JSON |
//! |---|---|
//! | floats that are not finite | `"NaN"`, `"inf"`, `"-inf"` |
//! | binary | hex digits |
//! | timestamps, dates, times | as in RFC 3339, timestamps with a zone in UTC; as a number what has no four digits of a year |
//! | durations | a number of their unit |
//! | dictionaries, run ends | their values |
//! | maps | a list of entries, `[{"key":"a","value":1}]`: keys of any type |
//!
//! Intervals, unions and decimals of more than 76 digits have none: such a row is written for people to read, with the encoding `debug`, and does not come
//! back.

mod plain;
mod restored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_json::{LineDelimitedWriter, ReaderBuilder};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;

use plain::plain;
use restored::{restored, type_to_read};

/// A row of a batch as text, and the encoding: `text`, `json` or `debug`.
pub fn write(rows: &RecordBatch, row: usize) -> (String, &'static str) {
    if let [only] = rows.columns()
        && *only.data_type() == DataType::Utf8
        && only.is_valid(row)
    {
        return (only.as_string::<i32>().value(row).to_owned(), "text");
    }
    match json(rows, row) {
        Ok(json) => (json, "json"),
        Err(_) => (format!("{:?}", rows.slice(row, 1)), "debug"),
    }
}

fn json(rows: &RecordBatch, row: usize) -> Result<String, ArrowError> {
    // Not a slice: that of a list still has the elements of all rows.
    let alone = UInt64Array::from_iter_values([row as u64]);
    let columns: Result<Vec<ArrayRef>, _> = rows.columns().iter().map(|it| plain(&take(it, &alone, None)?)).collect();
    let columns = columns?;
    let named = |(field, column): (&Arc<Field>, &ArrayRef)| Field::new(field.name(), column.data_type().clone(), true);
    let fields: Vec<Field> = rows.schema_ref().fields().iter().zip(&columns).map(named).collect();
    let mut json = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut json);
    writer.write(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)?;
    writer.finish()?;
    let json = String::from_utf8(json).map_err(|it| ArrowError::JsonError(it.to_string()))?;
    Ok(json.trim_end().to_owned())
}

/// The row that a text is, alone in a batch of this schema. An error says why it is none.
///
/// Columns that the schema does not have are passed over, those that the text does not have are null.
pub fn read(text: &str, encoding: &str, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let wrong = |what: String| Err(ArrowError::JsonError(what));
    match encoding {
        "text" if matches!(schema.fields().as_ref(), [only] if *only.data_type() == DataType::Utf8) => {
            let column: ArrayRef = Arc::new(StringArray::from_iter_values([text]));
            RecordBatch::try_new(schema.clone(), vec![column])
        }
        "text" => wrong("a text is no row of other columns than one text".to_owned()),
        "json" => {
            let field = |it: &Arc<Field>| Field::new(it.name(), type_to_read(it.data_type()), it.is_nullable());
            let fields: Vec<Field> = schema.fields().iter().map(field).collect();
            let mut decoder = ReaderBuilder::new(Arc::new(Schema::new(fields))).with_batch_size(1).build_decoder()?;
            let text = text.trim_end();
            if decoder.decode(text.as_bytes())? < text.len() {
                return wrong("there is something behind the row".to_owned());
            }
            let Some(row) = decoder.flush()? else { return wrong("it holds no row".to_owned()) };
            let columns: Result<Vec<ArrayRef>, _> =
                row.columns().iter().zip(schema.fields()).map(|(it, field)| restored(it, field.data_type())).collect();
            RecordBatch::try_new(schema.clone(), columns?)
        }
        other => wrong(format!("`{other}` is no encoding of a row")),
    }
}

//! Columns with dots in their names, as objects.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, Field, Fields, Schema};
use forebay_api::Wrong;

/// The keys of an object, in the order in which the columns stand.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<(String, Value)>);

#[derive(Debug)]
enum Value {
    Column(usize),
    Object(Object),
}

impl Object {
    /// The object that rows of these columns become: `url.path` is the key `path` of `url`.
    pub(crate) fn of(schema: &Schema) -> Result<Self, Wrong> {
        let mut object = Self::default();
        for (index, field) in schema.fields().iter().enumerate() {
            let name = field.name();
            // A name that is not made of parts is one.
            let parts: Vec<&str> = match name.split('.').any(str::is_empty) {
                true => vec![name],
                false => name.split('.').collect(),
            };
            if !object.insert(&parts, index) {
                let what =
                    format!("column `{name}` would be a value and an object at once, with the columns beside it");
                return Err(Wrong::new("shape", what).hint("rename one of them, or write `shape = \"flat\"`"));
            }
        }
        Ok(object)
    }

    /// Whether there is room for a column.
    fn insert(&mut self, parts: &[&str], column: usize) -> bool {
        let [part, rest @ ..] = parts else { return false };
        let known = self.0.iter_mut().find(|(key, _)| key == part).map(|(_, value)| value);
        match (known, rest) {
            (None, []) => {
                self.0.push(((*part).to_owned(), Value::Column(column)));
                true
            }
            (None, rest) => {
                let mut inner = Self::default();
                let fits = inner.insert(rest, column);
                self.0.push(((*part).to_owned(), Value::Object(inner)));
                fits
            }
            (Some(Value::Object(inner)), rest @ [_, ..]) => inner.insert(rest, column),
            (Some(_), _) => false,
        }
    }

    /// The rows with objects for columns.
    pub(crate) fn nest(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let (fields, columns) = self.columns(rows)?;
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    fn columns(&self, rows: &RecordBatch) -> Result<(Fields, Vec<ArrayRef>), ArrowError> {
        let mut fields = Vec::with_capacity(self.0.len());
        let mut columns = Vec::with_capacity(self.0.len());
        for (key, value) in &self.0 {
            let column = match value {
                Value::Column(index) => rows.column(*index).clone(),
                Value::Object(inner) => {
                    let (fields, columns) = inner.columns(rows)?;
                    let nulls = null_where_all_are(&columns);
                    Arc::new(StructArray::try_new(fields, columns, nulls)?)
                }
            };
            fields.push(Field::new(key, column.data_type().clone(), true));
            columns.push(column);
        }
        Ok((fields.into(), columns))
    }
}

/// An object without any value is none.
fn null_where_all_are(columns: &[ArrayRef]) -> Option<NullBuffer> {
    // `None`, as soon as one column has no nulls at all.
    let valid = columns.iter().map(|it| it.logical_nulls().map(NullBuffer::into_inner));
    valid.reduce(|one, other| Some(&one? | &other?)).flatten().map(NullBuffer::new)
}

//! Records to columns: what the text formats have in common.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use crate::json::JsonRows;
use crate::w3c::W3cRows;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    Row,
    /// It is no data: empty, or a header.
    NoRow,
    Refused(String),
}

/// Rows as they grow, column by column.
pub struct Rows {
    schema: SchemaRef,
    filling: Filling,
}

/// Who knows what is in a record.
pub enum Filling {
    Lines(StringBuilder),
    W3c(Box<W3cRows>),
    Json(Box<JsonRows>),
}

impl Rows {
    pub fn new(schema: SchemaRef, filling: Filling) -> Self {
        Self { schema, filling }
    }

    /// Takes a record, which is a piece of a text, and has a number among those since [`Rows::settle`].
    #[inline]
    pub fn push(&mut self, nth: usize, text: &str, record: Range<usize>) -> Pushed {
        if record.is_empty() {
            return Pushed::NoRow;
        }
        match &mut self.filling {
            Filling::Lines(message) => {
                message.append_value(&text[record]);
                Pushed::Row
            }
            Filling::W3c(rows) => rows.push(text, record),
            Filling::Json(rows) => rows.push(nth, text, record),
        }
    }

    /// Comes before another text. Takes back rows of this one that turned out not to be any: gives their numbers, and
    /// why.
    pub fn settle(&mut self, text: &str) -> Vec<(usize, String)> {
        match &mut self.filling {
            Filling::Json(rows) => return rows.settle(text),
            Filling::W3c(rows) => rows.settle(text),
            Filling::Lines(_) => {}
        }
        Vec::new()
    }

    /// Takes notice of a record that is not wanted itself: those that follow may depend on it.
    pub fn skip(&mut self, record: &[u8]) {
        if let Filling::W3c(rows) = &mut self.filling {
            rows.skip(record);
        }
    }

    /// Takes notice of a record, or the beginning of one, that cannot be read.
    pub fn refused(&mut self, record: &[u8]) {
        if let Filling::W3c(rows) = &mut self.filling {
            rows.refused(record);
        }
    }

    /// Gives the rows so far, and begins anew.
    pub fn finish(&mut self) -> RecordBatch {
        let columns = match &mut self.filling {
            Filling::Lines(message) => {
                let fresh = StringBuilder::with_capacity(message.len(), message.values_slice().len());
                vec![Arc::new(std::mem::replace(message, fresh).finish()) as ArrayRef]
            }
            Filling::W3c(rows) => rows.finish(),
            Filling::Json(rows) => rows.finish(),
        };
        RecordBatch::try_new(self.schema.clone(), columns).expect("the columns are those of the schema")
    }
}

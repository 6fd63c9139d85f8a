//! Which columns there are, and how a line fills them.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use forebay_api::Wrong;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cloudfront::STANDARD_FIELDS;
use crate::reader::READ_ROWS_MAX;
use crate::w3c::W3cRows;

/// How the bytes of an object become rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Each line is a row, in one column `message`. Empty lines give no row.
    #[default]
    Lines,
    /// The W3C extended log file format, as CloudFront's standard logs have it: a `#Fields:` line names the fields of
    /// the lines that follow, which tabs separate. Each field is a column of text; `-` is null.
    W3c,
}

/// What becomes of the rows of a W3C log when the file has a field that is not declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// They are refused, with a reason that names the field.
    #[default]
    Refuse,
    /// They are read without that field.
    Ignore,
}

impl Format {
    /// The columns of this format. The keys `fields` and `unknown_fields` are for [`Format::W3c`] only;
    /// where `fields` is not given, they are CloudFront's [`STANDARD_FIELDS`].
    ///
    /// # Errors
    ///
    /// A [`Wrong`] at `fields` or `unknown_fields`.
    pub fn layout(self, fields: Option<&[String]>, unknown_fields: Option<UnknownFields>) -> Result<Layout, Wrong> {
        match self {
            Self::Lines => {
                let misplaced =
                    if fields.is_some() { Some("fields") } else { unknown_fields.map(|_| "unknown_fields") };
                match misplaced {
                    Some(key) => Err(Wrong::new(key, format!("`{key}` says nothing about `format = \"lines\"`"))
                        .hint("lines have one column, `message`; for named fields write `format = \"w3c\"`")),
                    None => Ok(Layout::lines()),
                }
            }
            Self::W3c => {
                let standard = || STANDARD_FIELDS.iter().map(|it| (*it).to_owned()).collect();
                let fields: Vec<String> = fields.map_or_else(standard, <[String]>::to_vec);
                Layout::w3c(&fields, unknown_fields.unwrap_or_default())
            }
        }
    }
}

/// The columns of a [`Format`] that was told everything it has to know.
#[derive(Clone, Debug)]
pub struct Layout {
    schema: SchemaRef,
    /// `None`: lines.
    w3c: Option<UnknownFields>,
}

impl Layout {
    /// One column `message`.
    pub fn lines() -> Self {
        let message = Field::new("message", DataType::Utf8, false);
        Self { schema: Arc::new(Schema::new(vec![message])), w3c: None }
    }

    fn w3c(fields: &[String], unknown_fields: UnknownFields) -> Result<Self, Wrong> {
        if fields.is_empty() {
            return Err(Wrong::new("fields", "`fields` names no field")
                .hint("name those of the `#Fields:` line, or leave `fields` away for those of CloudFront"));
        }
        for (at, field) in fields.iter().enumerate() {
            if field.is_empty() || field.contains(|it: char| it.is_ascii_whitespace()) {
                return Err(Wrong::new("fields", format!("`{field}` is not a field's name"))
                    .hint("a `#Fields:` line has spaces between names, so a name has none, and is not empty"));
            }
            if fields[..at].contains(field) {
                return Err(Wrong::new("fields", format!("field `{field}` is named twice")));
            }
        }
        let columns: Vec<Field> = fields.iter().map(|it| Field::new(it, DataType::Utf8, true)).collect();
        Ok(Self { schema: Arc::new(Schema::new(columns)), w3c: Some(unknown_fields) })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self) -> Rows {
        let filling = match self.w3c {
            None => Filling::Lines(StringBuilder::new()),
            Some(unknown_fields) => Filling::W3c(Box::new(W3cRows::new(&self.schema, unknown_fields))),
        };
        Rows { schema: self.schema.clone(), filling }
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Row,
    /// It is no data: empty, or a header.
    NoRow,
    Refused(String),
}

/// Rows as they grow, column by column.
pub(crate) struct Rows {
    schema: SchemaRef,
    filling: Filling,
}

enum Filling {
    Lines(StringBuilder),
    W3c(Box<W3cRows>),
}

impl Rows {
    /// Takes a line.
    pub fn push(&mut self, line: &str) -> Pushed {
        if line.is_empty() {
            return Pushed::NoRow;
        }
        match &mut self.filling {
            Filling::Lines(message) => {
                message.append_value(line);
                Pushed::Row
            }
            Filling::W3c(rows) => rows.push(line),
        }
    }

    /// Takes notice of a line that is not wanted itself: those that follow may depend on it.
    pub fn skip(&mut self, line: &[u8]) {
        if let Filling::W3c(rows) = &mut self.filling {
            rows.skip(line);
        }
    }

    /// Takes notice of a line, or the beginning of one, that cannot be read.
    pub fn refused(&mut self, line: &[u8]) {
        if let Filling::W3c(rows) = &mut self.filling {
            rows.refused(line);
        }
    }

    /// Gives the rows so far, and begins anew.
    pub fn finish(&mut self) -> RecordBatch {
        let columns = match &mut self.filling {
            Filling::Lines(message) => vec![finish(message)],
            Filling::W3c(rows) => rows.finish(),
        };
        RecordBatch::try_new(self.schema.clone(), columns).expect("the columns are those of the schema")
    }
}

/// Finishes a column, and makes room for another one like it.
pub(crate) fn finish(column: &mut StringBuilder) -> ArrayRef {
    let bytes = column.values_slice().len();
    let fresh = StringBuilder::with_capacity(READ_ROWS_MAX, bytes);
    Arc::new(std::mem::replace(column, fresh).finish())
}

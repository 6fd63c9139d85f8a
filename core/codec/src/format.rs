//! Which columns there are, and how a record fills them.

use std::io;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use forebay_api::Wrong;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Columns;
use crate::cloudfront::STANDARD_FIELDS;
use crate::decompress::Decompressor;
use crate::elements::Elements;
use crate::json::{JsonColumns, JsonRows, Paths};
use crate::lines::Lines;
use crate::parquet::ParquetColumns;
use crate::records::Records;
use crate::rows::{Filling, Rows};
use crate::types::Type;
use crate::w3c::W3cRows;

/// How the bytes of an object become rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Each line is a row, in one column `message`. Empty lines give no row.
    #[default]
    Lines,
    /// The W3C extended log file format, as CloudFront's standard logs have it: a `#Fields:` line names the fields of
    /// the lines that follow, which tabs separate. Each field is a column of text; `-` is null.
    W3c,
    /// Each line is a JSON object, and a row. `columns` names the keys that become columns.
    JsonLines,
    /// The object is a JSON array of objects, each of which is a row; or an object that has the array under the key
    /// `records`.
    JsonArray,
    /// Apache Parquet. `columns` names the columns that are read.
    Parquet,
}

/// What becomes of what a file has and the configuration does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// The rows are refused, with a reason that names the field.
    #[default]
    Refuse,
    /// The rows are read without that field.
    Ignore,
    /// JSON only: the fields are kept together in one more column, `unknown_column`, as a JSON object.
    Keep,
}

/// The name of the column for unknown fields, if it is given no other.
const UNKNOWN_COLUMN: &str = "unknown";

/// A format, and the keys that say more about it. `None` is a key that is not given.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormatKeys<'a> {
    /// How the bytes become rows.
    pub format: Format,
    /// For [`Format::W3c`]: the fields that become columns; CloudFront's [`STANDARD_FIELDS`] by default.
    pub fields: Option<&'a [String]>,
    /// For JSON and Parquet: the columns, and their types. For JSON a name is a path of keys with dots between them:
    /// `{"a": {"b": 1}}` and `{"a.b": 1}` are the same to it.
    pub columns: Option<&'a Columns>,
    /// For [`Format::W3c`] and JSON: what becomes of the rest; [`UnknownFields::Refuse`] by default.
    pub unknown_fields: Option<UnknownFields>,
    /// For [`UnknownFields::Keep`]: the column where unknown fields are kept; `unknown` by default.
    pub unknown_column: Option<&'a str>,
    /// For JSON and Parquet: a text that stands for null, such as `-`. By default there is none: only `null`, and what is
    /// not there, is null.
    pub null: Option<&'a str>,
    /// For [`Format::JsonArray`]: the key of the outermost object that has the array. By default there is no object
    /// around the array.
    pub records: Option<&'a str>,
}

impl FormatKeys<'_> {
    /// The columns.
    ///
    /// # Errors
    ///
    /// A [`Wrong`] at one of the keys.
    pub fn layout(&self) -> Result<Layout, Wrong> {
        self.known()?;
        match self.format {
            Format::Lines => Ok(Layout::lines()),
            Format::W3c => {
                let standard = || STANDARD_FIELDS.iter().map(|it| (*it).to_owned()).collect();
                let fields: Vec<String> = self.fields.map_or_else(standard, <[String]>::to_vec);
                Layout::w3c(&fields, self.unknown_fields.unwrap_or_default())
            }
            Format::JsonLines | Format::JsonArray => self.json(),
            Format::Parquet => {
                let columns = self.declared()?;
                let twin =
                    columns.iter().enumerate().find(|(nth, it)| columns[..*nth].iter().any(|twin| twin.0 == it.0));
                match twin {
                    Some((_, (name, _))) => Err(Wrong::new("columns", format!("column `{name}` is named twice"))),
                    None => Ok(Layout::new(
                        self.columns.map(Columns::fields).unwrap_or_default(),
                        Kind::Parquet(Arc::new(ParquetColumns {
                            columns: columns.to_vec(),
                            null: self.null.map(ToOwned::to_owned),
                        })),
                    )),
                }
            }
        }
    }

    /// Finds keys that say nothing about the format.
    fn known(&self) -> Result<(), Wrong> {
        let json = matches!(self.format, Format::JsonLines | Format::JsonArray);
        let keep = self.unknown_fields == Some(UnknownFields::Keep);
        let (format, has, hint) = match self.format {
            Format::Lines => ("lines", "", "lines have one column, `message`; for named fields choose another format"),
            Format::W3c => ("w3c", "`fields` and `unknown_fields`", ""),
            Format::JsonLines => ("json_lines", "`columns`, `unknown_fields`, `unknown_column` and `null`", ""),
            Format::JsonArray => {
                ("json_array", "`columns`, `unknown_fields`, `unknown_column`, `null` and `records`", "")
            }
            Format::Parquet => {
                ("parquet", "", "its keys are `columns` and `null`; columns that are not declared are not read")
            }
        };
        let keys = [
            ("fields", self.fields.is_some(), self.format == Format::W3c),
            ("columns", self.columns.is_some(), json || self.format == Format::Parquet),
            ("unknown_fields", self.unknown_fields.is_some(), json || self.format == Format::W3c),
            ("unknown_column", self.unknown_column.is_some(), json),
            ("null", self.null.is_some(), json || self.format == Format::Parquet),
            ("records", self.records.is_some(), self.format == Format::JsonArray),
        ];
        if let Some((key, ..)) = keys.iter().find(|(_, given, fits)| *given && !fits) {
            let hint = if hint.is_empty() { format!("its keys are {has}") } else { hint.to_owned() };
            return Err(Wrong::new(*key, format!("`{key}` says nothing about `format = \"{format}\"`")).hint(hint));
        }
        if keep && !json {
            return Err(Wrong::new("unknown_fields", "`\"keep\"` is for JSON only")
                .hint("\"refuse\" or \"ignore\"; or name all fields in `fields`"));
        }
        if self.unknown_column.is_some() && !keep {
            return Err(Wrong::new("unknown_column", "no unknown field is kept")
                .hint("write `unknown_fields = \"keep\"`, or leave `unknown_column` away"));
        }
        Ok(())
    }

    fn declared(&self) -> Result<&[(String, Type)], Wrong> {
        let hint =
            "for example `columns = { \"time\" = \"timestamp:rfc3339\", \"http.response.status_code\" = \"u16\" }`";
        match self.columns.map(Columns::as_slice) {
            None => {
                Err(Wrong::new("columns", "`columns` is missing: the columns are known before any file is").hint(hint))
            }
            Some([]) => Err(Wrong::new("columns", "`columns` names no column").hint(hint)),
            Some(columns) => Ok(columns),
        }
    }

    fn json(&self) -> Result<Layout, Wrong> {
        let columns = self.declared()?;
        let unknown_fields = self.unknown_fields.unwrap_or_default();
        let mut fields: Vec<_> = self.columns.map(Columns::fields).unwrap_or_default().iter().cloned().collect();
        if unknown_fields == UnknownFields::Keep {
            let name = self.unknown_column.unwrap_or(UNKNOWN_COLUMN);
            if name.is_empty() || columns.iter().any(|it| it.0 == name) {
                let what = if name.is_empty() {
                    "the column has no name".to_owned()
                } else {
                    format!("there would be two columns `{name}`")
                };
                return Err(
                    Wrong::new("unknown_column", what).hint("choose another name for the column of unknown fields")
                );
            }
            fields.push(Field::new(name, DataType::Utf8, true).into());
        }
        let rows = Arc::new(JsonColumns {
            columns: columns.to_vec(),
            unknown_fields,
            null: self.null.map(ToOwned::to_owned),
            paths: Paths::new(columns.iter().map(|it| it.0.as_str()))?,
        });
        let kind = match self.format {
            Format::JsonArray => Kind::JsonArray { rows, member: self.records.map(ToOwned::to_owned) },
            _ => Kind::JsonLines(rows),
        };
        Ok(Layout::new(fields.into(), kind))
    }
}

/// The columns of a [`Format`] that was told everything it has to know.
#[derive(Clone, Debug)]
pub struct Layout {
    schema: SchemaRef,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Lines,
    W3c(UnknownFields),
    JsonLines(Arc<JsonColumns>),
    JsonArray { rows: Arc<JsonColumns>, member: Option<String> },
    Parquet(Arc<ParquetColumns>),
}

impl Layout {
    fn new(fields: Fields, kind: Kind) -> Self {
        Self { schema: Arc::new(Schema::new(fields)), kind }
    }

    /// One column `message`.
    pub fn lines() -> Self {
        Self::new(vec![Field::new("message", DataType::Utf8, false)].into(), Kind::Lines)
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
        let columns: Fields = fields.iter().map(|it| Field::new(it, DataType::Utf8, true)).collect();
        Ok(Self::new(columns, Kind::W3c(unknown_fields)))
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether it is read with [`crate::ParquetReader`], from any place of an object, and not with [`crate::Reader`],
    /// from its beginning.
    pub fn is_parquet(&self) -> bool {
        matches!(self.kind, Kind::Parquet(_))
    }

    /// The columns of Parquet files, if that is what is read.
    pub(crate) fn parquet(&self) -> Option<&Arc<ParquetColumns>> {
        match &self.kind {
            Kind::Parquet(columns) => Some(columns),
            _ => None,
        }
    }

    /// What cuts text into records, and what makes columns of them.
    pub(crate) fn read<R: io::Read>(&self, bytes: Decompressor<R>, record_bytes_max: usize) -> (Records<R>, Rows) {
        let member = match &self.kind {
            Kind::JsonArray { member, .. } => Some(member.clone()),
            _ => None,
        };
        let records = match member {
            Some(member) => Records::Elements(Elements::new(bytes, record_bytes_max, member)),
            None => Records::Lines(Lines::new(bytes, record_bytes_max)),
        };
        let filling = match &self.kind {
            Kind::Lines => Filling::Lines(StringBuilder::new()),
            Kind::W3c(unknown_fields) => Filling::W3c(Box::new(W3cRows::new(&self.schema, *unknown_fields))),
            Kind::JsonLines(rows) | Kind::JsonArray { rows, .. } => {
                Filling::Json(Box::new(JsonRows::new(rows.clone())))
            }
            Kind::Parquet(_) => panic!("Parquet is no text"),
        };
        (records, Rows::new(self.schema.clone(), filling))
    }
}

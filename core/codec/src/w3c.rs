//! The W3C extended log file format, as Amazon CloudFront writes it: a `#Fields:` line whose names are separated by one
//! space, then data separated by tabs. A file may have several such lines, as when logs were joined.
//!
//! Values are taken as they stand: nothing is percent-decoded.

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use arrow_schema::Schema;

use crate::format::{Pushed, UnknownFields, finish};
use crate::reader::READ_ROWS_MAX;

const FIELDS: &str = "#Fields:";

/// What is known of the lines that follow.
enum Header {
    /// So many fields, and for each column the field that it takes, if the file has it.
    Known { fields: usize, field_of_column: Vec<Option<usize>> },
    /// No row can be read, for this reason.
    Unusable(String),
}

pub(crate) struct W3cRows {
    names: Vec<String>,
    unknown_fields: UnknownFields,
    header: Header,
    columns: Vec<StringBuilder>,
    /// The ends of the values of the line at hand; kept to save the allocation.
    ends: Vec<usize>,
}

impl W3cRows {
    pub fn new(schema: &Schema, unknown_fields: UnknownFields) -> Self {
        Self {
            names: schema.fields().iter().map(|it| it.name().clone()).collect(),
            unknown_fields,
            header: Header::Unusable("no `#Fields:` line comes before it".into()),
            columns: schema.fields().iter().map(|_| StringBuilder::with_capacity(READ_ROWS_MAX, 0)).collect(),
            ends: Vec::new(),
        }
    }

    pub fn push(&mut self, line: &str) -> Pushed {
        if line.starts_with('#') {
            self.directive(line);
            return Pushed::NoRow;
        }
        let (fields, field_of_column) = match &self.header {
            Header::Known { fields, field_of_column } => (*fields, field_of_column),
            Header::Unusable(why) => return Pushed::Refused(why.clone()),
        };
        self.ends.clear();
        self.ends.extend(memchr::memchr_iter(b'\t', line.as_bytes()));
        self.ends.push(line.len());
        let found = self.ends.len();
        // CloudFront's own sample has a line that ends with a tab.
        let surplus = found > fields && line.as_bytes()[self.ends[fields - 1]..].iter().any(|it| *it != b'\t');
        if found < fields {
            return Pushed::Refused(format!("it has {found} of the {fields} fields that `#Fields:` names"));
        }
        if surplus {
            return Pushed::Refused(format!("it has {found} fields, but `#Fields:` names {fields}"));
        }
        for (column, field) in self.columns.iter_mut().zip(field_of_column) {
            let value = field.map(|it| {
                let start = if it == 0 { 0 } else { self.ends[it - 1] + 1 };
                &line[start..self.ends[it]]
            });
            column.append_option(value.filter(|it| *it != "-"));
        }
        Pushed::Row
    }

    /// Takes notice of a line that lies before those that are wanted.
    pub fn skip(&mut self, line: &[u8]) {
        match std::str::from_utf8(line) {
            Ok(line) => self.directive(line),
            Err(_) => self.refused(line),
        }
    }

    /// Takes notice of a line that cannot be read: if it was a header, the old one no longer holds.
    pub fn refused(&mut self, line: &[u8]) {
        if line.starts_with(FIELDS.as_bytes()) {
            self.header = Header::Unusable("the `#Fields:` line before it was refused".into());
        }
    }

    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(finish).collect()
    }

    fn directive(&mut self, line: &str) {
        if let Some(fields) = line.strip_prefix(FIELDS) {
            let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
            self.header = self.read_header(&fields).unwrap_or_else(Header::Unusable);
        }
    }

    fn read_header(&self, fields: &[&str]) -> Result<Header, String> {
        if fields.is_empty() {
            return Err("the `#Fields:` line before it names no field".into());
        }
        for (at, field) in fields.iter().enumerate() {
            if fields[..at].contains(field) {
                return Err(format!("the `#Fields:` line before it names `{field}` twice"));
            }
            if self.unknown_fields == UnknownFields::Refuse && !self.names.iter().any(|it| it == field) {
                return Err(format!(
                    "the file has a field `{field}` that is not declared: \
                     add it to `fields`, or set `unknown_fields = \"ignore\"`"
                ));
            }
        }
        let place = |name: &String| fields.iter().position(|it| it == name);
        Ok(Header::Known { fields: fields.len(), field_of_column: self.names.iter().map(place).collect() })
    }
}

//! The W3C extended log file format, as Amazon CloudFront writes it: a `#Fields:` line whose names are separated by one
//! space, then data separated by tabs. A file may have several such lines, as when logs were joined.
//!
//! Values are taken as they stand: nothing is percent-decoded.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_schema::Schema;

use crate::convert::{Builder, Cell};
use crate::format::UnknownFields;
use crate::rows::Pushed;
use crate::types::Type;

const FIELDS: &str = "#Fields:";
const NULL: &str = "-";

pub(crate) struct W3cRows {
    names: Vec<String>,
    unknown_fields: UnknownFields,
    /// Why no row can be read of the lines that follow, if so.
    unusable: Option<String>,
    /// How many fields a line has.
    fields: usize,
    /// For each column the field that it takes, if the file has it.
    field_of_column: Vec<Option<usize>>,
    /// The ends of the fields of the lines at hand, which are not copied yet: for each line the byte before it, and the
    /// end of each of its fields.
    ends: Vec<usize>,
    columns: Vec<Builder>,
    /// The fields of one column; kept to save the allocation.
    cells: Vec<Cell>,
    /// Rows since the last time that columns were given.
    rows: usize,
}

impl W3cRows {
    pub fn new(schema: &Schema, unknown_fields: UnknownFields) -> Self {
        Self {
            names: schema.fields().iter().map(|it| it.name().clone()).collect(),
            unknown_fields,
            unusable: Some("no `#Fields:` line comes before it".into()),
            fields: 0,
            field_of_column: Vec::new(),
            ends: Vec::new(),
            columns: schema.fields().iter().map(|_| column(0, 0)).collect(),
            cells: Vec::new(),
            rows: 0,
        }
    }

    /// Takes a line, which is a piece of a text.
    pub fn push(&mut self, text: &str, piece: Range<usize>) -> Pushed {
        let line = &text[piece.clone()];
        if line.starts_with('#') {
            self.settle(text);
            self.directive(line);
            return Pushed::NoRow;
        }
        if let Some(why) = &self.unusable {
            return Pushed::Refused(why.clone());
        }
        let before = self.ends.len();
        self.ends.push(piece.start.wrapping_sub(1));
        tabs(line.as_bytes(), piece.start, &mut self.ends);
        self.ends.push(piece.end);
        let found = self.ends.len() - before - 1;
        if found == self.fields {
            self.rows += 1;
            return Pushed::Row;
        }
        self.surplus_or_refused(text, before, found)
    }

    /// Looks at a line of which the number of fields is another one.
    #[cold]
    fn surplus_or_refused(&mut self, text: &str, before: usize, found: usize) -> Pushed {
        let fields = self.fields;
        if found > fields {
            // CloudFront's own sample has a line that ends with a tab.
            let (end, surplus) = (self.ends[before + fields], self.ends[before + found]);
            if text.as_bytes()[end..surplus].iter().all(|it| *it == b'\t') {
                self.ends.truncate(before + fields + 1);
                self.rows += 1;
                return Pushed::Row;
            }
        }
        self.ends.truncate(before);
        Pushed::Refused(match found < fields {
            true => format!("it has {found} of the {fields} fields that `#Fields:` names"),
            false => format!("it has {found} fields, but `#Fields:` names {fields}"),
        })
    }

    /// Copies the fields of the lines that were taken out of `text` since the last time, column by column.
    pub fn settle(&mut self, text: &str) {
        let lines = self.ends.chunks_exact(self.fields + 1);
        for (column, field) in self.columns.iter_mut().zip(&self.field_of_column) {
            self.cells.clear();
            match *field {
                Some(field) => {
                    let cell = |line: &[usize]| Cell::new(line[field].wrapping_add(1), line[field + 1]);
                    self.cells.extend(lines.clone().map(cell));
                }
                None => self.cells.resize(lines.len(), Cell::NOWHERE),
            }
            column.extend(text.as_bytes(), &self.cells, |_| {});
        }
        self.ends.clear();
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
            self.unusable = Some("the `#Fields:` line before it was refused".into());
        }
    }

    /// Gives the columns of the rows so far, and begins anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let finish = |it: &mut Builder| {
            let fresh = column(rows, it.bytes());
            std::mem::replace(it, fresh).finish()
        };
        self.columns.iter_mut().map(finish).collect()
    }

    fn directive(&mut self, line: &str) {
        if let Some(fields) = line.strip_prefix(FIELDS) {
            let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
            self.unusable = self.read_header(&fields).err();
        }
    }

    fn read_header(&mut self, fields: &[&str]) -> Result<(), String> {
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
        self.fields = fields.len();
        self.field_of_column = self.names.iter().map(place).collect();
        Ok(())
    }
}

fn column(rows: usize, bytes: usize) -> Builder {
    Builder::new(&Type::Text, Some(NULL), rows, bytes)
}

/// Adds the places of all tabs of a line that begins at `start`. Looks at eight bytes at a time: between tabs there are
/// so few that a search for each of them would hardly begin.
fn tabs(line: &[u8], start: usize, places: &mut Vec<usize>) {
    const TABS: u64 = u64::from_le_bytes([b'\t'; 8]);
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    let mut at = start;
    let (eights, rest) = line.as_chunks::<8>();
    for eight in eights {
        let differs = u64::from_le_bytes(*eight) ^ TABS;
        // The high bit of each byte that is zero, and of no other.
        let mut found = !(((differs & LOW) + LOW) | differs | LOW);
        while found != 0 {
            places.push(at + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
        at += 8;
    }
    places.extend(rest.iter().enumerate().filter(|it| *it.1 == b'\t').map(|it| at + it.0));
}

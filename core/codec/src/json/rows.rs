//! Texts of objects to columns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_select::filter::filter;
use forebay_api::shown;

use super::names::Names;
use super::number::plain;
use super::paths::{JsonColumns, Paths, Target};
use super::scan::{Kind, Malformed, Scanner, Text, unescape};
use crate::convert::{Builder, Cell};
use crate::format::UnknownFields;
use crate::rows::Pushed;
use crate::types::Type;

/// Rows as they grow.
pub struct JsonRows {
    settings: Arc<JsonColumns>,
    names: Names,
    columns: Vec<Column>,
    /// What the text at hand has for each column.
    found: Vec<Found>,
    /// What else it has.
    others: Vec<Other>,
    /// The rows whose values are not converted yet, by the numbers that they came with.
    unsettled: Vec<usize>,
    /// The rows that are converted, refused ones included.
    settled: usize,
    /// Those of them that are refused.
    refused: Vec<usize>,
}

/// A column as it grows. Its values wait where they stand, to be converted many at a time.
struct Column {
    kind: Type,
    converted: Builder,
    cells: Vec<Cell>,
    /// Values that do not stand in the text as they are, by the numbers of their cells.
    rewritten: Vec<(usize, String)>,
}

impl Column {
    fn new(kind: &Type) -> Self {
        let converted = Builder::new(kind, None, 0, 0);
        Self { kind: kind.clone(), converted, cells: Vec::new(), rewritten: Vec::new() }
    }

    /// Takes a value that stands at `start` of a larger text.
    fn push(&mut self, found: Found, raw: &str, start: usize, null: Option<&str>) {
        let is_null = |value: &str| found.kind == Kind::Text && null == Some(value);
        if found.kind == Kind::Null {
            return self.cells.push(Cell::NOWHERE);
        }
        let rewritten = match found.kind {
            Kind::Text if found.text.escaped => {
                let mut text = String::new();
                unescape(raw, &mut text);
                Some(text)
            }
            Kind::Number if wants_plain(&self.kind) => {
                let mut written = String::new();
                let value = plain(raw, &mut written);
                (value != raw).then(|| value.to_owned())
            }
            _ => None,
        };
        match rewritten {
            None if is_null(raw) => self.cells.push(Cell::NOWHERE),
            None => self.cells.push(Cell::new(start, start + raw.len())),
            Some(value) => {
                if !is_null(&value) {
                    self.rewritten.push((self.cells.len(), value));
                }
                self.cells.push(Cell::NOWHERE);
            }
        }
    }

    /// Converts what was taken out of `text`. A value that is not of the type is told to `refuse`, with its number.
    fn settle(&mut self, text: &str, mut refuse: impl FnMut(usize, &str)) {
        let mut done = 0;
        for (nth, value) in self.rewritten.drain(..) {
            extend(&mut self.converted, text, &self.cells, done..nth, &mut refuse);
            self.converted.extend(value.as_bytes(), &[Cell::new(0, value.len())], |_| refuse(nth, &value));
            done = nth + 1;
        }
        extend(&mut self.converted, text, &self.cells, done..self.cells.len(), &mut refuse);
        self.cells.clear();
    }

    /// Gives the column, which has so many rows, and makes room for another one like it.
    fn finish(&mut self, rows: usize) -> ArrayRef {
        let fresh = Builder::new(&self.kind, None, rows, self.converted.bytes());
        std::mem::replace(&mut self.converted, fresh).finish()
    }
}

fn extend(to: &mut Builder, text: &str, cells: &[Cell], range: Range<usize>, refuse: &mut impl FnMut(usize, &str)) {
    let first = range.start;
    let cells = &cells[range];
    to.extend(text.as_bytes(), cells, |nth| {
        let value = cells[nth].of(text.as_bytes()).unwrap_or_default();
        refuse(first + nth, &String::from_utf8_lossy(value));
    });
}

/// A value in a text.
#[derive(Clone, Copy)]
struct Found {
    kind: Kind,
    /// For a string: without its quotes.
    text: Text,
}

/// A value without a column.
struct Other {
    /// The path of its key, as it stands in the text, but for what leads to the object.
    path: String,
    value: Found,
}

const MISSING: Found = Found { kind: Kind::Null, text: Text { start: 0, end: 0, escaped: false } };

impl JsonRows {
    pub fn new(settings: Arc<JsonColumns>) -> Self {
        let mut columns: Vec<_> = settings.columns.iter().map(|(_, kind)| Column::new(kind)).collect();
        if settings.unknown_fields == UnknownFields::Keep {
            columns.push(Column::new(&Type::Text));
        }
        Self {
            names: Names::default(),
            columns,
            found: vec![MISSING; settings.columns.len()],
            others: Vec::new(),
            unsettled: Vec::new(),
            settled: 0,
            refused: Vec::new(),
            settings,
        }
    }

    /// Takes the piece of a text that has a number among those since [`JsonRows::settle`].
    pub fn push(&mut self, nth: usize, text: &str, piece: Range<usize>) -> Pushed {
        let start = piece.start;
        let text = &text[piece];
        let mut scan = Scanner::new(text);
        if scan.space().is_none() {
            return Pushed::NoRow;
        }
        self.found.fill(MISSING);
        self.others.clear();
        self.names.begin();
        let mut walk = Walk {
            scan,
            paths: &self.settings.paths,
            names: &mut self.names,
            found: &mut self.found,
            others: (self.settings.unknown_fields != UnknownFields::Ignore).then_some(&mut self.others),
        };
        if let Err(why) = walk.run().and_then(|()| self.check()) {
            return Pushed::Refused(why);
        }
        let null = self.settings.null.as_deref();
        for (found, column) in self.found.iter().zip(&mut self.columns) {
            column.push(*found, &text[found.text.range()], start + found.text.start, null);
        }
        if let Some(unknown) = self.columns.get_mut(self.found.len()) {
            unknown.rewritten.extend(keep(text, &self.others).map(|it| (unknown.cells.len(), it)));
            unknown.cells.push(Cell::NOWHERE);
        }
        self.unsettled.push(nth);
        Pushed::Row
    }

    /// What can be told about the values before they are converted.
    fn check(&self) -> Result<(), String> {
        let other = self.others.iter().find(|it| it.value.kind != Kind::Null);
        if let (UnknownFields::Refuse, Some(other)) = (self.settings.unknown_fields, other) {
            return Err(format!(
                "the key `{}` is not declared: add it to `columns`, or set `unknown_fields` to \"ignore\" or \"keep\"",
                shown(&other.path)
            ));
        }
        for (found, (path, kind)) in self.found.iter().zip(&self.settings.columns) {
            if matches!(found.kind, Kind::Object | Kind::Array) && *kind != Type::Text {
                return Err(format!("`{path}` is {}, not {}", found.kind.noun(), kind.noun()));
            }
        }
        Ok(())
    }

    /// Converts the values of the pieces of `text` that were taken since the last time. Gives the numbers of the rows of
    /// which one is not what it should be, and why.
    pub fn settle(&mut self, text: &str) -> Vec<(usize, String)> {
        let mut reasons = BTreeMap::<usize, String>::new();
        let names = self.settings.columns.iter().map(|it| it.0.as_str()).chain([""]);
        for (column, path) in self.columns.iter_mut().zip(names) {
            let noun = column.kind.noun();
            column.settle(text, |row, value| {
                reasons.entry(row).or_insert_with(|| format!("`{path}`: `{}` is not {noun}", shown(value)));
            });
        }
        self.refused.extend(reasons.keys().map(|it| self.settled + it));
        self.settled += self.unsettled.len();
        let refused = reasons.into_iter().map(|(row, why)| (self.unsettled[row], why)).collect();
        self.unsettled.clear();
        refused
    }

    /// Gives the columns of the rows so far, and begins anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = self.columns.iter_mut().map(|it| it.finish(self.settled)).collect();
        if !self.refused.is_empty() {
            let mut good = vec![true; self.settled];
            self.refused.drain(..).for_each(|it| good[it] = false);
            let good = BooleanArray::from(good);
            for column in &mut columns {
                *column = filter(column, &good).expect("each column has a value for each row");
            }
        }
        self.settled = 0;
        columns
    }
}

/// Whether [`crate::convert`] reads numbers of this type in plain digits only.
fn wants_plain(kind: &Type) -> bool {
    match kind {
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::U8 | Type::U16 | Type::U32 | Type::U64 => true,
        Type::Decimal(_) | Type::EpochSeconds | Type::EpochMillis => true,
        Type::Text | Type::PercentDecoded | Type::F32 | Type::F64 | Type::Bool | Type::Ip => false,
        Type::Rfc3339 | Type::Strftime(_) => false,
    }
}

/// An object of the values that have no column, each as it stands in the text; of equal paths the last one.
fn keep(text: &str, others: &[Other]) -> Option<String> {
    let last: BTreeMap<&str, usize> = others.iter().enumerate().map(|(nth, it)| (it.path.as_str(), nth)).collect();
    let mut object = String::new();
    for (nth, other) in others.iter().enumerate() {
        if last[other.path.as_str()] != nth || other.value.kind == Kind::Null {
            continue;
        }
        object.push(if object.is_empty() { '{' } else { ',' });
        let quote = if other.value.kind == Kind::Text { "\"" } else { "" };
        let value = &text[other.value.text.range()];
        for part in ["\"", &other.path, "\":", quote, value, quote] {
            object.push_str(part);
        }
    }
    object.push('}');
    (object.len() > 1).then_some(object)
}

/// One way through a text.
struct Walk<'a> {
    scan: Scanner<'a>,
    paths: &'a Paths,
    names: &'a mut Names,
    found: &'a mut [Found],
    /// Where values without a column go, if anyone wants them.
    others: Option<&'a mut Vec<Other>>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), String> {
        match self.scan.kind() {
            Ok(Kind::Object) | Err(_) => {}
            Ok(other) => return Err(format!("it is {}, not an object", other.noun())),
        }
        let walked = self.object(Paths::ROOT, 0).and_then(|()| match self.scan.space() {
            None => Ok(()),
            Some(_) => self.scan.malformed("something follows the object"),
        });
        walked.map_err(|it| format!("it is not JSON: {} at byte {}", it.what, it.at + 1))
    }

    /// An object inside of so many others.
    fn object(&mut self, node: usize, depth: usize) -> Result<(), Malformed> {
        if self.scan.kind()? != Kind::Object {
            return self.scan.malformed("there is no object");
        }
        self.scan.open(depth)?;
        if self.scan.space() == Some(b'}') {
            self.scan.at += 1;
            return Ok(());
        }
        loop {
            self.scan.expect(b'"', "there is no name")?;
            let (name, target) = self.name(node)?;
            self.scan.expect(b':', "there is no `:`")?;
            let kind = self.scan.kind()?;
            match target {
                Target::Column(column) => self.found[column] = self.value(kind, depth)?,
                Target::Node(inner) if kind == Kind::Object => self.object(inner, depth + 1)?,
                Target::Node(_) | Target::Unknown => {
                    let value = self.value(kind, depth)?;
                    if let Some(others) = &mut self.others {
                        let raw = &self.scan.text()[name.range()];
                        others.push(Other { path: self.paths.under(node, raw), value });
                    }
                }
            }
            if self.scan.next(b'}')? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn value(&mut self, kind: Kind, depth: usize) -> Result<Found, Malformed> {
        if kind == Kind::Text {
            self.scan.at += 1;
            return Ok(Found { kind, text: self.scan.string()? });
        }
        let start = self.scan.at;
        self.scan.skip(kind, depth + 1)?;
        Ok(Found { kind, text: Text { start, end: self.scan.at, escaped: false } })
    }

    /// Passes over a name, from after its first quote, and finds where it leads.
    #[inline]
    fn name(&mut self, node: usize) -> Result<(Text, Target), Malformed> {
        let start = self.scan.at;
        if let Some((bytes, target)) = self.names.expected(node, self.scan.rest()) {
            self.scan.at += bytes;
            return Ok((Text { start, end: self.scan.at - 1, escaped: false }, target));
        }
        let name = self.scan.string()?;
        let raw = &self.scan.text()[name.range()];
        if name.escaped {
            let mut plain = String::new();
            unescape(raw, &mut plain);
            return Ok((name, self.paths.find(node, &plain)));
        }
        Ok((name, self.names.find(self.paths, node, raw)))
    }
}

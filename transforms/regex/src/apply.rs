//! Lines go in, typed columns come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::{filter, filter_record_batch};
use arrow_select::take::take;
use forebay_api::{BoxError, Outputs, Transform, Wrong, column, same_type, shown};

use crate::convert;
use crate::matcher::{Matcher, Place};
use crate::types::Type;

/// The transform. First all lines are matched, then the columns are built one after the other.
pub(crate) struct Extract {
    column: String,
    matcher: Matcher,
    /// One for each column of the matcher.
    types: Vec<Type>,
    null: String,
    keep: Vec<String>,
    /// How many values a CloudFront record must have, where that is what is matched.
    fields: Option<usize>,
    planned: Option<Planned>,
    /// The places of the current batch, row by row. Kept for its memory only.
    places: Vec<Place>,
}

#[derive(Clone)]
struct Planned {
    column: usize,
    keep: Vec<usize>,
    output: SchemaRef,
}

impl Extract {
    pub(crate) fn new(
        column: String,
        matcher: Matcher,
        types: Vec<Type>,
        null: String,
        keep: Vec<String>,
        fields: Option<usize>,
    ) -> Self {
        Self { column, matcher, types, null, keep, fields, planned: None, places: Vec::new() }
    }

    /// What finds the texts.
    pub(crate) fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    fn kept(&self, input: &Schema) -> Result<Vec<usize>, Wrong> {
        let mut names: BTreeSet<&str> = self.matcher.columns().iter().map(String::as_str).collect();
        let kept = self.keep.iter().map(|name| {
            if !names.insert(name) {
                return Err(Wrong::new("keep", format!("there would be two columns `{name}`")));
            }
            column(input, "keep", name)
        });
        kept.collect()
    }

    /// Matches all lines. Gives the rows that match; their places are then in `self.places`.
    fn find(&mut self, lines: &StringArray, out: &mut Outputs) -> Vec<u32> {
        self.places.clear();
        let mut matching = Vec::with_capacity(lines.len());
        for (row, line) in lines.iter().enumerate() {
            match line {
                None => out.refuse(row, format!("column `{}` is null", self.column)),
                Some(line) if self.matcher.find(line, &mut self.places) => matching.push(row as u32),
                Some(line) => out.refuse(row, self.mismatch(line)),
            }
        }
        matching
    }

    fn mismatch(&self, line: &str) -> String {
        let found = line.split('\t').count();
        match self.fields {
            Some(expected) if expected != found => format!(
                "{found} {} where {expected} fields are configured: CloudFront's field list and `fields` differ",
                if found == 1 { "column" } else { "columns" },
            ),
            _ => "does not match the pattern".to_owned(),
        }
    }
}

impl Transform for Extract {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        let column = same_type(input, "column", &self.column, "text", |it| *it == DataType::Utf8)?;
        let keep = self.kept(input)?;
        let columns = self.matcher.columns().iter().zip(&self.types);
        let mut fields: Vec<Field> = columns.map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect();
        fields.extend(keep.iter().map(|it| input.field(*it).clone()));
        let output = Arc::new(Schema::new(fields));
        self.planned = Some(Planned { column, keep, output: output.clone() });
        Ok(output)
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let Planned { column, keep, output } = self.planned.clone().ok_or("`apply` came before `plan`")?;
        let lines = rows.column(column).as_string::<i32>();
        let matching = self.find(lines, out);

        let names = self.matcher.columns();
        let mut refused = BTreeMap::<usize, String>::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(output.fields().len());
        for (index, (name, kind)) in names.iter().zip(&self.types).enumerate() {
            let cells = matching.iter().enumerate().map(|(nth, row)| {
                let place = self.places[nth * names.len() + index];
                place.of(lines.value(*row as usize)).filter(|it| *it != self.null)
            });
            columns.push(convert::column(kind, cells, |nth, cell| {
                // A row is refused once, for its first value that does not convert.
                refused.entry(nth).or_insert_with(|| not_of_type(name, cell, kind));
            }));
        }
        let origins = UInt32Array::from(matching);
        for index in keep {
            columns.push(take(rows.column(index), &origins, None)?);
        }
        let sent = RecordBatch::try_new(output, columns)?;

        if refused.is_empty() {
            out.send_picked(sent, origins);
            return Ok(());
        }
        let good: BooleanArray = (0..origins.len()).map(|nth| Some(!refused.contains_key(&nth))).collect();
        for (nth, why) in refused {
            out.refuse(origins.value(nth) as usize, why);
        }
        let origins = filter(&origins, &good)?.as_primitive().clone();
        out.send_picked(filter_record_batch(&sent, &good)?, origins);
        Ok(())
    }
}

fn not_of_type(column: &str, cell: &str, kind: &Type) -> String {
    format!("column `{column}`: `{}` is not {}", shown(cell), kind.noun())
}

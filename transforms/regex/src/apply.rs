//! Lines go in, typed columns come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::{filter, filter_record_batch};
use arrow_select::take::take;
use forebay_api::{BoxError, Outputs, Transform, Wrong, column, same_type, shown};
use forebay_codec::convert::Builder;
use forebay_codec::types::Type;

use crate::matcher::{Block, Matcher, ROWS};

/// The transform. Some lines are matched, then their cells are added to the columns, one column after the other.
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
    block: Block,
    /// For each column of the matcher how many bytes of text it had in the last batch, for each 1,024 rows.
    text_bytes: Vec<usize>,
}

struct Planned {
    input: SchemaRef,
    /// The column of the input that holds the text.
    column: usize,
    /// The columns of the input that are carried along.
    keep: Vec<usize>,
    /// Of the matcher's columns, which come out.
    sent: Vec<bool>,
    output: SchemaRef,
}

/// A text of a log is about so long, where nothing is known yet.
const TEXT_BYTES: usize = 16;

impl Extract {
    pub(crate) fn new(
        column: String,
        matcher: Matcher,
        types: Vec<Type>,
        null: String,
        keep: Vec<String>,
        fields: Option<usize>,
    ) -> Self {
        let (block, text_bytes) = (matcher.block(), vec![TEXT_BYTES * 1024; types.len()]);
        Self { column, matcher, types, null, keep, fields, planned: None, block, text_bytes }
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

    /// Plans to give the columns that are wanted.
    fn planned(&mut self, input: &SchemaRef, wanted: impl Fn(&str) -> bool) -> Result<SchemaRef, Wrong> {
        let column = same_type(input, "column", &self.column, "text", |it| *it == DataType::Utf8)?;
        let mut keep = self.kept(input)?;
        keep.retain(|it| wanted(input.field(*it).name()));
        let columns: Vec<(&String, &Type)> = self.matcher.columns().iter().zip(&self.types).collect();
        let sent: Vec<bool> = columns.iter().map(|(name, _)| wanted(name)).collect();
        let sent_columns = columns.iter().zip(&sent).filter(|(_, sent)| **sent).map(|(column, _)| column);
        let mut fields: Vec<Field> =
            sent_columns.map(|(name, kind)| Field::new(*name, kind.data_type(), true)).collect();
        // What can be wrong is read all the same: which rows are refused may not depend on who uses them.
        let checked: BTreeSet<String> =
            columns.iter().filter(|(_, kind)| **kind != Type::Text).map(|(name, _)| (*name).clone()).collect();
        self.matcher.want(|it| wanted(it) || checked.contains(it));
        fields.extend(keep.iter().map(|it| input.field(*it).clone()));
        let output = Arc::new(Schema::new(fields));
        self.planned = Some(Planned { input: input.clone(), column, keep, sent, output: output.clone() });
        Ok(output)
    }

    /// Makes the builder of a column, for lines of so many bytes together.
    fn builder(&self, column: usize, rows: usize, line_bytes: usize) -> Builder {
        // A little more than last time, so that few batches grow beyond it; a column never has more than the lines.
        let bytes = self.text_bytes[column] * rows / 1024;
        Builder::new(&self.types[column], Some(&self.null), rows, (bytes + bytes / 16).min(line_bytes))
    }
}

/// Why a line that is no match is refused.
fn mismatch(line: Option<&str>, column: &str, fields: Option<usize>) -> String {
    let Some(line) = line else { return format!("column `{column}` is null") };
    let found = line.split('\t').count();
    match fields {
        Some(expected) if expected != found => format!(
            "{found} {} where {expected} fields are configured: CloudFront's field list and `fields` differ",
            if found == 1 { "column" } else { "columns" },
        ),
        _ => "does not match the pattern".to_owned(),
    }
}

impl Transform for Extract {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        Ok(self.planned(input, |_| true)?)
    }

    fn uses(&self) -> Option<BTreeSet<String>> {
        // Also those of `keep` that nobody wants: they are looked for whenever it is planned.
        Some(self.keep.iter().chain([&self.column]).cloned().collect())
    }

    fn narrow(&mut self, used: &BTreeSet<String>) -> Option<SchemaRef> {
        let input = self.planned.as_ref()?.input.clone();
        self.planned(&input, |it| used.contains(it)).ok()
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let Planned { column, keep, sent, output, .. } = self.planned.as_ref().ok_or("`apply` came before `plan`")?;
        let lines = rows.column(*column).as_string::<i32>();
        let (text, offsets) = (lines.value_data(), lines.value_offsets());
        let line_bytes = (offsets[lines.len()] - offsets[0]) as usize;
        let names = self.matcher.columns().to_vec();
        let mut builders: Vec<(usize, Builder)> = (0..names.len())
            .filter(|it| self.matcher.is_wanted(*it))
            .map(|it| (it, self.builder(it, lines.len(), line_bytes)))
            .collect();

        let mut origins = Vec::with_capacity(lines.len());
        let mut refused = BTreeMap::<u32, String>::new();
        for first in (0..lines.len()).step_by(ROWS) {
            let some = first..lines.len().min(first + ROWS);
            self.matcher.find(lines, some, &mut self.block, |row| {
                let line = lines.is_valid(row).then(|| lines.value(row));
                refused.insert(row as u32, mismatch(line, &self.column, self.fields));
            });
            let matching = self.block.rows();
            for (nth, builder) in &mut builders {
                let cells = self.block.column(*nth);
                builder.extend(text, cells, |cell| {
                    // A row is refused once, for its first value that does not convert.
                    let value = String::from_utf8_lossy(cells[cell].of(text).unwrap_or_default());
                    let why = || not_of_type(&names[*nth], &value, &self.types[*nth]);
                    refused.entry(matching[cell]).or_insert_with(why);
                });
            }
            origins.extend_from_slice(matching);
        }

        let mut columns: Vec<ArrayRef> = Vec::with_capacity(output.fields().len());
        for (nth, builder) in builders {
            // A few rows say nothing about many.
            if origins.len() >= ROWS {
                self.text_bytes[nth] = builder.bytes() * 1024 / origins.len();
            }
            if sent[nth] {
                columns.push(builder.finish());
            }
        }
        let all_match = origins.len() == lines.len();
        let origins = UInt32Array::from(origins);
        for index in keep {
            let column = rows.column(*index);
            columns.push(if all_match { column.clone() } else { take(column, &origins, None)? });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        let rows = RecordBatch::try_new_with_options(output.clone(), columns, &options)?;

        if refused.is_empty() {
            out.send(rows);
            return Ok(());
        }
        let good: BooleanArray = origins.values().iter().map(|it| Some(!refused.contains_key(it))).collect();
        for (row, why) in refused {
            out.refuse(row as usize, why);
        }
        let origins = filter(&origins, &good)?.as_primitive().clone();
        out.send_picked(filter_record_batch(&rows, &good)?, origins);
        Ok(())
    }
}

fn not_of_type(column: &str, cell: &str, kind: &Type) -> String {
    format!("column `{column}`: `{}` is not {}", shown(cell), kind.noun())
}

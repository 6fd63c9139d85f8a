//! User agents go in, and what they tell comes out beside them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field as ArrowField, Schema, SchemaRef};
use forebay_api::{BoxError, Outputs, Transform, Wrong, same_type};

use crate::cache::Cache;
use crate::distinct::{Distinct, is_text, like};
use crate::parse::{Asked, Field, Reading, Told, compile};
use crate::{Names, UserAgent};

/// The transform.
pub(crate) struct Enrich {
    column: String,
    names: Names,
    reading: Reading,
    planned: Option<Planned>,
    /// Of what [`Planned::asked`] asks for.
    cache: Cache,
}

struct Planned {
    input: SchemaRef,
    /// The column of the input that holds the user agents.
    column: usize,
    /// The columns of the input that are carried along.
    kept: Vec<usize>,
    /// What comes out behind them.
    fields: Vec<Field>,
    asked: Asked,
    /// The type of texts that come out.
    texts: DataType,
    output: SchemaRef,
}

impl Enrich {
    pub(crate) fn new(config: &UserAgent) -> Result<Self, Wrong> {
        if config.bots.iter().any(String::is_empty) {
            return Err(Wrong::new("bots", "an empty text is a part of every user agent"));
        }
        Ok(Self {
            column: config.column.clone().unwrap_or_else(|| config.names.of("user_agent.original")),
            names: config.names,
            reading: Reading {
                percent_encoded: config.percent_encoded,
                bots: config.bots.iter().map(|it| it.to_lowercase()).collect(),
            },
            planned: None,
            cache: Cache::default(),
        })
    }

    /// Plans to give the columns that are wanted.
    fn planned(&mut self, input: &SchemaRef, wanted: impl Fn(&str) -> bool) -> Result<SchemaRef, Wrong> {
        let column = same_type(input, "column", &self.column, "text", is_text)?;
        let texts = like(input.field(column).data_type());
        let names = Field::ALL.map(|it| self.names.of(it.name()));
        if names.contains(&self.column) {
            let what = format!("column `{}` would be replaced by what it tells", self.column);
            return Err(Wrong::new("column", what).hint("give it another name before this transform"));
        }

        let kept = input.fields().iter().enumerate().filter(|(_, it)| !names.contains(it.name()) && wanted(it.name()));
        let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
        let told = Field::ALL.iter().zip(&names).filter(|(_, name)| wanted(name));
        let (fields, names): (Vec<Field>, Vec<&String>) = told.unzip();
        let kind = |it: &Field| if *it == Field::IsBot { DataType::Boolean } else { texts.clone() };
        let columns = kept.iter().map(|it| input.field(*it).clone());
        let columns = columns.chain(fields.iter().zip(names).map(|(it, name)| ArrowField::new(name, kind(it), true)));
        let output = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let asked = Asked::of(&fields);
        self.cache = Cache::default();
        self.planned =
            Some(Planned { input: input.clone(), column, kept, fields, asked, texts, output: output.clone() });
        Ok(output)
    }
}

impl Transform for Enrich {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        Ok(self.planned(input, |_| true)?)
    }

    fn uses(&self) -> Option<BTreeSet<String>> {
        let planned = self.planned.as_ref()?;
        let columns = planned.kept.iter().chain([&planned.column]);
        Some(columns.map(|it| planned.input.field(*it).name().clone()).collect())
    }

    fn narrow(&mut self, used: &BTreeSet<String>) -> Option<SchemaRef> {
        let input = self.planned.as_ref()?.input.clone();
        self.planned(&input, |it| used.contains(it)).ok()
    }

    fn prepare(&mut self) {
        if let Some(planned) = &self.planned {
            compile(planned.asked);
        }
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let Self { planned, cache, reading, .. } = self;
        let planned = planned.as_ref().ok_or("`apply` came before `plan`")?;
        let mut columns: Vec<ArrayRef> = planned.kept.iter().map(|it| rows.column(*it).clone()).collect();
        if !planned.fields.is_empty() {
            let distinct = Distinct::of(rows.column(planned.column))?;
            let tell = |text| cache.get(text, || reading.parse(text, planned.asked));
            let told: Vec<Arc<Told>> = distinct.texts().map(tell).collect();
            for field in &planned.fields {
                columns.push(told_column(*field, &distinct, &told, &planned.texts)?);
            }
        }
        let length = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        out.send(RecordBatch::try_new_with_options(planned.output.clone(), columns, &length)?);
        Ok(())
    }
}

fn told_column(
    field: Field,
    distinct: &Distinct,
    told: &[Arc<Told>],
    texts: &DataType,
) -> Result<ArrayRef, ArrowError> {
    match field {
        Field::IsBot => distinct.spread(&told.iter().map(|it| Some(it.is_bot)).collect::<BooleanArray>()),
        _ => distinct.spread_texts(told.iter().map(|it| it.text(field)), texts),
    }
}

//! Columns go in, fields come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take;
use forebay_api::{BoxError, Outputs, Transform, shown};

use crate::Ecs;
use crate::convert::{convert, plain};
use crate::plan::{Filled, Plan, Step, plan};

/// The transform. Fields are built one after the other: from columns, constants, and then from other fields.
pub(crate) struct Build {
    config: Ecs,
    plan: Option<Ready>,
}

/// A plan at work.
struct Ready {
    plan: Plan,
    input: SchemaRef,
    /// The fields that are built.
    built: Vec<usize>,
    /// Those of them that come out.
    sent: Vec<usize>,
    output: SchemaRef,
    /// Constants as long as they were ever needed, by field. Kept for their memory only.
    constants: Vec<Option<ArrayRef>>,
}

/// Rows that are refused, each for its first value that does not fit.
type RefusedRows = BTreeMap<usize, String>;

impl Build {
    pub(crate) fn new(config: Ecs) -> Self {
        Self { config, plan: None }
    }
}

impl Transform for Build {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        let plan = plan(&self.config, input)?;
        let output = plan.output.clone();
        self.plan = Some(Ready {
            input: input.clone(),
            built: (0..plan.fields.len()).collect(),
            sent: plan.sent.clone(),
            output: output.clone(),
            constants: vec![None; plan.fields.len()],
            plan,
        });
        Ok(output)
    }

    fn uses(&self) -> Option<BTreeSet<String>> {
        let ready = self.plan.as_ref()?;
        let columns = ready.plan.uses(&ready.built);
        Some(columns.into_iter().map(|it| ready.input.field(it).name().clone()).collect())
    }

    fn narrow(&mut self, used: &BTreeSet<String>) -> Option<SchemaRef> {
        let ready = self.plan.as_mut()?;
        let Plan { fields, sent, output, .. } = &ready.plan;
        let kept: Vec<usize> = (0..sent.len()).filter(|it| used.contains(&fields[sent[*it]].name)).collect();
        ready.sent = kept.iter().map(|it| sent[*it]).collect();
        // What comes from columns can be wrong, and is built all the same: which rows are refused may not depend on
        // who uses them.
        let checked = (0..fields.len()).filter(|it| matches!(fields[*it].filled, Filled::Columns(_)));
        let needed: Vec<usize> = ready.sent.iter().copied().chain(checked).collect();
        ready.built = ready.plan.behind(&needed);
        ready.output = Arc::new(output.project(&kept).ok()?);
        Some(ready.output.clone())
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let ready = self.plan.as_mut().ok_or("`apply` came before `plan`")?;
        let mut refused = RefusedRows::new();
        let built = ready.build(&rows, &mut refused)?;
        let columns: Option<Vec<ArrayRef>> = ready.sent.iter().map(|it| built[*it].clone()).collect();
        let columns = columns.ok_or("a planned field was not built")?;
        let length = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let sent = RecordBatch::try_new_with_options(ready.output.clone(), columns, &length)?;

        if refused.is_empty() {
            out.send(sent);
            return Ok(());
        }
        let good: BooleanArray = (0..rows.num_rows()).map(|row| Some(!refused.contains_key(&row))).collect();
        out.send_kept(filter_record_batch(&sent, &good)?, &good);
        for (row, why) in refused {
            out.refuse(row, why);
        }
        Ok(())
    }
}

impl Ready {
    /// The fields that are needed, each in its place.
    fn build(&mut self, rows: &RecordBatch, refused: &mut RefusedRows) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
        let mut fields: Vec<Option<ArrayRef>> = vec![None; self.plan.fields.len()];
        let mut columns = Columns { rows, plain: vec![None; rows.num_columns()] };
        for nth in &self.built {
            fields[*nth] = Some(match &self.plan.fields[*nth].filled {
                Filled::Columns(step) => from_columns(step, &mut columns, refused)?,
                Filled::Constant(value) => repeated(value, rows.num_rows(), &mut self.constants[*nth])?,
                Filled::Derived(derive, from) => {
                    let inputs: Vec<ArrayRef> = from.iter().filter_map(|it| fields[*it].clone()).collect();
                    derive(&inputs)
                }
            });
        }
        Ok(fields)
    }
}

/// The columns of a batch, made [`plain`] where a log's columns become several fields.
struct Columns<'a> {
    rows: &'a RecordBatch,
    plain: Vec<Option<ArrayRef>>,
}

impl Columns<'_> {
    fn get(&mut self, column: usize, logged: bool) -> Result<ArrayRef, ArrowError> {
        if !logged {
            return plain(self.rows.column(column), false);
        }
        if let Some(plain) = &self.plain[column] {
            return Ok(plain.clone());
        }
        let plain = plain(self.rows.column(column), true)?;
        Ok(self.plain[column].insert(plain).clone())
    }
}

fn from_columns(step: &Step, columns: &mut Columns<'_>, refused: &mut RefusedRows) -> Result<ArrayRef, ArrowError> {
    let inputs = step.columns.iter().map(|it| columns.get(*it, step.logged));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    convert(step.how, step.field, &inputs, |row, value| {
        refused.entry(row).or_insert_with(|| does_not_fit(step, &columns.rows.schema(), value));
    })
}

/// The value so many times, cut from the longest array that was ever asked for.
fn repeated(value: &ArrayRef, rows: usize, longest: &mut Option<ArrayRef>) -> Result<ArrayRef, ArrowError> {
    // The values of a list are not cut with it, and would count as bytes of every slice.
    let is_list = matches!(value.data_type(), DataType::List(_));
    let enough = match longest.take().filter(|it| it.len() == rows || (it.len() > rows && !is_list)) {
        Some(enough) => enough,
        None => take(value, &UInt32Array::from(vec![0; rows]), None)?,
    };
    Ok(longest.insert(enough).slice(0, rows))
}

fn does_not_fit(step: &Step, input: &Schema, value: &str) -> String {
    let names: Vec<String> = step.columns.iter().map(|it| format!("`{}`", input.field(*it).name())).collect();
    let columns = if names.len() == 1 { "column" } else { "columns" };
    format!("{columns} {}: `{}` is not {}", names.join(" and "), shown(value), step.how.noun(step.field))
}

//! Columns go in, fields come out.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take;
use forebay_api::{BoxError, Outputs, Transform, shown};

use crate::Ecs;
use crate::convert::{convert, plain};
use crate::plan::{Filled, Plan, Step, plan};

/// The transform. Fields are built one after the other: from columns, constants, and then from other fields.
pub(crate) struct Build {
    config: Ecs,
    plan: Option<Plan>,
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
        let plan = self.plan.insert(plan(&self.config, input)?);
        Ok(plan.output.clone())
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let plan = self.plan.as_ref().ok_or("`apply` came before `plan`")?;
        let mut refused = RefusedRows::new();
        let built = built(plan, &rows, &mut refused)?;
        let columns: Result<Vec<ArrayRef>, &str> = plan
            .filled
            .keys()
            .map(|name| built.get(name.as_str()).cloned().ok_or("a planned field was not built"))
            .collect();
        let sent = RecordBatch::try_new(plan.output.clone(), columns?)?;

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

/// All fields, by name.
fn built<'a>(
    plan: &'a Plan,
    rows: &RecordBatch,
    refused: &mut RefusedRows,
) -> Result<BTreeMap<&'a str, ArrayRef>, ArrowError> {
    let mut built = BTreeMap::new();
    let each_first = UInt32Array::from(vec![0; rows.num_rows()]);
    for (name, filled) in &plan.filled {
        match filled {
            Filled::Columns(step) => {
                built.insert(name.as_str(), from_columns(step, rows, refused)?);
            }
            Filled::Constant(value) => {
                built.insert(name.as_str(), take(value, &each_first, None)?);
            }
            Filled::Derived(..) => {}
        }
    }
    for (name, filled) in &plan.filled {
        if let Filled::Derived(derived, from) = filled {
            let inputs: Vec<ArrayRef> = from.iter().filter_map(|it| built.get(it).cloned()).collect();
            built.insert(name.as_str(), (derived.derive)(&inputs));
        }
    }
    Ok(built)
}

fn from_columns(step: &Step, rows: &RecordBatch, refused: &mut RefusedRows) -> Result<ArrayRef, ArrowError> {
    let columns = step.columns.iter().map(|it| plain(rows.column(*it), step.logged));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    convert(step.how, step.field, &columns, |row, value| {
        refused.entry(row).or_insert_with(|| does_not_fit(step, &rows.schema(), value));
    })
}

fn does_not_fit(step: &Step, input: &Schema, value: &str) -> String {
    let names: Vec<String> = step.columns.iter().map(|it| format!("`{}`", input.field(*it).name())).collect();
    let columns = if names.len() == 1 { "column" } else { "columns" };
    format!("{columns} {}: `{}` is not {}", names.join(" and "), shown(value), step.how.noun(step.field))
}

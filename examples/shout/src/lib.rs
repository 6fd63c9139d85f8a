//! The `shout` transform: a third party's component.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef};
use forebay_api::{BoxError, Config, Outputs, Transform, TransformConfig, same_type};
use schemars::JsonSchema;
use serde::Deserialize;

/// Upper-cases the text of one column.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shout {
    /// The column to upper-case, which must hold text: `"message"`.
    column: String,
}

impl Config for Shout {
    const TYPE: &'static str = "shout";
}

impl TransformConfig for Shout {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(Shouter { column: self.column.clone(), index: 0 }))
    }
}

struct Shouter {
    column: String,
    index: usize,
}

impl Transform for Shouter {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        let is_text = |it: &DataType| *it == DataType::Utf8;
        self.index = same_type(input, "column", &self.column, "text", is_text)?;
        Ok(input.clone())
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let text = rows.column(self.index).as_string::<i32>();
        let loud: StringArray = text.iter().map(|it| it.map(str::to_uppercase)).collect();
        let mut columns = rows.columns().to_vec();
        columns[self.index] = Arc::new(loud);
        out.send(RecordBatch::try_new(rows.schema(), columns)?);
        Ok(())
    }
}

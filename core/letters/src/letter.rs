//! One letter, as a line of JSON.

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, SchemaRef};
use forebay_api::BoxError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A refused row: [`forebay_api::plan::letter_schema`] says what the fields are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The row.
    pub payload: String,
    /// How to read it: `text`, `json` or `base64`.
    pub encoding: String,
    /// Why it was refused.
    pub reason: String,
    /// The node that refused it.
    pub component: String,
    /// The source that it came from.
    pub source: String,
    /// The source's partition.
    pub partition: String,
    /// The place in it.
    pub position: String,
    /// The pipeline.
    pub pipeline: String,
    /// Which version of it: letters of before there were versions have none.
    #[serde(default)]
    pub version: String,
}

impl Letter {
    /// The letters of a file. An error names the line.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, BoxError> {
        let parse = |(nth, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", nth + 1).into())
        };
        text.lines().enumerate().filter(|(_, it)| !it.trim().is_empty()).map(parse).collect()
    }

    /// What it is about: which row, refused by which node. The reason may be worded otherwise when a delivery is made
    /// again, and the row may be refused by another version of the pipeline.
    pub fn id(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        let Self { pipeline, component, source, partition, position, payload, .. } = self;
        for part in [pipeline, component, source, partition, position, payload] {
            // The length keeps `ab`+`c` and `a`+`bc` apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.digest()
    }

    /// The row, alone in a batch of this schema. An error says why it cannot be had.
    pub fn row(&self, schema: &SchemaRef) -> Result<RecordBatch, BoxError> {
        let fields = schema.fields();
        match self.encoding.as_str() {
            "text" if fields.len() == 1 && *fields[0].data_type() == DataType::Utf8 => {
                let column: ArrayRef = Arc::new(StringArray::from_iter_values([&self.payload]));
                Ok(RecordBatch::try_new(schema.clone(), vec![column])?)
            }
            "text" => Err("a text cannot be a row of several columns".into()),
            "json" => {
                let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(1).build_decoder()?;
                decoder.decode(self.payload.as_bytes())?;
                decoder.flush()?.ok_or_else(|| "it holds no row".into())
            }
            other => Err(format!("`{other}` is no encoding of a row").into()),
        }
    }
}

//! One letter, as a line of JSON.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use forebay_api::BoxError;
use serde::{Deserialize, Serialize};

/// A refused row: [`forebay_api::plan::letter_schema`] says what the fields are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The row.
    pub payload: String,
    /// How to read it: `text`, `json` or `debug`, or `base64` of what was no row.
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
        Ok(forebay_payload::read(&self.payload, &self.encoding, schema)?)
    }
}

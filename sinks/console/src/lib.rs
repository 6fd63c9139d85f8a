//! The `console` sink: rows as JSON lines or a table on standard output.

mod print;
#[cfg(test)]
mod tests;

use std::io;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, Batch, BoxError, Config, Promise, Sink, SinkConfig, Whereabouts, Wrong, whole};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::print::Printer;

/// Prints rows on standard output, for a look at what flows.
///
/// A delivery is printed in one piece. Where nobody reads any more (`forebay run | head`), the rest is delivered
/// unseen. After a crash rows may be printed again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// How rows look: `"json"` (the default), one object a line without its nulls, or `"table"`, with aligned columns
    /// and long values cut.
    #[serde(default)]
    pub format: Format,
    /// How many rows are printed. Further ones are delivered unseen, and counted on standard error at the end.
    /// Default: all. Example: `20`.
    pub rows_max: Option<u64>,
}

/// How rows look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line. Nulls are left out.
    #[default]
    Json,
    /// Aligned columns under a header, which is printed anew when columns grow wider.
    Table,
}

impl Config for Console {
    const TYPE: &'static str = "console";
}

#[async_trait]
impl SinkConfig for Console {
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError> {
        print::printable(self.format, input)
            .map_err(|error| Wrong::new("format", format!("these columns cannot be printed: {error}")))?;
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    /// Somebody is watching, so rows do not wait long.
    fn batch(&self) -> Batch {
        Batch { age_max: Age::millis(200), ..Batch::default() }
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        Some(Whereabouts { at: "standard output".to_owned(), query: None })
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(whole(Printer::new(self, Box::new(io::stdout()), Box::new(io::stderr()))))
    }
}

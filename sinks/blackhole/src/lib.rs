//! The `blackhole` sink: takes rows, keeps nothing.

#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, BoxError, Config, DeliveryId, Draft, Promise, Refused, Sink, SinkConfig, SinkError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Takes rows and keeps nothing, to see what the rest of a pipeline does, and how fast.
///
/// Its rows count as delivered, in the metrics and at the end of a run.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackhole {
    /// How long a delivery takes, to see what a slow sink does to the rest. Default: `"0ms"`. Example: `"5ms"`.
    #[serde(default = "no_wait")]
    pub wait: Age,
}

fn no_wait() -> Age {
    Age::millis(0)
}

impl Config for Blackhole {
    const TYPE: &'static str = "blackhole";
}

#[async_trait]
impl SinkConfig for Blackhole {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(*self))
    }
}

#[async_trait]
impl Sink for Blackhole {
    async fn begin(&self, _id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        Ok(Box::new(*self))
    }
}

#[async_trait]
impl Draft for Blackhole {
    async fn stage(&mut self, _rows: RecordBatch) -> Result<Refused, SinkError> {
        Ok(Refused::new())
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        if !self.wait.duration().is_zero() {
            tokio::time::sleep(self.wait.duration()).await;
        }
        Ok(Refused::new())
    }
}

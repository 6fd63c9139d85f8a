//! What the pipelines of these tests are made of.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::plan::{Input, OnRefused, PlannedSink, PlannedSource, Port, Retry};
use forebay_api::{Age, Batch, BoxError, Deliver, Plan, Promise, Sink, SinkConfig, SourceConfig, whole};
use forebay_state::MemoryStore;
use tokio_util::sync::CancellationToken;

use crate::{Counters, Options};

/// Columns of numbers.
pub fn numbers(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|it| Field::new(*it, DataType::Int64, false)).collect::<Vec<_>>()))
}

/// A sink that gives whole deliveries to a server.
#[derive(Clone)]
pub struct To<Server>(pub Server);

#[async_trait]
impl<Server: Deliver + Clone + 'static> SinkConfig for To<Server> {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(whole(self.0.clone()))
    }
}

pub fn source(name: &str, config: impl SourceConfig + 'static) -> PlannedSource {
    PlannedSource {
        name: name.into(),
        kind: "fake".into(),
        schema: config.schema().unwrap(),
        config: Arc::new(config),
        on_refused: OnRefused::Stop,
        fingerprint: String::new(),
    }
}

/// A sink that reads these nodes, all of which have the same columns.
pub fn sink(name: &str, inputs: &[&str], columns: SchemaRef, config: impl SinkConfig + 'static) -> PlannedSink {
    PlannedSink {
        name: name.into(),
        kind: "fake".into(),
        inputs: inputs.iter().map(|it| rows_of(it)).collect(),
        config: Arc::new(config),
        input: columns,
        batch: Batch::default(),
        retry: Retry::default(),
        in_flight_max: 1,
        on_refused: OnRefused::Stop,
        fingerprint: String::new(),
    }
}

/// The rows of a node.
pub fn rows_of(node: &str) -> Input {
    Input { node: node.into(), port: Port::Rows }
}

/// A pipeline without transforms, which drains for ten seconds.
pub fn plan(sources: Vec<PlannedSource>, sinks: Vec<PlannedSink>) -> Plan {
    Plan {
        name: "fake".into(),
        version: "v".into(),
        sources,
        transforms: vec![],
        sinks,
        dead_letters: None,
        state: "never-written".into(),
        drain_max: Age::seconds(10),
    }
}

/// A run of its own, with nothing known before.
pub fn options(plan: &Plan) -> Options {
    Options {
        store: Arc::new(MemoryStore::default()),
        letters: None,
        stop: CancellationToken::new(),
        counters: Arc::new(Counters::new(plan)),
        workers: 1,
        jitter_seed: 0,
        abandon_pending: false,
    }
}

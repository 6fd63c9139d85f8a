//! What a process knows of partitions that it has read alone, when it begins to share them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use expect_test::expect;
use forebay_api::{
    BoxError, Claims, Deliver, DeliveryId, Partition, Position, Resume, SinkError, Source, SourceConfig,
};
use forebay_state::{Advance, Change, LogKey, MemoryStore, Store};

use super::fakes::{self, To, numbers, options};
use crate::handover::SHARED;
use crate::{Options, run};

/// Writes down what it is told, and goes no further.
#[derive(Clone, Default)]
struct Spy(Arc<Mutex<String>>);

#[async_trait]
impl SourceConfig for Spy {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(numbers(&["id"]))
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Err("only claims open it".into())
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn claims(
        &self,
        _pipeline: &str,
        alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        *self.0.lock().unwrap() = alone.iter().map(|(partition, at)| format!("{partition}: {at}\n")).collect();
        Err("that is all".into())
    }
}

#[derive(Clone)]
struct Nowhere;

#[async_trait]
impl Deliver for Nowhere {
    async fn deliver(
        &self,
        _id: &DeliveryId,
        _rows: &[arrow_array::RecordBatch],
    ) -> Result<Vec<(u64, String)>, SinkError> {
        Ok(Vec::new())
    }
}

/// Scenario: two sinks have partitions of a source as far as this process has read them alone; one of the partitions it has
/// claimed since; others are those of another source. Then the source is shared.
/// Guarantees: it is told where the slower sink stands, of what was read alone and was not claimed.
#[tokio::test]
async fn what_was_read_alone_is_told() {
    let spy = Spy::default();
    let sinks = vec![fakes::sink("a", &["cdn"], numbers(&["id"]), To(Nowhere))];
    let plan = fakes::plan(vec![fakes::source("cdn", spy.clone())], sinks);
    let store = Arc::new(MemoryStore::default());
    for (sink, source, partition, to) in [
        ("a", "cdn", "1", Position::row(5)),
        ("b", "cdn", "1", Position::row(3)),
        ("a", "cdn", "2", Position::End),
        ("b", "cdn", "2", Position::End),
        ("a", "cdn", "3", Position::row(7)),
        (SHARED, "cdn", "3", Position::End),
        ("b", "cdn", "", Position::End),
        ("a", "other", "4", Position::row(1)),
    ] {
        let key = LogKey { sink: sink.into(), source: source.into(), partition: partition.into() };
        let advance = vec![Advance { key, from: Position::Start, to }];
        store.apply(Change { advance, ..Change::default() }).await.unwrap();
    }
    let ran = run(&plan, Options { store, ..options(&plan) }).await;
    assert_eq!(forebay_api::causes(&ran.unwrap_err()), "`cdn` could not be joined: that is all");
    expect![[r#"
        1: 3
        2: end
    "#]]
    .assert_eq(&spy.0.lock().unwrap());
}

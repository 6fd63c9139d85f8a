//! A source whose partitions are shared, and of which one process gets all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::plan::PlannedSink;
use forebay_api::{
    Batch, BoxError, Claim, ClaimError, Claims, Kept, Partition, Plan, Position, Resume, SinkConfig, Source,
    SourceConfig,
};

use super::fakes;

/// Opens the log of a partition by its number.
pub type OpenLog = Arc<dyn Fn(i64, Resume) -> Box<dyn Source> + Send + Sync>;

/// What processes leave to each other, by partition.
pub type Register = Arc<Mutex<BTreeMap<Partition, Kept>>>;

/// Partitions of a source, all of them for this process.
#[derive(Clone)]
pub struct Shared {
    pub partitions: Vec<i64>,
    pub schema: SchemaRef,
    pub register: Register,
    pub log: OpenLog,
}

#[async_trait]
impl SourceConfig for Shared {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(self.schema.clone())
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
        _alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Claims for Shared {
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError> {
        let Some(number) = self.partitions.pop() else { return Ok(None) };
        let partition = Partition::from(number.to_string().as_str());
        let kept = self.register.lock().unwrap().get(&partition).cloned().unwrap_or_default();
        let (register, log) = (self.register.clone(), self.log.clone());
        Ok(Some(Box::new(Claimed { register, log, number, partition, kept })))
    }

    async fn leave(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Claimed {
    register: Register,
    log: OpenLog,
    number: i64,
    partition: Partition,
    kept: Kept,
}

#[async_trait]
impl Claim for Claimed {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError> {
        let kept = Kept { state: Some(state.to_vec()), committed: Some(committed.clone()) };
        self.register.lock().unwrap().insert(self.partition.clone(), kept);
        Ok(())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Ok((self.log)(self.number, resume))
    }

    async fn wanted(&self) {
        std::future::pending().await
    }

    async fn lost(&self) {
        std::future::pending().await
    }

    async fn release(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The source and one sink.
pub fn plan(source: Shared, sink: impl SinkConfig + 'static, batch: Batch, in_flight_max: usize) -> Plan {
    let sink = fakes::sink("server", &["logs"], source.schema.clone(), sink);
    fakes::plan(vec![fakes::source("logs", source)], vec![PlannedSink { batch, in_flight_max, ..sink }])
}

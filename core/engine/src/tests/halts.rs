//! What a sink that is down does not hold up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, Claim, ClaimError, Claims, Deliver, DeliveryId, Kept, Partition, Plan, Position, Read, Resume, SinkError,
    Source, SourceConfig, Span,
};
use forebay_state::{Change, MemoryStore, Pending, SourceSpan, Store};
use tokio::time::Instant;

use super::fakes::{self, To, numbers, options};
use crate::{Ending, Options, run};

/// Gives one row, and then nothing, or an error after so many seconds.
#[derive(Clone)]
struct Log {
    fails_after: Option<u64>,
    is_shared: bool,
    story: Story,
}

/// What was done to the claims, and when.
#[derive(Clone)]
struct Story {
    begun: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Story {
    fn new() -> Self {
        Self { begun: Instant::now(), lines: Arc::default() }
    }

    fn tell(&self, what: &str) {
        self.lines.lock().unwrap().push(format!("{what} after {} s", self.begun.elapsed().as_secs()));
    }
}

fn schema() -> SchemaRef {
    numbers(&["id"])
}

#[async_trait]
impl SourceConfig for Log {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(schema())
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(Reading { log: self.clone(), read: 0 }))
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn claims(
        &self,
        _pipeline: &str,
        _alone: &BTreeMap<Partition, Position>,
    ) -> Result<Box<dyn Claims>, BoxError> {
        Ok(Box::new(OneClaim(Some(self.clone()), self.story.clone())))
    }
}

struct Reading {
    log: Log,
    read: u64,
}

#[async_trait]
impl Source for Reading {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        if self.read > 0 {
            match self.log.fails_after {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
            return Err("it is gone".into());
        }
        self.read = 1;
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![1]))])?;
        Ok(Some(Read::counted("log", 0, rows)))
    }
}

/// Hands out the one partition, once.
struct OneClaim(Option<Log>, Story);

#[async_trait]
impl Claims for OneClaim {
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError> {
        match self.0.take() {
            Some(log) => Ok(Some(Box::new(Held { log, partition: "log".into(), kept: Kept::default() }))),
            None => std::future::pending().await,
        }
    }

    fn enough(&mut self) {
        self.1.tell("enough");
    }

    async fn leave(&mut self) -> Result<(), BoxError> {
        self.1.tell("left");
        Ok(())
    }
}

struct Held {
    log: Log,
    partition: Partition,
    kept: Kept,
}

#[async_trait]
impl Claim for Held {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }

    async fn keep(&self, _state: &[u8], _committed: &Position) -> Result<(), ClaimError> {
        Ok(())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        SourceConfig::open(&self.log, resume).await
    }

    async fn wanted(&self) {
        std::future::pending().await
    }

    async fn lost(&self) {
        std::future::pending().await
    }

    async fn release(&self) -> Result<(), BoxError> {
        self.log.story.tell("released");
        Ok(())
    }
}

/// A server.
#[derive(Clone, Copy)]
struct Server {
    is_up: bool,
}

#[async_trait]
impl Deliver for Server {
    async fn deliver(&self, _id: &DeliveryId, _rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        if self.is_up { Ok(Vec::new()) } else { Err(SinkError::Retry("connection refused".into())) }
    }
}

/// Every sink reads every source.
fn plan(sources: Vec<(&str, Log)>, sinks: &[(&str, bool)]) -> Plan {
    let inputs: Vec<&str> = sources.iter().map(|it| it.0).collect();
    let sink = |(name, is_up): &(&str, bool)| fakes::sink(name, &inputs, schema(), To(Server { is_up: *is_up }));
    let sinks = sinks.iter().map(sink).collect();
    fakes::plan(sources.into_iter().map(|(name, log)| fakes::source(name, log)).collect(), sinks)
}

/// Scenario: a source of this process alone and one that is shared feed a sink that is down for ever; five seconds after
/// the start one of them cannot be read any more.
/// Guarantees: nothing more is claimed from then on; the run ends with the source's error when the time to drain is
/// over, and has left those who share.
#[tokio::test(start_paused = true)]
async fn one_part_fails_and_the_others_cannot_drain() {
    for fails in ["own", "shared"] {
        let story = Story::new();
        let log =
            |name| Log { fails_after: (name == fails).then_some(5), is_shared: name == "shared", story: story.clone() };
        let plan = plan(vec![("own", log("own")), ("shared", log("shared"))], &[("down", false)]);
        let ran = tokio::time::timeout(Duration::from_secs(24 * 3600), run(&plan, options(&plan))).await;
        let error = ran.expect("it ends").expect_err("it says what failed");
        assert_eq!(forebay_api::causes(&error), format!("`{fails}` could not read: it is gone"));
        assert_eq!(*story.lines.lock().unwrap(), ["enough after 5 s", "left after 15 s"], "{fails}");
    }
}

/// Scenario: a crash has left a delivery open for each of two sinks, and the first of them is down.
/// Guarantees: the other one gets its delivery all the same.
#[tokio::test(start_paused = true)]
async fn one_sink_is_down_and_the_other_is_rebuilt() {
    let log = Log { fails_after: None, is_shared: false, story: Story::new() };
    let plan = plan(vec![("own", log)], &[("down", false), ("up", true)]);
    let store = Arc::new(MemoryStore::default());
    let span = Span::new("log", Position::Start, Position::row(1));
    for sink in ["down", "up"] {
        let pending = Pending {
            sink: sink.into(),
            number: 0,
            id: DeliveryId::derive("halts", sink, "", "own", &span),
            fingerprint: String::new(),
            spans: vec![SourceSpan { source: "own".into(), span: span.clone() }],
            rows: 1,
            intended: None,
            settled: false,
        };
        store.apply(Change { intend: Some(pending), ..Change::default() }).await.unwrap();
    }
    let options = Options { store: store.clone(), ..options(&plan) };
    let stop = options.stop.clone();
    let hour = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        stop.cancel();
    };
    assert_eq!(tokio::join!(run(&plan, options), hour).0.unwrap(), Ending::DrainCut);
    let left: Vec<(String, u64)> = store.snapshot().pending.into_keys().collect();
    assert_eq!(left, [("down".to_owned(), 0)]);
}

//! What the engine makes of sources: that end, that are stopped, that fail, that bring less than before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, Deliver, DeliveryId, Position, Positions, Read, Resume, SinkError, Source, SourceConfig, Span,
};
use forebay_state::MemoryStore;

use super::fakes::{self, To, numbers, options};
use crate::{Ending, Options, RunError, run};

/// A log of two rows.
#[derive(Clone, Default)]
struct Log {
    /// What comes after them.
    then: Then,
    /// How many of them have expired when they are read again.
    expired: usize,
    closed: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Default)]
enum Then {
    #[default]
    End,
    Nothing,
    Failure,
}

fn schema() -> SchemaRef {
    numbers(&["id"])
}

#[async_trait]
impl SourceConfig for Log {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(schema())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let is_replay = matches!(resume, Resume::Exactly(_));
        let is_done = !is_replay && resume != Resume::start();
        Ok(Box::new(Reading { log: self.clone(), is_replay, is_done }))
    }
}

struct Reading {
    log: Log,
    is_replay: bool,
    is_done: bool,
}

#[async_trait]
impl Source for Reading {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        if std::mem::replace(&mut self.is_done, true) {
            return match self.log.then {
                Then::End => Ok(None),
                Then::Nothing => std::future::pending().await,
                Then::Failure => Err("it is gone".into()),
            };
        }
        let gone = if self.is_replay { self.log.expired } else { 0 };
        let ids = &[1, 2][gone..];
        let position = |id: &i64| Position::sequence(&id.to_string(), 1).expect("it is a number");
        Ok(Some(Read {
            span: Span::new("log", Position::Start, position(&2)),
            rows: RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(ids.to_vec()))])?,
            positions: Positions::Listed(ids.iter().map(position).collect()),
            refused: Vec::new(),
        }))
    }

    async fn close(&mut self) {
        // It takes its time.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.log.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that takes rows, or never says whether it has.
#[derive(Clone, Copy)]
struct Server {
    answers: bool,
}

#[async_trait]
impl Deliver for Server {
    async fn deliver(&self, _id: &DeliveryId, _rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        if self.answers { Ok(Vec::new()) } else { std::future::pending().await }
    }
}

/// Runs a pipeline for so many seconds, and then stops it; `None`: it is killed in the middle.
async fn run_for(seconds: u64, log: &Log, answers: bool, store: &Arc<MemoryStore>) -> Option<Result<Ending, RunError>> {
    let sink = fakes::sink("server", &["log"], schema(), To(Server { answers }));
    let plan = fakes::plan(vec![fakes::source("log", log.clone())], vec![sink]);
    let options = Options { store: store.clone(), ..options(&plan) };
    let stop = options.stop.clone();
    let running = run(&plan, options);
    tokio::pin!(running);
    if let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), &mut running).await {
        return Some(ended);
    }
    if answers {
        stop.cancel();
        return Some(running.await);
    }
    None
}

/// Scenario: a source whose input ends; one that is stopped; one that fails; one that is killed.
/// Guarantees: in the first two cases it is closed, once, and that is waited for; in the others it is not.
#[tokio::test(start_paused = true)]
async fn a_source_is_closed_in_good_order() {
    for (then, answers, closed) in
        [(Then::End, true, 1), (Then::Nothing, true, 1), (Then::Failure, true, 0), (Then::Nothing, false, 0)]
    {
        let log = Log { then, ..Log::default() };
        let ended = run_for(60, &log, answers, &Arc::default()).await;
        assert_eq!(ended.is_some_and(|it| it.is_ok()), closed == 1);
        assert_eq!(log.closed.load(Ordering::Relaxed), closed);
    }
}

/// Scenario: two rows are on their way to a sink when the process is killed. When they are read again all are there; or the
/// first of them has expired from its log, or both have, and the source gives what is left of the stretch.
/// Guarantees: they are delivered in the first case; in the others the run ends with an error that says how many are missing.
#[tokio::test(start_paused = true)]
async fn a_replay_that_brings_fewer_rows() {
    for (expired, left) in [(0, None), (1, Some(1)), (2, Some(0))] {
        let (log, store) = (Log { expired, ..Log::default() }, Arc::default());
        assert!(run_for(60, &log, false, &store).await.is_none());
        let ended = run_for(60, &log, true, &store).await.expect("it ends");
        match left {
            None => assert_eq!(ended.expect("all rows are there"), Ending::InputEnded),
            Some(left) => {
                let told = forebay_api::causes(&ended.expect_err("rows are missing"));
                assert!(told.starts_with("`server` could not rebuild a delivery: of the 2 rows that `"), "{told}");
                assert!(told.ends_with(&format!("` had, {left} could be read again")), "{told}");
            }
        }
    }
}

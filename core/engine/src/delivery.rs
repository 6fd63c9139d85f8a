//! One delivery: filled, intended, made visible.

use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use forebay_api::plan::{OnRefused, Retry};
use forebay_api::{BoxError, Deliver, DeliveryId, Draft, Partition, Position, Refused, RefusedRow, Sink, SinkError};
use forebay_state::SourceSpan;
use tokio::time::Instant;

use crate::RunError;
use crate::counters::{NodeCounters, add};
use crate::flow::{Places, Share, batch_bytes};
use crate::letters;
use crate::rules::{self, Fill};

/// What every delivery of a sink has in common.
pub(crate) struct SinkSide {
    pub pipeline: String,
    pub name: String,
    pub sink: Box<dyn Sink>,
    pub retry: Retry,
    pub on_refused: OnRefused,
    /// Where rows go that the sink refuses.
    pub letters: Option<Arc<dyn Deliver>>,
    /// Spreads the waits of several processes that failed together.
    pub jitter_seed: u64,
}

/// A delivery in the making, or on its way.
pub(crate) struct Delivery {
    pub number: u64,
    pub id: DeliveryId,
    /// What was joined so far, in order; what follows without a gap is one span.
    pub joined: Vec<SourceSpan>,
    pub rows: u64,
    bytes: u64,
    /// How many spans were joined, neighbours counted apart.
    spans: usize,
    begun: Instant,
    /// Whether it may have been made before, by a process that ended in the middle.
    again: bool,
    /// `None` as long as there is no row.
    draft: Option<Box<dyn Draft>>,
    places: Vec<Staged>,
    refused: u64,
    /// Letters about rows that the sink refused, as batches of [`forebay_api::plan::letter_schema`].
    letters: Vec<RecordBatch>,
}

/// Where staged rows came from.
struct Staged {
    /// The number of the first of them in the draft.
    first: u64,
    source: Arc<str>,
    partition: Partition,
    places: Places,
}

impl Delivery {
    /// A delivery with nothing in it.
    pub fn new(number: u64, id: DeliveryId) -> Self {
        Self {
            number,
            id,
            joined: Vec::new(),
            rows: 0,
            bytes: 0,
            spans: 0,
            begun: Instant::now(),
            again: false,
            draft: None,
            places: Vec::new(),
            refused: 0,
            letters: Vec::new(),
        }
    }

    /// One that may have been made before: nothing is in it yet, either.
    pub fn again(number: u64, id: DeliveryId) -> Self {
        Self { again: true, ..Self::new(number, id) }
    }

    /// How full it is.
    pub fn fill(&self) -> Fill {
        let Self { rows, bytes, spans, refused, .. } = *self;
        let full = self.draft.as_ref().is_some_and(|it| it.is_full());
        Fill { rows, bytes, spans, refused, full, age: self.begun.elapsed() }
    }

    /// Joins a share: stages its rows, and takes its span over.
    pub async fn join(&mut self, side: &SinkSide, counters: &NodeCounters, share: Share) -> Result<(), RunError> {
        if self.rows == 0 && share.row_count() > 0 {
            // Spans without rows may have waited for long; the rows have not.
            self.begun = Instant::now();
        }
        self.bytes += share.byte_count();
        self.spans += 1;
        for (rows, places) in share.rows {
            let staged = Staged {
                first: self.rows,
                source: share.source.clone(),
                partition: share.span.partition.clone(),
                places,
            };
            self.places.push(staged);
            self.rows += rows.num_rows() as u64;
            let draft = match &mut self.draft {
                Some(draft) => draft,
                None => {
                    let begin = || match self.again {
                        true => side.sink.begin_again(&self.id),
                        false => side.sink.begin(&self.id),
                    };
                    let begun = retrying(side, counters, "could not begin a delivery", begin).await?;
                    self.draft.insert(begun)
                }
            };
            let refused = retry_stage(side, counters, draft.as_mut(), &rows).await?;
            self.take_refused(side, &refused)?;
        }
        match self.joined.last_mut() {
            Some(SourceSpan { source, span })
                if **source == *share.source
                    && span.partition == share.span.partition
                    && span.to == share.span.from =>
            {
                span.to = share.span.to;
            }
            _ => self.joined.push(SourceSpan { source: share.source.to_string(), span: share.span }),
        }
        Ok(())
    }

    /// Makes the delivery visible, however long that takes, and keeps what was refused.
    pub async fn commit(&mut self, side: &SinkSide, counters: &NodeCounters) -> Result<(), RunError> {
        let Some(mut draft) = self.draft.take() else { return Ok(()) };
        let mut failures = 0;
        loop {
            match draft.commit().await {
                Ok(refused) => {
                    self.take_refused(side, &refused)?;
                    break;
                }
                Err(error) => side.wait(counters, "could not deliver", &mut failures, error).await?,
            }
        }
        if !self.letters.is_empty() {
            // They are durable before the delivery may count as delivered, under an id that is the same after a crash.
            let begins = &self.joined[0];
            let id = DeliveryId::derive(&side.pipeline, &side.name, self.id.as_str(), &begins.source, &begins.span);
            let letters = std::mem::take(&mut self.letters);
            let directory = side.letters.as_ref().expect("letters are made only where they can be kept");
            let keep = || directory.deliver(&id, &letters);
            retrying(side, counters, "could not keep dead letters", keep).await?;
        }
        add(&counters.rows_out, self.rows - self.refused);
        add(&counters.refused, self.refused);
        add(&counters.deliveries, 1);
        Ok(())
    }

    /// Writes letters about refused rows; the rows themselves are let go.
    fn take_refused(&mut self, side: &SinkSide, refused: &Refused) -> Result<(), RunError> {
        let Some(first) = refused.first() else { return Ok(()) };
        if side.letters.is_none() || side.on_refused == OnRefused::Stop {
            let (staged, position) = self.place(first.row);
            let what = format!("row {position} of `{}/{}`: {}", staged.source, staged.partition, first.why);
            return Err(RunError::new(&side.name, "refused a row, and `on_refused` says stop", what.into()));
        }
        // What lies together in the source has its place in common.
        let staged = |it: &RefusedRow| self.places.partition_point(|staged| staged.first <= it.row);
        let mut letters = Vec::new();
        for together in refused.chunk_by(|a, b| staged(a) == staged(b)) {
            let (Staged { source, partition, .. }, _) = self.place(together[0].row);
            let place = letters::Place { pipeline: &side.pipeline, source, partition };
            let refused = together.iter().map(|it| (&it.payload, self.place(it.row).1, it.why.as_str()));
            letters.push(letters::of_sink(&place, &side.name, refused));
        }
        self.bytes += letters.iter().map(batch_bytes).sum::<u64>();
        self.letters.extend(letters);
        self.refused += refused.len() as u64;
        Ok(())
    }

    /// Where the `row`th staged row stands in its source.
    fn place(&self, row: u64) -> (&Staged, Position) {
        let staged = &self.places[self.places.partition_point(|it| it.first <= row) - 1];
        (staged, staged.places.position((row - staged.first) as usize))
    }
}

async fn retry_stage(
    side: &SinkSide,
    counters: &NodeCounters,
    draft: &mut dyn Draft,
    rows: &RecordBatch,
) -> Result<Refused, RunError> {
    let mut failures = 0;
    loop {
        match draft.stage(rows.clone()).await {
            Ok(refused) => return Ok(refused),
            Err(error) => side.wait(counters, "could not stage rows", &mut failures, error).await?,
        }
    }
}

/// Tries until it works or cannot.
async fn retrying<'a, T>(
    side: &SinkSide,
    counters: &NodeCounters,
    doing: &str,
    work: impl Fn() -> Attempt<'a, T>,
) -> Result<T, RunError> {
    let mut failures = 0;
    loop {
        match work().await {
            Ok(value) => return Ok(value),
            Err(error) => side.wait(counters, doing, &mut failures, error).await?,
        }
    }
}

/// One try, as the traits' methods return it.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

impl SinkSide {
    /// Waits before the next try, or gives the error back if waiting does not help.
    async fn wait(
        &self,
        counters: &NodeCounters,
        doing: &str,
        failures: &mut u32,
        error: SinkError,
    ) -> Result<(), RunError> {
        let error: BoxError = match error {
            SinkError::Stop(error) => return Err(RunError::new(&self.name, doing, error)),
            SinkError::Retry(error) => error,
        };
        let wait = rules::back_off(*failures, &self.retry, self.jitter(*failures));
        *failures += 1;
        add(&counters.retries, 1);
        let causes = crate::causes(error.as_ref());
        tracing::warn!(sink = self.name, tries = *failures, wait_ms = wait.as_millis() as u64, "{doing}: {causes}");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Between 0 and 1; the same for the same seed, sink and try.
    fn jitter(&self, failures: u32) -> f64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(self.jitter_seed);
        hasher.update(self.name.as_bytes());
        hasher.update(&failures.to_le_bytes());
        hasher.digest() as f64 / u64::MAX as f64
    }
}

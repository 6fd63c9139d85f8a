//! One delivery: filled, intended, made visible.

use std::collections::BTreeSet;
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
    pub version: String,
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
    /// The rows of `places`, if they may have to go to the dead letters.
    rows_kept: Vec<RecordBatch>,
    /// Why it is not tried any more, once that is so.
    given_up: Option<String>,
    refused: u64,
    /// The numbers of the rows that the sink refused, if the others may have to follow them.
    refused_kept: BTreeSet<u64>,
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
            rows_kept: Vec::new(),
            given_up: None,
            refused: 0,
            refused_kept: BTreeSet::new(),
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
            if side.retry.has_limit() {
                self.rows_kept.push(rows.clone());
            }
            if self.given_up.is_none() {
                match self.stage(side, counters, rows).await {
                    Ok(refused) => self.take_refused(side, &refused)?,
                    Err(halt) => self.given_up = Some(halt.reason()?),
                }
            }
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
        if self.rows == 0 {
            return Ok(());
        }
        if let (None, Some(mut draft)) = (&self.given_up, self.draft.take()) {
            let mut tries = Tries::new();
            let committed = loop {
                match draft.commit().await {
                    Ok(refused) => break Ok(refused),
                    Err(error) => match side.wait(counters, "could not deliver", &mut tries, error).await {
                        Ok(()) => {}
                        Err(halt) => break Err(halt),
                    },
                }
            };
            match committed {
                Ok(refused) => self.take_refused(side, &refused)?,
                Err(halt) => self.given_up = Some(halt.reason()?),
            }
        }
        if let Some(why) = self.given_up.take() {
            self.take_all_refused(side, &why)?;
        }
        if !self.letters.is_empty() {
            // They are durable before the delivery may count as delivered, under an id that is the same after a crash.
            let begins = &self.joined[0];
            let id = DeliveryId::derive(&side.pipeline, &side.name, self.id.as_str(), &begins.source, &begins.span);
            let letters = std::mem::take(&mut self.letters);
            let directory = side.letters.as_ref().expect("letters are made only where they can be kept");
            let keep = || directory.deliver(&id, &letters);
            let kept = retrying(side, counters, "could not keep dead letters", Limit::None, keep).await;
            kept.map_err(Halt::unlimited)?;
        }
        add(&counters.rows_out, self.rows - self.refused);
        add(&counters.refused, self.refused);
        add(&counters.deliveries, 1);
        Ok(())
    }

    /// Hands rows to the draft, which is begun if need be.
    async fn stage(&mut self, side: &SinkSide, counters: &NodeCounters, rows: RecordBatch) -> Result<Refused, Halt> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            None => {
                let begin = || match self.again {
                    true => side.sink.begin_again(&self.id),
                    false => side.sink.begin(&self.id),
                };
                let begun = retrying(side, counters, "could not begin a delivery", Limit::OfSink, begin).await?;
                self.draft.insert(begun)
            }
        };
        let mut tries = Tries::new();
        loop {
            match draft.stage(rows.clone()).await {
                Ok(refused) => return Ok(refused),
                Err(error) => side.wait(counters, "could not stage rows", &mut tries, error).await?,
            }
        }
    }

    /// Writes letters about all rows that the sink has not refused before: it is not tried any more.
    fn take_all_refused(&mut self, side: &SinkSide, why: &str) -> Result<(), RunError> {
        self.draft = None;
        let rows = std::mem::take(&mut self.rows_kept);
        let each = rows.iter().flat_map(|rows| (0..rows.num_rows()).map(|row| rows.slice(row, 1)));
        let rest = each.zip(0..).filter(|(_, row)| !self.refused_kept.contains(row));
        let rest = rest.map(|(payload, row)| RefusedRow { row, payload, why: why.to_owned() }).collect();
        self.take_refused(side, &rest)
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
            let (pipeline, version) = (&*side.pipeline, &*side.version);
            let place = letters::Place { pipeline, version, source, partition };
            let refused = together.iter().map(|it| (&it.payload, self.place(it.row).1, it.why.as_str()));
            letters.push(letters::of_sink(&place, &side.name, refused));
        }
        self.bytes += letters.iter().map(batch_bytes).sum::<u64>();
        self.letters.extend(letters);
        self.refused += refused.len() as u64;
        if side.retry.has_limit() {
            self.refused_kept.extend(refused.iter().map(|it| it.row));
        }
        Ok(())
    }

    /// Where the `row`th staged row stands in its source.
    fn place(&self, row: u64) -> (&Staged, Position) {
        let staged = &self.places[self.places.partition_point(|it| it.first <= row) - 1];
        (staged, staged.places.position((row - staged.first) as usize))
    }
}

/// Why a step of a delivery is not tried again.
enum Halt {
    /// Waiting does not help: the run ends.
    Failed(RunError),
    /// The sink's limit is reached, for this reason: the rows go to the dead letters.
    GivenUp(String),
}

impl Halt {
    /// Why it was given up, if it was.
    fn reason(self) -> Result<String, RunError> {
        match self {
            Self::Failed(error) => Err(error),
            Self::GivenUp(why) => Ok(why),
        }
    }

    /// Where there is no limit, there is only failure.
    fn unlimited(self) -> RunError {
        match self {
            Self::Failed(error) => error,
            Self::GivenUp(why) => unreachable!("given up without a limit: {why}"),
        }
    }
}

/// Failures in a row.
struct Tries {
    failures: u32,
    since: Instant,
    limit: Limit,
}

/// Which limit holds.
#[derive(Clone, Copy)]
enum Limit {
    /// That of the sink, if it has one.
    OfSink,
    /// None: nothing can be done with the rows instead.
    None,
}

impl Tries {
    fn new() -> Self {
        Self { failures: 0, since: Instant::now(), limit: Limit::OfSink }
    }
}

/// Tries until it works or cannot.
async fn retrying<'a, T>(
    side: &SinkSide,
    counters: &NodeCounters,
    doing: &str,
    limit: Limit,
    work: impl Fn() -> Attempt<'a, T>,
) -> Result<T, Halt> {
    let mut tries = Tries { limit, ..Tries::new() };
    loop {
        match work().await {
            Ok(value) => return Ok(value),
            Err(error) => side.wait(counters, doing, &mut tries, error).await?,
        }
    }
}

/// One try, as the traits' methods return it.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

impl SinkSide {
    /// Waits before the next try, or gives the error back if waiting does not help, or has not helped for too long.
    async fn wait(
        &self,
        counters: &NodeCounters,
        doing: &str,
        tries: &mut Tries,
        error: SinkError,
    ) -> Result<(), Halt> {
        let error: BoxError = match error {
            SinkError::Stop(error) => return Err(Halt::Failed(RunError::new(&self.name, doing, error))),
            SinkError::Retry(error) => error,
        };
        let wait = rules::back_off(tries.failures, &self.retry, self.jitter(tries.failures));
        tries.failures += 1;
        let causes = crate::causes(error.as_ref());
        if matches!(tries.limit, Limit::OfSink)
            && rules::is_given_up(&self.retry, tries.failures, tries.since.elapsed() + wait)
        {
            let why = format!("given up after {} tries: {doing}: {causes}", tries.failures);
            tracing::error!(sink = self.name, "{why}; the rows of this delivery go to the dead letters");
            return Err(Halt::GivenUp(why));
        }
        add(&counters.retries, 1);
        let wait_ms = wait.as_millis() as u64;
        tracing::warn!(sink = self.name, tries = tries.failures, wait_ms, "{doing}: {causes}");
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

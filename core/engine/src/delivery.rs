//! One delivery: filled, intended, made visible.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use forebay_api::plan::{OnRefused, Retry};
use forebay_api::{BoxError, Deliver, DeliveryId, Draft, Partition, Position, Refused, Sink, SinkError, causes};
use forebay_state::SourceSpan;
use tokio::time::Instant;

use crate::RunError;
use crate::counters::{NodeCounters, add};
use crate::flow::{Places, Share, batch_bytes};
use crate::letters;
use crate::rules::{self, Fill, REFUSED_MAX};
use crate::waiting::Waits;

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
    /// From the first row on.
    waits: Option<Waits>,
    /// Whether it may have been made before, by a process that ended in the middle.
    again: bool,
    /// When that process was about to make it visible, if that is known.
    intended: Option<SystemTime>,
    /// `None` as long as there is no row.
    draft: Option<Box<dyn Draft>>,
    places: Vec<Staged>,
    /// The rows of `places`, if they may have to go to the dead letters.
    rows_kept: Vec<RecordBatch>,
    /// Why it is not tried any more, once that is so.
    given_up: Option<String>,
    refused: u64,
    /// The numbers of the rows that the sink refused, and why, if the others may have to follow them.
    refused_kept: BTreeMap<u64, String>,
    /// Letters about rows that the sink refused, as batches of [`forebay_api::plan::letter_schema`].
    letters: Vec<RecordBatch>,
}

/// A staged row that is refused.
struct RefusedAt<'a> {
    /// Its number among the staged rows.
    number: u64,
    /// It is row `row` of these.
    rows: &'a RecordBatch,
    row: usize,
    why: &'a str,
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
            waits: None,
            again: false,
            intended: None,
            draft: None,
            places: Vec::new(),
            rows_kept: Vec::new(),
            given_up: None,
            refused: 0,
            refused_kept: BTreeMap::new(),
            letters: Vec::new(),
        }
    }

    /// One that may have been made before: nothing is in it yet, either.
    pub fn again(number: u64, id: DeliveryId, intended: Option<SystemTime>) -> Self {
        Self { again: true, intended, ..Self::new(number, id) }
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
            self.waits = Some(counters.waiting.begin());
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
                    Err(failure) => self.give_up(side, failure)?,
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

    /// Notes that its intent is about to be written down.
    pub fn intended(&mut self, now: SystemTime) {
        if let Some(draft) = &mut self.draft {
            draft.intended(now);
        }
    }

    /// Makes the delivery visible, however long that takes, and keeps what was refused.
    pub async fn commit(&mut self, side: &SinkSide, counters: &NodeCounters) -> Result<(), RunError> {
        if self.rows == 0 {
            return Ok(());
        }
        if let Some(mut draft) = self.draft.take() {
            let mut tries = Tries::new();
            let committed = loop {
                match draft.commit().await {
                    Ok(refused) => break Ok(refused),
                    Err(error) => {
                        match side.wait(counters, "could not deliver", &side.retry, &mut tries, error).await {
                            Ok(()) => {}
                            Err(failure) => break Err(failure),
                        }
                    }
                }
            };
            drop(draft);
            match committed {
                Ok(refused) => self.take_refused(side, &refused)?,
                Err(failure) => self.give_up(side, failure)?,
            }
        }
        if let Some(why) = self.given_up.take() {
            self.refuse_all(side, counters, &why).await?;
        } else if !self.letters.is_empty() {
            let letters = std::mem::take(&mut self.letters);
            self.keep(side, counters, 0, letters).await?;
        }
        add(&counters.rows_out, self.rows - self.refused);
        add(&counters.refused, self.refused);
        add(&counters.deliveries, 1);
        Ok(())
    }

    /// Hands rows to the draft, which is begun if need be.
    async fn stage(&mut self, side: &SinkSide, counters: &NodeCounters, rows: RecordBatch) -> Result<Refused, Failure> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            None => {
                let begin = || match self.again {
                    true => side.sink.begin_again(&self.id, self.intended),
                    false => side.sink.begin(&self.id),
                };
                let begun = retrying(side, counters, "could not begin a delivery", &side.retry, begin).await?;
                self.draft.insert(begun)
            }
        };
        let mut tries = Tries::new();
        loop {
            match draft.stage(rows.clone()).await {
                Ok(refused) => return Ok(refused),
                Err(error) => side.wait(counters, "could not stage rows", &side.retry, &mut tries, error).await?,
            }
        }
    }

    /// The sink is not tried any more: the rows go to the dead letters, if they may.
    fn give_up(&mut self, side: &SinkSide, failure: Failure) -> Result<(), RunError> {
        self.draft = None;
        let Some(tries) = failure.given_up_after.filter(|_| !side.stops_at_refusals()) else {
            return Err(failure.into_error(&side.name));
        };
        let why = format!("given up after {tries} tries: {}: {}", failure.doing, causes(failure.error.as_ref()));
        tracing::error!(sink = side.name, "{why}; the rows of this delivery go to the dead letters");
        self.given_up = Some(why);
        Ok(())
    }

    /// Writes letters about all rows, those that the sink has refused before with its own reason.
    ///
    /// Letters are larger than rows, so this is done for some rows at a time. Which ones are together follows from their
    /// numbers alone, and the first ones are where the letters of a delivery are otherwise: a second attempt after a
    /// crash writes over what the first one has left.
    async fn refuse_all(&mut self, side: &SinkSide, counters: &NodeCounters, why: &str) -> Result<(), RunError> {
        self.letters.clear();
        let rows = std::mem::take(&mut self.rows_kept);
        let refused = std::mem::take(&mut self.refused_kept);
        let each = rows.iter().flat_map(|rows| (0..rows.num_rows()).map(move |row| (rows, row)));
        let mut each = each.zip(0..).map(|((rows, row), number)| {
            let why = refused.get(&number).map_or(why, String::as_str);
            RefusedAt { number, rows, row, why }
        });
        for part in 0.. {
            let together: Vec<RefusedAt<'_>> = each.by_ref().take(REFUSED_MAX as usize).collect();
            if together.is_empty() {
                break;
            }
            let letters = self.letters_about(side, &together);
            self.keep(side, counters, part, letters).await?;
        }
        self.refused = self.rows;
        Ok(())
    }

    /// Makes letters durable before the delivery may count as delivered, under an id that is the same after a crash.
    async fn keep(
        &mut self,
        side: &SinkSide,
        counters: &NodeCounters,
        part: u64,
        letters: Vec<RecordBatch>,
    ) -> Result<(), RunError> {
        let begins = &self.joined[0];
        let of = match part {
            0 => self.id.to_string(),
            part => format!("{} {part}", self.id),
        };
        let id = DeliveryId::derive(&side.pipeline, &side.name, &of, &begins.source, &begins.span);
        let directory = side.letters.as_ref().expect("letters are made only where they can be kept");
        // Nothing can be done with the rows instead.
        let for_ever = Retry { tries_max: None, age_max: None, ..side.retry };
        let keep = || directory.deliver(&id, &letters);
        let kept = retrying(side, counters, "could not keep dead letters", &for_ever, keep).await;
        kept.map(drop).map_err(|failure| failure.into_error(&side.name))
    }

    /// Makes letters about rows that the sink refused; the rows themselves are let go.
    fn take_refused(&mut self, side: &SinkSide, refused: &Refused) -> Result<(), RunError> {
        let Some(first) = refused.first() else { return Ok(()) };
        if side.stops_at_refusals() {
            let (staged, position) = self.place(first.row);
            let what = format!("row {position} of `{}/{}`: {}", staged.source, staged.partition, first.why);
            return Err(RunError::new(&side.name, "refused a row, and `on_refused` says stop", what.into()));
        }
        let each = refused.iter().map(|it| RefusedAt { number: it.row, rows: &it.payload, row: 0, why: &it.why });
        let letters = self.letters_about(side, &each.collect::<Vec<_>>());
        self.bytes += letters.iter().map(batch_bytes).sum::<u64>();
        self.letters.extend(letters);
        self.refused += refused.len() as u64;
        if side.retry.has_limit() {
            self.refused_kept.extend(refused.iter().map(|it| (it.row, it.why.clone())));
        }
        Ok(())
    }

    /// Letters about refused rows.
    fn letters_about(&self, side: &SinkSide, refused: &[RefusedAt<'_>]) -> Vec<RecordBatch> {
        // What lies together in the source has its place in common.
        let staged = |it: &RefusedAt<'_>| self.places.partition_point(|staged| staged.first <= it.number);
        let together = refused.chunk_by(|a, b| staged(a) == staged(b));
        let letters = together.map(|refused| {
            let (Staged { source, partition, .. }, _) = self.place(refused[0].number);
            let (pipeline, version) = (&*side.pipeline, &*side.version);
            let place = letters::Place { pipeline, version, source, partition };
            let refused = refused.iter().map(|it| (it.rows, it.row, self.place(it.number).1, it.why));
            letters::of_sink(&place, &side.name, refused)
        });
        letters.collect()
    }

    /// Where a staged row stands in its source.
    fn place(&self, number: u64) -> (&Staged, Position) {
        let staged = &self.places[self.places.partition_point(|it| it.first <= number) - 1];
        (staged, staged.places.position((number - staged.first) as usize))
    }
}

/// A step of a delivery that is not tried again.
struct Failure {
    doing: &'static str,
    error: BoxError,
    /// After how many tries it was given up, as `retry` says. `None`: it does not pass by waiting.
    given_up_after: Option<u32>,
}

impl Failure {
    /// The end of the run.
    fn into_error(self, sink: &str) -> RunError {
        let Self { doing, error, given_up_after } = self;
        match given_up_after {
            None => RunError::new(sink, doing, error),
            Some(tries) => {
                let what = format!("{doing} and was given up after {tries} tries, and `on_refused` says stop");
                RunError::new(sink, &what, error).hint(
                    "the next start makes the delivery again; without a limit in `retry` it is tried for ever, and with \
                     `on_refused = \"dead_letters\"` its rows are kept there and the rest goes on",
                )
            }
        }
    }
}

/// Failures in a row.
struct Tries {
    failures: u32,
    since: Instant,
}

impl Tries {
    fn new() -> Self {
        Self { failures: 0, since: Instant::now() }
    }
}

/// Tries until it works, or cannot, or is given up.
async fn retrying<'a, T>(
    side: &SinkSide,
    counters: &NodeCounters,
    doing: &'static str,
    retry: &Retry,
    work: impl Fn() -> Attempt<'a, T>,
) -> Result<T, Failure> {
    let mut tries = Tries::new();
    loop {
        match work().await {
            Ok(value) => return Ok(value),
            Err(error) => side.wait(counters, doing, retry, &mut tries, error).await?,
        }
    }
}

/// One try, as the traits' methods return it.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

impl SinkSide {
    /// Whether a row that is refused ends the run.
    fn stops_at_refusals(&self) -> bool {
        self.letters.is_none() || self.on_refused == OnRefused::Stop
    }

    /// Waits before the next try, or gives the error back if waiting does not help, or has not helped for too long.
    async fn wait(
        &self,
        counters: &NodeCounters,
        doing: &'static str,
        retry: &Retry,
        tries: &mut Tries,
        error: SinkError,
    ) -> Result<(), Failure> {
        let error: BoxError = match error {
            SinkError::Stop(error) => return Err(Failure { doing, error, given_up_after: None }),
            SinkError::Retry(error) => error,
        };
        let wait = rules::back_off(tries.failures, retry, self.jitter(tries.failures));
        tries.failures += 1;
        if rules::is_given_up(retry, tries.failures, tries.since.elapsed() + wait) {
            return Err(Failure { doing, error, given_up_after: Some(tries.failures) });
        }
        add(&counters.retries, 1);
        let wait_ms = wait.as_millis() as u64;
        tracing::warn!(sink = self.name, tries = tries.failures, wait_ms, "{doing}: {}", causes(error.as_ref()));
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

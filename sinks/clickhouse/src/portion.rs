//! The rows of a delivery that go into one table: inserted range by range, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::RecordBatch;
use forebay_api::{DeliveryId, Refused, RefusedRow, SinkError};

use crate::block::{self, Block};
use crate::failure::{Failure, Kind, retry, stop};
use crate::pieces::{Found, Name, Next, Range, next, was_halved};
use crate::route::Share;
use crate::search::{Search, Unanswered};
use crate::slowly::Slowly;
use crate::sql;
use crate::table::{TOKEN, Table};
use crate::write::Shared;

/// How soon rows are sent after the delivery was intended; half of the least that leases may last. If it took longer, this
/// process may have stood still, and another one may have made the delivery: then it is looked for first.
pub(crate) const PROMPT: Duration = Duration::from_secs(1);

/// Who may have sent anything of a delivery before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// Whether a process may have that ended in the middle.
    pub(crate) again: bool,
    /// When the delivery was intended: before that nobody sent anything of it. `None`: nobody knows.
    pub(crate) since: Option<SystemTime>,
}

/// What goes into one table.
pub(crate) struct Portion {
    shared: Arc<Shared>,
    /// The number of the table.
    table: usize,
    id: DeliveryId,
    history: History,
    batches: Vec<RecordBatch>,
    /// The numbers of its rows in the delivery. Here they are counted from 0.
    numbers: Vec<u64>,
    /// Ranges that are still to be inserted, the next one last; `None` before the first commit.
    left: Option<Vec<Range>>,
    /// What became of the last of `left` so far.
    tried: Tried,
    refused: BTreeMap<u64, String>,
    /// The row that the server has named last as one that it does not take. Ranges that hold it need not be tried.
    offender: Option<u64>,
    slowly: Slowly,
    unanswered: Unanswered,
    seen: Option<Seen>,
}

/// What the table had of a range when it was looked at. What was there is there, whoever writes meanwhile; what was not
/// may have come since.
struct Seen {
    range: Range,
    found: Vec<Found>,
}

/// What this process knows of an INSERT that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Never,
    /// It was sent, and there was no clear answer.
    Unclear,
    /// It was sent, and what the table feeds did not take it.
    ViewFailed,
}

/// What is done about a block.
enum Step {
    /// Send it.
    Send,
    /// Send what goes into partitions, made by this expression, that have nothing of it.
    Complete(String),
    /// Nothing.
    Settle(Outcome),
}

/// What became of a range.
enum Outcome {
    Done,
    Halved([Range; 2]),
    /// A single row that the server does not take.
    Refused(String),
}

impl Portion {
    pub(crate) fn new(shared: Arc<Shared>, table: usize, id: DeliveryId, history: History) -> Self {
        Self {
            shared,
            table,
            id,
            history,
            batches: Vec::new(),
            numbers: Vec::new(),
            left: None,
            tried: Tried::Never,
            refused: BTreeMap::new(),
            offender: None,
            slowly: Slowly::default(),
            unanswered: Unanswered::default(),
            seen: None,
        }
    }

    pub(crate) fn push(&mut self, share: Share) {
        self.numbers.extend(share.numbers);
        self.batches.push(share.rows);
    }

    /// Notes when the delivery was intended.
    pub(crate) fn intended(&mut self, now: SystemTime) {
        self.history.since = Some(now);
    }

    /// Inserts what is not inserted yet. Called again after [`SinkError::Retry`].
    pub(crate) async fn commit(&mut self) -> Result<(), SinkError> {
        let mut left = self.left.take().unwrap_or_else(|| {
            // Not between two tries: rows that fit another column are another block.
            self.shared.forget_old(self.table);
            Range::chunks(self.numbers.len() as u64).rev().collect()
        });
        while let Some(range) = left.pop() {
            self.slowly.wait(&self.shared.full_name(self.table), &self.id).await;
            match self.insert(range).await {
                Ok(outcome) => {
                    self.tried = Tried::Never;
                    match outcome {
                        Outcome::Done => {}
                        Outcome::Halved([first, second]) => left.extend([second, first]),
                        Outcome::Refused(why) => {
                            self.slowly.refused(&why);
                            self.refused.insert(range.from, why);
                        }
                    }
                }
                Err(error) => {
                    left.push(range);
                    self.left = Some(left);
                    return Err(error);
                }
            }
        }
        self.left = Some(left);
        Ok(())
    }

    /// The rows that were refused, by their numbers in the delivery.
    pub(crate) fn take_refused(&mut self) -> Refused {
        let refused = std::mem::take(&mut self.refused);
        let row = |(row, why): (u64, String)| RefusedRow {
            row: self.numbers[row as usize],
            payload: block::rows(&self.batches, row, row + 1).swap_remove(0),
            why,
        };
        refused.into_iter().map(row).collect()
    }

    /// Inserts the rows of a range, as one block.
    async fn insert(&mut self, range: Range) -> Result<Outcome, SinkError> {
        let table = self.shared.table(self.table).await?;
        if was_halved(range, self.seen(range)) {
            return Ok(halved(range, was_halved_before));
        }
        let rows = block::rows(&self.batches, range.from, range.to);
        let (id, into, shared) = (self.id.clone(), table.clone(), self.shared.clone());
        // Seconds of work for the largest blocks: others go on meanwhile.
        let block = tokio::task::spawn_blocking(move || {
            let name = |without: &[u64]| Name::new(&id, range, without);
            into.layout.block(&rows, range.from, name, &shared.servers)
        });
        let block = block.await.map_err(stop)?.map_err(stop)?;
        let refused = block.refused.clone();
        let outcome = if block.rows == 0 { Ok(Outcome::Done) } else { self.send(&table, range, block).await };
        if matches!(outcome, Ok(Outcome::Done)) {
            self.refused.extend(refused);
        }
        outcome
    }

    /// Sends a block, unless the table has it.
    async fn send(&mut self, table: &Table, range: Range, block: Block) -> Result<Outcome, SinkError> {
        let (sql, settings) = match self.step(table, range, &block).await? {
            // What the server said of a row is believed so far: the row alone is sent all the same.
            Step::Send if range.rows() > 1 && self.offender.is_some_and(|it| range.holds(it)) => {
                return Ok(halved(range, || "one of its rows is not taken".to_owned()));
            }
            Step::Send => insertion(table, &block),
            Step::Complete(partition) => completion(&self.shared.config.delivery_column, table, &partition, &block),
            Step::Settle(outcome) => return Ok(outcome),
        };
        let doing = format!("inserting {} rows into {}", block.rows, table.name);
        if self.tried == Tried::Never {
            self.tried = Tried::Unclear;
        }
        match self.shared.servers.insert(&doing, &sql, &settings, block.body).await {
            Ok(()) => Ok(Outcome::Done),
            Err(failure) => {
                let offender = failure.offender().map(|nth| range.nth(nth, block.refused.keys().copied()));
                let outcome = self.failed(table, range, &block.name, &block.bounds, failure).await?;
                // Only now it is certain that the table has nothing of the range.
                self.offender = offender;
                Ok(outcome)
            }
        }
    }

    /// Decides what to do about a block that the server did not take.
    async fn failed(
        &mut self,
        table: &Table,
        range: Range,
        name: &Name,
        bounds: &[String],
        failure: Failure,
    ) -> Result<Outcome, SinkError> {
        if failure.is_of_view() {
            self.view_failed(table);
        }
        let kind = match failure.kind() {
            // A text that ended too early for its type. Otherwise it is the request that ended too early.
            Kind::Wait if failure.is_of_end() && table.layout.is_converted() => Kind::Rows,
            kind => kind,
        };
        match kind {
            Kind::Columns => self.shared.forget(self.table, Duration::ZERO),
            Kind::Rows => {
                // A view may be to blame, or one partition of several: then the table has rows, and must not get them
                // again in other blocks.
                let several_parts = table.partition.is_some() && range.rows() > 1;
                let may_be_in_table = failure.is_of_view() || table.views.is_some() || several_parts;
                let in_table = match self.shared.config.exactly_once {
                    true if !may_be_in_table => false,
                    true => {
                        let search = Search::begin(&self.shared.servers, table, &self.id, &self.unanswered).await?;
                        search.inserts(bounds).await?.iter().any(|it| it.name == name.as_str())
                    }
                    false => failure.is_of_view(),
                };
                if !in_table {
                    return Ok(halved(range, || failure.to_string()));
                }
                self.view_failed(table);
                return Err(retry(format!("the table has the rows, and what it feeds does not take them: {failure}")));
            }
            Kind::Wait | Kind::Elsewhere | Kind::Rights => {}
        }
        Err(failure.into_sink_error())
    }

    /// Takes notice that what the table feeds has not taken a block.
    fn view_failed(&mut self, table: &Table) {
        self.tried = Tried::ViewFailed;
        if table.views.is_none() {
            // It was made after the table was looked at.
            self.shared.forget(self.table, Duration::ZERO);
        }
    }

    /// What is known to be in the table of a range and of others.
    fn seen(&self, range: Range) -> &[Found] {
        self.seen.as_ref().filter(|it| it.range.contains(range)).map_or(&[], |it| &it.found)
    }

    /// What to do about a range that may be in the table.
    ///
    /// After a crash all that was halved is passed again, hundreds of ranges: the table is not asked for those of which
    /// enough is known to be there. Before anything is sent it is asked.
    async fn next(&mut self, table: &Table, range: Range, block: &Block) -> Result<Next, SinkError> {
        let decide = |found: &[Found]| next(range, &block.name, block.rows, found);
        if let known @ (Next::Done | Next::Halve) = decide(self.seen(range)) {
            return Ok(known);
        }
        let search = Search::begin(&self.shared.servers, table, &self.id, &self.unanswered).await?;
        let found = search.inserts(&block.bounds).await?;
        let next = decide(&found);
        if self.seen.as_ref().is_none_or(|it| !it.range.contains(range)) {
            self.seen = Some(Seen { range, found });
        }
        Ok(next)
    }

    /// Decides what to do about a block, by what the table has of the delivery.
    async fn step(&mut self, table: &Table, range: Range, block: &Block) -> Result<Step, SinkError> {
        if !self.may_be_there() {
            return Ok(Step::Send);
        }
        let next = self.next(table, range, block).await?;
        let unknown_partition = unknown_partition(table, block);
        // A table that remembers a block takes only what it lacks of it, and passes all of it on to its views.
        let is_better_repeated = match next {
            Next::Done => self.is_for_views(table),
            Next::Complete => self.is_for_views(table) || unknown_partition.is_some(),
            Next::Send | Next::Halve | Next::Unclear(_) => false,
        };
        if let (true, Some(since)) = (is_better_repeated, self.history.since) {
            let search = Search::begin(&self.shared.servers, table, &self.id, &self.unanswered).await?;
            if search.remembers(since).await? {
                return Ok(Step::Send);
            }
        }
        match (&next, unknown_partition) {
            (Next::Send, _) => Ok(Step::Send),
            (Next::Halve, _) => Ok(Step::Settle(halved(range, was_halved_before))),
            (Next::Unclear(other), _) => Err(stop(self.other_rows(table, &block.name, other))),
            (Next::Complete, Some(column)) => Err(stop(format!(
                "some partitions of table {} have rows of `{}`, others may lack them, and the rows do not \
                 have the column `{column}` that tells which (hint: look at them, and run once with \
                 `exactly_once = false` to send all of it again)",
                table.name,
                block.name.as_str()
            ))),
            (Next::Done | Next::Complete, _) => {
                self.warn_of_views(table, &block.name);
                Ok(match &table.partition {
                    Some(partition) if next == Next::Complete => Step::Complete(partition.clone()),
                    // Without partitions a block is there or it is not: what it lacks was taken away by somebody.
                    _ => Step::Settle(Outcome::Done),
                })
            }
        }
    }

    /// Whether the table may have rows of the next block.
    fn may_be_there(&self) -> bool {
        let History { again, since } = self.history;
        // A clock that was set back tells nothing.
        let is_prompt = || since.and_then(|it| it.elapsed().ok()).is_some_and(|it| it <= PROMPT);
        let is_new = !again && self.tried == Tried::Never;
        self.shared.config.exactly_once && !(is_new && is_prompt())
    }

    /// Whether rows that the table has are to be sent again for the sake of its views: if no view takes them twice, or
    /// one is known to lack them.
    fn is_for_views(&self, table: &Table) -> bool {
        table.views.as_ref().is_some_and(|it| it.remember || self.tried == Tried::ViewFailed)
    }

    /// Says that nobody knows whether views have what the table has.
    fn warn_of_views(&self, table: &Table, name: &Name) {
        let Some(views) = &table.views else { return };
        tracing::warn!(
            "table {} has delivery {}, and its views {} may lack it: it may have been forgotten since, so that it is not \
             sent again (hint: compare them by the rows with {} = {})",
            table.name,
            self.id,
            views.names,
            sql::name(&self.shared.config.delivery_column),
            sql::text(name.as_str()),
        );
    }

    /// The same rows under another name: other ones of them were left out.
    fn other_rows(&self, table: &Table, name: &Name, other: &str) -> String {
        let stamp = sql::name(&self.shared.config.delivery_column);
        format!(
            "delivery {} was begun when the columns of table {table} were others: it has rows of `{other}`, which are not \
             those of `{}` (hint: take them away, so that all of it is sent again: `DELETE FROM {table} WHERE {stamp} = {}`)",
            self.id,
            name.as_str(),
            sql::text(other),
            table = table.name,
        )
    }
}

/// A range in halves, or its only row refused.
fn halved(range: Range, why: impl FnOnce() -> String) -> Outcome {
    match range.halves() {
        Some(halves) => Outcome::Halved(halves),
        None => Outcome::Refused(why()),
    }
}

fn was_halved_before() -> String {
    "it was halved before".to_owned()
}

/// A column without which nobody knows into which partition a row of this block goes.
fn unknown_partition<'a>(table: &'a Table, block: &Block) -> Option<&'a str> {
    let is_sent = |name: &str| table.layout.names().any(|it| it == name);
    let is_defaulted = |name: &str| block.defaulted.iter().any(|it| it.0 == name);
    table.partition_columns.iter().map(String::as_str).find(|it| !is_sent(it) || is_defaulted(it))
}

/// A statement, and the settings that go with it.
type Statement = (String, Vec<(&'static str, String)>);

/// Inserts the rows of a block.
fn insertion(table: &Table, block: &Block) -> Statement {
    let sql = format!("INSERT INTO {} {} FORMAT Native", table.name, sql::names(table.layout.names()));
    (sql, settings(table, &block.name))
}

/// Inserts the rows of a block into those partitions that have none of it. Each partition of a block is inserted whole
/// or not at all.
fn completion(delivery_column: &str, table: &Table, partition: &str, block: &Block) -> Statement {
    let names: Vec<String> = table.layout.names().map(sql::name).collect();
    let names = names.join(", ");
    let column = |(name, of): &(String, String)| match block.defaulted.iter().find(|it| it.0 == *name) {
        None => format!("{} {of}", sql::name(name)),
        Some((_, wire)) => format!("{} {wire}", sql::name(name)),
    };
    let structure: Vec<String> = table.structure.iter().map(column).collect();
    let mut conditions = vec![format!("{} = {}", sql::name(delivery_column), sql::text(block.name.as_str()))];
    conditions.extend_from_slice(&block.bounds);
    let sql = format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM input({structure}) \
         WHERE tuple({partition}) NOT IN (SELECT DISTINCT tuple({partition}) FROM {table} WHERE {conditions}) \
         FORMAT Native",
        table = table.name,
        structure = sql::text(&structure.join(", ")),
        conditions = conditions.join(" AND "),
    );
    let mut settings = settings(table, &block.name);
    let more = [("transform_null_in", "1"), ("insert_null_as_default", "1"), ("max_threads", "1")];
    settings.extend(more.map(|(name, value)| (name, value.to_owned())));
    (sql, settings)
}

/// What an INSERT of this name into a table brings along.
fn settings(table: &Table, name: &Name) -> Vec<(&'static str, String)> {
    let mut settings = table.pins.clone();
    let named = format!("{} {}", name.as_str(), table.name.replace('`', ""));
    for (_, value) in settings.iter_mut().filter(|it| it.0 == TOKEN) {
        named.clone_into(value);
    }
    // While it is under way for somebody, a server does not begin it again.
    settings.push(("query_id", named));
    settings
}

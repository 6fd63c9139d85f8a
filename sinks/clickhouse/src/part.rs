//! The rows of a delivery that go into one table: inserted range by range, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use forebay_api::{DeliveryId, Refused, RefusedRow, SinkError};

use crate::block::{self, Block};
use crate::failure::{Kind, retry, stop};
use crate::pieces::{Found, Name, Next, Range, next};
use crate::route::Share;
use crate::sql;
use crate::table::{Copies, TOKEN, Table};
use crate::write::Shared;

/// Whether anything of a delivery may have been sent before its draft was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    New,
    Unknown,
}

/// What goes into one table.
pub(crate) struct Part {
    shared: Arc<Shared>,
    /// The number of the table.
    table: usize,
    id: DeliveryId,
    history: History,
    batches: Vec<RecordBatch>,
    /// The numbers of its rows in the delivery. Within a part rows are counted from 0.
    numbers: Vec<u64>,
    /// Ranges that are still to be inserted, the next one last; `None` before the first commit.
    left: Option<Vec<Range>>,
    /// The last of `left`, if it was sent and there was no clear answer.
    sent: Option<Sent>,
    refused: BTreeMap<u64, String>,
}

/// An INSERT of which nobody knows whether it was made.
struct Sent {
    name: Name,
    /// When it was sent for the first time.
    first: Instant,
}

/// What became of a range.
enum Outcome {
    Done,
    Halved([Range; 2]),
    /// A single row that the server does not take.
    Refused(String),
}

impl Part {
    pub(crate) fn new(shared: Arc<Shared>, table: usize, id: DeliveryId, history: History) -> Self {
        Self {
            shared,
            table,
            id,
            history,
            batches: Vec::new(),
            numbers: Vec::new(),
            left: None,
            sent: None,
            refused: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, share: Share) {
        self.numbers.extend(share.numbers);
        self.batches.push(share.rows);
    }

    /// Inserts what is not inserted yet. Called again after [`SinkError::Retry`].
    pub(crate) async fn commit(&mut self) -> Result<(), SinkError> {
        let mut left = self.left.take().unwrap_or_else(|| {
            // Not between two tries: rows that fit another column are another block.
            self.shared.forget_old(self.table);
            Range::chunks(self.numbers.len() as u64).rev().collect()
        });
        while let Some(range) = left.pop() {
            match self.insert(range).await {
                Ok(outcome) => {
                    self.sent = None;
                    match outcome {
                        Outcome::Done => {}
                        Outcome::Halved([first, second]) => left.extend([second, first]),
                        Outcome::Refused(why) => {
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
        let shared = self.shared.clone();
        let table = shared.table(self.table).await?;
        let rows = block::rows(&self.batches, range.from, range.to);
        let (id, layout, making) = (self.id.clone(), table.clone(), shared.clone());
        // Seconds of work for the largest blocks: others go on meanwhile.
        let block = tokio::task::spawn_blocking(move || {
            let name = |without: &[u64]| Name::new(&id, range, without);
            layout.layout.block(&rows, range.from, name, &making.servers)
        });
        let block = block.await.map_err(stop)?.map_err(stop)?;
        let refused = block.refused.clone();
        let outcome = if block.rows == 0 { Ok(Outcome::Done) } else { self.send(&shared, &table, range, block).await };
        if matches!(outcome, Ok(Outcome::Done)) {
            self.refused.extend(refused);
        }
        outcome
    }

    /// Sends a block, unless the table has it.
    async fn send(&mut self, shared: &Shared, table: &Table, range: Range, block: Block) -> Result<Outcome, SinkError> {
        let mut complete = false;
        let found = match self.may_be_there(table, &block.name) {
            true => self.find(shared, table, &block.bounds).await?,
            false => Vec::new(),
        };
        if self.may_be_forgotten(table, &block.name, &found) {
            match next(range, &block.name, block.rows, &found) {
                Next::Send => {}
                Next::Done => return Ok(Outcome::Done),
                Next::Halve => return Ok(halved(range, || "it was halved before".to_owned())),
                Next::Unclear(other) => return Err(stop(self.other_rows(table, &block.name, &other))),
                // Without partitions a block is there or it is not: what it lacks was taken away by somebody.
                Next::Complete if table.partition.is_none() => return Ok(Outcome::Done),
                Next::Complete => match unknown_partition(table, &block) {
                    None => complete = true,
                    Some(column) => {
                        return Err(stop(format!(
                            "some partitions of table {} have rows of `{}`, others may lack them, and the rows do not \
                             have the column `{column}` that tells which (hint: look at them, and run once with \
                             `exactly_once = false` to send all of it again)",
                            table.name,
                            block.name.as_str()
                        )));
                    }
                },
            }
        }
        let sql = match &table.partition {
            Some(partition) if complete => completion(shared, table, partition, &block),
            _ => format!("INSERT INTO {} {} FORMAT Native", table.name, sql::names(table.layout.names())),
        };
        let mut settings = table.pins.clone();
        let named = format!("{} {}", block.name.as_str(), table.name.replace('`', ""));
        for (_, value) in settings.iter_mut().filter(|it| it.0 == TOKEN) {
            named.clone_into(value);
        }
        // While it is under way for somebody, a server does not begin it again.
        settings.push(("query_id", named));
        if complete {
            let more = [("transform_null_in", "1"), ("insert_null_as_default", "1"), ("max_threads", "1")];
            settings.extend(more.map(|(name, value)| (name, value.to_owned())));
        }
        let doing = format!("inserting {} rows into {}", block.rows, table.name);
        let first = self.sent.take().filter(|it| it.name == block.name).map_or_else(Instant::now, |it| it.first);
        self.sent = Some(Sent { name: block.name.clone(), first });
        let failure = match shared.servers.insert(&doing, &sql, &settings, block.body).await {
            Ok(()) => return Ok(Outcome::Done),
            Err(failure) => failure,
        };
        let kind = match failure.kind() {
            // A text that ended too early for its type. Otherwise it is the request that ended too early.
            Kind::Wait if failure.is_of_end() && table.layout.is_converted() => Kind::Rows,
            kind => kind,
        };
        match kind {
            Kind::Columns => shared.forget(self.table, Duration::ZERO),
            Kind::Rows => {
                // A view may be to blame, or one partition of several: then the table has rows, and must not get them
                // again in other blocks.
                let in_table = match shared.config.exactly_once {
                    true => {
                        let found = self.find(shared, table, &block.bounds).await?;
                        found.iter().any(|it| it.name == block.name.as_str())
                    }
                    false => failure.is_of_view(),
                };
                if !in_table {
                    return Ok(halved(range, || failure.to_string()));
                }
                return Err(retry(format!("the table has the rows, and what it feeds does not take them: {failure}")));
            }
            Kind::Wait | Kind::Elsewhere | Kind::Rights => {}
        }
        Err(failure.into_sink_error())
    }

    /// Whether the table may have rows of this block and not remember its name, as far as that is known without looking.
    fn may_be_there(&self, table: &Table, name: &Name) -> bool {
        let is_partitioned = table.partition.is_some();
        let may = |it: &Sent| it.name != *name || is_partitioned || it.first.elapsed() > table.memory.lasts(1);
        self.shared.config.exactly_once && (self.history == History::Unknown || self.sent.as_ref().is_some_and(may))
    }

    /// The same, once it is known what there is. As long as the table remembers, it is not asked to do without: what it
    /// feeds may still lack the rows.
    fn may_be_forgotten(&self, table: &Table, name: &Name, found: &[Found]) -> bool {
        let partitions = found.iter().map(|it| it.partitions).max().unwrap_or(1);
        let is_old = |it: &Sent| it.name != *name || it.first.elapsed() > table.memory.lasts(partitions);
        self.shared.config.exactly_once && (self.history == History::Unknown || self.sent.as_ref().is_some_and(is_old))
    }

    /// Which INSERTs of this delivery have rows in the table.
    async fn find(&self, shared: &Shared, table: &Table, bounds: &[String]) -> Result<Vec<Found>, SinkError> {
        let Some(stamp) = table.layout.stamp.as_deref().map(sql::name) else { return Ok(Vec::new()) };
        let doing = format!("looking for delivery {} in {}", self.id, table.name);
        let mut settings = Vec::new();
        match table.copies {
            Copies::None => {}
            Copies::Fetched => {
                let sync = format!("SYSTEM SYNC REPLICA {} LIGHTWEIGHT", table.name);
                shared.servers.ask(&doing, &sync, &[]).await.map_err(|it| it.into_sink_error())?;
            }
            Copies::Shared => settings.push(("select_sequential_consistency", "1")),
        }
        let beginning = sql::text(&Name::beginning(&self.id));
        let mut conditions = vec![format!("startsWith({stamp}, {beginning})")];
        conditions.extend_from_slice(bounds);
        let conditions = conditions.join(" AND ");
        let partitions = if table.partition.is_some() { "uniqExact(_partition_id)" } else { "1" };
        let from = format!("FROM {} WHERE {conditions} GROUP BY {stamp}", table.name);
        let sql = format!("SELECT {stamp}, count(), {partitions} {from}");
        let rows = shared.servers.ask(&doing, &sql, &settings).await.map_err(|it| it.into_sink_error())?;
        let found = |row: Vec<String>| {
            let [name, rows, partitions] = <[String; 3]>::try_from(row).ok()?;
            Some(Found { name, rows: rows.parse().ok()?, partitions: partitions.parse().ok()? })
        };
        let found: Vec<Found> = rows.into_iter().filter_map(found).collect();
        tracing::info!(delivery = %self.id, inserts = found.len(), "looked for a delivery in the table");
        Ok(found)
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

/// A column without which nobody knows into which partition a row of this block goes.
fn unknown_partition<'a>(table: &'a Table, block: &Block) -> Option<&'a str> {
    let is_sent = |name: &str| table.layout.names().any(|it| it == name);
    let is_defaulted = |name: &str| block.defaulted.iter().any(|it| it.0 == name);
    table.partition_columns.iter().map(String::as_str).find(|it| !is_sent(it) || is_defaulted(it))
}

/// Inserts the rows of a block into those partitions that have none of it. Each partition of a block is inserted whole
/// or not at all.
fn completion(shared: &Shared, table: &Table, partition: &str, block: &Block) -> String {
    let names: Vec<String> = table.layout.names().map(sql::name).collect();
    let names = names.join(", ");
    let column = |(name, of): &(String, String)| match block.defaulted.iter().find(|it| it.0 == *name) {
        None => format!("{} {of}", sql::name(name)),
        Some((_, wire)) => format!("{} {wire}", sql::name(name)),
    };
    let structure: Vec<String> = table.structure.iter().map(column).collect();
    let mut conditions =
        vec![format!("{} = {}", sql::name(&shared.config.delivery_column), sql::text(block.name.as_str()))];
    conditions.extend_from_slice(&block.bounds);
    format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM input({structure}) \
         WHERE tuple({partition}) NOT IN (SELECT DISTINCT tuple({partition}) FROM {table} WHERE {conditions}) \
         FORMAT Native",
        table = table.name,
        structure = sql::text(&structure.join(", ")),
        conditions = conditions.join(" AND "),
    )
}

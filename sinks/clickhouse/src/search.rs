//! What a table has of a delivery that may have been made before, and whether it remembers that.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use forebay_api::{DeliveryId, SinkError};

use crate::failure::{Failure, Kind};
use crate::pieces::{Found, Name};
use crate::server::{Server, Servers};
use crate::sql;
use crate::table::{Replication, Table};

/// So much the clocks of two processes may differ. More of it only makes the answer *no* more often.
const CLOCKS: Duration = Duration::from_secs(10);

/// Questions about a delivery, all of them to one server: what others have taken came to it before the first.
pub(crate) struct Search<'a> {
    server: Server<'a>,
    unanswered: &'a Unanswered,
    table: &'a Table,
    id: &'a DeliveryId,
    doing: String,
    settings: Vec<(&'a str, &'a str)>,
}

/// How many searches of a delivery have not been answered in time: the next one may take longer.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(AtomicU32);

impl<'a> Search<'a> {
    pub(crate) async fn begin(
        servers: &'a Servers,
        table: &'a Table,
        id: &'a DeliveryId,
        unanswered: &'a Unanswered,
    ) -> Result<Self, SinkError> {
        let doing = format!("looking for delivery {id} in {}", table.name);
        let server = servers.one().patient(unanswered.0.load(Ordering::Relaxed));
        let mut search = Self { server, unanswered, table, id, doing, settings: Vec::new() };
        match table.replication {
            Replication::None => {}
            Replication::Fetched => {
                search.ask(&format!("SYSTEM SYNC REPLICA {} LIGHTWEIGHT", table.name)).await?;
            }
            Replication::Shared => search.settings.push(("select_sequential_consistency", "1")),
        }
        Ok(search)
    }

    /// Which INSERTs of the delivery have rows in the table. What is looked for fulfils the conditions `bounds`.
    pub(crate) async fn inserts(&self, bounds: &[String]) -> Result<Vec<Found>, SinkError> {
        let Some(stamp) = self.table.layout.stamp.as_deref().map(sql::name) else { return Ok(Vec::new()) };
        let beginning = sql::text(&Name::beginning(self.id));
        let mut conditions = vec![format!("startsWith({stamp}, {beginning})")];
        conditions.extend_from_slice(bounds);
        let conditions = conditions.join(" AND ");
        let partitions = if self.table.partition.is_some() { "uniqExact(_partition_id)" } else { "1" };
        let from = format!("FROM {} WHERE {conditions} GROUP BY {stamp}", self.table.name);
        let rows = self.ask(&format!("SELECT {stamp}, count(), {partitions} {from}")).await?;
        let found = |row: Vec<String>| {
            let [name, rows, partitions] = <[String; 3]>::try_from(row).ok()?;
            Some(Found { name, rows: rows.parse().ok()?, partitions: partitions.parse().ok()? })
        };
        let found: Vec<Found> = rows.into_iter().filter_map(found).collect();
        if !found.is_empty() {
            tracing::debug!(delivery = %self.id, inserts = found.len(), "found rows of a delivery in the table");
        }
        Ok(found)
    }

    /// Whether the table certainly remembers what was sent at some time since then, by a clock here or that of the
    /// process before.
    ///
    /// It remembers so many blocks, and numbers those that it takes. How many it has taken is therefore known, by the
    /// numbers of the parts that are older than that and of those there are now, whoever wrote them and however fast. Parts
    /// that were merged since count as new ones: at worst it is a *no* too many. Half of what it remembers is left for what
    /// comes while the answer is on its way.
    pub(crate) async fn remembers(&self, since: SystemTime) -> Result<bool, SinkError> {
        let age = match since.elapsed() {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= CLOCKS => Duration::ZERO,
            Err(_) => return Ok(false),
        };
        let age = age + CLOCKS;
        if age > self.table.memory.time {
            return Ok(false);
        }
        // Servers that share a table number the blocks of each partition, one alone those of all.
        let numbered = if self.table.replication == Replication::None { "''" } else { "partition_id" };
        let is_older = format!("modification_time < now() - {}", age.as_secs() + 1);
        let statement = format!(
            "SELECT sum(taken) FROM (\
               SELECT max(max_block_number) - if(countIf({is_older}) = 0, -1, maxIf(max_block_number, {is_older})) AS taken \
               FROM system.parts WHERE {} GROUP BY {numbered})",
            self.table.system_filter
        );
        let rows = match self.try_ask(&statement).await {
            Ok(rows) => rows,
            // It was said at the start.
            Err(failure) if failure.kind() == Kind::Rights => return Ok(false),
            Err(failure) => return Err(failure.into_sink_error()),
        };
        let taken: Option<u64> = rows.first().and_then(|it| it.first()?.parse().ok());
        Ok(taken.is_some_and(|it| it <= self.table.memory.blocks / 2))
    }

    async fn ask(&self, statement: &str) -> Result<Vec<Vec<String>>, SinkError> {
        self.try_ask(statement).await.map_err(Failure::into_sink_error)
    }

    async fn try_ask(&self, statement: &str) -> Result<Vec<Vec<String>>, Failure> {
        let answer = self.server.ask(&self.doing, statement, &self.settings).await;
        if answer.as_ref().is_err_and(Failure::is_late) {
            self.unanswered.0.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

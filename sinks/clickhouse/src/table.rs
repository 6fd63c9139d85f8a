//! The table as it is on the server: its columns, and whether what this sink promises can be kept there.

pub(crate) mod columns;
mod views;
mod window;

use std::time::Duration;

use arrow_schema::SchemaRef;
use forebay_api::{BoxError, SinkError};

use crate::block::Layout;
use crate::failure::{Failure, retry, stop};
use crate::server::{Server, Servers};
use crate::table::columns::{Misfit, TableColumn};
use crate::{ClickHouse, Evolve, ddl, sql};

/// The oldest server on which a delivery is made exactly once.
const VERSION_MIN: (u32, u32) = (24, 3);

/// How many blocks a table must remember at least: what is sent in the time that one try takes, by many processes.
const WINDOW_MIN: u64 = 100;

/// What the hint tells to set.
const WINDOW_GOOD: u64 = 10_000;

/// How to do without what cannot be promised.
const DOWNGRADE: &str = "or write `exactly_once = false`, which may double rows";

/// Settings that every INSERT brings along, so that no profile of the server's makes two blocks of one, answers before
/// the rows are there, or does not deduplicate. A server that does not know one of them does not do it either.
const PINS: [(&str, &str); 22] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_insert", "enable"),
    ("deduplicate_insert_select", "enable_when_possible"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("max_insert_block_size", "1048449"),
    ("max_insert_block_size_bytes", "0"),
    ("min_insert_block_size_rows", "0"),
    ("min_insert_block_size_bytes", "0"),
    ("use_strict_insert_block_limits", "0"),
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("input_format_native_allow_types_conversion", "1"),
    ("input_format_native_decode_types_in_binary_format", "0"),
    ("http_native_compression_disable_checksumming_on_decompress", "0"),
    ("input_format_null_as_default", "1"),
    // A block of many partitions must go in all the same: no other cut of it would be deduplicated.
    ("max_partitions_per_insert_block", "0"),
    ("throw_on_max_partitions_per_insert_block", "0"),
    ("replace_running_query", "0"),
    ("insert_distributed_sync", "1"),
    ("distributed_foreground_insert", "1"),
    // Its value is the name of the block.
    (TOKEN, ""),
];

/// The setting that names a block.
pub(crate) const TOKEN: &str = "insert_deduplication_token";

/// Whether the file may not say it.
pub(crate) fn is_pinned(setting: &str) -> bool {
    PINS.iter().any(|it| it.0 == setting)
        || matches!(setting, "query_id" | "wait_end_of_query" | "query" | "decompress")
}

/// A table, as far as it was looked at.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layout: Layout,
    /// `database`.`table`.
    pub(crate) name: String,
    /// `database = … AND table = …` for the server's own tables.
    pub(crate) system_filter: String,
    /// What every INSERT brings along.
    pub(crate) pins: Vec<(&'static str, String)>,
    /// What makes a partition; `None`: the table has only one.
    pub(crate) partition: Option<String>,
    /// The columns that partitions are made of, whether they are sent or not.
    pub(crate) partition_columns: Vec<String>,
    /// The columns that are sent, with the text of their types.
    pub(crate) structure: Vec<(String, String)>,
    pub(crate) memory: Memory,
    /// `None`: there are none.
    pub(crate) views: Option<Views>,
    /// What is to be said about views of it.
    pub(crate) warnings: Vec<String>,
    /// How other servers' rows come to the one that is asked.
    pub(crate) replication: Replication,
}

/// What a table remembers of the INSERTs that it has seen. Each of their partitions counts as a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// So many blocks.
    pub(crate) blocks: u64,
    /// Not longer than this.
    pub(crate) time: Duration,
}

/// Materialized views of a table's rows.
#[derive(Debug)]
pub(crate) struct Views {
    /// Their names, for messages.
    pub(crate) names: String,
    /// Whether all the tables that they feed remember blocks as well.
    pub(crate) remember: bool,
}

/// How the servers of a table have the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replication {
    /// There is one server.
    None,
    /// Each fetches what the others have.
    Fetched,
    /// They share one storage.
    Shared,
}

/// Why there is no table to insert into.
#[derive(Debug)]
pub(crate) enum Missing {
    /// A request failed.
    Failed(Failure),
    /// It is not there.
    Absent(BoxError),
    /// It cannot be used as it is.
    Unfit(BoxError),
}

impl From<Misfit> for Missing {
    fn from(misfit: Misfit) -> Self {
        Self::Unfit(format!("{} (hint: {})", misfit.what, misfit.hint).into())
    }
}

impl From<Failure> for Missing {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Missing {
    /// For statements that are made of what stands in the file.
    fn of_statement(failure: Failure) -> Self {
        if failure.is_of_statement() { Self::Unfit(failure.into()) } else { Self::Failed(failure) }
    }

    /// For a pipeline that runs: somebody may be changing the table just now.
    pub(crate) fn while_running(self) -> SinkError {
        match self {
            Self::Failed(failure) => failure.into_sink_error(),
            Self::Absent(error) | Self::Unfit(error) => retry(error),
        }
    }

    /// For a pipeline that starts: what does not pass is said at once.
    pub(crate) fn at_start(self) -> SinkError {
        match self {
            Self::Unfit(error) => stop(error),
            other => other.while_running(),
        }
    }
}

/// What the server says of the engine.
struct Engine {
    name: String,
    full: String,
    partition: String,
    /// The names of the views that are made of the table's rows, between commas.
    views: String,
}

/// Looks at the table, makes it or columns of it if the file says so, and decides how rows go there.
pub(crate) async fn look(
    config: &ClickHouse,
    table: &str,
    servers: &Servers,
    input: &SchemaRef,
) -> Result<Table, Missing> {
    let looking = Look { config, servers, server: servers.one(), input, table, name: config.full_name(table) };
    looking.version().await?;
    let engine = match looking.engine().await? {
        Some(engine) => engine,
        None if config.create => {
            looking.create().await?;
            looking.engine().await?.ok_or_else(|| looking.absent())?
        }
        None => return Err(looking.absent()),
    };
    let mut columns = looking.columns().await?;
    if config.evolve == Some(Evolve::AddColumns) && looking.add_columns(&columns).await? {
        columns = looking.columns().await?;
    }
    let layout = columns::layout(config, &looking.name, input, &columns)?;
    let pins = looking.pins().await?;
    let (memory, replication) = match config.exactly_once {
        true => looking.window(&engine).await?,
        false => (Memory { blocks: u64::MAX, time: Duration::MAX }, Replication::None),
    };
    if config.exactly_once {
        looking.rights(&engine, &layout, replication).await?;
    }
    let mut warnings = match config.exactly_once && !engine.views.is_empty() {
        // Nothing depends on it: a server that does not understand the question gets its rows all the same.
        true => looking
            .forgetful_views()
            .await
            .unwrap_or_else(|failure| vec![format!("nobody knows what views make of rows that come again: {failure}")]),
        false => Vec::new(),
    };
    let views = Some(Views { names: engine.views, remember: warnings.is_empty() }).filter(|it| !it.names.is_empty());
    if views.is_some() && config.exactly_once {
        warnings.extend(looking.unread_parts().await);
    }
    let partition_columns = columns.iter().filter(|it| it.in_partition).map(|it| it.name.clone()).collect();
    let is_sent = |it: &TableColumn| layout.names().any(|name| name == it.name);
    let structure = columns.into_iter().filter(is_sent).map(|it| (it.name, it.type_text)).collect();
    Ok(Table {
        system_filter: looking.system_filter("table"),
        name: looking.name,
        pins,
        partition: Some(engine.partition).filter(|it| !it.is_empty()),
        partition_columns,
        structure,
        memory,
        views,
        warnings,
        replication,
        layout,
    })
}

struct Look<'a> {
    config: &'a ClickHouse,
    servers: &'a Servers,
    server: Server<'a>,
    input: &'a SchemaRef,
    table: &'a str,
    /// `database`.`table`.
    name: String,
}

impl Look<'_> {
    async fn ask(&self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        self.server.ask(&format!("looking at table {}", self.name), sql, &[]).await
    }

    /// `database = … AND name = …` for one of the server's own tables.
    fn system_filter(&self, name: &str) -> String {
        format!("database = {} AND {name} = {}", sql::text(&self.config.database), sql::text(self.table))
    }

    fn absent(&self) -> Missing {
        let hint = if self.config.create { "" } else { " (hint: make it, or let the sink make it: `create = true`)" };
        Missing::Absent(format!("there is no table {}{hint}", self.name).into())
    }

    async fn version(&self) -> Result<(), Missing> {
        let rows = self.ask("SELECT version()").await?;
        let version = rows.first().and_then(|it| it.first()).map_or("", String::as_str);
        let mut numbers = version.split('.').map_while(|it| it.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if self.config.exactly_once && found < VERSION_MIN {
            let (major, minor) = VERSION_MIN;
            return Err(unfit(format!("the server is ClickHouse {version}, and exactly once needs {major}.{minor}")));
        }
        Ok(())
    }

    async fn engine(&self) -> Result<Option<Engine>, Missing> {
        let views =
            "arrayMap((database, name) -> concat(database, '.', name), dependencies_database, dependencies_table)";
        let columns = format!("engine, engine_full, partition_key, arrayStringConcat({views}, ', ')");
        let mut rows =
            self.ask(&format!("SELECT {columns} FROM system.tables WHERE {}", self.system_filter("name"))).await?;
        let Some([name, full, partition, views]) = rows.pop().and_then(|it| <[String; 4]>::try_from(it).ok()) else {
            return Ok(None);
        };
        Ok(Some(Engine { name, full, partition, views }))
    }

    async fn columns(&self) -> Result<Vec<TableColumn>, Missing> {
        let sql = format!(
            "SELECT name, type, default_kind, is_in_partition_key FROM system.columns WHERE {} ORDER BY position",
            self.system_filter("table")
        );
        let rows = self.ask(&sql).await?;
        let column = |row: Vec<String>| {
            let [name, type_text, default_kind, in_partition] = <[String; 4]>::try_from(row).ok()?;
            Some(TableColumn { name, type_text, default_kind, in_partition: in_partition == "1" })
        };
        Ok(rows.into_iter().filter_map(column).collect())
    }

    async fn create(&self) -> Result<(), Missing> {
        let database = sql::text(&self.config.database);
        if self.ask(&format!("SELECT 1 FROM system.databases WHERE name = {database}")).await?.is_empty() {
            self.ask(&format!("CREATE DATABASE IF NOT EXISTS {}", sql::name(&self.config.database))).await?;
        }
        let statement = ddl::create(self.config, self.table, self.input).map_err(|it| Missing::Unfit(it.into()))?;
        tracing::info!("making table {}", self.name);
        self.ask(&statement).await.map_err(Missing::of_statement)?;
        Ok(())
    }

    /// Adds what the rows have and the table has not. Whether there was anything.
    async fn add_columns(&self, columns: &[TableColumn]) -> Result<bool, Missing> {
        let lacks = |name: &str| columns.iter().all(|it| it.name != name);
        let added = ddl::added(self.config, self.input, lacks).map_err(|it| Missing::Unfit(it.into()))?;
        if added.is_empty() {
            return Ok(false);
        }
        tracing::info!("adding columns to table {}: {}", self.name, added.join(", "));
        let added: Vec<String> = added.iter().map(|it| format!("ADD COLUMN IF NOT EXISTS {it}")).collect();
        let statement = format!("ALTER TABLE {} {}", self.name, added.join(", "));
        self.ask(&statement).await.map_err(Missing::of_statement)?;
        Ok(true)
    }

    /// The settings that must be sent, since they may be set and are not so already.
    async fn pins(&self) -> Result<Vec<(&'static str, String)>, Missing> {
        let names: Vec<String> = PINS.iter().map(|it| sql::text(it.0)).collect();
        let sql = format!("SELECT name, value, readonly FROM system.settings WHERE name IN ({})", names.join(", "));
        let known = self.ask(&sql).await?;
        let mut pins = Vec::new();
        for (name, wanted) in PINS {
            let Some([_, value, readonly]) = known.iter().find(|it| it[0] == name).map(Vec::as_slice) else {
                if name == TOKEN && self.config.exactly_once {
                    return Err(unfit(format!("the server does not know `{TOKEN}`")));
                }
                continue;
            };
            if readonly == "0" {
                pins.push((name, wanted.to_owned()));
            } else if value != wanted && self.config.exactly_once {
                return Err(unfit(format!("the user's profile fixes `{name}` at {value}, and it must be {wanted}")));
            } else if name == TOKEN && self.config.exactly_once {
                return Err(unfit(format!("the user's profile does not let the sink set `{TOKEN}`")));
            }
        }
        Ok(pins)
    }
}

/// What cannot be promised, and how to do without.
fn unfit(what: String) -> Missing {
    Missing::Unfit(format!("{what} (hint: {DOWNGRADE})").into())
}

//! The table as it is on the server: its columns, and whether what this sink promises can be kept there.

mod views;

use std::time::Duration;

use arrow_schema::SchemaRef;
use forebay_api::{BoxError, SinkError, nearest};

use crate::block::{Layout, Placed};
use crate::cast::Column;
use crate::failure::{Failure, retry, stop};
use crate::server::Servers;
use crate::types::Type;
use crate::{ClickHouse, Evolve, ddl, sql};

/// The oldest server on which a delivery is made exactly once.
const VERSION_MIN: (u32, u32) = (24, 3);

/// How many blocks a table must remember at least: what is sent in the time that one try takes, by many processes.
const WINDOW_MIN: u64 = 100;

/// What the hint tells to set.
const WINDOW_GOOD: u64 = 10_000;

/// So many INSERTs a second go into a table at most, by all who write into it: that is how long a window lasts.
const INSERTS_PER_SECOND_MAX: u64 = 64;

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
    /// What every INSERT brings along.
    pub(crate) pins: Vec<(&'static str, String)>,
    /// What makes a partition; `None`: the table has only one.
    pub(crate) partition: Option<String>,
    /// The columns that partitions are made of, whether they are sent or not.
    pub(crate) partition_columns: Vec<String>,
    /// The columns that are sent, with the text of their types.
    pub(crate) structure: Vec<(String, String)>,
    pub(crate) memory: Memory,
    /// What is to be said about views of it.
    pub(crate) warnings: Vec<String>,
    /// How other servers' rows come to the one that is asked.
    pub(crate) copies: Copies,
}

/// What a table remembers of the INSERTs that it has seen. Each of their partitions counts as a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// So many blocks.
    blocks: u64,
    /// Not longer than this.
    time: Duration,
}

impl Memory {
    /// How long after an INSERT into so many partitions the table certainly remembers all of it, where others insert
    /// into as many.
    pub(crate) fn lasts(self, partitions: u64) -> Duration {
        let inserts = (self.blocks / partitions.max(1)).saturating_sub(1);
        Duration::from_millis(inserts.saturating_mul(1000) / INSERTS_PER_SECOND_MAX).min(self.time)
    }
}

/// How the servers of a table have the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
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

/// What the server says of a column.
struct TableColumn {
    name: String,
    type_text: String,
    default_kind: String,
    in_partition: bool,
}

/// What the server says of the engine.
struct Engine {
    name: String,
    full: String,
    partition: String,
    /// Whether views are made of the table's rows.
    has_views: bool,
}

/// Looks at the table, makes it or columns of it if the file says so, and decides how rows go there.
pub(crate) async fn look(
    config: &ClickHouse,
    table: &str,
    servers: &Servers,
    input: &SchemaRef,
) -> Result<Table, Missing> {
    let looking = Look { config, servers, input, table, name: config.full_name(table) };
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
    let layout = looking.layout(&columns)?;
    let pins = looking.pins().await?;
    let (memory, copies) = match config.exactly_once {
        true => looking.window(&engine).await?,
        false => (Memory { blocks: u64::MAX, time: Duration::MAX }, Copies::None),
    };
    let warnings = match config.exactly_once && engine.has_views {
        // Nothing depends on it: a server that does not understand the question gets its rows all the same.
        true => looking
            .forgetful_views()
            .await
            .unwrap_or_else(|failure| vec![format!("nobody knows what views make of rows that come again: {failure}")]),
        false => Vec::new(),
    };
    let partition_columns = columns.iter().filter(|it| it.in_partition).map(|it| it.name.clone()).collect();
    let is_sent = |it: &TableColumn| layout.names().any(|name| name == it.name);
    let structure = columns.into_iter().filter(is_sent).map(|it| (it.name, it.type_text)).collect();
    Ok(Table {
        name: looking.name,
        pins,
        partition: Some(engine.partition).filter(|it| !it.is_empty()),
        partition_columns,
        structure,
        memory,
        warnings,
        copies,
        layout,
    })
}

struct Look<'a> {
    config: &'a ClickHouse,
    servers: &'a Servers,
    input: &'a SchemaRef,
    table: &'a str,
    /// `database`.`table`.
    name: String,
}

impl Look<'_> {
    async fn ask(&self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        self.servers.ask(&format!("looking at table {}", self.name), sql, &[]).await
    }

    /// `database = … AND name = …` for one of the server's own tables.
    fn here(&self, name: &str) -> String {
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
        let columns = "engine, engine_full, partition_key, notEmpty(dependencies_table)";
        let mut rows = self.ask(&format!("SELECT {columns} FROM system.tables WHERE {}", self.here("name"))).await?;
        let Some([name, full, partition, has_views]) = rows.pop().and_then(|it| <[String; 4]>::try_from(it).ok())
        else {
            return Ok(None);
        };
        Ok(Some(Engine { name, full, partition, has_views: has_views == "1" }))
    }

    async fn columns(&self) -> Result<Vec<TableColumn>, Missing> {
        let sql = format!(
            "SELECT name, type, default_kind, is_in_partition_key FROM system.columns WHERE {} ORDER BY position",
            self.here("table")
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

    /// Which column goes where, and how.
    fn layout(&self, columns: &[TableColumn]) -> Result<Layout, Missing> {
        let mut placed = Vec::new();
        let mut unknown = Vec::new();
        let mut misfits = Vec::new();
        for (source, field) in self.input.fields().iter().enumerate() {
            if self.config.omit.contains(field.name()) {
                continue;
            }
            let other = ddl::plain_name(field.name());
            let named = |name: &str| columns.iter().find(|it| it.name == name);
            let Some(column) = named(field.name()).or_else(|| named(&other)) else {
                let near = nearest(field.name(), columns.iter().map(|it| it.name.as_str()));
                unknown.push(match near {
                    Some(near) => format!("`{}` (did you mean `{near}`?)", field.name()),
                    None => format!("`{}`", field.name()),
                });
                continue;
            };
            if matches!(column.default_kind.as_str(), "MATERIALIZED" | "ALIAS") {
                // The server makes its values itself.
                continue;
            }
            let of = Type::parse(&column.type_text).unwrap_or_else(|| Type::Other(column.type_text.clone()));
            match Column::new(field.data_type(), &of) {
                None => misfits.push(format!("`{}`, which holds {}, into {of}", field.name(), field.data_type())),
                Some(made) => placed.push(Placed {
                    source,
                    name: column.name.clone(),
                    of,
                    column: made,
                    has_default: column.default_kind == "DEFAULT",
                }),
            }
        }
        if !unknown.is_empty() {
            let hint = "add them, by hand or with `evolve = \"add_columns\"`, or leave them out with `omit`";
            let what = format!("table {} has no columns {} (hint: {hint})", self.name, unknown.join(", "));
            return Err(Missing::Unfit(what.into()));
        }
        if !misfits.is_empty() {
            return Err(Missing::Unfit(format!("table {} cannot take {}", self.name, misfits.join("; ")).into()));
        }
        if placed.is_empty() {
            return Err(Missing::Unfit(format!("no column of the rows is one of table {}", self.name).into()));
        }
        let stamp = &self.config.delivery_column;
        let is_stamp = |it: &&TableColumn| it.name == *stamp && it.type_text.contains("String");
        let stamp = columns.iter().find(is_stamp).map(|it| it.name.clone());
        if self.config.exactly_once && stamp.is_none() {
            let column = sql::name(&self.config.delivery_column);
            return Err(unfit(format!(
                "table {0} has no column {column} of text, by which deliveries are found again: \
                 `ALTER TABLE {0} ADD COLUMN {column} LowCardinality(String)`",
                self.name
            )));
        }
        Ok(Layout { placed, stamp })
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

    /// Settings of tables for which theirs says nothing.
    async fn merge_tree_settings(&self, table: &str, names: &[&str]) -> Result<Vec<(String, u64)>, Failure> {
        let names: Vec<String> = names.iter().map(|it| sql::text(it)).collect();
        let rows =
            self.ask(&format!("SELECT name, value FROM system.{table} WHERE name IN ({})", names.join(", "))).await?;
        let setting = |row: Vec<String>| {
            let [name, value] = <[String; 2]>::try_from(row).ok()?;
            Some((name, value.parse().ok()?))
        };
        Ok(rows.into_iter().filter_map(setting).collect())
    }

    /// Checks that the table deduplicates, and says for how long it does and what other servers know.
    async fn window(&self, engine: &Engine) -> Result<(Memory, Copies), Missing> {
        let (copies, base) = match (engine.name.strip_prefix("Replicated"), engine.name.strip_prefix("Shared")) {
            (Some(base), _) => (Copies::Fetched, base),
            (_, Some(base)) => (Copies::Shared, base),
            _ => (Copies::None, engine.name.as_str()),
        };
        if !matches!(base, "MergeTree" | "ReplacingMergeTree") {
            let what = match base {
                "Distributed" => "which spreads blocks over tables: write into those",
                "Buffer" => "which keeps rows in memory",
                "View" | "MaterializedView" | "Null" => "which keeps no rows of its own",
                it if it.ends_with("MergeTree") => {
                    "which joins rows, so that a delivery cannot be found in it again: write into a `MergeTree`, and \
                     feed this table by a materialized view"
                }
                _ => "which does not deduplicate",
            };
            return Err(unfit(format!("table {} has the engine {}, {what}", self.name, engine.name)));
        }
        if copies == Copies::None && self.servers.count() > 1 {
            return Err(unfit(format!(
                "table {} has the engine {}, of which each server has its own, and there are several `endpoints`",
                self.name, engine.name
            )));
        }
        let setting = if copies == Copies::None {
            "non_replicated_deduplication_window"
        } else {
            "replicated_deduplication_window"
        };
        let seconds_setting = "replicated_deduplication_window_seconds";
        let defaults = if copies == Copies::Fetched { "replicated_merge_tree_settings" } else { "merge_tree_settings" };
        let known = self.merge_tree_settings(defaults, &[setting, seconds_setting]).await?;
        let value = |name: &str| {
            let default = || known.iter().find(|it| it.0 == name).map(|it| it.1);
            setting_of(&engine.full, name).or_else(default).unwrap_or_default()
        };
        let window = value(setting);
        if window < WINDOW_MIN {
            return Err(unfit(format!(
                "table {0} remembers {window} blocks, and must remember {WINDOW_MIN} at least: \
                 `ALTER TABLE {0} MODIFY SETTING {setting} = {WINDOW_GOOD}`",
                self.name
            )));
        }
        let time = match copies {
            Copies::None => Duration::MAX,
            // The server's clock runs from when it has the block, ours from when it was sent.
            Copies::Fetched | Copies::Shared => Duration::from_secs(value(seconds_setting)) / 2,
        };
        Ok((Memory { blocks: window, time }, copies))
    }
}

/// What cannot be promised, and how to do without.
fn unfit(what: String) -> Missing {
    Missing::Unfit(format!("{what} (hint: or write `exactly_once = false`, which may double rows)").into())
}

/// A number from the settings in a table's statement.
fn setting_of(engine: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine.split_once("SETTINGS ")?;
    let of = |it: &str| {
        let (found, value) = it.split_once('=')?;
        (found.trim() == name).then(|| value.trim().trim_matches('\'').parse().ok()).flatten()
    };
    settings.split(',').find_map(of)
}

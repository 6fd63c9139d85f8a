//! The `clickhouse` sink: inserts Arrow record batches into a table, each delivery once.
//!
//! - `types`: ClickHouse's types; `cast`: how Arrow's values become theirs. Pure.
//! - `native`: columns in the format that goes over the wire; `block`: rows as the body of one INSERT.
//! - `pieces`: which rows go into one INSERT, what it is called, and what to do about one that was made before. Pure:
//!   the page to read about exactly once.
//! - `server`: requests; `failure`: what errors mean to the engine.
//! - `table`: the table as it is on the server, and whether the promise can be kept there.
//! - `write`: the sink and its drafts; `route`: which rows go into which table; `portion`: what goes into one of them;
//!   `search`: what one of them has of a delivery already; `slowly`: how fast rows are looked for that it does not take.
//! - `ddl`: statements that make a table, or add columns to it; `declared`: such statements, read; `sql`: names and
//!   values in them.

mod block;
mod cast;
mod ddl;
mod declared;
mod failure;
mod native;
mod pieces;
mod portion;
mod route;
mod search;
mod server;
mod slowly;
mod sql;
mod table;
#[cfg(test)]
mod tests;
mod types;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Config, Dialect, Promise, Secret, Sink, SinkConfig, Whereabouts, Wrong, column,
};
use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::route::{Routing, Tables};

/// Inserts rows into a table of ClickHouse, over HTTP or HTTPS.
///
/// ```toml
/// [sinks.warehouse]
/// type = "clickhouse"
/// inputs = ["event"]
/// endpoint = "https://clickhouse.example.com:8443"
/// database = "cdn"
/// table = "logs"
/// user = "forebay"
/// password = { env = "CLICKHOUSE_PASSWORD" }
/// create = true
/// ```
///
/// A column of the rows goes to the column of the same name, or else to that with `_` for `.` and without `@`:
/// `url.domain` to `url_domain`, `@timestamp` to `timestamp`. Columns that the rows do not have get their default.
/// Columns that are `MATERIALIZED` or `ALIAS` are left to the server.
///
/// Rows go as columns in ClickHouse's own `Native` format, with the types of the table: numbers, `Bool`, `Decimal`,
/// `String`, `FixedString`, `Date`, `Date32`, `DateTime`, `DateTime64`, `UUID`, `IPv4`, `IPv6`, `Enum`, `Array`, `Map`,
/// each also `Nullable` or `LowCardinality`. Text is read as the column's type. What other columns get (`JSON`, `Variant`, …)
/// the server reads from the text. Digits that a column has no room for are cut off, those of a `Decimal` rounded; a row
/// with a value that does not fit is refused, with the column and the value. Where there is no value and the column is not `Nullable`, the
/// column's default is inserted, as ClickHouse does it everywhere.
///
/// # Exactly once
///
/// Every INSERT is one block, with a name that follows from the delivery and the numbers of its rows, as
/// `insert_deduplication_token`: what the table remembers it does not take again. All settings by which a server would
/// make several blocks of it, or answer too early, are sent along. For what the table may have forgotten, each row
/// holds the name of its INSERT in `delivery_column`: after a crash, when an answer stayed away, and when this process
/// stood still before it sent them, rows are looked up there first. This is checked when the pipeline starts:
///
/// - the server is ClickHouse 24.3 or newer;
/// - the engine is `MergeTree` or `ReplacingMergeTree`, plain, `Replicated` or `Shared`;
/// - the table remembers 100 blocks or more: `non_replicated_deduplication_window` is 0 by default, and 10000 is a good
///   number. An INSERT is one block in each partition that it fills;
/// - there is a `delivery_column`;
/// - the user may look for deliveries: see below.
///
/// A `ReplacingMergeTree` ought to have a version column: rows that were replaced cannot be found again.
///
/// Rows are looked up by `delivery_column`, and between the least and the greatest of their times. Where the table has no
/// `Date`, `DateTime` or `DateTime64` that the rows fill, or is neither partitioned nor sorted by one, all values of
/// `delivery_column` are read: as `LowCardinality(String)` some tenth of a second of CPU time for ten million rows, as
/// `String` half a second.
///
/// Materialized views get each row once as long as the table remembers, and if the tables that they feed do so as well:
/// those need their own `non_replicated_deduplication_window`, and the log names them. If a view does not take rows that
/// the table has taken, the sink waits for somebody to mend the view, and so does the next start. What the table
/// remembers for certain is measured: no more than half as many blocks as it remembers have come since, and no more than
/// half of `replicated_deduplication_window_seconds` has passed. After that, rows that the table has are not sent again,
/// and the log says which delivery views may lack.
///
/// # Rights
///
/// The user needs `INSERT` and, to look for deliveries, `SELECT` on the table; `SYSTEM SYNC REPLICA` on it if it is
/// replicated; `SELECT` on `system.merge_tree_settings` (`system.replicated_merge_tree_settings`) unless the table's own
/// settings say how much it remembers; and `SELECT` on `system.parts` if it has materialized views. With
/// `exactly_once = false`, `INSERT` is enough.
///
/// # Errors
///
/// What the server says is judged by its number. A server or a table that is missing, quotas, short memory, too many
/// parts, tables and users that may only be read, and everything that is not known are waited for. Wrong passwords and
/// missing rights stop the pipeline; the next start goes on. If the server does not take the values of some row, as by
/// a `CONSTRAINT`, the rows are halved until that row is alone, and it is refused with the server's reason. Where a table
/// does not take 64 rows of a delivery or more, the others are looked for by ten INSERTs a second, and the log says so: once
/// the table is mended, all that are left go in. If columns of the table change, they are fetched again: when the server
/// says so, and every half minute.
///
/// # Several tables
///
/// ```toml
/// [sinks.warehouse]
/// type = "clickhouse"
/// inputs = ["event"]
/// endpoint = "http://127.0.0.1:8123"
///
/// [sinks.warehouse.table]
/// by = "url.domain"
/// tables = { "shop.example.com" = "shop_logs", "blog.example.com" = "blog_logs" }
/// others = "other_logs"
/// ```
///
/// Each row goes into the table for its value of a column. All other keys hold for each of the tables. The promise is kept
/// for each of them; a delivery is done when all of them have their rows, so that a table that is missing holds the
/// pipeline back. Without `others`, rows with any other value are refused.
///
/// # How soon and how often
///
/// Rows are sent as soon as they are there, but not more often than every 750 ms: what comes meanwhile goes out together.
/// By default, `batch = { age_max = "0ms", interval_min = "750ms" }`, a row is there within a second, and a table gets four
/// INSERTs in three seconds at most, however many rows come. With `age_max`, from `"0ms"` to minutes, the first row of an
/// INSERT waits for others; with `interval_min = "0ms"` INSERTs are as many as the server answers, and rows are there some
/// hundredths of a second later. More often than that rows go out only if they are more than `rows_max` or `bytes_max`,
/// and when they were halved, to find the one that the server does not take. While `in_flight_max` INSERTs are not
/// answered, the next one grows, so that a server that is slow gets fewer and larger ones.
///
/// This is counted for each sink of each process, and with several tables for each of them. Where processes share the
/// shards of a stream by `leases`, each shard has deliveries of its own, which take turns: while rows come to all of eight
/// shards, a row waits for up to six seconds, and with `interval_min = "100ms"`, which makes ten INSERTs a second, for less
/// than one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClickHouse {
    /// The server's HTTP interface, such as `"http://127.0.0.1:8123"`.
    pub endpoint: Option<String>,
    /// Instead of `endpoint`: several servers with the same replicated table, which is there already. If one does not
    /// answer, the next is asked.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// The database of the table. Default: `"default"`.
    #[serde(default = "default_name")]
    pub database: String,
    /// The table, such as `"logs"`. Or several tables, and how to choose one for each row:
    /// `{ by = "cs_host", tables = { "shop.example.com" = "shop_logs" }, others = "other_logs" }`.
    pub table: Tables,
    /// Who inserts. Default: `"default"`.
    #[serde(default = "default_name")]
    pub user: String,
    /// The user's password. Example: `{ env = "CLICKHOUSE_PASSWORD" }`. Default: none.
    pub password: Option<Secret>,
    /// Headers of every request, for what stands between. Example: `{ "X-Team" = "cdn" }`. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// For `https://`: whom to trust, and who to be. Default: what the system trusts.
    #[serde(default)]
    pub tls: Tls,
    /// How rows are compressed on their way: `"lz4"` (the default), `"zstd"`, which costs more time and needs a third
    /// less of the network, or `"none"`.
    #[serde(default)]
    pub compression: Compression,
    /// Whether every delivery must be there exactly once. If `false`, nothing is checked, and a delivery that is sent
    /// again may double rows where the table does not remember it. Default: `true`.
    #[serde(default = "yes")]
    pub exactly_once: bool,
    /// The column of text in which the name of each row's INSERT stands, if the table has it. Default: `"_delivery"`.
    #[serde(default = "delivery_column")]
    pub delivery_column: String,
    /// Whether to make the table (and its database) if it is not there: `forebay ddl` prints the statement. Columns are
    /// named as above and have the types of the rows, and fewer bytes where the names are those of logs: addresses,
    /// and texts of which there are few. Default: `false`.
    #[serde(default)]
    pub create: bool,
    /// Types of columns by their name in the table, for `create` and `evolve`, and so that `forebay check` can tell
    /// whether the rows fit. Example: `{ sc_status = "UInt16", c_ip = "IPv6" }`. Default: what the rows are.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// A file with the `CREATE TABLE` of each table, so that `forebay check` can tell without a server whether the rows
    /// go into its columns. Example: `"schema/logs.sql"`. Default: none; the table is looked at when the pipeline starts.
    pub ddl: Option<PathBuf>,
    /// For `create`: the sorting key. Default: the column of the host, the minute, and the time, as far as there are
    /// such. Example: `["cs_host", "toStartOfMinute(timestamp)", "timestamp"]`.
    pub order_by: Option<Vec<String>>,
    /// For `create`: what makes a partition. Default: the day of the time. Example: `"toYYYYMM(timestamp)"`; `""` for
    /// none.
    pub partition_by: Option<String>,
    /// For `create`: when rows are deleted, by their time. Default: never. Example: `"30d"`.
    pub ttl: Option<Age>,
    /// What to do about columns that the table lacks: with `"add_columns"` they are added to it. Default: it is an error.
    pub evolve: Option<Evolve>,
    /// Columns of the rows that are not inserted. Default: none.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Settings of ClickHouse for every INSERT, such as `{ insert_quorum = "auto" }`. Default: none.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// How long a server may take to answer an INSERT, or whether it has one; then it is asked again, and whether it has one
    /// with twice the time. Default: `"5m"`.
    #[serde(default = "timeout")]
    pub timeout: Age,
}

/// Whom to trust, and who to be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file of authorities that are trusted instead of the system's. Default: the system's.
    pub roots: Option<PathBuf>,
    /// A PEM file of the certificate to show, and those above it. Default: none is shown.
    pub certificate: Option<PathBuf>,
    /// A PEM file of the key that belongs to `certificate`.
    pub key: Option<PathBuf>,
}

/// How rows are compressed on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// LZ4.
    #[default]
    Lz4,
    /// Zstandard, level 1.
    Zstd,
    /// As they are.
    None,
}

/// What to do about columns that the table lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evolve {
    /// Add them to the table. Nothing is ever changed or taken away.
    AddColumns,
}

fn default_name() -> String {
    "default".to_owned()
}

fn delivery_column() -> String {
    "_delivery".to_owned()
}

fn yes() -> bool {
    true
}

fn timeout() -> Age {
    Age::seconds(300)
}

impl Config for ClickHouse {
    const TYPE: &'static str = "clickhouse";
}

impl ClickHouse {
    /// The servers.
    fn urls(&self) -> impl Iterator<Item = &str> {
        self.endpoint.iter().chain(&self.endpoints).map(|it| it.trim_end_matches('/'))
    }

    /// `database`.`table`.
    fn full_name(&self, table: &str) -> String {
        format!("{}.{}", sql::name(&self.database), sql::name(table))
    }

    /// Checks everything that can be checked without touching the world.
    fn check(&self, input: &SchemaRef) -> Result<(), Wrong> {
        self.check_servers()?;
        let names = [("database", self.database.as_str()), ("delivery_column", self.delivery_column.as_str())];
        for (key, name) in names.into_iter().chain(self.table.names().into_iter().map(|it| ("table", it))) {
            if name.is_empty() {
                return Err(Wrong::new(key, "a name is needed"));
            }
        }
        self.table.check(input)?;
        for name in self.settings.keys() {
            if table::is_pinned(name) {
                let what = format!("`{name}` is set by the sink itself, since rows would be lost or doubled otherwise");
                return Err(Wrong::new(format!("settings.{name}"), what));
            }
        }
        for name in &self.omit {
            column(input, "omit", name)?;
        }
        for (given, key) in [
            (self.order_by.is_some(), "order_by"),
            (self.partition_by.is_some(), "partition_by"),
            (self.ttl.is_some(), "ttl"),
        ] {
            if given && !self.create {
                return Err(Wrong::new(key, format!("`{key}` is for the table that the sink makes"))
                    .hint("write `create = true`, or leave it out"));
            }
        }
        if self.create && self.urls().count() > 1 {
            let what = "`create` makes a table of one server's own, and there are several `endpoints`";
            return Err(Wrong::new("create", what).hint(
                "make the same replicated table on all of them, as with the columns that `forebay ddl` prints, and leave `create` out",
            ));
        }
        if self.create && self.ddl.is_some() {
            let what = "`ddl` says what a table is like that others make, and `create` makes one";
            return Err(Wrong::new("ddl", what).hint("leave one of them out"));
        }
        ddl::check(self, input)?;
        declared::check(self, input)
    }

    fn check_servers(&self) -> Result<(), Wrong> {
        match (&self.endpoint, self.endpoints.as_slice()) {
            (None, []) => {
                return Err(
                    Wrong::new("", "`endpoint` is missing").hint("such as `endpoint = \"http://127.0.0.1:8123\"`")
                );
            }
            (Some(_), [_, ..]) => return Err(Wrong::new("endpoint", "`endpoint` and `endpoints` are one too many")),
            _ => {}
        }
        let key = if self.endpoint.is_some() { "endpoint" } else { "endpoints" };
        for url in self.urls() {
            let parsed: Option<http::Uri> = url.parse().ok();
            let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
            let authority = parsed.as_ref().and_then(http::Uri::authority).map_or("", |it| it.as_str());
            if !matches!(scheme, Some("http" | "https")) {
                return Err(Wrong::new(
                    key,
                    format!("`{}` is no URL of HTTP", url.split('@').next_back().unwrap_or_default()),
                )
                .hint(
                    "such as `\"http://127.0.0.1:8123\"` or `\"https://name.eu-west-1.aws.clickhouse.cloud:8443\"`",
                ));
            }
            if authority.contains('@') {
                return Err(Wrong::new(key, "a URL is no place for a password").hint("write `user` and `password`"));
            }
            if parsed.as_ref().is_some_and(|it| it.query().is_some()) {
                return Err(Wrong::new(key, "a URL has no settings here").hint("write `database` and `settings`"));
            }
        }
        for (name, value) in &self.headers {
            let good = http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value.reveal()).is_ok();
            if !good {
                return Err(Wrong::new(format!("headers.{name}"), format!("`{name}` is no header that can be sent")));
            }
        }
        let Tls { roots, certificate, key: private } = &self.tls;
        let given = roots.is_some() || certificate.is_some() || private.is_some();
        if given && !self.urls().any(|it| it.starts_with("https:")) {
            return Err(Wrong::new("tls", "`tls` is for `https://`, which no endpoint has"));
        }
        if certificate.is_some() != private.is_some() {
            return Err(Wrong::new("tls", "`certificate` and `key` belong together"));
        }
        Ok(())
    }
}

#[async_trait]
impl SinkConfig for ClickHouse {
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError> {
        Ok(self.check(input)?)
    }

    fn promise(&self) -> Promise {
        if self.exactly_once { Promise::OncePerId } else { Promise::AtLeastOnce }
    }

    /// Few and large: every INSERT is a part that the server must merge. What comes is there within a second all the same,
    /// polling included. At a row rate that fills this within the second, an INSERT a second would be too large for the
    /// server's memory and ours.
    fn batch(&self) -> Batch {
        Batch {
            rows_max: 500_000,
            bytes_max: ByteSize::mib(64),
            age_max: Age::millis(0),
            interval_min: Age::millis(750),
        }
    }

    /// The tables have their names already.
    fn ddl(&self, _name: &str, input: &SchemaRef, dialect: Dialect) -> Result<Option<String>, BoxError> {
        self.check(input)?;
        match dialect {
            Dialect::ClickHouse => {
                let statement = |table| Ok(format!("{};\n", ddl::create(self, table, input)?));
                let statements = self.table.names().into_iter().map(statement);
                Ok(Some(statements.collect::<Result<Vec<String>, Wrong>>()?.join("\n")))
            }
            Dialect::Athena | Dialect::DuckDb => Ok(None),
        }
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        let tables: Vec<String> = self.table.names().into_iter().map(|it| self.full_name(it)).collect();
        let at = format!("{} at {}", tables.join(", "), self.urls().collect::<Vec<_>>().join(", "));
        let tables: Vec<String> = self.table.names().iter().map(|it| format!("{}.{it}", self.database)).collect();
        let count = match tables.as_slice() {
            [table] => format!("SELECT count() FROM {table}"),
            several => {
                let count = |it: &String| format!("(SELECT count() FROM {it}) AS `{it}`");
                format!("SELECT {}", several.iter().map(count).collect::<Vec<_>>().join(", "))
            }
        };
        let query = format!("clickhouse client --query '{count}'");
        Some(Whereabouts { at, query: Some(query) })
    }

    async fn open(&self, input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(write::open(self, input, write::LOOK_AGAIN).await?))
    }
}

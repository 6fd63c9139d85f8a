//! Shared by all: a database of its own on the server of this test process, the sink's table there, and its rows.

mod ddl;
mod declared;
mod failures;
mod flipped;
mod front;
mod keeper;
mod once;
mod pieces;
mod plan;
mod refused;
mod replicas;
mod routes;
mod settings;
mod slowly;
mod tls;
mod types;
mod views;

use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use forebay_api::{DeliveryId, Draft, Refused, Sink, SinkConfig, SinkError};
use forebay_testkit::services::ClickHouse as Server;

use crate::ClickHouse;

/// A table `rows` in a database of its own.
struct Place<'a> {
    server: &'a Server,
    database: String,
}

impl Place<'static> {
    /// On the server that all tests share.
    fn new() -> Self {
        Self::on(Server::shared())
    }
}

impl<'a> Place<'a> {
    fn on(server: &'a Server) -> Self {
        Self { server, database: server.database() }
    }

    /// Makes the table with these columns, and the sink's own, and remembers enough blocks.
    fn table(&self, columns: &str) -> &Self {
        self.table_with(columns, "ORDER BY tuple()")
    }

    fn table_with(&self, columns: &str, rest: &str) -> &Self {
        self.query(&format!(
            "CREATE TABLE rows ({columns}, _delivery LowCardinality(String)) ENGINE = MergeTree {rest} \
             SETTINGS non_replicated_deduplication_window = 1000"
        ));
        self
    }

    /// Asks the server about `rows` of this place.
    fn query(&self, sql: &str) -> String {
        self.server.query(&self.named(sql))
    }

    fn named(&self, sql: &str) -> String {
        let mut named = sql.to_owned();
        for name in ["rows", "view", "other"] {
            for before in ["TABLE ", "FROM ", "INTO ", "VIEW ", "TO "] {
                named = named.replace(&format!("{before}{name} "), &format!("{before}{}.{name} ", self.database));
                if let Some(start) = named.strip_suffix(&format!("{before}{name}")) {
                    named = format!("{start}{before}{}.{name}", self.database);
                }
            }
        }
        named
    }

    /// How many rows there are, and how many of them are different.
    fn count(&self) -> String {
        self.query("SELECT count(), uniqExact(*) FROM rows")
    }

    /// How often the server was asked for the rows of a delivery.
    fn searches(&self) -> u64 {
        self.query("SYSTEM FLUSH LOGS");
        let of_place = format!("has(databases, '{}') AND query LIKE '%startsWith%'", self.database);
        let count = format!("SELECT count() FROM system.query_log WHERE type = 'QueryStart' AND {of_place}");
        self.query(&count).parse().unwrap()
    }

    fn config(&self, keys: &str) -> ClickHouse {
        self.config_at(&self.server.endpoint(), keys)
    }

    fn config_at(&self, endpoint: &str, keys: &str) -> ClickHouse {
        let user = if keys.contains("user = ") {
            String::new()
        } else {
            format!("user = '{}'\npassword = '{}'", Server::USER, Server::PASSWORD)
        };
        let database = &self.database;
        let table = if keys.contains("table = ") { "" } else { "table = 'rows'" };
        let text = format!("endpoint = '{endpoint}'\ndatabase = \"{database}\"\n{table}\n{user}\n{keys}");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    async fn open(&self, keys: &str, rows: &RecordBatch) -> Box<dyn Sink> {
        open(&self.config(keys), rows).await
    }
}

async fn open(config: &ClickHouse, rows: &RecordBatch) -> Box<dyn Sink> {
    config.plan(&rows.schema()).unwrap();
    config.open(rows.schema()).await.unwrap()
}

/// Rows of a number and a text that says the number.
fn numbers(numbers: std::ops::Range<i64>) -> RecordBatch {
    let texts: StringArray = numbers.clone().map(|it| Some(format!("text {it}"))).collect();
    forebay_testkit::columns([
        ("n", Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef),
        ("text", Arc::new(texts) as ArrayRef),
    ])
}

/// The table for [`numbers`].
const NUMBERS: &str = "n Int64, text String";

fn id(n: u64) -> DeliveryId {
    forebay_testkit::delivery(n)
}

/// Makes a whole delivery of what can be delivered at once.
async fn deliver(sink: &dyn Sink, n: u64, batches: &[RecordBatch]) -> Refused {
    let mut draft = staged(sink, n, batches).await;
    draft.commit().await.unwrap()
}

/// A draft that is to be committed.
async fn staged(sink: &dyn Sink, n: u64, batches: &[RecordBatch]) -> Box<dyn Draft> {
    let mut draft = sink.begin(&id(n)).await.unwrap();
    for batch in batches {
        draft.stage(batch.clone()).await.unwrap();
    }
    draft.intended(SystemTime::now());
    draft
}

/// Rows and reasons, a line each.
fn reasons(refused: &Refused) -> String {
    refused.iter().map(|it| format!("{}: {}\n", it.row, it.why)).collect()
}

/// What an error says, and what the engine is to do.
fn said<T>(result: Result<T, SinkError>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(SinkError::Retry(error)) => format!("retry: {error}"),
        Err(SinkError::Stop(error)) => format!("stop: {error}"),
    }
}

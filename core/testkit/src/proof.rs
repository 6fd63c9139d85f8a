//! The whole program under faults: rows of an [`Oracle`](crate::oracle::Oracle) go into a stream, come out in ClickHouse and in Parquet, and
//! are judged there.
//!
//! - [`Producer`]: puts rows, on a thread of its own, until it is told to end; some of them are [`Poison`].
//! - [`Pipeline`], [`Place`]: the file and the directory where it lies, and the processes of the program that run it.
//! - [`judge_clickhouse`], [`judge_parquet`], [`judge_letters`]: what came out, by readers that share no code with the
//!   program.
//! - [`killed()`]: all of them together; `kill -9` at random moments. The tests of the program run a short form, and
//!   `forebay-bench proof` runs the long one.
//!
//! Whatever fails panics: it is a test's own doing.

mod judges;
mod killed;
mod letter;
mod place;
mod poison;
mod producer;

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use judges::{judge_clickhouse, judge_letters, judge_parquet, parquet_rows};
pub use killed::{Killed, Settings, killed};
pub use place::{Place, Process};
pub use poison::{Due, KINDS, Poison, RARITY};
pub use producer::{Producer, Put, put};

use crate::oracle::{PATTERN, TYPES};
use crate::services::{ACCESS_KEY, ClickHouse, KinesisServer, SECRET_KEY};

/// The stream that [`Producer`] writes and a [`Pipeline`] reads.
pub const STREAM: &str = "cdn";

/// The table that a [`Pipeline`] writes.
pub const TABLE: &str = "rows";

/// What the sink has that writes to [`TABLE`], where nothing else is said.
pub const WAREHOUSE: &str = "batch = { age_max = \"200ms\" }";

/// How long nothing may get better before a run counts as stuck, on a machine that has other things to do.
const STUCK: Duration = Duration::from_secs(90);

/// What stands in `aws = …` for a server here.
pub fn aws(endpoint: &str) -> String {
    format!(
        "{{ region = \"us-east-1\", endpoint = \"{endpoint}\", path_style = true, access_key_id = \"{ACCESS_KEY}\", secret_access_key = \"{SECRET_KEY}\" }}"
    )
}

/// The pipeline from [`STREAM`] to [`TABLE`] and to Parquet files, both at once.
pub struct Pipeline {
    /// Where Kinesis is.
    pub kinesis: String,
    /// Where ClickHouse is.
    pub clickhouse: String,
    /// Further keys of the source.
    pub source: String,
    /// Further keys of the sink that writes to ClickHouse.
    pub warehouse: String,
    /// Where the Parquet files are, and further keys of the sink.
    pub lake: String,
    /// Where the dead letters are, and further keys of theirs.
    pub letters: String,
}

impl Pipeline {
    /// One that has files in its own directory: `lake` and `refused`. The table is there: [`create_table`].
    pub fn local(kinesis: &KinesisServer, clickhouse: &ClickHouse) -> Self {
        Self {
            kinesis: kinesis.endpoint(),
            clickhouse: clickhouse.endpoint(),
            source: String::new(),
            warehouse: WAREHOUSE.to_owned(),
            lake: "path = \"lake\"".to_owned(),
            letters: "path = \"refused\"".to_owned(),
        }
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kinesis, clickhouse, source, warehouse, lake, letters } = self;
        let aws = aws(kinesis);
        write!(
            f,
            r#"
name = "proof"

[dead_letters]
{letters}

[sources.logs]
type = "kinesis"
stream = "{STREAM}"
aws = {aws}
{source}

[transforms.parse]
type = "regex"
inputs = ["logs"]
pattern = '{PATTERN}'
types = {TYPES}

[sinks.warehouse]
type = "clickhouse"
inputs = ["parse"]
endpoint = "{clickhouse}"
table = "{TABLE}"
{warehouse}

[sinks.lake]
type = "parquet"
inputs = ["parse"]
partition = {{ columns = ["host"] }}
batch = {{ age_max = "300ms" }}
{lake}
"#
        )
    }
}

/// Makes [`TABLE`], which remembers so many INSERTs, and does not take what [`Poison::is_of_table`] says.
pub fn create_table(clickhouse: &ClickHouse, remembered: u32) {
    clickhouse.query(&format!(
        "CREATE TABLE {TABLE} (id UInt64, moment DateTime64(3), host LowCardinality(String), path String, \
         status UInt16, bytes UInt32, seal String, _delivery LowCardinality(String), \
         CONSTRAINT status_is_one CHECK status < 600) ENGINE = MergeTree ORDER BY id \
         SETTINGS non_replicated_deduplication_window = {remembered}"
    ));
}

/// How many rows the table has; none if there is no table yet.
pub fn table_rows(clickhouse: &ClickHouse) -> u64 {
    clickhouse.ask(&format!("SELECT count() FROM {TABLE}")).ok().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Waits until something has come to `due`, and gives up when it has not changed for a long while: then the verdict
/// says what is missing.
pub fn settle(due: u64, mut count: impl FnMut() -> u64) {
    let (mut best, mut since) = (0, Instant::now());
    loop {
        let found = count();
        if found >= due || since.elapsed() > STUCK {
            return;
        }
        if found != best {
            (best, since) = (found, Instant::now());
        }
        sleep(Duration::from_millis(100));
    }
}

//! The `parquet` sink: Hive-partitioned Parquet files, each visible whole or not at all.
//!
//! - `layout`: which directory a row belongs to. Pure.
//! - `file`: one Parquet file on its way: rows to bytes, bytes to disk, disk to its visible name.
//! - `write`: the sink and its drafts.
//! - `names`: what a commit that a crash cut short may have left visible.
//! - `disk`: the file system, and what its errors mean to the engine.
//! - `ddl`: the statements that make a table of the files.

mod chunks;
mod ddl;
mod disk;
mod file;
mod layout;
mod names;
#[cfg(test)]
mod tests;
mod write;

use std::num::NonZeroU32;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Config, Dialect, Promise, Resource, Sink, SinkConfig, Whereabouts, Wrong,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::chunks::CHUNK_ROWS;
use crate::layout::Layout;

/// Writes Parquet files into a directory, in Hive partitions by event time and by columns.
///
/// A file is called `<path>/year=2026/month=11/day=01/hour=07/<delivery id>-<n>.parquet`. It is written under
/// `<path>/.staging`, made durable, and only then given its name: a reader never sees half a file, and
/// `<path>/**/*.parquet` matches only whole ones. A delivery that is made again writes the same bytes under the same
/// names, so its rows are there once. The files of one delivery become visible one after the other.
///
/// Every row goes to the partition of its own values, late rows included. The file keeps the column of
/// `partition.time`; columns of `partition.columns` are in the path only, as Hive has it: there `null` and the empty
/// text are the same (`__HIVE_DEFAULT_PARTITION__`), and bytes other than `A-Z a-z 0-9 _ . -` are percent-encoded.
/// Refused are rows without a time, with a time outside the years 0 to 9999, and with a value too long for the name
/// of a directory.
///
/// A full disk is waited for. If the disk fails to make written data durable (`fsync`), the pipeline stops: what the
/// disk holds is then unknown, and the next start writes the delivery again from its source.
///
/// `path` belongs to this sink: no other process may write there at the same time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// The directory of the table, for example `"./data/cdn"`. It is made if it is not there. Buckets (`s3://…`) are
    /// not written yet.
    pub path: String,
    /// How rows are spread over directories. Default: all in one.
    /// Example: `{ time = "timestamp", every = "hour", columns = ["country"] }`.
    #[serde(default)]
    pub partition: PartitionBy,
    /// How pages are compressed: `"zstd"` (level 3, the default), `"snappy"` or `"none"`.
    #[serde(default)]
    pub compression: Compression,
    /// The most rows of a row group, at least 8192. Default: 1048576.
    #[serde(default = "row_group_rows_max")]
    pub row_group_rows_max: NonZeroU32,
    /// How large a row group gets, encoded; it ends after the 8192 rows that make it so. What is being encoded for all
    /// files of a delivery is held to four times as much. Default: `"64MiB"`.
    #[serde(default = "row_group_bytes_max")]
    pub row_group_bytes_max: ByteSize,
    /// How many files a delivery may have open at a time. A row that would open one more closes them all, and further
    /// rows of the same partitions go to further files. Default: 128.
    #[serde(default = "open_partitions_max")]
    pub open_partitions_max: NonZeroU32,
}

/// How rows are spread over directories.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionBy {
    /// The timestamp column that says when a row happened; its directories are in UTC. Example: `"timestamp"`.
    pub time: Option<String>,
    /// The length of a partition in time: `"year"`, `"month"`, `"day"` or `"hour"` (the default).
    pub every: Option<Every>,
    /// Columns of text, whole numbers or booleans that each make a further level, for example `["country"]`.
    /// Default: none.
    #[serde(default)]
    pub columns: Vec<String>,
}

/// The length of a partition in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// `year=2026`
    Year,
    /// `year=2026/month=11`
    Month,
    /// `year=2026/month=11/day=01`
    Day,
    /// `year=2026/month=11/day=01/hour=07`
    #[default]
    Hour,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard, level 3.
    #[default]
    Zstd,
    /// Snappy: larger files, for readers without Zstandard.
    Snappy,
    /// As they are.
    None,
}

fn row_group_rows_max() -> NonZeroU32 {
    const { NonZeroU32::new(1 << 20).unwrap() }
}

fn row_group_bytes_max() -> ByteSize {
    ByteSize::mib(64)
}

fn open_partitions_max() -> NonZeroU32 {
    const { NonZeroU32::new(128).unwrap() }
}

impl Config for Parquet {
    const TYPE: &'static str = "parquet";
}

impl Parquet {
    /// Checks everything that can be checked without touching the world.
    fn layout(&self, input: &SchemaRef) -> Result<Layout, Wrong> {
        if self.path.is_empty() {
            return Err(Wrong::new("path", "a path is needed").hint("for example \"./data/cdn\""));
        }
        if let Some((scheme, _)) = self.path.split_once("://") {
            let what = format!("`{scheme}://` is not written to yet, only directories are");
            return Err(Wrong::new("path", what).hint("write to a directory, such as \"./data\""));
        }
        // A file has at most 32767 row groups.
        if self.row_group_rows_max.get() < CHUNK_ROWS as u32 {
            let what = format!("a row group needs room for at least {CHUNK_ROWS} rows");
            return Err(Wrong::new("row_group_rows_max", what));
        }
        Layout::new(&self.partition, input)
    }
}

#[async_trait]
impl SinkConfig for Parquet {
    fn plan(&self, input: &SchemaRef) -> Result<(), BoxError> {
        self.layout(input)?;
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    /// Files are read often and written once, so deliveries are large.
    fn batch(&self) -> Batch {
        Batch { rows_max: 1_000_000, bytes_max: ByteSize::mib(256), age_max: Age::seconds(60) }
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Directory(self.path.clone().into())]
    }

    fn ddl(&self, name: &str, input: &SchemaRef, dialect: Dialect) -> Result<Option<String>, BoxError> {
        let layout = self.layout(input)?;
        let statement = match dialect {
            Dialect::Athena => ddl::athena(name, &self.path, &layout)?,
            Dialect::ClickHouse => ddl::clickhouse(name, &self.path, &layout)?,
            Dialect::DuckDb => ddl::duckdb(name, &self.path, &layout),
        };
        Ok(Some(statement))
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        let files = ddl::text(&ddl::files(&self.path));
        let query = format!("SELECT count(*) FROM read_parquet({files}, hive_partitioning = true)");
        Some(Whereabouts { at: self.path.clone(), query: Some(format!("duckdb -c \"{query}\"")) })
    }

    async fn open(&self, input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(write::open(self, self.layout(&input)?)?))
    }
}

//! The `parquet` sink: Hive-partitioned Parquet files, each visible whole or not at all.
//!
//! - `template`, `time_pattern`: what stands in a prefix.
//! - `layout`: where a row belongs; `columns`: what its file keeps of it. Pure.
//! - `encode`: rows to the bytes of one file; `chunks` and `measure`: rows that wait for it; `encoded`: what comes out.
//! - `store`: where files go, a directory or a bucket, and what their errors mean to the engine.
//! - `file`: one file on its way from the one to the other.
//! - `write`: the sink and its drafts: which row comes to which file, and which files end when.
//! - `ddl`: the statements that make a table of the files.

mod chunks;
mod columns;
mod ddl;
mod encode;
mod encoded;
mod file;
mod layout;
mod measure;
mod store;
mod template;
#[cfg(test)]
mod tests;
mod time_pattern;
mod write;
mod writer;

use std::num::NonZeroU32;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    Age, Batch, BoxError, ByteSize, Config, Dialect, Promise, Resource, Sink, SinkConfig, Whereabouts, Wrong,
};
use forebay_aws::{Aws, Location};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::chunks::CHUNK_ROWS;
use crate::layout::Layout;

/// Writes Parquet files into a directory or an S3 bucket, in Hive partitions by event time and by columns, or under
/// prefixes as Firehose has them.
///
/// A file is called `<path>/year=2026/month=11/day=01/hour=07/<delivery id>-<n>.parquet`. A reader never sees half a
/// file. In a directory it is written under `<path>/.staging`, made durable, and only then given its name. In a bucket
/// it is one `PutObject`, or a multipart upload that is completed last. A delivery that is made again writes the same
/// bytes under the same names, so its rows are there once. In a bucket names are given with `If-None-Match: *`; what is
/// there already is looked at, and stays if its size, delivery and columns are the right ones. Servers that do not know
/// this condition are asked before each name is given.
///
/// The files of a delivery become visible one after the other, in no certain order, and all of them before the
/// delivery counts as done. If the process dies in between, the next start completes them: until then a reader may see
/// some. Which names a delivery is about to give is noted under `<path>/.staging` first, so that rows are there once
/// even if the layout is changed at that moment.
///
/// Every row goes to the partition of its own values, late rows included (see `late`). Columns of `partition.columns` are
/// in the path only, as Hive has it: there `null` and the empty text are the same (`__HIVE_DEFAULT_PARTITION__`), and
/// bytes other than `A-Z a-z 0-9 _ . -` are percent-encoded. Refused are rows without a time, with a time outside the
/// years 0 to 9999, and with a value too long for a path: 255 bytes a level, 1024 a key.
///
/// Each partition of a delivery is a file at least, and a file costs some milliseconds and `fsync`s, or requests, however
/// few rows it has: thousands of partitions in a delivery want a coarser layout, or larger deliveries (`batch`).
///
/// A full disk, a missing bucket, missing rights and a dead server are waited for. If the disk fails to make written data
/// durable (`fsync`), or somebody ends an upload that is under way, the pipeline stops: the bytes are gone then, and the
/// next start writes the delivery again from its source. Uploads that a crash left are ended when their delivery is made
/// again, or at a start a day later. In a bucket these rights are needed: `s3:PutObject`, `s3:GetObject`,
/// `s3:DeleteObject` (notes), `s3:AbortMultipartUpload`, `s3:ListBucket` and `s3:ListBucketMultipartUploads`.
///
/// `path` belongs to this sink: no other process may write there at the same time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// The place of the table: a directory such as `"./data/cdn"`, which is made if it is not there, or a bucket with
    /// what stands before the names of all objects, such as `"s3://logs/cdn"`.
    pub path: String,
    /// For `s3://`: account, region, server and rights. Default: as all AWS programs find them.
    /// Example: `{ region = "eu-central-1" }`.
    #[serde(default)]
    pub aws: Aws,
    /// How rows are spread over directories. Default: all in one.
    /// Example: `{ time = "timestamp", every = "hour", columns = ["country"] }`.
    #[serde(default)]
    pub partition: PartitionBy,
    /// Instead of Hive partitions: what stands before the names of files, with expressions as Amazon Data Firehose has
    /// them. Example: `"data/ecs/year=!{timestamp:yyyy}/month=!{timestamp:MM}/"`.
    ///
    /// `!{timestamp:…}` takes a pattern of Java's `DateTimeFormatter` with the letters `y u M L d D E H h a m s S`, in
    /// UTC. Its time is that of each row, in the column `partition.time`; Firehose takes the arrival of the oldest record
    /// of a file for all of them. `!{partitionKeyFromQuery:x}` is the value of column `x`, which stays in the file.
    /// `!{firehose:random-string}` has 11 characters that follow from the delivery, so that a delivery that is made
    /// again has the same. Without any `!{timestamp:…}`, `!{timestamp:yyyy/MM/dd/HH/}` is put behind the prefix. A prefix
    /// has at most 1024 characters, and 512 once its expressions are filled in; rows beyond that are refused.
    ///
    /// Levels such as `year=!{timestamp:yyyy}` are partitions to every reader. A time without a name, as in
    /// `yyyy/MM/dd/HH/`, is one to Athena alone, which works it out (`forebay ddl`: column `datehour`). Spark and Hive find
    /// no such partition by themselves, nor does `MSCK REPAIR TABLE`: each must be added by `ALTER TABLE … ADD PARTITION …
    /// LOCATION`. Spark can read all of the files without it (`recursiveFileLookup`), as DuckDB and PyArrow do.
    /// Default: none.
    pub prefix: Option<String>,
    /// The same for rows that `late` sends there. `!{firehose:error-output-type}` is `late`, and must stand in it if any
    /// expression does. Rows that are refused go to the pipeline's dead letters, not here.
    /// Example: `"errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"`. Default: none.
    pub error_prefix: Option<String>,
    /// What becomes of rows that come long after later ones. Default: they go to their own partition, however old.
    /// Example: `{ after = "1h", to = "prefix" }`.
    pub late: Option<Late>,
    /// How pages are compressed: `"zstd"` (the default), `"snappy"` or `"none"`.
    #[serde(default)]
    pub compression: Compression,
    /// How hard `"zstd"` tries, from 1 to 22. Default: 1, since 3 makes CloudFront logs no smaller and costs a tenth more.
    pub compression_level: Option<u8>,
    /// The unit of times in files: `"millis"` (the default, which Athena reads) or `"micros"`. Digits beyond are cut off.
    #[serde(default)]
    pub timestamps: Timestamps,
    /// Columns by which the rows of each row group are sorted, ascending, for example `["timestamp"]`. Rows wait in
    /// memory until their row group ends, so row groups are smaller then. Default: rows are kept in their order.
    #[serde(default)]
    pub sort: Vec<String>,
    /// Columns with a bloom filter, for those that are searched for single values, such as `["request_id"]`.
    /// Default: none.
    #[serde(default)]
    pub bloom_filters: Vec<String>,
    /// The most rows of a row group, at least 8192. Default: 1048576.
    #[serde(default = "row_group_rows_max")]
    pub row_group_rows_max: NonZeroU32,
    /// How large a row group gets, encoded; it ends after the 8192 rows that make it so. With `sort` it is the size in
    /// memory that counts. Default: `"64MiB"`.
    #[serde(default = "row_group_bytes_max")]
    pub row_group_bytes_max: ByteSize,
    /// How much memory a delivery may need for all its open files: rows, encoders, and bytes that wait to be written.
    /// When it is more, large row groups end early, and then the files end that got no rows for the longest time:
    /// further rows of their partitions go to further files. At least `"16MiB"`. Default: `"64MiB"`.
    #[serde(default = "memory_max")]
    pub memory_max: ByteSize,
    /// How many files of a delivery may be partly written at a time, each an open file or upload; those that got no
    /// rows for the longest time end first. Partitions with few rows wait in memory and do not count. Default: 128.
    #[serde(default = "open_files_max")]
    pub open_files_max: NonZeroU32,
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

/// What becomes of rows that come long after later ones.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Late {
    /// A row is late if its time lies so long before the latest time among the rows that came before it in the same
    /// delivery. No clock decides, so that a delivery that is made again finds the same rows late. Default: `"1h"`.
    #[serde(default = "late_after")]
    pub after: Age,
    /// Where late rows go: to their `"own_partition"` (the default), under the `"prefix"` of `error_prefix`, or to the
    /// dead letters: `"refuse"`.
    #[serde(default)]
    pub to: LateTo,
}

/// Where late rows go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateTo {
    /// To the partition of their own time.
    #[default]
    OwnPartition,
    /// Under `error_prefix`.
    Prefix,
    /// To the dead letters.
    Refuse,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// Snappy: larger files, for readers without Zstandard.
    Snappy,
    /// As they are.
    None,
}

/// The unit of times in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// Milliseconds.
    #[default]
    Millis,
    /// Microseconds.
    Micros,
}

/// What [`Parquet::memory_max`] is at least: a row group of some thousand rows, and a part of an upload.
const MEMORY_MAX_MIN: ByteSize = ByteSize::mib(16);

fn row_group_rows_max() -> NonZeroU32 {
    const { NonZeroU32::new(1 << 20).unwrap() }
}

fn row_group_bytes_max() -> ByteSize {
    ByteSize::mib(64)
}

fn memory_max() -> ByteSize {
    ByteSize::mib(64)
}

fn open_files_max() -> NonZeroU32 {
    const { NonZeroU32::new(128).unwrap() }
}

fn late_after() -> Age {
    Age::seconds(3600)
}

impl Config for Parquet {
    const TYPE: &'static str = "parquet";
}

impl Parquet {
    /// Checks everything that can be checked without touching the world.
    fn layout(&self, input: &SchemaRef) -> Result<Layout, Wrong> {
        self.place()?;
        self.aws.check()?;
        // A file has at most 32767 row groups.
        if self.row_group_rows_max.get() < CHUNK_ROWS as u32 {
            let what = format!("a row group needs room for at least {CHUNK_ROWS} rows");
            return Err(Wrong::new("row_group_rows_max", what));
        }
        if self.memory_max < MEMORY_MAX_MIN {
            let what = format!("a delivery needs at least {MEMORY_MAX_MIN} of memory");
            return Err(Wrong::new("memory_max", what));
        }
        match self.compression_level {
            Some(_) if self.compression != Compression::Zstd => {
                let what = "only `zstd` has levels";
                return Err(Wrong::new("compression_level", what)
                    .hint("leave the level out, or write `compression = \"zstd\"`"));
            }
            Some(level) if !(1..=22).contains(&level) => {
                return Err(Wrong::new(
                    "compression_level",
                    format!("`{level}` is not a level of zstd, which are 1 to 22"),
                ));
            }
            _ => {}
        }
        Layout::new(self, input)
    }

    fn place(&self) -> Result<Location, Wrong> {
        store::place(&self.path)
    }

    fn zstd_level(&self) -> i32 {
        self.compression_level.map_or(1, i32::from)
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
        Batch { rows_max: 1_000_000, bytes_max: ByteSize::mib(256), age_max: Age::seconds(60), ..Batch::default() }
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Directory(self.path.clone().into())]
    }

    fn ddl(&self, name: &str, input: &SchemaRef, dialect: Dialect) -> Result<Option<String>, BoxError> {
        let layout = self.layout(input)?;
        let table = ddl::Table::new(name, &self.path, &layout);
        let statement = match dialect {
            Dialect::Athena => table.athena()?,
            Dialect::ClickHouse => table.clickhouse()?,
            Dialect::DuckDb => table.duckdb(),
        };
        Ok(Some(statement))
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        // The levels of the prefix that are the same for all rows: what `error_prefix` names lies beside them.
        let before = self.prefix.as_ref().and_then(|it| it.split("!{").next()?.rsplit_once('/'));
        let place = before.map_or(self.path.clone(), |it| format!("{}/{}", self.path.trim_end_matches('/'), it.0));
        let files = ddl::text(&ddl::files(&place));
        let query = format!("SELECT count(*) FROM read_parquet({files}, hive_partitioning = true)");
        Some(Whereabouts { at: self.path.clone(), query: Some(format!("duckdb -c \"{query}\"")) })
    }

    async fn open(&self, input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(write::open(self, self.layout(&input)?).await?))
    }
}

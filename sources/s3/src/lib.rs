//! The `s3` source: log files, each of them read once, from a bucket or a directory.

mod books;
mod bucket;
mod chunks;
mod decode;
mod directory;
mod feed;
mod fetch;
mod keys;
mod letter;
mod object;
mod open;
mod place;
mod queue;
mod replay;
mod source;
mod store;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, BoxError, ByteSize, Config, Resume, Source, SourceConfig, Wrong};
use forebay_aws::{Aws, Location};
use forebay_codec::{Columns, Format, FormatKeys, Layout, Limits, UnknownFields};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::keys::KeyPattern;
use crate::open::Tuning;

/// A line longer than this could not stand in a column together with others.
const LINE_BYTES_MAX_MAX: ByteSize = ByteSize::mib(1024);

/// What SQS allows for the visibility timeout of a message; less than two seconds could not be kept up.
const VISIBILITY: std::ops::RangeInclusive<Age> = Age::seconds(2)..=Age::seconds(12 * 3600);

/// Reads objects of log lines, each of them once: from a bucket of S3, or of a server that speaks S3; or from a
/// directory, where an object is a file and its key is its path below `path`.
///
/// Objects are found by listing, in the order of their keys, or are notified through an SQS queue (`mode`). Gzip and
/// zstd are told by the bytes, not by the name. Keys in which a part between slashes begins with `.` or `_` or ends in
/// `.tmp` are passed over, and so are links to directories. What writes new files into a directory should write them
/// under such a name and rename them when they are complete: a file that changes while it is read stops the pipeline,
/// and one that has grown since is read again from its start.
///
/// An object is known by its key and its content: in a bucket by the ETag and the size, in a directory by a hash. A
/// copy, a `touch` or a second notification changes nothing; what is written anew under the same key is a new object,
/// and is read from its start. Objects whose keys sort before what was read already are read like any other. A row's
/// position is the number of its line; in a JSON array and in Parquet that of the row.
///
/// A line that is not UTF-8, is too long, or does not fit its `#Fields:` is refused. An object that is damaged, or
/// decompresses to more than `object_bytes_max` or to a thousand times its size, gives the rows before that place;
/// one refusal stands for the rest of it, and the other objects are read on. The same becomes of an object in a bucket
/// that is overwritten or deleted after its first rows were read, or that cannot be read in `tries_max` tries although
/// others can: the refusal names it and says why.
///
/// A bucket, a queue or a right that is missing is waited for, and so is a server that is down. Large objects are fetched
/// in ranges of 8 MiB, three of them in memory at a time; small ones ahead of their turn, 16 at a time.
///
/// The rights that it needs are `s3:ListBucket` on the bucket (not with `mode = "notify"`; but without it S3 does not say
/// of a key that it is gone, only that access is denied), `s3:GetObject` on its objects (`s3:GetObjectVersion` too if the
/// bucket keeps versions), and `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the queue.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// What holds the objects: a bucket, or what lies below a prefix in it, such as `"s3://logs/cdn"`; or a directory, as
    /// a path or a `file://` URL, such as `"examples/data/realtime"`. A prefix ends at a slash: `s3://logs/cdn` does not
    /// hold `cdn-old/a.gz`.
    path: String,
    /// Which keys below `path` are read: a pattern in which `*` is any name or part of one, `**` any path and `{a,b}` a
    /// choice, such as `"2026/**/*.gz"`. By default `"**"`, all of them. What comes before the first of `* ? [ {` also
    /// narrows down what is listed of a bucket.
    #[serde(default)]
    include: KeyPattern,
    /// How objects are found. By default `"list"`: by listing all keys, once or every `poll`. `"notify"`: by the messages
    /// in `queue`. `"both"`: by messages, and by listing every `poll`, in case a message got lost or objects are older
    /// than the notifications.
    #[serde(default)]
    mode: Mode,
    /// How often to list, such as `"10s"`. By default, with `mode = "list"` the source reads what is there, and ends;
    /// with `"both"` it is `"1h"`.
    poll: Option<Age>,
    /// For `mode = "notify"` and `"both"`: the URL of the SQS queue that gets the bucket's events, such as
    /// `"https://sqs.eu-central-1.amazonaws.com/123456789012/cdn-logs"`. S3 may send to it directly, through SNS (with or
    /// without raw delivery) or through EventBridge. Only `ObjectCreated` events count; others are deleted, and so is
    /// the test event. A message that is none of these, or is about another bucket, is refused and deleted. A message
    /// about an object is deleted when all sinks have all rows of the object.
    queue: Option<String>,
    /// For `queue`: for how long a message is hidden from other readers at a time, in whole seconds. It is prolonged at
    /// half of this as long as the message is held, for up to 12 hours. By default `"5m"`; so long it takes after a crash
    /// until the messages that were held come again.
    visibility: Option<Age>,
    /// An object of a bucket that cannot be read in so many tries, although others can, is refused. By default `5`.
    tries_max: Option<NonZeroU32>,
    /// The account of a bucket: region, endpoint, credentials. By default those that all AWS programs find.
    aws: Option<Aws>,
    /// How an object becomes rows. By default `"lines"`: one column `message`. With `"w3c"`, the format of CloudFront's
    /// standard logs, one column for each field; with `"json_lines"` and `"json_array"` one for each of the keys in
    /// `columns`; with `"parquet"` those in `columns`.
    #[serde(default)]
    format: Format,
    /// For `format = "w3c"`: the fields that become columns, by their names in the `#Fields:` line, such as
    /// `["date", "time", "cs-uri-stem"]`. A field that a file does not have is null. By default the 35 of CloudFront.
    fields: Option<Vec<String>>,
    /// For JSON and Parquet: the columns and their types, such as
    /// `{ "time" = "timestamp:rfc3339", "http.response.status_code" = "u16" }`. In JSON the dots part the keys of inner
    /// objects. A column that an object does not have is null.
    columns: Option<Columns>,
    /// For `format = "w3c"` and JSON: what becomes of rows that have a field which `fields` or `columns` lacks. By default
    /// `"refuse"`, so that nothing is lost unseen; `"ignore"` reads them without it; `"keep"`, for JSON, puts such fields
    /// into one more column, as a JSON object.
    unknown_fields: Option<UnknownFields>,
    /// For `unknown_fields = "keep"`: the name of that column. By default `"unknown"`.
    unknown_column: Option<String>,
    /// For JSON: a string that stands for null, such as `"-"`. By default there is none.
    null: Option<String>,
    /// For `format = "json_array"`: the key of the outermost object that holds the array, such as `"Records"`. By default
    /// the array is the outermost value.
    records: Option<String>,
    /// A longer line is refused; of its bytes the first 64 KiB are kept. By default `"1MiB"`; at most `"1GiB"`.
    #[serde(default = "line_bytes_max")]
    line_bytes_max: ByteSize,
    /// What is more in an object, after decompression, is refused. By default `"16GiB"`.
    #[serde(default = "object_bytes_max")]
    object_bytes_max: ByteSize,
    /// Sizes that tests make small.
    #[serde(skip)]
    #[schemars(skip)]
    tuning: Tuning,
}

/// How objects are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// By listing all keys.
    #[default]
    List,
    /// By the messages in a queue.
    Notify,
    /// By messages and by listing.
    Both,
}

fn line_bytes_max() -> ByteSize {
    ByteSize(Limits::default().line_bytes_max as u64)
}

fn object_bytes_max() -> ByteSize {
    ByteSize(Limits::default().object_bytes_max)
}

impl Config for S3 {
    const TYPE: &'static str = "s3";
}

impl S3 {
    fn layout(&self) -> Result<Layout, Wrong> {
        let keys = FormatKeys {
            format: self.format,
            fields: self.fields.as_deref(),
            columns: self.columns.as_ref(),
            unknown_fields: self.unknown_fields,
            unknown_column: self.unknown_column.as_deref(),
            null: self.null.as_deref(),
            records: self.records.as_deref(),
        };
        keys.layout()
    }

    fn limits(&self) -> Result<Limits, Wrong> {
        if self.line_bytes_max.bytes() == 0 || self.line_bytes_max > LINE_BYTES_MAX_MAX {
            let what = format!("`line_bytes_max` must be between 1B and {LINE_BYTES_MAX_MAX}");
            return Err(Wrong::new("line_bytes_max", what));
        }
        Ok(Limits {
            line_bytes_max: self.line_bytes_max.bytes() as usize,
            object_bytes_max: self.object_bytes_max.bytes(),
        })
    }

    /// Finds keys that say nothing, or nothing good, about a place like this one.
    fn check_place(&self, place: &Location) -> Result<(), Wrong> {
        if let Some(aws) = &self.aws {
            aws.check()?;
        }
        if let Location::Directory(_) = place {
            const BUCKET: &str = "it is for buckets: `path = \"s3://bucket/prefix\"`";
            if self.mode != Mode::List {
                return Err(Wrong::new("mode", "a directory sends no notifications").hint(BUCKET));
            }
            let given = [("aws", self.aws.is_some()), ("tries_max", self.tries_max.is_some())];
            if let Some((key, _)) = given.iter().find(|it| it.1) {
                return Err(Wrong::new(*key, format!("`{key}` says nothing about a directory")).hint(BUCKET));
            }
        }
        if self.poll.is_some_and(|it| it.duration().is_zero()) {
            return Err(Wrong::new("poll", "`poll` must be longer than nothing"));
        }
        if self.poll.is_some() && self.mode == Mode::Notify {
            return Err(Wrong::new("poll", "`poll` says how often to list, which `mode = \"notify\"` does not do")
                .hint("leave `poll` away, or write `mode = \"both\"`"));
        }
        self.check_queue()
    }

    fn check_queue(&self) -> Result<(), Wrong> {
        const NEEDS: &str = "messages are read with `mode = \"notify\"` or `mode = \"both\"`";
        match (&self.queue, self.mode) {
            (None, Mode::List) if self.visibility.is_some() => {
                return Err(Wrong::new("visibility", "`visibility` means nothing without `queue`").hint(NEEDS));
            }
            (None, Mode::List) => return Ok(()),
            (Some(_), Mode::List) => {
                return Err(Wrong::new("queue", "`queue` means nothing with `mode = \"list\"`").hint(NEEDS));
            }
            (None, Mode::Notify | Mode::Both) => {
                return Err(Wrong::new("mode", "notifications come from a `queue`, and none is given")
                    .hint("write the queue's URL: `queue = \"https://sqs.eu-central-1.amazonaws.com/…\"`"));
            }
            (Some(queue), Mode::Notify | Mode::Both) => {
                let host_and_path = queue.strip_prefix("https://").or_else(|| queue.strip_prefix("http://"));
                let path = host_and_path.and_then(|it| it.split_once('/')).filter(|it| !it.0.is_empty());
                if path.is_none_or(|it| it.1.is_empty() || queue.contains(char::is_whitespace)) {
                    return Err(Wrong::new("queue", format!("`{queue}` is not the URL of a queue"))
                        .hint("`aws sqs get-queue-url --queue-name …` tells it; a name or an ARN is not enough"));
                }
            }
        }
        let visibility = self.visibility();
        if !VISIBILITY.contains(&Age(visibility)) || visibility.subsec_nanos() != 0 {
            return Err(Wrong::new("visibility", "`visibility` must be whole seconds, between 2s and 12h"));
        }
        Ok(())
    }

    fn visibility(&self) -> Duration {
        self.visibility.map_or(Duration::from_secs(300), Age::duration)
    }

    /// How long to wait between two listings, if there is more than one.
    fn poll(&self) -> Option<Duration> {
        match self.mode {
            Mode::Both => Some(self.poll.map_or(Duration::from_secs(3600), Age::duration)),
            Mode::List | Mode::Notify => self.poll.map(Age::duration),
        }
    }
}

#[async_trait]
impl SourceConfig for S3 {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.check_place(&place::parse(&self.path)?)?;
        self.limits()?;
        Ok(self.layout()?.schema().clone())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        match resume {
            Resume::After(after) => Ok(Box::new(self.everything(after).await?)),
            Resume::Exactly(spans) => Ok(Box::new(self.replay(spans).await?)),
        }
    }
}

//! The `s3` source: log files, each of them read once, from a directory.

mod directory;
mod everything;
mod object;
mod read;
mod replay;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, BoxError, ByteSize, Config, Resume, Source, SourceConfig, Wrong};
use forebay_codec::{Format, Layout, Limits, UnknownFields};
use globset::{GlobBuilder, GlobMatcher};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::directory::Directory;
use crate::read::{Objects, Opener};

/// A line longer than this could not stand in a column together with others.
const LINE_BYTES_MAX_MAX: ByteSize = ByteSize::mib(1024);

/// Reads objects of log lines, each of them once, in the order of their keys: today from a directory, as S3 would
/// list it.
///
/// An object is a file, and its key is its path below `path`. Gzip and zstd are told by the bytes, not by the name.
/// Files and directories whose name begins with `.` or `_` or ends in `.tmp` are passed over, and so are links to
/// directories. What writes new files should write them under such a name and rename them when they are complete: a
/// file that changes while it is read stops the pipeline, and one that has grown since is read again from its start.
///
/// An object is known by its key and its content. A copy, a new clone or a `touch` changes nothing; a file with new
/// content is a new object, and is read from its start. Objects whose keys sort before what was read already are read
/// like any other. A row's position is the number of its line.
///
/// A line that is not UTF-8, is too long, or does not fit its `#Fields:` is refused. An object that is damaged, or
/// decompresses to more than `object_bytes_max` or to a thousand times its size, gives the rows before that place;
/// one refusal stands for the rest of it, and the other objects are read on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The directory that holds the objects: a path or a `file://` URL, such as `"examples/data/realtime"`.
    /// Buckets, `s3://…`, are not read yet.
    path: String,
    /// Which keys are read: a pattern in which `*` is any name or part of one, `**` any path and `{a,b}` a choice,
    /// such as `"2026/**/*.gz"`. By default `"**"`, all of them.
    #[serde(default)]
    include: KeyPattern,
    /// How an object becomes rows. By default `"lines"`: one column `message`. With `"w3c"`, the format of CloudFront's
    /// standard logs, one column for each field.
    #[serde(default)]
    format: Format,
    /// For `format = "w3c"`: the fields that become columns, by their names in the `#Fields:` line, such as
    /// `["date", "time", "cs-uri-stem"]`. A field that a file does not have is null. By default the 35 of CloudFront.
    fields: Option<Vec<String>>,
    /// For `format = "w3c"`: what becomes of rows whose file has a field that `fields` lacks. By default `"refuse"`,
    /// so that nothing is lost unseen; `"ignore"` reads them without it.
    unknown_fields: Option<UnknownFields>,
    /// A longer line is refused; of its bytes the first 64 KiB are kept. By default `"1MiB"`; at most `"1GiB"`.
    #[serde(default = "line_bytes_max")]
    line_bytes_max: ByteSize,
    /// What is more in an object, after decompression, is refused. By default `"16GiB"`.
    #[serde(default = "object_bytes_max")]
    object_bytes_max: ByteSize,
    /// How often to look for new objects, such as `"10s"`. By default the source reads what is there, and ends.
    poll: Option<Age>,
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
    fn directory(&self) -> Result<Directory, Wrong> {
        let root = match self.path.split_once("://") {
            None if self.path.is_empty() => {
                return Err(Wrong::new("path", "`path` is empty").hint("`.` is the working directory"));
            }
            None => PathBuf::from(&self.path),
            Some(("file", path)) if path.starts_with('/') => {
                let decoded = percent_decode_str(path).decode_utf8();
                PathBuf::from(
                    decoded.map_err(|_| Wrong::new("path", format!("`{}` is not UTF-8", self.path)))?.as_ref(),
                )
            }
            Some(("file", _)) => {
                return Err(Wrong::new("path", format!("`{}` names a host", self.path))
                    .hint("a `file://` URL has three slashes before the path: `file:///var/log`"));
            }
            Some(("s3", _)) => {
                return Err(Wrong::new("path", "buckets are not read yet: give a directory")
                    .hint("`aws s3 sync` brings a bucket's objects into one"));
            }
            Some((scheme, _)) => {
                return Err(Wrong::new("path", format!("objects cannot be read by `{scheme}`"))
                    .hint("give a directory, as a path or as a `file://` URL"));
            }
        };
        Ok(Directory::new(root, self.include.0.clone()))
    }

    fn opener(&self) -> Result<Opener, Wrong> {
        Ok(Opener { directory: self.directory()?, layout: self.layout()?, limits: self.limits()? })
    }

    fn layout(&self) -> Result<Layout, Wrong> {
        self.format.layout(self.fields.as_deref(), self.unknown_fields)
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
}

#[async_trait]
impl SourceConfig for S3 {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.directory()?;
        self.limits()?;
        if self.poll.is_some_and(|it| it.duration().is_zero()) {
            return Err(Wrong::new("poll", "`poll` must be longer than nothing").into());
        }
        Ok(self.layout()?.schema().clone())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let poll = self.poll.map(Age::duration);
        let objects = Objects::open(self.opener()?, poll, resume).await?;
        Ok(Box::new(objects))
    }
}

/// Which keys are read: a pattern in which `*` stays within a name and `**` does not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct KeyPattern(GlobMatcher);

impl TryFrom<String> for KeyPattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        glob.map(|it| Self(it.compile_matcher()))
            .map_err(|error| format!("`{pattern}` is not a pattern: {}", error.kind()))
    }
}

impl Default for KeyPattern {
    fn default() -> Self {
        Self::try_from("**".to_owned()).expect("`**` is a pattern")
    }
}

//! A directory or an S3 prefix of JSON Lines files.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use forebay_api::{BoxError, Deliver, DeliveryId, SinkError};
use forebay_aws::{Aws, Trouble, trouble};
use forebay_state::create_directory;

/// How a file of letters ends.
const SUFFIX: &str = ".jsonl";

/// Where files of letters are.
#[derive(Clone, Debug)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// Objects of a bucket.
    Bucket {
        /// Calls S3.
        client: aws_sdk_s3::Client,
        /// Its name.
        bucket: String,
        /// What the keys begin with: nothing, or something that ends with `/`.
        prefix: String,
    },
}

impl Place {
    /// `path`: a directory or `s3://bucket/prefix`.
    pub async fn open(path: &str, aws: &Aws) -> Result<Self, BoxError> {
        let Some(rest) = path.strip_prefix("s3://") else { return Ok(Self::Directory(path.into())) };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::Bucket { client: aws.s3().await?, bucket: bucket.to_owned(), prefix })
    }

    /// Where a file is, in words.
    pub fn at(&self, name: &str) -> String {
        match self {
            Self::Directory(path) => path.join(format!("{name}{SUFFIX}")).display().to_string(),
            Self::Bucket { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}{name}{SUFFIX}"),
        }
    }

    /// The names of all files, without their ending, in order.
    pub async fn list(&self) -> Result<Vec<String>, BoxError> {
        let name = |file: &str| file.strip_suffix(SUFFIX).filter(|it| !it.starts_with('.')).map(str::to_owned);
        let mut names = Vec::new();
        match self {
            Self::Directory(path) => {
                let entries = match std::fs::read_dir(path) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
                    Err(error) => return Err(format!("cannot list `{}`: {error}", path.display()).into()),
                };
                for entry in entries {
                    names.extend(entry?.file_name().to_str().and_then(name));
                }
            }
            Self::Bucket { client, bucket, prefix } => {
                let request = client.list_objects_v2().bucket(bucket).prefix(prefix);
                let mut pages = request.into_paginator().send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|it| trouble("listing dead letters", it).into_error())?;
                    let keys = page.contents().iter().filter_map(|it| it.key()?.strip_prefix(prefix.as_str()));
                    names.extend(keys.filter(|it| !it.contains('/')).filter_map(name));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// The text of a file; `None` if it is not there.
    pub async fn read(&self, name: &str) -> Result<Option<String>, BoxError> {
        let bytes = match self {
            Self::Directory(_) => match std::fs::read(self.at(name)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(format!("cannot read `{}`: {error}", self.at(name)).into()),
            },
            Self::Bucket { client, bucket, prefix } => {
                let request = client.get_object().bucket(bucket).key(format!("{prefix}{name}{SUFFIX}"));
                match request.send().await.map_err(|it| trouble(&format!("reading `{}`", self.at(name)), it)) {
                    Ok(found) => found.body.collect().await?.to_vec(),
                    Err(Trouble::Gone(_)) => return Ok(None),
                    Err(trouble) => return Err(trouble.into_error()),
                }
            }
        };
        Ok(Some(String::from_utf8(bytes).map_err(|_| format!("`{}` is no text", self.at(name)))?))
    }

    /// Writes a file whole; nobody sees half of it.
    pub async fn write(&self, name: &str, text: Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::Directory(path) => write_file(path, name, &text).map_err(|error| {
                let kind = error.kind();
                let error = format!("dead letters at `{}`: {error}", path.display()).into();
                match kind {
                    // No waiting mends these.
                    ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::ReadOnlyFilesystem => {
                        SinkError::Stop(error)
                    }
                    _ => SinkError::Retry(error),
                }
            }),
            Self::Bucket { client, bucket, prefix } => {
                let put = client.put_object().bucket(bucket).key(format!("{prefix}{name}{SUFFIX}"));
                let put = put.content_type("application/x-ndjson").body(ByteStream::from(text)).send().await;
                put.map(drop).map_err(|error| failed(trouble(&format!("writing `{}`", self.at(name)), error)))
            }
        }
    }

    /// Removes a file, which need not be there.
    pub async fn remove(&self, name: &str) -> Result<(), BoxError> {
        match self {
            Self::Directory(path) => match std::fs::remove_file(self.at(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(format!("cannot remove `{}`: {error}", self.at(name)).into())
                }
                _ => Ok(std::fs::File::open(path)?.sync_all()?),
            },
            Self::Bucket { client, bucket, prefix } => {
                let request = client.delete_object().bucket(bucket).key(format!("{prefix}{name}{SUFFIX}"));
                let doing = format!("removing `{}`", self.at(name));
                request.send().await.map(drop).map_err(|it| trouble(&doing, it).into_error())
            }
        }
    }
}

/// What becomes of a call that failed: all but what can never work is tried again.
pub fn failed(trouble: Trouble) -> SinkError {
    match trouble {
        Trouble::Wrong(error) => SinkError::Stop(error),
        other => SinkError::Retry(other.into_error()),
    }
}

/// Writes the file whole, then lets it appear.
fn write_file(path: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    create_directory(path).map_err(std::io::Error::other)?;
    let hidden = path.join(format!(".{name}.tmp"));
    let mut file = std::fs::File::create(&hidden)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&hidden, path.join(format!("{name}{SUFFIX}")))?;
    std::fs::File::open(path)?.sync_all()
}

/// Letters as JSON Lines.
pub fn lines(rows: &[RecordBatch]) -> Result<Vec<u8>, SinkError> {
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    let written = rows.iter().try_for_each(|it| writer.write(it)).and_then(|()| writer.finish());
    written.map_err(|error| SinkError::Stop(error.into()))?;
    Ok(text)
}

#[async_trait]
impl Deliver for Place {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        self.write(id.as_str(), lines(rows)?).await?;
        Ok(Vec::new())
    }
}

//! Where letters are kept: a directory, or a part of a bucket. One behaviour, two places.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use forebay_api::{BoxError, Deliver, DeliveryId, SinkError};
use forebay_aws::{Aws, Location, Trouble, trouble};
use forebay_state::{create_directory, write_whole};

use crate::kept::LETTERS;

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
    /// The place at `location`. Nothing is sent yet; an error is about finding region and credentials.
    pub async fn open(location: &Location, aws: &Aws) -> Result<Self, BoxError> {
        Ok(match location {
            Location::Directory(path) => Self::Directory(path.clone()),
            Location::Bucket { name, prefix } => {
                Self::Bucket { client: aws.s3().await?, bucket: name.clone(), prefix: prefix.clone() }
            }
        })
    }

    /// Where a file is, in words.
    pub fn at(&self, file: &str) -> String {
        match self {
            Self::Directory(path) => path.join(file).display().to_string(),
            Self::Bucket { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}{file}"),
        }
    }

    /// All files, in order, and when they were written.
    pub(crate) async fn list(&self) -> Result<Vec<(String, SystemTime)>, BoxError> {
        let mut files = Vec::new();
        match self {
            Self::Directory(path) => {
                let failed = |error: std::io::Error| format!("cannot list `{}`: {error}", path.display());
                let entries = match std::fs::read_dir(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(files),
                    entries => entries.map_err(failed)?,
                };
                for entry in entries {
                    let entry = entry.map_err(failed)?;
                    match entry.metadata().and_then(|it| it.modified()) {
                        // What was half written a moment ago has its name by now.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        written => {
                            let written = written.map_err(failed)?;
                            files.extend(entry.file_name().to_str().map(|it| (it.to_owned(), written)));
                        }
                    }
                }
            }
            Self::Bucket { client, bucket, prefix } => {
                let request = client.list_objects_v2().bucket(bucket).prefix(prefix);
                let mut pages = request.into_paginator().send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|it| trouble("listing dead letters", it).into_error())?;
                    for object in page.contents() {
                        let name = object.key().and_then(|it| it.strip_prefix(prefix.as_str()));
                        let Some(name) = name.filter(|it| !it.contains('/')) else { continue };
                        let written = object.last_modified().and_then(|it| SystemTime::try_from(*it).ok());
                        files.push((name.to_owned(), written.unwrap_or_else(SystemTime::now)));
                    }
                }
            }
        }
        files.retain(|(name, _)| !name.starts_with('.'));
        files.sort();
        Ok(files)
    }

    /// The text of a file; `None` if it is not there.
    pub(crate) async fn read(&self, file: &str) -> Result<Option<String>, BoxError> {
        let bytes = match self {
            Self::Directory(path) => match std::fs::read(path.join(file)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(format!("cannot read `{}`: {error}", self.at(file)).into()),
            },
            Self::Bucket { client, bucket, prefix } => {
                let request = client.get_object().bucket(bucket).key(format!("{prefix}{file}"));
                match request.send().await.map_err(|it| trouble(&format!("reading `{}`", self.at(file)), it)) {
                    Ok(found) => found.body.collect().await?.to_vec(),
                    Err(Trouble::Gone(_)) => return Ok(None),
                    Err(trouble) => return Err(trouble.into_error()),
                }
            }
        };
        Ok(Some(String::from_utf8(bytes).map_err(|_| format!("`{}` is no text", self.at(file)))?))
    }

    /// Writes a file whole; nobody sees half of it.
    pub(crate) async fn write(&self, file: &str, text: Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::Directory(path) => {
                let written = create_directory(path).and_then(|()| write_whole(&path.join(file), &text));
                written.map_err(|error| {
                    let kind = error.kind();
                    let error = format!("dead letters at `{}`: {error}", path.display()).into();
                    match kind {
                        // No waiting mends these.
                        ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::ReadOnlyFilesystem => {
                            SinkError::Stop(error)
                        }
                        _ => SinkError::Retry(error),
                    }
                })
            }
            Self::Bucket { client, bucket, prefix } => {
                let put = client.put_object().bucket(bucket).key(format!("{prefix}{file}"));
                let put = put.content_type("application/x-ndjson").body(ByteStream::from(text)).send().await;
                put.map(drop).map_err(|error| failed(trouble(&format!("writing `{}`", self.at(file)), error)))
            }
        }
    }

    /// Makes a small file. `false` if there is one of this name.
    pub(crate) async fn write_new(&self, file: &str, text: &str) -> Result<bool, BoxError> {
        match self {
            Self::Directory(path) => {
                // Whole from the first moment on: half of it, left by a process that has ended, would be nobody's for ever.
                let hidden = path.join(format!(".{file}.{}.tmp", std::process::id()));
                let made = || {
                    create_directory(path)?;
                    let mut made = std::fs::File::create(&hidden)?;
                    made.write_all(text.as_bytes())?;
                    made.sync_all()?;
                    let linked = std::fs::hard_link(&hidden, path.join(file));
                    std::fs::remove_file(&hidden)?;
                    linked?;
                    std::fs::File::open(path)?.sync_all()
                };
                match made() {
                    Ok(()) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(format!("cannot write `{}`: {error}", self.at(file)).into()),
                }
            }
            Self::Bucket { client, bucket, prefix } => {
                let put = client.put_object().bucket(bucket).key(format!("{prefix}{file}")).if_none_match("*");
                let put = put.body(ByteStream::from(text.as_bytes().to_vec())).send().await;
                match put.map_err(|it| trouble(&format!("writing `{}`", self.at(file)), it)) {
                    Ok(_) => Ok(true),
                    Err(Trouble::Exists(_)) => Ok(false),
                    Err(trouble) => Err(trouble.into_error()),
                }
            }
        }
    }

    /// Removes a file, which need not be there.
    pub(crate) async fn remove(&self, file: &str) -> Result<(), BoxError> {
        match self {
            Self::Directory(path) => match std::fs::remove_file(path.join(file)) {
                Ok(()) => Ok(std::fs::File::open(path)?.sync_all()?),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(format!("cannot remove `{}`: {error}", self.at(file)).into()),
            },
            Self::Bucket { client, bucket, prefix } => {
                let request = client.delete_object().bucket(bucket).key(format!("{prefix}{file}"));
                let doing = format!("removing `{}`", self.at(file));
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
        self.write(&format!("{id}{LETTERS}"), lines(rows)?).await?;
        Ok(Vec::new())
    }
}

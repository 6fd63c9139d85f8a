//! Dead letters: where rows are kept that were refused and that no node reads, and how they come back.
//!
//! - [`Letters`]: the place, as the file names it. [`Letters::open`] is what the engine writes to.
//! - [`place`](mod@place): a directory or an S3 prefix of JSON Lines files, one for each delivery of letters, named by
//!   its id: the same letters again leave one copy. [`queue`](mod@queue): an SQS queue beside it.
//! - [`letter`](mod@letter): one line of such a file, and its row.
//!
//! For `forebay replay`:
//!
//! - [`kept`](mod@kept): the letters of a place, which of them were taken, and who replays them.
//! - [`copies`](mod@copies): the letters that a replay has taken up; [`source`](mod@source): these as a source.
//! - [`from_node`](mod@from_node): the part of the pipeline that they go through.

mod copies;
mod from_node;
mod kept;
mod letter;
mod place;
mod queue;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::plan::DeadLetters;
use forebay_api::{BoxError, Deliver, Wrong};
use forebay_aws::{Aws, Location};

pub use copies::{Copied, Copies, CopyWriter};
pub use from_node::{from_node, schema_of};
pub use kept::Listing;
pub use letter::Letter;
pub use place::Place;
pub use queue::{Emptied, Queue};
pub use source::{LetterSource, OldPlaces};

/// Where dead letters are kept, as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letters {
    path: String,
    location: Location,
    queue: Option<String>,
    aws: Aws,
}

impl Letters {
    /// `path`: a directory or `s3://bucket/prefix`. `queue`: the URL of an SQS queue that gets the letters instead; only
    /// those that are too large for a message are kept at `path`. A [`Wrong`] has a key of the table `dead_letters`.
    pub fn new(path: &str, queue: Option<String>, aws: Option<Aws>) -> Result<Self, Wrong> {
        let location = Location::parse(path)?;
        let is_url = |it: &String| it.starts_with("https://") || it.starts_with("http://");
        if let Some(queue) = queue.iter().find(|it| !is_url(it)) {
            return Err(Wrong::new("queue", format!("`{queue}` is no URL of a queue"))
                .hint("`aws sqs get-queue-url --queue-name …` tells it"));
        }
        if let Some(aws) = &aws {
            aws.check()?;
        }
        Ok(Self { path: path.to_owned(), location, queue, aws: aws.unwrap_or_default() })
    }

    /// The same account, and letters that are kept elsewhere: in a directory or at `s3://bucket/prefix`.
    pub fn elsewhere(&self, path: &str) -> Result<Self, Wrong> {
        Self::new(path, None, Some(self.aws.clone()))
    }

    /// The directory or the S3 prefix, as the file has it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory, if they are kept in one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.location {
            Location::Directory(path) => Some(path),
            Location::Bucket { .. } => None,
        }
    }

    /// The place of the files.
    pub async fn place(&self) -> Result<Place, BoxError> {
        Place::open(&self.location, &self.aws).await
    }

    /// The queue, if the letters go to one.
    pub async fn queue(&self) -> Result<Option<Queue>, BoxError> {
        match &self.queue {
            Some(url) => Ok(Some(Queue::new(self.aws.sqs().await?, url.clone(), self.place().await?))),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl DeadLetters for Letters {
    fn at(&self) -> String {
        match &self.queue {
            Some(queue) => format!("{queue} (large ones in {})", self.path),
            None => self.path.clone(),
        }
    }

    async fn open(&self) -> Result<Arc<dyn Deliver>, BoxError> {
        Ok(match self.queue().await? {
            Some(queue) => Arc::new(queue),
            None => Arc::new(self.place().await?),
        })
    }
}

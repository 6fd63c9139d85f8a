//! Where files go: a directory, or a bucket. One behaviour, two places.
//!
//! Nothing that is written is visible before [`Upload::place`]. What a commit that a crash cut short may have left
//! visible is known by a note: see [`Store::note`].

pub(crate) mod disk;
mod local;
mod s3;

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::{BoxError, DeliveryId, SinkError, Wrong};
use forebay_aws::Location;

pub(crate) use local::Directory;
pub(crate) use s3::Bucket;

/// Names of files relative to the table's place, with `/`.
pub(crate) type Names = BTreeSet<String>;

/// Where the files of a table are kept.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Makes the place ready for a delivery, and removes what an attempt at it has left that nobody sees. Gives the
    /// visible names that earlier attempts may have used.
    async fn begin(&self, id: &DeliveryId) -> Result<Names, SinkError>;

    /// Makes names durable that the delivery is about to give. They take the place of those noted before at once.
    ///
    /// A delivery that is made again writes the same names over what is there, unless the layout was changed in
    /// between: then rows would be there twice, under old names and new. So one that finds names of an earlier attempt
    /// removes those that it does not use itself.
    async fn note(&self, id: &DeliveryId, names: &Names) -> Result<(), SinkError>;

    /// A file of a delivery, of which nothing is written yet. `nth` is its number in the delivery.
    fn upload(&self, id: &DeliveryId, nth: usize, name: &str) -> Box<dyn Upload>;

    /// Removes visible files.
    async fn remove(&self, names: &[String]) -> Result<(), SinkError>;

    /// Makes durable that these files are visible, or gone.
    async fn seal(&self, names: &Names) -> Result<(), SinkError>;

    /// Forgets the note, and all else about the delivery that nobody sees: it is done. As well as it can.
    async fn forget(&self, id: &DeliveryId);

    /// Called when a draft is let go, after its uploads were.
    fn let_go(&self, id: &DeliveryId);
}

/// A file on its way. To let it go before it is placed is to abandon it.
#[async_trait]
pub(crate) trait Upload: Send {
    /// How many bytes the `nth` part has at least, counted from 0, unless it is the last one.
    fn part_bytes(&self, nth: usize) -> usize;

    /// How many parts a file may have.
    fn parts_max(&self) -> usize;

    /// Takes a part over. It may be on its way when this returns; an error may be about an earlier one.
    ///
    /// After [`SinkError::Retry`] the part is not taken over, and comes again.
    async fn write(&mut self, part: &Bytes) -> Result<(), SinkError>;

    /// Takes the last part over, and makes all that was written durable under no visible name. With `kept`, the last
    /// part may stay in memory until [`Upload::place`], which is cheaper. Called again after [`SinkError::Retry`].
    async fn finish(&mut self, rest: &Bytes, kept: bool) -> Result<(), SinkError>;

    /// Gives the file its visible name, in place of one that an earlier attempt left. Called again after
    /// [`SinkError::Retry`], and harmless once it was successful.
    async fn place(&mut self) -> Result<(), SinkError>;
}

/// Reads `path`: where the table is.
pub(crate) fn place(path: &str) -> Result<Location, Wrong> {
    let place = Location::parse(path)?;
    if let Location::Bucket { prefix, .. } = &place
        && prefix.split_terminator('/').any(|it| it.is_empty() || it.starts_with('.'))
    {
        let what = format!("`{prefix}` has a level without a name, or one that begins with a dot");
        return Err(Wrong::new("path", what).hint("readers pass over files in such levels"));
    }
    Ok(place)
}

/// Whether this is a name that the delivery can have given: only those are ever removed.
fn is_name(name: &str, id: &DeliveryId) -> bool {
    let mut levels: Vec<&str> = name.split('/').collect();
    let file = levels.pop().unwrap_or_default();
    let fits = |it: &&str| !it.is_empty() && !it.starts_with('.') && !it.contains('\0');
    delivery_of(file).is_some_and(|it| it == id.as_str()) && levels.iter().all(fits)
}

/// The delivery in the name of a file: `…<delivery id>-<n>.parquet`.
fn delivery_of(file: &str) -> Option<&str> {
    let (before, ordinal) = file.strip_suffix(".parquet")?.rsplit_once('-')?;
    let is_number = !ordinal.is_empty() && ordinal.bytes().all(|it| it.is_ascii_digit());
    let id = before.get(before.len().checked_sub(32)?..)?;
    (is_number && id.parse::<DeliveryId>().is_ok() && !file.starts_with('.')).then_some(id)
}

/// An error of a step that is not worth another try, with what it was about.
fn stop(error: impl Into<BoxError>) -> SinkError {
    SinkError::Stop(error.into())
}

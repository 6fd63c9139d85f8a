//! What sources have in common that keep requests in a spool: the keys in the file, positions, and a thread for the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use forebay_api::{BoxError, ByteSize, Partition, Position};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Durability, Options, ReadError, Spool};

/// For so long a request waits for the disk. Then its client is told to try again; that does no harm where a request that
/// comes twice is known.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the disk has not answered for half as long as requests wait for it: time to send them elsewhere.
pub fn is_stalled(spool: &Spool, patience: Duration) -> bool {
    spool.waits() >= patience / 2
}

/// Why a source cannot read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The disk did not give what it has; asking again goes on at the same place.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What comes next was written by another version of the program.
    #[error(transparent)]
    Format(#[from] OtherFormat),
}

/// A request is kept in another format than this program reads. The end of the source: whatever it made of it would be lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {sequence} of the spool at `{place}` has format {found}, and this program reads format {expected}: nothing is \
     lost; start the version that wrote it, or put the directory aside"
)]
pub struct OtherFormat {
    /// What a frame holds.
    pub what: &'static str,
    /// The directory.
    pub place: String,
    /// The number of the request.
    pub sequence: u64,
    /// Its format, by the first byte of the frame.
    pub found: String,
    /// The one that is read.
    pub expected: u8,
}

impl OtherFormat {
    /// That of a frame that cannot be decoded. Its bytes are whole: their sum was right.
    pub fn new(place: String, sequence: u64, payload: &[u8], expected: u8) -> Self {
        let found = match payload.first() {
            None => "none".to_owned(),
            Some(version) if *version == expected => format!("{version}, but of another source"),
            Some(version) => version.to_string(),
        };
        Self { what: "request", place, sequence, found, expected }
    }

    /// That of a frame which holds something else than a request.
    pub fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }
}

/// Where requests are kept until every sink has them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolKeys {
    /// A directory on the local disk, which is made if need be and which nothing else may use, such as
    /// `"/var/lib/forebay/pages"`. Only the user of the process can read the files in it. It must outlive the process: on a machine that forgets its disk, what no sink has yet is
    /// lost.
    pub directory: PathBuf,
    /// All files of requests together do not become larger; when they are as large, requests are answered with 503. By
    /// default `"1GiB"`.
    #[serde(default = "bytes_max")]
    pub bytes_max: ByteSize,
    /// When a request is answered. By default `"fsync"`: when it is durable. `"memory"`: when the operating system has it;
    /// then a power cut may cost what was answered in the second before it, but the end of the process costs nothing.
    #[serde(default)]
    pub durability: Durability,
}

fn bytes_max() -> ByteSize {
    ByteSize::mib(1024)
}

impl SpoolKeys {
    /// How the spool is kept. `after`: what the state has seen, which is never another request's number, whatever became
    /// of the disk.
    pub fn options(&self, after: &BTreeMap<Partition, Position>) -> Options {
        Options {
            durability: self.durability,
            after: after.values().filter_map(sequence_of).max().unwrap_or(0),
            ..Options::new(self.bytes_max.bytes())
        }
    }
}

/// The partition that a spool is, by its number. Another spool at the same place is another one.
pub fn partition(number: u64) -> Partition {
    Partition::new(format!("{number:016x}"))
}

/// The row at which a reading stands behind a request that is lost, in whole or from some row on: behind all rows that a request
/// can have.
pub const REST: u64 = u32::MAX as u64;

/// The sequence number of the frame in which a position stands.
pub fn sequence_of(position: &Position) -> Option<u64> {
    match position {
        Position::At { sequence, .. } => sequence.as_str().parse().ok(),
        Position::Start | Position::End => None,
    }
}

/// Opens a spool, or what is read of it, on a thread that may block. A disk that hangs may keep it for ever, and then nothing
/// is taken: once it has not answered for half as long as requests wait for it, that is said, and again each time that the
/// wait has doubled.
///
/// # Errors
///
/// Those of the work, or if it panics.
pub async fn opening<T: Send + 'static>(
    place: impl std::fmt::Display,
    patience: Duration,
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Result<T, BoxError> {
    let began = Instant::now();
    let mut opened = tokio::task::spawn_blocking(work);
    let mut silence = patience / 2;
    let mut was_said = false;
    loop {
        let done = tokio::time::timeout(silence.saturating_sub(began.elapsed()), &mut opened).await;
        let seconds = began.elapsed().as_secs_f64();
        if let Ok(done) = done {
            if was_said {
                tracing::info!("the spool at `{place}` has answered after {seconds:.1} s");
            }
            return done?;
        }
        tracing::warn!(
            "the spool at `{place}` does not answer: it is not open after {seconds:.1} s; its disk hangs, or is very slow, \
             and nothing is taken until it answers"
        );
        (silence, was_said) = (2 * silence, true);
    }
}

/// Reads on a thread that may block. What is needed for it is away meanwhile; if whoever waits lets go, for good.
///
/// # Errors
///
/// If it is away, or the work panics.
pub async fn aside<T, A>(it: &mut Option<T>, work: impl FnOnce(&mut T) -> A + Send + 'static) -> Result<A, BoxError>
where
    T: Send + 'static,
    A: Send + 'static,
{
    let mut taken = it.take().ok_or("a read of the spool was let go before its end")?;
    let (taken, done) = tokio::task::spawn_blocking(move || {
        let done = work(&mut taken);
        (taken, done)
    })
    .await?;
    *it = Some(taken);
    Ok(done)
}

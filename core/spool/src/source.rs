//! What sources have in common that keep requests in a spool: the keys in the file, positions, and a thread for the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use forebay_api::{BoxError, ByteSize, Partition, Position};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Durability, Options};

/// Where requests are kept until every sink has them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolKeys {
    /// A directory on the local disk, which is made if need be and which nothing else may use, such as
    /// `"/var/lib/forebay/pages"`. It must outlive the process: on a machine that forgets its disk, what no sink has yet is
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

/// The sequence number of the frame in which a position stands.
pub fn sequence_of(position: &Position) -> Option<u64> {
    match position {
        Position::At { sequence, .. } => sequence.as_str().parse().ok(),
        Position::Start | Position::End => None,
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

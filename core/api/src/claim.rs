//! Partitions that several processes share: each is claimed by one of them at a time.
//!
//! What is kept about a partition (committed positions, pending deliveries) travels with the claim to it, so that the
//! next process that holds it rebuilds what the last one left open before it reads on.

use async_trait::async_trait;

use crate::{BoxError, Partition, Position, Resume, Source};

/// Hands partitions of a source to this process.
#[async_trait]
pub trait Claims: Send {
    /// The next partition that this process is to read. Waits until there is one; `None` when there never will be.
    ///
    /// What passes by itself is retried inside; an error ends the pipeline. The future may be let go in the middle.
    async fn next(&mut self) -> Result<Option<Box<dyn Claim>>, BoxError>;

    /// Called once: no claim will be asked for any more. What is not held by now is left to others.
    fn enough(&mut self) {}

    /// Called once, when every claim was released or let go: lets go of what this process holds as one of many.
    async fn leave(&mut self) -> Result<(), BoxError>;
}

/// A partition that is this process's as long as nobody takes it.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Which one.
    fn partition(&self) -> &Partition;

    /// What was kept when the claim was won.
    fn kept(&self) -> &Kept;

    /// Makes a state durable in place of the one before it, together with the position that every sink has reached.
    /// [`Position::End`]: the partition is done with for good.
    ///
    /// Nothing is written, and the answer is [`ClaimError::Lost`], once the partition is somebody else's: what a
    /// process writes late has no effect.
    async fn keep(&self, state: &[u8], committed: &Position) -> Result<(), ClaimError>;

    /// Opens the source for this partition alone. [`Resume::After`] names it, or nothing: then it begins where the
    /// claim says, which need not be the log's first row.
    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError>;

    /// Waits until somebody else is to have the partition: what is under way ought to be finished, nothing begun, and
    /// the claim released.
    async fn wanted(&self);

    /// Waits until the partition may be somebody else's: what is under way is abandoned at once.
    async fn lost(&self);

    /// Gives the partition up. What was kept last is what the next one finds.
    async fn release(&self) -> Result<(), BoxError>;
}

/// What is known about a partition from whoever had it before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was handed to [`Claim::keep`] last; `None` if nothing ever was, or if somebody else has moved the
    /// position since then.
    pub state: Option<Vec<u8>>,
    /// Up to where everything is done, where `state` does not say.
    pub committed: Option<Position>,
}

/// Why a state could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The partition is somebody else's.
    #[error("the partition has been taken by another process")]
    Lost,
    /// The far side could not be reached for so long that the claim has run out, or something worse.
    #[error("the claim could not be kept")]
    Failed(#[source] BoxError),
}

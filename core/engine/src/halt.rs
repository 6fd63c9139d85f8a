//! The end of a run before the end of its input: a stop was asked for, or something failed.
//!
//! Both stop all reading at once, and both let what was read be delivered, for no longer than a drain may take.

use std::sync::OnceLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Ending, RunError};

/// What all parts of a run look at.
pub(crate) struct Halt {
    token: CancellationToken,
    drain_max: Duration,
    failed: OnceLock<RunError>,
}

impl Halt {
    /// Comes with `stop`, or with the first failure.
    pub fn new(stop: &CancellationToken, drain_max: Duration) -> Self {
        Self { token: stop.child_token(), drain_max, failed: OnceLock::new() }
    }

    /// Cancelled when nothing new is to be read any more.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Ends the run with an error; the first one is told.
    pub fn fail(&self, error: RunError) {
        if let Err(error) = self.failed.set(error) {
            tracing::warn!("meanwhile something else has failed: {}", forebay_api::causes(&error));
        }
        self.token.cancel();
    }

    /// Why the run failed, if it did.
    pub fn into_failure(self) -> Option<RunError> {
        self.failed.into_inner()
    }

    /// Sees work through, or abandons it when the time to drain is over.
    pub async fn limit(&self, work: impl Future<Output = Result<Ending, RunError>>) -> Result<Ending, RunError> {
        let over = async {
            self.token.cancelled().await;
            tokio::time::sleep(self.drain_max).await;
        };
        tokio::select! {
            biased;
            ended = work => ended,
            () = over => Ok(Ending::DrainCut),
        }
    }
}

//! Whether a shard that cannot be found has expired.

use std::time::Duration;

use forebay_aws::{Reason, Trouble};
use tokio::time::Instant;

use crate::api::Api;
use crate::record::Shard;

/// A shard that cannot be found for so long, and is not listed either, has expired. What has just been made by a split is
/// not everywhere known at once.
pub const GONE_AFTER: Duration = Duration::from_secs(30);

/// The shard has expired, and what was not read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What is known of a shard that may have expired.
#[derive(Debug)]
pub struct Presence {
    gone_after: Duration,
    /// Since when it cannot be found.
    missing: Option<Instant>,
}

impl Presence {
    pub fn new(gone_after: Duration) -> Self {
        Self { gone_after, missing: None }
    }

    /// It is there.
    pub fn found(&mut self) {
        self.missing = None;
    }

    /// Looks whether a shard is still there, if that is what the trouble is about.
    pub async fn check(&mut self, api: &Api, shard: &Shard, trouble: &Trouble) -> Result<(), Gone> {
        if trouble.reason() != Some(Reason::NotFound) {
            return Ok(());
        }
        let since = *self.missing.get_or_insert_with(Instant::now);
        match api.all_shards(&shard.stream, None).await {
            Ok(listed) if listed.iter().any(|it| it.id == shard.id) => self.missing = None,
            Ok(_) if since.elapsed() >= self.gone_after => return Err(Gone),
            Ok(_) => {}
            // The stream itself is not there, perhaps; or nobody knows.
            Err(_) => self.missing = None,
        }
        Ok(())
    }

    /// Whether it is the shard that is missing, not something else that the trouble may be about.
    pub fn is_missing(&self) -> bool {
        self.missing.is_some()
    }
}

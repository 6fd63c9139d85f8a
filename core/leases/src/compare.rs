//! Compares streams with the table, in the background: a stream that does not answer delays nothing but its own changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::BoxError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::claims::Shards;
use crate::held::Wakeup;
use crate::lease::Lease;
use crate::lineage::{Change, changes, is_new};

/// What was found is not acted upon later than this after the table was read: a lease that seemed to be missing may have been
/// added by somebody else, and be done with and removed again. Made once more, it would let its shard be read twice.
const VALID_FOR: Duration = Duration::from_secs(60);

/// What a comparison came to.
pub struct Compared {
    /// As in [`Shards::streams`].
    pub stream: Option<String>,
    /// What has to change.
    pub changes: Result<Vec<Change>, BoxError>,
    /// When the table was read.
    read: Instant,
}

impl Compared {
    /// Whether what was found may still be acted upon.
    pub fn is_valid(&self) -> bool {
        self.read.elapsed() < VALID_FOR
    }
}

/// The comparisons under way. They end with it.
pub struct Comparisons {
    shards: Arc<dyn Shards>,
    wakeup: Arc<Wakeup>,
    streams: BTreeSet<Option<String>>,
    tasks: JoinSet<Compared>,
}

impl Comparisons {
    pub fn new(shards: Arc<dyn Shards>, wakeup: Arc<Wakeup>) -> Self {
        Self { shards, wakeup, streams: BTreeSet::new(), tasks: JoinSet::new() }
    }

    /// Begins to compare all streams with what was just read of the table, but those that are being compared.
    pub fn begin(&mut self, leases: &[Lease]) {
        let read = Instant::now();
        for stream in self.shards.streams() {
            if !self.streams.insert(stream.clone()) {
                continue;
            }
            let leases = leases.iter().filter(|it| it.stream == stream).cloned().collect();
            let (shards, wakeup) = (self.shards.clone(), self.wakeup.clone());
            self.tasks.spawn(async move {
                let changes = compare(&*shards, stream.as_deref(), leases).await;
                wakeup.any.notify_one();
                Compared { stream, changes, read }
            });
        }
    }

    /// A comparison that is done.
    pub fn next(&mut self) -> Option<Compared> {
        loop {
            match self.tasks.try_join_next()? {
                Ok(compared) => {
                    self.streams.remove(&compared.stream);
                    return Some(compared);
                }
                Err(error) => tracing::error!("a comparison of the shards with the leases has ended: {error}"),
            }
        }
    }
}

/// The shards are listed after the table was read: what it knew then is there, or has been.
async fn compare(shards: &dyn Shards, stream: Option<&str>, leases: Vec<Lease>) -> Result<Vec<Change>, BoxError> {
    let listed = shards.list(stream).await?;
    let first = match is_new(stream, &leases) {
        true => Some(shards.first(stream).await?),
        false => None,
    };
    let first = first.as_ref().map(|(ids, begin)| (ids, *begin));
    Ok(changes(stream, &listed, &leases, first))
}

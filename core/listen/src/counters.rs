//! What became of requests, by reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_api::Stats;

use crate::Answer;

/// How often what was counted is said, if there is something new.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Counts since the start. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// A request was accepted.
    pub fn accept(&self) {
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was not, for a reason that is one word: `too_large`.
    pub fn refuse(&self, reason: impl Into<&'static str>) {
        *self.all_refused().entry(reason.into()).or_default() += 1;
    }

    /// How often something was refused for a reason.
    pub fn refused(&self, reason: impl Into<&'static str>) -> u64 {
        self.all_refused().get(reason.into()).copied().unwrap_or_default()
    }

    /// `accepted=7 origin=2`: what there was, by name.
    pub fn shown(&self) -> String {
        let mut shown = format!("accepted={}", self.0.accepted.load(Ordering::Relaxed));
        for (reason, count) in &*self.all_refused() {
            shown += &format!(" {reason}={count}");
        }
        shown
    }

    fn all_refused(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stats for Counters {
    fn requests(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.all_refused().clone();
        all.insert("accepted", self.0.accepted.load(Ordering::Relaxed));
        all
    }
}

/// Says what was counted, once in a while, for ever.
pub(crate) async fn say(answer: Arc<impl Answer>, address: SocketAddr) {
    let mut said = answer.counters().shown();
    loop {
        tokio::time::sleep(SAID_EVERY).await;
        let shown = answer.counters().shown();
        if shown != said {
            tracing::info!(%address, "{shown}");
            said = shown;
        }
    }
}

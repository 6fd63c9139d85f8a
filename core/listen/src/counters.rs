//! What became of requests, by reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Answer;

/// How often what was counted is said, if there is something new.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// A request was accepted.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was not, for a reason that is one word: `too_large`.
    pub fn refuse(&self, reason: impl Into<&'static str>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.into()).or_default() += 1;
    }

    /// How often something was refused for a reason.
    pub fn refused(&self, reason: impl Into<&'static str>) -> u64 {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(reason.into()).copied().unwrap_or_default()
    }

    /// `accepted=7 origin=2`: what there was, by name.
    pub fn shown(&self) -> String {
        let mut shown = format!("accepted={}", self.accepted.load(Ordering::Relaxed));
        for (reason, count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            shown += &format!(" {reason}={count}");
        }
        shown
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

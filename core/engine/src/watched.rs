//! What the sources of one name say about themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_api::Stats;

/// The sources of one name: one, or one for each partition that this process has a claim to.
#[derive(Default)]
pub(crate) struct Watched(Mutex<Sources>);

#[derive(Default)]
struct Sources {
    open: Vec<Arc<dyn Stats>>,
    /// The requests that came to those that are not open any more.
    past: BTreeMap<&'static str, u64>,
}

/// A source is looked at until this is let go.
pub(crate) struct Watching<'a> {
    watched: &'a Watched,
    stats: Arc<dyn Stats>,
}

impl Watched {
    /// Looks at a source from now on.
    pub fn watch(&self, stats: Arc<dyn Stats>) -> Watching<'_> {
        self.lock().open.push(stats.clone());
        Watching { watched: self, stats }
    }

    /// The requests that came to all of them, by what became of them.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        let sources = self.lock();
        let mut sum = sources.past.clone();
        sources.open.iter().for_each(|it| join(&mut sum, &**it));
        sum
    }

    /// How far the one that is furthest behind is.
    pub fn behind(&self) -> Option<Duration> {
        self.lock().open.iter().filter_map(|it| it.behind()).max()
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join(sum: &mut BTreeMap<&'static str, u64>, stats: &dyn Stats) {
    stats.requests().into_iter().for_each(|(what, count)| *sum.entry(what).or_default() += count);
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut sources = self.watched.lock();
        sources.open.retain(|it| !Arc::ptr_eq(it, &self.stats));
        join(&mut sources.past, &*self.stats);
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("requests", &self.requests()).field("behind", &self.behind()).finish()
    }
}

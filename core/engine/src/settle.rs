//! Tells sources what every sink has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use forebay_api::{Partition, Position, Settler};
use forebay_state::Advance;
use tokio::sync::Notify;

use crate::RunError;
use crate::recovery::Standing;

/// The sources that want to hear, by name.
#[derive(Default)]
pub(crate) struct Settlements {
    sources: BTreeMap<String, Settlement>,
}

/// One source that wants to hear.
struct Settlement {
    sinks: BTreeSet<usize>,
    books: Mutex<Books>,
    news: Notify,
}

struct Books {
    standing: Standing,
    /// What the source has not been told yet. One entry a partition, however late the source is.
    untold: BTreeMap<Partition, Position>,
    closed: bool,
}

impl Settlements {
    /// Enters a source that wants to hear, with the sinks that it feeds and where they stand.
    pub fn enter(&mut self, source: &str, sinks: BTreeSet<usize>, standing: Standing) {
        let books = Mutex::new(Books { standing, untold: BTreeMap::new(), closed: false });
        self.sources.insert(source.into(), Settlement { sinks, books, news: Notify::new() });
    }

    /// A sink has come further, and the state says so.
    pub fn report(&self, sink: usize, advances: &[Advance]) {
        for Advance { key, to, .. } in advances {
            let Some(source) = self.sources.get(&key.source) else { continue };
            let mut books = source.books.lock().unwrap_or_else(PoisonError::into_inner);
            let before = books.standing.least(&source.sinks, &key.partition);
            books.standing.set(sink, &key.partition, to);
            let least = books.standing.least(&source.sinks, &key.partition);
            if least > before {
                books.untold.insert(key.partition.clone(), least.clone());
                source.news.notify_one();
            }
            if least == Position::End {
                books.standing.forget(&key.partition);
            }
        }
    }

    /// No more reports will come: let [`Settlements::tell`] return.
    pub fn close(&self) {
        for source in self.sources.values() {
            source.books.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            source.news.notify_one();
        }
    }

    /// Tells one source, until there is no more to tell.
    pub async fn tell(&self, source: &str, mut settler: Box<dyn Settler>) -> Result<(), RunError> {
        let Some(settlement) = self.sources.get(source) else { return Ok(()) };
        loop {
            let (untold, closed) = {
                let mut books = settlement.books.lock().unwrap_or_else(PoisonError::into_inner);
                (std::mem::take(&mut books.untold), books.closed)
            };
            if untold.is_empty() && closed {
                return Ok(());
            }
            if untold.is_empty() {
                settlement.news.notified().await;
            }
            for (partition, to) in untold {
                let told = settler.settled(&partition, &to).await;
                told.map_err(|error| RunError::new(source, "could not let go of settled rows", error))?;
            }
        }
    }
}

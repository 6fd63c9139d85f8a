//! How fast rows are looked for that the server does not take.
//!
//! Each halving costs two INSERTs, and where the table takes no row at all, as with a `CONSTRAINT` that is wrong, there are two
//! for each row: a million for a delivery. As fast as the server answers, that would keep it from everything else; and
//! whoever mends the table would come too late for his rows, which are all refused by then. To stop altogether would be wrong
//! too: behind many rows that are not taken there may be others that are. So after some rows it goes on slowly, and says so.

use std::time::Duration;

use forebay_api::DeliveryId;
use tokio::time::Instant;

/// So many rows of a delivery are looked for as fast as the server answers.
pub(crate) const QUICK_ROWS: u64 = 64;

/// So far apart INSERTs are that look for more.
pub(crate) const APART: Duration = Duration::from_millis(100);

/// How often it is said.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What one table has not taken of a delivery.
#[derive(Debug, Default)]
pub(crate) struct Slowly {
    /// So many rows.
    refused: u64,
    /// Why it did not take the last one.
    why: String,
    /// When an INSERT was made last.
    last: Option<Instant>,
    said: Option<Instant>,
}

impl Slowly {
    /// Takes notice of a row that the table does not take.
    pub(crate) fn refused(&mut self, why: &str) {
        self.refused += 1;
        why.clone_into(&mut self.why);
    }

    /// Waits until the next INSERT may be made.
    pub(crate) async fn wait(&mut self, table: &str, id: &DeliveryId) {
        if self.refused < QUICK_ROWS {
            return;
        }
        if self.said.is_none_or(|it| it.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(
                "table {table} has not taken {} rows of delivery {id}: others that it does not take are looked for slowly, by an \
                 INSERT every {APART:?}, and what comes after them waits (hint: mend the table, or filter such rows before they \
                 come to it); the last one: {}",
                self.refused,
                self.why
            );
        }
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + APART).await;
        }
        self.last = Some(Instant::now());
    }
}

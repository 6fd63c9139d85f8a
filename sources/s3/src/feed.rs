//! What was found: by listing, and by messages.

use std::sync::Arc;
use std::time::Duration;

use forebay_api::BoxError;
use forebay_aws::{Patience, Trouble};
use tokio::sync::{mpsc, oneshot};

use crate::letter::Letter;
use crate::queue::MessageId;
use crate::store::{Found, Look, Store};

/// So much may have been found that nobody has taken yet.
pub const FED_MAX: usize = 256;

/// Something that was found.
pub enum Fed {
    /// A key, and the message that told of it.
    Found { found: Found, message: Option<MessageId> },
    /// A message, or a part of one, that nobody understands.
    Refused { letter: Letter, message: MessageId },
    /// A look has come to its end; answer when everything before this was read.
    Looked(oneshot::Sender<()>),
    /// It cannot go on.
    Failed(BoxError),
}

/// Lists the store: once, or again so long after everything that was found was read.
pub async fn list(store: Arc<dyn Store>, poll: Option<Duration>, to: mpsc::Sender<Fed>) {
    loop {
        let mut look = store.look();
        loop {
            match page(&mut *look).await {
                Ok(Some(page)) => {
                    for found in page {
                        if to.send(Fed::Found { found, message: None }).await.is_err() {
                            return;
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // Nobody is there any more to hear it.
                    let _ = to.send(Fed::Failed(error)).await;
                    return;
                }
            }
        }
        let (read, all_was_read) = oneshot::channel();
        if to.send(Fed::Looked(read)).await.is_err() || all_was_read.await.is_err() {
            return;
        }
        let Some(poll) = poll else { return };
        tokio::time::sleep(poll).await;
    }
}

/// The next page, however long it takes.
async fn page(look: &mut dyn Look) -> Result<Option<Vec<Found>>, BoxError> {
    let mut patience = Patience::new("listing");
    loop {
        match look.page().await {
            Ok(page) => return Ok(page),
            Err(trouble @ (Trouble::Retry(_) | Trouble::Wait(_))) => patience.wait(&trouble).await,
            Err(trouble) => return Err(trouble.into_error()),
        }
    }
}

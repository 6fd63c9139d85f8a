//! The ids of requests that were let go, in a spool of their own.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use forebay_api::BoxError;
use forebay_spool::source::OtherFormat;
use forebay_spool::{Entry, Options, Spool};

use crate::seen::{Id, KNOWN_MILLIS, Seen, VERSION, decode, encode};
use crate::source::disk;

/// Three hours of a million of them.
const BYTES_MAX: u64 = 256 << 20;

/// The spool of ids.
pub(crate) struct Ids {
    spool: Spool,
    /// What is in it: the newest id of each frame, and of those before it.
    lists: Mutex<VecDeque<(u64, i64)>>,
}

impl Ids {
    /// Opens the spool, and learns the ids that it holds.
    pub(crate) fn open(path: &Path, seen: &mut Seen) -> Result<Self, BoxError> {
        let spool = Spool::open(disk(path)?, Options { segment_bytes: 1 << 20, ..Options::new(BYTES_MAX) })?;
        let mut lists = VecDeque::new();
        let mut newest = i64::MIN;
        let mut reader = spool.reader(None);
        while let Some(entry) = reader.read()? {
            let (sequence, payload) = match entry {
                Entry::Frame { sequence, payload } => (sequence, payload),
                Entry::Lost { first, last } => {
                    let place = reader.place();
                    tracing::warn!(
                        "entries {first} to {last} of the spool at `{place}` are damaged: requests whose ids stood there \
                         may be taken twice if they come again"
                    );
                    continue;
                }
            };
            // Without the ids of another version requests would be taken twice, and nobody would know.
            let other = || OtherFormat::new(reader.place(), sequence, &payload, VERSION).of("entry");
            for id in decode(&payload).ok_or_else(other)? {
                newest = newest.max(id.1);
                seen.know(id);
            }
            lists.push_back((sequence, newest));
        }
        Ok(Self { spool, lists: Mutex::new(lists) })
    }

    /// Keeps ids, and lets go of those that are too old by then.
    pub(crate) async fn append(&self, ids: &[Id]) {
        let Some(newest) = ids.iter().map(|it| it.1).max() else { return };
        match self.spool.append(encode(ids)).await {
            Ok(sequence) => {
                let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
                lists.push_back((sequence, newest));
                while let Some((old, _)) = lists.pop_front_if(|it| it.1 < newest - KNOWN_MILLIS) {
                    self.spool.release(old);
                }
            }
            // The worst that can happen is that a request is taken twice; to wait would stop the pipeline.
            Err(error) => {
                tracing::warn!("the ids of {} requests could not be kept: {error}", ids.len());
            }
        }
    }
}

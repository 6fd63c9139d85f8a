//! From what stands in the file to a source at work.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use forebay_api::{BoxError, Partition, Position, Span};
use forebay_aws::Location;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::books::Books;
use crate::bucket::{Bucket, Inner};
use crate::decode::Decoder;
use crate::directory::Directory;
use crate::feed::{FED_MAX, Fed, list};
use crate::fetch::Ahead;
use crate::place;
use crate::queue::Queue;
use crate::replay::Replay;
use crate::source::Everything;
use crate::store::{Found, Store, WHOLE_BYTES_MAX};
use crate::{Mode, S3};

/// So often an object is tried that cannot be read.
const TRIES_MAX: u32 = 5;

/// Sizes that tests make small.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Larger objects are fetched in ranges of this size.
    pub chunk_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { chunk_bytes: WHOLE_BYTES_MAX }
    }
}

/// Where objects are, open.
pub enum Opened {
    Directory(Directory),
    Bucket(Bucket),
}

impl Opened {
    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Directory(directory) => Arc::new(directory.clone()),
            Self::Bucket(bucket) => Arc::new(bucket.clone()),
        }
    }
}

impl S3 {
    /// Everything that is there, or comes, and was not read yet.
    pub(crate) async fn everything(&self, after: BTreeMap<Partition, Position>) -> Result<Everything, BoxError> {
        let stop = CancellationToken::new();
        let opened = self.opened(&stop).await?;
        let store = opened.store();
        let books = Books::new(&*store, after);
        let (to, feed) = mpsc::channel(FED_MAX);
        let mut queue = None;
        if let (Some(url), Opened::Bucket(bucket)) = (&self.queue, &opened) {
            let aws = self.aws.clone().unwrap_or_default();
            let opened = Queue::open(aws.sqs().await?, url.clone(), self.visibility());
            let (receiving, bucket, to) = (opened.clone(), bucket.clone(), to.clone());
            spawn(&stop, async move { receiving.receive(bucket, to).await });
            queue = Some(opened);
        }
        let (listed, lists, poll) = (store.clone(), self.mode != Mode::Notify, self.poll());
        let begun = if store.keeps_versions() { books.begun() } else { Vec::new() };
        let begun: Vec<Found> = begun.iter().filter_map(|it| found(&*store, &it.0)).collect();
        spawn(&stop, async move {
            // What a crash has cut off comes first, even if its message or its key will never come again.
            for found in begun {
                if to.send(Fed::Found { found, message: None }).await.is_err() {
                    return;
                }
            }
            if lists {
                list(listed, poll, to).await;
            }
        });
        Ok(Everything {
            decoder: self.decoder()?,
            books,
            feed,
            ahead: Ahead::new(store.ahead()),
            letters: VecDeque::new(),
            current: None,
            busy: HashSet::new(),
            queue,
            ended: false,
            _stop: stop.drop_guard(),
            store,
        })
    }

    /// Exactly these spans.
    pub(crate) async fn replay(&self, spans: Vec<Span>) -> Result<Replay, BoxError> {
        let stop = CancellationToken::new();
        let store = self.opened(&stop).await?.store();
        Ok(Replay::new(store, self.decoder()?, spans, stop.drop_guard()))
    }

    fn decoder(&self) -> Result<Decoder, BoxError> {
        Ok(Decoder { layout: self.layout()?, limits: self.limits()? })
    }

    async fn opened(&self, stop: &CancellationToken) -> Result<Opened, BoxError> {
        Ok(match place::parse(&self.path)? {
            Location::Directory(root) => {
                Opened::Directory(Directory::new(root, self.include.clone(), self.poll.is_some()))
            }
            Location::Bucket { name, prefix } => Opened::Bucket(Bucket::new(Inner {
                client: self.aws.clone().unwrap_or_default().s3().await?,
                name,
                prefix,
                include: self.include.clone(),
                tries_max: self.tries_max.map_or(TRIES_MAX, Into::into),
                chunk_bytes: self.tuning.chunk_bytes,
                stop: stop.clone(),
                met: Default::default(),
                readable: Default::default(),
            })),
        })
    }
}

/// The very object that was begun.
fn found(store: &dyn Store, partition: &Partition) -> Option<Found> {
    let object = store.object(partition)?;
    Some(Found { version: object.version, ..Found::content(object.key, object.content) })
}

/// Works until the source is let go.
fn spawn(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}

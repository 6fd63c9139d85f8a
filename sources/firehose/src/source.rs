//! The source, its replays and its settler.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow_schema::ArrowError;
use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Resume, Settler, Source, Span};
use forebay_spool::{AppendError, Directory, Durability as Safe, Entry, Options, Reader, Spool};
use tokio::sync::watch;

use crate::endpoint::{Endpoint, SharedSeen};
use crate::frame::Frame;
use crate::rows::{Cutter, Reading, at, sequence_of};
use crate::seen::{Id, KNOWN_MILLIS, Seen, decode, encode};
use crate::serve::Server;
use crate::{Durability, Firehose};

/// Where requests are, and the ids of those that were let go.
const REQUESTS: &str = "requests";
const IDS: &str = "ids";

/// The spool of ids: three hours of a million of them.
const IDS_BYTES_MAX: u64 = 256 << 20;

/// What tests make small, or want to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    /// The source ends when everything is read.
    pub(crate) ends: bool,
    /// A smaller spool than anybody may ask for.
    pub(crate) spool_bytes_max: Option<u64>,
    /// Gets the port that is listened on.
    pub(crate) address: Arc<Mutex<Option<std::net::SocketAddr>>>,
}

/// Opens the source.
pub(crate) async fn open(config: &Firehose, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
    let schema = config.check()?;
    let cutter = move |config: &Firehose, number| Cutter {
        schema,
        columns: config.columns.clone(),
        attributes: config.attributes.clone(),
        framing: config.framing,
        partition: partition(number),
    };
    match resume {
        Resume::Replay(spans) => {
            let (path, it) = (config.spool.directory.join(REQUESTS), config.clone());
            blocking(move || Replay::open(&path, |number| cutter(&it, number), spans)).await
        }
        Resume::After(after) => {
            let it = config.clone();
            let kept = blocking(move || Kept::open(&it, &after)).await?;
            let Kept { spool, ids, seen, from, behind } = kept;
            if !behind.is_empty() {
                // The process that had them ended before they were among the ids.
                ids.append(&behind).await;
            }
            let reader = spool.reader(before(&from));
            let server = Server::start(config, Endpoint::new(config, &spool, seen)).await?;
            tracing::info!("listening on {}", server.address);
            *config.tuning.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.address);
            let durable = spool.durable();
            let entries = Entries { cutter: cutter(config, spool.number()), reader, from, reading: None };
            Ok(Box::new(Live {
                _server: server,
                entries: Some(entries),
                durable,
                unsettled: Arc::default(),
                ids: Arc::new(ids),
                spool,
                ends: config.tuning.ends,
            }))
        }
    }
}

/// The last request before the one in which a position stands, which may have more rows.
fn before(position: &Position) -> Option<u64> {
    sequence_of(position).map(|it| it.saturating_sub(1))
}

/// Another spool at the same place has other positions.
fn partition(spool: u64) -> Partition {
    Partition::new(format!("{spool:016x}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Result<T, BoxError> {
    tokio::task::spawn_blocking(work).await?
}

/// What is on disk, when the source is opened.
struct Kept {
    spool: Arc<Spool>,
    ids: Ids,
    seen: SharedSeen,
    /// Where to go on.
    from: Position,
    /// Ids of requests that were settled and are not in the spool of ids.
    behind: Vec<Id>,
}

impl Kept {
    fn open(config: &Firehose, after: &BTreeMap<Partition, Position>) -> Result<Self, BoxError> {
        let directory = &config.spool.directory;
        let mut options = Options::new(config.tuning.spool_bytes_max.unwrap_or(config.spool.bytes_max.bytes()));
        options.durability = match config.spool.durability {
            Durability::Fsync => Safe::Fsync,
            Durability::Memory => Safe::Memory,
        };
        options.after = after.values().filter_map(sequence_of).max().unwrap_or(0);
        let spool = Spool::open(disk(&directory.join(REQUESTS))?, options)?;
        let ids = Spool::open(
            disk(&directory.join(IDS))?,
            Options { segment_bytes: 1 << 20, ..Options::new(IDS_BYTES_MAX) },
        )?;

        let mut seen = Seen::default();
        let mut lists = VecDeque::new();
        let mut newest = i64::MIN;
        let mut reader = ids.reader(None);
        while let Some(entry) = reader.read()? {
            let Entry::Frame { sequence, payload } = entry else { continue };
            for id in decode(&payload) {
                newest = newest.max(id.1);
                seen.know(id);
            }
            lists.push_back((sequence, newest));
        }
        let from = after.get(&partition(spool.number())).cloned().unwrap_or(Position::Start);
        let mut behind = Vec::new();
        let mut reader = spool.reader(None);
        while let Some(entry) = reader.read()? {
            let Entry::Frame { sequence, payload } = entry else { continue };
            let Some(frame) = Frame::read(payload) else { continue };
            let id = Id(frame.about.id, frame.about.received);
            if sequence_of(&from).is_some_and(|it| sequence <= it) && !seen.is_taken(&id.0) {
                behind.push(id.clone());
            }
            seen.know(id);
        }
        let ids = Ids { spool: ids, lists: Mutex::new(lists) };
        Ok(Self { spool: Arc::new(spool), ids, seen: Arc::new(Mutex::new(seen)), from, behind })
    }
}

fn disk(path: &Path) -> Result<Arc<Directory>, BoxError> {
    let directory = Directory::open(path);
    Ok(Arc::new(directory.map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?))
}

/// The spool of ids.
struct Ids {
    spool: Spool,
    /// What is in it: the newest id of each frame, and of those before it.
    lists: Mutex<VecDeque<(u64, i64)>>,
}

impl Ids {
    /// Keeps ids, and lets go of those that are too old by then.
    async fn append(&self, ids: &[Id]) {
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
            Err(error @ (AppendError::Full | AppendError::TooLarge | AppendError::Failed(_))) => {
                tracing::warn!("the ids of {} requests could not be kept: {error}", ids.len());
            }
        }
    }
}

/// Frames as reads.
struct Entries {
    cutter: Cutter,
    reader: Reader,
    /// Everything up to here was given.
    from: Position,
    reading: Option<Reading>,
}

/// A read, and the requests that were begun for it.
type Given = (Read, Vec<(u64, Id)>);

impl Entries {
    /// The next rows up to `stop`, or `None` if there are none now.
    fn next(&mut self, stop: &Position) -> Result<Option<Given>, BoxError> {
        let mut begun = Vec::new();
        loop {
            if let Some(reading) = &mut self.reading {
                let read = self.cutter.cut(reading, &self.from, stop).map_err(|it: ArrowError| BoxError::from(it))?;
                if let Some(read) = read {
                    self.from = read.span.to.clone();
                    return Ok(Some((read, begun)));
                }
                if self.from >= *stop {
                    return Ok(None);
                }
                self.reading = None;
            }
            let (sequence, why) = match self.reader.read()? {
                None => return Ok(None),
                Some(Entry::Lost { first, last }) => {
                    (last, format!("requests {first} to {last} of the spool are damaged"))
                }
                Some(Entry::Frame { sequence, payload }) => match Frame::read(payload) {
                    // Where a replay ends was damaged since.
                    Some(_) if at(sequence, 0) > *stop => return Ok(None),
                    Some(frame) => {
                        begun.push((sequence, Id(frame.about.id.clone(), frame.about.received)));
                        self.reading = Some(Reading::new(sequence, frame));
                        continue;
                    }
                    None => (sequence, format!("request {sequence} of the spool was not written by this version")),
                },
            };
            tracing::warn!("{why}");
            if let Some(read) = self.cutter.unreadable(sequence, &self.from, stop, why) {
                self.from = read.span.to.clone();
                return Ok(Some((read, begun)));
            }
        }
    }
}

/// Requests that were read and are not settled, with their sequence numbers.
type Unsettled = Arc<Mutex<VecDeque<(u64, Id)>>>;

/// Reads requests as they come.
struct Live {
    // Ends first.
    _server: Server,
    /// Away while they read.
    entries: Option<Entries>,
    durable: watch::Receiver<u64>,
    unsettled: Unsettled,
    ids: Arc<Ids>,
    spool: Arc<Spool>,
    ends: bool,
}

#[async_trait]
impl Source for Live {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            // Before it reads, so that nothing comes unnoticed between.
            self.durable.borrow_and_update();
            let mut entries = self.entries.take().ok_or("`next` was called again after it was let go")?;
            let (entries, given) = blocking(move || {
                let given = entries.next(&Position::End)?;
                Ok((entries, given))
            })
            .await?;
            self.entries = Some(entries);
            if let Some((read, begun)) = given {
                self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).extend(begun);
                return Ok(Some(read));
            }
            if self.ends || self.durable.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        let spool = Arc::downgrade(&self.spool);
        Some(Box::new(Release { spool, ids: self.ids.clone(), unsettled: self.unsettled.clone() }))
    }
}

/// Lets go of requests.
struct Release {
    spool: Weak<Spool>,
    ids: Arc<Ids>,
    unsettled: Unsettled,
}

#[async_trait]
impl Settler for Release {
    async fn settled(&mut self, _partition: &Partition, to: &Position) -> Result<(), BoxError> {
        // The request in which `to` stands is let go with the next one.
        let Some(done) = before(to) else { return Ok(()) };
        let ids: Vec<Id> = {
            let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| unsettled.pop_front_if(|it| it.0 <= done)).map(|it| it.1).collect()
        };
        self.ids.append(&ids).await;
        if let Some(spool) = self.spool.upgrade() {
            spool.release(done);
        }
        Ok(())
    }
}

/// Reads spans again.
struct Replay {
    path: std::path::PathBuf,
    cutter: Cutter,
    spans: VecDeque<Span>,
    /// For the first of the spans.
    entries: Option<Entries>,
}

impl Replay {
    fn open(path: &Path, cutter: impl FnOnce(u64) -> Cutter, spans: Vec<Span>) -> Result<Box<dyn Source>, BoxError> {
        let number = Reader::open(disk(path)?, None)?.map(|it| it.spool());
        let cutter = cutter(number.unwrap_or_default());
        if let Some(span) = spans.iter().find(|it| number.is_none() || it.partition != cutter.partition) {
            let place = path.display();
            return Err(format!("{span} is not in the spool at `{place}`: it was removed or replaced").into());
        }
        Ok(Box::new(Self { path: path.to_owned(), cutter, spans: spans.into(), entries: None }))
    }

    fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            let Some(span) = self.spans.front().cloned() else { return Ok(None) };
            let entries = match &mut self.entries {
                Some(entries) => entries,
                None => {
                    let reader = Reader::open(disk(&self.path)?, before(&span.from))?.ok_or("the spool is gone")?;
                    let from = span.from.clone();
                    self.entries.insert(Entries { cutter: self.cutter.clone(), reader, from, reading: None })
                }
            };
            if entries.from >= span.to {
                self.spans.pop_front();
                self.entries = None;
                continue;
            }
            return match entries.next(&span.to)? {
                Some((read, _)) => Ok(Some(read)),
                None => Err(format!("{span} ends at {} in the spool", entries.from).into()),
            };
        }
    }
}

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        // A few megabytes from a local disk, after a crash.
        Self::next(self)
    }
}

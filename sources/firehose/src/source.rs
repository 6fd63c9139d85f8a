//! The source, and its replays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::{BoxError, ByteSize, Partition, Position, Read, Resume, Settler, Source, Stats, causes};
use forebay_listen::Server;
use forebay_spool::simulated::SimulatedDisk;
use forebay_spool::source::{FrameError, OtherFormat, PATIENCE, aside, opening, partition, sequence_of};
use forebay_spool::{Directory, Disk, Entry, Spool};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::endpoint::{Endpoint, SharedSeen};
use crate::entries::{Entries, Spans, before};
use crate::frame::{Frame, VERSION};
use crate::ids::Ids;
use crate::retention::{Keeper, Retention};
use crate::rows::Cutter;
use crate::seen::{Id, Seen};
use crate::{Firehose, serve};

/// Where requests are, and the ids of those that were let go.
pub(crate) const REQUESTS: &str = "requests";
const IDS: &str = "ids";

/// How long to wait for a disk that cannot be read.
const BREATH: Duration = Duration::from_secs(1);

/// How often what is settled is looked for in the segment that is written to.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What tests make small, or want to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    /// The source ends when everything is read.
    pub(crate) ends: bool,
    /// A smaller spool than anybody may ask for.
    pub(crate) spool_bytes_max: Option<u64>,
    /// In place of the directory of requests.
    pub(crate) disk: Option<SimulatedDisk>,
    /// In place of the time that requests wait for the disk.
    pub(crate) patience: Option<Duration>,
    /// In place of [`KEEP_EVERY`].
    pub(crate) keep_every: Option<Duration>,
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
    let it = config.clone();
    let place = config.spool.directory.display();
    let patience = config.tuning.patience.unwrap_or(PATIENCE);
    match resume {
        Resume::Exactly(spans) => {
            let path = config.spool.directory.join(REQUESTS);
            let work = move || Spans::open(&path, |number| cutter(&it, number), spans.into());
            let spans = opening(place, patience, work).await?;
            Ok(Box::new(Replay(Some(spans))))
        }
        Resume::After(after) => {
            let kept = opening(place, patience, move || Kept::open(&it, &after)).await?;
            let Kept { spool, ids, seen, from, behind } = kept;
            if !behind.is_empty() {
                // The process that had them ended before they were among the ids.
                ids.append(&behind).await;
            }
            let (reader, durable) = (spool.reader(before(&from)), spool.durable());
            let server = serve::start(config, Arc::new(Endpoint::new(config, &spool, seen))).await?;
            *config.tuning.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.address());
            let retention = Arc::new(Mutex::new(Retention::begin(from.clone())));
            let keeper =
                Keeper { spool: Arc::downgrade(&spool), ids: Arc::downgrade(&ids), retention: retention.clone() };
            let mut background = JoinSet::new();
            background.spawn(keeper.clone().run(config.tuning.keep_every.unwrap_or(KEEP_EVERY)));
            let cutter = cutter(config, spool.number());
            Ok(Box::new(Live {
                server,
                _background: background,
                entries: Some(Entries { cutter, reader, from, reading: None, retention: Some(retention) }),
                durable,
                keeper,
                _spool: spool,
                _ids: ids,
                ends: config.tuning.ends,
            }))
        }
    }
}

/// A directory as a disk.
pub(crate) fn disk(path: &Path) -> Result<Arc<Directory>, BoxError> {
    let directory = Directory::open(path);
    Ok(Arc::new(directory.map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?))
}

/// What is on disk, when the source is opened.
struct Kept {
    spool: Arc<Spool>,
    ids: Arc<Ids>,
    seen: SharedSeen,
    /// Where to go on.
    from: Position,
    /// Ids of requests that were settled and are not in the spool of ids.
    behind: Vec<Id>,
}

impl Kept {
    fn open(config: &Firehose, after: &BTreeMap<Partition, Position>) -> Result<Self, BoxError> {
        let mut keys = config.spool.clone();
        keys.bytes_max = config.tuning.spool_bytes_max.map_or(keys.bytes_max, ByteSize);
        let disk: Arc<dyn Disk> = match &config.tuning.disk {
            Some(simulated) => Arc::new(simulated.clone()),
            None => disk(&keys.directory.join(REQUESTS))?,
        };
        let spool = Spool::open(disk, keys.options(after))?;
        let mut seen = Seen::default();
        let ids = Ids::open(&keys.directory.join(IDS), &mut seen)?;
        let from = after.get(&partition(spool.number())).cloned().unwrap_or(Position::Start);
        let mut behind = Vec::new();
        let mut reader = spool.reader(None);
        while let Some(entry) = reader.read()? {
            let Entry::Frame { sequence, payload } = entry else { continue };
            // Before anything is taken, and not only when its turn to be read has come.
            let other = || OtherFormat::new(reader.place(), sequence, &payload, VERSION);
            let frame = Frame::read(payload.clone()).ok_or_else(other)?;
            let id = Id(frame.about.id, frame.about.received);
            if sequence_of(&from).is_some_and(|it| sequence <= it) && !seen.is_taken(&id.0) {
                behind.push(id.clone());
            }
            seen.know(id);
        }
        Ok(Self { spool: Arc::new(spool), ids: Arc::new(ids), seen: Arc::new(Mutex::new(seen)), from, behind })
    }
}

/// Reads requests as they come.
struct Live {
    // These end first.
    server: Server,
    _background: JoinSet<()>,
    /// On a thread that may block, while `next` waits for it.
    entries: Option<Entries>,
    durable: watch::Receiver<u64>,
    keeper: Keeper,
    _spool: Arc<Spool>,
    _ids: Arc<Ids>,
    ends: bool,
}

#[async_trait]
impl Source for Live {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            // Before it reads, so that nothing comes unnoticed between.
            self.durable.borrow_and_update();
            match aside(&mut self.entries, |it| it.next(&Position::End)).await? {
                Ok(Some(read)) => return Ok(Some(read)),
                Ok(None) if self.ends => return Ok(None),
                Ok(None) => self.durable.changed().await.map_err(|_| "the spool was closed")?,
                Err(FrameError::Read(error)) => {
                    tracing::warn!("{}: it is tried again", causes(&error));
                    tokio::time::sleep(BREATH).await;
                }
                Err(FrameError::Format(other)) => return Err(other.into()),
            }
        }
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        Some(Box::new(self.keeper.clone()))
    }

    fn stats(&self) -> Option<Arc<dyn Stats>> {
        Some(self.server.stats())
    }
}

/// Reads spans again.
struct Replay(Option<Spans>);

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        aside(&mut self.0, Spans::next).await?
    }
}

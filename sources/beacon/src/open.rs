//! From what stands in the file to a server and a spool.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::Duration;

use forebay_api::{BoxError, Partition, Position, Span};
use forebay_listen::{Bounds, Memory, Server};
use forebay_spool::simulated::SimulatedDisk;
use forebay_spool::source::{OtherFormat, PATIENCE, opening, partition};
use forebay_spool::{Directory, Disk, Entry, Options, Spool};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Beacon;
use crate::body::Caps;
use crate::body_privacy::BodyPrivacy;
use crate::counters::Counters;
use crate::dedupe::Reach;
use crate::endpoint::Endpoint;
use crate::frame::{Frame, VERSION};
use crate::privacy::{AddressKept, Addresses};
use crate::proxies::{AddressHeader, Proxies};
use crate::rates::Rates;
use crate::reading::{Decoder, Reading};
use crate::retention::Retention;
use crate::source::{Everything, Keeper, Replay, Spans};

/// How often what has grown old is looked for.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The head of a request may be so large.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// So much of a body that is not taken is read and forgotten, so that the page gets to read the answer; or as much as a
/// body may have.
const LINGER_BYTES: u64 = 1 << 20;

/// What tests make small.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// The source ends when everything was read, and there is no server.
    pub ends: bool,
    /// In place of the directory.
    pub disk: Option<SimulatedDisk>,
    /// In place of the time that requests wait for the disk.
    pub patience: Option<Duration>,
    /// In place of an eighth of the spool.
    pub segment_bytes: Option<u64>,
    /// Is told the address that the server listens on.
    pub told: Option<Arc<Mutex<Option<SocketAddr>>>>,
}

impl Beacon {
    /// Opens the spool and the server.
    pub(crate) async fn everything(&self, after: &BTreeMap<Partition, Position>) -> Result<Everything, BoxError> {
        let counters = Arc::new(Counters::default());
        let decoder = Arc::new(self.decoder(counters.clone())?);
        let (options, disk) = (self.options(after), self.disk());
        let after = after.clone();
        let retention = Arc::new(Mutex::new(Retention::default()));
        let (of_decoder, of_retention) = (decoder.clone(), retention.clone());
        let opened = self.opening(move || {
            let spool = Arc::new(Spool::open(disk()?, options)?);
            let partition = partition(spool.number());
            let from = after.get(&partition).cloned().unwrap_or(Position::Start);
            let reader = |after| Ok(spool.reader(after));
            let reading = Reading::begin(of_decoder, partition, from, reader, Some(of_retention))?;
            let tick_millis = last_tick(&spool)?;
            Ok((spool, reading, tick_millis))
        });
        let (spool, reading, tick_millis) = opened.await?;
        let keeper = Keeper { spool: spool.clone(), retention, reach: self.reach_back() };
        let stop = CancellationToken::new();
        let mut server = None;
        if !self.tuning.ends {
            let endpoint = self.endpoint(&spool, tick_millis, counters);
            let keeping = keeper.clone().run(endpoint.addresses.clone(), KEEP_EVERY);
            server = Some(self.serve(endpoint).await?);
            tokio::spawn(stop.clone().run_until_cancelled_owned(keeping));
        }
        let durable = spool.durable();
        Ok(Everything {
            reading: Some(reading),
            durable,
            keeper,
            rests_until: None,
            ends: self.tuning.ends,
            server,
            _stop: stop.drop_guard(),
        })
    }

    /// Reads the spool again, to which the source may write meanwhile.
    pub(crate) async fn replay(&self, spans: Vec<Span>) -> Result<Replay, BoxError> {
        let decoder = Arc::new(self.decoder(Arc::default())?);
        let (simulated, place) = (self.tuning.disk.clone(), self.spool.directory.clone());
        let opened = self.opening(move || -> Result<Arc<dyn Disk>, _> {
            if let Some(disk) = simulated {
                return Ok(Arc::new(disk));
            }
            let directory = Directory::existing(&place);
            let directory =
                directory.map_err(|error| format!("the spool at `{}` cannot be read: {error}", place.display()))?;
            Ok(Arc::new(directory))
        });
        Ok(Replay(Some(Spans { decoder, disk: opened.await?, due: spans.into(), reading: None })))
    }

    /// Does what may block until the disk answers.
    async fn opening<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, BoxError> {
        opening(self.spool.directory.display(), self.tuning.patience.unwrap_or(PATIENCE), work).await
    }

    fn decoder(&self, counters: Arc<Counters>) -> Result<Decoder, BoxError> {
        self.check()?;
        let hidden: &[&str] = match self.privacy.address {
            AddressKept::Keep => &[],
            _ => &["client.address", "client.ip"],
        };
        Ok(Decoder {
            layout: Arc::new(self.layout()?),
            privacy: BodyPrivacy {
                removed: self.privacy.remove.clone(),
                hidden,
                parameters: self.privacy.query_parameters.clone(),
            },
            events_max: self.limits.events_max.get() as usize,
            reach: Reach {
                window_millis: self.dedupe.window.duration().as_millis() as u64,
                ids_max: self.dedupe.ids_max.get().into(),
                bytes_max: self.spool.bytes_max.bytes() / 4,
            },
            counters,
        })
    }

    /// For how long a frame may be in reach of others, by the clock of the wall.
    fn reach_back(&self) -> Duration {
        self.dedupe.window.duration() + Duration::from_millis(crate::dedupe::SLACK_MILLIS)
    }

    pub(crate) fn options(&self, after: &BTreeMap<Partition, Position>) -> Options {
        let options = self.spool.options(after);
        Options { segment_bytes: self.tuning.segment_bytes.unwrap_or(options.segment_bytes), ..options }
    }

    /// The disk, which is opened where that may block.
    fn disk(&self) -> impl FnOnce() -> Result<Arc<dyn Disk>, BoxError> + Send + use<> {
        let (simulated, directory) = (self.tuning.disk.clone(), self.spool.directory.clone());
        move || match simulated {
            Some(disk) => Ok(Arc::new(disk)),
            None => Ok(Arc::new(open_directory(&directory)?)),
        }
    }

    fn endpoint(&self, spool: &Arc<Spool>, tick_millis: u64, counters: Arc<Counters>) -> Endpoint {
        let limits = &self.limits;
        Endpoint {
            spool: spool.clone(),
            paths: self.paths.clone(),
            pixels: self.pixels.clone(),
            origins: self.origins.clone(),
            proxies: Proxies {
                trusted: self.trusted_proxies.clone(),
                headers: self.client_address.clone().unwrap_or_else(|| vec![AddressHeader::XForwardedFor]),
            },
            privacy: self.privacy.clone(),
            addresses: Addresses::new(self.privacy.address, spool.disk()),
            caps: Caps {
                body_bytes_max: limits.body_bytes_max.bytes() as usize,
                decoded_bytes_max: limits.decoded_bytes_max.bytes() as usize,
                body_timeout: limits.body_timeout.duration(),
                memory: Memory::new(limits.bodies_bytes_max.bytes() as usize),
                decoders: Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))),
            },
            address_rates: Rates::new(limits.requests_per_address.get()),
            origin_rates: limits.requests_per_origin.map(|it| Rates::new(it.get())),
            origin_hash: RandomState::new(),
            counters,
            patience: self.tuning.patience.unwrap_or(PATIENCE),
            tick_millis: AtomicU64::new(tick_millis),
            trouble_millis: AtomicU64::new(0),
        }
    }

    /// Begins to listen.
    async fn serve(&self, endpoint: Endpoint) -> Result<Server, BoxError> {
        let limits = &self.limits;
        let bounds = Bounds {
            connections_max: limits.connections_max.get() as usize,
            per_address_max: limits.connections_per_address_max.get() as usize,
            header_timeout: limits.header_timeout.duration(),
            idle_timeout: limits.idle_timeout.duration(),
            head_bytes_max: HEAD_BYTES_MAX,
            linger_bytes_max: limits.body_bytes_max.bytes().max(LINGER_BYTES),
            http_2: true,
        };
        let server = Server::start(self.listen, self.tls.as_ref(), bounds, Arc::new(endpoint)).await?;
        if let Some(told) = &self.tuning.told {
            *told.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(server.address());
        }
        Ok(server)
    }
}

fn open_directory(path: &Path) -> Result<Directory, String> {
    Directory::open(path).map_err(|error| format!("the spool at `{}` cannot be made: {error}", path.display()))
}

/// When the last request came, so that no later one is said to have come before it. Numbers may be left out behind it.
///
/// That request says too whether another version of the program has written here: before anything is taken, and not only
/// when its turn to be read has come.
pub(crate) fn last_tick(spool: &Spool) -> Result<u64, BoxError> {
    let last = spool.standing().last_frame;
    match spool.reader(Some(last.saturating_sub(1))).read()? {
        Some(Entry::Frame { sequence, payload }) => match Frame::decode(&payload) {
            Some(frame) => Ok(frame.tick_millis),
            None => Err(OtherFormat::new(spool.disk().place(), sequence, &payload, VERSION).into()),
        },
        Some(Entry::Lost { .. }) | None => Ok(0),
    }
}

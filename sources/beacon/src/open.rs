//! From what stands in the file to a server and a spool.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_api::{BoxError, Partition, Position, Span};
use forebay_spool::simulated::SimulatedDisk;
use forebay_spool::{Directory, Disk, Entry, Options, Spool};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::body::{BUDGET_BYTES, Caps};
use crate::counters::{Counters, SAID_EVERY};
use crate::dedupe::Reach;
use crate::desk::Desk;
use crate::frame::Frame;
use crate::privacy::{AddressKept, Addresses};
use crate::proxies::{AddressHeader, Proxies};
use crate::rates::Rates;
use crate::reading::{Books, Decoder, Reading};
use crate::serve::{Bounds, Server};
use crate::source::{Everything, Keeper, Replay, partition};
use crate::tidy::Tidy;
use crate::tls::Certificate;
use crate::{Beacon, Durability};

/// How often what has grown old is looked for.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What tests make small.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// The source ends when everything was read, and there is no server.
    pub ends: bool,
    /// In place of the directory.
    pub disk: Option<SimulatedDisk>,
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
        let books = Arc::new(Mutex::new(Books::default()));
        let (of_decoder, of_books) = (decoder.clone(), books.clone());
        let opened = tokio::task::spawn_blocking(move || -> Result<_, BoxError> {
            let spool = Arc::new(Spool::open(disk()?, options)?);
            let partition = partition(spool.number());
            let from = after.get(&partition).cloned().unwrap_or(Position::Start);
            let reader = |after| Ok(spool.reader(after));
            let reading = Reading::begin(of_decoder, partition, from, reader, Some(of_books))?;
            let tick_millis = last_tick(&spool)?;
            Ok((spool, reading, tick_millis))
        });
        let (spool, reading, tick_millis) = opened.await??;
        let keeper = Keeper { spool: spool.clone(), books, reach: self.reach_back() };
        let stop = CancellationToken::new();
        if !self.tuning.ends {
            self.serve(self.desk(&spool, tick_millis, counters.clone()), &stop).await?;
            let background = stop.clone();
            tokio::spawn(background.run_until_cancelled_owned(keeper.clone().run(KEEP_EVERY)));
            tokio::spawn(stop.clone().run_until_cancelled_owned(say(counters)));
        }
        let durable = spool.durable();
        Ok(Everything { reading: Some(reading), durable, keeper, ends: self.tuning.ends, _stop: stop.drop_guard() })
    }

    /// Reads the spool, which nobody writes to.
    pub(crate) fn replay(&self, spans: Vec<Span>) -> Result<Replay, BoxError> {
        let decoder = Arc::new(self.decoder(Arc::default())?);
        let disk: Arc<dyn Disk> = match &self.tuning.disk {
            Some(disk) => Arc::new(disk.clone()),
            None => {
                let place = &self.spool.directory;
                let directory = Directory::existing(place);
                Arc::new(
                    directory.map_err(|error| format!("the spool at `{}` cannot be read: {error}", place.display()))?,
                )
            }
        };
        Ok(Replay { decoder, disk, due: spans.into(), reading: None })
    }

    fn decoder(&self, counters: Arc<Counters>) -> Result<Decoder, BoxError> {
        self.check()?;
        let hidden: &[&str] = match self.privacy.address {
            AddressKept::Keep => &[],
            AddressKept::Truncate => &["client.address"],
            AddressKept::Hash => &["client.ip"],
            AddressKept::Remove => &["client.address", "client.ip"],
        };
        Ok(Decoder {
            layout: Arc::new(self.layout()?),
            tidy: Tidy {
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
        let mut options = Options::new(self.spool.bytes_max.bytes());
        options.segment_bytes = self.tuning.segment_bytes.unwrap_or(options.segment_bytes);
        options.durability = match self.durability {
            Durability::Fsync => forebay_spool::Durability::Fsync,
            Durability::Memory => forebay_spool::Durability::Memory,
        };
        // What the state has seen is never another request's number, whatever became of the disk.
        let seen = after.values().filter_map(|it| match it {
            Position::At { sequence, .. } => sequence.as_str().parse().ok(),
            Position::Start | Position::End => None,
        });
        options.after = seen.max().unwrap_or(0);
        options
    }

    /// The disk, which is opened where that may block.
    fn disk(&self) -> impl FnOnce() -> Result<Arc<dyn Disk>, BoxError> + Send + use<> {
        let (simulated, directory) = (self.tuning.disk.clone(), self.spool.directory.clone());
        move || match simulated {
            Some(disk) => Ok(Arc::new(disk)),
            None => Ok(Arc::new(open_directory(&directory)?)),
        }
    }

    fn desk(&self, spool: &Arc<Spool>, tick_millis: u64, counters: Arc<Counters>) -> Desk {
        let limits = &self.limits;
        Desk {
            spool: spool.clone(),
            paths: self.paths.clone(),
            pixels: self.pixels.clone(),
            origins: self.origins.clone(),
            proxies: Proxies {
                trusted: self.trusted_proxies.clone(),
                headers: self.client_address.clone().unwrap_or_else(|| vec![AddressHeader::XForwardedFor]),
            },
            privacy: self.privacy.clone(),
            addresses: Addresses::new(self.privacy.address, &self.spool.directory),
            caps: Caps {
                body_bytes_max: limits.body_bytes_max.bytes() as usize,
                decoded_bytes_max: limits.decoded_bytes_max.bytes() as usize,
                body_timeout: limits.body_timeout.duration(),
                budget: Arc::new(Semaphore::new(limits.bodies_bytes_max.bytes() as usize / BUDGET_BYTES)),
            },
            address_rates: Rates::new(limits.requests_per_address.get()),
            origin_rates: limits.requests_per_origin.map(|it| Rates::new(it.get())),
            counters,
            tick_millis: AtomicU64::new(tick_millis),
            trouble_millis: AtomicU64::new(0),
        }
    }

    /// Begins to listen.
    async fn serve(&self, desk: Desk, stop: &CancellationToken) -> Result<(), BoxError> {
        let listener = TcpListener::bind(self.listen).await;
        let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", self.listen))?;
        let address = listener.local_addr()?;
        let tls = match &self.tls {
            None => None,
            Some(files) => {
                let certificate = Certificate::open(files)?;
                tokio::spawn(stop.clone().run_until_cancelled_owned(certificate.clone().follow()));
                Some(certificate.acceptor()?)
            }
        };
        let limits = &self.limits;
        let bounds = Bounds {
            connections_max: limits.connections_max.get() as usize,
            connections_per_address_max: limits.connections_per_address_max.get() as usize,
            header_timeout: limits.header_timeout.duration(),
            idle_timeout: limits.idle_timeout.duration(),
        };
        tracing::info!(%address, tls = tls.is_some(), "listening for beacons");
        if let Some(told) = &self.tuning.told {
            *told.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(address);
        }
        tokio::spawn(Server { listener, tls, desk: Arc::new(desk), bounds, stop: stop.clone() }.run());
        Ok(())
    }
}

fn open_directory(path: &Path) -> Result<Directory, String> {
    Directory::open(path).map_err(|error| format!("the spool at `{}` cannot be made: {error}", path.display()))
}

/// When the last request came, so that no later one is said to have come before it.
fn last_tick(spool: &Spool) -> Result<u64, BoxError> {
    let last = spool.standing().last;
    match spool.reader(Some(last.saturating_sub(1))).read()? {
        Some(Entry::Frame { payload, .. }) => Ok(Frame::decode(&payload).map_or(0, |it| it.tick_millis)),
        Some(Entry::Lost { .. }) | None => Ok(0),
    }
}

/// Says what was counted, once in a while.
async fn say(counters: Arc<Counters>) {
    let mut said = counters.shown();
    loop {
        tokio::time::sleep(SAID_EVERY).await;
        let shown = counters.shown();
        if shown != said {
            tracing::info!("{shown}");
            said = shown;
        }
    }
}

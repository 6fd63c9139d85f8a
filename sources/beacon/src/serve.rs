//! Connections: how many, from whom, and for how long.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::counters::Reason;
use crate::desk::Desk;
use crate::proxies::plain;

/// When the source ends, requests that are being answered have so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more sockets.
const BREATH: Duration = Duration::from_millis(100);
/// The head of a request may have no more lines.
const HEADERS_MAX: usize = 64;
/// And no more bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// What a client may send on an HTTP/2 stream before anybody reads it: a whole beacon of a browser.
const WINDOW_BYTES: u32 = 64 << 10;
/// So many requests may be under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections_max: usize,
    /// Of one address, unless it is that of a proxy.
    pub connections_per_address_max: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
}

/// Accepts connections until it is to stop.
pub struct Server {
    pub listener: TcpListener,
    pub tls: Option<TlsAcceptor>,
    pub desk: Arc<Desk>,
    pub bounds: Bounds,
    pub stop: CancellationToken,
}

impl Server {
    /// Serves for ever; connections end soon after it was told to stop.
    pub async fn run(self) {
        let Self { listener, tls, desk, bounds, stop } = self;
        let open = Arc::new(Open::default());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection, or of the system: either way there may be another one soon.
                    tracing::debug!("a connection could not be accepted: {error}");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let Some(place) = open.enter(peer, &desk, bounds) else {
                desk.counters.refuse(Reason::Connections);
                continue;
            };
            let connection = Connection { desk: desk.clone(), bounds, peer: plain(peer.ip()), stop: stop.clone() };
            let tls = tls.clone();
            tokio::spawn(async move {
                connection.begin(stream, tls).await;
                drop(place);
            });
        }
    }
}

/// The connections that are open, all together and by address.
#[derive(Default)]
struct Open {
    by_address: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

struct Place {
    open: Arc<Open>,
    address: IpAddr,
}

impl Open {
    fn enter(self: &Arc<Self>, peer: SocketAddr, desk: &Desk, bounds: Bounds) -> Option<Place> {
        let address = plain(peer.ip());
        let (all, by_address) = &mut *self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = by_address.get(&address).copied().unwrap_or(0);
        let is_crowd = of_address >= bounds.connections_per_address_max && !desk.proxies.trusts(address);
        if *all >= bounds.connections_max || is_crowd {
            return None;
        }
        *all += 1;
        by_address.insert(address, of_address + 1);
        Some(Place { open: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (all, by_address) = &mut *self.open.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        *all -= 1;
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// One of them.
struct Connection {
    desk: Arc<Desk>,
    bounds: Bounds,
    peer: IpAddr,
    stop: CancellationToken,
}

impl Connection {
    async fn begin(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are small, and are waited for.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream).await };
        let handshake = tokio::time::timeout(self.bounds.header_timeout, tls.accept(stream)).await;
        match handshake {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, "no TLS: {error}"),
            Err(_) => tracing::debug!(peer = %self.peer, "no TLS in time"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Self { desk, bounds, peer, stop } = self;
        let quiet = Arc::new(Quiet::default());
        let began = Instant::now();
        let service = {
            let (desk, quiet) = (desk.clone(), quiet.clone());
            service_fn(move |request| {
                let (desk, quiet) = (desk.clone(), quiet.clone());
                async move {
                    let _busy = quiet.busy(began);
                    Ok::<_, Infallible>(desk.answer(request, peer).await)
                }
            })
        };
        let builder = builder(bounds);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = loop {
            let quiet_until = quiet.until(began, bounds);
            tokio::select! {
                served = connection.as_mut() => break served,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(FAREWELL, connection).await;
                    return;
                }
                () = tokio::time::sleep_until(quiet_until) => {
                    if quiet.until(began, bounds) <= Instant::now() {
                        return;
                    }
                }
            }
        };
        if let Err(error) = served {
            let is_http = error.downcast_ref::<hyper::Error>().is_some_and(|it| it.is_parse() || it.is_timeout());
            if is_http {
                desk.counters.refuse(Reason::Http);
            }
            tracing::debug!(%peer, "a connection ended: {error}");
        }
    }
}

fn builder(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .keep_alive_interval(bounds.idle_timeout)
        .keep_alive_timeout(bounds.header_timeout);
    builder
}

/// Since when nothing happens on a connection.
#[derive(Default)]
struct Quiet {
    requests: AtomicUsize,
    answered: AtomicU64,
    is_used: AtomicUsize,
}

struct Busy {
    quiet: Arc<Quiet>,
    began: Instant,
}

impl Quiet {
    fn busy(self: &Arc<Self>, began: Instant) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.is_used.store(1, Ordering::Relaxed);
        Busy { quiet: self.clone(), began }
    }

    /// When the connection is to be closed if nothing happens.
    fn until(&self, began: Instant, bounds: Bounds) -> Instant {
        if self.requests.load(Ordering::Relaxed) > 0 {
            // Each request has a limit of its own.
            return Instant::now() + bounds.idle_timeout;
        }
        if self.is_used.load(Ordering::Relaxed) == 0 {
            return began + bounds.header_timeout;
        }
        began + Duration::from_millis(self.answered.load(Ordering::Relaxed)) + bounds.idle_timeout
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.quiet.answered.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.quiet.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

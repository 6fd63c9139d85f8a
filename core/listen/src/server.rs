//! Connections: from whom, and for how long.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use forebay_api::{BoxError, Stats};
use http::header::{CONNECTION, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::activity::{Activity, Busy, Patience, Quiet, Watched};
use crate::certificate::{Certificate, Tls};
use crate::counters::{Counters, say};
use crate::crowd::Crowd;
use crate::descriptors::Descriptors;
use crate::{Answer, Reply, Request};

/// When a server or a connection ends, requests that are being answered have so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// The rest of a body that nobody wants may take so long.
const LINGER: Duration = Duration::from_secs(10);
/// So many connections may wait to be accepted, where the system lets them (`net.core.somaxconn`). Who finds no room
/// there tries again a second later.
const BACKLOG: u32 = 4096;
/// How long to wait when the system has no more sockets.
const BREATH: Duration = Duration::from_millis(100);
/// What a client may send on an HTTP/2 stream before anybody reads it: a whole beacon of a browser.
const WINDOW_BYTES: u32 = 64 << 10;
/// So many requests may be under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many there may be at a time. There are fewer where the system does not let the process open so many files.
    pub connections_max: usize,
    /// How many of one [`subscriber`](crate::subscriber), unless it is a proxy.
    pub per_address_max: usize,
    /// How long the head of a request may take from its first byte on, and the first one of a connection from its start.
    /// So long may the handshake of TLS take as well.
    pub header_timeout: Duration,
    /// How long a connection may do nothing between two requests.
    pub idle_timeout: Duration,
    /// How large the head of a request may be.
    pub head_bytes_max: usize,
    /// How much is read and forgotten of a body after its request was answered, so that the client reads the answer. If
    /// there is more, the connection is cut.
    pub linger_bytes_max: u64,
    /// Whether HTTP/2 is spoken beside HTTP/1.1.
    pub http_2: bool,
}

/// A server. It listens as long as it is there; its connections end soon after.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counters: Counters,
    _stop: DropGuard,
}

impl Server {
    /// Begins to listen, over TLS if there is a certificate.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on, or the certificate cannot be used.
    pub async fn start<A: Answer>(
        listen: SocketAddr,
        tls: Option<&Tls>,
        bounds: Bounds,
        answer: Arc<A>,
    ) -> Result<Self, BoxError> {
        Self::within(Descriptors::of_process(), listen, tls, bounds, answer).await
    }

    /// The same, with no more connections than these descriptors allow.
    pub(crate) async fn within<A: Answer>(
        descriptors: Arc<Descriptors>,
        listen: SocketAddr,
        tls: Option<&Tls>,
        bounds: Bounds,
        answer: Arc<A>,
    ) -> Result<Self, BoxError> {
        let certificate = tls.map(Certificate::open).transpose()?;
        let protocols: &[&str] = if bounds.http_2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let acceptor = certificate.as_ref().map(|it| it.acceptor(protocols)).transpose()?;
        let listener = listener(listen).map_err(|error| cannot(listen, &error))?;
        let address = listener.local_addr()?;
        tracing::info!(%address, tls = certificate.is_some(), "listening");
        let connections_max = descriptors.connections_max();
        if connections_max < bounds.connections_max {
            tracing::warn!("the limit of open files of this process allows only {connections_max} connections");
        }

        let stop = CancellationToken::new();
        if let Some(certificate) = certificate {
            tokio::spawn(stop.clone().run_until_cancelled_owned(certificate.follow()));
        }
        tokio::spawn(stop.clone().run_until_cancelled_owned(say(answer.clone(), address)));
        let crowd = Crowd::new(bounds.connections_max, bounds.per_address_max, descriptors);
        let counters = answer.counters().clone();
        let host = Arc::new(Host { answer, bounds, acceptor, stop: stop.clone() });
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, crowd, host)));
        Ok(Self { address, counters, _stop: stop.drop_guard() })
    }

    /// Where it listens: with the port that the system has chosen, if it was to choose one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of requests so far, for whoever watches the source.
    pub fn stats(&self) -> Arc<dyn Stats> {
        Arc::new(self.counters.clone())
    }
}

/// Listens, with room for many that come at once.
pub(crate) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A start does not have to wait until the connections of the process before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why an address cannot be listened on, and what to do about it.
fn cannot(listen: SocketAddr, error: &io::Error) -> String {
    let port = listen.port();
    let more = match error.kind() {
        ErrorKind::AddrInUse => {
            format!("another process listens there; `ss -ltnp sport = :{port}` or `lsof -i :{port}` shows which")
        }
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address; `0.0.0.0` stands for all".to_owned()
        }
        ErrorKind::PermissionDenied => "ports below 1024 need the capability `CAP_NET_BIND_SERVICE`".to_owned(),
        _ => error.to_string(),
    };
    format!("`{listen}` cannot be listened on: {more}")
}

/// Accepts connections for ever.
async fn accept<A: Answer>(listener: TcpListener, crowd: Arc<Crowd>, host: Arc<Host<A>>) {
    let mut is_in_trouble = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                // Of one connection, or of the system: either way there may be another one soon.
                if !is_in_trouble {
                    tracing::warn!("a connection could not be accepted: {error}");
                }
                is_in_trouble = true;
                sleep(BREATH).await;
                continue;
            }
        };
        is_in_trouble = false;
        let Some(place) = crowd.enter(peer, host.answer.is_proxy(peer)) else {
            host.answer.counters().refuse("connections");
            continue;
        };
        let host = host.clone();
        tokio::spawn(async move {
            host.connection(stream, peer).await;
            drop(place);
        });
    }
}

/// What connections have in common.
struct Host<A> {
    answer: Arc<A>,
    bounds: Bounds,
    acceptor: Option<TlsAcceptor>,
    stop: CancellationToken,
}

impl<A: Answer> Host<A> {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        // Answers are small, and are waited for.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.acceptor.clone() else { return self.requests(stream, peer).await };
        let agreed = timeout(self.bounds.header_timeout, acceptor.accept(stream));
        let agreed = tokio::select! {
            agreed = agreed => agreed,
            () = self.stop.cancelled() => return,
        };
        match agreed {
            Ok(Ok(stream)) => return self.requests(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, "no TLS: {error}"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        }
        self.answer.counters().refuse("tls");
    }

    async fn requests(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: IpAddr) {
        let activity = Activity::new();
        let service = {
            let (host, activity) = (self.clone(), activity.clone());
            service_fn(move |request: Request| {
                let busy = activity.begin(request.version());
                host.clone().request(request, peer, busy)
            })
        };
        let builder = builder(self.bounds);
        let stream = TokioIo::new(Watched { stream, activity: activity.clone() });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let Bounds { header_timeout: header, idle_timeout: idle, .. } = self.bounds;
        let mut alarm = pin!(sleep_until(Instant::now()));
        let ended = poll_fn(|cx| {
            activity.attend();
            // In this order: what the connection does moves the deadline.
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(served));
            }
            let Some((at, quiet)) = activity.deadline(Patience { header, idle }, cx.waker()) else {
                return Poll::Pending;
            };
            // Most deadlines are later than the one before, since something was done. So that it need not be set for each
            // request, the alarm may go off before its time.
            if alarm.deadline() > at {
                alarm.as_mut().reset(at);
            }
            loop {
                ready!(alarm.as_mut().poll(cx));
                if alarm.deadline() >= at {
                    break;
                }
                alarm.as_mut().reset(at);
            }
            Poll::Ready(Err(quiet))
        });
        let counters = self.answer.counters();
        let ended = tokio::select! {
            biased;
            ended = ended => ended,
            () = self.stop.cancelled() => Err(Quiet::Idle),
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%peer, "a connection ended: {error}");
                if is_not_http(&*error) {
                    counters.refuse("http");
                }
            }
            Err(Quiet::Head) => counters.refuse("head_timeout"),
            Err(Quiet::Idle) => {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(FAREWELL, connection).await;
            }
        }
    }

    async fn request(self: Arc<Self>, mut request: Request, peer: IpAddr, busy: Busy) -> Result<Reply, Infallible> {
        let reply = self.answer.answer(&mut request, peer).await;
        let is_last = || reply.headers().get(CONNECTION) == Some(&HeaderValue::from_static("close"));
        let left = request.into_body();
        let most = self.bounds.linger_bytes_max;
        if !left.is_end_stream() && left.size_hint().lower() <= most && !is_last() {
            tokio::spawn(async move {
                let _ = timeout(LINGER, forget(left, most)).await;
                drop(busy);
            });
        }
        Ok(reply)
    }
}

/// Whether a connection ended because of what the client sent: no HTTP, or frames of HTTP/2 that may not come.
fn is_not_http(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |it| (*it).source());
    causes.any(|it| {
        let is_parse = it.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        is_parse || it.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library)
    })
}

/// Reads what is left of a body, and forgets it.
async fn forget(mut body: Incoming, mut most: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        match most.checked_sub(frame.data_ref().map_or(0, |it| it.len() as u64)) {
            Some(less) => most = less,
            None => return,
        }
    }
}

fn builder(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if !bounds.http_2 {
        builder = builder.http1_only();
    }
    // The time of a head is seen to here, by its first byte. Its lines are no more than a hundred, as many as hyper reads
    // without memory for each head.
    builder.http1().header_read_timeout(None).max_buf_size(bounds.head_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(bounds.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .keep_alive_interval(bounds.idle_timeout)
        .keep_alive_timeout(bounds.header_timeout);
    builder
}

//! Connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::BoxError;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::Firehose;
use crate::endpoint::Endpoint;
use crate::tls::Certificates;

/// So many connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take for TLS, and for the head of a request, the wait for it included.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(60);

/// The largest head: 50 common attributes of 256 and 1024 bytes, and the access key of 4096.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// Listens as long as it is there; its connections are cut then.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Begins to listen.
    pub(crate) async fn start(config: &Firehose, endpoint: Endpoint) -> Result<Self, BoxError> {
        let certificates = config.tls.as_ref().map(Certificates::load).transpose()?.map(Arc::new);
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|error| format!("`{listen}` cannot be listened on: {error}"))?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, certificates, Arc::new(endpoint)));
        Ok(Self { address, _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, certificates: Option<Arc<Certificates>>, endpoint: Arc<Endpoint>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    Err(error) => {
                        // The client has gone again, or files have run out for a moment.
                        tracing::debug!("a connection could not be accepted: {error}");
                        sleep(Duration::from_millis(10)).await;
                    }
                },
            }
        };
        let (certificates, endpoint) = (certificates.clone(), endpoint.clone());
        connections.spawn(async move {
            connection(stream, certificates, endpoint).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, certificates: Option<Arc<Certificates>>, endpoint: Arc<Endpoint>) {
    // Answers are small and come one by one.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = certificates else { return requests(stream, endpoint).await };
    match timeout(HANDSHAKE, TlsAcceptor::from(certificates.current()).accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, endpoint).await,
        Ok(Err(error)) => tracing::debug!("a client does not agree on TLS: {error}"),
        Err(_) => tracing::debug!("a client took too long for TLS"),
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, endpoint: Arc<Endpoint>) {
    let answer = service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES_MAX);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!("a connection ended: {error}");
    }
}

//! The servers, and requests to one of them.

mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::clickhouse::error::Error as ClientError;
use ::clickhouse::insert_formatted::CompressedData;
use ::clickhouse::{Client, Compression as Codec};
use forebay_api::BoxError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::failure::{Failure, Kind};
use crate::{ClickHouse, Compression, sql};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may take no further bytes of an INSERT.
const SEND: Duration = Duration::from_secs(60);

/// Servers close what is not used for 3 s (before 23.11) or 10 s (since): a request on such a connection fails.
const IDLE: Duration = Duration::from_secs(2);

/// How long a question about what the table is like may take.
const ANSWER: Duration = Duration::from_secs(60);

/// So often that time is doubled: from seconds to a day.
const DOUBLED_MAX: u32 = 12;

/// Servers with the same table, one of which is asked until it fails.
pub(crate) struct Servers {
    clients: Vec<Client>,
    codec: Codec,
    /// Settings of the file, for INSERTs.
    settings: Vec<(String, String)>,
    timeout: Duration,
    /// Which one is asked, counted on for ever.
    current: AtomicUsize,
}

/// A piece of an INSERT's body.
pub(crate) enum Frame {
    Plain(Vec<u8>),
    Packed(CompressedData),
}

impl Servers {
    /// Makes clients. Reads the files of certificates, and sends nothing.
    pub(crate) fn new(config: &ClickHouse) -> Result<Self, BoxError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_keepalive(Some(Duration::from_secs(60)));
        http.set_nodelay(true);
        let builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .clone();
        let uses_tls = config.urls().any(|it| it.starts_with("https:"));
        let mut client = match uses_tls {
            false => Client::with_http_client(builder.build(http)),
            true => {
                let https = hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(tls::config(&config.tls)?)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(http);
                Client::with_http_client(builder.build(https))
            }
        };
        client = client.with_compression(Codec::None).with_user(&config.user);
        if let Some(password) = &config.password {
            client = client.with_password(password.reveal());
        }
        for (name, value) in &config.headers {
            client = client.with_header(name, value.reveal());
        }
        client = client.with_product_info("forebay", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            clients: config.urls().map(|it| client.clone().with_url(it)).collect(),
            codec: match config.compression {
                Compression::Lz4 => Codec::Lz4,
                Compression::Zstd => Codec::Zstd(1),
                Compression::None => Codec::None,
            },
            settings: config.settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            timeout: config.timeout.duration(),
            current: AtomicUsize::new(0),
        })
    }

    /// How many servers there are.
    pub(crate) fn count(&self) -> usize {
        self.clients.len()
    }

    /// The server whose turn it is.
    pub(crate) fn one(&self) -> Server<'_> {
        let at = self.current.load(Ordering::Relaxed);
        Server { servers: self, at, client: self.clients[at % self.clients.len()].clone(), patience: ANSWER }
    }

    /// Makes one INSERT of what `body` holds. `settings` come before those of the file.
    pub(crate) async fn insert(
        &self,
        doing: &str,
        sql: &str,
        settings: &[(&str, String)],
        body: Vec<Frame>,
    ) -> Result<(), Failure> {
        let server = self.one();
        let mut client = server.client.clone().with_compression(self.codec);
        for (name, value) in &self.settings {
            client = client.with_setting(name, value);
        }
        for (name, value) in settings {
            client = client.with_setting(*name, value);
        }
        client = client.with_setting("wait_end_of_query", "1");
        let sent = async {
            let mut insert = client.insert_formatted_with(sql).with_timeouts(Some(SEND), Some(self.timeout));
            for frame in body {
                match frame {
                    Frame::Plain(bytes) => insert.send(bytes.into()).await?,
                    Frame::Packed(packed) => insert.send_compressed(packed).await?,
                }
            }
            insert.end().await
        };
        sent.await.map_err(|error| server.failed(doing, &error))
    }

    /// Packs bytes as the file says.
    pub(crate) fn pack(&self, bytes: &[u8]) -> Result<Frame, BoxError> {
        match self.codec {
            Codec::None => Ok(Frame::Plain(bytes.to_vec())),
            codec => Ok(Frame::Packed(CompressedData::new(bytes, codec)?)),
        }
    }
}

/// One of the servers: for questions of which the later ones build on the earlier.
pub(crate) struct Server<'a> {
    servers: &'a Servers,
    /// Its number, counted on for ever.
    at: usize,
    client: Client,
    /// How long an answer may take.
    patience: Duration,
}

impl Server<'_> {
    /// The same one, for questions that may make it read the whole table, of which so many were not answered in time: each
    /// has twice the time of the one before. However large the table is, one of them has enough.
    pub(crate) fn patient(self, unanswered: u32) -> Self {
        Self { patience: self.servers.timeout.saturating_mul(1 << unanswered.min(DOUBLED_MAX)), ..self }
    }

    /// The rows that a statement gives, values separated by tabs and escaped as `TabSeparated` has it.
    pub(crate) async fn ask(
        &self,
        doing: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<Vec<Vec<String>>, Failure> {
        let mut client = self.client.clone();
        for (name, value) in settings {
            client = client.with_setting(*name, *value);
        }
        // The whole answer is ready before its head is sent: an error is known by its status and cannot come later.
        client = client.with_setting("wait_end_of_query", "1");
        let answer = async { client.query_raw(sql).fetch_bytes("TabSeparated")?.collect().await };
        let answer = match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut),
        };
        let answer = answer.map_err(|error| self.failed(doing, &error))?;
        let text = String::from_utf8_lossy(&answer);
        Ok(text.lines().map(|it| it.split('\t').map(sql::unescaped).collect()).collect())
    }

    /// Passes the turn on if another server may do better.
    fn failed(&self, doing: &str, error: &ClientError) -> Failure {
        let Servers { clients, current, .. } = self.servers;
        let failure = Failure::new(doing, error);
        if clients.len() > 1 && failure.kind() == Kind::Elsewhere {
            // An error: it is another one's turn already.
            let _ = current.compare_exchange(self.at, self.at + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        failure
    }
}

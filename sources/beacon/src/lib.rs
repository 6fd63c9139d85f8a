//! The `beacon` source: events that browsers send, on the disk before they are answered.

mod body;
mod body_privacy;
mod columns;
mod counters;
mod dedupe;
mod endpoint;
mod events;
mod frame;
mod open;
mod origins;
mod privacy;
mod proxies;
mod rates;
mod reading;
mod refusal;
mod retention;
mod rows;
mod salts;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{Age, BoxError, ByteSize, Config, Resource, Resume, Source, SourceConfig, Wrong};
use forebay_codec::Columns;
use forebay_listen::Tls;
use forebay_spool::source::SpoolKeys;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::columns::{ALWAYS, Layout, USUAL, Unknown};
use crate::open::Tuning;
use crate::origins::Origin;
use crate::privacy::{AddressKept, Privacy};
use crate::proxies::{AddressHeader, Network};

/// The most that one request may hold when it is decompressed: what fits into a frame of the spool, with its head.
const DECODED_BYTES_MAX_MAX: ByteSize = ByteSize::mib(32);

/// More than what the spool keeps of a head, and what is lost to rounding.
const HEAD_COPY_BYTES: u64 = 64 << 10;

/// Takes events that browsers send (`navigator.sendBeacon`, `fetch`, a picture), as JSON in the Elastic Common Schema
/// (ECS) 9.4.0, over HTTP/1.1 and HTTP/2: with `tls` the client chooses, and without it a proxy may speak HTTP/2 from the
/// first byte on (prior knowledge). An `Upgrade: h2c` is not followed, and the request is answered in HTTP/1.1.
///
/// ```toml
/// [sources.pages]
/// type = "beacon"
/// listen = "0.0.0.0:8080"
/// origins = ["https://example.com", "https://*.example.com"]
/// spool = { directory = "./spool" }
/// ```
///
/// A request is answered with `204` when it is durable on the disk, in the spool. From there it is read as often as
/// needed, and it is deleted some minutes after every sink has its events and no later event needs to be compared with it
/// (`dedupe`). If the spool or the disk is full, or the disk fails or does not answer within 10 seconds, the answer is `503`
/// with `Retry-After`; what was answered before is not lost. Of a disk that does not answer nobody knows whether it has the
/// request: if it does, and the page sends it again, its events are there twice unless they have an `event.id`.
///
/// | request | answer |
/// |--|--|
/// | `POST` to one of `paths`: an object, an array of objects, or objects one after the other; as `text/plain`, `application/json`, `application/x-ndjson`, without a type, or the fields of one event as `application/x-www-form-urlencoded`; plain, `gzip`, `br` or `zstd` | 204 |
/// | `GET` one of `pixels`, with the fields of one event as its query | a picture of one pixel |
/// | `OPTIONS` of one of `paths`: the question of a browser whether a page may send | 204 |
/// | `GET /health` | 200; or 503 for 5 seconds after a request could not be taken, and while the disk has not answered for 5 seconds |
/// | another path, another method, no body or one of another type | 404, 405, 415 |
/// | too large, not to be decompressed, too slow, from another origin, too often | 413, 400, 408, 403, 429 |
///
/// What was not taken is counted by reason, and the log says the counts once a minute if there are new ones.
///
/// Objects within objects and names with dots are the same: `{"event": {"id": "7"}}` and `{"event.id": "7"}`. Each ECS
/// field has the type of its column, as the page of the `ecs` transform lists them. Numbers and texts stand for each
/// other; a whole number loses its fraction, and a time may be milliseconds since 1970. An event with a value that does
/// not fit is refused, and the others of its request are not. So is an event with more than 1000 values, or with a path of
/// names of more than 1 KiB. A half of a surrogate pair, as of a text that was cut, is read as U+FFFD.
///
/// Only the spool has requests as they came. The dead letters get the text of an event that is refused, or of what is no
/// JSON. Where `privacy` takes something away from events, or a visitor forbids to be known, they get the event without
/// that, and of what is no JSON only how long it is.
///
/// The source fills `event.ingested` with the time of the request, and `@timestamp` too if the event has none; `client.ip`
/// and `user_agent.original` with what the request says, whatever the event says; and `url.full` with the `Referer` if the
/// event has none.
///
/// A row's position is the number of its request in the spool, and of its event in the request.
///
/// # Several processes
///
/// Behind a load balancer each process has a spool of its own, and with it a memory of its own for copies (`dedupe`) and a
/// salt of its own for hashed addresses (`privacy.address`). A page that sends an event again and reaches another process is
/// in the table twice, and a visitor who reaches two has two hashes that day. Where that matters, let the balancer send a
/// visitor to one process, by a hash of the address or by a cookie; or leave the copies to the table, by `event.id`: a
/// `ReplacingMergeTree` that is ordered by it, or `DISTINCT ON` in queries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beacon {
    /// The address and the port to listen on, such as `"0.0.0.0:8080"`, or `"[::]:8080"` for IPv6 too.
    listen: SocketAddr,
    /// The paths that events are posted to. By default `["/beacon"]`.
    #[serde(default = "paths")]
    paths: Vec<String>,
    /// The paths of the picture. By default `["/beacon.gif"]`.
    #[serde(default = "pixels")]
    pixels: Vec<String>,
    /// Where requests are kept until every sink has them.
    spool: SpoolKeys,
    /// For HTTPS: the files of a certificate and its key. By default the server speaks plain HTTP.
    tls: Option<Tls>,
    /// The origins whose pages may send, such as `["https://example.com", "https://*.example.com"]`: `*.` stands for all hosts
    /// below a name, not for that name itself. By default all; `"*"` is no origin. A request without an origin does not come
    /// from a page of a browser, and is taken. An allowed page's origin is named in the answer, with credentials, as beacons
    /// are sent with them; `Access-Control-Allow-Origin: *` is never answered, since browsers then refuse credentials.
    origins: Option<Vec<Origin>>,
    /// The networks of the proxies that requests come through, such as `["10.0.0.0/8"]`. By default none, and the client's
    /// address is that of the connection.
    #[serde(default)]
    trusted_proxies: Vec<Network>,
    /// For `trusted_proxies`: the headers that say where a request comes from; the first one counts that does. By default
    /// `["x_forwarded_for"]`; also known are `"forwarded"` and `"cloudfront_viewer_address"`, which is right only where
    /// nobody but CloudFront can reach the proxies. In a list the last address counts that is not that of a proxy.
    client_address: Option<Vec<AddressHeader>>,
    /// What is not kept of visitors. By default all is kept but what visitors forbid by `Sec-GPC`.
    #[serde(default)]
    privacy: Privacy,
    /// What is taken at most.
    #[serde(default)]
    limits: LimitKeys,
    /// Which events are copies, by their `event.id`. A page may send an event twice when its first answer got lost, or when
    /// it comes back from the cache of the browser. Each process knows the events only that it took itself.
    #[serde(default)]
    dedupe: Dedupe,
    /// The ECS fields that become columns, such as `["event.action", "url.full"]`; `@timestamp`, `event.id` and
    /// `event.ingested` always do. By default 59 that page views, errors, log events and measurements have.
    fields: Option<Vec<String>>,
    /// Columns that ECS does not know, with their types, such as `{ "shop.cart" = "decimal:2" }`. By default none.
    columns: Option<Columns>,
    /// What becomes of a key that is no column. By default `"labels"`: it is kept in the column `labels`, a JSON object with
    /// paths of keys as names. `"ignore"`: it is left out. `"refuse"`: the event is refused.
    #[serde(default)]
    unknown: UnknownKeys,
    /// What tests make small.
    #[serde(skip)]
    #[schemars(skip)]
    tuning: Tuning,
}

/// What is taken at most.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LimitKeys {
    /// The bytes of a body as it is sent. By default `"256KiB"`; a browser sends no beacon of more than 64 KiB.
    body_bytes_max: ByteSize,
    /// The bytes of a body when it is decompressed. By default `"4MiB"`, at most `"32MiB"`.
    decoded_bytes_max: ByteSize,
    /// The bytes of all bodies that are in memory at a time, of which nothing is on the disk yet, and of their copies while
    /// they are decompressed and written. What comes beyond that is answered with 503. By default `"64MiB"`.
    bodies_bytes_max: ByteSize,
    /// The events of a request; one refusal stands for those behind them. By default `1000`.
    events_max: NonZeroU32,
    /// For how long is waited for the head of a request from its first byte on, and on a new connection for the handshake of
    /// TLS and the first head. By default `"10s"`.
    header_timeout: Age,
    /// For how long is waited for the body of a request. By default `"10s"`.
    body_timeout: Age,
    /// For how long a connection may do nothing between two requests. By default `"75s"`, longer than load balancers wait.
    idle_timeout: Age,
    /// The connections that are open at a time, also those of other sources, if the limit of open files of the process
    /// allows so many and 256 files more. By default `10000`.
    connections_max: NonZeroU32,
    /// Those from one address, unless it is that of a proxy. By default `256`. IPv6 addresses that share their first 64 bits
    /// count as one.
    connections_per_address_max: NonZeroU32,
    /// The requests of one client's address in a second. By default `300`. IPv6 addresses that share their first 64 bits
    /// count as one.
    requests_per_address: NonZeroU32,
    /// The requests of the pages of one origin in a second. By default there is no limit.
    requests_per_origin: Option<NonZeroU32>,
}

impl Default for LimitKeys {
    fn default() -> Self {
        Self {
            body_bytes_max: ByteSize(256 << 10),
            decoded_bytes_max: ByteSize::mib(4),
            bodies_bytes_max: ByteSize::mib(64),
            events_max: NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN),
            header_timeout: Age::seconds(10),
            body_timeout: Age::seconds(10),
            idle_timeout: Age::seconds(75),
            connections_max: NonZeroU32::new(10_000).unwrap_or(NonZeroU32::MIN),
            connections_per_address_max: NonZeroU32::new(256).unwrap_or(NonZeroU32::MIN),
            requests_per_address: NonZeroU32::new(300).unwrap_or(NonZeroU32::MIN),
            requests_per_origin: None,
        }
    }
}

/// Which events are copies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Dedupe {
    /// An event is a copy if one with the same `event.id` came so long before it, or less. By default `"1h"`; with `"0s"` no
    /// event is. For so long requests stay in the spool, as far as a quarter of its `bytes_max` goes.
    window: Age,
    /// And if there were no more events with an id in between. By default `250000`, which take up to 23 MiB of memory.
    ids_max: NonZeroU32,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { window: Age::seconds(3600), ids_max: NonZeroU32::new(250_000).unwrap_or(NonZeroU32::MIN) }
    }
}

/// What becomes of a key that is no column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum UnknownKeys {
    /// It is kept in `labels`.
    #[default]
    Labels,
    /// It is left out.
    Ignore,
    /// The event is refused.
    Refuse,
}

fn paths() -> Vec<String> {
    vec!["/beacon".to_owned()]
}

fn pixels() -> Vec<String> {
    vec!["/beacon.gif".to_owned()]
}

impl Config for Beacon {
    const TYPE: &'static str = "beacon";
}

impl Beacon {
    fn layout(&self) -> Result<Layout, Wrong> {
        let unknown = match self.unknown {
            UnknownKeys::Labels => Unknown::Labels,
            UnknownKeys::Ignore => Unknown::Ignore,
            UnknownKeys::Refuse => Unknown::Refuse,
        };
        let mut fields: BTreeSet<&str> = ALWAYS.into_iter().collect();
        match &self.fields {
            Some(named) => {
                let twice = named.iter().enumerate().find(|(nth, it)| named[..*nth].contains(it));
                if let Some((_, name)) = twice {
                    return Err(Wrong::new("fields", format!("field `{name}` is named twice")));
                }
                fields.extend(named.iter().map(String::as_str));
            }
            None => {
                fields.extend(USUAL);
                match self.privacy.address {
                    AddressKept::Keep | AddressKept::Truncate => {}
                    AddressKept::Hash => {
                        fields.remove("client.ip");
                        fields.insert("client.address");
                    }
                    AddressKept::Remove => {
                        fields.remove("client.ip");
                    }
                }
            }
        }
        Layout::new(fields, self.columns.as_ref(), unknown)
    }

    fn check(&self) -> Result<(), Wrong> {
        self.check_paths()?;
        self.check_limits()?;
        if self.client_address.is_some() && self.trusted_proxies.is_empty() {
            return Err(Wrong::new("client_address", "`client_address` means nothing without `trusted_proxies`")
                .hint("anyone can send these headers: name the networks of the proxies that may"));
        }
        if self.client_address.as_ref().is_some_and(Vec::is_empty) {
            return Err(Wrong::new("client_address", "`client_address` names no header"));
        }
        if self.origins.as_ref().is_some_and(Vec::is_empty) {
            return Err(Wrong::new("origins", "`origins` is empty, so no page may send")
                .hint("name the origins of your pages, or leave `origins` away"));
        }
        match self.privacy.remove.iter().find(|it| ALWAYS.contains(&it.as_str()) || *it == "event" || it.is_empty()) {
            Some(field) => Err(Wrong::new("privacy.remove", format!("`{field}` cannot be removed"))
                .hint("`@timestamp`, `event.id` and `event.ingested` are always there")),
            None => Ok(()),
        }
    }

    fn check_paths(&self) -> Result<(), Wrong> {
        let mut known = BTreeSet::from(["/health"]);
        for (key, paths) in [("paths", &self.paths), ("pixels", &self.pixels)] {
            for path in paths {
                let fits = |it: u8| it.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&it);
                if !path.starts_with('/') || !path.bytes().all(fits) {
                    return Err(Wrong::new(key, format!("`{path}` is not a path")).hint("write it as \"/beacon\""));
                }
                if !known.insert(path) {
                    return Err(Wrong::new(key, format!("the path `{path}` is taken already")));
                }
            }
        }
        match self.paths.is_empty() && self.pixels.is_empty() {
            true => Err(Wrong::new("paths", "there is no path to send to")),
            false => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Wrong> {
        let limits = &self.limits;
        let most = DECODED_BYTES_MAX_MAX;
        for (key, size) in [("body_bytes_max", limits.body_bytes_max), ("decoded_bytes_max", limits.decoded_bytes_max)]
        {
            if size.bytes() == 0 || size > most {
                return Err(Wrong::new(format!("limits.{key}"), format!("`{key}` must be between 1B and {most}")));
            }
        }
        // A body and what comes out when it is decompressed; then that and its copy for the spool.
        let least = ByteSize(2 * limits.body_bytes_max.max(limits.decoded_bytes_max).bytes() + HEAD_COPY_BYTES);
        let most = ByteSize::mib(1 << 20);
        if limits.bodies_bytes_max < least || limits.bodies_bytes_max > most {
            let what =
                format!("`bodies_bytes_max` must be between {least}, what one body and its copy take, and {most}");
            return Err(Wrong::new("limits.bodies_bytes_max", what));
        }
        // One of the eight segments holds at least two requests.
        let least = ByteSize(limits.decoded_bytes_max.bytes().saturating_mul(16));
        if self.spool.bytes_max < least {
            let what = format!("`bytes_max` must be at least {least}, 16 times `limits.decoded_bytes_max`");
            return Err(Wrong::new("spool.bytes_max", what));
        }
        let times = [
            ("header_timeout", limits.header_timeout),
            ("body_timeout", limits.body_timeout),
            ("idle_timeout", limits.idle_timeout),
        ];
        match times.into_iter().find(|it| it.1.duration().is_zero()) {
            Some((key, _)) => Err(Wrong::new(format!("limits.{key}"), format!("`{key}` must be longer than nothing"))),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl SourceConfig for Beacon {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        self.check()?;
        Ok(self.layout()?.schema)
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Port(self.listen), Resource::Directory(self.spool.directory.clone())]
    }

    fn is_sent_to(&self) -> bool {
        true
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        match resume {
            Resume::After(after) => Ok(Box::new(self.everything(&after).await?)),
            Resume::Exactly(spans) => Ok(Box::new(self.replay(spans).await?)),
        }
    }
}

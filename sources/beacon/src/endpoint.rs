//! Where requests are answered: the body is in the spool before the answer is given.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use forebay_listen::{Answer, Coding, Counters, Held, Reply, Request, forget_head, malformed, subscriber};
use forebay_spool::Spool;
use forebay_spool::source::is_stalled;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, REFERER,
    USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use crate::body::{Caps, kind, take};
use crate::frame::{Frame, Kind};
use crate::origins::Origin;
use crate::privacy::{Addresses, Privacy, Wished};
use crate::proxies::Proxies;
use crate::rates::Rates;
use crate::refusal::Refusal;

/// A transparent picture of one pixel.
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

const HEALTH: &str = "/health";

/// For so long a browser may remember the answer to a preflight; Chromium allows no more.
const PREFLIGHT_SECONDS: &str = "7200";

/// For how long it is said that nothing can be taken, after nothing could be.
const TROUBLE_MILLIS: u64 = 5000;

/// A header that holds more than this is cut off there: it is copied into each event of the request, and nobody needs a
/// longer user agent.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// All that answering needs.
pub struct Endpoint {
    pub spool: Arc<Spool>,
    pub paths: Vec<String>,
    pub pixels: Vec<String>,
    /// `None`: all.
    pub origins: Option<Vec<Origin>>,
    pub proxies: Proxies,
    pub privacy: Privacy,
    pub addresses: Addresses,
    pub caps: Caps,
    pub address_rates: Rates<IpAddr>,
    /// By a hash of the origin, which a client may make as long as a header can be.
    pub origin_rates: Option<Rates<u64>>,
    pub origin_hash: RandomState,
    pub counters: Arc<Counters>,
    /// For so long a request waits for the disk.
    pub patience: Duration,
    /// The latest time that a frame was stamped with.
    pub tick_millis: AtomicU64,
    /// When the spool could not take a request, if it has taken none since.
    pub trouble_millis: AtomicU64,
}

impl Answer for Endpoint {
    async fn answer(&self, request: &mut Request, peer: IpAddr) -> Reply {
        let origin = request.headers().get(ORIGIN);
        // A copy, so that the head can be forgotten.
        let allowed = origin.filter(|it| self.allows(it)).and_then(|it| HeaderValue::from_bytes(it.as_bytes()).ok());
        let is_forbidden = origin.is_some() && allowed.is_none();
        let mut reply = match self.take(request, peer, is_forbidden).await {
            Ok(reply) => reply,
            Err(refusal) => {
                self.counters.refuse(refusal);
                if matches!(refusal, Refusal::Full | Refusal::Spool | Refusal::Stalled) {
                    self.trouble_millis.store(now_millis(), Ordering::Relaxed);
                }
                refusal.reply()
            }
        };
        let headers = reply.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        // A page that may send may read every answer too: that there is no such path it has to be told as well. Who may
        // not send is not told either.
        if let Some(origin) = allowed {
            // Beacons are sent with credentials, and for those a star is not enough.
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        reply
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.trusts(peer)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Endpoint {
    /// Takes a request, whatever it is. Its answer, if it is one of those that were hoped for.
    async fn take(&self, request: &mut Request, peer: IpAddr, is_forbidden: bool) -> Result<Reply, Refusal> {
        if malformed(request) {
            return Err(Refusal::Http);
        }
        let path = request.uri().path();
        if path == HEALTH {
            return self.health(request.method());
        }
        let is_pixel = self.pixels.iter().any(|it| it == path);
        if !is_pixel && !self.paths.iter().any(|it| it == path) {
            return Err(Refusal::Path);
        }
        if is_forbidden {
            return Err(Refusal::Origin);
        }
        match is_pixel {
            true => self.pixel(request, peer).await,
            false => self.beacon(request, peer).await,
        }
    }

    fn health(&self, method: &Method) -> Result<Reply, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method("GET, HEAD"));
        }
        // Only for a while: where nothing is sent because of this answer, nothing would ever prove it wrong.
        let was_in_trouble = now_millis().saturating_sub(self.trouble_millis.load(Ordering::Relaxed)) < TROUBLE_MILLIS;
        let (status, text) = match was_in_trouble || is_stalled(&self.spool, self.patience) {
            true => (StatusCode::SERVICE_UNAVAILABLE, "the spool takes nothing\n"),
            false => (StatusCode::OK, "ok\n"),
        };
        Ok(with_body(status, "text/plain; charset=utf-8", text.as_bytes()))
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.origins.as_ref().is_none_or(|it| it.iter().any(|it| it.allows(origin)))
    }

    /// A picture that a page without scripts asks for.
    async fn pixel(&self, request: &mut Request, peer: IpAddr) -> Result<Reply, Refusal> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Refusal::Method("GET, HEAD"));
        }
        let kept = match self.head(request.headers(), peer).await {
            Ok(head) => {
                let body = Bytes::copy_from_slice(request.uri().query().unwrap_or_default().as_bytes());
                forget_head(request);
                self.keep(Frame { kind: Kind::Form, body, ..head }, self.caps.memory.hold()).await
            }
            Err(refusal) => Err(refusal),
        };
        match kept {
            Ok(()) => {}
            // The page looks as it would without the wish.
            Err(wish @ (Refusal::Gpc | Refusal::Dnt)) => self.counters.refuse(wish),
            Err(refusal) => return Err(refusal),
        }
        Ok(with_body(StatusCode::OK, "image/gif", PIXEL))
    }

    async fn beacon(&self, request: &mut Request, peer: IpAddr) -> Result<Reply, Refusal> {
        match *request.method() {
            Method::OPTIONS => return Ok(preflight()),
            Method::POST => {}
            _ => return Err(Refusal::Method("POST, OPTIONS")),
        }
        let headers = request.headers();
        let kind = kind(headers).ok_or(Refusal::MediaType)?;
        let coding = Coding::of(headers).ok_or(Refusal::MediaType)?;
        let head = self.head(headers, peer).await?;
        forget_head(request);
        let (body, held) = take(request, coding, &self.caps).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Refusal::MediaType);
        }
        self.keep(Frame { kind, body: body.into(), ..head }, held).await?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// What is kept of the head of a request, if it is kept at all: a frame without its body.
    async fn head(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Frame, Refusal> {
        let client = self.proxies.client(peer, headers);
        let now = Instant::now();
        if !self.address_rates.take(subscriber(client), now) {
            return Err(Refusal::AddressRate);
        }
        if let (Some(rates), Some(origin)) = (&self.origin_rates, headers.get(ORIGIN))
            && !rates.take(self.origin_hash.hash_one(origin), now)
        {
            return Err(Refusal::OriginRate);
        }
        let is_stripped = match self.privacy.wished(headers) {
            Wished::Nothing => false,
            Wished::Strip => true,
            Wished::RefuseGpc => return Err(Refusal::Gpc),
            Wished::RefuseDnt => return Err(Refusal::Dnt),
        };
        let received_millis = now_millis();
        let tick_millis = self.tick_millis.fetch_max(received_millis, Ordering::Relaxed).max(received_millis);
        let (address, is_hashed) = match is_stripped {
            true => (None, false),
            false => self.addresses.kept(client, received_millis, self.patience).await?,
        };
        let kept = |name| headers.get(name).map(text);
        Ok(Frame {
            kind: Kind::Json,
            is_stripped,
            is_hashed,
            received_millis,
            tick_millis,
            address,
            user_agent: kept(USER_AGENT).filter(|_| !is_stripped),
            referrer: kept(REFERER),
            body: Bytes::new(),
        })
    }

    /// Puts a request into the spool; returns when it is durable. `held`: what was counted for its body.
    ///
    /// Of a disk that hangs nobody knows whether it has the request. The page is told to send it again, and then its events
    /// may be there twice: those with an `event.id` are known as copies, and that is what it is for.
    async fn keep(&self, frame: Frame, mut held: Held) -> Result<(), Refusal> {
        held.at_least(held.bytes() + frame.encoded_bytes())?;
        let encoded = frame.encode();
        drop(frame);
        held.at_most(encoded.len());
        self.spool.append_within(encoded, self.patience).await?;
        self.trouble_millis.store(0, Ordering::Relaxed);
        self.counters.accept();
        Ok(())
    }
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64)
}

fn preflight() -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    let headers = reply.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, content-encoding"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

/// An answer that is another one each time.
fn with_body(status: StatusCode, kind: &'static str, body: &'static [u8]) -> Reply {
    let mut reply = empty(status);
    *reply.body_mut() = Bytes::from_static(body).into();
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The value of a header, of which nobody says what it is encoded in.
fn text(value: &HeaderValue) -> String {
    // Nearly all are UTF-8, which is quicker to tell than to be looked through for what is not.
    let bytes = value.as_bytes();
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

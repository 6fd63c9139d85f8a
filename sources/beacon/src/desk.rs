//! Where requests are answered: the body is in the spool before the answer is given.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use forebay_spool::{AppendError, Spool};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
    CONTENT_TYPE, HOST, ORIGIN, REFERER, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::body::{Caps, Coding, kind, take};
use crate::counters::{Counters, Reason};
use crate::frame::{Frame, Kind};
use crate::origins::Origin;
use crate::privacy::{Addresses, Privacy, Wished};
use crate::proxies::{Proxies, truncated};
use crate::rates::Rates;

/// A transparent picture of one pixel.
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// For so long a browser may remember the answer to a preflight; Chromium allows no more.
const PREFLIGHT_SECONDS: &str = "7200";
/// When a client is to try again.
const RETRY_SECONDS: &str = "5";
/// And for how long it is said that nothing can be taken, after nothing could be.
const TROUBLE_MILLIS: u64 = 5000;

/// A header that holds more than this is cut off there: nobody needs a longer user agent.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// All that answering needs.
pub struct Desk {
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
    pub origin_rates: Option<Rates<String>>,
    pub counters: Arc<Counters>,
    /// The latest time that a frame was stamped with.
    pub tick_millis: AtomicU64,
    /// When the spool could not take a request, if it has taken none since.
    pub trouble_millis: AtomicU64,
}

type Answer = Response<Full<Bytes>>;

impl Desk {
    /// Answers one request of a peer.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        if let Some(answer) = self.malformed(&request) {
            return answer;
        }
        let path = request.uri().path();
        if path == "/health" {
            return self.health(request.method());
        }
        let is_pixel = self.pixels.iter().any(|it| it == path);
        if !is_pixel && !self.paths.iter().any(|it| it == path) {
            return self.refuse(Reason::Path);
        }
        let origin = request.headers().get(ORIGIN).cloned();
        let allowed = origin.as_ref().filter(|it| self.allows(it)).cloned();
        let mut answer = match (&origin, &allowed) {
            // A page that may not send, and may not read what it is told either.
            (Some(_), None) => self.refuse(Reason::Origin),
            _ if is_pixel => self.pixel(&request, peer).await,
            _ => self.beacon(request, peer).await,
        };
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = allowed {
            // Beacons are sent with credentials, and for those a star is not enough.
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer
    }

    /// Refuses what a proxy in front could read in another way: RFC 9112, sections 3.2 and 6.3.
    fn malformed(&self, request: &Request<Incoming>) -> Option<Answer> {
        let headers = request.headers();
        let count = |name| headers.get_all(name).iter().count();
        let is_http_1 = request.version() <= Version::HTTP_11;
        let odd_coding =
            headers.get(TRANSFER_ENCODING).is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"chunked"));
        let both = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
        let old_coding = headers.contains_key(TRANSFER_ENCODING) && request.version() < Version::HTTP_11;
        let no_host = request.version() == Version::HTTP_11 && count(HOST) == 0;
        let is_odd = odd_coding || both || old_coding || count(TRANSFER_ENCODING) > 1 || count(CONTENT_LENGTH) > 1;
        if !(is_http_1 && (is_odd || no_host || count(HOST) > 1)) {
            return None;
        }
        Some(self.refuse(Reason::Http))
    }

    fn health(&self, method: &Method) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        // Only for a while: where nothing is sent because of this answer, nothing would ever prove it wrong.
        let is_in_trouble = now_millis().saturating_sub(self.trouble_millis.load(Ordering::Relaxed)) < TROUBLE_MILLIS;
        let (status, text) = match is_in_trouble {
            true => (StatusCode::SERVICE_UNAVAILABLE, "the spool takes nothing\n"),
            false => (StatusCode::OK, "ok\n"),
        };
        let mut answer = with_body(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.origins.as_ref().is_none_or(|it| it.iter().any(|it| it.allows(origin)))
    }

    /// A picture that a page without scripts asks for.
    async fn pixel(&self, request: &Request<Incoming>, peer: IpAddr) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            self.counters.refuse(Reason::Method);
            return not_allowed("GET, HEAD");
        }
        let kept = match self.head(request.headers(), peer) {
            Ok(head) => {
                let body = Bytes::copy_from_slice(request.uri().query().unwrap_or_default().as_bytes());
                self.keep(Frame { kind: Kind::Form, body, ..head }).await
            }
            Err(reason) => Err(reason),
        };
        match kept {
            Ok(()) => {}
            // The page looks as it would without the wish.
            Err(wish @ (Reason::Gpc | Reason::Dnt)) => self.counters.refuse(wish),
            Err(reason) => return self.refuse(reason),
        }
        let mut answer = with_body(StatusCode::OK, "image/gif", Bytes::from_static(PIXEL));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    async fn beacon(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        match *request.method() {
            Method::OPTIONS => return preflight(),
            Method::POST => {}
            _ => {
                self.counters.refuse(Reason::Method);
                return not_allowed("POST, OPTIONS");
            }
        }
        match self.accept(request, peer).await {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(reason) => self.refuse(reason),
        }
    }

    /// Takes a body; returns when it is durable.
    async fn accept(&self, request: Request<Incoming>, peer: IpAddr) -> Result<(), Reason> {
        let headers = request.headers();
        let kind = kind(headers).ok_or(Reason::MediaType)?;
        let coding = Coding::of(headers).ok_or(Reason::MediaType)?;
        let head = self.head(headers, peer)?;
        let taken = take(request.into_body(), coding, &self.caps).await?;
        if taken.bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Reason::MediaType);
        }
        self.keep(Frame { kind, body: taken.bytes.clone(), ..head }).await
    }

    /// What is kept of the head of a request, if it is kept at all: a frame without its body.
    fn head(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Frame, Reason> {
        let client = self.proxies.client(peer, headers);
        let now = Instant::now();
        // Whoever has an IPv6 address has at least 64 bits of them.
        let who = if client.is_ipv6() { truncated(client, 64) } else { client };
        if !self.address_rates.take(who, now) {
            return Err(Reason::AddressRate);
        }
        if let (Some(rates), Some(origin)) = (&self.origin_rates, headers.get(ORIGIN))
            && !rates.take(text(origin), now)
        {
            return Err(Reason::OriginRate);
        }
        let is_stripped = match self.privacy.wished(headers) {
            Wished::Nothing => false,
            Wished::Strip => true,
            Wished::RefuseGpc => return Err(Reason::Gpc),
            Wished::RefuseDnt => return Err(Reason::Dnt),
        };
        let received_millis = now_millis();
        let tick_millis = self.tick_millis.fetch_max(received_millis, Ordering::Relaxed).max(received_millis);
        let (address, is_hashed) = match is_stripped {
            true => (None, false),
            false => self.addresses.kept(client, received_millis).map_err(|error| {
                tracing::warn!("there is no salt for addresses: {error}");
                Reason::Spool
            })?,
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

    /// Puts a request into the spool; returns when it is durable.
    async fn keep(&self, frame: Frame) -> Result<(), Reason> {
        let kept = self.spool.append(frame.encode()).await;
        let is_in_trouble = matches!(kept, Err(AppendError::Full | AppendError::Failed(_)));
        self.trouble_millis.store(if is_in_trouble { now_millis() } else { 0 }, Ordering::Relaxed);
        kept.map(|_| self.counters.accept()).map_err(|error| match error {
            AppendError::TooLarge => Reason::TooLarge,
            AppendError::Full => Reason::Full,
            AppendError::Failed(_) => Reason::Spool,
        })
    }

    /// Counts a request that was not taken, and says so, no louder than it must.
    fn refuse(&self, reason: Reason) -> Answer {
        self.counters.refuse(reason);
        let mut answer = empty(match reason {
            Reason::Gpc | Reason::Dnt => StatusCode::NO_CONTENT,
            Reason::Origin => StatusCode::FORBIDDEN,
            Reason::Path => StatusCode::NOT_FOUND,
            Reason::Method => StatusCode::METHOD_NOT_ALLOWED,
            Reason::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::AddressRate | Reason::OriginRate => StatusCode::TOO_MANY_REQUESTS,
            Reason::Full | Reason::Spool | Reason::Memory => StatusCode::SERVICE_UNAVAILABLE,
            Reason::Undecodable | Reason::Http => StatusCode::BAD_REQUEST,
            // What these say of is no request.
            Reason::Connections | Reason::Copy | Reason::Event => StatusCode::BAD_REQUEST,
        });
        let headers = answer.headers_mut();
        match reason {
            // What is left of the body is not waited for.
            Reason::Incomplete | Reason::TooLarge | Reason::Undecodable | Reason::Http => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Reason::AddressRate | Reason::OriginRate => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Reason::Full | Reason::Spool | Reason::Memory => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            }
            _ => {}
        }
        answer
    }
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64)
}

fn preflight() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, content-encoding"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn with_body(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The value of a header, of which nobody says what it is encoded in.
fn text(value: &HeaderValue) -> String {
    let mut text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

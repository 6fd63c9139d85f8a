//! One request, from its head to its answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use forebay_api::Secret;
use forebay_listen::{Answer, Coding, Counters, Held, Memory, Reply, Request, collect, decompress, malformed};
use forebay_spool::source::{PATIENCE, is_stalled};
use forebay_spool::{AppendError, Spool};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use tokio::time::timeout;

use crate::problem::{Problem, Reason};
use crate::request::{self, BODY_BYTES_MAX, Body, Head};
use crate::seen::{Begun, Id, Seen};
use crate::{Firehose, frame};

/// The path that says that this is alive.
pub(crate) const HEALTH: &str = "/health";

/// How long a request may take to come: then Firehose has given it up.
const BODY: Duration = Duration::from_secs(180);

/// A request takes so many times the memory of its body while it is read: the body, its frame, and those of its texts that
/// have escapes. That of the usual 5 MB takes 15 MB.
pub(crate) const COPIES: usize = 3;

/// What is known of requests, here and where they are settled.
pub(crate) type SharedSeen = Arc<Mutex<Seen>>;

pub(crate) fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What answers requests.
pub(crate) struct Endpoint {
    path: Option<String>,
    access_key: Option<Secret>,
    /// Gone when the source is.
    spool: Weak<Spool>,
    seen: SharedSeen,
    memory: Memory,
    /// For so long a request waits for the disk.
    patience: Duration,
    counters: Counters,
    complaints: Complaints,
}

impl Answer for Endpoint {
    async fn answer(&self, request: &mut Request, _peer: IpAddr) -> Reply {
        if request.uri().path() == HEALTH && matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.health();
        }
        let id = request::id(request.headers()).unwrap_or_default().to_owned();
        let problem = match self.take(request).await {
            Ok(id) => {
                self.counters.accept();
                return reply(StatusCode::OK, JSON, request::answer(&id, now(), None));
            }
            Err(problem) => problem,
        };
        self.counters.refuse(problem.reason);
        self.complaints.add(&problem);
        let status = problem.reason.status();
        let mut reply = reply(status, JSON, request::answer(&id, now(), Some(&problem)));
        let more = match problem.reason {
            // Nobody knows where the next request would begin, or waits for it.
            Reason::Http | Reason::Incomplete => Some((header::CONNECTION, "close")),
            Reason::Method => Some((header::ALLOW, "POST")),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "10")),
            _ => None,
        };
        if let Some((name, value)) = more {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Endpoint {
    pub(crate) fn new(config: &Firehose, spool: &Arc<Spool>, seen: SharedSeen) -> Self {
        Self {
            path: config.path.clone(),
            access_key: config.access_key.clone(),
            spool: Arc::downgrade(spool),
            seen,
            memory: Memory::new(config.limits.bodies_bytes_max.bytes() as usize),
            patience: config.tuning.patience.unwrap_or(PATIENCE),
            counters: Counters::default(),
            complaints: Complaints::default(),
        }
    }

    /// Whether the disk takes requests.
    fn health(&self) -> Reply {
        let takes = self.spool.upgrade().is_some_and(|it| !is_stalled(&it, self.patience));
        let (status, text) = match takes {
            true => (StatusCode::OK, "ok\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "the spool takes nothing\n"),
        };
        reply(status, "text/plain", text.to_owned())
    }

    /// Takes a request. Its id, once it is safe.
    async fn take(&self, request: &mut Request) -> Result<String, Problem> {
        if malformed(request) {
            return Err(Problem::new(Reason::Http, "the request can be read in two ways"));
        }
        if self.path.as_ref().is_some_and(|it| request.uri().path() != it) {
            return Err(Problem::new(Reason::Path, "there is nothing at this path"));
        }
        if !request::is_allowed(request.headers(), self.access_key.as_ref().map(Secret::reveal)) {
            return Err(Problem::new(Reason::AccessKey, "the access key is not the one that is expected"));
        }
        if request.method() != Method::POST {
            return Err(Problem::new(Reason::Method, "requests of Firehose are POST"));
        }
        let head = request::head(request.headers())?;
        let mut held = self.memory.hold();
        // For all of it, before it comes: those that come together must not all stop short of their ends.
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        if let Some(length) = length.filter(|it| *it <= BODY_BYTES_MAX) {
            held.at_least(COPIES * length)?;
        }
        let body = collect(request.body_mut(), BODY_BYTES_MAX, BODY, &mut held).await?;
        // Some tenths of a second for the largest.
        let read = tokio::task::spawn_blocking(move || read(head, body, &mut held).map(|it| (it, held)));
        let ((id, frame), held) = read.await.map_err(Problem::fault)??;
        match lock(&self.seen).begin(&id.0) {
            Begun::New => {}
            Begun::Coming => return Err(Problem::new(Reason::Coming, "this request is being taken already")),
            Begun::Taken => return Ok(id.0),
        }
        let (spool, seen) = (self.spool.clone(), self.seen.clone());
        // Whether anybody waits or not: what is in the spool must be known. So of a disk that hangs, Firehose is told to try
        // again, and what it sends then is being taken already, until the disk has said whether it has it.
        let appended = tokio::spawn(async move {
            let appended = match spool.upgrade() {
                Some(spool) => spool.append(frame).await.map_err(Problem::from),
                None => Err(Problem::new(Reason::Ending, "this is about to end")),
            };
            drop(held);
            lock(&seen).end(id.clone(), appended.is_ok());
            appended.map(|_| id.0)
        });
        match timeout(self.patience, appended).await {
            Ok(appended) => appended.unwrap_or_else(|error| Err(Problem::fault(error))),
            Err(_) => Err(AppendError::Stalled.into()),
        }
    }
}

/// Makes a frame of a body.
fn read(head: Head, body: Vec<u8>, held: &mut Held) -> Result<(Id, Bytes), Problem> {
    let coding = if head.is_gzip { Coding::Gzip } else { Coding::Plain };
    let body = decompress(coding, body, BODY_BYTES_MAX, held)?;
    held.at_least(body.capacity() + (COPIES - 1) * body.len())?;
    let parsed = Body::read(&head, &body)?;
    let received = now();
    let id = Id(parsed.id.clone(), received);
    let frame = frame::encode(head, &parsed, received)?;
    drop(parsed);
    drop(body);
    held.at_most(frame.len());
    Ok((id, frame))
}

const JSON: &str = "application/json";

fn reply(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as i64)
}

/// Says once in a while what was not taken: there may be many who knock.
#[derive(Debug, Default)]
struct Complaints(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Complaints {
    const EVERY: Duration = Duration::from_secs(10);

    fn add(&self, problem: &Problem) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.since += 1;
        if told.last.is_none_or(|it| it.elapsed() >= Self::EVERY) {
            let Problem { reason, message } = problem;
            let (requests, status) = (told.since, reason.status().as_u16());
            tracing::warn!(requests, status, "requests were not taken, lastly: {message}");
            *told = Told { last: Some(Instant::now()), since: 0 };
        }
    }
}

//! One request, from its head to its answer.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use forebay_api::Secret;
use forebay_spool::{AppendError, Spool};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::memory::{Held, Memory};
use crate::request::{self, BODY_BYTES_MAX, Body, Head, Problem};
use crate::seen::{Begun, Id, Seen};
use crate::{Firehose, frame};

/// The path that says that this is alive.
pub(crate) const HEALTH: &str = "/health";

/// How long a request may take to come: then Firehose has given it up.
const BODY: Duration = Duration::from_secs(180);

/// How long the rest of a request may take that is not taken.
const LINGER: Duration = Duration::from_secs(10);

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
    complaints: Complaints,
}

impl Endpoint {
    pub(crate) fn new(config: &Firehose, spool: &Arc<Spool>, seen: SharedSeen) -> Self {
        Self {
            path: config.path.clone(),
            access_key: config.access_key.clone(),
            spool: Arc::downgrade(spool),
            seen,
            memory: Memory::default(),
            complaints: Complaints::default(),
        }
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == HEALTH && matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(StatusCode::OK, "text/plain", "ok\n".to_owned());
        }
        let (head, mut body) = request.into_parts();
        let id = request::id(&head.headers).unwrap_or_default().to_owned();
        match self.take(&head, &mut body).await {
            Ok(id) => respond(StatusCode::OK, JSON, request::answer(&id, now(), None)),
            Err(problem) => {
                self.complaints.add(&problem);
                // Who is cut off while sending does not get to read the answer.
                let _ = timeout(LINGER, drain(&mut body)).await;
                let mut response = respond(problem.status, JSON, request::answer(&id, now(), Some(&problem)));
                let more = match problem.status {
                    StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "POST")),
                    StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "10")),
                    _ => None,
                };
                if let Some((name, value)) = more {
                    response.headers_mut().insert(name, header::HeaderValue::from_static(value));
                }
                response
            }
        }
    }

    /// Takes a request. Its id, once it is safe.
    async fn take(&self, request: &Parts, body: &mut Incoming) -> Result<String, Problem> {
        if self.path.as_ref().is_some_and(|it| request.uri.path() != it) {
            return Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path"));
        }
        if !request::is_allowed(&request.headers, self.access_key.as_ref().map(Secret::reveal)) {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "the access key is not the one that is expected"));
        }
        if request.method != Method::POST {
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "requests of Firehose are POST"));
        }
        let head = request::head(&request.headers)?;
        let mut held = self.memory.hold();
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not come to its end");
        let body = timeout(BODY, collect(body, &mut held)).await.map_err(late)??;
        // Some tenths of a second for the largest.
        let read = tokio::task::spawn_blocking(move || read(head, body, &mut held).map(|it| (it, held)));
        let ((id, frame), held) = read.await.map_err(|error| Problem::unavailable(error.to_string()))??;
        match lock(&self.seen).begin(&id.0) {
            Begun::New => {}
            Begun::Coming => return Err(Problem::unavailable("this request is being taken already")),
            Begun::Taken => return Ok(id.0),
        }
        let (spool, seen) = (self.spool.clone(), self.seen.clone());
        // Whether the client waits or not: what is in the spool must be known.
        let appended = tokio::spawn(async move {
            let appended = match spool.upgrade() {
                Some(spool) => spool.append(frame).await.map_err(refused),
                None => Err(Problem::unavailable("this is about to end")),
            };
            drop(held);
            lock(&seen).end(id.clone(), appended.is_ok());
            appended.map(|_| id.0)
        });
        appended.await.unwrap_or_else(|error| Err(Problem::unavailable(error.to_string())))
    }
}

/// Reads what is left of a body, up to twice what there should be, and forgets it.
async fn drain(body: &mut Incoming) {
    let mut left = 2 * BODY_BYTES_MAX;
    while let Some(Ok(part)) = body.frame().await {
        match left.checked_sub(part.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// The body as it comes.
async fn collect(body: &mut Incoming, held: &mut Held) -> Result<Vec<u8>, Problem> {
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(part) = body.frame().await {
        let part =
            part.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        let Some(data) = part.data_ref() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        held.at_least(bytes.len() + data.len())?;
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// Makes a frame of a body.
fn read(head: Head, body: Vec<u8>, held: &mut Held) -> Result<(Id, Bytes), Problem> {
    let body = if head.is_gzip { decompress(&body, held)? } else { body };
    // The frame, and where its records lie in the body, take less together than the body twice.
    held.at_least(3 * body.len())?;
    let body = Body::read(&head, &body)?;
    let received = now();
    let id = Id(body.id.clone(), received);
    Ok((id, frame::encode(head, &body, received)?))
}

fn decompress(body: &[u8], held: &mut Held) -> Result<Vec<u8>, Problem> {
    const STEP: u64 = 1 << 20;
    let mut decoder = MultiGzDecoder::new(body);
    let mut plain = Vec::new();
    loop {
        held.at_least(body.len() + plain.len() + STEP as usize)?;
        let read = decoder.by_ref().take(STEP).read_to_end(&mut plain);
        let read = read.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be decompressed: {error}"))
        })?;
        if plain.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if read == 0 {
            return Ok(plain);
        }
    }
}

fn too_large() -> Problem {
    Problem::too_large("the body is larger than 64 MiB")
}

fn refused(error: AppendError) -> Problem {
    match error {
        AppendError::TooLarge => Problem::too_large(error.to_string()),
        AppendError::Full | AppendError::Failed(_) => Problem::unavailable(error.to_string()),
    }
}

const JSON: &str = "application/json";

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
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
            let Problem { status, message } = problem;
            tracing::warn!(
                requests = told.since,
                status = status.as_u16(),
                "requests were not taken, lastly: {message}"
            );
            *told = Told { last: Some(Instant::now()), since: 0 };
        }
    }
}

//! Why a request is not taken, and what is answered then.

use forebay_listen::{BodyError, NoMemory, Reply};
use forebay_spool::AppendError;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// When a client is to try again, in seconds, if it sends too often.
const SOON: &str = "1";
/// And if nothing can be taken.
const LATER: &str = "5";

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such path.
    Path,
    /// A method that is not answered there; these are.
    Method(&'static str),
    /// No body, or one of a type or a coding that is not read.
    MediaType,
    /// More bytes than are taken.
    TooLarge,
    /// A body that cannot be decompressed.
    Undecodable,
    /// A body that did not come in time.
    Incomplete,
    /// A page of an origin that is not allowed.
    Origin,
    /// `Sec-GPC`.
    Gpc,
    /// `DNT`.
    Dnt,
    /// Too many requests from one address.
    AddressRate,
    /// Too many requests from one origin.
    OriginRate,
    /// All bodies together hold as much as they may.
    Memory,
    /// The spool is full.
    Full,
    /// The spool failed.
    Spool,
    /// The disk of the spool did not answer in time. The request may be in it, or not.
    Stalled,
    /// A request that two readers could read in two ways, or a body that broke off.
    Http,
}

impl Refusal {
    /// The answer, and the name under which it is counted.
    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Path => (StatusCode::NOT_FOUND, "path"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Undecodable => (StatusCode::BAD_REQUEST, "undecodable"),
            Self::Incomplete => (StatusCode::REQUEST_TIMEOUT, "incomplete"),
            Self::Origin => (StatusCode::FORBIDDEN, "origin"),
            // As if it were taken: the page is to go on as it would without the wish.
            Self::Gpc => (StatusCode::NO_CONTENT, "gpc"),
            Self::Dnt => (StatusCode::NO_CONTENT, "dnt"),
            Self::AddressRate => (StatusCode::TOO_MANY_REQUESTS, "address_rate"),
            Self::OriginRate => (StatusCode::TOO_MANY_REQUESTS, "origin_rate"),
            Self::Memory => (StatusCode::SERVICE_UNAVAILABLE, "memory"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            Self::Spool => (StatusCode::SERVICE_UNAVAILABLE, "spool"),
            Self::Stalled => (StatusCode::SERVICE_UNAVAILABLE, "stalled"),
            Self::Http => (StatusCode::BAD_REQUEST, "http"),
        }
    }

    /// What is answered.
    pub fn reply(self) -> Reply {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = self.told().0;
        let more = match self {
            Self::Method(methods) => (ALLOW, methods),
            // Nobody knows where the next request would begin, or waits for it.
            Self::Http | Self::Incomplete => (CONNECTION, "close"),
            Self::AddressRate | Self::OriginRate => (RETRY_AFTER, SOON),
            Self::Memory | Self::Full | Self::Spool | Self::Stalled => (RETRY_AFTER, LATER),
            _ => return reply,
        };
        reply.headers_mut().insert(more.0, HeaderValue::from_static(more.1));
        reply
    }
}

impl From<Refusal> for &'static str {
    fn from(refusal: Refusal) -> Self {
        refusal.told().1
    }
}

impl From<NoMemory> for Refusal {
    fn from(NoMemory: NoMemory) -> Self {
        Self::Memory
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::NoMemory => Self::Memory,
            BodyError::Late => Self::Incomplete,
            BodyError::Broken(_) => Self::Http,
            BodyError::Undecodable(_) => Self::Undecodable,
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge => Self::TooLarge,
            AppendError::Full => Self::Full,
            AppendError::Failed(_) => Self::Spool,
            AppendError::Stalled => Self::Stalled,
        }
    }
}

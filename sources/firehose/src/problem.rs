//! Why a request is not taken.

use forebay_listen::{BodyError, NoMemory};
use forebay_spool::AppendError;
use http::StatusCode;

/// Why a request is not taken, and what Firehose is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// One of the reasons, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A request that two readers could read in two ways, or a body that broke off.
    Http,
    /// No such path.
    Path,
    /// Another method than POST.
    Method,
    /// Another access key.
    AccessKey,
    /// A head that is none of Firehose's.
    Head,
    /// A body that did not come in time.
    Incomplete,
    /// It is larger than Firehose sends, and no second try makes it smaller.
    TooLarge,
    /// A body that cannot be decompressed.
    Undecodable,
    /// A body that is none of Firehose's.
    Body,
    /// All requests together hold as much as they may.
    Memory,
    /// The same request is being taken.
    Coming,
    /// The spool is full.
    Full,
    /// The spool failed.
    Spool,
    /// The disk of the spool did not answer in time.
    Stalled,
    /// The source is about to end, or has a fault.
    Ending,
}

impl Reason {
    /// What is answered, and the name under which it is counted.
    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Http => (StatusCode::BAD_REQUEST, "http"),
            Self::Path => (StatusCode::NOT_FOUND, "path"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::AccessKey => (StatusCode::UNAUTHORIZED, "access_key"),
            Self::Head => (StatusCode::BAD_REQUEST, "head"),
            Self::Incomplete => (StatusCode::REQUEST_TIMEOUT, "incomplete"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Undecodable => (StatusCode::BAD_REQUEST, "undecodable"),
            Self::Body => (StatusCode::BAD_REQUEST, "body"),
            Self::Memory => (StatusCode::SERVICE_UNAVAILABLE, "memory"),
            Self::Coming => (StatusCode::SERVICE_UNAVAILABLE, "coming"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            Self::Spool => (StatusCode::SERVICE_UNAVAILABLE, "spool"),
            Self::Stalled => (StatusCode::SERVICE_UNAVAILABLE, "stalled"),
            Self::Ending => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.told().0
    }
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        reason.told().1
    }
}

impl Problem {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A record, counted from 0, is not base64.
    pub(crate) fn not_base64(nth: usize, error: impl ToString) -> Self {
        let error = error.to_string();
        Self::new(Reason::Body, format!("record {} is not base64: {}", nth + 1, error.trim_end_matches('.')))
    }

    /// Something that cannot go wrong did.
    pub(crate) fn fault(error: impl ToString) -> Self {
        Self::new(Reason::Ending, error.to_string())
    }
}

impl From<NoMemory> for Problem {
    fn from(NoMemory: NoMemory) -> Self {
        Self::new(Reason::Memory, "there is too much at once")
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::new(Reason::TooLarge, "the body is larger than 64 MiB"),
            BodyError::NoMemory => NoMemory.into(),
            BodyError::Late => Self::new(Reason::Incomplete, "the request did not come to its end"),
            BodyError::Broken(error) => Self::new(Reason::Http, format!("the body broke off: {error}")),
            BodyError::Undecodable(error) => {
                Self::new(Reason::Undecodable, format!("the body cannot be decompressed: {error}"))
            }
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let reason = match error {
            AppendError::TooLarge => Reason::TooLarge,
            AppendError::Full => Reason::Full,
            AppendError::Failed(_) => Reason::Spool,
            AppendError::Stalled => Reason::Stalled,
        };
        Self::new(reason, error.to_string())
    }
}

//! What a component does next when a call has failed.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use forebay_api::BoxError;

use crate::codes::{Next, Reason, by_answer, reason};
use crate::story::{cause, caused_by_tls, causes, one_line};

/// What a component does next when a call has failed. The error says all there is to say, in one line.
#[derive(Debug)]
pub enum Trouble {
    /// It passes by itself: try again, later each time (see [`crate::backoff()`]).
    Retry(BoxError),
    /// Somebody must do something: rights, credentials, a bucket or a queue are missing. Say so and try again, later
    /// each time; the program need not be started again.
    Wait(BoxError),
    /// The object, the version, the upload or the message is not there (any more).
    Gone(BoxError),
    /// A condition of the request does not hold (412): with `If-None-Match: *`, there is such an object already.
    Exists(BoxError),
    /// The same request will never be answered otherwise: the request, or what the file says, is wrong.
    Wrong(BoxError),
}

impl Trouble {
    /// What happened.
    pub fn error(&self) -> &BoxError {
        match self {
            Self::Retry(it) | Self::Wait(it) | Self::Gone(it) | Self::Exists(it) | Self::Wrong(it) => it,
        }
    }

    /// What happened, for those who keep it.
    pub fn into_error(self) -> BoxError {
        match self {
            Self::Retry(it) | Self::Wait(it) | Self::Gone(it) | Self::Exists(it) | Self::Wrong(it) => it,
        }
    }

    /// The code that the service gave, such as `NoSuchUpload` or `ConditionalRequestConflict`.
    pub fn code(&self) -> Option<&str> {
        self.error().downcast_ref::<Failed>()?.code.as_deref()
    }

    /// What it is about, as far as the code says so.
    pub fn reason(&self) -> Option<Reason> {
        self.code().and_then(reason)
    }

    fn new(next: Next, text: String, code: Option<&str>) -> Self {
        let error = Box::new(Failed { text, code: code.map(str::to_owned) });
        match next {
            Next::Retry => Self::Retry(error),
            Next::Wait => Self::Wait(error),
            Next::Gone => Self::Gone(error),
            Next::Exists => Self::Exists(error),
            Next::Wrong => Self::Wrong(error),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

/// A call that failed: the whole story in one line, and the code.
#[derive(Debug)]
struct Failed {
    text: String,
    code: Option<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failed {}

/// What an answer says about a failure, as far as the decision needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer<'a> {
    pub status: u16,
    pub code: Option<&'a str>,
    pub message: Option<&'a str>,
    /// `x-amz-request-id`, which AWS's support asks for.
    pub request: Option<&'a str>,
    /// `x-amz-bucket-region`: where the bucket is, if that is not the region that was asked.
    pub region: Option<&'a str>,
    /// `x-amz-delete-marker`: the newest version of the object says that it was deleted.
    pub deleted: bool,
}

/// What the failure of a call means. `doing` says what was tried: ``reading `s3://logs/a.gz` ``.
pub fn trouble<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Trouble
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if let Some(credentials) = cause::<CredentialsError>(&error) {
        let hint = match credentials {
            CredentialsError::CredentialsNotLoaded(_) => NO_CREDENTIALS,
            _ => "",
        };
        return Trouble::new(Next::Wait, format!("{doing}: no credentials: {}{hint}", causes(&error)), None);
    }
    match &error {
        SdkError::ServiceError(service) => {
            let answer = answer(service.raw(), service.err().code(), service.err().message());
            answered(doing, &answer, None)
        }
        // There was an answer, but it cannot be read: it is not that of this service, or was cut.
        SdkError::ResponseError(response) => {
            answered(doing, &answer(response.raw(), None, None), Some(&causes(&error)))
        }
        SdkError::ConstructionFailure(_) => {
            Trouble::new(Next::Wrong, format!("{doing}: the request cannot be made: {}", causes(&error)), None)
        }
        // `is_user`: the address is none.
        SdkError::DispatchFailure(dispatch) if dispatch.is_user() => {
            Trouble::new(Next::Wrong, format!("{doing}: the request cannot be sent: {}", causes(&error)), None)
        }
        SdkError::DispatchFailure(_) if caused_by_tls(&error) => {
            Trouble::new(Next::Wait, format!("{doing}: no connection: {}{NO_TLS}", causes(&error)), None)
        }
        _ => Trouble::new(Next::Retry, format!("{doing}: no answer: {}", causes(&error)), None),
    }
}

const NO_CREDENTIALS: &str = "; give the machine a role, log in, set `AWS_PROFILE`, or set `access_key_id` and \
                              `secret_access_key`";

const NO_TLS: &str = "; is this a port for `https`, and is the certificate trusted by this system (`SSL_CERT_FILE`)?";

/// What the failure of one entry of a batch means, by the code and the message of the entry.
pub fn failed(doing: &str, code: &str, message: Option<&str>) -> Trouble {
    answered(doing, &Answer { code: Some(code), message, ..Answer::default() }, None)
}

/// The body of an answer broke off, or does not have the checksum that was announced: it is to be asked for again.
pub fn broken(doing: &str, error: &(dyn Error + 'static)) -> Trouble {
    let text = match causes(error) {
        causes if causes.is_empty() => format!("{doing}: the answer broke off: {error}"),
        causes => format!("{doing}: the answer broke off: {causes}"),
    };
    Trouble::new(Next::Retry, text, None)
}

fn answer<'a>(raw: &'a HttpResponse, code: Option<&'a str>, message: Option<&'a str>) -> Answer<'a> {
    let header = |name| raw.headers().get(name).filter(|it| !it.is_empty());
    Answer {
        status: raw.status().as_u16(),
        code,
        message,
        request: header("x-amz-request-id").or(header("x-amzn-requestid")),
        region: header("x-amz-bucket-region"),
        deleted: header("x-amz-delete-marker") == Some("true"),
    }
}

/// ``doing: `NoSuchKey`: The specified key does not exist (status 404, request `4442587FB7D0A2F9`); hint``
fn answered(doing: &str, answer: &Answer<'_>, unreadable: Option<&str>) -> Trouble {
    let (next, hint) = by_answer(answer);
    let next = match next {
        // A status alone is too little to give up for, if there was a reason that did not arrive.
        Next::Wrong if unreadable.is_some() && answer.region.is_none() => Next::Retry,
        next => next,
    };
    let mut text = doing.to_owned();
    if let Some(code) = answer.code {
        text += &format!(": `{code}`");
    }
    if let Some(message) = answer.message.map(one_line).filter(|it| !it.is_empty()) {
        text += &format!(": {message}");
    }
    if let Some(unreadable) = unreadable {
        text += &format!(": the answer cannot be read: {unreadable}");
    }
    if answer.code.is_none() && unreadable.is_none() {
        text += ": refused without a reason";
    }
    match (answer.status, answer.request) {
        (0, _) => {}
        (status, None) => text += &format!(" (status {status})"),
        (status, Some(request)) => text += &format!(" (status {status}, request `{}`)", one_line(request)),
    }
    if let Some(hint) = hint {
        text += &format!("; {hint}");
    }
    Trouble::new(next, text, answer.code)
}

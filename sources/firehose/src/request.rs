//! What Firehose sends, and what it may be told.
//!
//! "Understand HTTP endpoint delivery request and response specifications" of the Amazon Data Firehose developer guide.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::problem::{Problem, Reason};

/// The largest body, before and after decompression.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
/// The most records of a request.
const RECORDS_MAX: usize = 10_000;
/// The most base64 characters of a record: 1,000 KiB.
const DATA_CHARACTERS_MAX: usize = 1_365_336;
/// The longest error message that may be answered.
const MESSAGE_BYTES_MAX: usize = 8192;
/// An id is a UUID; this is more than any.
const ID_BYTES_MAX: usize = 256;

const PROTOCOL_VERSION: &str = "x-amz-firehose-protocol-version";
const REQUEST_ID: &str = "x-amz-firehose-request-id";
const SOURCE_ARN: &str = "x-amz-firehose-source-arn";
const ACCESS_KEY: &str = "x-amz-firehose-access-key";
const COMMON_ATTRIBUTES: &str = "x-amz-firehose-common-attributes";

/// What the head of a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: Option<String>,
    pub(crate) source_arn: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) is_gzip: bool,
}

/// The id that a request has by its head, for the answer to whatever it is.
pub(crate) fn id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID)?.to_str().ok().filter(|it| it.len() <= ID_BYTES_MAX)
}

/// Whether a request may be sent here. `access_key`: what it must have.
pub(crate) fn is_allowed(headers: &HeaderMap, access_key: Option<&str>) -> bool {
    let Some(expected) = access_key else { return true };
    let given = headers.get(ACCESS_KEY).map_or(&b""[..], |it| it.as_bytes());
    // As long for a wrong key as for a right one.
    let differs = |(one, other): (&u8, &u8)| one ^ other;
    given.len() == expected.len() && given.iter().zip(expected.as_bytes()).map(differs).fold(0, |all, it| all | it) == 0
}

/// Reads the head.
pub(crate) fn head(headers: &HeaderMap) -> Result<Head, Problem> {
    let text = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => {
            let text = std::str::from_utf8(value.as_bytes());
            text.map(Some).map_err(|_| Problem::new(Reason::Head, format!("header `{name}` is not UTF-8")))
        }
    };
    if let Some(version) = text(PROTOCOL_VERSION)?.filter(|it| *it != "1.0") {
        return Err(Problem::new(Reason::Head, format!("protocol version `{version}` is not known here, only `1.0`")));
    }
    let is_gzip = match text("content-encoding")? {
        None | Some("" | "identity") => false,
        Some("gzip") => true,
        Some(other) => {
            return Err(Problem::new(
                Reason::Head,
                format!("content encoding `{other}` is not known here, only `gzip`"),
            ));
        }
    };
    #[derive(Deserialize)]
    struct Common {
        #[serde(rename = "commonAttributes")]
        common_attributes: BTreeMap<String, String>,
    }
    let attributes = match text(COMMON_ATTRIBUTES)? {
        None => BTreeMap::new(),
        Some(json) => {
            let common: Result<Common, _> = serde_json::from_str(json);
            common
                .map_err(|error| Problem::new(Reason::Head, format!("the common attributes cannot be read: {error}")))?
                .common_attributes
        }
    };
    let owned = |it: Option<&str>| it.map(str::to_owned);
    Ok(Head { id: owned(text(REQUEST_ID)?), source_arn: owned(text(SOURCE_ARN)?), attributes, is_gzip })
}

/// The body of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct Body<'a> {
    #[serde(rename = "requestId")]
    pub(crate) id: String,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    #[serde(borrow)]
    records: Records<'a>,
}

/// The records of a body, and how many there are: of those beyond [`RECORDS_MAX`] nothing is kept, since to say where a
/// record lies takes more memory than a small record does.
#[derive(Debug)]
struct Records<'a> {
    first: Vec<Data<'a>>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Records<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Records<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records<'de>, A::Error> {
                let mut records = Records { first: Vec::new(), count: 0 };
                while records.count < RECORDS_MAX
                    && let Some(record) = list.next_element()?
                {
                    records.first.push(record);
                    records.count += 1;
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    records.count += 1;
                }
                Ok(records)
            }
        }
        deserializer.deserialize_seq(All)
    }
}

#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

impl<'a> Body<'a> {
    /// Reads a body of the request with this head.
    pub(crate) fn read(head: &Head, body: &'a [u8]) -> Result<Self, Problem> {
        let body: Body<'a> = serde_json::from_slice(body)
            .map_err(|error| Problem::new(Reason::Body, format!("the body cannot be read: {error}")))?;
        if body.id.is_empty() || body.id.len() > ID_BYTES_MAX {
            return Err(Problem::new(Reason::Body, "`requestId` is empty, or too long"));
        }
        if head.id.as_ref().is_some_and(|it| *it != body.id) {
            return Err(Problem::new(Reason::Body, "`requestId` is not that of the header"));
        }
        if jiff::Timestamp::from_millisecond(body.timestamp).is_err() {
            return Err(Problem::new(Reason::Body, "`timestamp` is no time in milliseconds since 1970"));
        }
        let records = body.records.count;
        if records > RECORDS_MAX {
            return Err(Problem::new(Reason::TooLarge, format!("{records} records are more than {RECORDS_MAX}")));
        }
        if let Some(nth) = body.records.first.iter().position(|it| it.data.len() > DATA_CHARACTERS_MAX) {
            return Err(Problem::new(Reason::TooLarge, format!("record {} is larger than 1000 KiB", nth + 1)));
        }
        Ok(body)
    }

    /// The records in base64.
    pub(crate) fn records(&self) -> impl Iterator<Item = &str> {
        self.records.first.iter().map(|it| &*it.data)
    }
}

/// The body of an answer: that all is safe, or why not.
pub(crate) fn answer(id: &str, now_millis: i64, problem: Option<&Problem>) -> String {
    let mut answer = serde_json::json!({ "requestId": id, "timestamp": now_millis });
    if let Some(problem) = problem {
        let message = &problem.message[..problem.message.floor_char_boundary(MESSAGE_BYTES_MAX)];
        answer["errorMessage"] = message.into();
    }
    answer.to_string()
}

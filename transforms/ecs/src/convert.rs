//! Columns become fields, a whole column at a time.

pub(crate) mod address;
mod list;
mod number;
mod plain;
pub(crate) mod request;
mod text;
mod time;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

pub(crate) use self::plain::plain;
use self::request::RequestLine;
use crate::fields::{Field, FieldType};
use crate::texts::{Change, changed, rewritten};

/// How columns become a field. Where nothing else is said, one column of text becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The value is read or cast as the field's type.
    Copy,
    /// Seconds since 1970 with a fraction become a time.
    EpochSeconds,
    /// Milliseconds since 1970 become a time.
    EpochMillis,
    /// `2024-11-14` and `21:34:06` become a time in UTC.
    DateAndTime,
    /// `28/Sep/1970:12:00:00 +0600` becomes a time, and RFC 3339 does too.
    LogTime,
    /// Seconds with a fraction become whole nanoseconds.
    Nanoseconds,
    /// Milliseconds become whole nanoseconds.
    NanosecondsOfMillis,
    /// A number, where a negative one means that there is none.
    NotNegative,
    /// A whole number, where none means zero.
    OrZero,
    /// `HTTPS` becomes `https`.
    Lowercase,
    /// `a%20b` becomes `a b`, decoded once. What is not UTF-8 then stays as it was logged.
    PercentDecoded,
    /// `a\"b` and `a\x22b` become `a"b`. What is not UTF-8 then stays as it was logged.
    Unescaped,
    /// `HTTP/2.0` becomes `2.0`.
    HttpVersion,
    /// `TLSv1.2` becomes `tls`.
    TlsProtocol,
    /// `TLSv1.2` becomes `1.2`.
    TlsVersion,
    /// `www.example.com:8443` becomes `www.example.com`.
    HostName,
    /// `/i?a=b` becomes `/i`.
    BeforeQuestionMark,
    /// `/i?a=b` becomes `a=b`. Without a question mark the second column stands in, if there is one.
    BehindQuestionMark,
    /// `192.0.2.1, 192.0.2.2` becomes a list of addresses; what is none is left out.
    Addresses,
    /// An address, or nothing if it is none.
    Address,
    /// A name, or nothing if it is an address.
    NoAddress,
    /// `[fe80::1]:443` becomes `fe80::1`; as an address, if the field is one.
    EndpointHost,
    /// `[fe80::1]:443` becomes `443`.
    EndpointPort,
    /// `GET /i HTTP/1.1` becomes `GET`.
    RequestMethod,
    /// `GET /i HTTP/1.1` becomes `/i`.
    RequestTarget,
    /// The same, and then [`How::Unescaped`].
    EscapedRequestTarget,
    /// `GET /i HTTP/1.1` becomes `1.1`.
    RequestVersion,
    /// `Root=1-5833;Self=1-5834` becomes `1-5833`.
    TraceRoot,
    /// Text with this between its parts becomes a list of them.
    ListOf(char),
}

impl How {
    /// Whether a column of this type can become the field.
    pub(crate) fn takes(self, from: &DataType, field: Field) -> bool {
        let exact = from.is_integer() || matches!(from, DataType::Decimal128(_, _));
        match self {
            Self::Copy => copies(from, field),
            Self::EpochSeconds | Self::EpochMillis => {
                is_text(from) || exact || matches!(from, DataType::Timestamp(_, _))
            }
            Self::LogTime => is_text(from) || matches!(from, DataType::Timestamp(_, _)),
            Self::Nanoseconds | Self::NanosecondsOfMillis => is_text(from) || exact,
            Self::NotNegative => is_text(from) || exact || from.is_floating(),
            Self::OrZero => is_text(from) || from.is_integer(),
            _ => is_text(from),
        }
    }

    /// What a column must hold to be taken.
    pub(crate) fn wanted(self, field: Field) -> &'static str {
        match (self, field.kind) {
            (Self::EpochSeconds | Self::EpochMillis, _) => "text, a whole number, a decimal or a timestamp",
            (Self::LogTime, _) => "text or a timestamp",
            (Self::Nanoseconds | Self::NanosecondsOfMillis, _) => "text, a whole number or a decimal",
            (Self::NotNegative, _) => "text or a number",
            (Self::OrZero, _) => "text or a whole number",
            (Self::Copy, FieldType::Long | FieldType::Integer) => "text or a whole number",
            (Self::Copy, FieldType::Double | FieldType::Float | FieldType::ScaledFloat) => "text or a number",
            (Self::Copy, FieldType::Boolean) => "text or a boolean",
            (Self::Copy, FieldType::Date) => "text, a timestamp or a date",
            (Self::Copy, FieldType::Ip) if field.list => "text or a list of text",
            (Self::Copy, FieldType::Ip) => "text",
            (Self::Copy, _) if field.list => "a list of text, or one value that can be written as text",
            (Self::Copy, _) => "a value that can be written as text",
            _ => "text",
        }
    }

    /// What a value must be, as in "`abc` is not an IP address".
    pub(crate) fn noun(self, field: Field) -> &'static str {
        match self {
            Self::EpochSeconds => "a time in seconds since 1970",
            Self::EpochMillis => "a time in milliseconds since 1970",
            Self::DateAndTime => "a date and a time",
            Self::LogTime => "a time like `28/Sep/1970:12:00:00 +0600`",
            Self::Nanoseconds => "a number of seconds",
            Self::NanosecondsOfMillis => "a number of milliseconds",
            _ => field.kind.noun(),
        }
    }
}

fn is_text(from: &DataType) -> bool {
    match from {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn copies(from: &DataType, field: Field) -> bool {
    if let (DataType::List(item) | DataType::LargeList(item), true) = (from, field.list) {
        return is_text(item.data_type());
    }
    let number = from.is_integer() || from.is_floating() || matches!(from, DataType::Decimal128(_, _));
    let time = matches!(from, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64);
    is_text(from)
        || match field.kind {
            FieldType::Ip => false,
            FieldType::Long | FieldType::Integer => from.is_integer(),
            FieldType::Double | FieldType::Float | FieldType::ScaledFloat => number,
            FieldType::Boolean => *from == DataType::Boolean,
            FieldType::Date => time,
            _ => number || time || *from == DataType::Boolean,
        }
}

/// Converts [`plain()`] columns of types that `how` [takes](How::takes). A value that does not fit becomes null and is
/// told to `refuse`, with its row.
pub(crate) fn convert(
    how: How,
    field: Field,
    columns: &[ArrayRef],
    mut refuse: impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    let first = &columns[0];
    let refuse = &mut refuse;
    let is_time = matches!(first.data_type(), DataType::Timestamp(_, _));
    Ok(match how {
        How::Copy if field.list => list::list(first, field.kind, refuse)?,
        How::Copy => copy(first, field.kind, refuse)?,
        How::EpochSeconds | How::EpochMillis | How::LogTime if is_time => time::cast_time(first)?,
        How::EpochSeconds => time::epoch(&as_text(first)?, 3, refuse),
        How::EpochMillis => time::epoch(&as_text(first)?, 0, refuse),
        How::LogTime => time::log_times(first.as_string(), refuse),
        How::DateAndTime => time::dates_and_times(first.as_string(), columns[1].as_string(), refuse),
        How::Nanoseconds => number::nanoseconds(first, 9, refuse)?,
        How::NanosecondsOfMillis => number::nanoseconds(first, 6, refuse)?,
        How::NotNegative => number::not_negative(&copy(first, FieldType::Double, refuse)?),
        How::OrZero => number::or_zero(&copy(first, FieldType::Long, refuse)?),
        // All that is left takes text.
        _ => from_text(how, field, first.as_string(), columns.get(1), refuse)?,
    })
}

fn from_text(
    how: How,
    field: Field,
    texts: &StringArray,
    second: Option<&ArrayRef>,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    Ok(match how {
        How::Lowercase => text::lowercase(texts),
        How::PercentDecoded => text::percent_decoded(texts),
        How::Unescaped => text::unescaped(texts),
        How::HttpVersion => text::http_version(texts),
        How::TlsProtocol => text::tls_protocol(texts),
        How::TlsVersion => text::tls_version(texts),
        How::HostName => text::host_name(texts),
        How::BeforeQuestionMark => text::before_question_mark(texts),
        How::BehindQuestionMark => text::behind_question_mark(texts, second),
        How::TraceRoot => text::trace_root(texts),
        How::Addresses => address::addresses(texts),
        How::Address => address::only_addresses(texts),
        How::NoAddress => address::no_addresses(texts),
        How::EndpointHost if field.kind == FieldType::Ip => {
            address::only_addresses(text::endpoint_host(texts).as_string())
        }
        How::EndpointHost => text::endpoint_host(texts),
        How::EndpointPort => Arc::new(number::parsed::<Int64Type>(texts, refuse, |it| match text::endpoint_port(it) {
            Some(port) => port.parse().ok().map(Some),
            None => Some(None),
        })),
        How::RequestMethod => changed(texts, |_, it| Change::to_option(RequestLine::of(it).method)),
        How::RequestTarget => changed(texts, |_, it| Change::to_option(RequestLine::of(it).target)),
        How::RequestVersion => changed(texts, |_, it| Change::to_option(RequestLine::of(it).version)),
        How::EscapedRequestTarget => {
            let targets = changed(texts, |_, it| Change::to_option(RequestLine::of(it).target));
            text::unescaped(targets.as_string())
        }
        How::ListOf(separator) => list::split(texts, separator),
        // `convert` has done these.
        _ => copy(&(Arc::new(texts.clone()) as ArrayRef), field.kind, refuse)?,
    })
}

/// Any value as text.
fn as_text(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn copy(column: &ArrayRef, kind: FieldType, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    let texts = column.as_string_opt::<i32>();
    Ok(match (kind, texts) {
        (FieldType::Ip, Some(texts)) => rewritten(texts, |row, text, buffer| {
            address::address(text, buffer).unwrap_or_else(|| {
                refuse(row, text);
                Change::Null
            })
        }),
        (FieldType::Long, Some(texts)) => Arc::new(number::whole::<Int64Type>(texts, refuse)),
        (FieldType::Integer, Some(texts)) => Arc::new(number::whole::<arrow_array::types::Int32Type>(texts, refuse)),
        (FieldType::Double | FieldType::Float | FieldType::ScaledFloat, Some(texts)) => {
            let finite = |it: &str| it.parse().ok().filter(|it: &f64| it.is_finite()).map(Some);
            Arc::new(number::parsed::<Float64Type>(texts, refuse, finite))
        }
        (FieldType::Boolean, Some(texts)) => number::booleans(texts, refuse),
        (FieldType::Date, Some(texts)) => time::rfc3339(texts, refuse),
        (_, Some(_)) => column.clone(),
        (FieldType::Long, None) => number::narrowed(column, &DataType::Int64, refuse)?,
        (FieldType::Integer, None) => number::narrowed(column, &DataType::Int32, refuse)?,
        (FieldType::Double | FieldType::Float | FieldType::ScaledFloat, None) => number::floats(column, refuse)?,
        (FieldType::Boolean, None) => column.clone(),
        (FieldType::Date, None) => time::cast_time(column)?,
        (_, None) => cast(column, &DataType::Utf8)?,
    })
}

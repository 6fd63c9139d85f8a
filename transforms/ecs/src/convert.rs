//! Columns become fields, a whole column at a time.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, ListBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray, PrimitiveArray, StringArray};
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use arrow_select::nullif::nullif;
use forebay_codec::number::fixed_point;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::fields::{Field, FieldType};

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
    /// Seconds with a fraction become whole nanoseconds.
    Nanoseconds,
    /// `HTTPS` becomes `https`.
    Lowercase,
    /// `a%20b` becomes `a b`, decoded once. What is not UTF-8 then stays as it was logged.
    PercentDecoded,
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
            Self::Nanoseconds => is_text(from) || exact,
            _ => is_text(from),
        }
    }

    /// What a column must hold to be taken.
    pub(crate) fn wanted(self, field: Field) -> &'static str {
        match (self, field.kind) {
            (Self::EpochSeconds | Self::EpochMillis, _) => "text, a whole number, a decimal or a timestamp",
            (Self::Nanoseconds, _) => "text, a whole number or a decimal",
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
            Self::Nanoseconds => "a number of seconds",
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

/// Makes plain text of a text column of any kind; other columns stay. In a `logged` column, `-` means null.
pub(crate) fn plain(column: &ArrayRef, logged: bool) -> Result<ArrayRef, ArrowError> {
    if !is_text(column.data_type()) {
        return Ok(column.clone());
    }
    let texts = cast(column, &DataType::Utf8)?;
    if !logged {
        return Ok(texts);
    }
    let dash = BooleanArray::from_unary(texts.as_string::<i32>(), |it| it == "-");
    if dash.has_true() { nullif(&texts, &dash) } else { Ok(texts) }
}

/// Converts [`plain`] columns of types that `how` [takes](How::takes). A value that does not fit becomes null and is
/// told to `refuse`, with its row.
pub(crate) fn convert(
    how: How,
    field: Field,
    columns: &[ArrayRef],
    mut refuse: impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    let first = &columns[0];
    let refuse = &mut refuse;
    Ok(match how {
        How::Copy if field.list => list(first, field.kind, refuse)?,
        How::Copy => copy(first, field.kind, refuse)?,
        How::EpochSeconds | How::EpochMillis if matches!(first.data_type(), DataType::Timestamp(_, _)) => time(first)?,
        How::EpochSeconds => millis(&text(first)?, refuse, |it| in_range(fixed_point(it, 3)?.0)),
        How::EpochMillis => millis(&text(first)?, refuse, |it| in_range(fixed_point(it, 0)?.0)),
        How::DateAndTime => date_and_time(first.as_string(), columns[1].as_string(), refuse),
        How::Nanoseconds => nanoseconds(first, refuse)?,
        How::Lowercase => rewritten(first, |it| Some(it.to_ascii_lowercase().into())),
        How::PercentDecoded => rewritten(first, |it| Some(percent_decode_str(it).decode_utf8().unwrap_or(it.into()))),
        How::HttpVersion => rewritten(first, |it| Some(it.strip_prefix("HTTP/").unwrap_or(it).into())),
        How::TlsProtocol => rewritten(first, |it| Some(tls(it).0.to_ascii_lowercase().into())),
        How::TlsVersion => rewritten(first, |it| tls(it).1.map(Cow::Borrowed)),
        How::HostName => rewritten(first, |it| Some(host_name(it).into())),
        How::BeforeQuestionMark => {
            rewritten(first, |it| Some(it.split_once('?').map_or(it, |(before, _)| before).into()))
        }
        How::BehindQuestionMark => behind_question_mark(first.as_string(), columns.get(1)),
        How::Addresses => addresses(first.as_string()),
    })
}

/// Any value as text.
fn text(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn copy(column: &ArrayRef, kind: FieldType, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    let texts = column.as_string_opt::<i32>();
    Ok(match (kind, texts) {
        (FieldType::Ip, Some(texts)) => checked(texts, refuse, address),
        (FieldType::Long, Some(texts)) => Arc::new(parsed::<Int64Type>(texts, refuse, |it| it.parse().ok())),
        (FieldType::Integer, Some(texts)) => Arc::new(parsed::<Int32Type>(texts, refuse, |it| it.parse().ok())),
        (FieldType::Double | FieldType::Float | FieldType::ScaledFloat, Some(texts)) => {
            let finite = |it: &str| it.parse().ok().filter(|it: &f64| it.is_finite());
            Arc::new(parsed::<Float64Type>(texts, refuse, finite))
        }
        (FieldType::Boolean, Some(texts)) => booleans(texts, refuse),
        (FieldType::Date, Some(texts)) => {
            millis(texts, refuse, |it| Some(it.parse::<Timestamp>().ok()?.as_millisecond()))
        }
        (_, Some(_)) => column.clone(),
        (FieldType::Long, None) => narrowed(column, &DataType::Int64, refuse)?,
        (FieldType::Integer, None) => narrowed(column, &DataType::Int32, refuse)?,
        (FieldType::Double | FieldType::Float | FieldType::ScaledFloat, None) => floats(column, refuse)?,
        (FieldType::Boolean, None) => column.clone(),
        (FieldType::Date, None) => time(column)?,
        (_, None) => cast(column, &DataType::Utf8)?,
    })
}

/// Casts whole numbers, and refuses those that are too large.
fn narrowed(column: &ArrayRef, to: &DataType, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    let values = cast(column, to)?;
    refuse_where(column, |row| values.is_null(row), refuse)?;
    Ok(values)
}

/// Casts numbers, and refuses whole ones that a double cannot hold and those that are not finite.
fn floats(column: &ArrayRef, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    /// From here on whole numbers may have been rounded.
    const EXACT_BELOW: f64 = (1_u64 << 53) as f64;
    let values = cast(column, &DataType::Float64)?;
    let doubles = values.as_primitive::<Float64Type>();
    let whole = column.data_type().is_integer();
    let lost = |row: usize| {
        let value = doubles.value(row);
        !value.is_finite() || (whole && value.abs() >= EXACT_BELOW)
    };
    refuse_where(column, lost, refuse)?;
    Ok(values)
}

fn refuse_where(
    column: &ArrayRef,
    lost: impl Fn(usize) -> bool,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<(), ArrowError> {
    for row in (0..column.len()).filter(|row| column.is_valid(*row) && lost(*row)) {
        refuse(row, &array_value_to_string(column, row)?);
    }
    Ok(())
}

/// Casts times and dates; those without a zone are taken to be in UTC.
fn time(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    // The zone stays during the cast, since a cast between zones would move the times.
    let millis = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, zone))?;
    Ok(Arc::new(millis.as_primitive::<TimestampMillisecondType>().clone().with_timezone("UTC")))
}

fn millis(texts: &StringArray, refuse: &mut impl FnMut(usize, &str), read: impl Fn(&str) -> Option<i64>) -> ArrayRef {
    Arc::new(parsed::<TimestampMillisecondType>(texts, refuse, read).with_timezone("UTC"))
}

fn date_and_time(dates: &StringArray, times: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    let mut values = PrimitiveBuilder::<TimestampMillisecondType>::with_capacity(dates.len());
    for (row, pair) in dates.iter().zip(times).enumerate() {
        let value = match pair {
            (Some(date), Some(time)) => instant(date, time),
            _ => None,
        };
        if let ((Some(date), Some(time)), None) = (pair, value) {
            refuse(row, &format!("{date} {time}"));
        }
        values.append_option(value);
    }
    Arc::new(values.finish().with_timezone("UTC"))
}

fn instant(date: &str, time: &str) -> Option<i64> {
    let moment = Date::from_str(date).ok()?.to_datetime(Time::from_str(time).ok()?);
    TimeZone::UTC.to_timestamp(moment).ok().map(|it| it.as_millisecond())
}

fn nanoseconds(column: &ArrayRef, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    const DIGITS: u8 = 9;
    let Some(decimals) = column.as_primitive_opt::<Decimal128Type>() else {
        return Ok(Arc::new(parsed::<Int64Type>(&text(column)?, refuse, |it| Some(fixed_point(it, DIGITS)?.0))));
    };
    let digits = i32::from(DIGITS) - i32::from(decimals.scale());
    let factor = 10_i128.pow(digits.unsigned_abs());
    let values: PrimitiveArray<Int64Type> = decimals.unary_opt(|it| {
        let nanoseconds = if digits < 0 { Some(it / factor) } else { it.checked_mul(factor) };
        nanoseconds.and_then(|it| i64::try_from(it).ok())
    });
    refuse_where(column, |row| values.is_null(row), refuse)?;
    Ok(Arc::new(values))
}

/// Milliseconds since 1970, if that is a time of the years -9999 to 9999. Finds seconds and milliseconds mixed up.
fn in_range(millis: i64) -> Option<i64> {
    Timestamp::from_millisecond(millis).ok().map(|_| millis)
}

fn parsed<T: ArrowPrimitiveType>(
    texts: &StringArray,
    refuse: &mut impl FnMut(usize, &str),
    read: impl Fn(&str) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let value = text.and_then(&read);
        if let (Some(text), None) = (text, value) {
            refuse(row, text);
        }
        values.append_option(value);
    }
    values.finish()
}

fn booleans(texts: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    let mut values = BooleanBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let value = text.and_then(|it| it.parse().ok());
        if let (Some(text), None) = (text, value) {
            refuse(row, text);
        }
        values.append_option(value);
    }
    Arc::new(values.finish())
}

/// Text from text, where not every text will do.
fn checked<'a>(
    texts: &'a StringArray,
    refuse: &mut impl FnMut(usize, &str),
    read: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> ArrayRef {
    let mut values = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for (row, text) in texts.iter().enumerate() {
        let value = text.and_then(&read);
        if let (Some(text), None) = (text, &value) {
            refuse(row, text);
        }
        values.append_option(value);
    }
    Arc::new(values.finish())
}

/// Text from text, where what has no value is null.
pub(crate) fn rewritten(column: &dyn Array, write: impl Fn(&str) -> Option<Cow<'_, str>>) -> ArrayRef {
    let texts = column.as_string::<i32>();
    let mut values = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        values.append_option(text.and_then(&write));
    }
    Arc::new(values.finish())
}

fn address(text: &str) -> Option<Cow<'_, str>> {
    IpAddr::from_str(text).ok().map(|it| it.to_string().into())
}

/// Protocol and version of `TLSv1.2` and `SSLv3`.
fn tls(text: &str) -> (&str, Option<&str>) {
    match text.find(|it: char| it.is_ascii_digit()) {
        Some(digit) => (text[..digit].trim_end_matches('v'), Some(&text[digit..])),
        None => (text, None),
    }
}

/// A host without its port. An IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|it| it.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn behind_question_mark(uris: &StringArray, queries: Option<&ArrayRef>) -> ArrayRef {
    let queries = queries.map(|it| it.as_string::<i32>());
    let behind = uris.iter().enumerate().map(|(row, uri)| {
        let own = uri.and_then(|it| it.split_once('?')).map(|(_, query)| query);
        own.or_else(|| queries.filter(|it| it.is_valid(row)).map(|it| it.value(row)))
    });
    Arc::new(StringArray::from_iter(behind))
}

/// The addresses of X-Forwarded-For, where anybody may write anything: with blanks, with ports, and with nonsense.
fn addresses(texts: &StringArray) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in texts {
        let mut found = false;
        for item in text.into_iter().flat_map(|it| it.split(',')) {
            let decoded = percent_decode_str(item).decode_utf8_lossy();
            let item = decoded.trim();
            let with_port = || SocketAddr::from_str(item).map(|it| it.ip());
            if let Ok(address) = IpAddr::from_str(item).or_else(|_| with_port()) {
                lists.values().append_value(address.to_string());
                found = true;
            }
        }
        lists.append(found);
    }
    Arc::new(lists.finish())
}

/// Lists of text, from lists, or each of one value.
fn list(column: &ArrayRef, kind: FieldType, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut append = |row: usize, is_list: bool, values: &mut dyn Iterator<Item = &str>| {
        for text in values {
            match item(text, kind) {
                Some(text) => lists.values().append_value(text),
                None => refuse(row, text),
            }
        }
        lists.append(is_list);
    };
    if let DataType::List(_) | DataType::LargeList(_) = column.data_type() {
        let many = cast(column, &Field { kind: FieldType::Keyword, list: true }.data_type())?;
        let many = many.as_list::<i32>();
        let texts = many.values().as_string::<i32>();
        for (row, ends) in many.value_offsets().windows(2).enumerate() {
            let items = (ends[0] as usize..ends[1] as usize).filter(|it| many.is_valid(row) && texts.is_valid(*it));
            append(row, many.is_valid(row), &mut items.map(|it| texts.value(it)));
        }
    } else {
        for (row, text) in text(column)?.iter().enumerate() {
            append(row, text.is_some(), &mut text.into_iter());
        }
    }
    Ok(Arc::new(lists.finish()))
}

fn item(text: &str, kind: FieldType) -> Option<Cow<'_, str>> {
    match kind {
        FieldType::Ip => address(text),
        _ => Some(text.into()),
    }
}

//! Texts become a typed column, one column at a time.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, PrimitiveArray};
use forebay_codec::number::fixed_point;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::types::{DECIMAL_DIGITS, Type};

/// Builds the column. A text that is not of the type becomes null and is told to `refuse`, with its number.
pub(crate) fn column<'a>(
    kind: &Type,
    cells: impl Iterator<Item = Option<&'a str>>,
    refuse: impl FnMut(usize, &str),
) -> ArrayRef {
    match kind {
        Type::Text => text(cells, refuse, |it| Some(Cow::Borrowed(it))),
        Type::PercentDecoded => text(cells, refuse, |it| percent_decode_str(it).decode_utf8().ok()),
        Type::Ip => text(cells, refuse, |it| IpAddr::from_str(it).ok().map(|it| Cow::Owned(it.to_string()))),
        Type::Bool => bool(cells, refuse),
        Type::I8 => parsed::<Int8Type>(cells, refuse),
        Type::I16 => parsed::<Int16Type>(cells, refuse),
        Type::I32 => parsed::<Int32Type>(cells, refuse),
        Type::I64 => parsed::<Int64Type>(cells, refuse),
        Type::U8 => parsed::<UInt8Type>(cells, refuse),
        Type::U16 => parsed::<UInt16Type>(cells, refuse),
        Type::U32 => parsed::<UInt32Type>(cells, refuse),
        Type::U64 => parsed::<UInt64Type>(cells, refuse),
        Type::F32 => {
            Arc::new(primitive::<Float32Type>(cells, refuse, |it| it.parse().ok().filter(|it: &f32| it.is_finite())))
        }
        Type::F64 => {
            Arc::new(primitive::<Float64Type>(cells, refuse, |it| it.parse().ok().filter(|it: &f64| it.is_finite())))
        }
        Type::Decimal(digits) => {
            let values = primitive::<Decimal128Type>(cells, refuse, |it| decimal(it, *digits).map(i128::from));
            Arc::new(values.with_data_type(kind.data_type()))
        }
        Type::EpochSeconds => timestamp(cells, refuse, epoch_seconds),
        Type::EpochMillis => timestamp(cells, refuse, |it| in_range(it.parse().ok()?)),
        Type::Rfc3339 => timestamp(cells, refuse, |it| Some(it.parse::<Timestamp>().ok()?.as_millisecond())),
        Type::Strftime(format) => timestamp(cells, refuse, |it| strftime(format, it)),
    }
}

fn text<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
    mut refuse: impl FnMut(usize, &str),
    convert: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> ArrayRef {
    let mut values = StringBuilder::new();
    for (nth, cell) in cells.enumerate() {
        let value = cell.and_then(&convert);
        if let (Some(cell), None) = (cell, &value) {
            refuse(nth, cell);
        }
        values.append_option(value);
    }
    Arc::new(values.finish())
}

fn bool<'a>(cells: impl Iterator<Item = Option<&'a str>>, mut refuse: impl FnMut(usize, &str)) -> ArrayRef {
    let mut values = BooleanBuilder::new();
    for (nth, cell) in cells.enumerate() {
        let value = cell.and_then(|it| it.parse().ok());
        if let (Some(cell), None) = (cell, value) {
            refuse(nth, cell);
        }
        values.append_option(value);
    }
    Arc::new(values.finish())
}

fn primitive<'a, T: ArrowPrimitiveType>(
    cells: impl Iterator<Item = Option<&'a str>>,
    mut refuse: impl FnMut(usize, &str),
    convert: impl Fn(&str) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(cells.size_hint().0);
    for (nth, cell) in cells.enumerate() {
        let value = cell.and_then(&convert);
        if let (Some(cell), None) = (cell, value) {
            refuse(nth, cell);
        }
        values.append_option(value);
    }
    values.finish()
}

fn parsed<'a, T>(cells: impl Iterator<Item = Option<&'a str>>, refuse: impl FnMut(usize, &str)) -> ArrayRef
where
    T: ArrowPrimitiveType<Native: FromStr>,
{
    Arc::new(primitive::<T>(cells, refuse, |it| it.parse().ok()))
}

fn timestamp<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
    refuse: impl FnMut(usize, &str),
    millis: impl Fn(&str) -> Option<i64>,
) -> ArrayRef {
    Arc::new(primitive::<TimestampMillisecondType>(cells, refuse, millis).with_timezone("UTC"))
}

/// The number in units of its last digit: `-12.5` with 3 digits is -12,500. `None` if that would lose a digit.
pub(crate) fn decimal(text: &str, digits: u8) -> Option<i64> {
    let (value, rest) = fixed_point(text, digits)?;
    let fits = value.unsigned_abs() < 10_u64.pow(DECIMAL_DIGITS.into());
    (fits && rest.bytes().all(|it| it == b'0')).then_some(value)
}

/// Seconds with an optional fraction as milliseconds.
pub(crate) fn epoch_seconds(text: &str) -> Option<i64> {
    let (millis, _finer) = fixed_point(text, 3)?;
    in_range(millis)
}

/// Milliseconds since 1970, if that is a time of the years -9999 to 9999. Finds seconds and milliseconds mixed up.
fn in_range(millis: i64) -> Option<i64> {
    Timestamp::from_millisecond(millis).ok().map(|_| millis)
}

/// A time in a format of strftime, in UTC unless the text says otherwise, in milliseconds since 1970.
pub(crate) fn strftime(format: &str, text: &str) -> Option<i64> {
    let parts = strtime::parse(format, text).ok()?;
    let time = match (parts.timestamp(), parts.offset()) {
        (None, None) => TimeZone::UTC.to_timestamp(parts.to_datetime().ok()?),
        _ => parts.to_timestamp(),
    };
    time.ok().map(|it| it.as_millisecond())
}

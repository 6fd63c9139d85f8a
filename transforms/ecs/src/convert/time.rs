//! Times, to the millisecond.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use forebay_codec::convert::strftime;
use forebay_codec::number::fixed_point;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::number::parsed;

/// Casts times and dates; those without a zone are taken to be in UTC.
pub(super) fn cast_time(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let zone = match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => return Ok(column.clone()),
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    // The zone stays during the cast, since a cast between zones would move the times.
    let millis = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, zone))?;
    Ok(Arc::new(millis.as_primitive::<TimestampMillisecondType>().clone().with_timezone("UTC")))
}

fn millis(
    texts: &StringArray,
    refuse: &mut impl FnMut(usize, &str),
    mut read: impl FnMut(&str) -> Option<i64>,
) -> ArrayRef {
    let values = parsed::<TimestampMillisecondType>(texts, refuse, |it| read(it).map(Some));
    Arc::new(values.with_timezone("UTC"))
}

/// Units of which 10 to the power of `digits` are so many milliseconds, since 1970.
pub(super) fn epoch(texts: &StringArray, digits: u8, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    millis(texts, refuse, |it| in_range(fixed_point(it, digits)?.0))
}

pub(super) fn rfc3339(texts: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    millis(texts, refuse, |it| Some(it.parse::<Timestamp>().ok()?.as_millisecond()))
}

/// `28/Sep/1970:12:00:00 +0600`, or RFC 3339.
pub(super) fn log_times(texts: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    let rfc3339 = |it: &str| Some(it.parse::<Timestamp>().ok()?.as_millisecond());
    millis(texts, refuse, |it| strftime("%d/%b/%Y:%H:%M:%S %z", it).or_else(|| rfc3339(it)))
}

/// A date in one column and a time in another, in UTC.
pub(super) fn dates_and_times(
    dates: &StringArray,
    times: &StringArray,
    refuse: &mut impl FnMut(usize, &str),
) -> ArrayRef {
    let mut values = PrimitiveBuilder::<TimestampMillisecondType>::with_capacity(dates.len());
    // A file holds few dates, one behind the other.
    let mut midnight: Option<(&str, Option<i64>)> = None;
    for (row, pair) in dates.iter().zip(times).enumerate() {
        let (Some(date), Some(time)) = pair else {
            values.append_null();
            continue;
        };
        let start = match midnight {
            Some((of, start)) if of == date => start,
            _ => start_of_day(date),
        };
        midnight = Some((date, start));
        let value = start.and_then(|it| Some(it + within_day(time)?));
        if value.is_none() {
            refuse(row, &format!("{date} {time}"));
        }
        values.append_option(value);
    }
    Arc::new(values.finish().with_timezone("UTC"))
}

fn start_of_day(date: &str) -> Option<i64> {
    let midnight = Date::from_str(date).ok()?.to_datetime(Time::midnight());
    TimeZone::UTC.to_timestamp(midnight).ok().map(|it| it.as_millisecond())
}

/// Milliseconds since midnight.
fn within_day(time: &str) -> Option<i64> {
    let two = |high: u8, low: u8| -> Option<i64> {
        let digits = [high, low].iter().all(u8::is_ascii_digit);
        digits.then(|| i64::from(high - b'0') * 10 + i64::from(low - b'0'))
    };
    let (hours, minutes, seconds) = match *time.as_bytes() {
        [h1, h2, b':', m1, m2, b':', s1, s2] => (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?),
        _ => {
            let time = Time::from_str(time).ok()?;
            let millis = i64::from(time.millisecond());
            return Some(
                millis
                    + 1000 * (i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())),
            );
        }
    };
    // A leap second is the second before it, as jiff has it.
    let seconds = if seconds == 60 { 59 } else { seconds };
    (hours < 24 && minutes < 60 && seconds < 60).then_some(1000 * (hours * 3600 + minutes * 60 + seconds))
}

/// Milliseconds since 1970, if that is a time of the years -9999 to 9999. Finds seconds and milliseconds mixed up.
fn in_range(millis: i64) -> Option<i64> {
    Timestamp::from_millisecond(millis).ok().map(|_| millis)
}

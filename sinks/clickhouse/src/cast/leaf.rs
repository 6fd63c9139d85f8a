//! Single values.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt16Type,
    UInt32Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, PrimitiveArray, new_null_array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::is_text;
use crate::types::Type;

/// How single values are made. What does not fit becomes null.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    /// They are right as they are.
    Same,
    /// There are none.
    Nothing(DataType),
    /// As Arrow casts them to this type, and then in these steps.
    Cast(DataType, Step),
}

/// What is done to values of the type that a [`Leaf::Cast`] names.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Nothing,
    /// Ticks since 1970, of which so many are a second; the seconds must fit into 32 bits.
    Seconds {
        per_second: i64,
    },
    /// Ticks since 1970 within the years that the server knows, of which so many are a second, and so many a tick of
    /// the column.
    Ticks {
        per_second: i64,
        divide_by: i64,
    },
    /// Half the bits, if they are enough.
    Float32,
    /// Fewer bits, if they are enough.
    Decimal(DataType),
    /// Days since 1970 that fit into 16 bits.
    Days,
    /// Days within the years that the server knows.
    WideDays,
    /// Texts of at most so many bytes, filled up with zeros.
    Padded(usize),
    Ipv4,
    Ipv6,
    Uuid,
    /// The 16 bytes of a UUID in their usual order.
    UuidBytes,
    /// The 4 bytes of an address in network order.
    Ipv4Bytes,
    /// Names of an enumeration of one byte, or of two.
    Names(u8, Arc<HashMap<String, i16>>),
    /// Numbers of such an enumeration.
    Numbers(u8, Arc<HashMap<String, i16>>),
}

/// 1900-01-01 and 2300-01-01, between which the server's wide times lie, in days and in seconds since 1970.
/// See <https://clickhouse.com/docs/sql-reference/data-types/datetime64>.
const DAYS: std::ops::Range<i32> = -25_567..120_530;
const SECONDS: std::ops::Range<i64> = DAYS.start as i64 * 86_400..DAYS.end as i64 * 86_400;

impl Leaf {
    pub(super) fn new(from: &DataType, to: &Type) -> Option<Self> {
        let (through, step) = route(from, to)?;
        let made = made(to)?;
        if from.is_null() {
            return Some(Self::Nothing(made));
        }
        if *from == through && matches!(step, Step::Nothing) {
            return Some(Self::Same);
        }
        arrow_cast::can_cast_types(from, &through).then_some(Self::Cast(through, step))
    }

    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Same => Ok(values.clone()),
            Self::Nothing(made) => Ok(new_null_array(made, values.len())),
            Self::Cast(through, step) => {
                let values = if values.data_type() == through { values.clone() } else { cast(values, through)? };
                step.apply(values)
            }
        }
    }
}

/// The Arrow type through which values go on their way to a ClickHouse type, and what is done there.
fn route(from: &DataType, to: &Type) -> Option<(DataType, Step)> {
    let text = is_text(from) || from.is_null();
    let number = from.is_integer() || from.is_floating() || is_decimal(from) || *from == DataType::Boolean;
    let time = matches!(from, DataType::Timestamp(..));
    let day = matches!(from, DataType::Date32 | DataType::Date64);
    let plain = |it| Some((it, Step::Nothing));
    match to {
        Type::Bool | Type::Float64 if text || number => plain(made(to)?),
        Type::Float32 if *from == DataType::Float32 || *from == DataType::Float16 => plain(made(to)?),
        Type::Float32 if text || number => Some((DataType::Float64, Step::Float32)),
        Type::Decimal(_, scale) if text || number => match made(to)? {
            made if made == *from => plain(made),
            // Only fewer bits.
            made if matches!(from, DataType::Decimal128(_, given) if u8::try_from(*given) == Ok(*scale)) => {
                Some((from.clone(), Step::Decimal(made)))
            }
            // Arrow does not look whether whole numbers fit into fewer bits.
            made @ (DataType::Decimal32(..) | DataType::Decimal64(..)) => {
                Some((DataType::Decimal128(38, i8::try_from(*scale).ok()?), Step::Decimal(made)))
            }
            made => plain(made),
        },
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 if text || number => plain(made(to)?),
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 if text || number => plain(made(to)?),
        Type::String => match from {
            DataType::Utf8 | DataType::Binary => plain(from.clone()),
            DataType::Dictionary(_, values) if **values == DataType::Utf8 => plain(from.clone()),
            it if it.is_binary() => plain(DataType::Binary),
            DataType::FixedSizeBinary(_) => plain(DataType::Binary),
            _ => plain(DataType::Utf8),
        },
        Type::FixedString(length) => match from {
            DataType::FixedSizeBinary(given) if usize::try_from(*given).ok()? == *length => plain(from.clone()),
            it if text || it.is_binary() || matches!(it, DataType::FixedSizeBinary(_)) => {
                Some((DataType::Binary, Step::Padded(*length)))
            }
            _ => None,
        },
        Type::Date if text || time || day => Some((DataType::Date32, Step::Days)),
        Type::Date32 if text || time || day => Some((DataType::Date32, Step::WideDays)),
        Type::DateTime(_) if text || time || day => {
            let (unit, digits) = finer(from, 0);
            Some((utc(unit), Step::Seconds { per_second: 10_i64.pow(digits) }))
        }
        Type::DateTime64(digits, _) if text || time || day => {
            let (unit, unit_digits) = finer(from, u32::from(*digits));
            let divide_by = 10_i64.pow(unit_digits - u32::from(*digits));
            Some((utc(unit), Step::Ticks { per_second: 10_i64.pow(unit_digits), divide_by }))
        }
        Type::Uuid if text => Some((DataType::Utf8, Step::Uuid)),
        Type::Uuid if *from == DataType::FixedSizeBinary(16) => Some((from.clone(), Step::UuidBytes)),
        Type::Ipv4 if text => Some((DataType::Utf8, Step::Ipv4)),
        Type::Ipv4 if *from == DataType::UInt32 => plain(DataType::UInt32),
        Type::Ipv4 if *from == DataType::FixedSizeBinary(4) => Some((from.clone(), Step::Ipv4Bytes)),
        Type::Ipv6 if text => Some((DataType::Utf8, Step::Ipv6)),
        Type::Ipv6 if *from == DataType::FixedSizeBinary(16) => plain(from.clone()),
        Type::Enum { bytes, names } => {
            let known = Arc::new(names.iter().cloned().collect());
            match () {
                () if text => Some((DataType::Utf8, Step::Names(*bytes, known))),
                () if from.is_integer() => Some((DataType::Int16, Step::Numbers(*bytes, known))),
                () => None,
            }
        }
        _ => None,
    }
}

/// The Arrow type of finished values.
fn made(to: &Type) -> Option<DataType> {
    Some(match to {
        Type::Bool => DataType::Boolean,
        Type::Int8 | Type::Enum { bytes: 1, .. } => DataType::Int8,
        Type::Int16 | Type::Enum { .. } => DataType::Int16,
        Type::Int32 | Type::Date32 => DataType::Int32,
        Type::Int64 | Type::DateTime64(..) => DataType::Int64,
        Type::UInt8 => DataType::UInt8,
        Type::UInt16 | Type::Date => DataType::UInt16,
        Type::UInt32 | Type::DateTime(_) | Type::Ipv4 => DataType::UInt32,
        Type::UInt64 => DataType::UInt64,
        Type::Float32 => DataType::Float32,
        Type::Float64 => DataType::Float64,
        Type::Decimal(precision, scale) => {
            let scale = i8::try_from(*scale).ok().filter(|it| *it as u8 <= *precision)?;
            match precision {
                1..=9 => DataType::Decimal32(*precision, scale),
                10..=18 => DataType::Decimal64(*precision, scale),
                19..=38 => DataType::Decimal128(*precision, scale),
                39..=76 => DataType::Decimal256(*precision, scale),
                _ => return None,
            }
        }
        Type::String => DataType::Utf8,
        Type::FixedString(length) => DataType::FixedSizeBinary(i32::try_from(*length).ok()?),
        Type::Uuid | Type::Ipv6 => DataType::FixedSizeBinary(16),
        _ => return None,
    })
}

/// A unit that holds all digits of a time and those that are wanted, and how many it holds: what is too much is cut
/// off downwards, before 1970 as well.
fn finer(from: &DataType, digits: u32) -> (TimeUnit, u32) {
    let given = match from {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 9,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 6,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 3,
        _ => 0,
    };
    match given.max(digits) {
        0 => (TimeUnit::Second, 0),
        1..=3 => (TimeUnit::Millisecond, 3),
        4..=6 => (TimeUnit::Microsecond, 6),
        _ => (TimeUnit::Nanosecond, 9),
    }
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

fn is_decimal(it: &DataType) -> bool {
    matches!(
        it,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

impl Step {
    fn apply(&self, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Nothing => values,
            Self::Seconds { per_second } => {
                times::<UInt32Type>(&values, |it| u32::try_from(it.div_euclid(*per_second)).ok())
            }
            Self::Ticks { per_second, divide_by } => {
                let (first, end) = (SECONDS.start.checked_mul(*per_second), SECONDS.end.checked_mul(*per_second));
                // Nanoseconds since 1970 leave 64 bits before the server's years are over.
                let known = first.unwrap_or(i64::MIN)..end.unwrap_or(i64::MAX);
                match divide_by {
                    // No division where it changes nothing: it is what costs most here.
                    1 => times::<Int64Type>(&values, |it| known.contains(&it).then_some(it)),
                    _ => times::<Int64Type>(&values, |it| known.contains(&it).then(|| it.div_euclid(*divide_by))),
                }
            }
            Self::Float32 => numbers::<Float64Type, Float32Type>(&values, |it| {
                let half = it as f32;
                (half.is_finite() || !it.is_finite()).then_some(half)
            }),
            Self::Decimal(made) => cast(&values, made)?,
            Self::Days => numbers::<Date32Type, UInt16Type>(&values, |it| u16::try_from(it).ok()),
            Self::WideDays => numbers::<Date32Type, Int32Type>(&values, |it| DAYS.contains(&it).then_some(it)),
            Self::Padded(length) => padded(values.as_binary::<i32>(), *length)?,
            Self::Ipv4 => {
                let address = |it: &str| it.parse::<Ipv4Addr>().ok().map(u32::from);
                let texts = values.as_string::<i32>().iter();
                Arc::new(texts.map(|it| it.and_then(address)).collect::<PrimitiveArray<UInt32Type>>())
            }
            Self::Ipv6 => {
                let texts = values.as_string::<i32>().iter();
                fixed(texts.map(|it| it.and_then(ipv6)), 16)?
            }
            Self::Uuid => {
                let texts = values.as_string::<i32>().iter();
                fixed(texts.map(|it| it.and_then(uuid)), 16)?
            }
            Self::UuidBytes => {
                let bytes = values.as_fixed_size_binary().iter();
                let turned = |it: &[u8]| it.try_into().ok().map(turned);
                fixed(bytes.map(|it| it.and_then(turned)), 16)?
            }
            Self::Ipv4Bytes => {
                let address = |it: &[u8]| it.try_into().ok().map(u32::from_be_bytes);
                let bytes = values.as_fixed_size_binary().iter();
                Arc::new(bytes.map(|it| it.and_then(address)).collect::<PrimitiveArray<UInt32Type>>())
            }
            Self::Names(bytes, known) => {
                let texts = values.as_string::<i32>().iter();
                enumeration(*bytes, texts.map(|it| it.and_then(|it| known.get(it).copied())))
            }
            Self::Numbers(bytes, known) => {
                let numbers = values.as_primitive::<Int16Type>().iter();
                let is_known = |it: &i16| known.values().any(|known| known == it);
                enumeration(*bytes, numbers.map(|it| it.filter(is_known)))
            }
        })
    }
}

/// Each tick of a time by itself.
fn times<To: ArrowPrimitiveType>(values: &ArrayRef, tick: impl Fn(i64) -> Option<To::Native>) -> ArrayRef {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => numbers::<TimestampSecondType, To>(values, tick),
        DataType::Timestamp(TimeUnit::Millisecond, _) => numbers::<TimestampMillisecondType, To>(values, tick),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType, To>(values, tick),
        _ => numbers::<TimestampNanosecondType, To>(values, tick),
    }
}

/// Each number by itself.
fn numbers<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(
    values: &ArrayRef,
    number: impl Fn(From::Native) -> Option<To::Native>,
) -> ArrayRef {
    Arc::new(values.as_primitive::<From>().unary_opt::<_, To>(number))
}

fn enumeration(bytes: u8, numbers: impl Iterator<Item = Option<i16>>) -> ArrayRef {
    match bytes {
        1 => Arc::new(numbers.map(|it| it.and_then(|it| i8::try_from(it).ok())).collect::<PrimitiveArray<Int8Type>>()),
        _ => Arc::new(numbers.collect::<PrimitiveArray<Int16Type>>()),
    }
}

fn fixed<B: AsRef<[u8]>>(values: impl Iterator<Item = Option<B>>, length: usize) -> Result<ArrayRef, ArrowError> {
    let length = i32::try_from(length).map_err(|_| ArrowError::CastError(format!("{length} bytes are too long")))?;
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, length)?))
}

/// Texts filled up with zeros; those that are too long become null.
fn padded(texts: &BinaryArray, length: usize) -> Result<ArrayRef, ArrowError> {
    let size = i32::try_from(length).map_err(|_| ArrowError::CastError(format!("{length} bytes are too long")))?;
    let mut made = FixedSizeBinaryBuilder::with_capacity(texts.len(), size);
    let mut place = vec![0; length];
    for text in texts {
        match text {
            Some(text) if text.len() <= length => {
                place[..text.len()].copy_from_slice(text);
                place[text.len()..].fill(0);
                made.append_value(&place)?;
            }
            _ => made.append_null(),
        }
    }
    Ok(Arc::new(made.finish()))
}

/// In network order; IPv4 addresses mapped into IPv6, as the server does it.
fn ipv6(text: &str) -> Option<[u8; 16]> {
    Some(match text.parse().ok()? {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    })
}

/// With or without hyphens.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let hyphens = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|it| bytes[*it] == b'-');
    if !hyphens && bytes.len() != 32 {
        return None;
    }
    let mut digits = 0_u128;
    let mut count = 0;
    for byte in bytes.iter().filter(|it| !hyphens || **it != b'-') {
        digits = digits << 4 | u128::from(char::from(*byte).to_digit(16)?);
        count += 1;
    }
    (count == 32).then(|| turned(digits.to_be_bytes()))
}

/// Each half of a UUID is a number of the machine's order on the wire.
fn turned(mut uuid: [u8; 16]) -> [u8; 16] {
    uuid[..8].reverse();
    uuid[8..].reverse();
    uuid
}

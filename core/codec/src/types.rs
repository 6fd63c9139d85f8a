//! The types that a text can be read as, by the names that stand in a file.

use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::convert;

/// The type of a column, by name: `"u16"`, `"decimal:3"`, `"timestamp:%Y-%m-%d %H:%M:%S"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Type {
    /// The text as it is.
    Text,
    /// The text after one pass of percent-decoding.
    PercentDecoded,
    /// A whole number of 8 bits.
    I8,
    /// A whole number of 16 bits.
    I16,
    /// A whole number of 32 bits.
    I32,
    /// A whole number of 64 bits.
    I64,
    /// A whole number of 8 bits that is not negative.
    U8,
    /// A whole number of 16 bits that is not negative.
    U16,
    /// A whole number of 32 bits that is not negative.
    U32,
    /// A whole number of 64 bits that is not negative.
    U64,
    /// A number of single precision.
    F32,
    /// A number of double precision.
    F64,
    /// A number with so many digits behind the point.
    Decimal(u8),
    /// True or false.
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A time of RFC 3339.
    Rfc3339,
    /// A time in this format of strftime.
    Strftime(String),
}

/// The digits of a [`Type::Decimal`]: what fits into 64 bits.
pub const DECIMAL_DIGITS: u8 = 18;

const NAMES: &str = "`text`, `percent_decoded`, `i8`, `i16`, `i32`, `i64`, `u8`, `u16`, `u32`, `u64`, `f32`, `f64`, \
    `decimal:N`, `bool`, `ip`, `timestamp:epoch_s`, `timestamp:epoch_ms`, `timestamp:rfc3339`, `timestamp:FORMAT`";

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Ok(match name.as_str() {
            "text" => Self::Text,
            "percent_decoded" => Self::PercentDecoded,
            "i8" => Self::I8,
            "i16" => Self::I16,
            "i32" => Self::I32,
            "i64" => Self::I64,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "f32" => Self::F32,
            "f64" => Self::F64,
            "bool" => Self::Bool,
            "ip" => Self::Ip,
            "timestamp:epoch_s" => Self::EpochSeconds,
            "timestamp:epoch_ms" => Self::EpochMillis,
            "timestamp:rfc3339" => Self::Rfc3339,
            other => match other.split_once(':') {
                Some(("decimal", digits)) => decimal(digits)?,
                Some(("timestamp", format)) if format.contains('%') => strftime(format)?,
                _ => return Err(format!("`{name}` is not a type, known are {NAMES}")),
            },
        })
    }
}

fn decimal(digits: &str) -> Result<Type, String> {
    match digits.parse() {
        Ok(digits) if digits <= DECIMAL_DIGITS => Ok(Type::Decimal(digits)),
        _ => Err(format!("`decimal:{digits}` must have 0 to {DECIMAL_DIGITS} digits behind the point")),
    }
}

/// Tries the format on a time, so that one that can never be read is found before there are rows.
fn strftime(format: &str) -> Result<Type, String> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let written = strtime::format(format, &sample).map_err(|error| format!("`{format}` is not a format: {error}"))?;
    if convert::strftime(format, &written).is_none() {
        return Err(format!("`{format}` does not say a whole date, or reads another text than it writes"));
    }
    Ok(Type::Strftime(format.to_owned()))
}

impl Type {
    /// The Arrow type of the column.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Text | Self::PercentDecoded | Self::Ip => DataType::Utf8,
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Decimal(digits) => DataType::Decimal128(DECIMAL_DIGITS, *digits as i8),
            Self::Bool => DataType::Boolean,
            Self::EpochSeconds | Self::EpochMillis | Self::Rfc3339 | Self::Strftime(_) => {
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
            }
        }
    }

    /// What a value of this type is, as in "`abc` is not a u16".
    pub fn noun(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::PercentDecoded => "percent-encoded UTF-8".to_owned(),
            Self::I8 => "an i8".to_owned(),
            Self::I16 => "an i16".to_owned(),
            Self::I32 => "an i32".to_owned(),
            Self::I64 => "an i64".to_owned(),
            Self::U8 => "a u8".to_owned(),
            Self::U16 => "a u16".to_owned(),
            Self::U32 => "a u32".to_owned(),
            Self::U64 => "a u64".to_owned(),
            Self::F32 => "a finite f32".to_owned(),
            Self::F64 => "a finite f64".to_owned(),
            Self::Decimal(digits) => format!("a number with {digits} digits behind the point"),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Ip => "an IP address".to_owned(),
            Self::EpochSeconds => "a time in seconds since 1970".to_owned(),
            Self::EpochMillis => "a time in milliseconds since 1970".to_owned(),
            Self::Rfc3339 => "a time of RFC 3339".to_owned(),
            Self::Strftime(format) => format!("a time like `{format}`"),
        }
    }
}

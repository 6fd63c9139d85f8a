//! ClickHouse's types, read from the text in which the server names them.

use std::fmt;

use crate::sql;

/// What a column can hold, as far as this sink writes it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    /// Precision and scale.
    Decimal(u8, u8),
    String,
    /// Of so many bytes.
    FixedString(usize),
    Date,
    Date32,
    /// The text in parentheses: a zone, or nothing.
    DateTime(String),
    /// Digits behind the second, and the rest of the text in parentheses.
    DateTime64(u8, String),
    Uuid,
    Ipv4,
    Ipv6,
    /// Of one byte or of two: names and numbers, as the server writes them.
    Enum {
        bytes: u8,
        names: Vec<(String, i16)>,
    },
    Json(String),
    Nullable(Box<Type>),
    LowCardinality(Box<Type>),
    Array(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// Any other: values are sent as they are, and the server converts them.
    Other(String),
}

impl Type {
    /// Reads a type. What is not known is [`Type::Other`]; `None` only for what cannot be a type.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, arguments) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => (name.trim_end(), Some(arguments(rest.strip_suffix(')')?)?)),
        };
        if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
            return None;
        }
        let given = arguments.unwrap_or_default();
        let inner = |nth: usize| given.get(nth).and_then(|it| Self::parse(it)).map(Box::new);
        let number = |nth: usize| given.get(nth).and_then(|it| it.parse::<usize>().ok());
        let small = |nth: usize| number(nth).and_then(|it| u8::try_from(it).ok());
        Some(match (name, given.len()) {
            ("Bool", 0) => Self::Bool,
            ("Int8", 0) => Self::Int8,
            ("Int16", 0) => Self::Int16,
            ("Int32", 0) => Self::Int32,
            ("Int64", 0) => Self::Int64,
            ("UInt8", 0) => Self::UInt8,
            ("UInt16", 0) => Self::UInt16,
            ("UInt32", 0) => Self::UInt32,
            ("UInt64", 0) => Self::UInt64,
            ("Float32", 0) => Self::Float32,
            ("Float64", 0) => Self::Float64,
            ("Decimal", 2) => Self::Decimal(small(0)?, small(1)?),
            ("String", 0) => Self::String,
            ("FixedString", 1) => Self::FixedString(number(0)?),
            ("Date", 0) => Self::Date,
            ("Date32", 0) => Self::Date32,
            ("DateTime", 0 | 1) => Self::DateTime(given.join(", ")),
            ("DateTime64", 1 | 2) => Self::DateTime64(small(0).filter(|it| *it <= 9)?, given[1..].join(", ")),
            ("UUID", 0) => Self::Uuid,
            ("IPv4", 0) => Self::Ipv4,
            ("IPv6", 0) => Self::Ipv6,
            ("Enum8", 1..) => Self::Enum { bytes: 1, names: names(&given)? },
            ("Enum16", 1..) => Self::Enum { bytes: 2, names: names(&given)? },
            ("JSON", _) => Self::Json(given.join(", ")),
            ("Nullable", 1) => Self::Nullable(inner(0)?),
            ("LowCardinality", 1) => Self::LowCardinality(inner(0)?),
            ("Array", 1) => Self::Array(inner(0)?),
            ("Map", 2) => Self::Map(inner(0)?, inner(1)?),
            _ => Self::Other(text.to_owned()),
        })
    }

    /// Without `Nullable` and `LowCardinality` around it.
    pub(crate) fn plain(&self) -> &Self {
        match self {
            Self::Nullable(inner) | Self::LowCardinality(inner) => inner.plain(),
            other => other,
        }
    }

    /// Whether a value may be null.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            Self::Nullable(_) => true,
            Self::LowCardinality(inner) => inner.is_nullable(),
            _ => false,
        }
    }

    /// Whether it says when something happened.
    pub(crate) fn is_time(&self) -> bool {
        matches!(self, Self::Date | Self::Date32 | Self::DateTime(_) | Self::DateTime64(..))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, name: &str, arguments: &str| match arguments {
            "" => f.write_str(name),
            _ => write!(f, "{name}({arguments})"),
        };
        match self {
            Self::Decimal(precision, scale) => write!(f, "Decimal({precision}, {scale})"),
            Self::FixedString(length) => write!(f, "FixedString({length})"),
            Self::DateTime(zone) => with(f, "DateTime", zone),
            Self::DateTime64(digits, zone) if zone.is_empty() => write!(f, "DateTime64({digits})"),
            Self::DateTime64(digits, zone) => write!(f, "DateTime64({digits}, {zone})"),
            Self::Uuid => f.write_str("UUID"),
            Self::Ipv4 => f.write_str("IPv4"),
            Self::Ipv6 => f.write_str("IPv6"),
            Self::Enum { bytes, names } => {
                write!(f, "Enum{}(", bytes * 8)?;
                for (nth, (name, number)) in names.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { ", " };
                    write!(f, "{comma}{} = {number}", sql::text(name))?;
                }
                f.write_str(")")
            }
            Self::Json(arguments) => with(f, "JSON", arguments),
            Self::Nullable(inner) => write!(f, "Nullable({inner})"),
            Self::LowCardinality(inner) => write!(f, "LowCardinality({inner})"),
            Self::Array(inner) => write!(f, "Array({inner})"),
            Self::Map(key, value) => write!(f, "Map({key}, {value})"),
            Self::Other(text) => f.write_str(text),
            simple => fmt::Debug::fmt(simple, f),
        }
    }
}

/// Splits at the commas that stand in no parentheses and in no quotes.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut quote, mut escaped) = (0_u32, 0, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(it), _) if it == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.checked_sub(1)?,
            (None, b',') if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    (depth == 0 && quote.is_none()).then_some(found)
}

/// `'name' = 1` for each.
fn names(arguments: &[&str]) -> Option<Vec<(String, i16)>> {
    let name = |text: &&str| {
        let (name, number) = text.rsplit_once('=')?;
        let quoted = name.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        Some((sql::unescaped(quoted), number.trim().parse().ok()?))
    };
    arguments.iter().map(name).collect()
}

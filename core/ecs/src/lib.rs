//! The fields of the Elastic Common Schema (ECS), and the columns that they become.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field as ArrowField, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

/// The version of ECS that `fields.csv` holds; the value of `ecs.version`.
pub const VERSION: &str = "9.4.0";

/// `field,type,level,normalization`; `fields.md` says where from.
const CSV: &str = include_str!("fields.csv");

/// A type of Elasticsearch that a column can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text to be matched as a whole.
    Keyword,
    /// Text to be matched in part.
    Wildcard,
    /// Text to be searched by words.
    MatchOnlyText,
    /// Text that is the same in all rows of a stream.
    ConstantKeyword,
    /// An object written as one text.
    Flattened,
    /// A whole number of 64 bits.
    Long,
    /// A whole number of 32 bits.
    Integer,
    /// A number of double precision.
    Double,
    /// A number; of double precision here, so that no digit that came in is lost.
    Float,
    /// A number; of double precision here.
    ScaledFloat,
    /// True or false.
    Boolean,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A time, to the millisecond.
    Date,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The type of the value, or of each value.
    pub kind: FieldType,
    /// ECS asks for an array, even of one value.
    pub list: bool,
}

impl FieldType {
    /// The Arrow type of a column of such values.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Keyword | Self::Wildcard | Self::MatchOnlyText | Self::ConstantKeyword => DataType::Utf8,
            Self::Flattened | Self::Ip => DataType::Utf8,
            Self::Long => DataType::Int64,
            Self::Integer => DataType::Int32,
            Self::Double | Self::Float | Self::ScaledFloat => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }

    /// What a value of this type is, as in "`abc` is not a whole number".
    pub fn noun(self) -> &'static str {
        match self {
            Self::Keyword | Self::Wildcard | Self::MatchOnlyText | Self::ConstantKeyword | Self::Flattened => "text",
            Self::Long => "a whole number of 64 bits",
            Self::Integer => "a whole number of 32 bits",
            Self::Double | Self::Float | Self::ScaledFloat => "a finite number of double precision",
            Self::Boolean => "`true` or `false`",
            Self::Ip => "an IP address",
            Self::Date => "a time of RFC 3339",
        }
    }
}

impl Field {
    /// The Arrow type of the column.
    pub fn data_type(self) -> DataType {
        match self.list {
            // The name and nullability that Arrow's list builder gives to the items.
            true => DataType::List(Arc::new(ArrowField::new("item", self.kind.data_type(), true))),
            false => self.kind.data_type(),
        }
    }
}

/// Every field of ECS by name; `None` for what is made of other fields or values, as objects are.
static ECS: LazyLock<BTreeMap<&'static str, Option<Field>>> =
    LazyLock::new(|| CSV.lines().skip(1).filter_map(row).collect());

fn row(line: &'static str) -> Option<(&'static str, Option<Field>)> {
    let [name, kind, _level, normalization]: [&str; 4] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
    let named: StrDeserializer<'_, Error> = kind.into_deserializer();
    let kind = FieldType::deserialize(named).ok();
    // ECS does not call it an array, but it is where X-Forwarded-For goes, which is a list of addresses.
    let list = normalization == "array" || name == "network.forwarded_ip";
    Some((name, kind.map(|kind| Field { kind, list })))
}

/// The field of ECS of this name, if there is one that a column can become: objects and points are not.
pub fn field(name: &str) -> Option<Field> {
    ECS.get(name).copied().flatten()
}

/// Whether ECS has a field of this name, be it an object.
pub fn is_ecs(name: &str) -> bool {
    ECS.contains_key(name)
}

/// The names of all fields, objects included.
pub fn names() -> impl Iterator<Item = &'static str> {
    ECS.keys().copied()
}

#[cfg(test)]
mod tests;

//! The fields of ECS, and those that the mappings and the file add to them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field as ArrowField, TimeUnit};
use forebay_api::{Wrong, nearest};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use crate::mapping;

/// The version of ECS that `fields.csv` holds; the value of `ecs.version`.
pub(crate) const VERSION: &str = "9.4.0";

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
pub(crate) struct Field {
    pub(crate) kind: FieldType,
    /// ECS asks for an array, even of one value.
    pub(crate) list: bool,
}

impl FieldType {
    fn data_type(self) -> DataType {
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
    pub(crate) fn noun(self) -> &'static str {
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
    pub(crate) fn data_type(self) -> DataType {
        match self.list {
            // The name and nullability that Arrow's list builder gives to the items.
            true => DataType::List(Arc::new(ArrowField::new("item", self.kind.data_type(), true))),
            false => self.kind.data_type(),
        }
    }
}

/// Every field of ECS by name; `None` for what is made of other fields or values, as objects are.
static ECS: LazyLock<BTreeMap<&str, Option<Field>>> = LazyLock::new(|| CSV.lines().skip(1).filter_map(row).collect());

fn row(line: &'static str) -> Option<(&'static str, Option<Field>)> {
    let [name, kind, _level, normalization]: [&str; 4] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
    let named: StrDeserializer<'_, Error> = kind.into_deserializer();
    let kind = FieldType::deserialize(named).ok();
    // ECS does not call it an array, but it is where X-Forwarded-For goes, which is a list of addresses.
    let list = normalization == "array" || name == "network.forwarded_ip";
    Some((name, kind.map(|kind| Field { kind, list })))
}

/// The fields that may be filled.
pub(crate) struct Fields<'a> {
    /// Those that the file declares.
    pub(crate) custom: &'a BTreeMap<String, FieldType>,
}

impl Fields<'_> {
    /// The field of this name, if there is one that a column can become.
    pub(crate) fn get(&self, name: &str) -> Option<Field> {
        let custom = self.custom.get(name).map(|kind| Field { kind: *kind, list: false });
        custom.or_else(|| mapping::own_field(name)).or_else(|| ECS.get(name).copied().flatten())
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = mapping::own_fields().chain(ECS.keys().copied()).collect();
        names.extend(self.custom.keys().map(String::as_str));
        names
    }

    /// The field of this name, or what is wrong with naming it at `key`.
    pub(crate) fn named(&self, key: &str, name: &str) -> Result<Field, Wrong> {
        if let Some(field) = self.get(name) {
            return Ok(field);
        }
        if is_ecs(name) {
            return Err(Wrong::new(key, format!("field `{name}` cannot be built from a column"))
                .hint("it is an object or a point: fill the fields below it"));
        }
        let wrong = Wrong::new(key, format!("ECS {VERSION} has no field `{name}`"))
            .hint(format!("a field of your own needs a type: `custom = {{ \"{name}\" = \"keyword\" }}`"));
        Err(match nearest(name, self.names()) {
            Some(near) => wrong.label(format!("did you mean `{near}`?")),
            None => wrong,
        })
    }
}

/// Whether ECS itself has a field of this name.
pub(crate) fn is_ecs(name: &str) -> bool {
    ECS.contains_key(name)
}

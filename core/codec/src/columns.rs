//! The columns that a file names itself.

use std::collections::BTreeMap;
use std::fmt;

use arrow_schema::{Field, Fields};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::types::Type;

/// Columns and their types, by name: `{ "time" = "timestamp:rfc3339", "http.response.status_code" = "u16" }`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "BTreeMap<String, Type>")]
pub struct Columns(Vec<(String, Type)>);

impl Columns {
    /// These columns, in this order.
    pub fn new(columns: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self(columns.into_iter().collect())
    }

    /// Names and types, in their order.
    pub fn as_slice(&self) -> &[(String, Type)] {
        &self.0
    }

    /// As columns of a schema. Each may be null.
    pub(crate) fn fields(&self) -> Fields {
        self.0.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries).map(Self)
    }
}

/// A map as it comes in: its order is that of the columns.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Type)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of names and types")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = Vec::new();
        while let Some(column) = map.next_entry()? {
            columns.push(column);
        }
        Ok(columns)
    }
}

//! What a component is, as text that is the same for the same meaning: for the fingerprint of a sink.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};

use crate::lookup;
use crate::shape;

/// The component and its own keys, as they stand in the file: a looked-up value is its reference, and secrets are
/// left out, so that a rotated password changes nothing.
pub(crate) fn canonical(component: &str, own: &DeTable<'_>, schema: &Json) -> String {
    let mut table = Map::new();
    table.insert("keys".to_owned(), canonical_table(own, schema));
    table.insert("type".to_owned(), component.into());
    Json::Object(table).to_string()
}

fn canonical_table(table: &DeTable<'_>, schema: &Json) -> Json {
    let entries = table.iter().filter_map(|(key, value)| {
        let schema = shape::property(schema, key.get_ref()).unwrap_or(&Json::Null);
        let left_out = shape::is_secret(schema);
        (!left_out).then(|| (key.get_ref().clone().into_owned(), canonical_value(value.get_ref(), schema)))
    });
    let sorted: BTreeMap<String, Json> = entries.collect();
    Json::Object(sorted.into_iter().collect())
}

fn canonical_value(value: &DeValue<'_>, schema: &Json) -> Json {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| number.to_string().into(), Json::from)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            parsed.map_or_else(|| number.to_string().into(), Json::Number)
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(value) => value.to_string().into(),
        DeValue::Array(list) => {
            let element = shape::element(schema).unwrap_or(&Json::Null);
            list.iter().map(|it| canonical_value(it.get_ref(), element)).collect()
        }
        DeValue::Table(table) if lookup::is_reference(table) => canonical_table(table, &Json::Null),
        DeValue::Table(table) => canonical_table(table, schema),
    }
}

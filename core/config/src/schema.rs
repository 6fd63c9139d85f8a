//! The JSON Schema of the file, for editors.
//!
//! A node is described by all keys of all components of its kind in `properties`, and a chain
//! `if type is x then … else if …` that allows exactly the keys of its component. Editors built on taplo complete
//! from the first, and report a wrong key by its name from the second; they do neither for `oneOf`.

use serde_json::{Map, Value as Json, json};

use crate::explain::toml_text;
use crate::keys::{self, FileKeys};
use crate::registry::{About, Kind, Registry, schema_of};
use crate::shape;

/// The JSON Schema (draft 7) of a pipeline file with these components.
pub fn schema(registry: &Registry) -> Json {
    let mut outer = sections(registry, Presence::Whole);
    let environment = object("Changes that hold in one environment.", sections(registry, Presence::Overlay));
    outer.insert("env".to_owned(), json!({
        "description": "Environments. `--env NAME` lays `[env.NAME...]` over the file: a table with `type` replaces a component and keeps its `inputs`, one without changes single keys.",
        "type": "object",
        "additionalProperties": environment,
    }));
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("title".to_owned(), "Forebay pipeline".into());
    schema.extend(into_object(object("A pipeline: sources, transforms and sinks.", outer)));
    schema.insert("definitions".to_owned(), json!({ "reference": reference_schema() }));
    Json::Object(schema)
}

/// Whether a table stands for itself, or over another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Whole,
    Overlay,
}

fn sections(registry: &Registry, presence: Presence) -> Map<String, Json> {
    let mut sections = into_object(with_references(&schema_of::<FileKeys>())["properties"].take());
    for kind in Kind::ALL {
        let node = node(registry, kind, presence);
        let description = match kind {
            Kind::Source => "Where rows come from.",
            Kind::Transform => "What is done to them.",
            Kind::Sink => "Where they go.",
        };
        let section = json!({
            "description": description,
            "type": "object",
            "propertyNames": { "pattern": "^[a-z][a-z0-9_-]*$" },
            "additionalProperties": node,
        });
        sections.insert(kind.section().to_owned(), section);
    }
    sections
}

/// The table of a node of some kind.
fn node(registry: &Registry, kind: Kind, presence: Presence) -> Json {
    let engine = with_references(&keys::schema(kind));
    let components: Vec<(About<'_>, Json)> =
        registry.of_kind(kind).into_iter().map(|it| (it, with_references(it.schema))).collect();
    let mut union = Map::new();
    union.insert("type".to_owned(), type_schema(kind, &components));
    union.extend(into_object(engine["properties"].clone()));
    for (_, own) in &components {
        for (key, schema) in own["properties"].as_object().into_iter().flatten() {
            let merged = merge(union.get(key), schema);
            union.insert(key.clone(), merged);
        }
    }
    // An overlay without `type` may change any key: which ones there are is up to the node below it.
    let chain = components.iter().rev().fold(json!({}), |rest, (about, own)| {
        let mut properties = Map::new();
        properties.insert("type".to_owned(), true.into());
        let keys = [&engine, own].into_iter().filter_map(|it| it["properties"].as_object()).flatten();
        for (key, schema) in keys {
            // What `properties` says already is not said again.
            let said = union.get(key) == Some(schema);
            properties.insert(key.clone(), if said { true.into() } else { schema.clone() });
        }
        let own_required = shape::required(own);
        let required: Vec<&str> = match presence {
            Presence::Whole => shape::required(&engine).chain(own_required).collect(),
            Presence::Overlay => own_required.collect(),
        };
        json!({
            "if": { "properties": { "type": { "const": about.name } }, "required": ["type"] },
            "then": { "properties": properties, "required": required, "additionalProperties": false },
            "else": rest,
        })
    });
    let mut node = Map::new();
    node.insert("type".to_owned(), "object".into());
    node.insert("properties".to_owned(), Json::Object(union));
    if presence == Presence::Whole {
        node.insert("required".to_owned(), json!(["type"]));
    }
    node.extend(into_object(chain));
    Json::Object(node)
}

/// The names of the components, each with its description.
fn type_schema(kind: Kind, components: &[(About<'_>, Json)]) -> Json {
    let names: Vec<&str> = components.iter().map(|(it, _)| it.name).collect();
    let summaries: Vec<String> = components.iter().map(|(it, _)| it.summary()).collect();
    json!({
        "description": format!("Which {kind} it is."),
        "enum": names,
        "x-taplo": { "docs": { "enumValues": summaries } },
    })
}

/// What several components want of a key of the same name.
fn merge(one: Option<&Json>, other: &Json) -> Json {
    match one {
        None => other.clone(),
        Some(one) if one == other => one.clone(),
        Some(one) => match one["anyOf"].as_array() {
            Some(list) if one.get("description").is_none() && list.contains(other) => one.clone(),
            Some(list) if one.get("description").is_none() => {
                json!({ "anyOf": list.iter().chain([other]).collect::<Vec<_>>() })
            }
            _ => json!({ "anyOf": [one, other] }),
        },
    }
}

/// The same schema, where each scalar may be a reference instead, and without `null`, which TOML does not have.
fn with_references(schema: &Json) -> Json {
    let Json::Object(schema) = without_null(schema) else {
        return schema.clone();
    };
    let whole = Json::Object(schema.clone());
    let is_scalar = ["string", "integer", "number", "boolean"].into_iter().any(|it| shape::takes(&whole, it));
    if is_scalar && !shape::takes(&whole, "object") && !shape::takes(&whole, "array") {
        return scalar_or_reference(schema);
    }
    let mut changed = schema;
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = changed.get_mut(key) {
            *inner = with_references(inner);
        }
    }
    for key in ALTERNATIVES {
        if let Some(Json::Array(list)) = changed.get_mut(key) {
            list.iter_mut().for_each(|it| *it = with_references(it));
        }
    }
    if let Some(Json::Object(properties)) = changed.get_mut("properties") {
        properties.values_mut().for_each(|it| *it = with_references(it));
    }
    Json::Object(changed)
}

const ALTERNATIVES: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// Takes `null` out of the types, the alternatives and the default of one schema.
fn without_null(schema: &Json) -> Json {
    let mut schema = schema.clone();
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    for key in ALTERNATIVES {
        if let Some(Json::Array(list)) = schema.get_mut(key) {
            list.retain(|it| it["type"] != "null");
        }
    }
    let says_nothing = |default: &Json| match default {
        Json::Object(table) => table.values().all(Json::is_null),
        other => other.is_null(),
    };
    if let Json::Object(keys) = &mut schema
        && keys.get("default").is_some_and(says_nothing)
    {
        keys.shift_remove("default");
    }
    schema
}

fn scalar_or_reference(schema: Map<String, Json>) -> Json {
    let annotations = ["title", "description", "default", "examples"];
    let (mut outer, mut inner): (Map<String, Json>, Map<String, Json>) =
        schema.into_iter().partition(|(key, _)| annotations.contains(&key.as_str()));
    let mut alternatives = match inner.shift_remove("anyOf") {
        Some(Json::Array(list)) if inner.is_empty() => list,
        Some(any_of) => {
            inner.insert("anyOf".to_owned(), any_of);
            vec![Json::Object(inner)]
        }
        None => vec![Json::Object(inner)],
    };
    alternatives.push(json!({ "$ref": "#/definitions/reference" }));
    outer.insert("anyOf".to_owned(), Json::Array(alternatives));
    Json::Object(outer)
}

fn reference_schema() -> Json {
    let text = json!({ "type": "string" });
    json!({
        "description": "A value that is looked up when the file is read.",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "env": { "description": "The name of an environment variable.", "type": "string" },
                    "default": {
                        "description": "The value where the variable is not set.",
                        "type": ["string", "number", "boolean"],
                    },
                },
                "required": ["env"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "file": { "description": "The path of a file that holds the value.", "type": text["type"] } },
                "required": ["file"],
                "additionalProperties": false,
            },
        ],
    })
}

fn object(description: &str, properties: Map<String, Json>) -> Json {
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn into_object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        other => panic!("a schema of a table is a table, not {}", toml_text(&other)),
    }
}

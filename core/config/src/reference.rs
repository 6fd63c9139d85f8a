//! Reference pages in Markdown, from the doc comments of the configuration structs.

use serde_json::Value as Json;

use crate::explain::toml_text;
use crate::keys::{self, FileKeys};
use crate::registry::{Kind, Registry, schema_of};
use crate::shape;

/// The reference page of a component, or `None` if there is no such component.
pub fn reference(registry: &Registry, kind: Kind, name: &str) -> Option<String> {
    let about = registry.find(kind, name)?;
    let mut page = format!("# `{name}` {kind}\n\n{}\n", one_level_down(description(about.schema)));
    page.push_str("\n## Keys\n");
    keys_of(about.schema, "", &mut page);
    let engine: Vec<String> = keys::names(kind).iter().map(|it| format!("`{it}`")).collect();
    page.push_str(&format!("\nKeys that every {kind} has: {}.\n", engine.join(", ")));
    // Where the text shows a pipeline, it shows more than one can make up here.
    if !description(about.schema).contains("```toml") {
        page.push_str(&format!("\n## Example\n\n```toml\n{}```\n", example(kind, name, about.schema)));
    }
    Some(page)
}

/// The reference page of the keys that belong to the engine.
pub fn engine_reference() -> String {
    let mut page = "# Keys that every pipeline has\n\n## The file\n".to_owned();
    keys_of(&schema_of::<FileKeys>(), "", &mut page);
    for kind in Kind::ALL {
        page.push_str(&format!("\n## Every {kind}\n\n- `type`: text, required. Which {kind} it is.\n"));
        keys_of(&keys::schema(kind), "", &mut page);
    }
    page
}

fn description(schema: &Json) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// The headings of a doc comment below that of the page; comments of examples stay.
fn one_level_down(text: &str) -> String {
    let mut in_example = false;
    let line = |line: &str| {
        in_example ^= line.starts_with("```");
        if line.starts_with('#') && !in_example { format!("#{line}") } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A list of the keys of a table, and of those of its inner tables.
fn keys_of(schema: &Json, prefix: &str, page: &mut String) {
    let required: Vec<&str> = shape::required(schema).collect();
    let properties: Vec<(&String, &Json)> = schema["properties"].as_object().into_iter().flatten().collect();
    if properties.is_empty() {
        page.push_str("\nNone.\n");
    }
    for (key, property) in properties {
        let need = match property.get("default").filter(|it| !it.is_null()) {
            Some(table) if table.is_object() => ", optional".to_owned(),
            Some(default) => format!(", default `{}`", toml_text(default)),
            None if required.contains(&key.as_str()) => ", required".to_owned(),
            None => ", optional".to_owned(),
        };
        page.push_str(&format!("\n- `{prefix}{key}`: {}{need}.\n", type_in_words(property)));
        for line in description(property).lines() {
            page.push_str(if line.is_empty() { "" } else { "  " });
            page.push_str(line);
            page.push('\n');
        }
        for (value, meaning) in allowed_values(property) {
            page.push_str(&format!("  - `{}`{meaning}\n", toml_text(value)));
        }
        if let Some(example) = property["examples"].get(0) {
            page.push_str(&format!("  Example: `{key} = {}`\n", toml_text(example)));
        }
        if let Some(table) = inner_table(property) {
            keys_of(table, &format!("{prefix}{key}."), page);
        }
    }
}

fn inner_table(schema: &Json) -> Option<&Json> {
    let is_table = schema["properties"].is_object();
    if is_table { Some(schema) } else { shape::branches(schema).find_map(inner_table) }
}

/// What may stand in a key, in words.
fn type_in_words(schema: &Json) -> String {
    if shape::is_secret(schema) {
        return "text (a secret)".to_owned();
    }
    if !allowed_values(schema).is_empty() {
        return "one of the values below".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let pairs = [("string", "text"), ("integer", "whole number"), ("number", "number"), ("boolean", "boolean")];
    words.extend(pairs.into_iter().filter(|(it, _)| shape::takes(schema, it)).map(|(_, it)| it.to_owned()));
    if shape::takes(schema, "array") {
        let of = shape::element(schema).map(type_in_words);
        words.push(of.map_or_else(|| "list".to_owned(), |it| format!("list of {it}")));
    }
    if shape::takes(schema, "object") {
        let of = schema["additionalProperties"].as_object().map(|it| type_in_words(&Json::Object(it.clone())));
        words.push(of.map_or_else(|| "table".to_owned(), |it| format!("table of {it}")));
    }
    if words.is_empty() { "any value".to_owned() } else { words.join(" or ") }
}

/// The values that an enumeration allows, with what they mean.
fn allowed_values(schema: &Json) -> Vec<(&Json, String)> {
    let listed = schema["enum"].as_array().into_iter().flatten().filter(|it| !it.is_null());
    let mut values: Vec<(&Json, String)> = listed.map(|it| (it, String::new())).collect();
    if let Some(value) = schema.get("const") {
        let meaning = shape::summary(schema).map_or_else(String::new, |it| format!(": {it}"));
        values.push((value, meaning));
    }
    values.extend(shape::branches(schema).flat_map(allowed_values));
    values
}

/// A table with everything that is required, from the examples.
fn example(kind: Kind, name: &str, schema: &Json) -> String {
    let mut text = format!("[{}.NAME]\ntype = \"{name}\"\n", kind.section());
    if kind != Kind::Source {
        text.push_str("inputs = [\"INPUT\"]\n");
    }
    text + &example_keys(schema)
}

/// An example of each key that must be there.
pub(crate) fn example_keys(schema: &Json) -> String {
    let line = |key| format!("{key} = {}\n", toml_text(&example_value(&schema["properties"][key])));
    shape::required(schema).map(line).collect()
}

/// The example of a key: that of its schema, or the first value in its description, or anything that fits.
fn example_value(schema: &Json) -> Json {
    let listed = schema["examples"].get(0).or_else(|| allowed_values(schema).first().map(|it| it.0));
    if let Some(example) = listed {
        return example.clone();
    }
    let code = description(schema).split('`').skip(1).step_by(2);
    let fits = |it: &Json| shape::takes(schema, json_type(it));
    if let Some(quoted) = code.filter_map(json_from_toml).find(fits) {
        return quoted;
    }
    let text = shape::stand_in(schema);
    if shape::takes(schema, "string") { text.into() } else { serde_json::from_str(&text).unwrap_or(text.into()) }
}

fn json_from_toml(value: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("value = {value}")).ok()?;
    serde_json::to_value(&table["value"]).ok()
}

fn json_type(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

//! Questions to a JSON Schema about one place in a table.

use serde_json::Value;

/// The schema of the value of `key` in a table of this schema.
pub(crate) fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    if let Some(property) = schema["properties"].get(key) {
        return Some(property);
    }
    if let Some(rest @ Value::Object(_)) = schema.get("additionalProperties") {
        return Some(rest);
    }
    branches(schema).find_map(|it| property(it, key))
}

/// The schema of the elements of a list of this schema.
pub(crate) fn element(schema: &Value) -> Option<&Value> {
    schema.get("items").or_else(|| branches(schema).find_map(element))
}

/// Whether a value of this JSON type fits: `object`, `string`, ...
pub(crate) fn takes(schema: &Value, json_type: &str) -> bool {
    let fits = |it: &Value| it.as_str() == Some(json_type);
    let named = match &schema["type"] {
        Value::Array(types) => types.iter().any(fits),
        one => fits(one),
    };
    let spelled = schema["enum"].as_array().into_iter().flatten().any(|it| it.is_string() && json_type == "string");
    named || spelled || branches(schema).any(|it| takes(it, json_type))
}

/// Whether the value is one that no message may quote.
pub(crate) fn is_secret(schema: &Value) -> bool {
    schema["writeOnly"] == true || branches(schema).any(is_secret)
}

/// Some text that is likely to fit, in the place of a value that is not to be had.
pub(crate) fn stand_in(schema: &Value) -> String {
    let text = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let given = [&schema["const"], &schema["enum"][0], &schema["examples"][0], &schema["default"]];
    if let Some(given) = given.into_iter().find(|it| !it.is_null()) {
        return text(given);
    }
    if takes(schema, "string") {
        return branches(schema).next().map_or_else(|| "stand-in".to_owned(), stand_in);
    }
    let number = takes(schema, "integer") || takes(schema, "number");
    if number { "1".to_owned() } else { "false".to_owned() }
}

/// The first paragraph of what the schema says about the value, on one line.
pub(crate) fn summary(schema: &Value) -> Option<String> {
    let description = schema["description"].as_str()?;
    let paragraph = description.split("\n\n").next().unwrap_or_default();
    Some(paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Names in a list of strings: `required`.
pub(crate) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The alternatives of which a value may be one.
pub(crate) fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|it| schema[it].as_array()).flatten()
}

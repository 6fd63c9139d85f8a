//! What stands in the file.

use expect_test::expect;
use forebay_api::Wrong;

use super::*;

/// Scenario: values that cannot be meant, and keys that say nothing next to each other.
/// Guarantees: they are found before anything is opened, with the key and what would have worked.
#[test]
fn wrong() {
    let cases = [
        json!({ "paths": ["beacon"] }),
        json!({ "paths": ["/b c"] }),
        json!({ "paths": ["/health"] }),
        json!({ "paths": ["/b"], "pixels": ["/b"] }),
        json!({ "paths": [], "pixels": [] }),
        json!({ "origins": [] }),
        json!({ "client_address": ["forwarded"] }),
        json!({ "client_address": [], "trusted_proxies": ["10.0.0.0/8"] }),
        json!({ "spool": { "directory": "x", "bytes_max": "1MiB" } }),
        json!({ "limits": { "decoded_bytes_max": "64MiB" } }),
        json!({ "limits": { "bodies_bytes_max": "1MiB" } }),
        json!({ "limits": { "body_timeout": "0s" } }),
        json!({ "fields": ["url.ful"] }),
        json!({ "fields": ["shop.cart"] }),
        json!({ "fields": ["client.geo.location"] }),
        json!({ "fields": ["url.full", "url.full"] }),
        json!({ "columns": { "url.full": "text" } }),
        json!({ "columns": { "labels": "text" } }),
        json!({ "columns": { "shop": "text", "shop.cart": "u16" } }),
        json!({ "privacy": { "remove": ["event"] } }),
    ];
    let mut found = String::new();
    for case in cases {
        let error = beacon(case).schema().unwrap_err();
        let Wrong { key, what, label, hint } = error.downcast_ref::<Wrong>().unwrap();
        let more: Vec<&str> = label.iter().chain(hint).map(String::as_str).collect();
        found += &format!("{key}: {what} ({})\n", more.join("; "));
    }
    expect![[r#"
        paths: `beacon` is not a path (write it as "/beacon")
        paths: `/b c` is not a path (write it as "/beacon")
        paths: the path `/health` is taken already ()
        pixels: the path `/b` is taken already ()
        paths: there is no path to send to ()
        origins: `origins` is empty, so no page may send (name the origins of your pages, or leave `origins` away)
        client_address: `client_address` means nothing without `trusted_proxies` (anyone can send these headers: name the networks of the proxies that may)
        client_address: `client_address` names no header ()
        spool.bytes_max: `bytes_max` must be at least 64MiB, 16 times `limits.decoded_bytes_max` ()
        limits.decoded_bytes_max: `decoded_bytes_max` must be between 1B and 32MiB ()
        limits.bodies_bytes_max: `bodies_bytes_max` must be between 8256KiB, what one body and its copy take, and 1TiB ()
        limits.body_timeout: `body_timeout` must be longer than nothing ()
        fields: ECS 9.4.0 has no field `url.ful` (did you mean `url.full`?; a column of your own needs a type: `columns = { "url.ful" = "text" }`)
        fields: ECS 9.4.0 has no field `shop.cart` (a column of your own needs a type: `columns = { "shop.cart" = "text" }`)
        fields: field `client.geo.location` cannot be a column (it is an object or a point: name the fields below it; `labels` is there without being named)
        fields: field `url.full` is named twice ()
        columns.url.full: ECS itself has a field `url.full` (name it in `fields`, and it is a column of the type that ECS gives it)
        columns.labels: `labels` is the column of what has no column ()
        columns.shop.cart: `shop.cart` lies within `shop`, which is a column itself (an object is one column, as JSON text, or a column for each of its keys)
        privacy.remove: `event` cannot be removed (`@timestamp`, `event.id` and `event.ingested` are always there)
    "#]].assert_eq(&found);
}

/// Scenario: the smallest table that there can be.
/// Guarantees: it is enough, its columns are those of web pages, and it says which port and directory it takes.
#[test]
fn smallest() {
    let beacon: Beacon =
        serde_json::from_value(json!({ "listen": "0.0.0.0:8080", "spool": { "directory": "spool" } })).unwrap();
    let schema = beacon.schema().unwrap();
    assert_eq!((schema.fields().len(), schema.field(0).name().as_str()), (60, "@timestamp"));
    assert_eq!(schema.fields().last().unwrap().name(), "labels");
    let resources: Vec<String> = beacon.resources().iter().map(ToString::to_string).collect();
    assert_eq!(resources, ["port 0.0.0.0:8080", "directory spool"]);
}

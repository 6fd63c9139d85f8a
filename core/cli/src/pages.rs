//! `forebay components` and `forebay schema`: what is generated from the components.

use std::process::ExitCode;

use forebay_config::{Kind, Registry};
use serde_json::{Value as Json, json};

use crate::arguments::Components;
use crate::check::promise;
use crate::ddl::unknown;
use crate::terminal::{self, Failure};

/// The name of the page about the keys that every pipeline has.
const PIPELINE: &str = "pipeline";

/// Prints the list of components, or the page of one.
pub fn components(registry: &Registry, arguments: &Components) -> Result<ExitCode, Failure> {
    let text = match &arguments.name {
        Some(name) => page(registry, name)?,
        None if arguments.json => format!("{:#}\n", list_as_json(registry)),
        None => list(registry),
    };
    terminal::out(&text);
    Ok(ExitCode::SUCCESS)
}

/// Prints the JSON Schema of the file.
pub fn schema(registry: &Registry) -> Result<ExitCode, Failure> {
    terminal::out(&format!("{:#}\n", forebay_config::schema(registry)));
    Ok(ExitCode::SUCCESS)
}

fn page(registry: &Registry, name: &str) -> Result<String, Failure> {
    if name == PIPELINE {
        return Ok(forebay_config::engine_reference());
    }
    // A source and a sink may have one name.
    let pages: Vec<String> =
        Kind::ALL.into_iter().filter_map(|it| forebay_config::reference(registry, it, name)).collect();
    if pages.is_empty() {
        let names: Vec<&str> = registry.components().map(|it| it.name).chain([PIPELINE]).collect();
        return Err(unknown("component", name, &names));
    }
    Ok(pages.join("\n"))
}

fn list(registry: &Registry) -> String {
    let width = registry.components().map(|it| it.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for kind in Kind::ALL {
        text.push_str(&format!("{}\n", kind.section()));
        for about in registry.of_kind(kind) {
            let promise = registry.promise(about.name).filter(|_| kind == Kind::Sink).map(promise);
            let promise = promise.map_or_else(String::new, |it| format!(" ({it})"));
            text.push_str(&format!("  {:width$}  {}{promise}\n", about.name, about.summary()));
        }
        text.push('\n');
    }
    text + "`forebay components NAME` prints the page of one, `forebay components pipeline` the keys that all have.\n"
}

fn list_as_json(registry: &Registry) -> Json {
    let component = |it: forebay_config::About<'_>| {
        let promise = registry.promise(it.name).filter(|_| it.kind == Kind::Sink);
        json!({
            "kind": it.kind.word(),
            "type": it.name,
            "summary": it.summary(),
            "promise": promise,
            "schema": it.schema,
        })
    };
    registry.components().map(component).collect()
}

//! `forebay check`: every problem, or on one screen what the pipeline would do.

use std::path::Path;
use std::process::ExitCode;

use forebay_api::plan::{Input, OnRefused};
use forebay_api::{Plan, Promise};
use forebay_config::{Checked, Problem, Registry};
use serde_json::{Value as Json, json};

use crate::arguments::Check;
use crate::file;
use crate::terminal::{self, FILE, Failure};

/// Checks the file as it is, in one environment, or in all.
pub fn check(registry: &Registry, environment: Option<&str>, arguments: &Check) -> Result<ExitCode, Failure> {
    let text = file::read(&arguments.file)?;
    let all = forebay_config::environments(&text);
    let environments: Vec<Option<&str>> = if arguments.all_envs {
        std::iter::once(None).chain(all.iter().map(|it| Some(it.as_str()))).collect()
    } else {
        vec![environment]
    };
    let mut reported: Vec<Problem> = Vec::new();
    let mut results = Vec::new();
    for &environment in &environments {
        match file::plan(registry, &arguments.file, &text, environment) {
            Ok(checked) if arguments.json => results.push(to_json(environment, &checked)),
            Ok(checked) => {
                let between = if environment != environments[0] { "\n" } else { "" };
                terminal::out(&format!(
                    "{between}{}",
                    to_text(&arguments.file, environment, &checked, arguments.explain)
                ));
            }
            Err(problems) => {
                let here = problems.list().to_vec();
                if arguments.json {
                    let problems = problems.json();
                    results.push(json!({ "environment": environment, "good": false, "problems": problems }));
                } else if let Some(new) = problems.without(&reported) {
                    // What is wrong in the file as it is, is wrong in most environments too.
                    terminal::err(&new.render(terminal::color()));
                }
                reported.extend(here);
            }
        }
    }
    if arguments.json {
        terminal::out(&format!("{:#}\n", json!({ "file": arguments.file, "plans": results })));
    }
    Ok(if reported.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FILE) })
}

/// One node, as a line of a table.
struct Line {
    kind: &'static str,
    name: String,
    component: String,
    what: String,
}

pub(crate) fn to_text(path: &Path, environment: Option<&str>, checked: &Checked, explain: bool) -> String {
    let within = environment.map_or_else(String::new, |it| format!(" in environment `{it}`"));
    let mut text = format!("{} is good{within}\n\n", path.display());
    match checked.plan() {
        Some(plan) => {
            describe(plan, &mut text);
            if explain {
                explain_nodes(plan, &mut text);
            }
        }
        None => text.push_str("what it does cannot be said without the values that are missing\n"),
    }
    if !checked.notes().is_empty() {
        text.push('\n');
    }
    for note in checked.notes() {
        text.push_str(&format!("note: {}\n", file::place(path, note)));
    }
    text
}

fn describe(plan: &Plan, text: &mut String) {
    let lines = lines(plan);
    let width = |of: fn(&Line) -> &str| lines.iter().map(|it| of(it).chars().count()).max().unwrap_or_default();
    let (names, components) = (width(|it| &it.name), width(|it| &it.component));
    for Line { kind, name, component, what } in &lines {
        text.push_str(&format!("  {kind:9}  {name:names$}  {component:components$}  {what}\n"));
    }
    text.push_str(&format!("\n  state         {}\n", plan.state.display()));
    if let Some(letters) = &plan.dead_letters {
        text.push_str(&format!("  dead letters  {}\n", letters.at()));
    }
}

fn lines(plan: &Plan) -> Vec<Line> {
    let columns = |n: usize| if n == 1 { "1 column".to_owned() } else { format!("{n} columns") };
    let from = |inputs: &[Input]| inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let stops = |it: OnRefused| if it == OnRefused::Stop { "; stops at a refused row" } else { "" };
    let sources = plan.sources.iter().map(|it| Line {
        kind: "source",
        name: it.name.clone(),
        component: it.kind.clone(),
        what: format!("-> {}{}", columns(it.schema.fields().len()), stops(it.on_refused)),
    });
    let transforms = plan.transforms.iter().map(|it| Line {
        kind: "transform",
        name: it.name.clone(),
        component: it.kind.clone(),
        what: format!("{} -> {}{}", from(&it.inputs), columns(it.output.fields().len()), stops(it.on_refused)),
    });
    let sinks = plan.sinks.iter().map(|it| Line {
        kind: "sink",
        name: it.name.clone(),
        component: it.kind.clone(),
        what: format!(
            "{} <- {}, {}{}",
            columns(it.input.fields().len()),
            from(&it.inputs),
            promise(it.config.promise()),
            stops(it.on_refused)
        ),
    });
    sources.chain(transforms).chain(sinks).collect()
}

/// Each node with its columns, and how it does its work.
fn explain_nodes(plan: &Plan, text: &mut String) {
    let sources = plan.sources.iter().map(|it| (&it.name, "gives", &it.schema, Vec::new()));
    let transforms = plan.transforms.iter().map(|it| (&it.name, "gives", &it.output, it.config.explain()));
    let sinks = plan.sinks.iter().map(|it| (&it.name, "gets", &it.input, Vec::new()));
    for (name, verb, schema, how) in sources.chain(transforms).chain(sinks) {
        text.push_str(&format!("\n{name}\n"));
        how.iter().for_each(|it| text.push_str(&format!("  {it}\n")));
        let width = schema.fields().iter().map(|it| it.name().chars().count()).max().unwrap_or_default();
        for (nth, field) in schema.fields().iter().enumerate() {
            let lead = if nth == 0 { verb } else { "" };
            let null = if field.is_nullable() { "" } else { ", never null" };
            text.push_str(&format!("  {lead:5}  {:width$}  {}{null}\n", field.name(), field.data_type()));
        }
    }
}

/// What a sink promises, in words.
pub fn promise(promise: Promise) -> &'static str {
    match promise {
        Promise::AtLeastOnce => "at least once",
        Promise::OncePerId => "exactly once",
    }
}

fn to_json(environment: Option<&str>, checked: &Checked) -> Json {
    let notes: Vec<Json> =
        checked.notes().iter().map(|it| json!({ "line": it.line, "column": it.column, "text": it.text })).collect();
    json!({
        "environment": environment,
        "good": true,
        "notes": notes,
        "plan": checked.plan().map(plan_to_json),
    })
}

fn plan_to_json(plan: &Plan) -> Json {
    let columns = |schema: &arrow_schema::Schema| -> Json {
        let column = |it: &std::sync::Arc<arrow_schema::Field>| json!({ "name": it.name(), "type": it.data_type().to_string(), "nullable": it.is_nullable() });
        schema.fields().iter().map(column).collect()
    };
    let inputs = |inputs: &[Input]| -> Json { inputs.iter().map(ToString::to_string).collect() };
    let refused = |it: OnRefused| if it == OnRefused::Stop { "stop" } else { "dead_letters" };
    let sources = plan.sources.iter().map(|it| {
        json!({
            "name": it.name,
            "type": it.kind,
            "columns": columns(&it.schema),
            "on_refused": refused(it.on_refused),
        })
    });
    let transforms = plan.transforms.iter().map(|it| {
        json!({
            "name": it.name,
            "type": it.kind,
            "inputs": inputs(&it.inputs),
            "columns": columns(&it.output),
            "on_refused": refused(it.on_refused),
        })
    });
    let sinks = plan.sinks.iter().map(|it| {
        json!({
            "name": it.name,
            "type": it.kind,
            "inputs": inputs(&it.inputs),
            "columns": columns(&it.input),
            "promise": it.config.promise(),
            "batch": {
                "rows_max": it.batch.rows_max, "bytes_max": it.batch.bytes_max,
                "age_max": it.batch.age_max, "interval_min": it.batch.interval_min,
            },
            "retry": {
                "wait_min": it.retry.wait_min, "wait_max": it.retry.wait_max,
                "tries_max": it.retry.tries_max, "age_max": it.retry.age_max,
            },
            "in_flight_max": it.in_flight_max,
            "on_refused": refused(it.on_refused),
            "fingerprint": it.fingerprint,
        })
    });
    json!({
        "name": plan.name,
        "state": plan.state,
        "dead_letters": plan.dead_letters.as_ref().map(|it| it.at()),
        "drain_max": plan.drain_max,
        "sources": sources.collect::<Json>(),
        "transforms": transforms.collect::<Json>(),
        "sinks": sinks.collect::<Json>(),
    })
}

//! The part of a pipeline that rows go through from the node on that refused them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use forebay_api::plan::{Input, OnRefused, PlannedSource, Port};
use forebay_api::{Plan, SourceConfig};

/// What a letter's payload is a row of, if it can be taken up again in this pipeline: the source's row if the source or a
/// transform has refused it, else what the sink got. An error says what is missing.
pub fn schema_of(plan: &Plan, source: &str, component: &str) -> Result<SchemaRef, String> {
    if let Some(sink) = plan.sinks.iter().find(|it| it.name == component) {
        return Ok(sink.input.clone());
    }
    if component != source && !plan.transforms.iter().any(|it| it.name == component) {
        return Err(format!("the file has no node `{component}`"));
    }
    let source = plan.sources.iter().find(|it| it.name == source);
    source.map(|it| it.schema.clone()).ok_or_else(|| "the file does not have its source any more".to_owned())
}

/// The plan in which rows of `source`, read by `letters`, go the ways that lead through `component`, and no others.
pub fn from_node(
    plan: &Plan,
    source: &str,
    component: &str,
    letters: Arc<dyn SourceConfig>,
    schema: SchemaRef,
) -> Plan {
    let rows_of = |node: &str| Input { node: node.to_owned(), port: Port::Rows };
    let mut part = Plan {
        name: plan.name.clone(),
        version: plan.version.clone(),
        sources: vec![PlannedSource {
            name: source.to_owned(),
            kind: "dead_letters".to_owned(),
            config: letters,
            schema,
            on_refused: OnRefused::DeadLetters,
        }],
        transforms: plan.transforms.clone(),
        sinks: plan.sinks.clone(),
        dead_letters: plan.dead_letters.clone(),
        state: plan.state.clone(),
        drain_max: plan.drain_max,
    };
    if part.sinks.iter().any(|it| it.name == component) {
        part.transforms.clear();
        part.sinks.retain(|it| it.name == component);
        part.sinks.iter_mut().for_each(|it| it.inputs = vec![rows_of(source)]);
        return part;
    }
    // Transforms stand behind their inputs: once through is enough in either direction.
    let mut before = BTreeSet::from([component.to_owned()]);
    for transform in plan.transforms.iter().rev().filter(|it| it.name != source) {
        if before.contains(&transform.name) {
            before.extend(transform.inputs.iter().filter(|it| it.port == Port::Rows).map(|it| it.node.clone()));
        }
    }
    let mut behind = BTreeSet::from([component.to_owned()]);
    for transform in &plan.transforms {
        if transform.inputs.iter().any(|it| behind.contains(&it.node)) {
            behind.insert(transform.name.clone());
        }
    }
    part.transforms.retain(|it| before.contains(&it.name) || behind.contains(&it.name));
    let kept: BTreeSet<String> = part.transforms.iter().map(|it| it.name.clone()).chain([source.to_owned()]).collect();
    for transform in &mut part.transforms {
        let leads_there = before.contains(&transform.name);
        let fits = |it: &Input| match leads_there {
            true => it.port == Port::Rows && kept.contains(&it.node) && before.contains(&it.node),
            false => behind.contains(&it.node),
        };
        transform.inputs.retain(fits);
    }
    for sink in &mut part.sinks {
        sink.inputs.retain(|it| behind.contains(&it.node));
    }
    part.transforms.retain(|it| !it.inputs.is_empty());
    part.sinks.retain(|it| !it.inputs.is_empty());
    part
}

//! The part of a pipeline that rows go through from the node on that refused them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use forebay_api::plan::{Input, OnRefused, PlannedSource, Port};
use forebay_api::{Plan, SourceConfig};

/// What a letter's payload is a row of, if it can be taken up again in this pipeline: the source's row if a transform has
/// refused it, else what the sink got. An error says why it cannot.
pub fn schema_of(plan: &Plan, source: &str, component: &str) -> Result<SchemaRef, String> {
    if component == source {
        // It is no row: the name of an object, a message, the beginning of a line that has no end.
        return Err("refused by its source: nothing of the graph has seen it".into());
    }
    if let Some(sink) = plan.sinks.iter().find(|it| it.name == component) {
        return Ok(sink.input.clone());
    }
    if !plan.transforms.iter().any(|it| it.name == component) {
        return Err(format!("the file has no node `{component}`"));
    }
    let Some(planned) = plan.sources.iter().find(|it| it.name == source) else {
        return Err("the file does not have its source any more".to_owned());
    };
    let ways = between(plan, source, component);
    if ways.is_empty() {
        return Err(format!("rows of its source do not reach `{component}` any more"));
    }
    // What a node refuses depends on all that was changed since: the row may not come this way again.
    let by_refusal = |it: &&Input| it.port == Port::Refused && (it.node == source || ways.contains(&it.node));
    let on_the_way = plan.transforms.iter().filter(|it| ways.contains(&it.name));
    if let Some(input) = on_the_way.flat_map(|it| &it.inputs).find(by_refusal) {
        return Err(format!("rows come to `{component}` by way of `{input}`"));
    }
    Ok(planned.schema.clone())
}

/// The transforms on the ways from a source to a transform, that one included. None if there is no way.
fn between(plan: &Plan, source: &str, component: &str) -> BTreeSet<String> {
    // Transforms stand behind their inputs: once through is enough in either direction.
    let mut reached = BTreeSet::from([source.to_owned()]);
    for transform in &plan.transforms {
        if transform.inputs.iter().any(|it| reached.contains(&it.node)) {
            reached.insert(transform.name.clone());
        }
    }
    let mut before = BTreeSet::from([component.to_owned()]);
    for transform in plan.transforms.iter().rev() {
        if before.contains(&transform.name) {
            before.extend(transform.inputs.iter().map(|it| it.node.clone()));
        }
    }
    reached.remove(source);
    reached.intersection(&before).cloned().collect()
}

/// The plan in which rows of `source`, read by `letters`, go the ways that lead through `component`, and no others. It is
/// for letters that [`schema_of`] knows.
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
            // Letters that were collected do not change.
            fingerprint: String::new(),
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
    let ways = between(plan, source, component);
    let mut behind = BTreeSet::from([component.to_owned()]);
    for transform in &plan.transforms {
        if transform.inputs.iter().any(|it| behind.contains(&it.node)) {
            behind.insert(transform.name.clone());
        }
    }
    part.transforms.retain(|it| ways.contains(&it.name) || behind.contains(&it.name));
    for transform in &mut part.transforms {
        let leads_there = ways.contains(&transform.name);
        let fits = |it: &Input| match leads_there {
            true => it.node == source || ways.contains(&it.node),
            false => behind.contains(&it.node),
        };
        transform.inputs.retain(fits);
    }
    for sink in &mut part.sinks {
        sink.inputs.retain(|it| behind.contains(&it.node));
    }
    part.sinks.retain(|it| !it.inputs.is_empty());
    part
}

//! The way of one source's rows to the sinks, as the plan has it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::Plan;
use forebay_api::plan::{Input, PlannedSource, Port};

/// Which transforms and sinks the rows of a source can reach.
pub(crate) struct Route {
    pub source: Arc<str>,
    /// What becomes of what the source refuses.
    pub on_refused: Refusals,
    /// The transforms on the way, inputs before outputs.
    pub steps: Vec<Step>,
    /// For each sink that can get rows from this source, where they come from.
    pub sinks: BTreeMap<usize, Vec<Input>>,
}

/// A transform on the way.
pub(crate) struct Step {
    pub name: String,
    /// Its number in the plan.
    pub transform: usize,
    pub inputs: Vec<Input>,
    pub on_refused: Refusals,
    /// The sinks that get something from here.
    pub feeds: BTreeSet<usize>,
}

/// What becomes of what a node refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusals {
    Kept,
    Stop,
}

impl Route {
    /// Lays out the way of `source`. `letters` has the numbers of the sinks that keep the dead letters, by node.
    pub fn new(plan: &Plan, source: &PlannedSource, letters: &BTreeMap<String, usize>) -> Self {
        let mut letter_inputs = BTreeMap::new();
        let mut refusals = |name: &str| {
            let kept = letters.get(name).map(|it| (*it, vec![Input { node: name.into(), port: Port::Refused }]));
            letter_inputs.extend(kept);
            if letters.contains_key(name) || is_refused_port_read(plan, name) { Refusals::Kept } else { Refusals::Stop }
        };

        let on_refused = refusals(&source.name);
        let mut reached = BTreeSet::from([source.name.clone()]);
        let mut steps = Vec::new();
        for (transform, planned) in plan.transforms.iter().enumerate() {
            let inputs = reached_inputs(&planned.inputs, &reached);
            if inputs.is_empty() {
                continue;
            }
            reached.insert(planned.name.clone());
            let (name, on_refused) = (planned.name.clone(), refusals(&planned.name));
            steps.push(Step { name, transform, inputs, on_refused, feeds: BTreeSet::new() });
        }
        let planned = plan.sinks.iter().enumerate();
        let mut sinks: BTreeMap<usize, Vec<Input>> =
            planned.map(|(index, it)| (index, reached_inputs(&it.inputs, &reached))).collect();
        sinks.extend(letter_inputs);
        sinks.retain(|_, inputs| !inputs.is_empty());
        mark_feeds(&mut steps, &sinks);
        Self { source: source.name.as_str().into(), on_refused, steps, sinks }
    }

    /// The sinks that get something from a node of this way, its dead letters included.
    pub fn fed_by(&self, node: &str) -> BTreeSet<usize> {
        match self.steps.iter().find(|it| it.name == node) {
            Some(step) => step.feeds.clone(),
            None => self.sinks(),
        }
    }

    /// The sinks that can get rows from this source.
    pub fn sinks(&self) -> BTreeSet<usize> {
        self.sinks.keys().copied().collect()
    }
}

/// Whether some node reads what `node` refuses.
pub(crate) fn is_refused_port_read(plan: &Plan, node: &str) -> bool {
    let port = Input { node: node.into(), port: Port::Refused };
    plan.transforms.iter().any(|it| it.inputs.contains(&port)) || plan.sinks.iter().any(|it| it.inputs.contains(&port))
}

/// The inputs that rows of one source can come by, in an order of their own: that of the file may be changed without
/// changing what a delivery is.
fn reached_inputs(inputs: &[Input], reached: &BTreeSet<String>) -> Vec<Input> {
    let inputs: BTreeSet<&Input> = inputs.iter().filter(|it| reached.contains(&it.node)).collect();
    inputs.into_iter().cloned().collect()
}

/// Notes for each step which sinks get something from it, last steps first.
fn mark_feeds(steps: &mut [Step], sinks: &BTreeMap<usize, Vec<Input>>) {
    for index in (0..steps.len()).rev() {
        let (before, after) = steps.split_at_mut(index + 1);
        let step = &mut before[index];
        let reads = |inputs: &[Input]| inputs.iter().any(|it| it.node == step.name);
        let direct = sinks.iter().filter(|(_, inputs)| reads(inputs)).map(|(sink, _)| *sink);
        let through = after.iter().filter(|it| reads(&it.inputs)).flat_map(|it| it.feeds.iter().copied());
        step.feeds = direct.chain(through).collect();
    }
}

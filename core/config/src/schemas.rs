//! Carries Arrow schemas from the sources to the sinks.

use arrow_schema::{Schema, SchemaRef};
use forebay_api::plan::{Port, letter_schema};
use forebay_api::{BoxError, Wrong, causes};

use crate::graph::{Edge, Graph};
use crate::node::{Node, NodeConfig};
use crate::problem::Problem;
use crate::read;

/// The columns at a node.
#[derive(Clone)]
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    /// Whether no stand-in for a missing value had a part in them.
    pub(crate) certain: bool,
}

/// What goes into each node and comes out of it, as far as it is known.
pub(crate) struct Flow {
    pub(crate) into: Vec<Option<Columns>>,
    pub(crate) out: Vec<Option<Columns>>,
}

/// Plans every component against the columns that it will see.
pub(crate) fn propagate(nodes: &[Node<'_>], graph: &Graph, problems: &mut Vec<Problem>) -> Flow {
    let mut flow = Flow { into: vec![None; nodes.len()], out: vec![None; nodes.len()] };
    for &index in &graph.order {
        let node = &nodes[index];
        let into = join(&graph.inputs[index], nodes, &flow, problems);
        let Some(config) = &node.config else {
            flow.into[index] = into;
            continue;
        };
        let certain = node.certain && into.as_ref().is_none_or(|it| it.certain);
        let planned = match (config, &into) {
            (NodeConfig::Source(source), _) => source.schema().map(Some),
            (NodeConfig::Transform(transform), Some(into)) => {
                transform.build().and_then(|mut it| it.plan(&into.schema)).map(Some)
            }
            (NodeConfig::Sink(sink), Some(into)) => sink.plan(&into.schema).map(|()| None),
            (_, None) => Ok(None),
        };
        flow.out[index] = match planned {
            Ok(schema) => schema.map(|schema| Columns { schema, certain }),
            Err(error) => {
                let input_certain = into.as_ref().is_none_or(|it| it.certain);
                problems.extend(explain(node, input_certain, error));
                None
            }
        };
        flow.into[index] = into;
    }
    flow
}

/// The one schema of several inputs.
fn join(edges: &[Edge], nodes: &[Node<'_>], flow: &Flow, problems: &mut Vec<Problem>) -> Option<Columns> {
    let of = |edge: &Edge| match edge.port {
        Port::Rows => flow.out[edge.from].clone(),
        Port::Refused => Some(Columns { schema: letter_schema(), certain: true }),
    };
    let (first, others) = edges.split_first()?;
    let mut joined = of(first)?;
    for edge in others {
        let columns = of(edge)?;
        joined.certain &= columns.certain;
        let (one, other) = (first.input(nodes), edge.input(nodes));
        if let Some(difference) = difference(&joined.schema, &columns.schema) {
            if joined.certain {
                let title = format!("`{one}` and `{other}` do not have the same columns");
                let problem = Problem::new(edge.span.clone(), title).label(difference.describe(&one, &other));
                problems.push(problem.help("several inputs of one node must have the same columns in the same order"));
            }
            return None;
        }
    }
    Some(joined)
}

/// The first column in which two schemas differ.
enum Difference {
    OnlyFirst(String),
    OnlySecond(String),
    Names(String, String),
    Types(String, String, String),
}

impl Difference {
    fn describe(&self, one: &impl ToString, other: &impl ToString) -> String {
        let (one, other) = (one.to_string(), other.to_string());
        match self {
            Self::OnlyFirst(name) => format!("column `{name}` is only in `{one}`"),
            Self::OnlySecond(name) => format!("column `{name}` is only in `{other}`"),
            Self::Names(first, second) => format!("column `{first}` of `{one}` is `{second}` here"),
            Self::Types(name, first, second) => {
                format!("column `{name}` is {first} in `{one}`, and {second} here")
            }
        }
    }
}

fn difference(one: &Schema, other: &Schema) -> Option<Difference> {
    let describe =
        |it: &arrow_schema::Field| format!("{}{}", it.data_type(), if it.is_nullable() { " or null" } else { "" });
    for (first, second) in one.fields().iter().zip(other.fields()) {
        if first.name() != second.name() {
            return Some(if one.field_with_name(second.name()).is_err() {
                Difference::OnlySecond(second.name().clone())
            } else if other.field_with_name(first.name()).is_err() {
                Difference::OnlyFirst(first.name().clone())
            } else {
                Difference::Names(first.name().clone(), second.name().clone())
            });
        }
        if first.data_type() != second.data_type() || first.is_nullable() != second.is_nullable() {
            return Some(Difference::Types(first.name().clone(), describe(first), describe(second)));
        }
    }
    let (some, rest) = (one.fields().len(), other.fields().len());
    let first_extra = || one.field(rest).name().clone();
    let second_extra = || other.field(some).name().clone();
    match some.cmp(&rest) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Difference::OnlyFirst(first_extra())),
        std::cmp::Ordering::Less => Some(Difference::OnlySecond(second_extra())),
    }
}

/// Points at the key that a component blames, unless a stand-in for a missing value may be the true reason.
fn explain(node: &Node<'_>, input_certain: bool, error: BoxError) -> Option<Problem> {
    if !input_certain {
        return None;
    }
    let Some(wrong) = error.downcast_ref::<Wrong>() else {
        let problem = Problem::new(node.place(), causes(error.as_ref()));
        return node.certain.then_some(problem);
    };
    let place = Some(&wrong.key).filter(|it| !it.is_empty()).and_then(|it| read::place(&node.own, it));
    if place.is_none() && !node.certain {
        return None;
    }
    Some(Problem {
        title: wrong.what.clone(),
        span: place.unwrap_or_else(|| node.place()),
        label: wrong.label.clone(),
        help: wrong.hint.clone(),
    })
}

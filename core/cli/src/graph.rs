//! `forebay graph`: a drawing of the pipeline.

use std::process::ExitCode;

use forebay_api::Plan;
use forebay_api::plan::{Input, Port};
use forebay_config::{Kind, Registry};

use crate::arguments::{Graph, GraphFormat};
use crate::file;
use crate::terminal::{self, Failure};

/// Prints the drawing.
pub fn graph(registry: &Registry, environment: Option<&str>, arguments: &Graph) -> Result<ExitCode, Failure> {
    let checked = file::checked(registry, &arguments.file, environment)?;
    let plan = checked.plan().ok_or_else(|| file::missing(&arguments.file, checked.notes()))?;
    let drawing = match arguments.format {
        GraphFormat::Mermaid => mermaid(plan),
        GraphFormat::Dot => dot(plan),
    };
    terminal::out(&drawing);
    Ok(ExitCode::SUCCESS)
}

/// A node as both languages need it.
struct Node<'p> {
    kind: Kind,
    name: &'p str,
    component: &'p str,
    inputs: &'p [Input],
}

fn nodes(plan: &Plan) -> Vec<Node<'_>> {
    fn node<'p>(kind: Kind, name: &'p str, component: &'p str, inputs: &'p [Input]) -> Node<'p> {
        Node { kind, name, component, inputs }
    }
    let sources = plan.sources.iter().map(|it| node(Kind::Source, &it.name, &it.kind, &[]));
    let transforms = plan.transforms.iter().map(|it| node(Kind::Transform, &it.name, &it.kind, &it.inputs));
    let sinks = plan.sinks.iter().map(|it| node(Kind::Sink, &it.name, &it.kind, &it.inputs));
    sources.chain(transforms).chain(sinks).collect()
}

pub(crate) fn mermaid(plan: &Plan) -> String {
    let nodes = nodes(plan);
    // Names may be words of the language (`end`), numbers may not.
    let id = |name: &str| format!("n{}", nodes.iter().position(|it| it.name == name).unwrap_or_default());
    let mut drawing = "flowchart LR\n".to_owned();
    for Node { kind, name, component, .. } in &nodes {
        let (open, close) = match kind {
            Kind::Source => ("([", "])"),
            Kind::Transform => ("[", "]"),
            Kind::Sink => ("[(", ")]"),
        };
        drawing.push_str(&format!("  {}{open}\"{name}<br/><i>{component}</i>\"{close}\n", id(name)));
    }
    for node in &nodes {
        for input in node.inputs {
            let arrow = if input.port == Port::Refused { "-. refused .->" } else { "-->" };
            drawing.push_str(&format!("  {} {arrow} {}\n", id(&input.node), id(node.name)));
        }
    }
    drawing
}

pub(crate) fn dot(plan: &Plan) -> String {
    let nodes = nodes(plan);
    let mut drawing = "digraph pipeline {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n".to_owned();
    for Node { kind, name, component, .. } in &nodes {
        let shape = match kind {
            Kind::Source => "ellipse",
            Kind::Transform => "box",
            Kind::Sink => "cylinder",
        };
        drawing.push_str(&format!("  \"{name}\" [shape={shape}, label=\"{name}\\n{component}\"];\n"));
    }
    for node in &nodes {
        for input in node.inputs {
            let style = if input.port == Port::Refused { " [style=dashed, label=\"refused\"]" } else { "" };
            drawing.push_str(&format!("  \"{}\" -> \"{}\"{style};\n", input.node, node.name));
        }
    }
    drawing + "}\n"
}

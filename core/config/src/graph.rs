//! Who reads whom.

use std::ops::Range;

use forebay_api::plan::{Input, OnRefused, Port};

use toml::Spanned;

use crate::node::Node;
use crate::problem::Problem;
use crate::registry::Kind;

/// The edges between nodes, by their numbers.
pub(crate) struct Graph {
    /// For each node, what it reads.
    pub(crate) inputs: Vec<Vec<Edge>>,
    /// All nodes, inputs before outputs, but those in a cycle and after one.
    pub(crate) order: Vec<usize>,
}

/// An edge, seen from its reader.
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) port: Port,
    /// Where the reader names it.
    pub(crate) span: Range<usize>,
}

impl Edge {
    pub(crate) fn input(&self, nodes: &[Node<'_>]) -> Input {
        Input { node: nodes[self.from].name.get_ref().clone(), port: self.port }
    }
}

/// Wires the nodes.
pub(crate) fn wire(nodes: &[Node<'_>], problems: &mut Vec<Problem>) -> Graph {
    let before = problems.len();
    let inputs: Vec<Vec<Edge>> = nodes.iter().map(|it| resolve(it, nodes, problems)).collect();
    let all_known = problems.len() == before && nodes.iter().all(|it| it.inputs_known);
    let graph = Graph { order: sort(&inputs), inputs };
    graph.find_cycle(nodes, problems);
    if all_known {
        graph.find_unread(nodes, problems);
    }
    graph
}

const REFUSED: &str = "refused";

fn resolve(node: &Node<'_>, nodes: &[Node<'_>], problems: &mut Vec<Problem>) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    for input in &node.keys.inputs {
        match find(input, node, nodes) {
            Ok((from, port)) if edges.iter().any(|it| it.from == from && it.port == port) => {
                problems.push(Problem::new(input.span(), format!("input `{}` is named twice", input.get_ref())));
            }
            Ok((from, port)) => edges.push(Edge { from, port, span: input.span() }),
            Err(problem) => problems.push(problem),
        }
    }
    if node.inputs_known && node.kind != Kind::Source && node.keys.inputs.is_empty() {
        let place = node.inputs_place.clone().unwrap_or_else(|| node.place());
        let title = format!("{} `{}` has no inputs", node.kind, node.name.get_ref());
        problems.push(Problem::new(place, title).help("name the nodes that its rows come from"));
    }
    edges
}

/// Finds the node and the port that an input names.
fn find(input: &Spanned<String>, reader: &Node<'_>, nodes: &[Node<'_>]) -> Result<(usize, Port), Problem> {
    let problem = |title: String| Problem::new(input.span(), title);
    let input = input.get_ref();
    let (name, port) = input.split_once('.').map_or((input.as_str(), None), |(name, port)| (name, Some(port)));
    let Some(from) = nodes.iter().position(|it| it.name.get_ref() == name) else {
        let readable = nodes.iter().filter(|it| it.kind != Kind::Sink && it.name.get_ref() != reader.name.get_ref());
        let known = readable.map(|it| it.name.get_ref().as_str());
        return Err(problem(format!("input `{name}` does not exist")).known(name, known));
    };
    if nodes[from].kind == Kind::Sink {
        let problem = problem(format!("`{name}` is a sink, and nothing comes out of a sink"));
        let help = "rows that a sink refuses go to the dead letters, or stop the pipeline with `on_refused = \"stop\"`";
        return Err(if port.is_some() { problem.help(help) } else { problem });
    }
    match port {
        None => Ok((from, Port::Rows)),
        Some(REFUSED) => Ok((from, Port::Refused)),
        Some(other) => Err(problem(format!("`{name}` has no port `{other}`"))
            .known(other, [REFUSED])
            .help(format!("`{name}` names the rows that it sends, `{name}.{REFUSED}` those that it refuses"))),
    }
}

/// Numbers of nodes, inputs before outputs, else as they stand.
fn sort(inputs: &[Vec<Edge>]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut placed = vec![false; inputs.len()];
    while let Some(next) = (0..inputs.len()).find(|it| !placed[*it] && inputs[*it].iter().all(|it| placed[it.from])) {
        placed[next] = true;
        order.push(next);
    }
    order
}

impl Graph {
    fn find_cycle(&self, nodes: &[Node<'_>], problems: &mut Vec<Problem>) {
        let stuck = |it: usize| !self.order.contains(&it);
        let Some(start) = (0..nodes.len()).find(|it| stuck(*it)) else {
            return;
        };
        // Each stuck node reads a stuck node: upstream from any of them one comes to a node for the second time.
        let mut path: Vec<usize> = vec![start];
        let (first, edge) = loop {
            let here = path[path.len() - 1];
            let Some(edge) = self.inputs[here].iter().find(|it| stuck(it.from)) else {
                return;
            };
            if let Some(first) = path.iter().position(|it| *it == edge.from) {
                break (first, edge);
            }
            path.push(edge.from);
        };
        let mut cycle: Vec<&str> = path[first..].iter().rev().map(|it| nodes[*it].name.get_ref().as_str()).collect();
        cycle.push(cycle[0]);
        let problem = Problem::new(edge.span.clone(), format!("nodes feed each other: {}", cycle.join(" -> ")));
        problems.push(problem.help("rows go from sources to sinks; take one of these inputs out"));
    }

    /// Finds sources and transforms that no node reads.
    fn find_unread(&self, nodes: &[Node<'_>], problems: &mut Vec<Problem>) {
        for (index, node) in nodes.iter().enumerate() {
            if node.kind == Kind::Sink || self.is_read(index, Port::Rows) {
                continue;
            }
            let name = node.name.get_ref();
            let problem =
                Problem::new(node.name.span(), format!("unused output: no node reads {} `{name}`", node.kind));
            problems.push(problem.help(format!("add `{name}` to the `inputs` of a transform or sink, or take it out")));
        }
    }

    /// Finds the first node whose refused rows would go nowhere.
    pub(crate) fn find_lost_letters(&self, nodes: &[Node<'_>], problems: &mut Vec<Problem>) {
        let loses = |(index, node): &(usize, &Node<'_>)| {
            node.keys.on_refused == OnRefused::DeadLetters && !self.is_read(*index, Port::Refused)
        };
        let Some((_, node)) = nodes.iter().enumerate().find(loses) else {
            return;
        };
        let name = node.name.get_ref();
        let problem = Problem::new(node.name.span(), format!("rows that `{name}` refuses go nowhere"));
        let keep = "keep them with a table `[dead_letters]` and in it `path = \"./refused\"`";
        problems.push(problem.help(format!("{keep}, or write `on_refused = \"stop\"` for each node")));
    }

    fn is_read(&self, node: usize, port: Port) -> bool {
        self.inputs.iter().flatten().any(|it| it.from == node && it.port == port)
    }

    /// Each node's hash of all that decides what it sends: its own part, and those of its inputs, without names.
    pub(crate) fn fingerprints(&self, own: &[String]) -> Vec<String> {
        let mut all = vec![String::new(); own.len()];
        for &node in &self.order {
            let port = |it: &Edge| {
                if it.port == Port::Rows { "rows" } else { REFUSED }
            };
            let mut inputs: Vec<String> =
                self.inputs[node].iter().map(|it| format!("{} {}", port(it), all[it.from])).collect();
            inputs.sort();
            let text = format!("{}\n{}", own[node], inputs.join("\n"));
            all[node] = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()));
        }
        all
    }
}

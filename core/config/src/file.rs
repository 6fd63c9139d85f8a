//! The file as tables: its sections, its nodes, and the environment laid over them.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::problem::Problem;
use crate::registry::Kind;

/// The file after the overlay, before anything is known of its components.
pub(crate) struct File<'t> {
    /// What does not belong to a node: `name`, `state`, ...
    pub(crate) table: DeTable<'t>,
    /// All nodes, in the order of the file.
    pub(crate) nodes: Vec<RawNode<'t>>,
    /// The names of the environments that the file knows.
    pub(crate) environments: Vec<Spanned<String>>,
}

/// A node as a table.
#[derive(Clone)]
pub(crate) struct RawNode<'t> {
    pub(crate) kind: Kind,
    pub(crate) name: Spanned<String>,
    /// The place of the header: `[sinks.warehouse]`.
    pub(crate) header: Range<usize>,
    pub(crate) table: DeTable<'t>,
}

const ENVIRONMENTS: &str = "env";

/// The names of tables and keys that may stand outside of nodes. An environment may hold all of them but `env`.
const OUTER: [&str; 5] = ["name", "drain_max", "state", "dead_letters", "metrics"];

/// Takes the file apart.
pub(crate) fn open<'t>(mut table: DeTable<'t>, environment: Option<&str>, problems: &mut Vec<Problem>) -> File<'t> {
    let environments = take_table(&mut table, ENVIRONMENTS, "a table of environments", problems);
    let mut nodes = take_nodes(&mut table, problems);
    unknown_sections(&mut table, true, problems);

    let mut names = Vec::new();
    for (name, overlay) in environments.into_iter().flatten() {
        let name = owned(name);
        check_name(&name, "an environment", problems);
        let span = overlay.span();
        let DeValue::Table(mut overlay) = overlay.into_inner() else {
            problems.push(Problem::new(span, format!("environment `{}` must be a table", name.get_ref())));
            continue;
        };
        let selected = environment == Some(name.get_ref());
        names.push(name);
        let overlay_nodes = take_nodes(&mut overlay, problems);
        unknown_sections(&mut overlay, false, problems);
        if selected {
            lay_over(&mut table, overlay);
            for node in overlay_nodes {
                lay_node_over(&mut nodes, node, problems);
            }
        }
    }
    nodes.sort_by_key(|it| it.name.span().start);
    check_names(&nodes, problems);
    File { table, nodes, environments: names }
}

/// Puts the keys of `upper` over those of `lower`; inner tables key by key.
fn lay_over<'t>(lower: &mut DeTable<'t>, upper: DeTable<'t>) {
    for (key, value) in upper {
        let span = value.span();
        let value = match (lower.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(lower)), DeValue::Table(upper)) if !either_is_reference(lower, &upper) => {
                lay_over(lower, upper);
                continue;
            }
            (_, value) => value,
        };
        // The key goes too: an error is to point at the overlay.
        lower.remove(key.get_ref().as_ref());
        lower.insert(key, Spanned::new(span, value));
    }
}

fn either_is_reference(lower: &DeTable<'_>, upper: &DeTable<'_>) -> bool {
    crate::lookup::is_reference(lower) || crate::lookup::is_reference(upper)
}

/// Puts a node of an environment over the one of the same name, or beside the others.
fn lay_node_over<'t>(nodes: &mut Vec<RawNode<'t>>, mut upper: RawNode<'t>, problems: &mut Vec<Problem>) {
    let replaces = upper.table.contains_key("type");
    let lower = nodes.iter_mut().find(|it| it.kind == upper.kind && it.name.get_ref() == upper.name.get_ref());
    match lower {
        Some(lower) if replaces => {
            if !upper.table.contains_key("inputs")
                && let Some((key, inputs)) = lower.table.remove_entry("inputs")
            {
                upper.table.insert(key, inputs);
            }
            // It keeps its place in the file, which is its place in every list.
            upper.name = lower.name.clone();
            *lower = upper;
        }
        Some(lower) => lay_over(&mut lower.table, upper.table),
        None if replaces => nodes.push(upper),
        None => {
            let name = upper.name.get_ref();
            let title = format!("there is no {} `{name}` to change", upper.kind);
            let known: Vec<&str> =
                nodes.iter().filter(|it| it.kind == upper.kind).map(|it| it.name.get_ref().as_str()).collect();
            let problem = Problem::new(upper.name.span(), title).known(name, known);
            problems.push(problem);
        }
    }
}

/// Takes the three sections of nodes out of a table.
fn take_nodes<'t>(table: &mut DeTable<'t>, problems: &mut Vec<Problem>) -> Vec<RawNode<'t>> {
    let mut nodes = Vec::new();
    for kind in Kind::ALL {
        let section = take_table(table, kind.section(), &format!("a table of {}", kind.section()), problems);
        for (name, node) in section.into_iter().flatten() {
            let header = node.span();
            match node.into_inner() {
                DeValue::Table(table) => nodes.push(RawNode { kind, name: owned(name), header, table }),
                _ => {
                    let section = kind.section();
                    let help = format!("write `[{section}.NAME]` and below it `type = \"…\"`");
                    let title = format!("`{}` in `{section}` must be a table", name.get_ref());
                    problems.push(Problem::new(name.span(), title).help(help));
                }
            }
        }
    }
    nodes.sort_by_key(|it| it.name.span().start);
    nodes
}

fn take_table<'t>(
    table: &mut DeTable<'t>,
    key: &str,
    wanted: &str,
    problems: &mut Vec<Problem>,
) -> Option<DeTable<'t>> {
    let value = table.remove(key)?;
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(inner) => Some(inner),
        other => {
            let found = other.type_str();
            problems.push(Problem::new(span, format!("`{key}` must be {wanted}, but is a value of type {found}")));
            None
        }
    }
}

/// Reports what may not stand outside of nodes, and takes it out.
fn unknown_sections(table: &mut DeTable<'_>, outermost: bool, problems: &mut Vec<Problem>) {
    let mut known: Vec<&str> = OUTER.to_vec();
    known.extend(Kind::ALL.map(Kind::section));
    if outermost {
        known.push(ENVIRONMENTS);
    }
    for (key, value) in std::mem::take(table) {
        let name = key.get_ref().as_ref();
        if OUTER.contains(&name) {
            table.insert(key, value);
            continue;
        }
        let what = if value.get_ref().is_table() { "section" } else { "key" };
        let problem = Problem::new(key.span(), format!("unknown {what} `{name}`"));
        problems.push(problem.known(name, known.iter().copied()));
    }
}

/// Checks that node names are well formed and that no two are the same.
fn check_names(nodes: &[RawNode<'_>], problems: &mut Vec<Problem>) {
    for (index, node) in nodes.iter().enumerate() {
        check_name(&node.name, "a node", problems);
        let earlier = nodes[..index].iter().find(|it| it.name.get_ref() == node.name.get_ref());
        if let Some(earlier) = earlier {
            let title = format!("there is a {} of the name `{}` already", earlier.kind, node.name.get_ref());
            let help = "sources, transforms and sinks share their names, since `inputs` may name any of them";
            problems.push(Problem::new(node.name.span(), title).help(help));
        }
    }
}

/// Checks that a name can stand in `inputs`, in a path and in a metric.
pub(crate) fn check_name(name: &Spanned<String>, of: &str, problems: &mut Vec<Problem>) {
    let mut letters = name.get_ref().chars();
    let begins = letters.next().is_some_and(|it| it.is_ascii_lowercase());
    if begins && letters.all(|it| matches!(it, 'a'..='z' | '0'..='9' | '_' | '-')) {
        return;
    }
    let title = format!("`{}` cannot be the name of {of}", name.get_ref());
    let help = "a name begins with a small letter a-z, and goes on with small letters, digits, `_` and `-`";
    problems.push(Problem::new(name.span(), title).help(help));
}

fn owned(name: Spanned<DeString<'_>>) -> Spanned<String> {
    Spanned::new(name.span(), name.into_inner().into_owned())
}

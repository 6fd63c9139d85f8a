//! Which key leads to which column.

use std::collections::HashMap;

use forebay_api::Wrong;

use crate::format::UnknownFields;
use crate::types::Type;

/// The columns of a JSON format.
#[derive(Debug)]
pub struct JsonColumns {
    /// A path of keys, with dots between them, and what is read from there.
    pub columns: Vec<(String, Type)>,
    /// What becomes of the rest.
    pub unknown_fields: UnknownFields,
    /// The string that is null.
    pub null: Option<String>,
    /// How to find them.
    pub paths: Paths,
}

/// The keys of all columns as a tree. A key with dots in it goes down as many levels.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// The path that leads here; empty for the outermost object.
    path: String,
    column: Option<usize>,
    children: HashMap<String, usize>,
}

/// Where a key leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the value of this column.
    Column(usize),
    /// Nearer to some columns.
    Node(usize),
    /// Nowhere.
    Unknown,
}

const HINT: &str = "an object is one column, as JSON text, or a column for each of its keys";

impl Paths {
    /// The outermost object.
    pub const ROOT: usize = 0;

    /// The tree of these paths.
    ///
    /// # Errors
    ///
    /// Where one path leads through another, or is no path.
    pub fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut tree = Self { nodes: vec![Node::default()] };
        for (column, path) in paths.enumerate() {
            let wrong = |what: String| Wrong::new(format!("columns.{path}"), what);
            if path.is_empty() {
                return Err(Wrong::new("columns", "a column has no name"));
            }
            let mut node = Self::ROOT;
            for key in path.split('.') {
                node = tree.child(node, key);
                if tree.nodes[node].column.is_some() {
                    let outer = &tree.nodes[node].path;
                    return Err(wrong(format!("`{path}` lies within `{outer}`, which is a column itself")).hint(HINT));
                }
            }
            if !tree.nodes[node].children.is_empty() {
                return Err(
                    wrong(format!("other columns lie within `{path}`, so it cannot be a column itself")).hint(HINT)
                );
            }
            tree.nodes[node].column = Some(column);
        }
        Ok(tree)
    }

    fn child(&mut self, node: usize, key: &str) -> usize {
        if let Some(child) = self.nodes[node].children.get(key) {
            return *child;
        }
        let path = self.under(node, key);
        let child = self.nodes.len();
        self.nodes.push(Node { path, ..Node::default() });
        self.nodes[node].children.insert(key.to_owned(), child);
        child
    }

    /// Where a key of an object leads.
    pub fn find(&self, node: usize, key: &str) -> Target {
        let mut at = &self.nodes[node];
        let mut reached = node;
        for key in key.split('.') {
            match at.children.get(key) {
                Some(child) => (at, reached) = (&self.nodes[*child], *child),
                None => return Target::Unknown,
            }
        }
        at.column.map_or(Target::Node(reached), Target::Column)
    }

    /// The path of a key of an object.
    pub fn under(&self, node: usize, key: &str) -> String {
        match self.nodes[node].path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

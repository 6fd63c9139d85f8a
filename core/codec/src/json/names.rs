//! The names in objects, which come again and again in the same order.

use std::collections::HashMap;

use super::paths::{Paths, Target};

/// Where names lead, and which one follows which. Who writes logs writes the same names again and again, so most names are
/// known after one comparison of bytes, and nearly all others after one look-up.
///
/// All that is asked of it must be about the same [`Paths`].
#[derive(Debug)]
pub struct Names {
    /// The first one is none: those that begin a text follow it.
    names: Vec<Name>,
    /// Where names stand in `names`, for each object of the paths.
    known: Vec<HashMap<Box<str>, usize>>,
    /// The name that came last.
    last: usize,
}

#[derive(Debug)]
struct Name {
    /// The object that it is a key of.
    node: usize,
    /// With the quote after it.
    quoted: Box<[u8]>,
    target: Target,
    /// The name that came after it.
    next: usize,
}

const NONE: usize = 0;

impl Default for Names {
    fn default() -> Self {
        let none = Name { node: usize::MAX, quoted: Box::default(), target: Target::Unknown, next: NONE };
        Self { names: vec![none], known: Vec::new(), last: NONE }
    }
}

impl Names {
    /// More names than this are not remembered.
    const NAMES_MAX: usize = 1024;
    /// Longer names are not remembered.
    const NAME_BYTES_MAX: usize = 256;
    /// So many names may be left out by a text, and the one after them is still expected.
    const LEFT_OUT_MAX: usize = 4;

    /// A text begins.
    #[inline]
    pub fn begin(&mut self) {
        self.last = NONE;
    }

    /// If one of the expected names of an object comes first: its bytes with the quote after it, and where it leads.
    #[inline]
    pub fn expected(&mut self, node: usize, bytes: &[u8]) -> Option<(usize, Target)> {
        let mut nth = self.last;
        for _ in 0..=Self::LEFT_OUT_MAX {
            nth = self.names[nth].next;
            let name = &self.names[nth];
            if name.node == node && bytes.starts_with(&name.quoted) {
                self.last = nth;
                return Some((name.quoted.len(), name.target));
            }
        }
        None
    }

    /// Where a name of an object leads that was not expected. It has no escapes.
    pub fn find(&mut self, paths: &Paths, node: usize, name: &str) -> Target {
        let known = self.known.get(node).and_then(|it| it.get(name)).copied();
        let nth = match known {
            Some(nth) => nth,
            None => {
                let target = paths.find(node, name);
                if name.len() > Self::NAME_BYTES_MAX {
                    return target;
                }
                self.remember(node, name, target)
            }
        };
        self.names[self.last].next = nth;
        self.last = nth;
        self.names[nth].target
    }

    fn remember(&mut self, node: usize, name: &str, target: Target) -> usize {
        if self.names.len() > Self::NAMES_MAX {
            *self = Self::default();
        }
        let nth = self.names.len();
        let quoted = [name.as_bytes(), b"\""].concat().into();
        self.names.push(Name { node, quoted, target, next: NONE });
        if self.known.len() <= node {
            self.known.resize_with(node + 1, HashMap::new);
        }
        self.known[node].insert(name.into(), nth);
        nth
    }
}

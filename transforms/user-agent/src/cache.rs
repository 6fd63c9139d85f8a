//! What was parsed lately.

use std::collections::HashMap;
use std::sync::Arc;

use crate::parse::Told;

/// So many texts are kept at most, in two generations.
const TEXTS_MAX: usize = 8192;

/// Longer texts are parsed whenever they come: they are rare, and would let the memory grow.
const BYTES_MAX: usize = 1024;

/// What user agents told that came in earlier batches. A site sees some thousands of them again and again.
///
/// When the younger generation is full it becomes the older one, and that is forgotten: what came again in the meantime
/// was taken over. Only the time that a batch takes depends on it.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    young: HashMap<Box<str>, Arc<Told>>,
    old: HashMap<Box<str>, Arc<Told>>,
}

impl Cache {
    /// What this text tells, by `parse` if it is not known.
    pub(crate) fn get(&mut self, text: &str, parse: impl FnOnce() -> Told) -> Arc<Told> {
        if text.len() > BYTES_MAX {
            return Arc::new(parse());
        }
        if let Some(told) = self.young.get(text) {
            return told.clone();
        }
        let (text, told) = self.old.remove_entry(text).unwrap_or_else(|| (text.into(), Arc::new(parse())));
        if self.young.len() == TEXTS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, told.clone());
        told
    }

    /// How many texts are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

//! The fields that may be filled: those of ECS, and those that the mappings and the file add to them.

use std::collections::BTreeMap;

use forebay_api::{Wrong, nearest};
pub(crate) use forebay_ecs::{Field, FieldType, VERSION, is_ecs};

use crate::mapping;

/// The fields that may be filled.
pub(crate) struct Fields<'a> {
    /// Those that the file declares.
    pub(crate) custom: &'a BTreeMap<String, FieldType>,
}

impl Fields<'_> {
    /// The field of this name, if there is one that a column can become.
    pub(crate) fn get(&self, name: &str) -> Option<Field> {
        let custom = self.custom.get(name).map(|kind| Field { kind: *kind, list: false });
        custom.or_else(|| mapping::own_field(name)).or_else(|| forebay_ecs::field(name))
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = mapping::own_fields().chain(forebay_ecs::names()).collect();
        names.extend(self.custom.keys().map(String::as_str));
        names
    }

    /// The field of this name, or what is wrong with naming it at `key`.
    pub(crate) fn named(&self, key: &str, name: &str) -> Result<Field, Wrong> {
        if let Some(field) = self.get(name) {
            return Ok(field);
        }
        if is_ecs(name) {
            return Err(Wrong::new(key, format!("field `{name}` cannot be built from a column"))
                .hint("it is an object or a point: fill the fields below it"));
        }
        let wrong = Wrong::new(key, format!("ECS {VERSION} has no field `{name}`"))
            .hint(format!("a field of your own needs a type: `custom = {{ \"{name}\" = \"keyword\" }}`"));
        Err(match nearest(name, self.names()) {
            Some(near) => wrong.label(format!("did you mean `{near}`?")),
            None => wrong,
        })
    }
}

//! Which column becomes which field, decided once from the columns that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{Field as ArrowField, Schema, SchemaRef};
use forebay_api::Wrong;

use crate::convert::{How, convert};
use crate::derive::{DERIVED, Derived};
use crate::fields::{self, Field, Fields};
use crate::mapping::{self, Mapping};
use crate::{Ecs, Names, Unmapped};

/// What fills the fields, by the field's name in ECS: the order of the output.
pub(crate) struct Plan {
    pub(crate) filled: BTreeMap<String, Filled>,
    pub(crate) output: SchemaRef,
}

/// What fills a field.
pub(crate) enum Filled {
    /// Columns of the input.
    Columns(Step),
    /// The same value in each row: an array with this one value.
    Constant(ArrayRef),
    /// Other fields, which are filled otherwise.
    Derived(&'static Derived, Vec<&'static str>),
}

/// Columns of the input that become a field.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) columns: Vec<usize>,
    pub(crate) how: How,
    pub(crate) field: Field,
    /// The columns are those of a log that writes `-` where there is no value.
    pub(crate) logged: bool,
}

/// Decides what fills which field.
pub(crate) fn plan(config: &Ecs, input: &Schema) -> Result<Plan, Wrong> {
    let mut planner = Planner {
        config,
        input,
        columns: columns(input)?,
        fields: Fields { custom: &config.custom },
        filled: BTreeMap::new(),
        known: BTreeSet::new(),
    };
    planner.check_custom()?;
    planner.map()?;
    planner.constants()?;
    if let Some(mapping) = config.mapping {
        planner.mapping(mapping)?;
    }
    planner.by_own_name()?;
    planner.unmapped()?;
    if config.mapping.is_some() {
        planner.derived();
    }
    planner.output()
}

struct Planner<'a> {
    config: &'a Ecs,
    input: &'a Schema,
    /// Columns of the input by their [`plain`] names.
    columns: BTreeMap<String, usize>,
    fields: Fields<'a>,
    filled: BTreeMap<String, (Field, Filled)>,
    /// Columns of which something is known.
    known: BTreeSet<usize>,
}

/// A column's name as it is compared: `cs(User-Agent)` is `cs_user_agent`.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace(['-', '(', ')'], "_");
    name.trim_end_matches('_').to_owned()
}

fn columns(input: &Schema) -> Result<BTreeMap<String, usize>, Wrong> {
    let mut columns = BTreeMap::new();
    for (index, field) in input.fields().iter().enumerate() {
        if let Some(other) = columns.insert(plain(field.name()), index) {
            let (one, other) = (field.name(), input.field(other).name());
            return Err(Wrong::new("", format!("columns `{other}` and `{one}` have names that count as the same")));
        }
    }
    Ok(columns)
}

impl Planner<'_> {
    fn check_custom(&self) -> Result<(), Wrong> {
        match self.config.custom.keys().find(|it| fields::is_ecs(it)) {
            Some(name) => Err(Wrong::new(format!("custom.{name}"), format!("ECS itself has a field `{name}`"))),
            None => Ok(()),
        }
    }

    fn map(&mut self) -> Result<(), Wrong> {
        for (column, name) in &self.config.map {
            let key = format!("map.{column}");
            let Some(index) = self.columns.get(&plain(column)).copied() else {
                let columns = self.input.fields().iter().map(|it| it.name().as_str());
                return Err(Wrong::new(key, format!("column `{column}` does not exist")).known(column, columns));
            };
            let field = self.fields.named(&key, name)?;
            if !self.known.insert(index) {
                return Err(Wrong::new(key, format!("column `{column}` is mapped twice")));
            }
            if self.filled.contains_key(name) {
                return Err(Wrong::new(key, format!("field `{name}` comes from another column already")));
            }
            self.fill(&key, name, Step { columns: vec![index], how: How::Copy, field, logged: false })?;
        }
        Ok(())
    }

    fn constants(&mut self) -> Result<(), Wrong> {
        for (name, value) in &self.config.constants {
            let key = format!("constants.{name}");
            if self.filled.contains_key(name) {
                return Err(Wrong::new(key, format!("field `{name}` comes from a column already")));
            }
            let field = self.fields.named(&key, name)?;
            let constant = constant(field, value);
            let constant =
                constant.ok_or_else(|| Wrong::new(key, format!("`{value}` is not {}", field.kind.noun())))?;
            self.filled.insert(name.clone(), (field, Filled::Constant(constant)));
        }
        // What comes with ECS and the mapping gives way to what the file says.
        let of_mapping = if self.config.mapping.is_some() { mapping::CONSTANTS } else { &[] };
        for (name, value) in of_mapping.iter().chain(&[("ecs.version", fields::VERSION)]) {
            let field = self.fields.named("mapping", name)?;
            if let (false, Some(constant)) = (self.filled.contains_key(*name), constant(field, value)) {
                self.filled.insert((*name).to_owned(), (field, Filled::Constant(constant)));
            }
        }
        Ok(())
    }

    fn mapping(&mut self, mapping: Mapping) -> Result<(), Wrong> {
        let of_map = self.known.clone();
        let mut found = false;
        for row in mapping.rows() {
            let index = |name: &&str| self.columns.get(&plain(name)).copied();
            let present: Vec<usize> = row.columns.iter().filter_map(index).collect();
            self.known.extend(&present);
            found |= !present.is_empty();
            let usable = present.len() == row.columns.len() && !present.iter().any(|it| of_map.contains(it));
            if usable && !self.filled.contains_key(row.field) {
                let field = self.fields.named("mapping", row.field)?;
                self.fill("mapping", row.field, Step { columns: present, how: row.how, field, logged: true })?;
            }
        }
        if found {
            return Ok(());
        }
        let wrong = format!("the input has none of the columns that `{}` maps", mapping.name());
        let columns: Vec<&str> = self.input.fields().iter().map(|it| it.name().as_str()).collect();
        Err(Wrong::new("mapping", wrong).hint(format!("the columns are {}", columns.join(", "))))
    }

    /// A column that nobody has spoken for and that is named like a field is that field.
    fn by_own_name(&mut self) -> Result<(), Wrong> {
        for (index, column) in self.input.fields().iter().enumerate() {
            let name = column.name();
            let Some(field) = self.fields.get(name) else {
                continue;
            };
            let constant = self.config.constants.contains_key(name);
            let taken = self.filled.get(name).is_some_and(|(_, it)| constant || matches!(it, Filled::Columns(_)));
            if !taken && self.known.insert(index) {
                self.fill("map", name, Step { columns: vec![index], how: How::Copy, field, logged: false })?;
            }
        }
        Ok(())
    }

    fn fill(&mut self, key: &str, name: &str, step: Step) -> Result<(), Wrong> {
        for index in &step.columns {
            let column = self.input.field(*index);
            if !step.how.takes(column.data_type(), step.field) {
                let (column, found) = (column.name(), column.data_type());
                let what = format!("column `{column}` holds {found}, which cannot become `{name}`");
                let hint = format!("it must be {}", step.how.wanted(step.field));
                return Err(Wrong::new(key, what).hint(hint));
            }
        }
        self.filled.insert(name.to_owned(), (step.field, Filled::Columns(step)));
        Ok(())
    }

    fn unmapped(&self) -> Result<(), Wrong> {
        let columns = self.input.fields().iter().enumerate().filter(|(index, _)| !self.known.contains(index));
        let names: Vec<String> = columns.map(|(_, it)| format!("`{}`", it.name())).collect();
        if names.is_empty() || self.config.unmapped == Unmapped::Ignore {
            return Ok(());
        }
        let columns = if names.len() == 1 { "column" } else { "columns" };
        Err(Wrong::new("unmapped", format!("{columns} {} would become no field", names.join(", "))).hint(
            "name the field in `map` (and declare it in `custom` if ECS does not know it), \
             or set `unmapped = \"ignore\"`",
        ))
    }

    fn derived(&mut self) {
        for derived in DERIVED {
            let exists =
                |name: &str| matches!(self.filled.get(name), Some((_, Filled::Columns(_) | Filled::Constant(_))));
            let from = derived.from.present(exists);
            if let (Some(from), Some(field), false) =
                (from, self.fields.get(derived.field), self.filled.contains_key(derived.field))
            {
                self.filled.insert(derived.field.to_owned(), (field, Filled::Derived(derived, from)));
            }
        }
    }

    fn output(self) -> Result<Plan, Wrong> {
        let rename = &self.config.rename;
        if let Some(name) = rename.keys().find(|it| !self.filled.contains_key(*it)) {
            let wrong = Wrong::new(format!("rename.{name}"), format!("there is no field `{name}` in the output"));
            return Err(wrong.known(name, self.filled.keys().map(String::as_str)));
        }
        let mut taken = BTreeMap::<String, &str>::new();
        let mut columns = Vec::with_capacity(self.filled.len());
        for (name, (field, _)) in &self.filled {
            let given = match (rename.get(name), self.config.names) {
                (Some(given), _) => given.clone(),
                (None, Names::Dotted) => name.clone(),
                (None, Names::Underscored) => name.trim_start_matches('@').replace('.', "_"),
            };
            if let Some(other) = taken.insert(given.clone(), name) {
                let key = if rename.contains_key(name) { format!("rename.{name}") } else { format!("rename.{other}") };
                let wrong = Wrong::new(key, format!("`{other}` and `{name}` would both be named `{given}`"));
                return Err(wrong.hint("give one of them another name in `rename`"));
            }
            columns.push(ArrowField::new(given, field.data_type(), true));
        }
        let filled = self.filled.into_iter().map(|(name, (_, filled))| (name, filled)).collect();
        Ok(Plan { filled, output: Arc::new(Schema::new(columns)) })
    }
}

/// An array with this one value, if the text can become it.
fn constant(field: Field, value: &str) -> Option<ArrayRef> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let constant = convert(How::Copy, field, &[text], |_, _| ()).ok()?;
    // A list of no item is what is left of an address that is none.
    let empty = constant.as_list_opt::<i32>().is_some_and(|it| it.value_length(0) == 0);
    (constant.is_valid(0) && !empty).then_some(constant)
}

//! Which column becomes which field, decided once from the columns that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{Field as ArrowField, Schema, SchemaRef};
use forebay_api::{Wrong, nearest};

use crate::convert::{How, convert};
use crate::derive::Derive;
use crate::fields::{self, Field, Fields};
use crate::mapping::Mapping;
use crate::{Ecs, Names, Unmapped};

/// What is built, and what of it comes out.
pub(crate) struct Plan {
    /// In an order in which each can be built.
    pub(crate) fields: Vec<Planned>,
    /// The fields that come out, by their names in ECS: the order of the output.
    pub(crate) sent: Vec<usize>,
    pub(crate) output: SchemaRef,
    /// Columns of the input without which this would not be planned again in the same way.
    needed: BTreeSet<usize>,
}

/// A field.
pub(crate) struct Planned {
    /// Its name in the output.
    pub(crate) name: String,
    pub(crate) filled: Filled,
}

/// What fills a field.
pub(crate) enum Filled {
    /// Columns of the input.
    Columns(Step),
    /// The same value in each row: an array with this one value.
    Constant(ArrayRef),
    /// Other fields, which stand before it.
    Derived(Derive, Vec<usize>),
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
        needed: BTreeSet::new(),
    };
    planner.check_custom()?;
    planner.map()?;
    planner.constants()?;
    if let Some(mapping) = config.mapping {
        planner.mapping(mapping)?;
    }
    planner.by_own_name()?;
    planner.unmapped()?;
    if let Some(mapping) = config.mapping {
        planner.derived(mapping);
    }
    planner.output()
}

struct Planner<'a> {
    config: &'a Ecs,
    input: &'a Schema,
    /// Columns of the input by their [`plain`] names.
    columns: BTreeMap<String, usize>,
    fields: Fields<'a>,
    filled: BTreeMap<String, (Field, Source)>,
    /// Columns of which something is known.
    known: BTreeSet<usize>,
    /// Columns that must be there whether their fields are used or not.
    needed: BTreeSet<usize>,
}

/// What will fill a field.
enum Source {
    Columns(Step),
    Constant(ArrayRef),
    /// Fields that are filled before it; the second number is the place in the order.
    Derived(Derive, Vec<&'static str>, usize),
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
            self.needed.insert(index);
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
            self.filled.insert(name.clone(), (field, Source::Constant(constant)));
        }
        // What comes with ECS and the mapping gives way to what the file says.
        let of_mapping = self.config.mapping.map_or(&[][..], Mapping::constants);
        for (name, value) in of_mapping.iter().chain(&[("ecs.version", fields::VERSION)]) {
            let field = self.fields.named("mapping", name)?;
            if let (false, Some(constant)) = (self.filled.contains_key(*name), constant(field, value)) {
                self.filled.insert((*name).to_owned(), (field, Source::Constant(constant)));
            }
        }
        Ok(())
    }

    fn mapping(&mut self, mapping: Mapping) -> Result<(), Wrong> {
        let of_map = self.known.clone();
        let mut first = None;
        for row in mapping.rows() {
            let index = |name: &&str| self.columns.get(&plain(name)).copied();
            let present: Vec<usize> = row.columns.iter().filter_map(index).collect();
            self.known.extend(&present);
            first = first.or(present.first().copied());
            let usable = present.len() == row.columns.len() && !present.iter().any(|it| of_map.contains(it));
            if usable && !self.filled.contains_key(row.field) {
                let field = self.fields.named("mapping", row.field)?;
                self.fill("mapping", row.field, Step { columns: present, how: row.how, field, logged: true })?;
            }
        }
        if let Some(first) = first {
            self.needed.insert(first);
            return Ok(());
        }
        let wrong = format!("the input has none of the columns that `{}` maps", mapping.name());
        let columns: Vec<&str> = self.input.fields().iter().map(|it| it.name().as_str()).collect();
        let columns = format!("the columns are {}", columns.join(", "));
        Err(Wrong::new("mapping", wrong).hint(match mapping.preset() {
            Some(preset) => {
                format!("{columns}; `type = \"regex\"` with `preset = \"{preset}\"` before it gives others")
            }
            None => columns,
        }))
    }

    /// A column that nobody has spoken for and that is named like a field is that field.
    fn by_own_name(&mut self) -> Result<(), Wrong> {
        for (index, column) in self.input.fields().iter().enumerate() {
            let name = column.name();
            let Some(field) = self.fields.get(name) else {
                continue;
            };
            let constant = self.config.constants.contains_key(name);
            let taken = self.filled.get(name).is_some_and(|(_, it)| constant || matches!(it, Source::Columns(_)));
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
        self.filled.insert(name.to_owned(), (step.field, Source::Columns(step)));
        Ok(())
    }

    fn unmapped(&self) -> Result<(), Wrong> {
        let columns = self.input.fields().iter().enumerate().filter(|(index, _)| !self.known.contains(index));
        let names: Vec<&str> = columns.map(|(_, it)| it.name().as_str()).collect();
        if names.is_empty() || self.config.unmapped == Unmapped::Ignore {
            return Ok(());
        }
        let columns = if names.len() == 1 { "column" } else { "columns" };
        let wrong = Wrong::new("unmapped", format!("{columns} `{}` would become no field", names.join("`, `"))).hint(
            "name the field in `map` (and declare it in `custom` if ECS does not know it), \
             or set `unmapped = \"ignore\"`",
        );
        let of_mapping = self.config.mapping.map_or(&[][..], Mapping::rows).iter().flat_map(|it| it.columns);
        let known: Vec<&str> = of_mapping.copied().chain(self.fields.names()).collect();
        let near = names.iter().find_map(|name| Some((name, nearest(name, known.iter().copied())?)));
        Err(match near {
            Some((name, near)) => wrong.label(format!("is `{name}` meant to be `{near}`?")),
            None => wrong,
        })
    }

    fn derived(&mut self, mapping: Mapping) {
        for (nth, derived) in mapping.derived().iter().enumerate() {
            // A field that the file gives another type is not what others follow from.
            let custom = &self.config.custom;
            let from = derived.from.present(|it| self.filled.contains_key(it) && !custom.contains_key(it));
            if let (Some(from), Some(field), false) =
                (from, self.fields.get(derived.field), self.filled.contains_key(derived.field))
            {
                self.filled.insert(derived.field.to_owned(), (field, Source::Derived(derived.derive, from, nth)));
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
        let mut names = Vec::with_capacity(self.filled.len());
        for name in self.filled.keys() {
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
            names.push(given);
        }
        let columns = self.filled.values().zip(&names);
        let columns: Vec<_> = columns.map(|((field, _), it)| ArrowField::new(it, field.data_type(), true)).collect();
        Ok(self.in_order(names, Arc::new(Schema::new(columns))))
    }

    /// Puts fields behind those that they follow from.
    fn in_order(mut self, names: Vec<String>, output: SchemaRef) -> Plan {
        let mut filled: Vec<_> = std::mem::take(&mut self.filled).into_iter().zip(names).enumerate().collect();
        filled.sort_by_key(|(_, ((_, (_, source)), _))| match source {
            Source::Columns(_) | Source::Constant(_) => None,
            Source::Derived(_, _, nth) => Some(*nth),
        });
        let mut places = BTreeMap::new();
        let mut sent = vec![0; filled.len()];
        let mut fields: Vec<Planned> = Vec::with_capacity(filled.len());
        for (column, ((ecs_name, (_, source)), name)) in filled {
            let filled = match source {
                Source::Columns(step) => Filled::Columns(step),
                Source::Constant(value) => Filled::Constant(value),
                Source::Derived(derive, from, _) => {
                    Filled::Derived(derive, from.iter().filter_map(|it| places.get(*it).copied()).collect())
                }
            };
            sent[column] = fields.len();
            places.insert(ecs_name, fields.len());
            fields.push(Planned { name, filled });
        }
        let mut plan = Plan { fields, sent, output, needed: self.needed };
        // A field with a name of its own must still be there to be named so.
        let renamed = self.config.rename.keys().filter_map(|it| places.get(it));
        plan.needed.extend(renamed.flat_map(|it| plan.columns_of(&plan.behind(&[*it]))).collect::<Vec<_>>());
        plan
    }
}

impl Plan {
    /// These fields, and all that they follow from.
    pub(crate) fn behind(&self, fields: &[usize]) -> Vec<usize> {
        let mut needed = vec![false; self.fields.len()];
        fields.iter().for_each(|it| needed[*it] = true);
        for nth in (0..self.fields.len()).rev() {
            if let (true, Filled::Derived(_, from)) = (needed[nth], &self.fields[nth].filled) {
                from.iter().for_each(|it| needed[*it] = true);
            }
        }
        (0..needed.len()).filter(|it| needed[*it]).collect()
    }

    /// The columns of the input that these fields are made of, without what they follow from.
    fn columns_of(&self, fields: &[usize]) -> BTreeSet<usize> {
        let steps = fields.iter().filter_map(|it| match &self.fields[*it].filled {
            Filled::Columns(step) => Some(step.columns.iter().copied()),
            Filled::Constant(_) | Filled::Derived(..) => None,
        });
        steps.flatten().collect()
    }

    /// The columns of the input without which these fields would not come out as they do.
    pub(crate) fn uses(&self, fields: &[usize]) -> BTreeSet<usize> {
        let mut columns = self.columns_of(fields);
        columns.extend(&self.needed);
        columns
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

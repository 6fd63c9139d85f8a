//! Which rows go into which table. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Schema};
use arrow_select::take::take_record_batch;
use forebay_api::{Refused, RefusedRow, Wrong, same_type, shown};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::cast::is_text;

/// So many values a reason names: it is kept with every row that is refused.
const KNOWN_MAX: usize = 20;

/// Where rows go: `"logs"`, or `{ by = "cs_host", tables = { "shop.example.com" = "shop" }, others = "rest" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// All into one table.
    One(String),
    /// Each into the table for its value of a column.
    By(Routing),
}

/// Several tables, of which the value of a column chooses one for each row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// The column of text that decides, such as `"cs_host"`. It need not be one that is inserted.
    pub by: String,
    /// Tables by the values of that column, as they are in the rows: `{ "shop.example.com" = "shop_logs" }`. Several
    /// values may have the same table.
    pub tables: BTreeMap<String, String>,
    /// The table for rows with any other value, or none. Default: such rows are refused.
    pub others: Option<String>,
}

impl Tables {
    /// The names of the tables, each once.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::One(table) => BTreeSet::from([table.as_str()]),
            Self::By(routing) => routing.tables.values().chain(&routing.others).map(String::as_str).collect(),
        }
    }

    /// Checks that rows with these columns can be told apart.
    pub(crate) fn check(&self, input: &Schema) -> Result<(), Wrong> {
        let Self::By(routing) = self else { return Ok(()) };
        if routing.tables.is_empty() {
            return Err(Wrong::new("table.tables", "there is no table in the list")
                .hint("write `table = \"NAME\"` if all rows go into one"));
        }
        same_type(input, "table.by", &routing.by, "text", is_text)?;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrRouting)
    }
}

/// Reads either form where it stands, so that an error in the inner table has its place.
struct NameOrRouting;

impl<'de> Visitor<'de> for NameOrRouting {
    type Value = Tables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a table, or `{ by = …, tables = … }`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Tables, E> {
        Ok(Tables::One(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tables, A::Error> {
        Routing::deserialize(MapAccessDeserializer::new(map)).map(Tables::By)
    }
}

impl JsonSchema for Tables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let (name, routing) = (generator.subschema_for::<String>(), generator.subschema_for::<Routing>());
        json_schema!({ "anyOf": [name, routing] })
    }
}

/// Tells rows apart by their values alone: the same rows go the same ways, however they are cut into batches.
pub(crate) struct Router {
    /// Rows that have no way of their own, by the number of their table; `None`: they are refused.
    others: Option<usize>,
    /// What decides; `None`: all rows are others.
    by: Option<By>,
}

struct By {
    /// The number of the column.
    column: usize,
    name: String,
    /// The number of the table for each value.
    tables: HashMap<String, usize>,
    /// The values, for reasons.
    known: String,
}

/// Rows of a batch that go into one table.
pub(crate) struct Share {
    /// The number of the table among [`Tables::names`].
    pub(crate) table: usize,
    pub(crate) rows: RecordBatch,
    /// The numbers of these rows, counted as those of the whole batch are.
    pub(crate) numbers: Vec<u64>,
}

impl Router {
    /// A router for rows with these columns, which were checked.
    pub(crate) fn new(tables: &Tables, input: &Schema) -> Result<Self, ArrowError> {
        let Tables::By(routing) = tables else { return Ok(Self { others: Some(0), by: None }) };
        let numbers: HashMap<&str, usize> = tables.names().into_iter().zip(0..).collect();
        let mut known: Vec<String> =
            routing.tables.keys().take(KNOWN_MAX).map(|it| format!("`{}`", shown(it))).collect();
        if routing.tables.len() > KNOWN_MAX {
            known.push("…".to_owned());
        }
        let by = By {
            column: input.index_of(&routing.by)?,
            name: routing.by.clone(),
            tables: routing.tables.iter().map(|(value, table)| (value.clone(), numbers[table.as_str()])).collect(),
            known: known.join(", "),
        };
        Ok(Self { others: routing.others.as_ref().map(|it| numbers[it.as_str()]), by: Some(by) })
    }

    /// Tells the rows of a batch apart, whose first has the number `first` in its delivery.
    pub(crate) fn split(&self, batch: RecordBatch, first: u64) -> Result<(Vec<Share>, Refused), ArrowError> {
        let rows = batch.num_rows();
        let all = || (first..first + rows as u64).collect();
        let Some(by) = &self.by else {
            let table = self.others.unwrap_or_default();
            return Ok((vec![Share { table, numbers: all(), rows: batch }], Refused::new()));
        };
        let values = cast(batch.column(by.column), &DataType::Utf8)?;
        let mut ways: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut refused = Refused::new();
        for (row, value) in values.as_string::<i32>().iter().enumerate() {
            match value.and_then(|it| by.tables.get(it).copied()).or(self.others) {
                Some(table) => ways.entry(table).or_default().push(row as u32),
                None => refused.push(RefusedRow {
                    row: first + row as u64,
                    payload: batch.slice(row, 1),
                    why: by.no_table(value),
                }),
            }
        }
        let share = |(table, way): (usize, Vec<u32>)| {
            if way.len() == rows {
                return Ok(Share { table, numbers: all(), rows: batch.clone() });
            }
            let numbers = way.iter().map(|it| first + u64::from(*it)).collect();
            Ok(Share { table, numbers, rows: take_record_batch(&batch, &UInt32Array::from(way))? })
        };
        Ok((ways.into_iter().map(share).collect::<Result<_, ArrowError>>()?, refused))
    }
}

impl By {
    fn no_table(&self, value: Option<&str>) -> String {
        let Self { name, known, .. } = self;
        match value {
            Some(value) => format!("no table is for the value `{}` of column `{name}` (known: {known})", shown(value)),
            None => format!("no table is for rows without a value of column `{name}` (known: {known})"),
        }
    }
}

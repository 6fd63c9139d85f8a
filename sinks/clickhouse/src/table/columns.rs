//! Which column of the rows goes into which column of a table.

use arrow_schema::SchemaRef;
use forebay_api::nearest;

use crate::block::{Layout, Placed};
use crate::cast::Conversion;
use crate::types::Type;
use crate::{ClickHouse, ddl, sql};

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) type_text: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or nothing.
    pub(crate) default_kind: String,
    pub(crate) in_partition: bool,
}

/// Why rows do not go into a table, and what can be done about it.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// Which column goes where, and how. `table` is its name in messages.
pub(crate) fn layout(
    config: &ClickHouse,
    table: &str,
    input: &SchemaRef,
    columns: &[TableColumn],
) -> Result<Layout, Misfit> {
    let mut placed = Vec::new();
    let mut unknown = Vec::new();
    let mut misfits = Vec::new();
    for (source, field) in input.fields().iter().enumerate() {
        if config.omit.contains(field.name()) {
            continue;
        }
        let other = ddl::plain_name(field.name());
        let named = |name: &str| columns.iter().find(|it| it.name == name);
        let Some(column) = named(field.name()).or_else(|| named(&other)) else {
            let near = nearest(field.name(), columns.iter().map(|it| it.name.as_str()));
            unknown.push(match near {
                Some(near) => format!("`{}` (did you mean `{near}`?)", field.name()),
                None => format!("`{}`", field.name()),
            });
            continue;
        };
        if matches!(column.default_kind.as_str(), "MATERIALIZED" | "ALIAS") {
            // The server makes its values itself.
            continue;
        }
        let of = Type::parse(&column.type_text).unwrap_or_else(|| Type::Other(column.type_text.clone()));
        match Conversion::new(field.data_type(), &of) {
            None => misfits.push(format!("`{}`, which holds {}, into {of}", field.name(), field.data_type())),
            Some(made) => placed.push(Placed {
                source,
                name: column.name.clone(),
                of,
                conversion: made,
                has_default: column.default_kind == "DEFAULT",
            }),
        }
    }
    let misfit = |what: String, hint: &str| Misfit { what, hint: hint.to_owned() };
    if !unknown.is_empty() {
        let hint = "add them, by hand or with `evolve = \"add_columns\"`, or leave them out with `omit`";
        return Err(misfit(format!("table {table} has no columns {}", unknown.join(", ")), hint));
    }
    if !misfits.is_empty() {
        let hint = "give the table's columns other types, make others upstream, or leave them out with `omit`";
        return Err(misfit(format!("table {table} cannot take {}", misfits.join("; ")), hint));
    }
    if placed.is_empty() {
        let hint = "see `DESCRIBE TABLE`";
        return Err(misfit(format!("no column of the rows is one of table {table} that takes values"), hint));
    }
    let is_stamp = |it: &&TableColumn| it.name == config.delivery_column && it.type_text.contains("String");
    let stamp = columns.iter().find(is_stamp).map(|it| it.name.clone());
    if config.exactly_once && stamp.is_none() {
        let column = sql::name(&config.delivery_column);
        let what = format!(
            "table {table} has no column {column} of text, by which deliveries are found again: \
             `ALTER TABLE {table} ADD COLUMN {column} LowCardinality(String)`"
        );
        return Err(misfit(what, super::DOWNGRADE));
    }
    Ok(Layout { placed, stamp })
}

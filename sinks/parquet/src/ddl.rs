//! The statements that make a table of the files.

mod athena;
mod clickhouse;

use arrow_schema::{DataType, Field, FieldRef};
use forebay_api::BoxError;
use forebay_aws::Location;

use crate::layout::Layout;
use crate::template::Piece;
use crate::time_pattern::TimePattern;

/// The table that a statement is about.
pub(crate) struct Table<'a> {
    name: &'a str,
    path: &'a str,
    layout: &'a Layout,
}

/// A level of the path.
enum Level<'a> {
    /// The same for all files.
    Fixed(&'a str),
    /// `name=` and a time.
    Time(&'a str, &'a TimePattern),
    /// A time, of which some levels may be made.
    BareTime(&'a TimePattern),
    /// `name=` and a column's value; the name as it stands in the path.
    Column(&'a str, &'a FieldRef),
    /// Anything else.
    Other,
}

/// The glob of all files of a table.
pub(crate) fn files(path: &str) -> String {
    format!("{}/**/*.parquet", path.trim_end_matches('/'))
}

/// A text in SQL.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A name in SQL, between marks that are doubled inside.
fn quoted(name: &str, mark: char) -> String {
    format!("{mark}{}{mark}", name.replace(mark, &format!("{mark}{mark}")))
}

fn no_type(engine: &str, field: &Field, found: &DataType) -> BoxError {
    format!("{engine} has no type for column `{}`, which holds {found}", field.name()).into()
}

impl<'a> Table<'a> {
    pub(crate) fn new(name: &'a str, path: &'a str, layout: &'a Layout) -> Self {
        Self { name, path, layout }
    }

    fn is_bucket(&self) -> bool {
        matches!(Location::parse(self.path), Ok(Location::Bucket { .. }))
    }

    /// The levels of the path, outermost first. What stands before the name of a file is none.
    fn levels(&self) -> Vec<Level<'a>> {
        let mut levels = Vec::new();
        let mut level: Vec<Part<'a>> = Vec::new();
        for piece in self.layout.pieces() {
            match piece {
                Piece::Text(text) => {
                    let mut parts = text.split('/');
                    level.extend(parts.next().filter(|it| !it.is_empty()).map(Part::Text));
                    for part in parts {
                        levels.push(self.level(&std::mem::take(&mut level)));
                        level.extend(Some(part).filter(|it| !it.is_empty()).map(Part::Text));
                    }
                }
                Piece::Time(pattern) if pattern.text().ends_with('/') => {
                    level.push(Part::Piece(piece));
                    levels.push(self.level(&std::mem::take(&mut level)));
                }
                piece => level.push(Part::Piece(piece)),
            }
        }
        if level.iter().any(|it| matches!(it, Part::Piece(_))) {
            levels.push(Level::Other);
        }
        levels
    }

    fn level(&self, parts: &[Part<'a>]) -> Level<'a> {
        match parts {
            [Part::Text(text)] => Level::Fixed(text),
            [Part::Piece(Piece::Time(pattern))] => Level::BareTime(pattern),
            [Part::Text(text), Part::Piece(piece)] => match (text.strip_suffix('='), piece) {
                (Some(name), Piece::Time(pattern)) => Level::Time(name, pattern),
                (Some(name), Piece::Column(column)) => {
                    self.layout.value_field(column).map_or(Level::Other, |it| Level::Column(name, it))
                }
                _ => Level::Other,
            },
            _ => Level::Other,
        }
    }

    /// DuckDB: a view. Levels of the path have their types declared, or text like `007` would become a number.
    pub(crate) fn duckdb(&self) -> String {
        let types = self.levels().into_iter().filter_map(|level| match level {
            Level::Time(name, pattern) => {
                let is_number =
                    pattern.text().bytes().all(|it| it.is_ascii_alphabetic()) && !pattern.text().contains("MMM");
                Some(format!("{}: {}", text(name), if is_number { "INTEGER" } else { "VARCHAR" }))
            }
            Level::Column(_, field) => {
                let level_type = match field.data_type() {
                    DataType::Boolean => "BOOLEAN",
                    DataType::UInt64 => "UBIGINT",
                    it if it.is_integer() => "BIGINT",
                    _ => "VARCHAR",
                };
                Some(format!("{}: {level_type}", text(field.name())))
            }
            Level::Fixed(_) | Level::BareTime(_) | Level::Other => None,
        });
        let types: Vec<String> = types.collect();
        let hive = match types.as_slice() {
            [] => "hive_partitioning = false".to_owned(),
            types => format!("hive_partitioning = true, hive_types = {{{}}}", types.join(", ")),
        };
        let (name, files) = (quoted(self.name, '"'), text(&files(self.path)));
        format!("CREATE VIEW {name} AS SELECT * FROM read_parquet({files}, {hive});\n")
    }
}

/// A piece of a level.
enum Part<'a> {
    Text(&'a str),
    Piece(&'a Piece),
}

//! The statements that make a table of the files.

mod athena;
mod clickhouse;

use std::borrow::Cow;

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
    Fixed(Cow<'a, str>),
    /// `name=` and a time.
    Time(Cow<'a, str>, Cow<'a, TimePattern>),
    /// A time, which may be that of several levels.
    BareTime(Cow<'a, TimePattern>),
    /// `name=` and a column's value; the name as it stands in the path.
    Column(Cow<'a, str>, &'a FieldRef),
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

    /// The levels of the path, outermost first. What stands before the name of a file is none. Times without a name that follow
    /// one another are one.
    fn levels(&self) -> Vec<Level<'a>> {
        let mut levels = Vec::new();
        let mut level: Vec<Part<'a>> = Vec::new();
        for part in self.parts() {
            match part {
                Part::Slash => {
                    let next = self.level(&std::mem::take(&mut level));
                    match (levels.pop(), next) {
                        (Some(Level::BareTime(one)), Level::BareTime(other)) => {
                            let joined = one.into_owned().joined(other.into_owned());
                            levels.push(Level::BareTime(Cow::Owned(joined)));
                        }
                        (before, next) => levels.extend(before.into_iter().chain([next])),
                    }
                }
                part => level.push(part),
            }
        }
        if level.iter().any(|it| !matches!(it, Part::Text(_))) {
            levels.push(Level::Other);
        }
        levels
    }

    fn parts(&self) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for piece in self.layout.pieces() {
            let begins_level = matches!(parts.last(), None | Some(Part::Slash));
            match piece {
                Piece::Text(text) => {
                    for (nth, part) in text.split('/').enumerate() {
                        parts.extend((nth > 0).then_some(Part::Slash));
                        parts.extend(Some(part).filter(|it| !it.is_empty()).map(|it| Part::Text(it.into())));
                    }
                }
                Piece::Time(pattern) if begins_level => {
                    for (nth, (text, pattern)) in pattern.levels().into_iter().enumerate() {
                        parts.extend((nth > 0).then_some(Part::Slash));
                        parts.extend(Some(text).filter(|it| !it.is_empty()).map(|it| Part::Text(it.into())));
                        parts.extend(pattern.map(|it| Part::Time(Cow::Owned(it))));
                    }
                }
                Piece::Time(pattern) => {
                    parts.push(Part::Time(Cow::Borrowed(pattern)));
                    parts.extend(pattern.text().ends_with('/').then_some(Part::Slash));
                }
                Piece::Column(column) => parts.push(Part::Column(column)),
                Piece::Random(_) | Piece::ErrorType => parts.push(Part::Other),
            }
        }
        parts
    }

    fn level(&self, parts: &[Part<'a>]) -> Level<'a> {
        match parts {
            [Part::Text(text)] => Level::Fixed(text.clone()),
            [Part::Time(pattern)] => Level::BareTime(pattern.clone()),
            [Part::Text(text), part] if text.ends_with('=') => {
                let name = match text {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[..text.len() - 1]),
                    Cow::Owned(text) => Cow::Owned(text[..text.len() - 1].to_owned()),
                };
                match part {
                    Part::Time(pattern) => Level::Time(name, pattern.clone()),
                    Part::Column(column) => {
                        self.layout.value_field(column).map_or(Level::Other, |it| Level::Column(name, it))
                    }
                    _ => Level::Other,
                }
            }
            _ => Level::Other,
        }
    }

    /// Where the files are: levels that are the same for all of them belong to the place. Files of other tables may lie beside
    /// it, such as those of `error_prefix`.
    fn place(&self) -> String {
        let mut place = self.path.trim_end_matches('/').to_owned();
        for level in self.levels() {
            let Level::Fixed(text) = level else { break };
            place += &format!("/{text}");
        }
        place
    }

    /// DuckDB: a view. Levels of the path have their types declared, or text like `007` would become a number.
    pub(crate) fn duckdb(&self) -> String {
        let types = self.levels().into_iter().filter_map(|level| match level {
            Level::Time(name, pattern) => {
                let is_number =
                    pattern.text().bytes().all(|it| it.is_ascii_alphabetic()) && !pattern.text().contains("MMM");
                Some(format!("{}: {}", text(&name), if is_number { "INTEGER" } else { "VARCHAR" }))
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
        let (name, files) = (quoted(self.name, '"'), text(&files(&self.place())));
        format!("CREATE VIEW {name} AS SELECT * FROM read_parquet({files}, {hive});\n")
    }
}

/// A piece of a path.
enum Part<'a> {
    Slash,
    Text(Cow<'a, str>),
    Time(Cow<'a, TimePattern>),
    Column(&'a str),
    Other,
}

//! Amazon Athena, over the Glue catalog.

use std::collections::BTreeSet;

use arrow_schema::{DataType, Field};
use forebay_api::BoxError;
use jiff::civil::DateTime;

use super::{Level, Table, no_type, text};
use crate::time_pattern::TimePattern;

/// The years that Athena is told of: it lists what a query does not exclude of the range, and sees nothing outside it.
const YEARS: (i16, i16) = (2020, 2040);

/// What the column of a time is called that stands in the path without a name.
const BARE_TIME: &str = "datehour";

/// Levels and properties of a table whose partitions Athena works out by itself, so that neither a crawler nor `MSCK
/// REPAIR TABLE` is needed.
/// See <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>.
#[derive(Default)]
struct Projection {
    columns: Vec<(String, &'static str)>,
    properties: Vec<(String, String)>,
    /// What stands behind the location.
    template: String,
    notes: Vec<String>,
}

impl Table<'_> {
    /// `CREATE EXTERNAL TABLE`, with partition projection.
    pub(crate) fn athena(&self) -> Result<String, BoxError> {
        let name = glue_name("table", self.name)?;
        let mut notes = Vec::new();
        let mut location = match self.is_bucket() {
            true => format!("{}/", self.path.trim_end_matches('/')),
            false => {
                notes.push(format!("-- Put the bucket that holds `{}` for BUCKET.", self.path));
                match self.path.trim_start_matches(['.', '/']).trim_end_matches('/') {
                    "" => "s3://BUCKET/".to_owned(),
                    place => format!("s3://BUCKET/{place}/"),
                }
            }
        };
        let projection = self.projection(&mut location)?;
        notes.extend(projection.notes.iter().cloned());
        let of_path: BTreeSet<&str> = projection.columns.iter().map(|it| it.0.as_str()).collect();
        let mut columns = Vec::new();
        let mut has_times = false;
        for field in self.layout.schema().fields() {
            let name = glue_name("column", field.name())?;
            has_times |= matches!(field.data_type(), DataType::Timestamp(..));
            // A column is named once; the level of the path is what saves reading files.
            if !of_path.contains(name) {
                columns.push(format!("  `{name}` {}", athena_type(field)?));
            }
        }
        if has_times {
            notes.push(
                "-- Times are INT64, which Athena, Trino and Spark read; Hive before 4 wants `bigint` for them."
                    .to_owned(),
            );
        }
        let mut statement = format!("{}\n", notes.join("\n"));
        if notes.is_empty() {
            statement.clear();
        }
        statement += &format!("CREATE EXTERNAL TABLE `{name}` (\n{}\n)\n", columns.join(",\n"));
        if !projection.columns.is_empty() {
            let levels: Vec<String> = projection.columns.iter().map(|(name, of)| format!("`{name}` {of}")).collect();
            statement += &format!("PARTITIONED BY ({})\n", levels.join(", "));
        }
        statement += &format!("STORED AS PARQUET\nLOCATION {}", text(&location));
        if !projection.columns.is_empty() {
            let mut properties = vec![("projection.enabled".to_owned(), "true".to_owned())];
            properties.extend(projection.properties);
            properties.push(("storage.location.template".to_owned(), format!("{location}{}", projection.template)));
            let lines: Vec<String> =
                properties.iter().map(|(key, value)| format!("  {} = {}", text(key), text(value))).collect();
            statement += &format!("\nTBLPROPERTIES (\n{}\n)", lines.join(",\n"));
        }
        statement += ";\n";
        Ok(statement)
    }

    /// Fixed levels at the beginning belong to the location.
    fn projection(&self, location: &mut String) -> Result<Projection, BoxError> {
        let mut projection = Projection::default();
        let mut bare = None;
        for level in self.levels() {
            match level {
                Level::Fixed(text) if projection.columns.is_empty() => *location += &format!("{text}/"),
                Level::Fixed(text) => projection.template += &format!("{text}/"),
                Level::Time(name, pattern) => projection.time(glue_name("level", &name)?, &pattern, true),
                Level::BareTime(pattern) if projection.columns.iter().all(|it| it.0 != BARE_TIME) => {
                    projection.time(BARE_TIME, &pattern, false);
                    bare = Some(first(&pattern));
                }
                Level::Column(in_path, field) => {
                    let name = glue_name("column", field.name())?;
                    projection.notes.push(format!(
                        "-- Every query must say which values of `{name}` it wants, as they stand in the path: WHERE {name} = '…'."
                    ));
                    projection.columns.push((name.to_owned(), "string"));
                    projection.property(name, "type", "injected");
                    projection.template += &format!("{in_path}=${{{name}}}/");
                }
                Level::BareTime(_) | Level::Other => {
                    return Err("Athena cannot work out the levels of such a prefix; it takes `name=` and one \
                                expression, or one `!{timestamp:…}`, between two `/`"
                        .into());
                }
            }
        }
        if let Some(first) = bare {
            let example = match projection.columns.as_slice() {
                [(column, _)] => {
                    let place = location.clone() + &projection.template.replace(&format!("${{{column}}}"), &first);
                    let (name, first, place) = (self.name, text(&first), text(&place));
                    format!(": ALTER TABLE `{name}` ADD PARTITION (`{column}` = {first}) LOCATION {place}")
                }
                _ => String::new(),
            };
            projection.notes.push(format!(
                "-- Spark and Hive know no projection, and find no partitions here: each must be added with its place{example}."
            ));
        }
        Ok(projection)
    }
}

impl Projection {
    fn property(&mut self, name: &str, key: &str, value: &str) {
        self.properties.push((format!("projection.{name}.{key}"), value.to_owned()));
    }

    fn time(&mut self, name: &str, pattern: &TimePattern, named: bool) {
        let format = pattern.text().trim_end_matches('/');
        self.template += &if named { format!("{name}=${{{name}}}/") } else { format!("${{{name}}}/") };
        let range = match format {
            "yyyy" | "uuuu" => {
                self.notes.push(format!(
                    "-- Athena sees the years {} to {} only: see `projection.{name}.range`.",
                    YEARS.0, YEARS.1
                ));
                Some((i64::from(YEARS.0), i64::from(YEARS.1), 4))
            }
            "MM" | "LL" => Some((1, 12, 2)),
            "dd" => Some((1, 31, 2)),
            "HH" => Some((0, 23, 2)),
            "mm" | "ss" => Some((0, 59, 2)),
            _ => None,
        };
        match range {
            Some((first, last, digits)) => {
                self.columns.push((name.to_owned(), "int"));
                self.property(name, "type", "integer");
                self.property(name, "range", &format!("{first},{last}"));
                self.property(name, "digits", &digits.to_string());
            }
            None => {
                self.notes.push(format!(
                    "-- Athena sees nothing before {} and nothing to come: see `projection.{name}.range`.",
                    YEARS.0
                ));
                let unit = match pattern.unit() {
                    _ if !format.contains('d') && !format.contains('D') && format.contains(['M', 'L']) => "MONTHS",
                    _ if !format.contains(['d', 'D', 'M', 'L', 'H']) => "YEARS",
                    86_400 => "DAYS",
                    3_600 => "HOURS",
                    60 => "MINUTES",
                    _ => "SECONDS",
                };
                self.columns.push((name.to_owned(), "string"));
                self.property(name, "type", "date");
                self.property(name, "format", format);
                self.property(name, "range", &format!("{},NOW", first(pattern)));
                self.property(name, "interval", "1");
                self.property(name, "interval.unit", unit);
            }
        }
    }
}

/// The first time that Athena is told of.
fn first(pattern: &TimePattern) -> String {
    let mut first = String::new();
    pattern.write(DateTime::constant(YEARS.0, 1, 1, 0, 0, 0, 0), &mut first);
    first.trim_end_matches('/').to_owned()
}

/// Glue keeps names in lower case, and its tables are queried by engines that take no other characters.
fn glue_name<'a>(kind: &str, name: &'a str) -> Result<&'a str, BoxError> {
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    if !name.is_empty() && name.len() <= 255 && name.bytes().all(fits) {
        return Ok(name);
    }
    let remedy = match kind {
        "column" => "; the `ecs` transform gives such names with `names = \"underscored\"`",
        _ => "",
    };
    Err(format!("{kind} `{name}` does not fit Athena, which takes a-z, 0-9 and `_`{remedy}").into())
}

fn athena_type(field: &Field) -> Result<String, BoxError> {
    let plain = match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "int",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "decimal(20,0)",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::FixedSizeBinary(_) => "binary",
        DataType::Date32 => "date",
        DataType::Timestamp(_, _) => "timestamp",
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            return Ok(format!("decimal({p},{s})"));
        }
        DataType::List(item) | DataType::LargeList(item) => {
            return Ok(format!("array<{}>", athena_type(item)?));
        }
        DataType::Dictionary(_, values) => {
            return athena_type(&Field::new(field.name(), values.as_ref().clone(), true));
        }
        other => return Err(no_type("Athena", field, other)),
    };
    Ok(plain.to_owned())
}

//! The statements that make a table of the files.

use arrow_schema::{DataType, Field, TimeUnit};
use forebay_api::BoxError;

use crate::layout::{Layout, Level, NO_VALUE, encoded};

/// The glob of all files of a table.
pub(crate) fn files(path: &str) -> String {
    format!("{}/**/*.parquet", path.trim_end_matches('/'))
}

/// A text in SQL.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Athena: partition projection, so that neither a crawler nor `MSCK REPAIR TABLE` is needed.
/// See <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>.
pub(crate) fn athena(name: &str, path: &str, layout: &Layout) -> Result<String, BoxError> {
    let name = glue_name("table", name)?;
    let place = path.trim_start_matches(['.', '/']).trim_end_matches('/');
    let location = match place {
        "" => "s3://BUCKET/".to_owned(),
        place => format!("s3://BUCKET/{place}/"),
    };
    let mut columns = Vec::new();
    for field in layout.schema().fields() {
        columns.push(format!("  `{}` {}", glue_name("column", field.name())?, athena_type(field)?));
    }
    let mut levels = Vec::new();
    let mut properties = Vec::new();
    let mut template = location.clone();
    let mut notes = vec![format!("-- Put the bucket that holds `{path}` for BUCKET.")];
    for level in layout.levels() {
        match level {
            Level::Time { name, first, last, digits } => {
                if name == "year" {
                    notes
                        .push(format!("-- Athena sees the years {first} to {last} only: see `projection.year.range`."));
                }
                levels.push(format!("`{name}` int"));
                properties.push((format!("projection.{name}.type"), "integer".to_owned()));
                properties.push((format!("projection.{name}.range"), format!("{first},{last}")));
                properties.push((format!("projection.{name}.digits"), digits.to_string()));
                template.push_str(&format!("{name}=${{{name}}}/"));
            }
            Level::Column(field) => {
                let name = glue_name("column", field.name())?;
                levels.push(format!("`{name}` string"));
                properties.push((format!("projection.{name}.type"), "injected".to_owned()));
                template.push_str(&format!("{}=${{{name}}}/", encoded(name)));
                notes.push(format!(
                    "-- Every query must say which values of `{name}` it wants, as they stand in the path: WHERE {name} = '…'."
                ));
            }
        }
    }
    let mut statement = format!("{}\nCREATE EXTERNAL TABLE `{name}` (\n", notes.join("\n"));
    statement.push_str(&columns.join(",\n"));
    statement.push_str("\n)\n");
    if !levels.is_empty() {
        statement.push_str(&format!("PARTITIONED BY ({})\n", levels.join(", ")));
    }
    statement.push_str(&format!("STORED AS PARQUET\nLOCATION {}", text(&location)));
    if !levels.is_empty() {
        properties.insert(0, ("projection.enabled".to_owned(), "true".to_owned()));
        properties.push(("storage.location.template".to_owned(), template));
        let lines: Vec<String> =
            properties.iter().map(|(key, value)| format!("  {} = {}", text(key), text(value))).collect();
        statement.push_str(&format!("\nTBLPROPERTIES (\n{}\n)", lines.join(",\n")));
    }
    statement.push_str(";\n");
    Ok(statement)
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

/// ClickHouse: a table, and the statement that fills it from the files.
///
/// Levels of the path are taken from `_path`: what ClickHouse itself makes of them (`use_hive_partitioning`) is
/// neither decoded nor null, and `007` is a number.
pub(crate) fn clickhouse(name: &str, path: &str, layout: &Layout) -> Result<String, BoxError> {
    let mut columns = Vec::new();
    let mut names = Vec::new();
    let mut values = Vec::new();
    for field in layout.schema().fields() {
        // Rows without a time are refused, and a sorting key takes no nulls.
        let nullable = field.is_nullable() && layout.time() != Some(field.name());
        let quoted = quoted(field.name(), '`');
        columns.push(format!("    {quoted} {}", clickhouse_type(field, nullable)?));
        names.push(quoted.clone());
        values.push(quoted);
    }
    for level in layout.levels() {
        let Level::Column(field) = level else { continue };
        let quoted = quoted(field.name(), '`');
        columns.push(format!("    {quoted} {}", clickhouse_type(field, true)?));
        names.push(quoted);
        let pattern = format!("/{}=([^/]*)/", encoded(field.name()).replace('.', "[.]"));
        let value = format!("extract(_path, {})", text(&pattern));
        values.push(format!("decodeURLComponent(nullIf({value}, {}))", text(NO_VALUE)));
    }
    let order = match layout.time() {
        Some(time) => quoted(time, '`'),
        None => "tuple()".to_owned(),
    };
    let name = quoted(name, '`');
    let files = text(&files(path));
    Ok(format!(
        "CREATE TABLE {name} (\n{}\n) ENGINE = MergeTree ORDER BY {order};\n\
         -- Fill it where the server sees the files:\n\
         -- INSERT INTO {name} ({})\n\
         -- SELECT {}\n\
         -- FROM file({files}, Parquet) SETTINGS use_hive_partitioning = 0;\n",
        columns.join(",\n"),
        names.join(", "),
        values.join(", ")
    ))
}

fn clickhouse_type(field: &Field, nullable: bool) -> Result<String, BoxError> {
    let plain = match field.data_type() {
        DataType::Boolean => "Bool".to_owned(),
        it if it.is_integer() => it.to_string(),
        DataType::Float32 => "Float32".to_owned(),
        DataType::Float64 => "Float64".to_owned(),
        it if it.is_string() || it.is_binary() => "String".to_owned(),
        DataType::Date32 => "Date32".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            // A file says of a time only that it is UTC, whatever the zone was.
            if zone.is_some() { format!("DateTime64({digits}, 'UTC')") } else { format!("DateTime64({digits})") }
        }
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            format!("Decimal({p}, {s})")
        }
        // An array is never null in ClickHouse; a null one becomes an empty one.
        DataType::List(item) | DataType::LargeList(item) => {
            return Ok(format!("Array({})", clickhouse_type(item, item.is_nullable())?));
        }
        DataType::Dictionary(_, values) => {
            return clickhouse_type(&Field::new(field.name(), values.as_ref().clone(), true), nullable);
        }
        other => return Err(no_type("ClickHouse", field, other)),
    };
    Ok(if nullable { format!("Nullable({plain})") } else { plain })
}

/// DuckDB: a view. Levels of the path have their types declared, or text like `007` would become a number.
pub(crate) fn duckdb(name: &str, path: &str, layout: &Layout) -> String {
    let types = layout.levels().into_iter().map(|level| match level {
        Level::Time { name, .. } => format!("{}: INTEGER", text(name)),
        Level::Column(field) => {
            let level_type = match field.data_type() {
                DataType::Boolean => "BOOLEAN",
                DataType::UInt64 => "UBIGINT",
                it if it.is_integer() => "BIGINT",
                _ => "VARCHAR",
            };
            format!("{}: {level_type}", text(field.name()))
        }
    });
    let types: Vec<String> = types.collect();
    let hive = match types.as_slice() {
        [] => "hive_partitioning = false".to_owned(),
        types => format!("hive_partitioning = true, hive_types = {{{}}}", types.join(", ")),
    };
    format!("CREATE VIEW {} AS SELECT * FROM read_parquet({}, {hive});\n", quoted(name, '"'), text(&files(path)))
}

/// A name in SQL, between marks that are doubled inside.
fn quoted(name: &str, mark: char) -> String {
    format!("{mark}{}{mark}", name.replace(mark, &format!("{mark}{mark}")))
}

fn no_type(engine: &str, field: &Field, found: &DataType) -> BoxError {
    format!("{engine} has no type for column `{}`, which holds {found}", field.name()).into()
}

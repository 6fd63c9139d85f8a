//! ClickHouse.

use arrow_schema::{DataType, Field, TimeUnit};
use forebay_api::BoxError;

use super::{Level, Table, files, no_type, quoted, text};
use crate::layout::NO_VALUE;

impl Table<'_> {
    /// A table, and the statement that fills it from the files.
    ///
    /// Levels of the path are taken from `_path`: what ClickHouse itself makes of them (`use_hive_partitioning`) is
    /// neither decoded nor null, and `007` is a number.
    pub(crate) fn clickhouse(&self) -> Result<String, BoxError> {
        let layout = self.layout;
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
        for level in self.levels() {
            let Level::Column(in_path, field) = level else { continue };
            if layout.schema().index_of(field.name()).is_ok() {
                continue;
            }
            let quoted = quoted(field.name(), '`');
            columns.push(format!("    {quoted} {}", clickhouse_type(field, true)?));
            names.push(quoted);
            let pattern = format!("/{}=([^/]*)/", in_path.replace('.', "[.]"));
            let value = format!("extract(_path, {})", text(&pattern));
            values.push(format!("decodeURLComponent(nullIf({value}, {}))", text(NO_VALUE)));
        }
        let order = match layout.time() {
            Some(time) => quoted(time, '`'),
            None => "tuple()".to_owned(),
        };
        let name = quoted(self.name, '`');
        let function = if self.is_bucket() { "s3" } else { "file" };
        let files = text(&files(&self.place()));
        let format = if self.is_bucket() { "'Parquet'" } else { "Parquet" };
        Ok(format!(
            "CREATE TABLE {name} (\n{}\n) ENGINE = MergeTree ORDER BY {order};\n\
             -- Fill it where the server sees the files:\n\
             -- INSERT INTO {name} ({})\n\
             -- SELECT {}\n\
             -- FROM {function}({files}, {format}) SETTINGS use_hive_partitioning = 0;\n",
            columns.join(",\n"),
            names.join(", "),
            values.join(", ")
        ))
    }
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

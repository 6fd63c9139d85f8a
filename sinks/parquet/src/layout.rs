//! Which directory a row belongs to, and which columns its file keeps. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, PrimitiveArray, RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use forebay_api::{Wrong, column, same_type};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use parquet::arrow::{ArrowSchemaConverter, parquet_to_arrow_schema};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Every, PartitionBy};

/// The directory of rows without a value, as Hive calls it (`hive.exec.default.partition.name`).
pub(crate) const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// What stands in a path as it is: no separator, no control character, nothing that a shell or a URL reads otherwise.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The most bytes that a file system takes as the name of a directory (`NAME_MAX` of Linux).
const NAME_BYTES_MAX: usize = 255;

/// The names of the levels in time, longest first.
const TIME_LEVELS: [(&str, Every); 4] =
    [("year", Every::Year), ("month", Every::Month), ("day", Every::Day), ("hour", Every::Hour)];

/// 0000-01-01T00:00:00Z: years are written with four digits.
const SECONDS_MIN: i64 = -62_167_219_200;

/// How rows are laid out.
#[derive(Debug)]
pub(crate) struct Layout {
    time: Option<TimeLevels>,
    columns: Vec<ColumnLevel>,
    /// The columns that stay in the file.
    kept: Vec<usize>,
    schema: SchemaRef,
}

#[derive(Debug)]
struct TimeLevels {
    column: usize,
    name: String,
    every: Every,
    per_second: i64,
}

#[derive(Debug)]
struct ColumnLevel {
    column: usize,
    field: FieldRef,
    value_bytes_max: usize,
}

/// A level of the path, for statements about the table.
pub(crate) enum Level<'a> {
    /// Digits of the time, from one number to another: `month=01` to `month=12`.
    Time { name: &'static str, first: u32, last: u32, digits: usize },
    /// A column's value.
    Column(&'a Field),
}

impl Layout {
    pub(crate) fn new(partition: &PartitionBy, input: &SchemaRef) -> Result<Self, Wrong> {
        let time = TimeLevels::new(partition, input)?;
        let mut columns: Vec<ColumnLevel> = Vec::new();
        for name in &partition.columns {
            let level = ColumnLevel::new(name, input)?;
            if columns.iter().any(|it| it.column == level.column) {
                let what = format!("column `{name}` is named twice");
                return Err(Wrong::new("partition.columns", what));
            }
            columns.push(level);
        }
        let kept: Vec<usize> =
            (0..input.fields().len()).filter(|it| columns.iter().all(|level| level.column != *it)).collect();
        if kept.is_empty() {
            let what = "every column is a level of the path, so the files would have none";
            return Err(Wrong::new("partition.columns", what));
        }
        // Without metadata: it is no part of the rows, and comes in no certain order.
        let fields: Vec<Field> =
            kept.iter().map(|it| input.field(*it).clone().with_metadata(Default::default())).collect();
        let schema = Arc::new(Schema::new(fields));
        storable(&schema)?;
        Ok(Self { time, columns, kept, schema })
    }

    /// The columns of a file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The name of the column that partitions in time, if one does.
    pub(crate) fn time(&self) -> Option<&str> {
        self.time.as_ref().map(|it| it.name.as_str())
    }

    /// The levels of the path, outermost first.
    pub(crate) fn levels(&self) -> Vec<Level<'_>> {
        let every = self.time.as_ref().map(|it| it.every);
        let time = TIME_LEVELS.iter().filter(|it| every.is_some_and(|every| it.1 <= every));
        let time = time.map(|(name, level)| {
            let (first, last, digits) = match level {
                // Athena lists what a query does not exclude of the range, and sees nothing outside it.
                Every::Year => (2020, 2040, 4),
                Every::Month => (1, 12, 2),
                Every::Day => (1, 31, 2),
                Every::Hour => (0, 23, 2),
            };
            Level::Time { name, first, last, digits }
        });
        time.chain(self.columns.iter().map(|it| Level::Column(&it.field))).collect()
    }

    /// The columns of the rows that their files keep.
    pub(crate) fn keep(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.kept.iter().map(|it| rows.column(*it).clone()).collect();
        RecordBatch::try_new(self.schema.clone(), columns)
    }

    /// Prepares to say where each of these rows belongs.
    pub(crate) fn locate(&self, rows: &RecordBatch) -> Result<Located<'_>, ArrowError> {
        let times = self.time.as_ref().map(|it| {
            let values = arrow_cast::cast(rows.column(it.column), &DataType::Int64)?;
            Ok::<_, ArrowError>(values.as_primitive::<Int64Type>().clone())
        });
        let texts = self.columns.iter().map(|it| {
            let values = arrow_cast::cast(rows.column(it.column), &DataType::Utf8)?;
            Ok(values.as_string::<i32>().clone())
        });
        Ok(Located { layout: self, times: times.transpose()?, texts: texts.collect::<Result<_, ArrowError>>()? })
    }
}

impl TimeLevels {
    fn new(partition: &PartitionBy, input: &Schema) -> Result<Option<Self>, Wrong> {
        let Some(name) = &partition.time else {
            if partition.every.is_some() {
                let wrong = Wrong::new("partition.every", "`every` says nothing without `time`");
                return Err(wrong.hint("name a timestamp column: `time = \"timestamp\"`"));
            }
            return Ok(None);
        };
        let is_timestamp = |it: &DataType| matches!(it, DataType::Timestamp(_, _));
        let column = same_type(input, "partition.time", name, "a timestamp", is_timestamp)?;
        let every = partition.every.unwrap_or_default();
        let levels = TIME_LEVELS.iter().filter(|it| it.1 <= every);
        for (level, _) in levels {
            // Readers put the levels of the path beside the columns of the file, whatever their case.
            if let Some(clash) = input.fields().iter().find(|it| it.name().eq_ignore_ascii_case(level)) {
                let what = format!("column `{}` has the name of a level of the path, `{level}=…`", clash.name());
                return Err(Wrong::new("partition.time", what).hint("give the column another name upstream"));
            }
        }
        let per_second = match input.field(column).data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
            _ => 1,
        };
        Ok(Some(Self { column, name: name.clone(), every, per_second }))
    }

    /// Says why a row has no place in time, if it has none.
    fn check(&self, times: &PrimitiveArray<Int64Type>, row: usize) -> Result<(), String> {
        let name = &self.name;
        if times.is_null(row) {
            return Err(format!("column `{name}` is null, so the row belongs to no partition"));
        }
        if (SECONDS_MIN..=Timestamp::MAX.as_second()).contains(&self.seconds(times, row)) {
            Ok(())
        } else {
            Err(format!("column `{name}` lies outside the years 0 to 9999"))
        }
    }

    fn seconds(&self, times: &PrimitiveArray<Int64Type>, row: usize) -> i64 {
        times.value(row).div_euclid(self.per_second)
    }

    /// The number of the partition in time.
    fn bucket(&self, seconds: i64) -> i64 {
        match self.every {
            Every::Hour => seconds.div_euclid(3_600),
            Every::Day => seconds.div_euclid(86_400),
            Every::Month => {
                let date = civil(seconds);
                i64::from(date.year()) * 12 + i64::from(date.month())
            }
            Every::Year => i64::from(civil(seconds).year()),
        }
    }

    fn directories(&self, seconds: i64) -> String {
        let at = civil(seconds);
        let mut path = format!("year={:04}/", at.year());
        let rest =
            [(Every::Month, "month", at.month()), (Every::Day, "day", at.day()), (Every::Hour, "hour", at.hour())];
        for (_, name, digits) in rest.into_iter().filter(|it| it.0 <= self.every) {
            path.push_str(&format!("{name}={digits:02}/"));
        }
        path
    }
}

fn civil(seconds: i64) -> DateTime {
    let timestamp = Timestamp::from_second(seconds).expect("times are checked before");
    Offset::UTC.to_datetime(timestamp)
}

impl ColumnLevel {
    fn new(name: &str, input: &Schema) -> Result<Self, Wrong> {
        let column = column(input, "partition.columns", name)?;
        let field = input.fields()[column].clone();
        let fits = |it: &DataType| it.is_string() || it.is_integer() || *it == DataType::Boolean;
        let values = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if !fits(values) {
            let what = format!("column `{name}` must hold text, whole numbers or booleans, but holds {values}");
            return Err(Wrong::new("partition.columns", what));
        }
        let name_bytes = encoded(name).len() + "=".len();
        let Some(value_bytes_max) = NAME_BYTES_MAX.checked_sub(name_bytes).filter(|it| *it >= NO_VALUE.len()) else {
            let what = format!("the name of column `{name}` is too long for a directory");
            return Err(Wrong::new("partition.columns", what));
        };
        Ok(Self { column, field, value_bytes_max })
    }

    fn check(&self, value: &str) -> Result<(), String> {
        // No byte takes more than three: `%2F`.
        if value.len() * 3 <= self.value_bytes_max || encoded(value).len() <= self.value_bytes_max {
            return Ok(());
        }
        Err(format!("the value of column `{}` is too long for the name of a directory", self.field.name()))
    }
}

/// A batch of rows whose places can be told.
pub(crate) struct Located<'a> {
    layout: &'a Layout,
    times: Option<PrimitiveArray<Int64Type>>,
    texts: Vec<StringArray>,
}

impl Located<'_> {
    /// Writes what the rows of one directory, and only those, have in common. Else: why the row has no place.
    pub(crate) fn key(&self, row: usize, key: &mut Vec<u8>) -> Result<(), String> {
        key.clear();
        if let (Some(time), Some(times)) = (&self.layout.time, &self.times) {
            time.check(times, row)?;
            let bucket = time.bucket(time.seconds(times, row));
            key.extend_from_slice(&bucket.to_le_bytes());
        }
        for (level, texts) in self.layout.columns.iter().zip(&self.texts) {
            let value = value(texts, row);
            level.check(value)?;
            // The length keeps `ab`+`c` and `a`+`bc` apart.
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(value.as_bytes());
        }
        Ok(())
    }

    /// The directory of a row that has a place, relative to the table's, with `/` after each level.
    pub(crate) fn directory(&self, row: usize) -> String {
        let mut path = String::new();
        if let (Some(time), Some(times)) = (&self.layout.time, &self.times) {
            path.push_str(&time.directories(time.seconds(times, row)));
        }
        for (level, texts) in self.layout.columns.iter().zip(&self.texts) {
            let value = match value(texts, row) {
                "" => NO_VALUE.into(),
                value => encoded(value),
            };
            path.push_str(&format!("{}={value}/", encoded(level.field.name())));
        }
        path
    }
}

/// The value, or the empty text for null: they share a directory.
fn value(texts: &StringArray, row: usize) -> &str {
    if texts.is_null(row) { "" } else { texts.value(row) }
}

/// A value as it stands in a path. Different values stay different.
pub(crate) fn encoded(value: &str) -> Cow<'_, str> {
    let encoded: Cow<'_, str> = utf8_percent_encode(value, ENCODED).into();
    match encoded.strip_prefix('.') {
        // Neither a way out (`..`) nor a hidden directory, which readers skip.
        Some(rest) => format!("%2E{rest}").into(),
        None if encoded == NO_VALUE => encoded.replacen('_', "%5F", 1).into(),
        None => encoded,
    }
}

/// Checks that Parquet can hold the columns, and that readers get a time where there was one.
fn storable(schema: &SchemaRef) -> Result<(), Wrong> {
    let converted = ArrowSchemaConverter::new().convert(schema);
    let read = converted.and_then(|it| parquet_to_arrow_schema(&it, None));
    let read = read.map_err(|error| Wrong::new("", format!("Parquet cannot hold these columns: {error}")))?;
    let lost = schema
        .fields()
        .iter()
        .zip(read.fields())
        .find(|(written, read)| written.data_type().is_temporal() && !read.data_type().is_temporal());
    match lost {
        None => Ok(()),
        Some((field, _)) => {
            let what = format!("Parquet has no type for column `{}`, which holds {}", field.name(), field.data_type());
            Err(Wrong::new("", what).hint("make it a timestamp in milliseconds upstream"))
        }
    }
}

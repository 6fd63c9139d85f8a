//! Where a row belongs, and what its file keeps of it. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, PrimitiveArray, RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use forebay_api::{DeliveryId, Wrong, column, same_type};
use forebay_aws::Location;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::columns::{Columns, Kept};
use crate::template::{self, Kind, Piece, random_string};
use crate::time_pattern::TimePattern;
use crate::{Every, LateTo, Parquet};

/// The directory of rows without a value, as Hive calls it (`hive.exec.default.partition.name`).
pub(crate) const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// What stands in a path as it is: no separator, no control character, nothing that a shell or a URL reads otherwise.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The most bytes that a file system takes as the name of a directory (`NAME_MAX` of Linux).
const NAME_BYTES_MAX: usize = 255;

/// The most characters that a prefix has once its expressions are filled in (Firehose's limit).
const PREFIX_MAX: usize = 512;

/// The most bytes of an object's key: the S3 User Guide, "Naming Amazon S3 objects".
const KEY_BYTES_MAX: usize = 1024;

/// The most bytes that a file's own name has: the delivery, `-`, a number of up to ten digits, `.parquet`.
const FILE_NAME_BYTES_MAX: usize = 32 + 1 + 10 + 8;

/// The levels of Hive partitions in time, longest first, with the patterns of their values.
const TIME_LEVELS: [(&str, Every, &str); 4] = [
    ("year", Every::Year, "yyyy"),
    ("month", Every::Month, "MM"),
    ("day", Every::Day, "dd"),
    ("hour", Every::Hour, "HH"),
];

/// 0000-01-01T00:00:00Z: years are written with four digits.
const SECONDS_MIN: i64 = -62_167_219_200;

/// How rows are laid out.
#[derive(Debug)]
pub(crate) struct Layout {
    rows: Vec<Piece>,
    errors: Vec<Piece>,
    time: Option<Time>,
    late: Option<Lateness>,
    /// The columns whose values stand in paths.
    values: Vec<Value>,
    columns: Arc<Columns>,
    /// How many bytes stand before the prefix in an object's key.
    root_bytes: usize,
    /// Whether Firehose's limits hold.
    is_prefix: bool,
}

#[derive(Debug)]
struct Time {
    column: usize,
    name: String,
    per_second: i64,
    /// For so many seconds paths stay the same; 0: less than one.
    unit: i64,
}

#[derive(Debug)]
struct Lateness {
    /// In units of the time column.
    after: i64,
    to: LateTo,
}

#[derive(Debug)]
struct Value {
    column: usize,
    field: FieldRef,
    bytes_max: usize,
}

impl Layout {
    pub(crate) fn new(config: &Parquet, input: &SchemaRef) -> Result<Self, Wrong> {
        let is_prefix = config.prefix.is_some();
        let (rows, in_path_only) = match &config.prefix {
            Some(prefix) => (prefix_pieces(config, prefix)?, &[][..]),
            None => (hive_pieces(config)?, config.partition.columns.as_slice()),
        };
        let errors = error_pieces(config)?;
        let mut time = Time::new(config, input)?;
        let patterns = rows.iter().chain(&errors).filter_map(|it| match it {
            Piece::Time(pattern) => Some(pattern),
            _ => None,
        });
        match &mut time {
            Some(time) => time.unit = patterns.map(TimePattern::unit).min().unwrap_or(i64::MAX),
            None if patterns.count() > 0 => {
                let what = "the prefix holds the time of rows, but nothing says which column that is";
                return Err(
                    Wrong::new("partition.time", what).hint("for example `partition = { time = \"timestamp\" }`")
                );
            }
            None => {}
        }
        let late = Lateness::new(config, time.as_ref())?;
        if !is_prefix && time.is_some() {
            clashes(config.partition.every.unwrap_or_default(), input)?;
        }
        let mut values: Vec<Value> = Vec::new();
        for piece in rows.iter().chain(&errors) {
            if let Piece::Column(name) = piece
                && !values.iter().any(|it| it.field.name() == name)
            {
                values.push(Value::new(name, is_prefix, input)?);
            }
        }
        let columns = Arc::new(Columns::new(config, in_path_only, input)?);
        let root_bytes = match config.place()? {
            Location::Directory(_) => 0,
            Location::Bucket { prefix, .. } => prefix.len(),
        };
        let layout = Self { rows, errors, time, late, values, columns, root_bytes, is_prefix };
        layout.check_prefix("prefix", Kind::Rows)?;
        layout.check_prefix("error_prefix", Kind::Errors)?;
        Ok(layout)
    }

    /// The columns of a file.
    pub(crate) fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// The columns of a file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    /// The name of the column of the row's time, if one is named.
    pub(crate) fn time(&self) -> Option<&str> {
        self.time.as_ref().map(|it| it.name.as_str())
    }

    /// What the path of rows is made of, for statements about the table.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.rows
    }

    /// The column of a piece of the path.
    pub(crate) fn value_field(&self, name: &str) -> Option<&FieldRef> {
        self.values.iter().map(|it| &it.field).find(|it| it.name() == name)
    }

    /// Whether a path that this prefix makes can be one: no way out of the table, nothing hidden, no empty level.
    fn check_prefix(&self, key: &str, kind: Kind) -> Result<(), Wrong> {
        let mut path = String::new();
        let sample = DateTime::constant(2026, 11, 21, 17, 45, 9, 123_000_000);
        for piece in self.pieces_of(kind) {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Time(pattern) => pattern.write(sample, &mut path),
                Piece::Column(_) | Piece::Random(_) | Piece::ErrorType => path.push('x'),
            }
        }
        let wrong = |what: &str| Wrong::new(key, format!("{what}, as in `{path}`"));
        if path.chars().any(char::is_control) {
            return Err(wrong("a prefix holds no control characters"));
        }
        let levels: Vec<&str> = path.split('/').collect();
        // What comes last is the beginning of the file's name.
        let (_, directories) = levels.split_last().unwrap_or((&"", &[]));
        if directories.iter().any(|it| it.is_empty()) {
            return Err(wrong("a prefix neither begins with `/` nor holds two in a row"));
        }
        if levels.iter().any(|it| it.starts_with('.')) {
            return Err(wrong("no level of a prefix begins with a dot: readers pass over such files"));
        }
        Ok(())
    }

    fn pieces_of(&self, kind: Kind) -> &[Piece] {
        match kind {
            Kind::Rows => &self.rows,
            Kind::Errors => &self.errors,
        }
    }

    /// Prepares to say where each of these rows belongs.
    pub(crate) fn locate(&self, rows: &RecordBatch) -> Result<Located<'_>, ArrowError> {
        let times = self.time.as_ref().map(|it| {
            let values = arrow_cast::cast(rows.column(it.column), &DataType::Int64)?;
            Ok::<_, ArrowError>(values.as_primitive::<Int64Type>().clone())
        });
        let texts = self.values.iter().map(|it| {
            let values = arrow_cast::cast(rows.column(it.column), &DataType::Utf8)?;
            Ok(values.as_string::<i32>().clone())
        });
        let kept = self.columns.keep(rows)?;
        let texts = texts.collect::<Result<_, ArrowError>>()?;
        Ok(Located { layout: self, times: times.transpose()?, texts, kept })
    }
}

/// The pieces of Hive partitions: `year=2026/month=11/country=de/`.
fn hive_pieces(config: &Parquet) -> Result<Vec<Piece>, Wrong> {
    let partition = &config.partition;
    let mut pieces = Vec::new();
    if partition.time.is_some() {
        let every = partition.every.unwrap_or_default();
        for (name, _, pattern) in TIME_LEVELS.iter().filter(|it| it.1 <= every) {
            let pattern = TimePattern::parse(pattern).map_err(|why| Wrong::new("partition.every", why))?;
            pieces.extend([Piece::Text(format!("{name}=")), Piece::Time(pattern), Piece::Text("/".to_owned())]);
        }
    } else if partition.every.is_some() {
        let wrong = Wrong::new("partition.every", "`every` says nothing without `time`");
        return Err(wrong.hint("name a timestamp column: `time = \"timestamp\"`"));
    }
    for (nth, name) in partition.columns.iter().enumerate() {
        if partition.columns[..nth].contains(name) {
            return Err(Wrong::new("partition.columns", format!("column `{name}` is named twice")));
        }
        let level = format!("{}=", encoded(name));
        pieces.extend([Piece::Text(level), Piece::Column(name.clone()), Piece::Text("/".to_owned())]);
    }
    Ok(pieces)
}

fn prefix_pieces(config: &Parquet, prefix: &str) -> Result<Vec<Piece>, Wrong> {
    if config.partition.every.is_some() || !config.partition.columns.is_empty() {
        let key = if config.partition.every.is_some() { "partition.every" } else { "partition.columns" };
        let what = "`prefix` says how rows are spread over directories";
        return Err(Wrong::new(key, what).hint("beside `prefix`, `partition` holds `time` only"));
    }
    template::parse(prefix, Kind::Rows).map_err(|(what, hint)| Wrong::new("prefix", what).hint(hint))
}

fn error_pieces(config: &Parquet) -> Result<Vec<Piece>, Wrong> {
    let Some(prefix) = &config.error_prefix else { return Ok(Vec::new()) };
    if prefix.is_empty() {
        return Err(Wrong::new("error_prefix", "the error prefix is empty").hint("for example `errors/`"));
    }
    template::parse(prefix, Kind::Errors).map_err(|(what, hint)| Wrong::new("error_prefix", what).hint(hint))
}

/// Readers put the levels of the path beside the columns of the file, whatever their case.
fn clashes(every: Every, input: &Schema) -> Result<(), Wrong> {
    for (level, _, _) in TIME_LEVELS.iter().filter(|it| it.1 <= every) {
        if let Some(clash) = input.fields().iter().find(|it| it.name().eq_ignore_ascii_case(level)) {
            let what = format!("column `{}` has the name of a level of the path, `{level}=…`", clash.name());
            return Err(Wrong::new("partition.time", what).hint("give the column another name upstream"));
        }
    }
    Ok(())
}

impl Time {
    fn new(config: &Parquet, input: &Schema) -> Result<Option<Self>, Wrong> {
        let Some(name) = &config.partition.time else { return Ok(None) };
        let is_timestamp = |it: &DataType| matches!(it, DataType::Timestamp(_, _));
        let column = same_type(input, "partition.time", name, "a timestamp", is_timestamp)?;
        let per_second = match input.field(column).data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
            _ => 1,
        };
        Ok(Some(Self { column, name: name.clone(), per_second, unit: i64::MAX }))
    }

    /// The time of a row, or why it has none.
    fn of(&self, times: &PrimitiveArray<Int64Type>, row: usize) -> Result<i64, String> {
        let name = &self.name;
        if times.is_null(row) {
            return Err(format!("column `{name}` is null, so the row belongs to no partition"));
        }
        let time = times.value(row);
        if (SECONDS_MIN..=Timestamp::MAX.as_second()).contains(&time.div_euclid(self.per_second)) {
            Ok(time)
        } else {
            Err(format!("column `{name}` lies outside the years 0 to 9999"))
        }
    }

    /// The same for all times that stand in paths in the same way.
    fn bucket(&self, time: i64) -> i64 {
        if self.unit == 0 { time } else { time.div_euclid(self.per_second).div_euclid(self.unit) }
    }

    fn civil(&self, time: i64) -> DateTime {
        let nanoseconds = time.rem_euclid(self.per_second) * (1_000_000_000 / self.per_second);
        let timestamp = Timestamp::new(time.div_euclid(self.per_second), nanoseconds as i32);
        Offset::UTC.to_datetime(timestamp.expect("times are checked before"))
    }
}

impl Lateness {
    fn new(config: &Parquet, time: Option<&Time>) -> Result<Option<Self>, Wrong> {
        let Some(late) = &config.late else { return Ok(None) };
        let Some(time) = time else {
            let what = "nothing says which column holds the time of rows";
            return Err(Wrong::new("late.after", what).hint("for example `partition = { time = \"timestamp\" }`"));
        };
        if late.to == LateTo::Prefix && config.error_prefix.is_none() {
            let wrong = Wrong::new("late.to", "nothing says where late rows go");
            return Err(wrong.hint("for example `error_prefix = \"late/\"`"));
        }
        let millis = i64::try_from(late.after.duration().as_millis()).unwrap_or(i64::MAX);
        let after = (i128::from(millis) * i128::from(time.per_second) / 1_000).min(i64::MAX.into());
        Ok(Some(Self { after: i64::try_from(after).unwrap_or(i64::MAX), to: late.to }))
    }
}

impl Value {
    fn new(name: &str, is_prefix: bool, input: &Schema) -> Result<Self, Wrong> {
        let key = if is_prefix { "prefix" } else { "partition.columns" };
        let column = column(input, key, name)?;
        let field = input.fields()[column].clone();
        let fits = |it: &DataType| it.is_string() || it.is_integer() || *it == DataType::Boolean;
        let values = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if !fits(values) {
            let what = format!("column `{name}` must hold text, whole numbers or booleans, but holds {values}");
            return Err(Wrong::new(key, what));
        }
        let before = if is_prefix { 0 } else { encoded(name).len() + "=".len() };
        let Some(bytes_max) = NAME_BYTES_MAX.checked_sub(before).filter(|it| *it >= NO_VALUE.len()) else {
            return Err(Wrong::new(key, format!("the name of column `{name}` is too long for a directory")));
        };
        Ok(Self { column, field, bytes_max })
    }

    fn check(&self, value: &str) -> Result<(), String> {
        // No byte takes more than three: `%2F`.
        if value.len() * 3 <= self.bytes_max || encoded(value).len() <= self.bytes_max {
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
    kept: Kept,
}

impl Located<'_> {
    /// What the files keep of the rows.
    pub(crate) fn kept(&self) -> &RecordBatch {
        &self.kept.rows
    }

    /// Writes what the rows of one directory, and only those, have in common. Else: why the row has no place.
    ///
    /// `latest` is the latest time among the rows before, and is moved on.
    pub(crate) fn key(&self, row: usize, latest: &mut i64, key: &mut Vec<u8>) -> Result<Kind, String> {
        key.clear();
        self.kept.check(row)?;
        let mut kind = Kind::Rows;
        if let (Some(time), Some(times)) = (&self.layout.time, &self.times) {
            let at = time.of(times, row)?;
            *latest = at.max(*latest);
            if let Some(late) = &self.layout.late
                && at < latest.saturating_sub(late.after)
            {
                match late.to {
                    LateTo::OwnPartition => {}
                    LateTo::Prefix => kind = Kind::Errors,
                    LateTo::Refuse => {
                        return Err(format!("column `{}` lies too far behind the rows before it", time.name));
                    }
                }
            }
            key.extend_from_slice(&time.bucket(at).to_le_bytes());
        }
        key.push(u8::from(kind == Kind::Errors));
        for (level, texts) in self.layout.values.iter().zip(&self.texts) {
            let value = value(texts, row);
            level.check(value)?;
            // The length keeps `ab`+`c` and `a`+`bc` apart.
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(value.as_bytes());
        }
        Ok(kind)
    }

    /// What stands before the name of the file of a row that has a key, relative to the table's place.
    pub(crate) fn path(&self, row: usize, kind: Kind, delivery: &DeliveryId) -> Result<String, String> {
        let layout = self.layout;
        let mut path = String::new();
        for piece in layout.pieces_of(kind) {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Time(pattern) => {
                    if let (Some(time), Some(times)) = (&layout.time, &self.times) {
                        pattern.write(time.civil(times.value(row)), &mut path);
                    }
                }
                Piece::Column(name) => {
                    let nth = layout.values.iter().position(|it| it.field.name() == name);
                    match nth.map_or("", |it| value(&self.texts[it], row)) {
                        "" => path.push_str(NO_VALUE),
                        value => path.push_str(&encoded(value)),
                    }
                }
                Piece::Random(nth) => path.push_str(&random_string(delivery.as_str(), *nth)),
                Piece::ErrorType => path.push_str("late"),
            }
        }
        if layout.is_prefix && path.chars().count() > PREFIX_MAX {
            return Err(format!("the prefix of the row's partition has more than {PREFIX_MAX} characters"));
        }
        let last = path.rsplit('/').next().unwrap_or_default().len();
        let mut levels = path.split('/');
        if levels.any(|it| it.len() > NAME_BYTES_MAX) || last + FILE_NAME_BYTES_MAX > NAME_BYTES_MAX {
            return Err(format!("a level of the row's partition has more than {NAME_BYTES_MAX} bytes"));
        }
        if layout.root_bytes + path.len() + FILE_NAME_BYTES_MAX > KEY_BYTES_MAX {
            return Err(format!("the key of the row's file would have more than {KEY_BYTES_MAX} bytes"));
        }
        Ok(path)
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

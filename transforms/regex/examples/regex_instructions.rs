//! Work for an instruction counter: `regex_instructions <workload> <way> <batches>` takes lines apart and prints nothing.
//!
//! Seconds differ from run to run; instructions do not. To count those of `measured` alone, in a release build:
//!
//! ```sh
//! cargo build --release -p transform-regex --example regex_instructions
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
//!     target/release/examples/regex_instructions cloudfront transform 2
//! ```
//!
//! Workloads: `cloudfront` (the preset, 45 columns), `combined` (the combined log format), `branches` (a pattern that
//! cannot be lowered). Ways: `transform`, and two yardsticks: `hand`, what one would write for these lines by hand with
//! Arrow's builders, and `engine`, the groups by the regex crate with no column built of them.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    Decimal128Builder, StringBuilder, TimestampMillisecondBuilder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use forebay_api::{Outputs, Transform, TransformConfig};
use transform_regex::Regex;

/// So many rows as a batch of the engine commonly has.
const ROWS: usize = 8_192;

const COMBINED: &str = r#"^(?<client>[^ ]*) - (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>[^ "]*) (?<path>[^ "]*) (?<version>[^ "]*)" (?<status>[0-9]{3}) (?<bytes>[0-9]+|-) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$"#;
const COMBINED_TYPES: &str =
    r#"{ client = "ip", time = "timestamp:%d/%b/%Y:%H:%M:%S %z", status = "u16", bytes = "u64" }"#;
/// What may be repeated and what may follow begin alike: only an engine that tries can tell.
const BRANCHES: &str = r#"^(?<client>[^ ]*) .*\[(?<time>[^\]]*)\] "(?<request>.*)" (?<status>[0-9]{3}) (?<bytes>[0-9]+|-) "(?<referer>.*)" "(?<agent>.*)"$"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, way, batches] = &arguments[..] else { panic!("give a workload, a way and a number of batches") };
    let batches: usize = batches.parse().expect("the number of batches is a number");
    let (lines, pattern, config) = match workload.as_str() {
        "cloudfront" => (cloudfront_lines(), String::new(), "preset = 'cloudfront_realtime'".to_owned()),
        "combined" => {
            (combined_lines(), COMBINED.to_owned(), format!("pattern = '''{COMBINED}'''\ntypes = {COMBINED_TYPES}"))
        }
        "branches" => (combined_lines(), BRANCHES.to_owned(), format!("pattern = '''{BRANCHES}'''")),
        other => panic!("no workload is named `{other}`"),
    };
    let pattern = match pattern.as_str() {
        "" => format!(r"^{}$", [r"([^\t\r\n]*)"; 45].join(r"\t")),
        _ => pattern,
    };
    let message = Schema::new(vec![Field::new("message", DataType::Utf8, false)]);
    let batch = RecordBatch::try_new(Arc::new(message), vec![Arc::new(lines)]).expect("the lines are a column");

    let mut work: Box<dyn FnMut(&RecordBatch) -> usize> = match way.as_str() {
        "transform" => {
            let config: Regex = toml::from_str(&config).expect("the configuration is right");
            let mut transform = config.build().expect("the configuration is right");
            transform.plan(&batch.schema()).expect("the column is there");
            Box::new(move |rows| by_transform(transform.as_mut(), rows))
        }
        "hand" if workload == "cloudfront" => Box::new(by_hand),
        "hand" => Box::new(combined_by_hand),
        "engine" => {
            let regex = regex::Regex::new(&pattern).expect("the pattern is right");
            let mut locations = regex.capture_locations();
            Box::new(move |rows| {
                let lines = texts(rows).iter().flatten();
                lines.filter(|it| regex.captures_read(&mut locations, it).is_some()).count()
            })
        }
        other => panic!("no way is named `{other}`"),
    };
    // The first batch grows what is kept.
    work(&batch);
    for _ in 0..batches {
        assert_eq!(measured(&mut work, &batch), ROWS, "all lines are good");
    }
}

/// What is counted.
#[inline(never)]
fn measured(work: &mut dyn FnMut(&RecordBatch) -> usize, rows: &RecordBatch) -> usize {
    black_box(work(black_box(rows)))
}

fn texts(rows: &RecordBatch) -> &StringArray {
    rows.column(0).as_any().downcast_ref().expect("the lines are text")
}

fn by_transform(transform: &mut dyn Transform, rows: &RecordBatch) -> usize {
    let mut out = Outputs::new(rows.num_rows());
    transform.apply(rows.clone(), &mut out).expect("the transform works");
    out.sent().iter().map(|(rows, _)| rows.num_rows()).sum()
}

/// Lines of the example data, again and again.
fn cloudfront_lines() -> StringArray {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/realtime");
    let mut text = String::new();
    for hour in ["2026-11-01-00", "2026-11-01-09", "2026-11-01-18", "2026-11-02-00", "2026-11-02-12"] {
        let file = std::fs::File::open(directory.join(format!("{hour}.gz"))).expect("the example data is there");
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("the example data is gzip");
    }
    StringArray::from_iter_values(text.lines().cycle().take(ROWS))
}

/// The same requests as a web server logs them.
fn combined_lines() -> StringArray {
    let lines = cloudfront_lines();
    let combined = lines.iter().flatten().enumerate().map(|(nth, line)| {
        let values: Vec<&str> = line.split('\t').collect();
        let agent = values[16].replace("%20", " ");
        let time = format!("{:02}/Nov/2026:{:02}:{:02}:{:02} +0000", 1 + nth % 28, nth % 24, nth % 60, nth % 59);
        let request = format!("{} {} {}", values[5], values[8], values[14]);
        format!(r#"{} - - [{time}] "{request}" {} {} "{}" "{agent}""#, values[1], values[3], values[4], values[17])
    });
    StringArray::from_iter_values(combined)
}

/// A column as one would build it by hand.
enum Column {
    Text(StringBuilder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    Decimal(Decimal128Builder),
    Time(TimestampMillisecondBuilder),
}

impl Column {
    /// For a field of the real-time log by its place.
    fn of(field: usize) -> Self {
        match field {
            0 => Self::Time(TimestampMillisecondBuilder::with_capacity(ROWS)),
            2 | 13 | 42 | 43 => Self::Decimal(Decimal128Builder::with_capacity(ROWS)),
            3 | 31 => Self::U16(UInt16Builder::with_capacity(ROWS)),
            25 | 39 | 44 => Self::U32(UInt32Builder::with_capacity(ROWS)),
            4 | 9 | 28 | 29 | 30 => Self::U64(UInt64Builder::with_capacity(ROWS)),
            _ => Self::Text(StringBuilder::with_capacity(ROWS, ROWS * 16)),
        }
    }

    fn append(&mut self, value: &str) {
        let value = (value != "-").then_some(value);
        match self {
            Self::Text(values) => values.append_option(value),
            Self::U16(values) => values.append_option(value.and_then(|it| it.parse().ok())),
            Self::U32(values) => values.append_option(value.and_then(|it| it.parse().ok())),
            Self::U64(values) => values.append_option(value.and_then(|it| it.parse().ok())),
            Self::Decimal(values) => values.append_option(value.and_then(|it| fixed(it, 6)).map(i128::from)),
            Self::Time(values) => values.append_option(value.and_then(|it| fixed(it, 3))),
        }
    }

    fn finish(&mut self) -> usize {
        match self {
            Self::Text(values) => black_box(values.finish()).len(),
            Self::U16(values) => black_box(values.finish()).len(),
            Self::U32(values) => black_box(values.finish()).len(),
            Self::U64(values) => black_box(values.finish()).len(),
            Self::Decimal(values) => black_box(values.finish()).len(),
            Self::Time(values) => black_box(values.finish()).len(),
        }
    }
}

/// `12.5` in units of so many digits behind the point.
fn fixed(text: &str, digits: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut value: i64 = whole.parse().ok()?;
    for digit in fraction.bytes().chain(std::iter::repeat(b'0')).take(digits) {
        value = value * 10 + i64::from(digit.checked_sub(b'0').filter(|it| *it < 10)?);
    }
    Some(value)
}

fn by_hand(rows: &RecordBatch) -> usize {
    let mut columns: Vec<Column> = (0..45).map(Column::of).collect();
    for line in texts(rows).iter().flatten() {
        let mut values = line.split('\t');
        for column in &mut columns {
            column.append(values.next().expect("all lines have 45 values"));
        }
    }
    columns.iter_mut().map(Column::finish).last().unwrap_or_default()
}

fn combined_by_hand(rows: &RecordBatch) -> usize {
    let text = || Column::Text(StringBuilder::with_capacity(ROWS, ROWS * 16));
    let mut columns: Vec<Column> = (0..10).map(|_| text()).collect();
    columns[2] = Column::Time(TimestampMillisecondBuilder::with_capacity(ROWS));
    columns[6] = Column::U16(UInt16Builder::with_capacity(ROWS));
    columns[7] = Column::U64(UInt64Builder::with_capacity(ROWS));
    for line in texts(rows).iter().flatten() {
        let mut rest = line;
        for (column, until) in columns.iter_mut().zip([" - ", " [", "] \"", " ", " ", "\" ", " ", " \"", "\" \"", "\""])
        {
            let (value, behind) = rest.split_once(until).expect("all lines are of this form");
            match column {
                Column::Time(values) => {
                    let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", value).expect("all times are good");
                    values.append_value(time.to_timestamp().expect("all times are good").as_millisecond());
                }
                column => column.append(value),
            }
            rest = behind;
        }
    }
    columns.iter_mut().map(Column::finish).last().unwrap_or_default()
}

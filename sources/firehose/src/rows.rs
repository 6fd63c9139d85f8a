//! Frames as rows.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::UInt16Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt16Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use forebay_api::{Partition, Position, Positions, Read, Refusal, Span, Wrong};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::frame::{About, Frame};
use crate::retention::Ended;
use crate::seen::Id;

/// A read that has so many rows, or so many bytes, is given.
const READ_ROWS: usize = 8192;
const READ_BYTES: usize = 1 << 20;

/// The column of the data.
const MESSAGE: &str = "message";

/// What is a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A record is a row, without the line end that it may have. Empty records give no row.
    #[default]
    Record,
    /// A record holds lines, each of which is a row. Empty lines give no row.
    Lines,
}

/// What is known of a record beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Text: the id of the request, which all tries of it have in common.
    RequestId,
    /// A timestamp, in milliseconds: when Firehose made the request.
    RequestTime,
    /// Text: the ARN of the stream.
    SourceArn,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::RequestId => "request_id",
            Self::RequestTime => "request_time",
            Self::SourceArn => "source_arn",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::RequestId | Self::SourceArn => repeated(),
            Self::RequestTime => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
        }
    }
}

const UTC: &str = "UTC";

/// Text, one value for many rows.
fn repeated() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8))
}

/// The column `message`, these, and the attributes.
pub(crate) fn schema(columns: &[Column], attributes: &[String]) -> Result<SchemaRef, Wrong> {
    let mut fields = vec![Field::new(MESSAGE, DataType::Utf8, true)];
    let attributes = attributes.iter().map(|it| ("attributes", it.as_str(), repeated()));
    for (key, name, kind) in columns.iter().map(|it| ("columns", it.name(), it.data_type())).chain(attributes) {
        if name.is_empty() {
            return Err(Wrong::new(key, "a column has no name"));
        }
        if fields.iter().any(|it| it.name() == name) {
            return Err(Wrong::new(key, format!("there would be two columns `{name}`")));
        }
        fields.push(Field::new(name, kind, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// How frames become rows.
#[derive(Clone, Debug)]
pub(crate) struct Cutter {
    pub(crate) schema: SchemaRef,
    pub(crate) columns: Vec<Column>,
    pub(crate) attributes: Vec<String>,
    pub(crate) framing: Framing,
    pub(crate) partition: Partition,
}

/// A frame on its way to be rows. Which rows there are, and their numbers, depends on the frame alone.
pub(crate) struct Reading {
    sequence: u64,
    frame: Frame,
    /// The rest of the record that was begun.
    rest: Option<(usize, usize)>,
    /// Where the next record begins.
    next: usize,
    /// Rows so far, empty ones included.
    row: u64,
}

impl Reading {
    pub(crate) fn new(sequence: u64, frame: Frame) -> Self {
        Self { sequence, next: frame.begin(), frame, rest: None, row: 0 }
    }
}

impl Cutter {
    /// The next rows of a frame that stand after `from`, up to `stop`. `None`: there are no more.
    pub(crate) fn cut(&self, reading: &mut Reading, from: &Position, stop: &Position) -> Option<Read> {
        let mut message = StringBuilder::new();
        let (mut positions, mut refused, mut bytes) = (Vec::new(), Vec::new(), 0);
        while positions.len() + refused.len() < READ_ROWS && bytes < READ_BYTES {
            if at(reading.sequence, reading.row) >= *stop {
                break;
            }
            let Some(row) = reading.next_row(self.framing) else { break };
            let position = at(reading.sequence, reading.row);
            if row.is_empty() || position <= *from {
                continue;
            }
            let row = reading.bytes(row);
            bytes += row.len();
            match std::str::from_utf8(row) {
                Ok(text) => {
                    message.append_value(text);
                    positions.push(position);
                }
                Err(error) => {
                    let nth = error.valid_up_to();
                    let why = format!("it is not UTF-8: byte {} is 0x{:02x}", nth + 1, row[nth]);
                    refused.push(Refusal { position, payload: row.to_vec(), why });
                }
            }
        }
        let to = at(reading.sequence, reading.row);
        if to <= *from {
            // Only rows that were read before, or none.
            return None;
        }
        let rows = self.rows(&reading.frame.about, Arc::new(message.finish()));
        let span = Span::new(self.partition.clone(), from.clone(), to);
        Some(Read { span, rows, positions: Positions::Listed(positions), refused })
    }

    fn rows(&self, about: &About, message: ArrayRef) -> RecordBatch {
        let rows = message.len();
        let mut columns = vec![message];
        for column in &self.columns {
            columns.push(match column {
                Column::RequestId => same(Some(&about.id), rows),
                Column::SourceArn => same(about.source_arn.as_deref(), rows),
                Column::RequestTime => {
                    Arc::new(TimestampMillisecondArray::from(vec![about.timestamp; rows]).with_timezone(UTC))
                }
            });
        }
        let attribute = |it: &String| same(about.attributes.get(it).map(String::as_str), rows);
        columns.extend(self.attributes.iter().map(attribute));
        RecordBatch::try_new(self.schema.clone(), columns).expect("the columns are those of the schema")
    }

    /// One refusal in place of frames that cannot be read, and behind which `position` stands.
    pub(crate) fn unreadable(&self, position: Position, from: &Position, why: String) -> Option<Read> {
        let span = (position > *from).then(|| Span::new(self.partition.clone(), from.clone(), position.clone()))?;
        let refused = vec![Refusal { position, payload: Vec::new(), why }];
        let rows = RecordBatch::new_empty(self.schema.clone());
        Some(Read { span, rows, positions: Positions::Listed(Vec::new()), refused })
    }
}

impl Reading {
    /// The request, if all of its rows were read.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let is_over = self.rest.is_none() && self.frame.record(self.next).is_none();
        let About { id, received, .. } = &self.frame.about;
        let ended =
            || Ended { sequence: self.sequence, end: at(self.sequence, self.row), id: Some(Id(id.clone(), *received)) };
        is_over.then(ended)
    }

    /// Where the next row lies in the frame, without its line end. It counts, be it empty or not.
    fn next_row(&mut self, framing: Framing) -> Option<Range<usize>> {
        let (begin, end) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let (record, next) = self.frame.record(self.next)?;
                let begin = next - record.len();
                self.next = next;
                (begin, next)
            }
        };
        self.row += 1;
        let bytes = self.bytes(begin..end);
        let line = match framing {
            Framing::Record => bytes.len(),
            Framing::Lines => bytes.iter().position(|it| *it == b'\n').map_or(bytes.len(), |it| it + 1),
        };
        let without = without_end(&bytes[..line]).len();
        if begin + line < end {
            self.rest = Some((begin + line, end));
        }
        Some(begin..begin + without)
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.frame.bytes(range)
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else { return line };
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The `row`th row of a frame; 0: before the first.
pub(crate) fn at(sequence: u64, row: u64) -> Position {
    Position::sequence(&sequence.to_string(), row).unwrap_or(Position::Start)
}

fn same(text: Option<&str>, rows: usize) -> ArrayRef {
    let keys = UInt16Array::from(vec![text.map(|_| 0); rows]);
    let values = Arc::new(StringArray::from_iter_values(text));
    Arc::new(DictionaryArray::<UInt16Type>::new(keys, values))
}

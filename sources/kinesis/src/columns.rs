//! The columns of a row: the message, and what the stream knows about it.

use std::sync::Arc;

use arrow_array::builder::{StringBuilder, TimestampMillisecondBuilder, UInt64Builder};
use arrow_array::types::UInt16Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt16Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is known of a record beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Text: the key that chose the shard; of a record that the Kinesis Producer Library aggregated, its own. Null if it
    /// was put without one.
    PartitionKey,
    /// Text: the record's number in its shard. Records that were aggregated have it in common.
    SequenceNumber,
    /// An unsigned 64-bit number: which of the rows of this sequence number it is, counted from 0.
    SubSequenceNumber,
    /// Text: the shard's ID, such as `shardId-000000000003`.
    Shard,
    /// A timestamp, in milliseconds: when the stream took the record.
    ApproximateArrivalTime,
    /// Text: the stream's name.
    Stream,
}

impl Column {
    /// What it is called in the file, and in a row.
    pub fn name(self) -> &'static str {
        match self {
            Self::PartitionKey => "partition_key",
            Self::SequenceNumber => "sequence_number",
            Self::SubSequenceNumber => "sub_sequence_number",
            Self::Shard => "shard",
            Self::ApproximateArrivalTime => "approximate_arrival_time",
            Self::Stream => "stream",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::PartitionKey | Self::SequenceNumber => DataType::Utf8,
            Self::SubSequenceNumber => DataType::UInt64,
            Self::ApproximateArrivalTime => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
            // One value for many rows.
            Self::Shard | Self::Stream => DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)),
        }
    }
}

const UTC: &str = "UTC";

/// The column `message`, and these.
pub fn schema(columns: &[Column]) -> SchemaRef {
    let message = Field::new("message", DataType::Utf8, true);
    let others = columns.iter().map(|it| Field::new(it.name(), it.data_type(), true));
    Arc::new(Schema::new([message].into_iter().chain(others).collect::<Vec<_>>()))
}

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub partition_key: Option<&'a str>,
    pub sequence_number: &'a str,
    /// Counted from 1.
    pub row: u64,
    pub arrival_millis: Option<i64>,
}

/// Rows as they grow.
pub struct Rows {
    schema: SchemaRef,
    message: StringBuilder,
    others: Vec<Growing>,
    len: usize,
}

/// A column as it grows.
enum Growing {
    PartitionKey(StringBuilder),
    SequenceNumber(StringBuilder),
    SubSequenceNumber(UInt64Builder),
    ApproximateArrivalTime(TimestampMillisecondBuilder),
    /// The same in every row.
    Same(String),
}

impl Rows {
    /// Room for so many rows with messages of so many bytes, all of the same shard.
    pub fn new(schema: SchemaRef, columns: &[Column], stream: &str, shard: &str, rows: usize, bytes: usize) -> Self {
        let growing = |it: &Column| match it {
            Column::PartitionKey => Growing::PartitionKey(StringBuilder::with_capacity(rows, rows * 16)),
            Column::SequenceNumber => Growing::SequenceNumber(StringBuilder::with_capacity(rows, rows * 56)),
            Column::SubSequenceNumber => Growing::SubSequenceNumber(UInt64Builder::with_capacity(rows)),
            Column::ApproximateArrivalTime => {
                Growing::ApproximateArrivalTime(TimestampMillisecondBuilder::with_capacity(rows).with_timezone(UTC))
            }
            Column::Shard => Growing::Same(shard.to_owned()),
            Column::Stream => Growing::Same(stream.to_owned()),
        };
        let others = columns.iter().map(growing).collect();
        Self { schema, message: StringBuilder::with_capacity(rows, bytes), others, len: 0 }
    }

    #[inline]
    pub fn push(&mut self, message: &str, facts: Facts<'_>) {
        self.message.append_value(message);
        self.len += 1;
        for column in &mut self.others {
            match column {
                Growing::PartitionKey(it) => it.append_option(facts.partition_key),
                Growing::SequenceNumber(it) => it.append_value(facts.sequence_number),
                Growing::SubSequenceNumber(it) => it.append_value(facts.row - 1),
                Growing::ApproximateArrivalTime(it) => it.append_option(facts.arrival_millis),
                Growing::Same(_) => {}
            }
        }
    }

    pub fn finish(mut self) -> RecordBatch {
        let len = self.len;
        let other = |it: Growing| -> ArrayRef {
            match it {
                Growing::PartitionKey(mut it) | Growing::SequenceNumber(mut it) => Arc::new(it.finish()),
                Growing::SubSequenceNumber(mut it) => Arc::new(it.finish()),
                Growing::ApproximateArrivalTime(mut it) => Arc::new(it.finish()),
                Growing::Same(text) => {
                    let keys = UInt16Array::from(vec![0; len]);
                    let values = Arc::new(StringArray::from(vec![text]));
                    Arc::new(
                        DictionaryArray::<UInt16Type>::try_new(keys, values).expect("the key is that of the value"),
                    )
                }
            }
        };
        let message: ArrayRef = Arc::new(self.message.finish());
        let columns = [message].into_iter().chain(self.others.into_iter().map(other)).collect();
        RecordBatch::try_new(self.schema, columns).expect("the columns are those of the schema")
    }
}

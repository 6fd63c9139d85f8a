//! From records to reads.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use forebay_api::position::Sequence;
use forebay_api::{Partition, Position, Positions, Read, Refusal, Span};
use memchr::memchr_iter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::aggregate::Aggregate;
use crate::columns::{Column, Facts, Rows};
use crate::record::{Record, Shard};

/// A read that has so many rows, or so many bytes, takes no further row.
const READ_ROWS: usize = 8192;
const READ_BYTES: usize = 1 << 20;

/// What is a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A record is a row, without the line end that it may have.
    #[default]
    Record,
    /// A record holds lines, each of which is a row. Empty lines give no row.
    Lines,
}

/// What becomes of aggregated records if the hash key of any that came with them is not one of the shard's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherShards {
    /// They are passed over, those of this shard too: the Kinesis Producer Library sends all of them again, each to the
    /// shard that it belongs to.
    #[default]
    Filter,
    /// They are rows like any other.
    Keep,
}

/// How records become rows.
#[derive(Clone, Debug)]
pub struct Cutter {
    pub schema: SchemaRef,
    pub columns: Arc<[Column]>,
    pub framing: Framing,
    pub other_shards: OtherShards,
}

/// A read, and what it was made of.
#[derive(Debug)]
pub struct Cut {
    pub read: Read,
    /// How much memory the read takes, more or less.
    pub bytes: usize,
    /// Rows that were passed over.
    pub filtered: usize,
}

impl Cutter {
    /// A stretch in which there is no row.
    pub fn empty(&self, partition: &Partition, from: &Position, to: Position) -> Read {
        Read {
            span: Span::new(partition.clone(), from.clone(), to),
            rows: RecordBatch::new_empty(self.schema.clone()),
            positions: Positions::Listed(Vec::new()),
            refused: Vec::new(),
        }
    }

    /// Takes records off the front and makes a read of the rows after `from`, up to `stop`. Which rows there are, and
    /// their numbers, depends on the records alone. `None`: there are no more such records.
    ///
    /// A record may hold more rows than a read takes, a hundred thousand in a mebibyte. It is cut in two there, as it is at
    /// `stop`; then it stays in its place, and is taken apart once more for its next rows.
    pub fn cut(&self, shard: &Shard, from: &Position, records: &mut VecDeque<Record>, stop: &Position) -> Option<Cut> {
        let mut out = Output::new(self, shard, records);
        let mut to = from.clone();
        while let Some(record) = records.front_mut() {
            if out.is_full() || Position::before(&record.sequence) >= *stop {
                break;
            }
            let (row, is_cut) = match out.take(record, from, stop) {
                ControlFlow::Continue(rows) => (rows.max(1), false),
                ControlFlow::Break(row) => (row, true),
            };
            let reached = Position::At { sequence: record.sequence.clone(), row };
            if reached > *stop {
                to = stop.clone();
                break;
            }
            to = to.max(reached);
            if is_cut {
                break;
            }
            records.pop_front();
        }
        // Otherwise there were only rows that are known, of a record that was asked for once more.
        (to > *from).then(|| out.finish(Span::new(shard.partition.clone(), from.clone(), to)))
    }
}

/// A read in the making.
struct Output<'a> {
    cutter: &'a Cutter,
    shard: &'a Shard,
    rows: Rows,
    positions: Vec<Position>,
    refused: Vec<Refusal>,
    bytes: usize,
    filtered: usize,
}

/// A record while it is taken apart.
struct Taking<'a> {
    sequence: &'a Sequence,
    arrival_millis: Option<i64>,
    /// The rows after `first`, up to `last`, are wanted.
    first: u64,
    last: u64,
    /// Rows so far, whatever became of them.
    row: u64,
}

impl<'a> Output<'a> {
    fn new(cutter: &'a Cutter, shard: &'a Shard, records: &VecDeque<Record>) -> Self {
        let (mut count, mut bytes) = (0, 0);
        for record in records.iter().take(READ_ROWS) {
            if bytes >= READ_BYTES {
                break;
            }
            count += 1;
            let is_row = cutter.framing == Framing::Record && !record.is_aggregate;
            // What holds several rows may be cut before its end.
            bytes += if is_row { record.data.len() } else { record.data.len().min(READ_BYTES) };
        }
        let Cutter { schema, columns, .. } = cutter;
        Self {
            cutter,
            shard,
            rows: Rows::new(schema.clone(), columns, shard.stream.name(), &shard.id, count, bytes),
            positions: Vec::with_capacity(count),
            refused: Vec::new(),
            bytes: 0,
            filtered: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.positions.len() + self.refused.len() >= READ_ROWS || self.bytes >= READ_BYTES
    }

    /// Takes the wanted rows of a record. How many rows it has in all; or after which of them it was cut, because no more are
    /// taken.
    fn take(&mut self, record: &mut Record, from: &Position, stop: &Position) -> ControlFlow<u64, u64> {
        let first = row_in(from, &record.sequence).unwrap_or(if Position::before(&record.sequence) < *from {
            u64::MAX
        } else {
            0
        });
        let last = row_in(stop, &record.sequence).unwrap_or(u64::MAX);
        let Record { sequence, partition_key, arrival_millis, data, is_aggregate, is_of_shard } = record;
        let mut taking = Taking { sequence, arrival_millis: *arrival_millis, first, last, row: 0 };
        match is_aggregate.then(|| Aggregate::parse(data)).flatten() {
            None => self.push(&mut taking, partition_key.as_deref(), data, true)?,
            Some(mut aggregate) => {
                let wanted = self.cutter.other_shards == OtherShards::Keep
                    || *is_of_shard.get_or_insert_with(|| aggregate.is_all_in(&self.shard.hash_keys));
                for nth in 0..aggregate.len() {
                    self.push(&mut taking, Some(aggregate.partition_key(nth)), aggregate.data(nth), wanted)?;
                }
            }
        }
        ControlFlow::Continue(taking.row)
    }

    /// Takes the rows of one record as its producer knew it.
    fn push(
        &mut self,
        taking: &mut Taking<'_>,
        partition_key: Option<&str>,
        data: &[u8],
        wanted: bool,
    ) -> ControlFlow<u64> {
        match self.cutter.framing {
            Framing::Record => self.push_row(taking, partition_key, line(data), wanted),
            Framing::Lines => {
                let whole = data.strip_suffix(b"\n").unwrap_or(data);
                let mut begin = 0;
                for end in memchr_iter(b'\n', whole).chain([whole.len()]) {
                    let row = &whole[begin..end];
                    let row = row.strip_suffix(b"\r").unwrap_or(row);
                    self.push_row(taking, partition_key, row, wanted && !row.is_empty())?;
                    begin = end + 1;
                }
                ControlFlow::Continue(())
            }
        }
    }

    #[inline]
    fn push_row(
        &mut self,
        taking: &mut Taking<'_>,
        partition_key: Option<&str>,
        row: &[u8],
        wanted: bool,
    ) -> ControlFlow<u64> {
        if taking.row < taking.first || taking.row >= taking.last {
            taking.row += 1;
            return ControlFlow::Continue(());
        }
        if self.is_full() {
            return ControlFlow::Break(taking.row);
        }
        taking.row += 1;
        if !wanted {
            self.filtered += usize::from(!row.is_empty());
            return ControlFlow::Continue(());
        }
        self.bytes += row.len();
        let position = Position::At { sequence: taking.sequence.clone(), row: taking.row };
        match std::str::from_utf8(row) {
            Ok(text) => {
                let (sequence_number, arrival_millis) = (taking.sequence.as_str(), taking.arrival_millis);
                self.rows.push(text, Facts { partition_key, sequence_number, row: taking.row, arrival_millis });
                self.positions.push(position);
            }
            Err(error) => {
                let at = error.valid_up_to();
                let why = format!("it is not UTF-8: byte {} is 0x{:02x}", at + 1, row[at]);
                self.refused.push(Refusal { position, payload: row.to_vec(), why });
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(self, span: Span) -> Cut {
        let Self { rows, positions, refused, filtered, .. } = self;
        let rows = rows.finish();
        let of_refusal = |it: &Refusal| size_of::<Refusal>() + it.payload.len() + it.why.len();
        let bytes = rows.get_array_memory_size()
            + positions.len() * size_of::<Position>()
            + refused.iter().map(of_refusal).sum::<usize>();
        Cut { read: Read { span, rows, positions: Positions::Listed(positions), refused }, bytes, filtered }
    }
}

/// The row at which a position stands in this record, if it stands in it.
fn row_in(position: &Position, record: &Sequence) -> Option<u64> {
    match position {
        Position::At { sequence, row } if sequence == record => Some(*row),
        _ => None,
    }
}

/// A record without the line end that it may have.
fn line(data: &[u8]) -> &[u8] {
    let Some(line) = data.strip_suffix(b"\n") else { return data };
    line.strip_suffix(b"\r").unwrap_or(line)
}

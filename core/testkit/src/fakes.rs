//! A source that reads what it was given, and a sink that keeps what it gets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, DeliveryId, Draft, Partition, Position, Positions, Promise, Read, Refusal, Refused, RefusedRow, Resume,
    Sink, SinkConfig, SinkError, Source, SourceConfig, Span,
};

use crate::rows::canonical;

/// A source that reads what it was given: partitions of rows, which end.
#[derive(Clone, Debug)]
pub struct Scripted {
    schema: SchemaRef,
    logs: BTreeMap<Partition, Vec<Line>>,
    rows_max: usize,
}

#[derive(Clone, Debug)]
enum Line {
    Row(RecordBatch),
    Refused(RecordBatch, String),
}

impl Scripted {
    /// A source without partitions yet, which reads three rows at a time.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, logs: BTreeMap::new(), rows_max: 3 }
    }

    /// Adds rows to a partition, which may be new.
    #[must_use]
    pub fn partition(mut self, name: &str, rows: &RecordBatch) -> Self {
        let lines = (0..rows.num_rows()).map(|row| Line::Row(rows.slice(row, 1)));
        self.logs.entry(name.into()).or_default().extend(lines);
        self
    }

    /// Adds rows to a partition that cannot be read: each is refused with this reason.
    #[must_use]
    pub fn refused(mut self, name: &str, rows: &RecordBatch, why: &str) -> Self {
        let lines = (0..rows.num_rows()).map(|row| Line::Refused(rows.slice(row, 1), why.to_owned()));
        self.logs.entry(name.into()).or_default().extend(lines);
        self
    }

    /// Reads at most so many rows at a time, refused ones included.
    #[must_use]
    pub fn rows_max(mut self, rows_max: usize) -> Self {
        assert!(rows_max > 0, "a read holds at least one row");
        self.rows_max = rows_max;
        self
    }

    /// The lines in `(from, to]`.
    fn read(&self, span: &Span) -> Result<Read, BoxError> {
        let lines = &self.logs[&span.partition];
        let counted = |it: &Position| it.counted().map_or(lines.len(), |it| it as usize);
        let (first, last) = (counted(&span.from), counted(&span.to));
        let mut rows = Vec::new();
        let mut positions = Vec::new();
        let mut refused = Vec::new();
        for (nth, line) in lines[first..last].iter().enumerate() {
            let position = Position::row((first + nth + 1) as u64);
            match line {
                Line::Row(row) => {
                    rows.push(row.clone());
                    positions.push(position);
                }
                Line::Refused(row, why) => {
                    let payload = canonical(std::slice::from_ref(row)).join("").into_bytes();
                    refused.push(Refusal { position, payload, why: why.clone() });
                }
            }
        }
        let rows = arrow_select::concat::concat_batches(&self.schema, &rows)?;
        Ok(Read { span: span.clone(), rows, positions: Positions::Listed(positions), refused })
    }

    /// Cuts a span into such as are read at a time.
    fn pieces(&self, span: &Span) -> VecDeque<Span> {
        let lines = self.logs[&span.partition].len();
        let mut pieces = VecDeque::new();
        let mut from = span.from.clone();
        while from < span.to {
            let next = from.counted().map_or(lines, |it| it as usize) + self.rows_max;
            let to = if next >= lines { Position::End } else { Position::row(next as u64) }.min(span.to.clone());
            pieces.push_back(Span::new(span.partition.clone(), from, to.clone()));
            from = to;
        }
        pieces
    }
}

#[async_trait]
impl SourceConfig for Scripted {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(self.schema.clone())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let due = match resume {
            Resume::Exactly(spans) => spans.iter().flat_map(|it| self.pieces(it)).collect(),
            Resume::After(after) => {
                let rest = |partition: &Partition| {
                    let from = after.get(partition).cloned().unwrap_or(Position::Start);
                    let open = from < Position::End;
                    open.then(|| self.pieces(&Span::new(partition.clone(), from, Position::End)))
                };
                by_turns(self.logs.keys().filter_map(rest).collect())
            }
        };
        Ok(Box::new(Reader { script: self.clone(), due }))
    }
}

/// One of each queue, again and again, until all are empty.
fn by_turns(mut queues: Vec<VecDeque<Span>>) -> VecDeque<Span> {
    let mut all = VecDeque::new();
    while queues.iter().any(|it| !it.is_empty()) {
        all.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
    all
}

struct Reader {
    script: Scripted,
    due: VecDeque<Span>,
}

#[async_trait]
impl Source for Reader {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.due.pop_front().map(|span| self.script.read(&span)).transpose()
    }
}

/// A sink that keeps what it gets in memory. Clones share one place; the same id twice leaves one copy.
#[derive(Clone, Default)]
pub struct Memory {
    place: Arc<Mutex<BTreeMap<DeliveryId, Vec<RecordBatch>>>>,
    refuses: Option<Refuses>,
}

type Refuses = Arc<dyn Fn(&RecordBatch) -> Option<String> + Send + Sync>;

impl Memory {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the rows for which `why`, which is given each row alone, has a reason.
    #[must_use]
    pub fn refusing(mut self, why: impl Fn(&RecordBatch) -> Option<String> + Send + Sync + 'static) -> Self {
        self.refuses = Some(Arc::new(why));
        self
    }

    /// What is visible, by delivery id.
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.place().values().flatten().cloned().collect()
    }

    /// The ids of all deliveries.
    pub fn deliveries(&self) -> Vec<DeliveryId> {
        self.place().keys().cloned().collect()
    }

    fn place(&self) -> MutexGuard<'_, BTreeMap<DeliveryId, Vec<RecordBatch>>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SinkConfig for Memory {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::OncePerId
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Memory {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        Ok(Box::new(MemoryDraft { memory: self.clone(), id: id.clone(), staged: 0, rows: Vec::new() }))
    }
}

struct MemoryDraft {
    memory: Memory,
    id: DeliveryId,
    staged: u64,
    rows: Vec<RecordBatch>,
}

#[async_trait]
impl Draft for MemoryDraft {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        let mut refused = Refused::new();
        for row in 0..rows.num_rows() {
            let payload = rows.slice(row, 1);
            match self.memory.refuses.as_ref().and_then(|refuses| refuses(&payload)) {
                Some(why) => refused.push(RefusedRow { row: self.staged, payload, why }),
                None => self.rows.push(payload),
            }
            self.staged += 1;
        }
        Ok(refused)
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        self.memory.place().insert(self.id.clone(), std::mem::take(&mut self.rows));
        Ok(Refused::new())
    }
}

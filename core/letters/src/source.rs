//! Letters as a source: each file is a partition, each letter a row of the node that refused it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, Deliver, DeliveryId, Partition, Position, Positions, Read, Refusal, Resume, SinkError, Source,
    SourceConfig, Span,
};

use crate::letter::Letter;

/// How many letters are read at a time.
const ROWS_MAX: usize = 1_000;

/// Reads letters that are in memory.
#[derive(Clone)]
pub struct LetterSource {
    schema: SchemaRef,
    files: Arc<BTreeMap<Partition, Vec<Letter>>>,
}

impl LetterSource {
    /// Rows of this schema. Letters are known by the partition, which stands for a file as it is, and their number in
    /// it, from 1.
    pub fn new(schema: SchemaRef, files: Arc<BTreeMap<Partition, Vec<Letter>>>) -> Self {
        Self { schema, files }
    }

    /// The letters in `(from, to]`.
    fn read(&self, span: Span) -> Result<Read, BoxError> {
        let letters = self.letters(&span.partition)?;
        let counted = |it: &Position| it.counted().map_or(letters.len(), |it| it as usize);
        let (first, last) = (counted(&span.from), counted(&span.to));
        let (mut rows, mut positions, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, letter) in letters.iter().enumerate().take(last).skip(first) {
            let position = Position::row(nth as u64 + 1);
            match letter.row(&self.schema) {
                Ok(row) => {
                    rows.push(row);
                    positions.push(position);
                }
                Err(error) => refused.push(Refusal {
                    position,
                    payload: letter.payload.clone().into_bytes(),
                    why: format!("it cannot be a row any more: {error}"),
                }),
            }
        }
        let rows = arrow_select::concat::concat_batches(&self.schema, &rows)?;
        Ok(Read { span, rows, positions: Positions::Listed(positions), refused })
    }

    fn letters(&self, partition: &Partition) -> Result<&Vec<Letter>, BoxError> {
        self.files.get(partition).ok_or_else(|| format!("the dead letters `{partition}` are not there any more").into())
    }

    fn pieces(&self, span: Span, into: &mut VecDeque<Span>) -> Result<(), BoxError> {
        let letters = self.letters(&span.partition)?.len();
        let mut from = span.from;
        while from < span.to {
            let next = from.counted().map_or(letters, |it| it as usize) + ROWS_MAX;
            let to = if next >= letters { Position::End } else { Position::row(next as u64) }.min(span.to.clone());
            into.push_back(Span::new(span.partition.clone(), from, to.clone()));
            from = to;
        }
        Ok(())
    }
}

#[async_trait]
impl SourceConfig for LetterSource {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(self.schema.clone())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let mut due = VecDeque::new();
        match resume {
            Resume::Replay(spans) => spans.into_iter().try_for_each(|it| self.pieces(it, &mut due))?,
            Resume::After(after) => {
                for partition in self.files.keys() {
                    let from = after.get(partition).cloned().unwrap_or(Position::Start);
                    if from == Position::End {
                        continue;
                    }
                    self.pieces(Span::new(partition.clone(), from, Position::End), &mut due)?;
                }
            }
        }
        Ok(Box::new(Reader { letters: self.clone(), due }))
    }
}

struct Reader {
    letters: LetterSource,
    due: VecDeque<Span>,
}

#[async_trait]
impl Source for Reader {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.due.pop_front().map(|span| self.letters.read(span)).transpose()
    }
}

/// Keeps letters about rows that came from letters: where they first came from is what stays written.
pub struct OldPlaces<D> {
    letters: D,
    files: Arc<BTreeMap<Partition, Vec<Letter>>>,
}

impl<D> OldPlaces<D> {
    /// Before `letters`, for rows of a [`LetterSource`] of these files.
    pub fn new(letters: D, files: Arc<BTreeMap<Partition, Vec<Letter>>>) -> Self {
        Self { letters, files }
    }

    fn rewrite(&self, rows: &RecordBatch) -> Result<RecordBatch, BoxError> {
        let schema = rows.schema();
        let (partition, position) = (schema.index_of("partition")?, schema.index_of("position")?);
        let mut old = Vec::new();
        for row in 0..rows.num_rows() {
            let name = Partition::from(rows.column(partition).as_string::<i32>().value(row));
            let number: Position = rows.column(position).as_string::<i32>().value(row).parse()?;
            let nth = number.counted().unwrap_or_default().saturating_sub(1) as usize;
            old.push(self.files.get(&name).and_then(|it| it.get(nth)));
        }
        let rewritten = |column: &ArrayRef, of: fn(&Letter) -> &str| -> ArrayRef {
            let texts = column.as_string::<i32>();
            let value = |(row, old): (usize, &Option<&Letter>)| old.map_or(texts.value(row), of).to_owned();
            Arc::new(StringArray::from_iter_values(old.iter().enumerate().map(value)))
        };
        let mut columns = rows.columns().to_vec();
        for (name, of) in [
            ("source", (|it| it.source.as_str()) as fn(&Letter) -> &str),
            ("partition", |it| it.partition.as_str()),
            ("position", |it| it.position.as_str()),
        ] {
            let index = schema.index_of(name)?;
            columns[index] = rewritten(&columns[index], of);
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

#[async_trait]
impl<D: Deliver> Deliver for OldPlaces<D> {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        let rows: Result<Vec<_>, _> = rows.iter().map(|it| self.rewrite(it)).collect();
        self.letters.deliver(id, &rows.map_err(SinkError::Stop)?).await
    }
}

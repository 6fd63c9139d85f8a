//! Letters as a source: each file of copies is a partition, each letter a row of the node that refused it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{
    BoxError, Deliver, DeliveryId, Partition, Position, Positions, Read, Refusal, Resume, SinkError, Source,
    SourceConfig, Span,
};

use crate::copies::{Copied, Copies};
use crate::letter::Letter;

/// How many letters are read at a time.
const ROWS_MAX: usize = 1_000;

/// Reads letters that a replay has taken up.
#[derive(Clone, Debug)]
pub struct LetterSource {
    schema: SchemaRef,
    copies: Copies,
}

impl LetterSource {
    /// Rows of this schema. A letter's position is its number in its file, from 1.
    pub fn new(schema: SchemaRef, copies: Copies) -> Self {
        Self { schema, copies }
    }

    /// The letters in `span`, which is in this file. An error is about letters that are no rows of one batch.
    fn read(&self, span: Span, file: &[Copied]) -> Result<Read, BoxError> {
        let (first, last) = numbers(&span, file);
        let (mut rows, mut positions, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, Copied { letter, .. }) in file.iter().enumerate().take(last).skip(first) {
            let position = Position::row(nth as u64 + 1);
            match letter.row(&self.schema) {
                Ok(row) => {
                    rows.push(row);
                    positions.push(position);
                }
                Err(error) => refused.push(Refusal {
                    position,
                    payload: letter.payload.clone().into_bytes(),
                    // [`OldPlaces`] keeps the reason that it had.
                    why: format!("it is no row of this file: {error}"),
                }),
            }
        }
        let rows = arrow_select::concat::concat_batches(&self.schema, &rows)?;
        Ok(Read { span, rows, positions: Positions::Listed(positions), refused })
    }
}

/// How many letters of a file are before a span, and how many up to its end.
fn numbers(span: &Span, file: &[Copied]) -> (usize, usize) {
    let counted = |it: &Position| it.counted().map_or(file.len(), |it| it as usize);
    (counted(&span.from), counted(&span.to))
}

#[async_trait]
impl SourceConfig for LetterSource {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(self.schema.clone())
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        let mut due = VecDeque::new();
        match resume {
            Resume::Exactly(spans) => due.extend(spans),
            Resume::After(after) => {
                for name in self.copies.names()? {
                    let partition = Partition::new(name);
                    let from = after.get(&partition).cloned().unwrap_or(Position::Start);
                    if from < Position::End {
                        due.push_back(Span::new(partition, from, Position::End));
                    }
                }
            }
        }
        Ok(Box::new(Reader { letters: self.clone(), due, open: None }))
    }
}

struct Reader {
    letters: LetterSource,
    due: VecDeque<Span>,
    /// The file that was read from last.
    open: Option<(Partition, Vec<Copied>)>,
}

#[async_trait]
impl Source for Reader {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        let Some(mut span) = self.due.pop_front() else { return Ok(None) };
        let file = match self.open.take() {
            Some((partition, file)) if partition == span.partition => file,
            _ => self.letters.copies.read(span.partition.as_str())?,
        };
        let (_, file) = &*self.open.insert((span.partition.clone(), file));
        let (first, last) = numbers(&span, file);
        let mut most = ROWS_MAX;
        loop {
            let cut = Position::row((first + most) as u64);
            let now = match last > first + most {
                true => Span { to: cut.clone(), ..span.clone() },
                false => span.clone(),
            };
            match self.letters.read(now, file) {
                // Together they may have more values than a dictionary has keys.
                Err(_) if most > 1 => most /= 2,
                read => {
                    if last > first + most {
                        span.from = cut;
                        self.due.push_front(span);
                    }
                    return read.map(Some);
                }
            }
        }
    }
}

/// Keeps letters about rows that came from letters: where they first came from is what stays written. What is no row of
/// this file, since it was changed after the letters were chosen, stays the letter that it was: no node has judged it.
pub struct OldPlaces<D> {
    letters: D,
    source: String,
    copies: Copies,
}

impl<D> OldPlaces<D> {
    /// Before `letters`, for rows of a [`LetterSource`] of these copies, which has this name in its plan.
    pub fn new(letters: D, source: &str, copies: Copies) -> Self {
        Self { letters, source: source.to_owned(), copies }
    }

    /// The letters that the rows come from.
    fn old(&self, rows: &RecordBatch) -> Result<Vec<Letter>, BoxError> {
        let schema = rows.schema();
        let partitions = rows.column(schema.index_of("partition")?).as_string::<i32>();
        let positions = rows.column(schema.index_of("position")?).as_string::<i32>();
        let mut open = None;
        let mut old = Vec::with_capacity(rows.num_rows());
        for (name, number) in partitions.iter().zip(positions) {
            let (name, number) = (name.unwrap_or_default(), number.unwrap_or_default());
            let file = match open.take() {
                Some((open, file)) if open == name => file,
                _ => self.copies.read(name)?,
            };
            let nth = number.parse::<Position>()?.counted().and_then(|it| usize::try_from(it).ok()?.checked_sub(1));
            let copied: &Copied = nth.and_then(|it| file.get(it)).ok_or_else(|| format!("{name} has no {number}"))?;
            old.push(copied.letter.clone());
            open = Some((name, file));
        }
        Ok(old)
    }

    fn rewrite(&self, rows: &RecordBatch) -> Result<RecordBatch, BoxError> {
        let (schema, old) = (rows.schema(), self.old(rows)?);
        let component = rows.column(schema.index_of("component")?).clone();
        let refused_here: Vec<bool> =
            component.as_string::<i32>().iter().map(|it| it == Some(self.source.as_str())).collect();
        let mut columns = rows.columns().to_vec();
        let mut put_back = |name: &str, of: fn(&Letter) -> &str, only_refused_here: bool| -> Result<(), BoxError> {
            let index = schema.index_of(name)?;
            let new = columns[index].as_string::<i32>();
            let value = |row: usize| match only_refused_here && !refused_here[row] {
                true => new.value(row),
                false => of(&old[row]),
            };
            let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..old.len()).map(value)));
            columns[index] = column;
            Ok(())
        };
        put_back("partition", |it| &it.partition, false)?;
        put_back("position", |it| &it.position, false)?;
        put_back("payload", |it| &it.payload, true)?;
        put_back("encoding", |it| &it.encoding, true)?;
        put_back("component", |it| &it.component, true)?;
        put_back("reason", |it| &it.reason, true)?;
        put_back("version", |it| &it.version, true)?;
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

//! The source itself: makes rows, or makes them again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::builder::StringBuilder;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Resume, Source, Span};
use tokio::time::Instant;

use crate::{Column, Demo, Traffic};

/// A read has no more rows than this: about 4 MiB.
const READ_ROWS_MAX: u64 = 4096;

/// With a rate, there is a read about so often; less often if it has no rows.
const TICK: Duration = Duration::from_millis(100);

pub struct Rows {
    maker: Maker,
    work: Work,
}

enum Work {
    /// Partitions that are not at their end, the next to read from first.
    Make {
        lanes: VecDeque<Lane>,
        pace: Option<Pace>,
    },
    Replay(VecDeque<Span>),
}

/// A partition, and how much of it was read.
struct Lane {
    number: u32,
    rows: u64,
}

/// Keeps the rate.
struct Pace {
    rows_per_second: f64,
    began: Option<Instant>,
    rows: u64,
}

impl Rows {
    pub fn new(
        config: &Demo,
        schema: SchemaRef,
        columns: Vec<Column>,
        traffic: Traffic,
        resume: Resume,
    ) -> Result<Self, BoxError> {
        let partitions = config.partitions.get();
        let maker = Maker { schema, columns, traffic, partitions, rows: config.rows.map(u64::from) };
        let work = match resume {
            Resume::Exactly(spans) => Work::Replay(spans.into()),
            Resume::After(after) => {
                let mut lanes = VecDeque::new();
                for number in 0..partitions {
                    match after.get(&name(number)).unwrap_or(&Position::Start) {
                        Position::End => {}
                        position => lanes.push_back(Lane { number, rows: count(number, position)? }),
                    }
                }
                let rate = config.rate.map(|it| f64::from(it.get()));
                let pace = rate.map(|rows_per_second| Pace { rows_per_second, began: None, rows: 0 });
                Work::Make { lanes, pace }
            }
        };
        Ok(Self { maker, work })
    }
}

#[async_trait]
impl Source for Rows {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        match &mut self.work {
            Work::Replay(spans) => match spans.pop_front() {
                None => Ok(None),
                Some(span) => {
                    let (read, rest) = self.maker.again(span)?;
                    if let Some(rest) = rest {
                        spans.push_front(rest);
                    }
                    Ok(Some(read))
                }
            },
            Work::Make { lanes, pace } => {
                let Some(mut lane) = lanes.pop_front() else { return Ok(None) };
                let due = match pace {
                    Some(pace) => pace.wait().await,
                    None => u64::MAX,
                };
                let (read, made) = self.maker.read(lane.number, lane.rows, due);
                if let Some(pace) = pace {
                    pace.rows += made;
                }
                lane.rows += made;
                if read.span.to != Position::End {
                    lanes.push_back(lane);
                }
                Ok(Some(read))
            }
        }
    }
}

impl Pace {
    /// Waits until rows are due, and says how many.
    async fn wait(&mut self) -> u64 {
        let began = *self.began.get_or_insert_with(Instant::now);
        loop {
            let due = (began.elapsed().as_secs_f64() * self.rows_per_second) as u64 + 1;
            if due > self.rows {
                return due - self.rows;
            }
            let next = began + Duration::from_secs_f64(self.rows as f64 / self.rows_per_second);
            tokio::time::sleep_until(next.max(Instant::now() + TICK)).await;
        }
    }
}

/// Makes reads out of nothing.
struct Maker {
    schema: SchemaRef,
    columns: Vec<Column>,
    traffic: Traffic,
    partitions: u32,
    /// Over all partitions.
    rows: Option<u64>,
}

impl Maker {
    /// How many rows a partition has, if it has an end.
    fn rows_of(&self, number: u32) -> Option<u64> {
        let partitions = u64::from(self.partitions);
        self.rows.map(|rows| rows / partitions + u64::from(u64::from(number) < rows % partitions))
    }

    /// At most `due` rows that follow the first `before`, and how many they are.
    fn read(&self, number: u32, before: u64, due: u64) -> (Read, u64) {
        let left = self.rows_of(number).map_or(u64::MAX, |rows| rows.saturating_sub(before));
        let made = left.min(due).min(READ_ROWS_MAX);
        if made == 0 {
            return (Read::end(name(number), Position::row(before), self.schema.clone()), 0);
        }
        let read = Read::counted(name(number), before, self.make(number, before, made));
        (if made == left { read.ending() } else { read }, made)
    }

    /// The first rows of a span, and the rest of it.
    fn again(&self, span: Span) -> Result<(Read, Option<Span>), BoxError> {
        let number = number(&span.partition).filter(|it| *it < self.partitions);
        let number =
            number.ok_or_else(|| format!("there is no partition `{}`: was `partitions` lowered?", span.partition))?;
        let before = count(number, &span.from)?;
        let due = match (&span.to, self.rows_of(number)) {
            (Position::End, Some(_)) => u64::MAX,
            (Position::End, None) => {
                return Err(format!("{span} has an end only with `rows`: was it taken away?").into());
            }
            (to, _) => count(number, to)? - before,
        };
        let (mut read, _) = self.read(number, before, due);
        if read.span.to > span.to {
            if read.span.to == Position::End && count(number, &span.to)? != before + read.rows.num_rows() as u64 {
                return Err(format!("{span} has rows that are no longer made: was `rows` lowered?").into());
            }
            read.span.to = span.to.clone();
        }
        let rest = (read.span.to < span.to).then(|| Span { from: read.span.to.clone(), ..span });
        Ok((read, rest))
    }

    fn make(&self, number: u32, before: u64, rows: u64) -> RecordBatch {
        let mut messages = StringBuilder::new();
        let mut line = String::new();
        for row in before + 1..=before + rows {
            line.clear();
            let request = self.traffic.request(number, row);
            for (at, column) in self.columns.iter().enumerate() {
                if at > 0 {
                    line.push('\t');
                }
                column(&request, &mut line);
            }
            messages.append_value(&line);
        }
        RecordBatch::try_new(self.schema.clone(), vec![Arc::new(messages.finish())]).expect("one column of text")
    }
}

fn name(number: u32) -> Partition {
    Partition::new(format!("demo-{number}"))
}

fn number(partition: &Partition) -> Option<u32> {
    partition.as_str().strip_prefix("demo-")?.parse().ok()
}

fn count(number: u32, position: &Position) -> Result<u64, BoxError> {
    let counted = position.counted();
    counted.ok_or_else(|| format!("`{}` cannot be read from {position} on: rows are counted", name(number)).into())
}

//! Components and a store that live in a [`World`] and suffer from its [`Chaos`].

use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use forebay_api::{
    BoxError, Deliver, DeliveryId, Draft, Outputs, Partition, Position, Positions, Promise, Read, Refusal, Refused,
    RefusedRow, Resume, Settler, Sink, SinkConfig, SinkError, Source, SourceConfig, Span, Transform, TransformConfig,
};
use forebay_state::{Change, Snapshot, Store, StoreError};

use super::chaos::Chaos;
use super::scenario::{
    Fate, SourceShape, filtered_by_transform, partition_name, refused_by_sink, refused_by_transform, row_id,
};
use super::world::{CHUNK_ROWS, World};

/// What a sink says when it panics.
pub const BREAKDOWN: &str = "the sink broke down";
/// What it says when it gives up.
pub const STOP: &str = "the sink gave up";

pub struct SimStore {
    pub world: Arc<World>,
    pub chaos: Arc<Chaos>,
}

#[async_trait]
impl Store for SimStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.chaos.point().await;
        Ok(self.world.load())
    }

    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        self.chaos.point().await;
        let applied = self.world.change(change);
        self.chaos.point().await;
        applied
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

fn batch(ids: Vec<i64>) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(ids))]).unwrap()
}

pub struct FakeSourceConfig {
    pub world: Arc<World>,
    pub chaos: Arc<Chaos>,
    pub source: usize,
}

#[async_trait]
impl SourceConfig for FakeSourceConfig {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(schema())
    }

    fn is_sent_to(&self) -> bool {
        self.world.scenario.sources[self.source].is_sent_to
    }

    async fn open(&self, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        self.chaos.point().await;
        let shape = &self.world.scenario.sources[self.source];
        let number = |it: &Partition| (0..shape.partitions.len()).find(|n| partition_name(*n) == it.as_str()).unwrap();
        let (stretches, in_order) = match resume {
            Resume::After(after) => {
                let stretch = |partition: usize| {
                    let from = after.get(&Partition::from(partition_name(partition).as_str())).cloned();
                    let from = from.unwrap_or(Position::Start);
                    (from != Position::End).then_some(Stretch { partition, from, to: Position::End })
                };
                ((0..shape.partitions.len()).filter_map(stretch).collect(), false)
            }
            Resume::Exactly(spans) => {
                let stretch = |it: Span| Stretch { partition: number(&it.partition), from: it.from, to: it.to };
                (spans.into_iter().map(stretch).collect(), true)
            }
        };
        let (world, chaos, source) = (self.world.clone(), self.chaos.clone(), self.source);
        Ok(Box::new(FakeSource { world, chaos, source, stretches, in_order }))
    }
}

impl FakeSourceConfig {
    /// Opens the source for one partition alone.
    pub async fn open_partition(&self, only: &Partition, resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        match resume {
            Resume::After(mut after) => {
                for partition in 0..self.world.scenario.sources[self.source].partitions.len() {
                    let partition = Partition::from(partition_name(partition).as_str());
                    if partition != *only {
                        after.insert(partition, Position::End);
                    }
                }
                self.open(Resume::After(after)).await
            }
            replay => self.open(replay).await,
        }
    }
}

/// What is still to be read of a partition.
struct Stretch {
    partition: usize,
    from: Position,
    to: Position,
}

struct FakeSource {
    world: Arc<World>,
    chaos: Arc<Chaos>,
    source: usize,
    stretches: Vec<Stretch>,
    in_order: bool,
}

impl FakeSource {
    fn shape(&self) -> &SourceShape {
        &self.world.scenario.sources[self.source]
    }

    /// The rows at the places `(before, last]`, with the end of the partition if that is where they lead.
    fn read(&self, partition: usize, before: u64, last: u64, to: Position) -> Read {
        let shape = self.shape();
        let from = shape.position(before);
        let places: Vec<(u64, i64)> = (before + 1..=last).map(|it| (it, row_id(self.source, partition, it))).collect();
        let of = |fate: Fate| places.iter().filter(move |(_, id)| shape.fate(*id) == fate);
        let rows = of(Fate::Row).map(|(_, id)| *id).collect();
        let refusal = |(place, _): &(u64, i64)| Refusal {
            position: shape.position(*place),
            payload: b"\xff".to_vec(),
            why: "fate".into(),
        };
        let all_rows = of(Fate::Row).count() == places.len() && !shape.sequences && !places.is_empty();
        let positions = if all_rows {
            Positions::Counted
        } else {
            Positions::Listed(of(Fate::Row).map(|(place, _)| shape.position(*place)).collect())
        };
        let refused = of(Fate::RefusedBySource).map(refusal).collect();
        let span = Span::new(partition_name(partition).as_str(), from, to);
        Read { span, rows: batch(rows), positions, refused }
    }
}

#[async_trait]
impl Source for FakeSource {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        self.chaos.point().await;
        if self.stretches.is_empty() {
            return Ok(None);
        }
        let n = self.stretches.len() as u64;
        let chosen = if self.in_order { 0 } else { self.chaos.random(|it| it.below(n)) as usize };
        let Stretch { partition, from, to } = &self.stretches[chosen];
        let (partition, from, to) = (*partition, from.clone(), to.clone());
        let before = self.shape().place(partition, &from);
        let end = self.shape().place(partition, &to);
        let last = (before + 1 + self.chaos.random(|it| it.below(9))).min(end);
        // The end of a partition comes with the last rows, or alone after them.
        let reaches_end =
            last == end && (last == before || to != Position::End || self.chaos.random(|it| it.chance(50)));
        let reached = if reaches_end { to } else { self.shape().position(last) };
        let read = self.read(partition, before, last, reached.clone());
        if reaches_end {
            self.stretches.remove(chosen);
        } else {
            self.stretches[chosen].from = reached;
        }
        Ok(Some(read))
    }

    fn settler(&mut self) -> Option<Box<dyn Settler>> {
        let (world, chaos, source) = (self.world.clone(), self.chaos.clone(), self.source);
        Some(Box::new(FakeSettler { world, chaos, source }))
    }
}

struct FakeSettler {
    world: Arc<World>,
    chaos: Arc<Chaos>,
    source: usize,
}

#[async_trait]
impl Settler for FakeSettler {
    async fn settled(&mut self, partition: &Partition, to: &Position) -> Result<(), BoxError> {
        self.chaos.point().await;
        self.world.told(self.source, partition, to);
        Ok(())
    }
}

pub struct FakeTransformConfig {
    pub transform: usize,
    pub edition: u64,
}

impl TransformConfig for FakeTransformConfig {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(FakeTransform { transform: self.transform, edition: self.edition }))
    }
}

struct FakeTransform {
    transform: usize,
    edition: u64,
}

impl Transform for FakeTransform {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        Ok(input.clone())
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let ids = rows.column(0).as_primitive::<Int64Type>().values();
        let refused = |it: &i64| refused_by_transform(self.edition, self.transform, *it);
        let kept = |it: &i64| !refused(it) && !filtered_by_transform(self.transform, *it);
        for (row, _) in ids.iter().enumerate().filter(|(_, it)| refused(it)) {
            out.refuse(row, "fate");
        }
        let flags: BooleanArray = ids.iter().map(|it| Some(kept(it))).collect();
        out.send_kept(batch(ids.iter().copied().filter(kept).collect()), &flags);
        Ok(())
    }
}

pub struct FakeSinkConfig {
    pub world: Arc<World>,
    pub chaos: Arc<Chaos>,
    pub sink: usize,
}

#[async_trait]
impl SinkConfig for FakeSinkConfig {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        self.world.scenario.sinks[self.sink].promise
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        self.chaos.point().await;
        Ok(Box::new(FakeSink { world: self.world.clone(), chaos: self.chaos.clone(), sink: self.sink }))
    }
}

#[derive(Clone)]
struct FakeSink {
    world: Arc<World>,
    chaos: Arc<Chaos>,
    sink: usize,
}

impl FakeSink {
    /// A place where the sink may fail in one of its ways.
    async fn mishap(&self) -> Result<(), SinkError> {
        self.chaos.point().await;
        let faults = self.chaos.faults;
        if self.chaos.random(|it| it.chance(faults.panic)) {
            // Like a panic, but without the report that the hook would print.
            std::panic::resume_unwind(Box::new(BREAKDOWN));
        }
        if self.chaos.random(|it| it.chance(faults.stop)) {
            return Err(SinkError::Stop(STOP.into()));
        }
        if self.chaos.random(|it| it.chance(faults.retry)) {
            return Err(SinkError::Retry("not now".into()));
        }
        Ok(())
    }

    /// The numbers of the rows: of the rows themselves, or of those that letters are about.
    fn ids(&self, rows: &RecordBatch) -> Vec<i64> {
        match rows.column_by_name("id") {
            Some(ids) => ids.as_primitive::<Int64Type>().values().to_vec(),
            None => letter_rows(&self.world, rows).into_iter().map(|(_, id)| id).collect(),
        }
    }
}

#[async_trait]
impl Sink for FakeSink {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        self.mishap().await?;
        let draft = FakeDraft { sink: self.clone(), id: id.clone(), rows: Vec::new(), staged: 0, refused: Vec::new() };
        Ok(Box::new(draft))
    }

    async fn begin_again(&self, id: &DeliveryId, intended: Option<SystemTime>) -> Result<Box<dyn Draft>, SinkError> {
        assert!(intended.is_some(), "nobody says when delivery {id} was intended");
        self.begin(id).await
    }
}

struct FakeDraft {
    sink: FakeSink,
    id: DeliveryId,
    rows: Vec<i64>,
    staged: u64,
    /// To be named at the commit.
    refused: Refused,
}

#[async_trait]
impl Draft for FakeDraft {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        self.sink.mishap().await?;
        let mut refused_now = Refused::new();
        for (row, id) in self.sink.ids(&rows).into_iter().enumerate() {
            let refuses = self.sink.world.scenario.sinks[self.sink.sink].refuses;
            let refused = refused_by_sink(self.sink.sink, id).filter(|_| refuses);
            let named =
                || RefusedRow { row: self.staged + row as u64, payload: rows.slice(row, 1), why: "fate".into() };
            match refused {
                Some(true) => refused_now.push(named()),
                Some(false) => self.refused.push(named()),
                None => self.rows.push(id),
            }
        }
        self.staged += rows.num_rows() as u64;
        Ok(refused_now)
    }

    async fn commit(&mut self) -> Result<Refused, SinkError> {
        for (number, chunk) in self.rows.chunks(CHUNK_ROWS).enumerate() {
            self.sink.mishap().await?;
            self.sink.world.show_chunk(self.sink.sink, &self.id, number, chunk);
        }
        // All is written; the answer may still be lost.
        self.sink.mishap().await?;
        Ok(self.refused.clone())
    }
}

pub struct FakeLetters {
    pub world: Arc<World>,
    pub chaos: Arc<Chaos>,
}

#[async_trait]
impl Deliver for FakeLetters {
    async fn deliver(&self, id: &DeliveryId, rows: &[RecordBatch]) -> Result<Vec<(u64, String)>, SinkError> {
        self.chaos.point().await;
        let fails = |chaos: &Chaos| chaos.random(|it| it.chance(chaos.faults.retry));
        if fails(&self.chaos) {
            return Err(SinkError::Retry("not now".into()));
        }
        let letters = rows.iter().flat_map(|it| letter_rows(&self.world, it)).collect();
        self.world.keep_letters(id, letters);
        self.chaos.point().await;
        if fails(&self.chaos) {
            return Err(SinkError::Retry("kept, but not said".into()));
        }
        Ok(Vec::new())
    }
}

/// Component and row of each letter.
fn letter_rows(world: &World, rows: &RecordBatch) -> Vec<(String, i64)> {
    let text = |name: &str, row: usize| rows.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    let letter = |row: usize| {
        let position = text("position", row).parse().unwrap();
        (text("component", row), world.row_of(&text("source", row), &text("partition", row), &position))
    };
    (0..rows.num_rows()).map(letter).collect()
}

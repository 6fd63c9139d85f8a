//! What a seed stands for: a pipeline, its data, and a series of lives.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use forebay_api::plan::{Input, OnRefused, PlannedSink, PlannedSource, PlannedTransform, Port, Retry, letter_schema};
use forebay_api::{Age, Batch, ByteSize, Plan, Position, Promise};

use super::chaos::{Chaos, Faults, Random, mix};
use super::fakes::{FakeSinkConfig, FakeSourceConfig, FakeTransformConfig};
use super::world::World;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub sources: Vec<SourceShape>,
    /// Each reads the one before it, the first one all sources.
    pub transforms: usize,
    /// Which rows the transforms refuse: another number, other rows.
    pub edition: u64,
    pub sinks: Vec<SinkShape>,
    pub drain_max: Age,
    pub lives: Vec<LifeShape>,
}

#[derive(Clone, Debug)]
pub struct SourceShape {
    /// Places in each partition; not every place holds a row.
    pub partitions: Vec<u64>,
    /// Places are numbered like Kinesis records with rows in them, not merely counted.
    pub sequences: bool,
    pub refuses: bool,
    /// It is open before what is pending was made.
    pub is_sent_to: bool,
}

#[derive(Clone, Debug)]
pub struct SinkShape {
    pub promise: Promise,
    /// The first copy of a chunk stays (a deduplicating table), or the last one does (an object store).
    pub keeps_first: bool,
    /// Gets the rows of this transform (by number), or of all sources.
    pub reads: Option<usize>,
    /// Gets the letters of that node, not its rows.
    pub reads_refused: bool,
    pub refuses: bool,
    pub batch: Batch,
    pub in_flight_max: usize,
}

#[derive(Clone, Debug)]
pub struct LifeShape {
    pub crash_after: Option<u64>,
    pub stop_after: Option<Duration>,
    /// Reads of one source that are transformed at a time.
    pub workers: usize,
    pub faults: Faults,
}

/// What becomes of a place in a log. All of it follows from the seed-free identity of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No row is there.
    Hole,
    RefusedBySource,
    Row,
}

pub fn source_name(source: usize) -> String {
    format!("source_{source}")
}

pub fn transform_name(transform: usize) -> String {
    format!("transform_{transform}")
}

pub fn sink_name(sink: usize) -> String {
    format!("sink_{sink}")
}

pub fn partition_name(partition: usize) -> String {
    format!("partition_{partition}")
}

/// The number of a row over everything.
pub fn row_id(source: usize, partition: usize, place: u64) -> i64 {
    (source as i64) * 1_000_000 + (partition as i64) * 10_000 + place as i64
}

fn lot(id: i64, salt: u64) -> u64 {
    mix(id as u64 ^ (salt << 48))
}

/// Whether transform `transform` refuses the row.
pub fn refused_by_transform(edition: u64, transform: usize, id: i64) -> bool {
    lot(id, 100 + transform as u64 + 10 * edition).is_multiple_of(13)
}

/// Whether transform `transform` filters the row out. Transform 0 filters in long stretches, so that spans without
/// rows are common.
pub fn filtered_by_transform(transform: usize, id: i64) -> bool {
    let scattered = lot(id, 200 + transform as u64).is_multiple_of(7);
    let stretch = transform == 0 && lot(id / 9, 300).is_multiple_of(3);
    scattered || stretch
}

/// Whether sink `sink` refuses the row; and whether it says so when staging (or when committing).
pub fn refused_by_sink(sink: usize, id: i64) -> Option<bool> {
    let lot = lot(id, 400 + sink as u64);
    lot.is_multiple_of(19).then_some(lot & (1 << 40) == 0)
}

impl SourceShape {
    pub fn fate(&self, id: i64) -> Fate {
        match lot(id, 1) {
            it if it.is_multiple_of(11) => Fate::Hole,
            it if self.refuses && it.is_multiple_of(17) => Fate::RefusedBySource,
            _ => Fate::Row,
        }
    }

    /// The position of a place, from 1; 0 is the start.
    pub fn position(&self, place: u64) -> Position {
        match place {
            0 => Position::Start,
            place if self.sequences => {
                let record = format!("4959033827149025{:040}", 1_000 + place / 3);
                Position::sequence(&record, place % 3).expect("digits")
            }
            place => Position::row(place),
        }
    }

    /// The place of a position.
    pub fn place(&self, partition: usize, position: &Position) -> u64 {
        let places = self.partitions[partition];
        match position {
            Position::End => places,
            position => (0..=places).find(|it| self.position(*it) == *position).expect("a position that was given out"),
        }
    }
}

impl Scenario {
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(mix(seed.wrapping_add(77)));
        // Numbers of their own: the stories of the seeds stay what they were.
        let mut early = Random::new(mix(seed.wrapping_add(78)));
        let mut source = |random: &mut Random| SourceShape {
            partitions: (0..1 + random.below(3)).map(|_| random.below(60)).collect(),
            sequences: random.chance(50),
            refuses: random.chance(40),
            is_sent_to: early.chance(50),
        };
        let sources = (0..1 + random.below(2)).map(|_| source(&mut random)).collect();
        let transforms = random.below(3) as usize;
        let sink = |random: &mut Random| SinkShape {
            promise: if random.chance(75) { Promise::OncePerId } else { Promise::AtLeastOnce },
            keeps_first: random.chance(50),
            reads: (transforms > 0).then(|| random.below(transforms as u64) as usize).filter(|_| random.chance(85)),
            reads_refused: random.chance(15),
            refuses: random.chance(30),
            batch: Batch {
                rows_max: 1 + random.below(20),
                bytes_max: ByteSize(16 << random.below(8)),
                age_max: Age::millis([0, 1, 50, 2_000][random.below(4) as usize]),
                interval_min: Age::millis([0, 0, 20, 3_000][random.below(4) as usize]),
            },
            in_flight_max: 1 + random.below(3) as usize,
        };
        let sinks = (0..1 + random.below(3)).map(|_| sink(&mut random)).collect();
        let faults = |random: &mut Random| Faults {
            slow: random.below(20),
            retry: random.below(25),
            stop: if random.chance(20) { random.below(5) } else { 0 },
            panic: if random.chance(20) { random.below(5) } else { 0 },
        };
        let life = |random: &mut Random| LifeShape {
            crash_after: random.chance(80).then(|| 1 << random.below(12)).map(|it: u64| it + random.below(it)),
            stop_after: random.chance(15).then(|| Duration::from_millis(random.below(30_000))),
            workers: 1 + random.below(3) as usize,
            faults: faults(random),
        };
        let mut lives: Vec<LifeShape> = (0..random.below(7)).map(|_| life(&mut random)).collect();
        // In the last one things still go wrong, but nothing that ends a run.
        let last = Faults { stop: 0, panic: 0, ..faults(&mut random) };
        lives.push(LifeShape { crash_after: None, stop_after: None, workers: 2, faults: last });
        Self { sources, transforms, edition: 0, sinks, drain_max: Age::seconds(random.below(20)), lives }
    }

    /// One source, one transform, a once-per-id sink of each kind.
    pub fn small() -> Self {
        let sink = |keeps_first| SinkShape {
            promise: Promise::OncePerId,
            keeps_first,
            reads: Some(0),
            reads_refused: false,
            refuses: true,
            batch: Batch { rows_max: 6, bytes_max: ByteSize::mib(1), age_max: Age::millis(50), ..Batch::default() },
            in_flight_max: 2,
        };
        Self {
            sources: vec![SourceShape { partitions: vec![25, 11], sequences: true, refuses: true, is_sent_to: true }],
            transforms: 1,
            edition: 0,
            sinks: vec![sink(true), sink(false)],
            drain_max: Age::seconds(10),
            lives: Vec::new(),
        }
    }

    /// What sink `sink` is to show: every row that reaches it and that it does not refuse; letters if it reads those.
    pub fn shown_by(&self, sink: usize, source: usize, id: i64) -> bool {
        self.reaches(sink, source, id) && !(self.sinks[sink].refuses && refused_by_sink(sink, id).is_some())
    }

    /// Whether a row, or its letter, reaches a sink.
    pub fn reaches(&self, sink: usize, source: usize, id: i64) -> bool {
        let shape = &self.sinks[sink];
        let node = shape.reads.map_or(0, |it| it + 1);
        if shape.reads_refused { self.refused_at(node, source, id) } else { self.sent_by(node, source, id) }
    }

    /// Whether a row leaves node `node` (0: its source, n: transform n - 1).
    fn sent_by(&self, node: usize, source: usize, id: i64) -> bool {
        let through = |it: usize| !refused_by_transform(self.edition, it, id) && !filtered_by_transform(it, id);
        self.sources[source].fate(id) == Fate::Row && (0..node).all(through)
    }

    /// Whether a row is refused at node `node`.
    pub fn refused_at(&self, node: usize, source: usize, id: i64) -> bool {
        match node.checked_sub(1) {
            None => self.sources[source].fate(id) == Fate::RefusedBySource,
            Some(transform) => self.sent_by(transform, source, id) && refused_by_transform(self.edition, transform, id),
        }
    }

    /// Whether what node `node` refuses goes to the dead letters: no sink reads it.
    pub fn letters_of(&self, node: usize) -> bool {
        !self.sinks.iter().any(|it| it.reads_refused && it.reads.map_or(0, |it| it + 1) == node)
    }

    pub fn plan(&self, world: &Arc<World>, chaos: &Arc<Chaos>) -> Plan {
        let rows: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let from = |node: String, port| Input { node, port };
        let all_sources = |port| (0..self.sources.len()).map(|it| from(source_name(it), port)).collect::<Vec<_>>();
        let sources = (0..self.sources.len()).map(|source| PlannedSource {
            name: source_name(source),
            kind: "fake".into(),
            config: Arc::new(FakeSourceConfig { world: world.clone(), chaos: chaos.clone(), source }),
            schema: rows.clone(),
            on_refused: OnRefused::DeadLetters,
            fingerprint: "sim".into(),
        });
        let transforms = (0..self.transforms).map(|transform| PlannedTransform {
            name: transform_name(transform),
            kind: "fake".into(),
            inputs: match transform.checked_sub(1) {
                Some(before) => vec![from(transform_name(before), Port::Rows)],
                None => all_sources(Port::Rows),
            },
            config: Arc::new(FakeTransformConfig { transform, edition: self.edition }),
            input: rows.clone(),
            output: rows.clone(),
            on_refused: OnRefused::DeadLetters,
            fingerprint: format!("sim {}", self.edition),
        });
        let sinks = self.sinks.iter().enumerate().map(|(sink, shape)| {
            let port = if shape.reads_refused { Port::Refused } else { Port::Rows };
            PlannedSink {
                name: sink_name(sink),
                kind: "fake".into(),
                inputs: match shape.reads {
                    Some(transform) => vec![from(transform_name(transform), port)],
                    None => all_sources(port),
                },
                config: Arc::new(FakeSinkConfig { world: world.clone(), chaos: chaos.clone(), sink }),
                input: if shape.reads_refused { letter_schema() } else { rows.clone() },
                batch: shape.batch,
                retry: Retry { wait_min: Age::millis(100), wait_max: Age::seconds(5), ..Retry::default() },
                in_flight_max: shape.in_flight_max,
                on_refused: OnRefused::DeadLetters,
                fingerprint: match shape.reads {
                    Some(_) => format!("sim {}", self.edition),
                    None => "sim".into(),
                },
            }
        });
        Plan {
            name: "sim".into(),
            version: "sim".into(),
            sources: sources.collect(),
            transforms: transforms.collect(),
            sinks: sinks.collect(),
            dead_letters: None,
            state: "never-written".into(),
            drain_max: self.drain_max,
        }
    }
}

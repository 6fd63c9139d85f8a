//! From a read to the shares of the sinks: all transforms between, fused. Pure: no I/O, no waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use forebay_api::plan::{Input, PlannedSink, PlannedSource, PlannedTransform, Port};
use forebay_api::{BoxError, Outputs, Plan, Position, Positions, Read, Span, Transform};

use crate::RunError;
use crate::counters::{Counters, add};
use crate::letters;

/// What one sink gets of one read. It may be without rows; the span counts all the same.
pub(crate) struct Share {
    pub source: Arc<str>,
    pub span: Span,
    pub rows: Vec<(RecordBatch, Places)>,
}

impl Share {
    /// The rows over all batches.
    pub fn row_count(&self) -> u64 {
        self.rows.iter().map(|(rows, _)| rows.num_rows() as u64).sum()
    }

    /// The bytes of Arrow data over all batches.
    pub fn byte_count(&self) -> u64 {
        self.rows.iter().map(|(rows, _)| batch_bytes(rows)).sum()
    }
}

/// The bytes that the rows of a batch take, without what else its buffers hold.
pub(crate) fn batch_bytes(rows: &RecordBatch) -> u64 {
    let column = |it: &Arc<dyn arrow_array::Array>| it.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    rows.columns().iter().map(column).sum()
}

/// Where each row of a batch stands in the source.
#[derive(Clone)]
pub(crate) struct Places {
    pub of_read: Arc<ReadPlaces>,
    /// Row `i` is row `picked[i]` of the read; `None`: the same row.
    pub picked: Option<UInt32Array>,
}

pub(crate) enum ReadPlaces {
    Counted { before: u64 },
    Listed(Vec<Position>),
}

impl Places {
    fn in_read(&self, row: usize) -> usize {
        self.picked.as_ref().map_or(row, |it| it.value(row) as usize)
    }

    /// The position of a row.
    pub fn position(&self, row: usize) -> Position {
        let row = self.in_read(row);
        match &*self.of_read {
            ReadPlaces::Counted { before } => Position::row(before + row as u64 + 1),
            ReadPlaces::Listed(positions) => positions[row].clone(),
        }
    }

    /// The places of rows that were made of these rows.
    fn pick(&self, picked: Option<UInt32Array>) -> Self {
        let picked = match (&self.picked, picked) {
            (None, picked) => picked,
            (Some(earlier), None) => Some(earlier.clone()),
            (Some(earlier), Some(later)) => {
                Some(later.values().iter().map(|it| earlier.value(*it as usize)).collect::<Vec<u32>>().into())
            }
        };
        Self { of_read: self.of_read.clone(), picked }
    }
}

/// Rows on their way from node to node.
#[derive(Clone)]
struct Flowing {
    rows: RecordBatch,
    places: Places,
    /// The source's rows, from which a dead letter takes its payload.
    origin: Arc<RecordBatch>,
}

/// The way of one source's rows to the sinks. Each lane has its own, and so its own transforms.
pub(crate) struct Flow {
    pipeline: String,
    version: String,
    pub source: Arc<str>,
    on_refused: Refusals,
    steps: Vec<Step>,
    /// For each sink that can get rows from this source, where they come from.
    sinks: BTreeMap<usize, Vec<Input>>,
    counters: Arc<Counters>,
}

struct Step {
    name: String,
    inputs: Vec<Input>,
    transform: Box<dyn Transform>,
    on_refused: Refusals,
    /// The sinks that get something from here.
    feeds: BTreeSet<usize>,
}

/// What becomes of what a node refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusals {
    Kept,
    Stop,
}

impl Flow {
    /// Lays out the way of `source`. `letters` has the numbers of the sinks that keep the dead letters, by node.
    pub fn new(
        plan: &Plan,
        source: &PlannedSource,
        letters: &BTreeMap<String, usize>,
        counters: Arc<Counters>,
    ) -> Result<Self, RunError> {
        let mut letter_inputs = BTreeMap::new();
        let mut refusals = |name: &str| {
            let kept = letters.get(name).map(|it| (*it, vec![Input { node: name.into(), port: Port::Refused }]));
            letter_inputs.extend(kept);
            if letters.contains_key(name) || is_refused_port_read(plan, name) { Refusals::Kept } else { Refusals::Stop }
        };

        let on_refused = refusals(&source.name);
        let mut reached = BTreeSet::from([source.name.clone()]);
        let mut steps = Vec::new();
        for planned in &plan.transforms {
            let inputs = reached_inputs(&planned.inputs, &reached);
            if inputs.is_empty() {
                continue;
            }
            let transform = planned_transform(planned, &planned.input)?.0;
            reached.insert(planned.name.clone());
            let (name, on_refused) = (planned.name.clone(), refusals(&planned.name));
            steps.push(Step { name, inputs, transform, on_refused, feeds: BTreeSet::new() });
        }
        let of_sink = |(index, it): (usize, &PlannedSink)| (index, reached_inputs(&it.inputs, &reached));
        let mut sinks: BTreeMap<usize, Vec<Input>> = plan.sinks.iter().enumerate().map(of_sink).collect();
        sinks.extend(letter_inputs);
        sinks.retain(|_, inputs| !inputs.is_empty());
        mark_feeds(&mut steps, &sinks);
        if let Err(error) = narrow(plan, &mut steps, &sinks) {
            // It would have been less work.
            tracing::warn!("all columns are built: {}", crate::causes(&error));
            for step in &mut steps {
                let planned = plan.transforms.iter().find(|it| it.name == step.name).expect("a step is in the plan");
                step.transform = planned_transform(planned, &planned.input)?.0;
            }
        }
        Ok(Self {
            pipeline: plan.name.clone(),
            version: plan.version.clone(),
            source: source.name.as_str().into(),
            on_refused,
            steps,
            sinks,
            counters,
        })
    }

    /// The sinks that get something from a node of this way, its dead letters included.
    pub fn fed_by(&self, node: &str) -> BTreeSet<usize> {
        match self.steps.iter().find(|it| it.name == node) {
            Some(step) => step.feeds.clone(),
            None => self.sinks(),
        }
    }

    /// The sinks that can get rows from this source.
    pub fn sinks(&self) -> BTreeSet<usize> {
        self.sinks.keys().copied().collect()
    }

    /// Takes a read through to the sinks in `wanted`. Each of them gets a share, if only the span.
    pub fn apply(&mut self, read: Read, wanted: &BTreeSet<usize>) -> Result<Vec<(usize, Share)>, RunError> {
        let mut ports: BTreeMap<Input, Vec<Flowing>> = BTreeMap::new();
        self.enter(&read, &mut ports)?;
        let (pipeline, version) = (&*self.pipeline, &*self.version);
        let place = letters::Place { pipeline, version, source: &self.source, partition: &read.span.partition };
        for step in self.steps.iter_mut().filter(|it| !it.feeds.is_disjoint(wanted)) {
            step.run(&place, &mut ports, &read.span, &self.counters)?;
        }
        let share = |(sink, inputs): (&usize, &Vec<Input>)| {
            let flowing = inputs.iter().filter_map(|it| ports.get(it)).flatten();
            let rows = flowing.filter(|it| it.rows.num_rows() > 0).map(|it| (it.rows.clone(), it.places.clone()));
            (*sink, Share { source: self.source.clone(), span: read.span.clone(), rows: rows.collect() })
        };
        Ok(self.sinks.iter().filter(|(sink, _)| wanted.contains(sink)).map(share).collect())
    }

    /// Puts the read's rows and refusals on the source's ports.
    fn enter(&self, read: &Read, ports: &mut BTreeMap<Input, Vec<Flowing>>) -> Result<(), RunError> {
        let counters = self.counters.node(&self.source);
        add(&counters.rows_in, (read.rows.num_rows() + read.refused.len()) as u64);
        add(&counters.bytes_in, batch_bytes(&read.rows));
        add(&counters.rows_out, read.rows.num_rows() as u64);
        add(&counters.refused, read.refused.len() as u64);
        let of_read = Arc::new(match &read.positions {
            Positions::Counted => ReadPlaces::Counted { before: read.span.from.counted().unwrap_or(0) },
            Positions::Listed(positions) => ReadPlaces::Listed(positions.clone()),
        });
        let flowing = Flowing {
            rows: read.rows.clone(),
            places: Places { of_read, picked: None },
            origin: Arc::new(read.rows.clone()),
        };
        ports.insert(Input { node: self.source.to_string(), port: Port::Rows }, vec![flowing]);
        if read.refused.is_empty() {
            return Ok(());
        }
        if self.on_refused == Refusals::Stop {
            let first = &read.refused[0];
            return Err(refused_stop(&self.source, &first.why, &self.source, &read.span, &first.position));
        }
        let (pipeline, version) = (&*self.pipeline, &*self.version);
        let place = letters::Place { pipeline, version, source: &self.source, partition: &read.span.partition };
        let rows = letters::of_source(&place, &read.refused);
        let positions = read.refused.iter().map(|it| it.position.clone()).collect();
        let places = Places { of_read: Arc::new(ReadPlaces::Listed(positions)), picked: None };
        let flowing = Flowing { origin: Arc::new(rows.clone()), rows, places };
        ports.insert(Input { node: self.source.to_string(), port: Port::Refused }, vec![flowing]);
        Ok(())
    }
}

impl Step {
    fn run(
        &mut self,
        place: &letters::Place<'_>,
        ports: &mut BTreeMap<Input, Vec<Flowing>>,
        span: &Span,
        counters: &Counters,
    ) -> Result<(), RunError> {
        let counters = counters.node(&self.name);
        let (mut sent, mut refused) = (Vec::new(), Vec::new());
        let inputs: Vec<Flowing> = self.inputs.iter().filter_map(|it| ports.get(it)).flatten().cloned().collect();
        for input in inputs.into_iter().filter(|it| it.rows.num_rows() > 0) {
            let n = input.rows.num_rows();
            let mut out = Outputs::new(n);
            let failed = |error| RunError::new(&self.name, "failed", error);
            self.transform.apply(input.rows.clone(), &mut out).map_err(failed)?;
            add(&counters.rows_in, n as u64);
            add(&counters.bytes_in, batch_bytes(&input.rows));
            add(&counters.filtered, filtered(n, &out));
            add(&counters.refused, out.refused().len() as u64);
            let (out_sent, out_refused) = out.into_parts();
            for (rows, picked) in out_sent {
                add(&counters.rows_out, rows.num_rows() as u64);
                sent.push(Flowing { rows, places: input.places.pick(picked), origin: input.origin.clone() });
            }
            let Some((first, why)) = out_refused.first() else { continue };
            if self.on_refused == Refusals::Stop {
                return Err(refused_stop(&self.name, why, place.source, span, &input.places.position(*first)));
            }
            let picked: UInt32Array = out_refused.iter().map(|(row, _)| *row as u32).collect::<Vec<_>>().into();
            let places = input.places.pick(Some(picked));
            let of_origin = |row: usize| (places.in_read(row), places.position(row));
            let whys = out_refused.iter().enumerate().map(|(row, (_, why))| (of_origin(row), why.as_str()));
            let rows = letters::of_transform(place, &self.name, &input.origin, whys);
            refused.push(Flowing { rows, places, origin: input.origin });
        }
        ports.insert(Input { node: self.name.clone(), port: Port::Rows }, sent);
        ports.insert(Input { node: self.name.clone(), port: Port::Refused }, refused);
        Ok(())
    }
}

/// Whether some node reads what `node` refuses.
pub(crate) fn is_refused_port_read(plan: &Plan, node: &str) -> bool {
    let port = Input { node: node.into(), port: Port::Refused };
    plan.transforms.iter().any(|it| it.inputs.contains(&port)) || plan.sinks.iter().any(|it| it.inputs.contains(&port))
}

/// The inputs that rows of one source can come by, in an order of their own: that of the file may be changed without
/// changing what a delivery is.
fn reached_inputs(inputs: &[Input], reached: &BTreeSet<String>) -> Vec<Input> {
    let inputs: BTreeSet<&Input> = inputs.iter().filter(|it| reached.contains(&it.node)).collect();
    inputs.into_iter().cloned().collect()
}

/// Notes for each step which sinks get something from it, last steps first.
fn mark_feeds(steps: &mut [Step], sinks: &BTreeMap<usize, Vec<Input>>) {
    for index in (0..steps.len()).rev() {
        let (before, after) = steps.split_at_mut(index + 1);
        let step = &mut before[index];
        let reads = |inputs: &[Input]| inputs.iter().any(|it| it.node == step.name);
        let direct = sinks.iter().filter(|(_, inputs)| reads(inputs)).map(|(sink, _)| *sink);
        let through = after.iter().filter(|it| reads(&it.inputs)).flat_map(|it| it.feeds.iter().copied());
        step.feeds = direct.chain(through).collect();
    }
}

/// Makes a transform and plans it for `input`. Gives the columns that come out, too.
fn planned_transform(
    planned: &PlannedTransform,
    input: &SchemaRef,
) -> Result<(Box<dyn Transform>, SchemaRef), RunError> {
    let failed = |error: BoxError| RunError::new(&planned.name, "could not be planned", error);
    let mut transform = planned.config.build().map_err(failed)?;
    let output = transform.plan(input).map_err(failed)?;
    Ok((transform, output))
}

/// Lets every step leave out the columns that nothing behind it uses, and plans the steps behind it for what is left.
fn narrow(plan: &Plan, steps: &mut [Step], sinks: &BTreeMap<usize, Vec<Input>>) -> Result<(), RunError> {
    let used = used_columns(steps, sinks);
    // What comes out of each step that leaves something out.
    let mut narrower: BTreeMap<String, SchemaRef> = BTreeMap::new();
    for (step, used) in steps.iter_mut().zip(used) {
        let planned = plan.transforms.iter().find(|it| it.name == step.name).expect("a step is in the plan");
        let mut output = planned.output.clone();
        if let Some(input) = rows_inputs(&step.inputs).find_map(|it| narrower.get(&it.node)) {
            (step.transform, output) = planned_transform(planned, input)?;
        }
        let all_used = used.is_none();
        output = used.and_then(|it| step.transform.narrow(&it)).unwrap_or(output);
        if all_used && output != planned.output {
            let what = "it names fewer columns than it uses".into();
            return Err(RunError::new(&step.name, "cannot do with less", what));
        }
        if output != planned.output {
            narrower.insert(step.name.clone(), output);
        }
    }
    Ok(())
}

/// The inputs by which rows come, not letters.
fn rows_inputs(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    inputs.iter().filter(|it| it.port == Port::Rows)
}

/// For each step, which columns of its rows are used behind it; `None`: all, or nobody knows.
fn used_columns(steps: &mut [Step], sinks: &BTreeMap<usize, Vec<Input>>) -> Vec<Option<BTreeSet<String>>> {
    let mut used = vec![None; steps.len()];
    for index in (0..steps.len()).rev() {
        let (before, after) = steps.split_at_mut(index + 1);
        let step = &mut before[index];
        let rows = Input { node: step.name.clone(), port: Port::Rows };
        if sinks.values().any(|it| it.contains(&rows)) {
            continue;
        }
        // A step that several nodes feed was planned for columns that they have in common.
        let uses = |it: &Step| if it.inputs.len() == 1 { it.transform.uses() } else { None };
        let readers = after.iter().filter(|it| it.inputs.contains(&rows));
        used[index] = readers.map(uses).reduce(|a, b| Some(a?.into_iter().chain(b?).collect())).flatten();
        if let Some(used) = &used[index] {
            // What it uses itself may be less now.
            step.transform.narrow(used);
        }
    }
    used
}

/// How many input rows were neither sent nor refused.
fn filtered(input_rows: usize, out: &Outputs) -> u64 {
    if out.sent().iter().any(|(_, picked)| picked.is_none()) {
        return 0;
    }
    let mut used = vec![false; input_rows];
    out.sent().iter().filter_map(|(_, picked)| picked.as_ref()).for_each(|picked| {
        picked.values().iter().for_each(|it| used[*it as usize] = true);
    });
    out.refused().iter().for_each(|(row, _)| used[*row] = true);
    used.iter().filter(|it| !**it).count() as u64
}

fn refused_stop(node: &str, why: &str, source: &str, span: &Span, position: &Position) -> RunError {
    let what = format!("row {position} of `{source}/{}` was refused: {why}", span.partition);
    RunError::new(node, "refused a row, and `on_refused` says stop", what.into())
        .hint("set `on_refused = \"dead_letters\"` to keep such rows and go on")
}

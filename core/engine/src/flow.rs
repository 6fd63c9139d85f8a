//! From a read to the shares of the sinks: all transforms between, fused. Pure: no I/O, no waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use forebay_api::plan::{Input, PlannedTransform, Port};
use forebay_api::{BoxError, Outputs, Plan, Position, Positions, Read, Span, Transform, causes};

use crate::counters::{Counters, add};
use crate::route::{Refusals, Route, Step};
use crate::{RunError, letters};

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
    rows.columns().iter().map(|it| column_bytes(it) as u64).sum()
}

/// Texts and numbers, which most columns hold, without a copy of what describes them: small batches of many columns are
/// common, and each is asked for several times.
fn column_bytes(column: &dyn Array) -> usize {
    let rows = column.len();
    let nulls = if column.null_count() > 0 { rows.div_ceil(8) } else { 0 };
    match (column.as_string_opt::<i32>(), column.data_type().primitive_width()) {
        (Some(texts), _) => {
            let offsets = texts.value_offsets();
            size_of_val(offsets) + (offsets[rows] - offsets[0]) as usize + nulls
        }
        (None, Some(width)) => rows * width + nulls,
        (None, None) => column.to_data().get_slice_memory_size().unwrap_or(0),
    }
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

/// The transforms on the way of one source's rows to the sinks. They have a state of their own, so every read that is
/// under way needs a flow for itself.
pub(crate) struct Flow {
    pipeline: String,
    version: String,
    pub route: Arc<Route>,
    /// One for each step of the route.
    transforms: Vec<Box<dyn Transform>>,
    counters: Arc<Counters>,
}

impl Flow {
    /// Plans the transforms of a route of the plan.
    pub fn new(plan: &Plan, route: Arc<Route>, counters: Arc<Counters>) -> Result<Self, RunError> {
        let mut transforms = planned_transforms(plan, &route)?;
        if let Err(error) = narrow(plan, &route, &mut transforms) {
            // It would have been less work.
            tracing::warn!("all columns are built: {}", causes(&error));
            transforms = planned_transforms(plan, &route)?;
        }
        transforms.iter_mut().for_each(|it| it.prepare());
        Ok(Self { pipeline: plan.name.clone(), version: plan.version.clone(), route, transforms, counters })
    }

    /// Takes a read through to the sinks in `wanted`. Each of them gets a share, if only the span.
    pub fn apply(&mut self, read: Read, wanted: &BTreeSet<usize>) -> Result<Vec<(usize, Share)>, RunError> {
        let mut ports: BTreeMap<Input, Vec<Flowing>> = BTreeMap::new();
        self.enter(&read, &mut ports)?;
        let (pipeline, version, route) = (&*self.pipeline, &*self.version, &*self.route);
        let place = letters::Place { pipeline, version, source: &route.source, partition: &read.span.partition };
        let steps = route.steps.iter().zip(&mut self.transforms);
        for (step, transform) in steps.filter(|(step, _)| !step.feeds.is_disjoint(wanted)) {
            step.run(&mut **transform, &place, &mut ports, &read.span, &self.counters)?;
        }
        let share = |(sink, inputs): (&usize, &Vec<Input>)| {
            let flowing = inputs.iter().filter_map(|it| ports.get(it)).flatten();
            let rows = flowing.filter(|it| it.rows.num_rows() > 0).map(|it| (it.rows.clone(), it.places.clone()));
            (*sink, Share { source: route.source.clone(), span: read.span.clone(), rows: rows.collect() })
        };
        Ok(route.sinks.iter().filter(|(sink, _)| wanted.contains(sink)).map(share).collect())
    }

    /// Puts the read's rows and refusals on the source's ports.
    fn enter(&self, read: &Read, ports: &mut BTreeMap<Input, Vec<Flowing>>) -> Result<(), RunError> {
        let counters = self.counters.node(&self.route.source);
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
        ports.insert(Input { node: self.route.source.to_string(), port: Port::Rows }, vec![flowing]);
        if read.refused.is_empty() {
            return Ok(());
        }
        if self.route.on_refused == Refusals::Stop {
            let first = &read.refused[0];
            return Err(refused_stop(&self.route.source, &first.why, &self.route.source, &read.span, &first.position));
        }
        let (pipeline, version) = (&*self.pipeline, &*self.version);
        let place = letters::Place { pipeline, version, source: &self.route.source, partition: &read.span.partition };
        let rows = letters::of_source(&place, &read.refused);
        let positions = read.refused.iter().map(|it| it.position.clone()).collect();
        let places = Places { of_read: Arc::new(ReadPlaces::Listed(positions)), picked: None };
        let flowing = Flowing { origin: Arc::new(rows.clone()), rows, places };
        ports.insert(Input { node: self.route.source.to_string(), port: Port::Refused }, vec![flowing]);
        Ok(())
    }
}

impl Step {
    /// Takes what has come to this step through its transform, and puts what comes out on its ports.
    fn run(
        &self,
        transform: &mut dyn Transform,
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
            transform.apply(input.rows.clone(), &mut out).map_err(failed)?;
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

/// Makes the transforms of a route, each planned for all columns that can come.
fn planned_transforms(plan: &Plan, route: &Route) -> Result<Vec<Box<dyn Transform>>, RunError> {
    let planned = route.steps.iter().map(|it| &plan.transforms[it.transform]);
    planned.map(|it| Ok(planned_transform(it, &it.input)?.0)).collect()
}

/// Lets every transform leave out the columns that nothing behind it uses, and plans those behind it for what is left.
fn narrow(plan: &Plan, route: &Route, transforms: &mut [Box<dyn Transform>]) -> Result<(), RunError> {
    let used = used_columns(route, transforms);
    // What comes out of each step that leaves something out.
    let mut narrower: BTreeMap<&str, SchemaRef> = BTreeMap::new();
    for ((step, transform), used) in route.steps.iter().zip(transforms).zip(used) {
        let planned = &plan.transforms[step.transform];
        let mut output = planned.output.clone();
        if let Some(input) = rows_inputs(&step.inputs).find_map(|it| narrower.get(it.node.as_str())) {
            (*transform, output) = planned_transform(planned, input)?;
        }
        let all_used = used.is_none();
        output = used.and_then(|it| transform.narrow(&it)).unwrap_or(output);
        if all_used && output != planned.output {
            let what = "it names fewer columns than it uses".into();
            return Err(RunError::new(&step.name, "cannot do with less", what));
        }
        if output != planned.output {
            narrower.insert(&step.name, output);
        }
    }
    Ok(())
}

/// The inputs by which rows come, not letters.
fn rows_inputs(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    inputs.iter().filter(|it| it.port == Port::Rows)
}

/// For each step, which columns of its rows are used behind it; `None`: all, or nobody knows.
fn used_columns(route: &Route, transforms: &mut [Box<dyn Transform>]) -> Vec<Option<BTreeSet<String>>> {
    let mut used = vec![None; transforms.len()];
    for (index, step) in route.steps.iter().enumerate().rev() {
        let (before, after) = transforms.split_at_mut(index + 1);
        let rows = Input { node: step.name.clone(), port: Port::Rows };
        if route.sinks.values().any(|it| it.contains(&rows)) {
            continue;
        }
        // A step that several nodes feed was planned for columns that they have in common.
        let readers = route.steps[index + 1..].iter().zip(after).filter(|(it, _)| it.inputs.contains(&rows));
        let uses = readers.map(|(step, it)| if step.inputs.len() == 1 { it.uses() } else { None });
        used[index] = uses.reduce(|a, b| Some(a?.into_iter().chain(b?).collect())).flatten();
        if let Some(used) = &used[index] {
            // What it uses itself may be less now.
            before[index].narrow(used);
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

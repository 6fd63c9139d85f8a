//! From the text to the plan.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_api::plan::{Input, PlannedSink, PlannedSource, PlannedTransform};
use forebay_api::{Age, Plan, Resource};
use forebay_letters::Letters;
use serde::Deserialize;
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeTable;

use crate::file;
use crate::graph::{self, Graph};
use crate::keys::{DeadLetterKeys, FileKeys, MetricsKeys};
use crate::lookup::{self, Found, Lookup, Outcome};
use crate::node::{self, Node, NodeConfig, SplitNode};
use crate::problem::{Note, Problem, Problems};
use crate::read::{self, Subject};
use crate::registry::{Kind, Registry, schema_of};
use crate::schemas::{self, Flow};
use crate::{resources, secrets};

/// A file without problems.
pub struct Checked {
    plan: Option<Plan>,
    notes: Vec<Note>,
    letters: Option<Letters>,
    metrics: Option<Metrics>,
}

/// Where a running pipeline can be watched.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How long a sink may have rows beyond the age at which it should have delivered them, and still be called well.
    pub stuck_after: Age,
}

impl Checked {
    /// The plan, to look at. Where a value is missing it has a stand-in;
    /// `None` if for want of a value there is no saying what the plan is.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What the file leaves open: values that it refers to and that are not there.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Where dead letters are kept, to read them.
    pub fn letters(&self) -> Option<&Letters> {
        self.letters.as_ref()
    }

    /// Where the pipeline can be watched while it runs.
    pub fn metrics(&self) -> Option<Metrics> {
        self.metrics
    }

    /// The plan, to run, or why it cannot run here.
    pub fn runnable(self) -> Result<Plan, Vec<Note>> {
        match self.plan {
            Some(plan) if self.notes.is_empty() => Ok(plan),
            _ => Err(self.notes),
        }
    }
}

/// Makes a plan of a file, in one of its environments or in none.
///
/// `file_name` is what problems name; the pipeline is called after it if it has no name.
pub fn plan(
    file_name: &str,
    text: &str,
    registry: &Registry,
    environment: Option<&str>,
    lookup: &dyn Lookup,
) -> Result<Checked, Problems> {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = Vec::new();
    let file = file::open(root.into_inner(), environment, &mut problems);
    let all_sections_read = problems.is_empty();
    find_environment(&file.environments, environment, &mut problems);
    let nodes: Vec<SplitNode<'_>> = file.nodes.into_iter().map(|it| node::split(it, registry, &mut problems)).collect();

    let file_schema = schema_of::<FileKeys>();
    let mut found: Vec<Found> = Vec::new();
    lookup::collect(&file.table, &file_schema, lookup, &mut found, &mut problems);
    nodes.iter().for_each(|it| it.look_up(registry, lookup, &mut found, &mut problems));

    let outer = lookup::fill(&file.table, &found);
    let keys = read_file_keys(&outer, &file_schema, &mut problems);
    let frame = Frame::new(file_name, environment, &outer, keys, &mut problems);
    let read_nodes: Vec<Node<'_>> = nodes.iter().map(|it| it.read(registry, &found, &mut problems)).collect();

    let mut planned = None;
    if syntax_errors.is_empty() {
        let graph = graph::wire(&read_nodes, &mut problems);
        let flow = schemas::propagate(&read_nodes, &graph, &mut problems);
        if all_sections_read {
            find_empty_sections(&read_nodes, &mut problems);
        }
        resources::find_shared(&read_nodes, frame.resources(), &mut problems);
        if !outer.contains_key("dead_letters") {
            graph.find_lost_letters(&read_nodes, &mut problems);
        }
        planned = Some((graph, flow));
    } else {
        // What seems to be missing may be what could not be read.
        problems.retain(|it| nodes.iter().all(|node| node.header != it.span));
    }

    problems.retain(|it| !found.iter().any(|found| found.outcome != Outcome::Value && found.span == it.span));
    problems.iter_mut().for_each(|it| secrets::hide(it, &found));
    add_syntax_errors(text, &syntax_errors, &mut problems);
    match planned {
        Some((graph, flow)) if problems.is_empty() => {
            let own: Vec<String> = nodes.iter().map(|it| it.canonical(registry)).collect();
            let letters = frame.dead_letters.clone();
            let metrics = frame.metrics.as_ref().map(|it| *it.get_ref());
            let plan = assemble(frame, &read_nodes, &graph, flow, &graph.fingerprints(&own));
            Ok(Checked { plan, notes: found.iter().filter_map(|it| note(text, it)).collect(), letters, metrics })
        }
        _ => {
            let mut places = Vec::new();
            nodes.iter().for_each(|it| it.secrets(registry, &mut places));
            Err(Problems::new(file_name, secrets::mask(text, &places), problems))
        }
    }
}

/// The names of the environments of a file, as far as it can be read.
pub fn environments(text: &str) -> Vec<String> {
    let (root, _) = DeTable::parse_recoverable(text);
    let file = file::open(root.into_inner(), None, &mut Vec::new());
    file.environments.into_iter().map(Spanned::into_inner).collect()
}

/// Adds what the parser did not understand: of each line the first, instead of all else that was found there.
fn add_syntax_errors(text: &str, errors: &[toml::de::Error], problems: &mut Vec<Problem>) {
    let line = |it: &Problem| text[..it.span.start].matches('\n').count();
    let mut syntax: Vec<Problem> = errors.iter().map(|it| syntax_problem(text, it)).collect();
    syntax.sort_by_key(|it| it.span.start);
    syntax.dedup_by_key(|it| line(it));
    problems.retain(|it| !syntax.iter().any(|syntax| line(syntax) == line(it)));
    problems.extend(syntax);
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let place = |it: usize| text.floor_char_boundary(it.min(text.len()));
    let span = error.span().map_or(0..0, |it| place(it.start)..place(it.end));
    let problem = Problem::new(span, error.message());
    let number = ["invalid mantissa", "invalid float", "invalid integer", "invalid fraction", "invalid boolean"];
    if number.into_iter().any(|it| error.message().starts_with(it)) {
        return problem.help("text stands in quotes: `path = \"./data\"`");
    }
    problem
}

fn find_environment(known: &[Spanned<String>], wanted: Option<&str>, problems: &mut Vec<Problem>) {
    let Some(wanted) = wanted.filter(|wanted| !known.iter().any(|it| it.get_ref() == wanted)) else {
        return;
    };
    let place = known.first().map_or(0..0, Spanned::span);
    let problem = Problem::new(place, format!("environment `{wanted}` does not exist"));
    let names: Vec<&str> = known.iter().map(|it| it.get_ref().as_str()).collect();
    problems.push(if names.is_empty() {
        problem.help(format!("the file has no environments; `[env.{wanted}...]` makes one"))
    } else {
        problem.known(wanted, names)
    });
}

fn find_empty_sections(nodes: &[Node<'_>], problems: &mut Vec<Problem>) {
    for kind in [Kind::Source, Kind::Sink] {
        if !nodes.iter().any(|it| it.kind == kind) {
            let help = format!("write `[{}.NAME]` and below it `type = \"...\"`", kind.section());
            problems.push(Problem::new(0..0, format!("the pipeline has no {kind}")).help(help));
        }
    }
}

fn read_file_keys(table: &DeTable<'_>, schema: &Json, problems: &mut Vec<Problem>) -> Option<FileKeys> {
    let what = "the file".to_owned();
    let subject = Subject { what, table, header: 0..0, schema, other_keys: &[] };
    let read = |table: Spanned<DeTable<'_>>| FileKeys::deserialize(toml::de::Deserializer::from(table));
    read::table(&subject, read, problems).any()
}

/// What the file says beside its nodes.
struct Frame {
    name: String,
    state: Spanned<PathBuf>,
    dead_letters: Option<Letters>,
    /// The directory of dead letters, if they are kept in one.
    letters_directory: Option<Spanned<PathBuf>>,
    metrics: Option<Spanned<Metrics>>,
    drain_max: Age,
}

impl Frame {
    /// `table` is what the keys were read from.
    fn new(
        file_name: &str,
        environment: Option<&str>,
        table: &DeTable<'_>,
        keys: Option<FileKeys>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let keys = keys.unwrap_or_default();
        if let Some(name) = &keys.name {
            file::check_name(name, "a pipeline", problems);
        }
        let stem = || Path::new(file_name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = keys.name.map_or_else(stem, Spanned::into_inner);
        let usual_state = || {
            let directory = environment.map_or_else(|| name.clone(), |it| format!("{name}-{it}"));
            Spanned::new(0..0, Path::new("./.forebay").join(directory))
        };
        let place = keys.dead_letters.as_ref().map(|it| it.path.span());
        let dead_letters = keys.dead_letters.and_then(|it| letters(it, table, problems));
        let directory = dead_letters.as_ref().and_then(Letters::directory).map(Path::to_owned);
        Self {
            state: keys.state.map_or_else(usual_state, |it| it.path),
            letters_directory: place.zip(directory).map(|(place, directory)| Spanned::new(place, directory)),
            dead_letters,
            metrics: keys.metrics.map(|MetricsKeys { listen, stuck_after }| {
                Spanned::new(listen.span(), Metrics { listen: listen.into_inner(), stuck_after })
            }),
            drain_max: keys.drain_max,
            name,
        }
    }

    /// The directories and the port that are used beside those of the nodes, each by the table that names it.
    fn resources(&self) -> Vec<(&'static str, Spanned<Resource>)> {
        let directory = |it: &Spanned<PathBuf>| Spanned::new(it.span(), Resource::Directory(it.get_ref().clone()));
        let port = |it: &Spanned<Metrics>| Spanned::new(it.span(), Resource::Port(it.get_ref().listen));
        let state = ("state", directory(&self.state));
        let letters = self.letters_directory.iter().map(|it| ("dead_letters", directory(it)));
        let metrics = self.metrics.iter().map(|it| ("metrics", port(it)));
        std::iter::once(state).chain(letters).chain(metrics).collect()
    }
}

fn note(text: &str, found: &Found) -> Option<Note> {
    let Outcome::Missing(why) = &found.outcome else {
        return None;
    };
    Some(Note::new(text, found.span.start, format!("needs {}, which {why}", found.origin)))
}

/// The place of dead letters. `table` is what the keys were read from.
fn letters(keys: DeadLetterKeys, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Option<Letters> {
    let path = keys.path.span();
    let letters = Letters::new(keys.path.get_ref(), keys.queue.map(Spanned::into_inner), keys.aws);
    letters
        .map_err(|wrong| {
            problems.push(Problem {
                title: format!("`dead_letters`: {}", wrong.what),
                span: read::place(table, &format!("dead_letters.{}", wrong.key)).unwrap_or(path),
                label: wrong.label,
                help: wrong.hint,
            });
        })
        .ok()
}

/// What decides the rows of all nodes, in short.
fn version(fingerprints: &[String]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(fingerprints.join(" ").as_bytes()))
}

/// Puts everything in its place. `None` if a component could not be made for want of a value.
fn assemble(frame: Frame, nodes: &[Node<'_>], graph: &Graph, flow: Flow, fingerprints: &[String]) -> Option<Plan> {
    let mut plan = Plan {
        name: frame.name,
        sources: Vec::new(),
        transforms: Vec::new(),
        sinks: Vec::new(),
        version: version(fingerprints),
        dead_letters: frame.dead_letters.map(|it| Arc::new(it) as _),
        state: frame.state.into_inner(),
        drain_max: frame.drain_max,
    };
    for &index in &graph.order {
        let node = &nodes[index];
        let name = node.name.get_ref().clone();
        let kind = node.component.as_ref()?.get_ref().clone();
        let inputs: Vec<Input> = graph.inputs[index].iter().map(|it| it.input(nodes)).collect();
        let on_refused = node.keys.on_refused;
        let fingerprint = fingerprints[index].clone();
        let into = || flow.into[index].as_ref().map(|it| it.schema.clone());
        let out = || flow.out[index].as_ref().map(|it| it.schema.clone());
        match node.config.as_ref()? {
            NodeConfig::Source(config) => {
                let (config, schema) = (config.clone(), out()?);
                plan.sources.push(PlannedSource { name, kind, config, schema, on_refused, fingerprint });
            }
            NodeConfig::Transform(config) => plan.transforms.push(PlannedTransform {
                name,
                kind,
                inputs,
                config: config.clone(),
                input: into()?,
                output: out()?,
                on_refused,
                fingerprint,
            }),
            NodeConfig::Sink(config) => plan.sinks.push(PlannedSink {
                name,
                kind,
                inputs,
                batch: node.keys.batch(config.batch()),
                config: config.clone(),
                input: into()?,
                retry: node.keys.retry,
                in_flight_max: node.keys.in_flight_max,
                on_refused,
                fingerprint,
            }),
        }
    }
    Some(plan)
}

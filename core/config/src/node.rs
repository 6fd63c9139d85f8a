//! A node's table into what the engine's keys say and the component's own configuration.

use std::ops::Range;
use std::sync::Arc;

use forebay_api::{SinkConfig, SourceConfig, TransformConfig};
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::file::RawNode;
use crate::keys::{self, NodeKeys};
use crate::lookup::{self, Found, Lookup, Outcome};
use crate::problem::Problem;
use crate::read::{self, Reading, Subject};
use crate::registry::{Kind, Registry};
use crate::{fingerprint, secrets};

/// A node's table, taken apart.
pub(crate) struct SplitNode<'t> {
    pub(crate) kind: Kind,
    pub(crate) name: Spanned<String>,
    pub(crate) header: Range<usize>,
    /// Its `type`, if there is a component of that name.
    pub(crate) component: Option<Spanned<String>>,
    /// The keys that belong to the engine.
    pub(crate) engine: DeTable<'t>,
    /// The keys that belong to the component.
    pub(crate) own: DeTable<'t>,
}

/// A node of which all is known that its own table says.
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind,
    pub(crate) name: Spanned<String>,
    pub(crate) header: Range<usize>,
    pub(crate) component: Option<Spanned<String>>,
    pub(crate) keys: NodeKeys,
    /// Whether `inputs` could be read.
    pub(crate) inputs_known: bool,
    /// The place of `inputs`.
    pub(crate) inputs_place: Option<Range<usize>>,
    /// The component's keys, with values looked up.
    pub(crate) own: DeTable<'t>,
    /// The component, if its keys are good.
    pub(crate) config: Option<NodeConfig>,
    /// Whether all values are the real ones, secrets aside.
    pub(crate) certain: bool,
}

/// The configuration of a component of whatever kind.
pub(crate) enum NodeConfig {
    Source(Arc<dyn SourceConfig>),
    Transform(Arc<dyn TransformConfig>),
    Sink(Arc<dyn SinkConfig>),
}

impl Node<'_> {
    /// Where to point for the component as a whole.
    pub(crate) fn place(&self) -> Range<usize> {
        self.component.as_ref().map_or_else(|| self.header.clone(), Spanned::span)
    }
}

/// Finds the component of a node and takes its table apart.
pub(crate) fn split<'t>(node: RawNode<'t>, registry: &Registry, problems: &mut Vec<Problem>) -> SplitNode<'t> {
    let RawNode { kind, name, header, mut table } = node;
    let component = find_type(kind, &header, table.remove("type"), registry, problems);
    let mut engine = DeTable::new();
    for key in keys::names(kind) {
        engine.extend(table.remove_entry(key.as_str()));
    }
    SplitNode { kind, name, header, component, engine, own: table }
}

fn find_type(
    kind: Kind,
    header: &Range<usize>,
    value: Option<Spanned<DeValue<'_>>>,
    registry: &Registry,
    problems: &mut Vec<Problem>,
) -> Option<Spanned<String>> {
    let components = registry.of_kind(kind);
    let known = || components.iter().map(|it| it.name);
    let Some(value) = value else {
        let problem = Problem::new(header.clone(), "missing key `type`").known("", known());
        problems.push(problem.label(format!("which {kind} is it?")));
        return None;
    };
    let span = value.span();
    let DeValue::String(name) = value.into_inner() else {
        problems.push(Problem::new(span, "`type` must be text").known("", known()));
        return None;
    };
    if components.iter().any(|it| it.name == name) {
        return Some(Spanned::new(span, name.into_owned()));
    }
    let mut problem = Problem::new(span, format!("unknown {kind} type `{name}`")).known(&name, known());
    let other = Kind::ALL.into_iter().find(|it| *it != kind && registry.find(*it, &name).is_some());
    if let Some(other) = other {
        problem = problem.label(format!("`{name}` is a {other}"));
    }
    problems.push(problem);
    None
}

/// Nothing is known of the keys of an unknown component.
const ANYTHING: Json = Json::Bool(true);

impl<'t> SplitNode<'t> {
    fn own_schema<'r>(&self, registry: &'r Registry) -> &'r Json {
        let about = self.component.as_ref().and_then(|it| registry.find(self.kind, it.get_ref()));
        about.map_or(&ANYTHING, |it| it.schema)
    }

    /// Looks up what the node's keys refer to.
    pub(crate) fn look_up(
        &self,
        registry: &Registry,
        lookup: &dyn Lookup,
        found: &mut Vec<Found>,
        problems: &mut Vec<Problem>,
    ) {
        lookup::collect(&self.engine, &keys::schema(self.kind), lookup, found, problems);
        lookup::collect(&self.own, self.own_schema(registry), lookup, found, problems);
    }

    /// The places of secrets in the node's table.
    pub(crate) fn secrets(&self, registry: &Registry, places: &mut Vec<Range<usize>>) {
        secrets::places(&self.own, self.own_schema(registry), places);
    }

    /// The component and its own keys, as the file has them; see [`fingerprint::canonical`].
    pub(crate) fn canonical(&self, registry: &Registry) -> String {
        let component = self.component.as_ref().map_or("", |it| it.get_ref());
        fingerprint::canonical(component, &self.own, self.own_schema(registry))
    }

    /// Reads the node's keys.
    pub(crate) fn read<'f>(&'f self, registry: &Registry, found: &'f [Found], problems: &mut Vec<Problem>) -> Node<'f> {
        let engine = lookup::fill(&self.engine, found);
        let own = lookup::fill(&self.own, found);
        let reading = self.read_engine(&engine, problems);
        let uncertain =
            |it: &Found| it.outcome != Outcome::Value && !it.secret && read::any_entry(&own, &|span| span == it.span);
        Node {
            kind: self.kind,
            name: self.name.clone(),
            header: self.header.clone(),
            component: self.component.clone(),
            // `inputs` is the one key that must be there: what could be read has it.
            inputs_known: !matches!(reading, Reading::Not),
            inputs_place: engine.get("inputs").map(Spanned::span),
            keys: reading.any().unwrap_or_default(),
            config: self.read_own(&own, registry, problems),
            certain: !found.iter().any(uncertain),
            own,
        }
    }

    fn read_engine(&self, engine: &DeTable<'_>, problems: &mut Vec<Problem>) -> Reading<NodeKeys> {
        let subject = Subject {
            what: format!("a {}", self.kind),
            table: engine,
            header: self.header.clone(),
            schema: &keys::schema(self.kind),
            other_keys: &[],
        };
        read::table(&subject, keys::read(self.kind), problems)
    }

    fn read_own(&self, own: &DeTable<'_>, registry: &Registry, problems: &mut Vec<Problem>) -> Option<NodeConfig> {
        let component = self.component.as_ref()?.get_ref();
        let subject = Subject {
            what: format!("{} `{component}`", self.kind),
            table: own,
            header: self.header.clone(),
            schema: self.own_schema(registry),
            other_keys: &keys::names(self.kind),
        };
        match self.kind {
            Kind::Source => {
                let read = registry.read_source(component)?;
                read::table(&subject, read, problems).good().map(NodeConfig::Source)
            }
            Kind::Transform => {
                let read = registry.read_transform(component)?;
                read::table(&subject, read, problems).good().map(NodeConfig::Transform)
            }
            Kind::Sink => {
                let read = registry.read_sink(component)?;
                read::table(&subject, read, problems).good().map(NodeConfig::Sink)
            }
        }
    }
}

//! The list of components that a program knows.

use std::fmt;
use std::sync::Arc;

use forebay_api::{Config, Promise, SinkConfig, SourceConfig, TransformConfig};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::Spanned;
use toml::de::DeTable;

use crate::{keys, reference, shape};

/// One of the three kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where rows come from.
    Source,
    /// What is done to them.
    Transform,
    /// Where they go.
    Sink,
}

impl Kind {
    /// All three, in the order in which rows meet them.
    pub const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];

    /// The word in messages: `source`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }

    /// The table in the file: `sources`.
    pub fn section(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Transform => "transforms",
            Self::Sink => "sinks",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The components that a program knows, in the order in which they were added.
///
/// `Registry::default().source::<Demo>().transform::<Regex>().sink::<Console>()`
#[derive(Default)]
pub struct Registry {
    sources: Vec<Component<dyn SourceConfig>>,
    transforms: Vec<Component<dyn TransformConfig>>,
    sinks: Vec<Component<dyn SinkConfig>>,
}

/// A component: its name, the schema of its table, and how to read one.
pub(crate) struct Component<T: ?Sized> {
    name: &'static str,
    schema: Value,
    pub(crate) read: Read<T>,
}

/// Reads a component's own keys.
pub(crate) type Read<T> = fn(Spanned<DeTable<'_>>) -> Result<Arc<T>, toml::de::Error>;

/// What is known of a component without a file.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its `type`.
    pub name: &'a str,
    /// The JSON Schema of its own keys, with the text of its reference page as descriptions.
    pub schema: &'a Value,
}

impl About<'_> {
    /// The first paragraph of its reference page, on one line.
    pub fn summary(&self) -> String {
        shape::summary(self.schema).unwrap_or_default()
    }
}

impl Registry {
    /// Adds a source.
    ///
    /// # Panics
    ///
    /// If there is a source of this name already, or if one of its keys is one that every source has.
    #[must_use]
    pub fn source<C: Config + SourceConfig>(mut self) -> Self {
        self.sources.push(self.component::<C, _>(Kind::Source, |table| read::<C>(table).map(|it| Arc::new(it) as _)));
        self
    }

    /// Adds a transform.
    ///
    /// # Panics
    ///
    /// If there is a transform of this name already, or if one of its keys is one that every transform has.
    #[must_use]
    pub fn transform<C: Config + TransformConfig>(mut self) -> Self {
        let component = self.component::<C, _>(Kind::Transform, |table| read::<C>(table).map(|it| Arc::new(it) as _));
        self.transforms.push(component);
        self
    }

    /// Adds a sink.
    ///
    /// # Panics
    ///
    /// If there is a sink of this name already, or if one of its keys is one that every sink has.
    #[must_use]
    pub fn sink<C: Config + SinkConfig>(mut self) -> Self {
        self.sinks.push(self.component::<C, _>(Kind::Sink, |table| read::<C>(table).map(|it| Arc::new(it) as _)));
        self
    }

    /// All components: sources, transforms, sinks.
    pub fn components(&self) -> impl Iterator<Item = About<'_>> {
        Kind::ALL.into_iter().flat_map(|it| self.of_kind(it))
    }

    /// All components of a kind.
    pub fn of_kind(&self, kind: Kind) -> Vec<About<'_>> {
        fn about<T: ?Sized>(kind: Kind, components: &[Component<T>]) -> Vec<About<'_>> {
            components.iter().map(|it| About { kind, name: it.name, schema: &it.schema }).collect()
        }
        match kind {
            Kind::Source => about(kind, &self.sources),
            Kind::Transform => about(kind, &self.transforms),
            Kind::Sink => about(kind, &self.sinks),
        }
    }

    /// The component of this kind and name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<About<'_>> {
        self.of_kind(kind).into_iter().find(|it| it.name == name)
    }

    /// What a sink promises, as its example has it. A sink may promise less where its keys say so.
    pub fn promise(&self, sink: &str) -> Option<Promise> {
        let about = self.find(Kind::Sink, sink)?;
        let text = reference::example_keys(about.schema);
        let own = DeTable::parse(&text).ok()?;
        let config = self.read_sink(sink)?(own).ok()?;
        Some(config.promise())
    }

    pub(crate) fn read_source(&self, name: &str) -> Option<Read<dyn SourceConfig>> {
        self.sources.iter().find(|it| it.name == name).map(|it| it.read)
    }

    pub(crate) fn read_transform(&self, name: &str) -> Option<Read<dyn TransformConfig>> {
        self.transforms.iter().find(|it| it.name == name).map(|it| it.read)
    }

    pub(crate) fn read_sink(&self, name: &str) -> Option<Read<dyn SinkConfig>> {
        self.sinks.iter().find(|it| it.name == name).map(|it| it.read)
    }

    fn component<C: Config, T: ?Sized>(&self, kind: Kind, read: Read<T>) -> Component<T> {
        let name = C::TYPE;
        assert!(self.find(kind, name).is_none(), "there are two {kind}s of the name `{name}`");
        let schema = schema_of::<C>();
        let own = &schema["properties"];
        if let Some(taken) = keys::names(kind).into_iter().find(|it| own.get(it).is_some()) {
            panic!("the {kind} `{name}` has a key `{taken}`, but every {kind} has that key from the engine");
        }
        Component { name, schema, read }
    }
}

fn read<C: Config>(table: Spanned<DeTable<'_>>) -> Result<C, toml::de::Error> {
    C::deserialize(toml::de::Deserializer::from(table))
}

/// The JSON Schema of a table, without references: each place says itself what fits there.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|it| {
        it.inline_subschemas = true;
        it.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().into()
}

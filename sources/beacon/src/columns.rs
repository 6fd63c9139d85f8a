//! The columns that there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Schema, SchemaRef};
use forebay_api::Wrong;
use forebay_codec::types::Type;
use forebay_codec::{Columns, Paths, Target};
use forebay_ecs::{Field, FieldType};

/// The column of what has no column.
pub const LABELS: &str = "labels";

/// Columns that are always there, because the source fills them or looks at them.
pub const ALWAYS: [&str; 3] = ["@timestamp", "event.id", "event.ingested"];

/// What a page view, an error, a log event or a measurement has, if the file does not say otherwise.
pub const USUAL: &[&str] = &[
    "@timestamp",
    "message",
    "tags",
    "client.geo.country_iso_code",
    "client.ip",
    "ecs.version",
    "error.code",
    "error.id",
    "error.message",
    "error.stack_trace",
    "error.type",
    "event.action",
    "event.category",
    "event.code",
    "event.created",
    "event.dataset",
    "event.duration",
    "event.end",
    "event.id",
    "event.ingested",
    "event.kind",
    "event.module",
    "event.outcome",
    "event.provider",
    "event.reason",
    "event.sequence",
    "event.severity",
    "event.start",
    "event.type",
    "event.url",
    "http.request.bytes",
    "http.request.id",
    "http.request.method",
    "http.request.referrer",
    "http.response.bytes",
    "http.response.status_code",
    "log.level",
    "log.logger",
    "log.origin.file.line",
    "log.origin.file.name",
    "log.origin.function",
    "service.environment",
    "service.name",
    "service.version",
    "span.id",
    "trace.id",
    "transaction.id",
    "url.domain",
    "url.fragment",
    "url.full",
    "url.original",
    "url.path",
    "url.port",
    "url.query",
    "url.scheme",
    "user.id",
    "user_agent.name",
    "user_agent.original",
    "user_agent.version",
];

/// What becomes of a key that has no column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is kept in `labels`.
    #[default]
    Labels,
    /// It is left out.
    Ignore,
    /// The event is refused.
    Refuse,
}

/// The columns.
#[derive(Debug)]
pub struct Layout {
    pub schema: SchemaRef,
    /// Names, and what they hold; `labels` is none of them.
    pub columns: Vec<(String, Holds)>,
    /// The names as paths.
    pub paths: Paths,
    /// The columns that heads of requests fill.
    pub of_head: OfHead,
    pub unknown: Unknown,
}

/// The columns of what the head of a request says; `None`: there is no such column.
#[derive(Clone, Copy, Debug)]
pub struct OfHead {
    pub timestamp: Option<usize>,
    pub ingested: Option<usize>,
    pub ip: Option<usize>,
    pub address: Option<usize>,
    pub user_agent: Option<usize>,
    pub url: Option<usize>,
}

/// What a column holds.
#[derive(Clone, Debug)]
pub enum Holds {
    /// A field of ECS.
    Ecs(Field),
    /// What the file says.
    Own(Type),
}

impl Layout {
    /// ECS fields and columns of the file's own.
    pub fn new<'a>(
        fields: impl IntoIterator<Item = &'a str>,
        columns: Option<&Columns>,
        unknown: Unknown,
    ) -> Result<Self, Wrong> {
        let mut all = BTreeMap::new();
        for name in fields {
            all.insert(name.to_owned(), Holds::Ecs(ecs(name)?));
        }
        for (name, kind) in columns.map(Columns::as_slice).unwrap_or_default() {
            let key = format!("columns.{name}");
            if name == LABELS {
                return Err(Wrong::new(key, "`labels` is the column of what has no column"));
            }
            if forebay_ecs::is_ecs(name) {
                return Err(Wrong::new(key, format!("ECS itself has a field `{name}`"))
                    .hint("name it in `fields`, and it is a column of the type that ECS gives it"));
            }
            if all.insert(name.clone(), Holds::Own(kind.clone())).is_some() {
                return Err(Wrong::new(key, format!("there are two columns `{name}`")));
            }
        }
        let columns: Vec<_> = all.into_iter().collect();
        let paths = Paths::new(columns.iter().map(|it| it.0.as_str()))?;
        let mut arrow: Vec<ArrowField> =
            columns.iter().map(|(name, it)| ArrowField::new(name, it.data_type(), true)).collect();
        if unknown == Unknown::Labels {
            arrow.push(ArrowField::new(LABELS, DataType::Utf8, true));
        }
        let column = |path| match paths.find(Paths::ROOT, path) {
            Target::Column(column) => Some(column),
            Target::Node(_) | Target::Unknown => None,
        };
        let of_head = OfHead {
            timestamp: column("@timestamp"),
            ingested: column("event.ingested"),
            ip: column("client.ip"),
            address: column("client.address"),
            user_agent: column("user_agent.original"),
            url: column("url.full"),
        };
        Ok(Self { schema: Arc::new(Schema::new(arrow)), columns, paths, of_head, unknown })
    }
}

fn ecs(name: &str) -> Result<Field, Wrong> {
    if let Some(field) = forebay_ecs::field(name) {
        return Ok(field);
    }
    if forebay_ecs::is_ecs(name) {
        return Err(Wrong::new("fields", format!("field `{name}` cannot be a column"))
            .hint("it is an object or a point: name the fields below it; `labels` is there without being named"));
    }
    let wrong = Wrong::new("fields", format!("ECS {} has no field `{name}`", forebay_ecs::VERSION))
        .hint(format!("a column of your own needs a type: `columns = {{ \"{name}\" = \"text\" }}`"));
    Err(match forebay_api::nearest(name, forebay_ecs::names()) {
        Some(near) => wrong.label(format!("did you mean `{near}`?")),
        None => wrong,
    })
}

impl Holds {
    /// As Arrow has it.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Ecs(field) => field.data_type(),
            Self::Own(kind) => kind.data_type(),
        }
    }

    /// How a text becomes a value of the column.
    pub fn kind(&self) -> Type {
        match self {
            Self::Own(kind) => kind.clone(),
            Self::Ecs(field) => match field.kind {
                FieldType::Keyword | FieldType::Wildcard | FieldType::MatchOnlyText => Type::Text,
                FieldType::ConstantKeyword | FieldType::Flattened => Type::Text,
                FieldType::Long => Type::I64,
                FieldType::Integer => Type::I32,
                FieldType::Double | FieldType::Float | FieldType::ScaledFloat => Type::F64,
                FieldType::Boolean => Type::Bool,
                FieldType::Ip => Type::Ip,
                FieldType::Date => Type::Rfc3339,
            },
        }
    }

    /// In words: "a time of RFC 3339".
    pub fn noun(&self) -> String {
        match self {
            Self::Own(kind) => kind.noun(),
            Self::Ecs(field) => field.kind.noun().to_owned(),
        }
    }
}

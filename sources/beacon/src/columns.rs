//! Events to rows: the columns that there are, and the values that go into them.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow_select::filter::filter;
use forebay_api::{Wrong, shown};
use forebay_codec::convert::{Builder, Cell};
use forebay_codec::scan::{Kind, Scanner};
use forebay_codec::types::Type;
use forebay_codec::{Columns, Paths, Target, plain};
use forebay_ecs::{Field, FieldType};
use jiff::Timestamp;

use crate::events::{Pair, quote};

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
    columns: Vec<(String, Holds)>,
    paths: Paths,
    unknown: Unknown,
}

/// What a column holds.
#[derive(Clone, Debug)]
enum Holds {
    Ecs(Field),
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
        Ok(Self { schema: Arc::new(Schema::new(arrow)), columns, paths, unknown })
    }

    fn column(&self, path: &str) -> Option<usize> {
        match self.paths.find(Paths::ROOT, path) {
            Target::Column(column) => Some(column),
            Target::Node(_) | Target::Unknown => None,
        }
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
    fn data_type(&self) -> DataType {
        match self {
            Self::Ecs(field) => field.data_type(),
            Self::Own(kind) => kind.data_type(),
        }
    }

    /// How a text becomes a value of the column.
    fn kind(&self) -> Type {
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

    fn noun(&self) -> String {
        match self {
            Self::Own(kind) => kind.noun(),
            Self::Ecs(field) => field.kind.noun().to_owned(),
        }
    }
}

/// What the request says about all of its events.
pub struct Common {
    /// Fields that an event cannot say otherwise.
    over: Vec<(usize, Cell)>,
    /// Fields that an event has if it does not say otherwise.
    under: Vec<(usize, Cell)>,
    /// The bytes that they add to a row.
    bytes: usize,
}

/// Rows as they grow.
pub struct Rows {
    layout: Arc<Layout>,
    /// All values, one after the other.
    text: String,
    columns: Vec<Column>,
    labels: Vec<(usize, String)>,
    rows: usize,
    /// What the rows hold that does not stand in `text`, or stands there once and in many rows.
    bytes_besides: usize,
}

enum Column {
    /// Where the value of each row stands; those at the end may be missing.
    One(Vec<Cell>),
    /// Rows that have items.
    Many(Vec<(usize, Vec<Cell>)>),
}

impl Column {
    fn new(holds: &Holds) -> Self {
        match holds {
            Holds::Ecs(Field { list: true, .. }) => Self::Many(Vec::new()),
            _ => Self::One(Vec::new()),
        }
    }

    fn has(&self, row: usize) -> bool {
        match self {
            Self::One(cells) => cells.get(row).is_some_and(|it| *it != Cell::NOWHERE),
            Self::Many(rows) => rows.last().is_some_and(|it| it.0 == row),
        }
    }

    /// Puts values into the row that is being built, in place of others.
    fn set(&mut self, row: usize, mut values: Vec<Cell>) {
        match self {
            Self::One(cells) => {
                cells.resize(row, Cell::NOWHERE);
                cells.push(values.pop().unwrap_or(Cell::NOWHERE));
            }
            Self::Many(rows) => {
                rows.pop_if(|it| it.0 == row);
                rows.push((row, values));
            }
        }
    }

    fn set_one(&mut self, row: usize, value: Cell) {
        match self {
            Self::One(cells) => {
                cells.resize(row, Cell::NOWHERE);
                cells.push(value);
            }
            Self::Many(_) => self.set(row, vec![value]),
        }
    }

    /// Takes back what the row that was being built has.
    fn take_back(&mut self, row: usize) {
        match self {
            Self::One(cells) => cells.truncate(row),
            Self::Many(rows) => {
                rows.pop_if(|it| it.0 == row);
            }
        }
    }
}

impl Rows {
    pub fn new(layout: Arc<Layout>) -> Self {
        let columns = layout.columns.iter().map(|it| Column::new(&it.1)).collect();
        Self { layout, text: String::new(), columns, labels: Vec::new(), rows: 0, bytes_besides: 0 }
    }

    /// How many rows there are, those included that will turn out not to be any.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// How many bytes all values together have, be there an array yet or not.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.bytes_besides
    }

    /// Takes down what holds for all events of a request.
    pub fn common(&mut self, over: &[(&str, Option<&str>)], under: &[(&str, Option<&str>)]) -> Common {
        let before = self.text.len();
        let mut known = |fields: &[(&str, Option<&str>)]| {
            let cells =
                fields.iter().filter_map(|(path, value)| Some((self.layout.column(path)?, self.put((*value)?))));
            cells.collect::<Vec<_>>()
        };
        let (over, under) = (known(over), known(under));
        Common { over, under, bytes: self.text.len() - before }
    }

    fn put(&mut self, value: &str) -> Cell {
        let start = self.text.len();
        self.text.push_str(value);
        Cell::new(start, self.text.len())
    }

    /// Adds a row, or says why it is none. `value` says what may be kept of a text.
    pub fn push<'a>(
        &mut self,
        pairs: &'a [Pair<'a>],
        common: &Common,
        keeps: impl Fn(&Pair<'_>) -> bool,
        value: impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<(), String> {
        let mut labels: Vec<(&str, String)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut filled = Ok(());
        for pair in pairs.iter().filter(|it| it.kind != Kind::Null && keeps(it)) {
            match (self.layout.column(&pair.path), self.layout.unknown) {
                (Some(column), _) => filled = self.fill(column, pair, &value),
                (None, Unknown::Labels) => {
                    let name = pair.path.strip_prefix("labels.").unwrap_or(&pair.path);
                    let value = label(pair, &value);
                    match places.entry(name) {
                        Entry::Occupied(place) => labels[*place.get()].1 = value,
                        Entry::Vacant(place) => {
                            place.insert(labels.len());
                            labels.push((name, value));
                        }
                    }
                }
                (None, Unknown::Ignore) => {}
                (None, Unknown::Refuse) => {
                    filled = Err(format!(
                        "the key `{}` is no column: add it to `fields` or `columns`, or set `unknown` to \"labels\" or \"ignore\"",
                        shown(&pair.path)
                    ));
                }
            }
            if filled.is_err() {
                break;
            }
        }
        if let Err(why) = filled {
            self.columns.iter_mut().for_each(|it| it.take_back(self.rows));
            return Err(why);
        }
        for (column, cell) in &common.over {
            self.columns[*column].take_back(self.rows);
            self.columns[*column].set_one(self.rows, *cell);
        }
        for (column, cell) in &common.under {
            if !self.columns[*column].has(self.rows) {
                self.columns[*column].take_back(self.rows);
                self.columns[*column].set_one(self.rows, *cell);
            }
        }
        if !labels.is_empty() {
            let json = labels_as_json(&labels);
            self.bytes_besides += json.len();
            self.labels.push((self.rows, json));
        }
        self.bytes_besides += common.bytes;
        self.rows += 1;
        Ok(())
    }

    /// Puts a value into its column, in the form in which the column reads it.
    fn fill<'a>(
        &mut self,
        column: usize,
        pair: &'a Pair<'a>,
        value: &impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<(), String> {
        let layout = self.layout.clone();
        let (path, holds) = &layout.columns[column];
        let row = self.rows;
        let wrong = |kind: Kind| Err(format!("`{path}` is {}, not {}", kind.noun(), holds.noun()));
        let cells = match (&self.columns[column], pair.kind) {
            (Column::Many(_), Kind::Array) => {
                let mut cells = Vec::new();
                match items(pair.raw, |it| cells.push(self.put(it))) {
                    Ok(()) => cells,
                    Err(kind) => return wrong(kind),
                }
            }
            (_, Kind::Array | Kind::Object) => return wrong(pair.kind),
            (_, Kind::Text) => vec![self.put(&value(path, pair.text()))],
            (_, Kind::Number) => {
                let number = self
                    .number(holds, pair.raw)
                    .ok_or_else(|| format!("`{path}`: `{}` is not {}", shown(pair.raw), holds.noun()))?;
                vec![number]
            }
            _ => vec![self.put(pair.raw)],
        };
        self.columns[column].set(row, cells);
        Ok(())
    }

    /// A number as the column reads it. Whole numbers lose their fraction, as they do in Elasticsearch: browsers measure
    /// times in parts of a nanosecond. A time is milliseconds since 1970.
    fn number(&mut self, holds: &Holds, raw: &str) -> Option<Cell> {
        let mut written = String::new();
        Some(match holds {
            Holds::Ecs(field) => match field.kind {
                FieldType::Long | FieldType::Integer => {
                    let whole = plain(raw, &mut written).split('.').next()?;
                    self.put(if whole == "-0" { "0" } else { whole })
                }
                FieldType::Date => {
                    let millis = plain(raw, &mut written).split('.').next()?.parse().ok()?;
                    self.put(&Timestamp::from_millisecond(millis).ok()?.to_string())
                }
                _ => self.put(raw),
            },
            Holds::Own(kind) => match kind {
                Type::Text | Type::PercentDecoded | Type::F32 | Type::F64 => self.put(raw),
                _ => self.put(plain(raw, &mut written)),
            },
        })
    }

    /// Gives the rows, and the numbers of those that turned out not to be any, with the reason.
    pub fn finish(self) -> (RecordBatch, BTreeMap<usize, String>) {
        let Self { layout, text, columns, labels, rows, .. } = self;
        let mut refused = BTreeMap::new();
        let mut arrays = Vec::with_capacity(columns.len() + 1);
        for ((path, holds), column) in layout.columns.iter().zip(columns) {
            let mut refuse = |row: usize, value: &str| {
                refused.entry(row).or_insert_with(|| format!("`{path}`: `{}` is not {}", shown(value), holds.noun()));
            };
            arrays.push(match column {
                Column::One(cells) if cells.is_empty() => new_null_array(&holds.data_type(), rows),
                Column::One(mut cells) => {
                    cells.resize(rows, Cell::NOWHERE);
                    let mut builder = Builder::new(&holds.kind(), None, rows, 0);
                    builder.extend(text.as_bytes(), &cells, |row| {
                        refuse(row, &String::from_utf8_lossy(cells[row].of(text.as_bytes()).unwrap_or_default()));
                    });
                    builder.finish()
                }
                Column::Many(items) if items.is_empty() => new_null_array(&holds.data_type(), rows),
                Column::Many(items) => lists(&text, &items, rows, holds, refuse),
            });
        }
        if layout.unknown == Unknown::Labels {
            let mut column = StringBuilder::with_capacity(rows, 0);
            let mut labels = labels.into_iter().peekable();
            for row in 0..rows {
                column.append_option(labels.next_if(|it| it.0 == row).map(|it| it.1));
            }
            arrays.push(Arc::new(column.finish()) as ArrayRef);
        }
        if !refused.is_empty() {
            let good: BooleanArray = (0..rows).map(|it| Some(!refused.contains_key(&it))).collect();
            for array in &mut arrays {
                *array = filter(array, &good).expect("each column has a value for each row");
            }
        }
        let batch = RecordBatch::try_new(layout.schema.clone(), arrays).expect("the columns are those of the schema");
        (batch, refused)
    }
}

/// A column of lists.
fn lists(
    text: &str,
    items: &[(usize, Vec<Cell>)],
    rows: usize,
    holds: &Holds,
    mut refuse: impl FnMut(usize, &str),
) -> ArrayRef {
    let is_ip = matches!(holds, Holds::Ecs(Field { kind: FieldType::Ip, .. }));
    let mut builder = ListBuilder::new(StringBuilder::new());
    let mut items = items.iter().peekable();
    for row in 0..rows {
        let Some((_, cells)) = items.next_if(|it| it.0 == row) else {
            builder.append_null();
            continue;
        };
        for cell in cells {
            let value = cell.of(text.as_bytes()).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default();
            if !is_ip {
                builder.values().append_value(value);
                continue;
            }
            match value.parse::<std::net::IpAddr>() {
                Ok(address) => builder.values().append_value(address.to_string()),
                Err(_) => refuse(row, value),
            }
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// Gives the items of an array of single values, one after the other; or tells what else is in it.
fn items(array: &str, mut give: impl FnMut(&str)) -> Result<(), Kind> {
    // That it is well-formed was seen before.
    let mut scan = Scanner::new(array);
    scan.at += 1;
    if scan.space() == Some(b']') {
        return Ok(());
    }
    while let Ok(kind) = scan.kind() {
        let start = scan.at;
        match kind {
            Kind::Object | Kind::Array => return Err(kind),
            Kind::Text => {
                scan.at += 1;
                let Ok(text) = scan.string() else { break };
                let raw = &array[text.range()];
                let pair = Pair { path: String::new(), kind, raw, is_escaped: text.escaped };
                give(&pair.text());
            }
            _ => {
                if scan.skip(kind, 0).is_err() {
                    break;
                }
                if kind != Kind::Null {
                    give(&array[start..scan.at]);
                }
            }
        }
        if scan.next(b']') != Ok(false) {
            break;
        }
    }
    Ok(())
}

/// The value of a label, as JSON.
fn label<'a>(pair: &'a Pair<'a>, value: &impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>) -> String {
    let mut json = String::new();
    if pair.kind != Kind::Text {
        json.push_str(pair.raw);
        return json;
    }
    let text = pair.text();
    let kept = value(&pair.path, text.clone());
    match kept == text {
        true => pair.json(&mut json),
        false => quote(&kept, &mut json),
    }
    json
}

/// What has no column, as an object of single values.
fn labels_as_json(labels: &[(&str, String)]) -> String {
    let mut json = String::from("{");
    for (nth, (name, value)) in labels.iter().enumerate() {
        if nth > 0 {
            json.push(',');
        }
        quote(name, &mut json);
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

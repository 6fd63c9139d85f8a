//! Events to rows: the values that go into the columns.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::filter::filter;
use forebay_api::shown;
use forebay_codec::convert::{Builder, Cell};
use forebay_codec::plain;
use forebay_codec::scan::{Kind, Scanner};
use forebay_codec::types::Type;
use forebay_ecs::{Field, FieldType};
use jiff::Timestamp;
use memchr::memchr;

use crate::columns::{Holds, Layout, Unknown};
use crate::events::quote;
use crate::values::{Pair, unescaped};

/// Texts of so many bytes, and so many items of a column, leave their memory to the rows that come next.
const TEXT_BYTES_KEPT: usize = 4 << 20;
const ITEMS_KEPT: usize = 16 << 10;

/// What the request says about all of its events.
pub struct Common {
    /// Fields that an event cannot say otherwise.
    over: [Option<(usize, Cell)>; 3],
    /// Fields that an event has if it does not say otherwise.
    under: [Option<(usize, Cell)>; 2],
    /// The bytes that they add to a row.
    bytes: usize,
}

/// Rows as they grow.
pub struct Rows {
    layout: Arc<Layout>,
    values: Values,
    columns: Vec<Column>,
    labels: Vec<(usize, String)>,
    /// Where the event stands that became the row.
    events: Vec<Range<usize>>,
    /// What the rows hold that is no value of `values`, or is one and stands in many rows.
    bytes_besides: usize,
}

/// The text that values stand in.
#[derive(Default)]
struct Values {
    /// The events, and values that do not stand in them as they are.
    text: String,
    /// The bytes of all values.
    bytes: usize,
}

impl Values {
    fn put(&mut self, value: &str) -> Cell {
        let start = self.text.len();
        self.text.push_str(value);
        self.bytes += value.len();
        Cell::new(start, self.text.len())
    }

    /// What was made of a value that stands at a place of `text`. If that is the value itself, it stands there already.
    fn made_of(&mut self, raw: &str, at: usize, value: &str) -> Cell {
        if !std::ptr::eq(raw, value) {
            return self.put(value);
        }
        self.bytes += raw.len();
        Cell::new(at, at + raw.len())
    }
}

enum Column {
    /// Where the value of each row stands; those at the end may be missing.
    One(Vec<Cell>),
    Many(Lists),
}

/// Rows that have items.
#[derive(Default)]
struct Lists {
    rows: Vec<(usize, Range<usize>)>,
    /// The items of all rows.
    items: Vec<Cell>,
}

impl Lists {
    /// Puts items into the row that is being built, in place of others.
    fn set<E>(&mut self, row: usize, put: impl FnOnce(&mut Vec<Cell>) -> Result<(), E>) -> Result<(), E> {
        self.take_back(row);
        let start = self.items.len();
        let done = put(&mut self.items);
        self.rows.push((row, start..self.items.len()));
        done
    }

    fn take_back(&mut self, row: usize) {
        if let Some((_, items)) = self.rows.pop_if(|it| it.0 == row) {
            self.items.truncate(items.start);
        }
    }
}

impl Column {
    fn new(holds: &Holds) -> Self {
        match holds {
            Holds::Ecs(Field { list: true, .. }) => Self::Many(Lists::default()),
            _ => Self::One(Vec::new()),
        }
    }

    fn has(&self, row: usize) -> bool {
        match self {
            Self::One(cells) => cells.get(row).is_some_and(|it| *it != Cell::NOWHERE),
            Self::Many(lists) => lists.rows.last().is_some_and(|it| it.0 == row),
        }
    }

    /// Puts a value into the row that is being built, in place of others.
    #[inline]
    fn set(&mut self, row: usize, value: Cell) {
        match self {
            Self::One(cells) => {
                // Mostly there is one in each row.
                if cells.len() != row {
                    cells.resize(row, Cell::NOWHERE);
                }
                cells.push(value);
            }
            Self::Many(lists) => {
                let Ok(()) = lists.set(row, |items| {
                    items.push(value);
                    Ok::<(), std::convert::Infallible>(())
                });
            }
        }
    }

    /// Takes back what the row that was being built has.
    fn take_back(&mut self, row: usize) {
        match self {
            Self::One(cells) => cells.truncate(row),
            Self::Many(lists) => lists.take_back(row),
        }
    }

    fn clear(&mut self) {
        match self {
            Self::One(cells) => cells.clear(),
            Self::Many(lists) => {
                lists.rows.clear();
                lists.items.clear();
                lists.items.shrink_to(ITEMS_KEPT);
            }
        }
    }
}

impl Rows {
    pub fn new(layout: Arc<Layout>) -> Self {
        let columns = layout.columns.iter().map(|it| Column::new(&it.1)).collect();
        Self { layout, values: Values::default(), columns, labels: Vec::new(), events: Vec::new(), bytes_besides: 0 }
    }

    /// Begins anew, with the memory that there is.
    pub fn clear(&mut self) {
        self.values.text.clear();
        self.values.text.shrink_to(TEXT_BYTES_KEPT);
        self.values.bytes = 0;
        self.columns.iter_mut().for_each(Column::clear);
        self.labels.clear();
        self.events.clear();
        self.bytes_besides = 0;
    }

    /// How many rows there are, those included that will turn out not to be any.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The event that became a row.
    pub fn event(&self, row: usize) -> &str {
        &self.values.text[self.events[row].clone()]
    }

    /// How many bytes all values together have, be there an array yet or not.
    pub fn bytes(&self) -> usize {
        self.values.bytes + self.bytes_besides
    }

    /// Takes down what holds for all events of a request: columns, if there are such, and values.
    pub fn common(
        &mut self,
        over: [(Option<usize>, Option<&str>); 3],
        under: [(Option<usize>, Option<&str>); 2],
    ) -> Common {
        let before = self.values.bytes;
        let mut put = |(column, value): (Option<usize>, Option<&str>)| Some((column?, self.values.put(value?)));
        let (over, under) = (over.map(&mut put), under.map(&mut put));
        Common { over, under, bytes: self.values.bytes - before }
    }

    /// Adds a row, or says why it is none. The event is a piece of the text in which its values were found; `value` says what
    /// may be kept of a text.
    pub fn push<'a>(
        &mut self,
        text: &str,
        event: Range<usize>,
        pairs: &[Pair<'a>],
        common: &Common,
        keeps: impl Fn(&Pair<'_>) -> bool,
        value: impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<(), String> {
        let (row, before) = (self.events.len(), (self.values.text.len(), self.values.bytes));
        let start = self.values.text.len();
        self.values.text.push_str(&text[event.clone()]);
        let end = self.values.text.len();
        let mut labels: Vec<(&str, String)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut filled = Ok(());
        for pair in pairs.iter().filter(|it| it.kind != Kind::Null && keeps(it)) {
            match (pair.column, self.layout.unknown) {
                (Some(column), _) => filled = self.fill(column, pair, start + (pair.at - event.start), &value),
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
            self.columns.iter_mut().for_each(|it| it.take_back(row));
            self.values.text.truncate(before.0);
            self.values.bytes = before.1;
            return Err(why);
        }
        for (column, cell) in common.over.iter().flatten() {
            self.columns[*column].set(row, *cell);
        }
        for (column, cell) in common.under.iter().flatten() {
            if !self.columns[*column].has(row) {
                self.columns[*column].set(row, *cell);
            }
        }
        if !labels.is_empty() {
            let json = labels_as_json(&labels);
            self.bytes_besides += json.len();
            self.labels.push((row, json));
        }
        self.bytes_besides += common.bytes;
        self.events.push(start..end);
        Ok(())
    }

    /// Puts a value, which stands at a place of the text of all, into its column, in the form in which the column reads it.
    fn fill<'a>(
        &mut self,
        column: usize,
        pair: &Pair<'a>,
        at: usize,
        value: &impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<(), String> {
        let Self { layout, values, columns, events, .. } = self;
        let (path, holds) = &layout.columns[column];
        let (row, column) = (events.len(), &mut columns[column]);
        let wrong = |kind: Kind| Err(format!("`{path}` is {}, not {}", kind.noun(), holds.noun()));
        let cell = match (&mut *column, pair.kind) {
            (Column::Many(lists), Kind::Array) => {
                let put = |to: &mut Vec<Cell>| items(pair.raw, |it| to.push(values.put(it)));
                return lists.set(row, put).or_else(wrong);
            }
            (_, Kind::Array | Kind::Object) => return wrong(pair.kind),
            (_, Kind::Text) => values.made_of(pair.raw, at, &value(path, pair.text())),
            (_, Kind::Number) => number(values, holds, pair.raw, at)
                .ok_or_else(|| format!("`{path}`: `{}` is not {}", shown(pair.raw), holds.noun()))?,
            _ => values.made_of(pair.raw, at, pair.raw),
        };
        column.set(row, cell);
        Ok(())
    }

    /// Gives the rows, and the numbers of those that turned out not to be any, with the reason. What [`Rows::event`] gives
    /// stays until [`Rows::clear`].
    pub fn finish(&mut self) -> (RecordBatch, BTreeMap<usize, String>) {
        let Self { layout, values, columns, labels, events, .. } = self;
        let (rows, text) = (events.len(), values.text.as_str());
        let mut refused = BTreeMap::new();
        let mut arrays = Vec::with_capacity(columns.len() + 1);
        let mut nulls = Nulls { rows, arrays: Vec::new() };
        for ((path, holds), column) in layout.columns.iter().zip(columns) {
            let mut refuse = |row: usize, value: &str| {
                refused.entry(row).or_insert_with(|| format!("`{path}`: `{}` is not {}", shown(value), holds.noun()));
            };
            arrays.push(match column {
                Column::One(cells) if cells.is_empty() => nulls.of(&holds.data_type()),
                Column::One(cells) => {
                    cells.resize(rows, Cell::NOWHERE);
                    let bytes = cells.iter().map(|it| it.bytes()).sum();
                    let mut builder = Builder::new(&holds.kind(), None, rows, bytes);
                    builder.extend(text.as_bytes(), cells, |row| {
                        refuse(row, &String::from_utf8_lossy(cells[row].of(text.as_bytes()).unwrap_or_default()));
                    });
                    builder.finish()
                }
                Column::Many(lists) if lists.rows.is_empty() => nulls.of(&holds.data_type()),
                Column::Many(lists) => lists_array(text, lists, rows, holds, refuse),
            });
        }
        if layout.unknown == Unknown::Labels {
            arrays.push(match labels.is_empty() {
                true => nulls.of(&DataType::Utf8),
                false => labels_array(labels, rows),
            });
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

/// Columns without a value: one array for all of a type.
struct Nulls {
    rows: usize,
    arrays: Vec<ArrayRef>,
}

impl Nulls {
    fn of(&mut self, kind: &DataType) -> ArrayRef {
        if let Some(array) = self.arrays.iter().find(|it| it.data_type() == kind) {
            return array.clone();
        }
        let array = new_null_array(kind, self.rows);
        self.arrays.push(array.clone());
        array
    }
}

/// A number as the column reads it. Whole numbers lose their fraction, as they do in Elasticsearch: browsers measure times
/// in parts of a nanosecond. A time is milliseconds since 1970.
fn number(values: &mut Values, holds: &Holds, raw: &str, at: usize) -> Option<Cell> {
    let mut written = String::new();
    Some(match holds {
        Holds::Ecs(field) => match field.kind {
            FieldType::Long | FieldType::Integer => {
                let whole = before_point(plain(raw, &mut written));
                values.made_of(raw, at, if whole == "-0" { "0" } else { whole })
            }
            FieldType::Date => {
                let millis = before_point(plain(raw, &mut written)).parse().ok()?;
                values.put(&Timestamp::from_millisecond(millis).ok()?.to_string())
            }
            _ => values.made_of(raw, at, raw),
        },
        Holds::Own(kind) => match kind {
            Type::Text | Type::PercentDecoded | Type::F32 | Type::F64 => values.made_of(raw, at, raw),
            _ => values.made_of(raw, at, plain(raw, &mut written)),
        },
    })
}

fn before_point(number: &str) -> &str {
    memchr(b'.', number.as_bytes()).map_or(number, |it| &number[..it])
}

fn labels_array(labels: &[(usize, String)], rows: usize) -> ArrayRef {
    let mut column = StringBuilder::with_capacity(rows, labels.iter().map(|it| it.1.len()).sum());
    let mut labels = labels.iter().peekable();
    for row in 0..rows {
        column.append_option(labels.next_if(|it| it.0 == row).map(|it| &it.1));
    }
    Arc::new(column.finish())
}

/// A column of lists.
fn lists_array(text: &str, lists: &Lists, rows: usize, holds: &Holds, mut refuse: impl FnMut(usize, &str)) -> ArrayRef {
    let is_ip = matches!(holds, Holds::Ecs(Field { kind: FieldType::Ip, .. }));
    let mut builder = ListBuilder::new(StringBuilder::new());
    let mut filled = lists.rows.iter().peekable();
    for row in 0..rows {
        let Some((_, items)) = filled.next_if(|it| it.0 == row) else {
            builder.append_null();
            continue;
        };
        for cell in &lists.items[items.clone()] {
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
                match text.escaped {
                    true => give(&unescaped(raw)),
                    false => give(raw),
                }
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
fn label<'a>(pair: &Pair<'a>, value: &impl Fn(&str, Cow<'a, str>) -> Cow<'a, str>) -> String {
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

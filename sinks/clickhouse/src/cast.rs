//! What becomes of a value on its way from a column of the rows to a column of the table: decided once per column.
//!
//! Digits that the column has no room for are cut off, those of decimals rounded; a value that does not fit otherwise is
//! refused with its row.

mod leaf;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};

use crate::types::Type;
use leaf::Leaf;

/// How the values of a column of the rows become those of a column of the table.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    /// The type that is named on the wire. If it is not the column's own, the server converts.
    pub(crate) wire: Type,
    cast: Cast,
}

/// How values are made.
#[derive(Clone, Debug)]
enum Cast {
    Leaf(Leaf),
    List(Box<Cast>),
    Map(Box<Cast>, Box<Cast>),
}

/// Values, and which of them did not fit: these are null.
pub(crate) struct Done {
    pub(crate) values: ArrayRef,
    /// A bit for each row that has a value that did not fit; `None`: all fit.
    pub(crate) bad: Option<BooleanBuffer>,
}

impl Conversion {
    /// Decides how values of an Arrow type get into a column; `None` if they do not.
    pub(crate) fn new(from: &DataType, to: &Type) -> Option<Self> {
        let wire = wire(from, to)?;
        let cast = Cast::new(from, &wire)?;
        Some(Self { wire, cast })
    }

    /// The type that holds all values of an Arrow type as they are; `None` if none does.
    pub(crate) fn natural(from: &DataType) -> Option<Type> {
        Some(match from {
            DataType::Boolean => Type::Bool,
            DataType::Int8 => Type::Int8,
            DataType::Int16 => Type::Int16,
            DataType::Int32 => Type::Int32,
            DataType::Int64 => Type::Int64,
            DataType::UInt8 => Type::UInt8,
            DataType::UInt16 => Type::UInt16,
            DataType::UInt32 => Type::UInt32,
            DataType::UInt64 => Type::UInt64,
            DataType::Float16 | DataType::Float32 => Type::Float32,
            DataType::Float64 => Type::Float64,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => Type::Decimal(*p, u8::try_from(*s).ok()?),
            DataType::Date32 | DataType::Date64 => Type::Date32,
            DataType::Timestamp(unit, _) => {
                let digits = match unit {
                    TimeUnit::Second => 0,
                    TimeUnit::Millisecond => 3,
                    TimeUnit::Microsecond => 6,
                    TimeUnit::Nanosecond => 9,
                };
                Type::DateTime64(digits, "'UTC'".to_owned())
            }
            DataType::FixedSizeBinary(length) => Type::FixedString(usize::try_from(*length).ok()?),
            DataType::Dictionary(_, values) => match Self::natural(values)? {
                Type::String => Type::LowCardinality(Box::new(Type::String)),
                other => other,
            },
            DataType::List(item) | DataType::LargeList(item) => Type::Array(Box::new(Self::element(item)?)),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => match fields.as_ref() {
                    [key, value] => {
                        let key = Self::natural(key.data_type())?;
                        Type::Map(Box::new(key.plain().clone()), Box::new(Self::element(value)?))
                    }
                    _ => return None,
                },
                _ => return None,
            },
            DataType::Null => Type::String,
            it if is_text(it) || it.is_binary() => Type::String,
            // Times of day, lengths of time: as text.
            it if !it.is_nested() && arrow_cast::can_cast_types(it, &DataType::Utf8) => Type::String,
            _ => return None,
        })
    }

    /// The type of the elements of an array: dictionaries stand at the top of a column only.
    fn element(field: &Field) -> Option<Type> {
        let natural = Self::natural(field.data_type())?;
        let plain = natural.plain().clone();
        let may_be_null = field.is_nullable() && !matches!(plain, Type::Array(_) | Type::Map(..));
        Some(if may_be_null { Type::Nullable(Box::new(plain)) } else { plain })
    }

    /// Casts the values of some rows.
    pub(crate) fn cast(&self, values: &ArrayRef) -> Result<Done, ArrowError> {
        self.cast.apply(values)
    }
}

/// The type under which values are sent for a column.
fn wire(from: &DataType, to: &Type) -> Option<Type> {
    Some(match to {
        // The server builds dictionaries of anything but text.
        Type::LowCardinality(inner) if *inner.plain() != Type::String => wire(from, inner)?,
        Type::LowCardinality(_) => to.clone(),
        Type::Nullable(inner) => match wire(from, inner)? {
            // The server reads the text.
            plain @ (Type::Array(_) | Type::Map(..)) => plain,
            plain => Type::Nullable(Box::new(plain)),
        },
        Type::Array(inner) => match from {
            DataType::List(item) | DataType::LargeList(item) => Type::Array(Box::new(nested(item, inner)?)),
            DataType::Null => to.clone(),
            it if is_text(it) => Type::String,
            _ => return None,
        },
        Type::Map(key, value) => match from {
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                let [from_key, from_value] = fields.as_ref() else { return None };
                Type::Map(Box::new(nested(from_key, key)?), Box::new(nested(from_value, value)?))
            }
            // The server makes no maps of text.
            _ => return None,
        },
        Type::Json(_) => match from {
            it if is_text(it) || it.is_null() => Type::String,
            _ => return None,
        },
        Type::Other(_) => Conversion::natural(from)?.plain().clone(),
        known => known.clone(),
    })
}

/// The same within arrays and maps. There the server makes dictionaries, and finds the numbers of enumerations: zero,
/// which stands for null elsewhere, may be the number of no name.
fn nested(from: &Field, to: &Type) -> Option<Type> {
    match wire(from.data_type(), to)? {
        Type::LowCardinality(inner) => Some(*inner),
        other if matches!(other.plain(), Type::Enum { .. }) => Conversion::element(from),
        other => Some(other),
    }
}

/// Whether values are text, be it in a dictionary.
pub(crate) fn is_text(it: &DataType) -> bool {
    match it {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

impl Cast {
    fn new(from: &DataType, wire: &Type) -> Option<Self> {
        match (wire.plain(), from) {
            (Type::Array(inner), DataType::List(item) | DataType::LargeList(item)) => {
                Some(Self::List(Box::new(Self::new(item.data_type(), inner)?)))
            }
            (Type::Map(key, value), DataType::Map(entries, _)) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                let [from_key, from_value] = fields.as_ref() else { return None };
                let key = Self::new(from_key.data_type(), key)?;
                Some(Self::Map(Box::new(key), Box::new(Self::new(from_value.data_type(), value)?)))
            }
            (plain, _) => Leaf::new(from, plain).map(Self::Leaf),
        }
    }

    fn apply(&self, values: &ArrayRef) -> Result<Done, ArrowError> {
        match self {
            Self::Leaf(leaf) => {
                let before = values.logical_nulls();
                let values = leaf.apply(values)?;
                let bad = newly_null(before.as_ref(), &values);
                Ok(Done { values, bad })
            }
            Self::List(inner) => {
                let list = as_list(values)?;
                let done = inner.apply(list.values())?;
                let bad = rows_with(list.offsets(), list.nulls(), done.bad.as_ref());
                let item = Arc::new(Field::new("item", done.values.data_type().clone(), true));
                let made = ListArray::try_new(item, list.offsets().clone(), done.values, list.nulls().cloned())?;
                Ok(Done { values: Arc::new(made), bad })
            }
            Self::Map(key, value) => {
                let map = values.as_map();
                let (keys, made) = (key.apply(map.keys())?, value.apply(map.values())?);
                let bad = either(
                    rows_with(map.offsets(), map.nulls(), keys.bad.as_ref()),
                    rows_with(map.offsets(), map.nulls(), made.bad.as_ref()),
                );
                // Not a map again: a key that did not fit is null, which a map does not take.
                let fields = vec![
                    Field::new("key", keys.values.data_type().clone(), true),
                    Field::new("value", made.values.data_type().clone(), true),
                ];
                let entries = StructArray::try_new(fields.into(), vec![keys.values, made.values], None)?;
                let entry = Arc::new(Field::new("item", entries.data_type().clone(), true));
                let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
                let made = ListArray::try_new(entry, offsets, Arc::new(entries), nulls)?;
                Ok(Done { values: Arc::new(made), bad })
            }
        }
    }
}

/// A list with offsets of 32 bits.
fn as_list(values: &ArrayRef) -> Result<ListArray, ArrowError> {
    match values.data_type() {
        DataType::LargeList(item) => {
            Ok(arrow_cast::cast(values, &DataType::List(item.clone()))?.as_list::<i32>().clone())
        }
        _ => Ok(values.as_list::<i32>().clone()),
    }
}

/// Which values are null now and were not before.
fn newly_null(before: Option<&NullBuffer>, after: &ArrayRef) -> Option<BooleanBuffer> {
    let nulls = after.logical_nulls()?;
    if nulls.null_count() == before.map_or(0, NullBuffer::null_count) {
        return None;
    }
    let is_null = !nulls.inner();
    Some(match before {
        None => is_null,
        Some(before) => &is_null & before.inner(),
    })
}

/// Which rows of a list have one of these elements.
fn rows_with(
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    bad: Option<&BooleanBuffer>,
) -> Option<BooleanBuffer> {
    let bad = bad?;
    let has = |row: usize| {
        let elements = offsets[row] as usize..offsets[row + 1] as usize;
        nulls.is_none_or(|it| it.is_valid(row)) && elements.into_iter().any(|it| bad.value(it))
    };
    let rows = BooleanBuffer::collect_bool(offsets.len() - 1, has);
    (rows.count_set_bits() > 0).then_some(rows)
}

/// Which rows are in one of two.
pub(crate) fn either(a: Option<BooleanBuffer>, b: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(&a | &b),
        (a, b) => a.or(b),
    }
}

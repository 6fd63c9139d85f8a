//! Rows as the body of one INSERT.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int64Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int8Array, Int16Array, RecordBatch, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::ArrowError;
use arrow_select::filter::filter;
use forebay_api::{BoxError, shown};

use crate::cast::{Conversion, either};
use crate::native;
use crate::pieces::Name;
use crate::server::{Frame, Servers};
use crate::sql;
use crate::types::Type;

/// So many bytes are compressed at a time: the server reads them so, and its own are of this size.
const FRAME_BYTES: usize = 1 << 20;

/// A column of the rows, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// Its number in the input.
    pub(crate) source: usize,
    /// The table's column.
    pub(crate) name: String,
    /// The type of the table's column.
    pub(crate) of: Type,
    /// How its values are made.
    pub(crate) conversion: Conversion,
    /// Whether the server knows better than zero what stands where there is no value.
    pub(crate) has_default: bool,
}

/// How rows become the body of an INSERT.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) placed: Vec<Placed>,
    /// The column that holds the name of the INSERT.
    pub(crate) stamp: Option<String>,
}

/// The body of an INSERT.
pub(crate) struct Block {
    pub(crate) name: Name,
    pub(crate) body: Vec<Frame>,
    /// How many rows are in it.
    pub(crate) rows: u64,
    /// Rows that are not in it, and why.
    pub(crate) refused: BTreeMap<u64, String>,
    /// Conditions that all its rows fulfil, by which a search for them finds its way.
    pub(crate) bounds: Vec<String>,
    /// Columns in which the server puts its default where there is no value, with the types that say so.
    pub(crate) defaulted: Vec<(String, Type)>,
}

/// The finished values of a column, batch by batch.
type Values = Vec<ArrayRef>;

impl Layout {
    /// The names of the columns that are sent, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.placed.iter().map(|it| it.name.as_str()).chain(self.stamp.as_deref())
    }

    /// Whether the server makes other types of some that are sent.
    pub(crate) fn is_converted(&self) -> bool {
        self.placed.iter().any(|it| it.conversion.wire != it.of)
    }

    /// Makes a block of these rows, whose first has the number `first` in its delivery. `name` gives the name for the
    /// rows that must be left out.
    pub(crate) fn block(
        &self,
        batches: &[RecordBatch],
        first: u64,
        name: impl FnOnce(&[u64]) -> Name,
        servers: &Servers,
    ) -> Result<Block, BoxError> {
        let (values, refused) = self.cast(batches, first)?;
        let rows = batches.iter().map(|it| it.num_rows() as u64).sum::<u64>() - refused.len() as u64;
        let name = name(&refused.keys().copied().collect::<Vec<_>>());
        let mut block = Block { name, body: Vec::new(), rows, refused, bounds: Vec::new(), defaulted: Vec::new() };
        if rows == 0 {
            return Ok(block);
        }
        let mut bytes = Vec::with_capacity(2 * FRAME_BYTES);
        native::head(&mut bytes, self.placed.len() + usize::from(self.stamp.is_some()), rows as usize);
        for (placed, mut arrays) in self.placed.iter().zip(values) {
            placed.fill(&mut arrays);
            let wire = placed.wire(&arrays);
            native::column(&mut bytes, &placed.name, &wire, &arrays)?;
            block.bounds.extend(placed.bounds(&arrays));
            if placed.has_default && wire != placed.conversion.wire {
                block.defaulted.push((placed.name.clone(), wire));
            }
            // What is left over goes with the next column.
            let full = bytes.len() - bytes.len() % FRAME_BYTES;
            for frame in bytes[..full].chunks(FRAME_BYTES) {
                block.body.push(servers.pack(frame)?);
            }
            bytes.drain(..full);
        }
        if let Some(stamp) = &self.stamp {
            native::constant(&mut bytes, stamp, block.name.as_str(), rows as usize);
        }
        block.body.push(servers.pack(&bytes)?);
        Ok(block)
    }

    /// Casts all columns, and leaves out the rows with a value that does not fit.
    fn cast(&self, batches: &[RecordBatch], first: u64) -> Result<(Vec<Values>, BTreeMap<u64, String>), ArrowError> {
        let mut values: Vec<Values> = vec![Vec::with_capacity(batches.len()); self.placed.len()];
        let mut refused = BTreeMap::new();
        let mut number = first;
        for batch in batches {
            let mut bad: Option<BooleanBuffer> = None;
            let mut done = Vec::with_capacity(self.placed.len());
            for placed in &self.placed {
                let cast = placed.conversion.cast(batch.column(placed.source))?;
                if let Some(rows) = &cast.bad {
                    placed.refuse(batch, rows, number, &mut refused)?;
                }
                bad = either(bad, cast.bad);
                done.push(cast.values);
            }
            if let Some(bad) = bad {
                let keep = BooleanArray::new(!&bad, None);
                done = done.iter().map(|it| filter(it, &keep)).collect::<Result<_, _>>()?;
            }
            for (all, values) in values.iter_mut().zip(done) {
                all.push(values);
            }
            number += batch.num_rows() as u64;
        }
        Ok((values, refused))
    }
}

impl Placed {
    /// Names the rows with a value that does not fit; the first column that says so gives the reason.
    fn refuse(
        &self,
        batch: &RecordBatch,
        bad: &BooleanBuffer,
        first: u64,
        refused: &mut BTreeMap<u64, String>,
    ) -> Result<(), ArrowError> {
        let column = batch.column(self.source);
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)?;
        for row in bad.set_indices() {
            refused.entry(first + row as u64).or_insert_with(|| {
                let value = formatter.value(row).to_string();
                let (name, of) = (batch.schema_ref().field(self.source).name(), &self.of);
                format!("column `{name}`: `{}` does not fit into {of}", shown(&value))
            });
        }
        Ok(())
    }

    /// The type on the wire. Where there is no value and the column must have one, the server decides which, unless
    /// that is zero.
    fn wire(&self, arrays: &[ArrayRef]) -> Type {
        let wire = &self.conversion.wire;
        let takes_nulls = wire.is_nullable() || matches!(wire, Type::Array(_) | Type::Map(..));
        let zero_is_right = !self.has_default && *wire == self.of;
        if takes_nulls || zero_is_right || arrays.iter().all(|it| it.logical_null_count() == 0) {
            return wire.clone();
        }
        match wire {
            Type::LowCardinality(inner) => Type::LowCardinality(Box::new(Type::Nullable(inner.clone()))),
            other => Type::Nullable(Box::new(other.clone())),
        }
    }

    /// Puts a default where there is no value, where the server puts what is none: zero may be the number of no name
    /// of an enumeration, and the empty text is neither an array nor an object (26.7).
    fn fill(&self, arrays: &mut Values) {
        if self.has_default {
            return;
        }
        let text = match &self.of {
            Type::Array(_) if self.conversion.wire == Type::String => "[]",
            Type::Json(_) => "{}",
            _ => "",
        };
        let least = match &self.of {
            Type::Enum { names, .. } => names.iter().map(|it| it.1).min().unwrap_or_default(),
            _ => 0,
        };
        for array in arrays.iter_mut().filter(|it| it.null_count() > 0) {
            if !text.is_empty() {
                let texts = array.as_string::<i32>().iter().map(|it| it.unwrap_or(text));
                *array = Arc::new(StringArray::from_iter_values(texts));
            }
            if least == 0 {
                continue;
            }
            *array = match array.as_primitive_opt::<Int8Type>() {
                Some(numbers) => {
                    let filled = numbers.iter().map(|it| it.unwrap_or(least as i8));
                    Arc::new(Int8Array::from_iter_values(filled))
                }
                None => {
                    let filled = array.as_primitive::<Int16Type>().iter().map(|it| it.unwrap_or(least));
                    Arc::new(Int16Array::from_iter_values(filled))
                }
            };
        }
    }

    /// Between which times the values lie, in whole seconds or days.
    fn bounds(&self, arrays: &[ArrayRef]) -> Option<String> {
        let of = self.of.plain();
        if !matches!(of, Type::Date | Type::DateTime(_) | Type::DateTime64(..)) {
            return None;
        }
        let mut all: Option<(i64, i64)> = None;
        for array in arrays.iter().filter(|it| !it.is_empty()) {
            let (min, max) = min_max(array)?;
            all = Some(all.map_or((min, max), |it| (it.0.min(min), it.1.max(max))));
        }
        let (min, max) = all?;
        let name = sql::name(&self.name);
        Some(format!("{name} >= {} AND {name} <= {}", literal(of, min, false)?, literal(of, max, true)?))
    }
}

/// A time in whole seconds, the next one if `up`. `None` where the server has no such number.
fn literal(of: &Type, tick: i64, up: bool) -> Option<String> {
    match of {
        Type::Date => Some(format!("toDate({tick})")),
        Type::DateTime(_) => Some(format!("toDateTime({tick}, 'UTC')")),
        Type::DateTime64(digits, _) => {
            let per_second = 10_i64.pow(u32::from(*digits));
            let seconds = tick.div_euclid(per_second) + i64::from(up);
            seconds.checked_mul(per_second)?;
            Some(format!("toDateTime64({seconds}, {digits}, 'UTC')"))
        }
        _ => None,
    }
}

/// The least and the greatest of some times; `None` if one of them is missing.
fn min_max(array: &ArrayRef) -> Option<(i64, i64)> {
    fn of(numbers: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
        let fold = |all: Option<(i64, i64)>, it: i64| Some(all.map_or((it, it), |all| (all.0.min(it), all.1.max(it))));
        numbers.fold(None, fold)
    }
    if array.null_count() > 0 {
        return None;
    }
    if let Some(it) = array.as_primitive_opt::<Int64Type>() {
        return of(it.values().iter().copied());
    }
    if let Some(it) = array.as_primitive_opt::<UInt32Type>() {
        return of(it.values().iter().map(|it| i64::from(*it)));
    }
    of(array.as_primitive_opt::<UInt16Type>()?.values().iter().map(|it| i64::from(*it)))
}

/// The rows of a range of all that was staged, in as many batches as they lie in.
pub(crate) fn rows(batches: &[RecordBatch], from: u64, to: u64) -> Vec<RecordBatch> {
    let mut first = 0;
    let mut found = Vec::new();
    for batch in batches {
        let end = first + batch.num_rows() as u64;
        let (start, stop) = (from.max(first), to.min(end));
        if start < stop {
            found.push(batch.slice((start - first) as usize, (stop - start) as usize));
        }
        first = end;
    }
    found
}

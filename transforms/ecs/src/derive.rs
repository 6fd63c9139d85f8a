//! Fields that follow from other fields, for the ready mappings.

pub(crate) mod hosts;
pub(crate) mod outcome;
pub(crate) mod url;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, PrimitiveArray};

/// A field, and the fields that it follows from. Of two rows for one field the first counts whose inputs are there.
pub(crate) struct Derived {
    pub(crate) field: &'static str,
    pub(crate) from: From,
    /// Gets those of `from` that are there, in that order.
    pub(crate) derive: Derive,
}

/// The inputs of a derived field.
pub(crate) enum From {
    /// It exists if all of these do.
    All(&'static [&'static str]),
    /// It exists if one of these does.
    Any(&'static [&'static str]),
}

pub(crate) type Derive = fn(&[ArrayRef]) -> ArrayRef;

pub(crate) const fn all(from: &'static [&'static str], field: &'static str, derive: Derive) -> Derived {
    Derived { field, from: From::All(from), derive }
}

pub(crate) const fn any(from: &'static [&'static str], field: &'static str, derive: Derive) -> Derived {
    Derived { field, from: From::Any(from), derive }
}

impl From {
    /// The inputs that there are, if they are enough.
    pub(crate) fn present(&self, exists: impl Fn(&str) -> bool) -> Option<Vec<&'static str>> {
        match self {
            Self::All(fields) => fields.iter().all(|it| exists(it)).then(|| fields.to_vec()),
            Self::Any(fields) => {
                let present: Vec<_> = fields.iter().copied().filter(|it| exists(it)).collect();
                (!present.is_empty()).then_some(present)
            }
        }
    }
}

/// Nanoseconds from the first time to the second. Clocks that were set back leave none.
pub(crate) fn duration(fields: &[ArrayRef]) -> ArrayRef {
    const NANOSECONDS: i64 = 1_000_000;
    let [start, end] = [0, 1].map(|it| fields[it].as_primitive::<TimestampMillisecondType>());
    let pairs = start.iter().zip(end);
    let between = |(start, end): (Option<i64>, Option<i64>)| {
        end?.checked_sub(start?)?.checked_mul(NANOSECONDS).filter(|it| *it >= 0)
    };
    Arc::new(pairs.map(between).collect::<PrimitiveArray<Int64Type>>())
}

//! The `Native` format: one block of columns, each in the form in which the server keeps it in memory.
//!
//! One INSERT is one block, and the format says where it begins and ends: what the server inserts at once is what was
//! sent at once. See <https://clickhouse.com/docs/interfaces/formats/Native>; the layout of each type is that of the
//! server's `Serialization*` classes.

mod dictionary;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ToByteSlice;
use arrow_schema::{ArrowError, DataType};

use crate::types::Type;
use dictionary::Dictionary;

/// The head of a block.
pub(crate) fn head(out: &mut Vec<u8>, columns: usize, rows: usize) {
    number(out, columns);
    number(out, rows);
}

/// One column: the finished values of all rows, in as many arrays as there are batches.
///
/// Nulls in a column that takes none are zeros, which is what the server puts where nothing is given.
pub(crate) fn column(out: &mut Vec<u8>, name: &str, wire: &Type, arrays: &[ArrayRef]) -> Result<(), ArrowError> {
    bytes(out, name.as_bytes());
    if let Type::LowCardinality(inner) = wire {
        if let Some(dictionary) = Dictionary::of(arrays, wire.is_nullable())? {
            bytes(out, wire.to_string().as_bytes());
            dictionary.write(out);
            return Ok(());
        }
        // Too many different values: the server finds out what is worth a dictionary.
        bytes(out, inner.to_string().as_bytes());
        return values(out, inner, arrays);
    }
    bytes(out, wire.to_string().as_bytes());
    values(out, wire, arrays)
}

/// One column that has the same text in each row.
pub(crate) fn constant(out: &mut Vec<u8>, name: &str, text: &str, rows: usize) {
    bytes(out, name.as_bytes());
    bytes(out, b"LowCardinality(String)");
    Dictionary::constant(text.as_bytes(), rows).write(out);
}

fn values(out: &mut Vec<u8>, wire: &Type, arrays: &[ArrayRef]) -> Result<(), ArrowError> {
    match wire {
        Type::Nullable(inner) => {
            for array in arrays {
                match array.logical_nulls() {
                    None => out.resize(out.len() + array.len(), 0),
                    Some(nulls) => out.extend(nulls.iter().map(|is_valid| u8::from(!is_valid))),
                }
            }
            values(out, inner, arrays)
        }
        Type::Array(inner) => {
            let mut end = 0_u64;
            let mut elements = Vec::with_capacity(arrays.len());
            for array in arrays {
                let list = array.as_list::<i32>();
                elements.push(offsets(out, &mut end, list.offsets(), list, list.values())?);
            }
            values(out, inner, &elements)
        }
        Type::Map(key, value) => {
            let mut end = 0_u64;
            let (mut keys, mut elements) = (Vec::new(), Vec::new());
            for array in arrays {
                let list = array.as_list::<i32>();
                let entries = offsets(out, &mut end, list.offsets(), list, list.values())?;
                keys.push(entries.as_struct().column(0).clone());
                elements.push(entries.as_struct().column(1).clone());
            }
            values(out, key, &keys)?;
            values(out, value, &elements)
        }
        _ => arrays.iter().try_for_each(|it| leaves(out, it)),
    }
}

/// Writes where each row's elements end, and gives those that belong to a row. A null row has none.
fn offsets(
    out: &mut Vec<u8>,
    end: &mut u64,
    offsets: &[i32],
    rows: &dyn Array,
    elements: &ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let mut kept = Vec::new();
    for (row, pair) in offsets.windows(2).enumerate() {
        let (from, to) = (pair[0] as usize, pair[1] as usize);
        if rows.is_valid(row) {
            *end += (to - from) as u64;
            kept.push((from, to));
        }
        out.extend(end.to_le_bytes());
    }
    if kept.iter().map(|(from, to)| to - from).sum::<usize>() == last - first {
        return Ok(elements.slice(first, last - first));
    }
    let slices: Vec<ArrayRef> = kept.iter().map(|(from, to)| elements.slice(*from, to - from)).collect();
    let slices: Vec<&dyn Array> = slices.iter().map(|it| it.as_ref()).collect();
    if slices.is_empty() { Ok(elements.slice(0, 0)) } else { arrow_select::concat::concat(&slices) }
}

fn leaves(out: &mut Vec<u8>, array: &ArrayRef) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            out.extend((0..values.len()).map(|it| u8::from(values.is_valid(it) && values.value(it))));
        }
        DataType::Int8 => numbers::<Int8Type>(out, array),
        DataType::Int16 => numbers::<Int16Type>(out, array),
        DataType::Int32 => numbers::<Int32Type>(out, array),
        DataType::Int64 => numbers::<Int64Type>(out, array),
        DataType::UInt8 => numbers::<UInt8Type>(out, array),
        DataType::UInt16 => numbers::<UInt16Type>(out, array),
        DataType::UInt32 => numbers::<UInt32Type>(out, array),
        DataType::UInt64 => numbers::<UInt64Type>(out, array),
        DataType::Float32 => numbers::<Float32Type>(out, array),
        DataType::Float64 => numbers::<Float64Type>(out, array),
        DataType::Decimal32(..) => numbers::<Decimal32Type>(out, array),
        DataType::Decimal64(..) => numbers::<Decimal64Type>(out, array),
        DataType::Decimal128(..) => numbers::<Decimal128Type>(out, array),
        DataType::Decimal256(..) => numbers::<Decimal256Type>(out, array),
        DataType::FixedSizeBinary(length) => {
            let values = array.as_fixed_size_binary();
            let nothing = vec![0; usize::try_from(*length).unwrap_or_default()];
            values.iter().for_each(|it| out.extend(it.unwrap_or(&nothing)));
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            out.reserve(values.values().len() + values.len());
            values.iter().for_each(|it| bytes(out, it.unwrap_or_default().as_bytes()));
        }
        DataType::Binary => {
            array.as_binary::<i32>().iter().for_each(|it| bytes(out, it.unwrap_or_default()));
        }
        DataType::Dictionary(_, of) => leaves(out, &arrow_cast::cast(array, of)?)?,
        other => return Err(ArrowError::NotYetImplemented(format!("{other} on the wire"))),
    }
    Ok(())
}

fn numbers<T: ArrowPrimitiveType>(out: &mut Vec<u8>, array: &ArrayRef) {
    let start = out.len();
    // The order of bytes is that of the machine: little-endian on all that this program is built for.
    out.extend_from_slice(array.as_primitive::<T>().values().to_byte_slice());
    let Some(nulls) = array.nulls().filter(|it| it.null_count() > 0) else { return };
    // What stands behind a null is anything.
    let width = size_of::<T::Native>();
    for row in (!nulls.inner()).set_indices() {
        out[start + row * width..][..width].fill(0);
    }
}

/// A text with its length.
fn bytes(out: &mut Vec<u8>, text: &[u8]) {
    number(out, text.len());
    out.extend_from_slice(text);
}

/// A number in seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, number: usize) {
    let mut left = number;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

//! Numbers: read, cast, and refused where something would be lost.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType};
use forebay_codec::number::fixed_point;

use super::as_text;

/// Reads each text; `None`: it is none of the kind, `Some(None)`: there is no value in it.
pub(super) fn parsed<T: ArrowPrimitiveType>(
    texts: &StringArray,
    refuse: &mut impl FnMut(usize, &str),
    mut read: impl FnMut(&str) -> Option<Option<T::Native>>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(texts.len());
    let mut without = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let value = text.map(|text| {
            read(text).unwrap_or_else(|| {
                refuse(row, text);
                None
            })
        });
        if let Some(None) = value {
            without.push(row);
        }
        values.push(value.flatten().unwrap_or_default());
    }
    PrimitiveArray::new(values.into(), nulls_and(texts, &without))
}

/// The nulls of a column, and these.
fn nulls_and(texts: &StringArray, without: &[usize]) -> Option<NullBuffer> {
    if without.is_empty() {
        return texts.nulls().cloned();
    }
    let mut valid = BooleanBufferBuilder::new(texts.len());
    match texts.nulls() {
        Some(nulls) => valid.append_buffer(nulls.inner()),
        None => valid.append_n(texts.len(), true),
    }
    without.iter().for_each(|row| valid.set_bit(*row, false));
    Some(NullBuffer::new(valid.finish()))
}

pub(super) fn whole<T>(texts: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> PrimitiveArray<T>
where
    T: ArrowPrimitiveType<Native: FromStr>,
{
    parsed(texts, refuse, |it| it.parse().ok().map(Some))
}

pub(super) fn booleans(texts: &StringArray, refuse: &mut impl FnMut(usize, &str)) -> ArrayRef {
    let mut values = BooleanBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let value = text.and_then(|it| it.parse().ok());
        if let (Some(text), None) = (text, value) {
            refuse(row, text);
        }
        values.append_option(value);
    }
    Arc::new(values.finish())
}

/// Casts whole numbers, and refuses those that are too large.
pub(super) fn narrowed(
    column: &ArrayRef,
    to: &DataType,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    let values = cast(column, to)?;
    if values.null_count() > column.null_count() {
        refuse_where(column, |row| values.is_null(row), refuse)?;
    }
    Ok(values)
}

/// Casts numbers, and refuses whole ones that a double cannot hold and those that are not finite.
pub(super) fn floats(column: &ArrayRef, refuse: &mut impl FnMut(usize, &str)) -> Result<ArrayRef, ArrowError> {
    /// From here on whole numbers may have been rounded.
    const EXACT_BELOW: f64 = (1_u64 << 53) as f64;
    /// Decimals of so few digits fit into 64 bits, and powers of ten up to it into a double without rounding.
    const DIGITS_OF_64_BITS: u8 = 18;
    if let DataType::Decimal128(..=DIGITS_OF_64_BITS, scale @ 0..=18) = column.data_type() {
        // Both numbers are exact up to 53 bits, so the quotient is what reading the text would give.
        let unit = 10_f64.powi(i32::from(*scale));
        let values: PrimitiveArray<Float64Type> =
            column.as_primitive::<Decimal128Type>().unary(|it| it as i64 as f64 / unit);
        return Ok(Arc::new(values));
    }
    let values = cast(column, &DataType::Float64)?;
    let doubles = values.as_primitive::<Float64Type>();
    let whole = column.data_type().is_integer();
    let lost = |value: f64| !value.is_finite() || (whole && value.abs() >= EXACT_BELOW);
    if doubles.values().iter().fold(false, |any, value| any | lost(*value)) {
        refuse_where(column, |row| lost(doubles.value(row)), refuse)?;
    }
    Ok(values)
}

fn refuse_where(
    column: &ArrayRef,
    lost: impl Fn(usize) -> bool,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<(), ArrowError> {
    for row in (0..column.len()).filter(|row| column.is_valid(*row) && lost(*row)) {
        refuse(row, &array_value_to_string(column, row)?);
    }
    Ok(())
}

/// Numbers in units of ten to the power of `digits` nanoseconds, as whole nanoseconds. Finer digits are cut off.
pub(super) fn nanoseconds(
    column: &ArrayRef,
    digits: u8,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    let Some(decimals) = column.as_primitive_opt::<Decimal128Type>() else {
        let read = |it: &str| Some(Some(fixed_point(it, digits)?.0));
        return Ok(Arc::new(match column.as_string_opt() {
            Some(texts) => parsed::<Int64Type>(texts, refuse, read),
            None => parsed::<Int64Type>(&as_text(column)?, refuse, read),
        }));
    };
    let shift = i32::from(digits) - i32::from(decimals.scale());
    let factor = 10_i128.pow(shift.unsigned_abs());
    let small = i64::try_from(factor).unwrap_or(i64::MAX);
    let greatest = i128::from(i64::MAX / small);
    let fits = |it: &i128| (-greatest..=greatest).contains(it);
    let values: PrimitiveArray<Int64Type> = if shift < 0 {
        decimals.unary_opt(|it| (it / factor).try_into().ok())
    } else if decimals.values().iter().fold(true, |all, it| all & fits(it)) {
        decimals.unary(|it| it as i64 * small)
    } else {
        decimals.unary_opt(|it| it.checked_mul(factor)?.try_into().ok())
    };
    if values.null_count() > column.null_count() {
        refuse_where(column, |row| values.is_null(row), refuse)?;
    }
    Ok(Arc::new(values))
}

/// Null for a negative number.
pub(super) fn not_negative(numbers: &ArrayRef) -> ArrayRef {
    let numbers = numbers.as_primitive::<Float64Type>();
    if !numbers.values().iter().fold(false, |any, it| any | (*it < 0.0)) {
        return Arc::new(numbers.clone());
    }
    Arc::new(numbers.unary_opt::<_, Float64Type>(|it| (it >= 0.0).then_some(it)))
}

/// Zero for null.
pub(super) fn or_zero(numbers: &ArrayRef) -> ArrayRef {
    let numbers = numbers.as_primitive::<Int64Type>();
    match numbers.null_count() {
        0 => Arc::new(numbers.clone()),
        _ => Arc::new(numbers.iter().map(|it| Some(it.unwrap_or_default())).collect::<PrimitiveArray<Int64Type>>()),
    }
}

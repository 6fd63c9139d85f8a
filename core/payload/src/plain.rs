//! Columns in types that the writer and the reader of JSON agree about.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, FixedSizeListArray, GenericListArray, GenericListViewArray, ListArray,
    OffsetSizeTrait, PrimitiveArray, StringArray, StructArray,
};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, TimeUnit};

use crate::restored::{UTC, is_of_tens, relabelled, strict, type_to_read};

/// Seconds from 1970 to the first moment of the year 1, and to the last one of the year 9999: RFC 3339 has no other years.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// The same values in a type that JSON can hold.
pub fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Dictionary(_, values) => plain(&cast(array, values)?)?,
        DataType::RunEndEncoded(_, values) => plain(&cast(array, values.data_type())?)?,
        DataType::Float16 => finite::<Float16Type>(array, |it| it.is_finite()),
        DataType::Float32 => finite::<Float32Type>(array, f32::is_finite),
        DataType::Float64 => finite::<Float64Type>(array, f64::is_finite),
        DataType::Timestamp(unit, zone) => {
            let array = match zone {
                // The offset of a local time may have seconds, which RFC 3339 has not.
                Some(_) => relabelled(array, DataType::Timestamp(*unit, Some(UTC.into())))?,
                None => array.clone(),
            };
            within(&array, in_unit(*unit, SECONDS))?
        }
        DataType::Date32 => within(array, SECONDS.start() / SECONDS_OF_A_DAY..=SECONDS.end() / SECONDS_OF_A_DAY)?,
        DataType::Date64 => within(array, in_unit(TimeUnit::Millisecond, SECONDS))?,
        DataType::Time32(unit) | DataType::Time64(unit) => within(array, in_unit(*unit, 0..=SECONDS_OF_A_DAY - 1))?,
        DataType::Duration(_) => cast(array, &DataType::Int64)?,
        kind if is_of_tens(kind) => plain(&strict(array, &type_to_read(kind))?)?,
        DataType::List(_) => list::<i32>(array.as_list())?,
        DataType::LargeList(_) => list::<i64>(array.as_list())?,
        DataType::ListView(_) => list_view::<i32>(array.as_list_view())?,
        DataType::LargeListView(_) => list_view::<i64>(array.as_list_view())?,
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let (field, values) = items(list.values())?;
            Arc::new(FixedSizeListArray::try_new(field, *size, values, list.nulls().cloned())?)
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let (field, entries) = items(&(Arc::new(map.entries().clone()) as ArrayRef))?;
            Arc::new(ListArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned())?)
        }
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let columns: Result<Vec<ArrayRef>, _> = structs.columns().iter().map(plain).collect();
            let columns = columns?;
            let named =
                |(field, column): (&FieldRef, &ArrayRef)| Field::new(field.name(), column.data_type().clone(), true);
            let fields: Fields = fields.iter().zip(&columns).map(named).collect();
            let nulls = structs.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields, columns, nulls, structs.len())?)
        }
        _ => array.clone(),
    })
}

/// Numbers, or texts if some are none that JSON has.
fn finite<T: ArrowPrimitiveType>(array: &ArrayRef, is_finite: fn(T::Native) -> bool) -> ArrayRef {
    let floats: &PrimitiveArray<T> = array.as_primitive();
    if floats.iter().flatten().all(is_finite) {
        return array.clone();
    }
    Arc::new(floats.iter().map(|it| it.map(|it| format!("{it:?}"))).collect::<StringArray>())
}

/// Texts of RFC 3339 if it has all of these values, else numbers.
fn within(array: &ArrayRef, values: RangeInclusive<i64>) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(array, &DataType::Int64)?;
    let fits = numbers.as_primitive::<Int64Type>().iter().flatten().all(|it| values.contains(&it));
    Ok(if fits { array.clone() } else { numbers })
}

/// The same span of whole seconds in a finer unit.
fn in_unit(unit: TimeUnit, seconds: RangeInclusive<i64>) -> RangeInclusive<i64> {
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let first = seconds.start().saturating_mul(per_second);
    first..=seconds.end().saturating_mul(per_second).saturating_add(per_second - 1)
}

/// The items of lists.
fn items(values: &ArrayRef) -> Result<(FieldRef, ArrayRef), ArrowError> {
    let values = plain(values)?;
    Ok((Arc::new(Field::new("item", values.data_type().clone(), true)), values))
}

fn list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<ArrayRef, ArrowError> {
    let (field, values) = items(list.values())?;
    Ok(Arc::new(GenericListArray::<O>::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?))
}

fn list_view<O: OffsetSizeTrait>(list: &GenericListViewArray<O>) -> Result<ArrayRef, ArrowError> {
    let (field, values) = items(list.values())?;
    let (offsets, sizes, nulls) = (list.offsets().clone(), list.sizes().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListViewArray::<O>::try_new(field, offsets, sizes, values, nulls)?))
}

//! Columns as they were, from what the reader of JSON makes of them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, RunArray, StructArray, UInt64Array, make_array,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields};

/// The zone that timestamps with a zone are written in.
pub const UTC: &str = "UTC";

/// What the reader of JSON reads where a column of this type is wanted.
pub fn type_to_read(wanted: &DataType) -> DataType {
    match wanted {
        DataType::Dictionary(_, values) => type_to_read(values),
        DataType::RunEndEncoded(_, values) => type_to_read(values.data_type()),
        // It need not know the zone.
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(UTC.into())),
        DataType::List(items) => DataType::List(field_to_read(items)),
        DataType::LargeList(items) => DataType::LargeList(field_to_read(items)),
        DataType::ListView(items) => DataType::ListView(field_to_read(items)),
        DataType::LargeListView(items) => DataType::LargeListView(field_to_read(items)),
        DataType::FixedSizeList(items, size) => DataType::FixedSizeList(field_to_read(items), *size),
        DataType::Map(entries, _) => DataType::List(field_to_read(entries)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_to_read).collect::<Fields>()),
        kind if is_of_tens(kind) => DataType::Decimal256(DECIMAL256_MAX_PRECISION, 0),
        other => other.clone(),
    }
}

/// Whether a type is of decimals whose last digits, before the point, are not kept: the reader does not know of them.
pub fn is_of_tens(kind: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    matches!(kind, Decimal32(_, ..0) | Decimal64(_, ..0) | Decimal128(_, ..0) | Decimal256(_, ..0))
}

fn field_to_read(wanted: &FieldRef) -> FieldRef {
    Arc::new(Field::new(wanted.name(), type_to_read(wanted.data_type()), wanted.is_nullable()))
}

/// A column that was read as [`type_to_read`], in the type that is wanted.
pub fn restored(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    Ok(match wanted {
        DataType::Dictionary(keys, values) => {
            let values = restored(array, values)?;
            strict(&values, wanted).or_else(|_| each_its_key(&values, keys, wanted))?
        }
        DataType::RunEndEncoded(ends, values) => {
            let values = restored(array, values.data_type())?;
            match ends.data_type() {
                DataType::Int16 => each_its_run::<Int16Type>(&values, wanted)?,
                DataType::Int32 => each_its_run::<Int32Type>(&values, wanted)?,
                _ => each_its_run::<Int64Type>(&values, wanted)?,
            }
        }
        DataType::Timestamp(_, _) => relabelled(array, wanted.clone())?,
        DataType::List(items) => list::<i32>(array.as_list(), items)?,
        DataType::LargeList(items) => list::<i64>(array.as_list(), items)?,
        DataType::ListView(items) => list_view::<i32>(array.as_list_view(), items)?,
        DataType::LargeListView(items) => list_view::<i64>(array.as_list_view(), items)?,
        DataType::FixedSizeList(items, size) => {
            let list = array.as_fixed_size_list();
            let values = restored(list.values(), items.data_type())?;
            Arc::new(FixedSizeListArray::try_new(items.clone(), *size, values, list.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let list = array.as_list::<i32>();
            let values = restored(list.values(), entries.data_type())?.as_struct().clone();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(MapArray::try_new(entries.clone(), offsets, values, nulls, *sorted)?)
        }
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let columns = structs.columns().iter().zip(fields);
            let columns: Result<Vec<ArrayRef>, _> =
                columns.map(|(it, field)| restored(it, field.data_type())).collect();
            let nulls = structs.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns?, nulls, structs.len())?)
        }
        _ => strict(array, wanted)?,
    })
}

/// The same numbers under another type: the zone of a timestamp says only how it is shown.
pub fn relabelled(array: &ArrayRef, wanted: DataType) -> Result<ArrayRef, ArrowError> {
    Ok(make_array(array.to_data().into_builder().data_type(wanted).build()?))
}

/// Values in another type; an error if one has no place there.
pub fn strict(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

/// A dictionary in which no two keys have the same value: of types that Arrow looks for no equal values in.
fn each_its_key(values: &ArrayRef, keys: &DataType, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let keys = strict(&(Arc::new(UInt64Array::from_iter_values(0..values.len() as u64)) as ArrayRef), keys)?;
    let dictionary = keys.to_data().into_builder().data_type(wanted.clone());
    let dictionary = dictionary.nulls(values.logical_nulls()).add_child_data(values.to_data());
    Ok(make_array(dictionary.build()?))
}

/// Runs of one value each.
fn each_its_run<R: RunEndIndexType>(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let ends: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=values.len() as u64));
    let ends = strict(&ends, &R::DATA_TYPE)?;
    let ends: &PrimitiveArray<R> = ends.as_primitive();
    let runs: ArrayRef = Arc::new(RunArray::<R>::try_new(ends, values)?);
    // The names of the two fields are the other writer's.
    relabelled(&runs, wanted.clone())
}

fn list<O: OffsetSizeTrait>(list: &GenericListArray<O>, items: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let values = restored(list.values(), items.data_type())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::<O>::try_new(items.clone(), offsets, values, nulls)?))
}

fn list_view<O: OffsetSizeTrait>(list: &GenericListViewArray<O>, items: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let values = restored(list.values(), items.data_type())?;
    let (offsets, sizes, nulls) = (list.offsets().clone(), list.sizes().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListViewArray::<O>::try_new(items.clone(), offsets, sizes, values, nulls)?))
}

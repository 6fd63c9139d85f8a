//! How much memory rows need, counted so that however rows are cut into batches the sum is the same: where files end
//! depends on it.

use arrow_array::cast::AsArray;
use arrow_array::types::ByteArrayType;
use arrow_array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch};
use arrow_schema::DataType;

/// What is counted for a value where nothing better is known, and for the key of a dictionary with its share of values.
const VALUE_BYTES: usize = 16;

/// The bytes of some rows.
pub(crate) fn bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(column).sum()
}

fn column(column: &ArrayRef) -> usize {
    let rows = column.len();
    match column.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows,
        DataType::Utf8 => texts(column.as_string::<i32>()),
        DataType::LargeUtf8 => texts(column.as_string::<i64>()),
        DataType::Binary => texts(column.as_binary::<i32>()),
        DataType::LargeBinary => texts(column.as_binary::<i64>()),
        DataType::Utf8View => views(column.as_string_view()),
        DataType::BinaryView => views(column.as_binary_view()),
        DataType::List(_) => list::<i32>(column),
        DataType::LargeList(_) => list::<i64>(column),
        DataType::Struct(_) => column.as_struct().columns().iter().map(self::column).sum::<usize>() + rows,
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(VALUE_BYTES),
        other => rows * other.primitive_width().unwrap_or(VALUE_BYTES),
    }
}

/// What stands behind a null is not counted: it may be anything.
fn texts<T: ByteArrayType>(column: &GenericByteArray<T>) -> usize {
    use arrow_buffer::ArrowNativeType;
    let offsets = column.value_offsets();
    let between = |start: usize, end: usize| offsets[end].as_usize() - offsets[start].as_usize();
    let values: usize = match column.nulls().filter(|it| it.null_count() > 0) {
        None => between(0, column.len()),
        Some(nulls) => nulls.valid_slices().map(|(start, end)| between(start, end)).sum(),
    };
    values + column.len() * size_of::<T::Offset>()
}

fn views<T: arrow_array::types::ByteViewType + ?Sized>(column: &GenericByteViewArray<T>) -> usize {
    let length = |row: usize| if column.is_null(row) { 0 } else { (column.views()[row] as u32) as usize };
    (0..column.len()).map(length).sum::<usize>() + column.len() * size_of::<u128>()
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef) -> usize {
    let list = array.as_list::<O>();
    let rows = (0..list.len()).filter(|it| list.is_valid(*it)).map(|it| column(&list.value(it))).sum::<usize>();
    rows + list.len() * size_of::<O>()
}

//! Text columns of any kind as one kind, and what a log writes where there is no value.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use arrow_select::nullif::nullif;

/// Makes plain text of a text column of any kind; other columns stay. In a `logged` column, `-` means null.
pub(crate) fn plain(column: &ArrayRef, logged: bool) -> Result<ArrayRef, ArrowError> {
    if !super::is_text(column.data_type()) {
        return Ok(column.clone());
    }
    let texts = match column.data_type() {
        DataType::Utf8 => column.clone(),
        _ => cast(column, &DataType::Utf8)?,
    };
    match logged.then(|| dashes(texts.as_string())).flatten() {
        Some(dashes) => nullif(&texts, &dashes),
        None => Ok(texts),
    }
}

/// Where a text is `-`; `None` if it is nowhere.
fn dashes(texts: &StringArray) -> Option<BooleanArray> {
    let ends = texts.value_offsets();
    // Most columns have no text of one byte, and to know that takes next to nothing.
    let single = ends.iter().zip(&ends[1..]).fold(false, |any, (start, end)| any | (end - start == 1));
    if !single {
        return None;
    }
    let data = texts.value_data();
    let is_dash = |row: usize| ends[row + 1] - ends[row] == 1 && data[ends[row] as usize] == b'-';
    let dashes = BooleanBuffer::collect_bool(texts.len(), is_dash);
    (dashes.count_set_bits() > 0).then(|| BooleanArray::new(dashes, None))
}

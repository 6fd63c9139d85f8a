//! Lists of text.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use super::{address, as_text};
use crate::fields::{Field, FieldType};

/// Lists of text, from lists, or each of one value.
pub(super) fn list(
    column: &ArrayRef,
    kind: FieldType,
    refuse: &mut impl FnMut(usize, &str),
) -> Result<ArrayRef, ArrowError> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut append = |row: usize, is_list: bool, values: &mut dyn Iterator<Item = &str>| {
        for text in values {
            match item(text, kind) {
                Some(text) => lists.values().append_value(text),
                None => refuse(row, text),
            }
        }
        lists.append(is_list);
    };
    if let DataType::List(_) | DataType::LargeList(_) = column.data_type() {
        let many = cast(column, &Field { kind: FieldType::Keyword, list: true }.data_type())?;
        let many = many.as_list::<i32>();
        let texts = many.values().as_string::<i32>();
        for (row, ends) in many.value_offsets().windows(2).enumerate() {
            let items = (ends[0] as usize..ends[1] as usize).filter(|it| many.is_valid(row) && texts.is_valid(*it));
            append(row, many.is_valid(row), &mut items.map(|it| texts.value(it)));
        }
    } else {
        for (row, text) in as_text(column)?.iter().enumerate() {
            append(row, text.is_some(), &mut text.into_iter());
        }
    }
    Ok(Arc::new(lists.finish()))
}

fn item(text: &str, kind: FieldType) -> Option<Cow<'_, str>> {
    match kind {
        FieldType::Ip => address::canonical(text),
        _ => Some(text.into()),
    }
}

/// The parts of each text; empty ones and `-` are none.
pub(super) fn split(texts: &StringArray, separator: char) -> ArrayRef {
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), texts.len());
    for text in texts {
        let parts = text.into_iter().flat_map(|it| it.split(separator)).map(str::trim);
        parts.filter(|it| !matches!(*it, "" | "-")).for_each(|it| lists.values().append_value(it));
        lists.append(text.is_some());
    }
    Arc::new(lists.finish())
}

//! Columns of a file become what they were declared to be.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, can_cast_types, cast, cast_with_options};
use arrow_schema::DataType;
use forebay_api::shown;

use crate::convert::{self, in_range};
use crate::json::plain;
use crate::types::Type;

/// A value that cannot be converted becomes null.
const NULL_IF_BAD: CastOptions<'static> = CastOptions { safe: true, format_options: FormatOptions::new() };

/// Finds a column of which no value can be of the type.
pub fn check(name: &str, kind: &Type, found: &DataType) -> Result<(), String> {
    if is_direct(found, kind) || !found.is_nested() && can_cast_types(found, &DataType::Utf8) {
        return Ok(());
    }
    Err(format!("column `{name}` holds {found}, of which {} cannot be made", kind.noun()))
}

/// The column, with null where it has this text.
pub fn without(column: &ArrayRef, null: Option<&str>) -> ArrayRef {
    match (column.as_string_opt::<i32>(), null) {
        (Some(texts), Some(null)) => {
            Arc::new(texts.iter().map(|it| it.filter(|it| *it != null)).collect::<StringArray>())
        }
        _ => column.clone(),
    }
}

/// The column `name` as one of this type. A row whose value is not of the type is told to `refuse`.
///
/// # Errors
///
/// If the column was not [`check`]ed, or has more text than a column can.
pub fn column(
    name: &str,
    kind: &Type,
    found: &ArrayRef,
    mut refuse: impl FnMut(usize, String),
) -> Result<ArrayRef, String> {
    if is_direct(found.data_type(), kind) {
        return direct(name, kind, found, &mut refuse);
    }
    let texts = direct(name, &Type::Text, found, &mut refuse)?;
    let mut written = Vec::new();
    let texts = texts.as_string::<i32>();
    let numbers = found.data_type().is_numeric();
    if numbers {
        written.extend(texts.iter().map(|it| {
            let mut scratch = String::new();
            it.map(|it| plain(it, &mut scratch).to_owned())
        }));
    }
    let cell = |row: usize| match numbers {
        true => written[row].as_deref(),
        false => texts.is_valid(row).then(|| texts.value(row)),
    };
    Ok(convert::column(kind, (0..found.len()).map(cell), |row, text| {
        refuse(row, format!("`{name}`: `{}` is not {}", shown(text), kind.noun()));
    }))
}

/// Whether Arrow's cast loses nothing, or says so.
fn is_direct(found: &DataType, kind: &Type) -> bool {
    let wanted = kind.data_type();
    if *found == wanted {
        // An address is text of a certain kind.
        return !matches!(kind, Type::Ip | Type::PercentDecoded);
    }
    match kind {
        Type::Text => matches!(found, DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary),
        Type::F32 | Type::F64 => found.is_numeric(),
        Type::EpochSeconds | Type::EpochMillis | Type::Rfc3339 | Type::Strftime(_) => {
            matches!(found, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
        }
        _ => found.is_integer() && wanted.is_integer(),
    }
}

fn direct(
    name: &str,
    kind: &Type,
    found: &ArrayRef,
    refuse: &mut impl FnMut(usize, String),
) -> Result<ArrayRef, String> {
    let made = cast_with_options(found, &kind.data_type(), &NULL_IF_BAD)
        .map_err(|error| format!("column `{name}` is not {}: {error}", kind.noun()))?;
    // Of a time beyond the years -9999 to 9999 no sink could write what another program reads.
    let made = match made.as_primitive_opt::<TimestampMillisecondType>() {
        Some(times) if !times.iter().flatten().all(|it| in_range(it).is_some()) => {
            let times: PrimitiveArray<TimestampMillisecondType> = times.unary_opt(in_range);
            Arc::new(times.with_data_type(made.data_type().clone()))
        }
        _ => made,
    };
    if made.null_count() != found.null_count() {
        let lost = (0..found.len()).filter(|row| made.is_null(*row) && found.is_valid(*row));
        for row in lost {
            let text = shown_value(found, row);
            refuse(row, format!("`{name}`: `{}` is not {}", shown(&text), kind.noun()));
        }
    }
    Ok(made)
}

/// A value as text; of a time that is too far away for one its number.
fn shown_value(found: &ArrayRef, row: usize) -> String {
    let text = |found: &ArrayRef| {
        let formatter = ArrayFormatter::try_new(found, &NULL_IF_BAD.format_options)?;
        formatter.value(row).try_to_string()
    };
    text(found).or_else(|_| text(&cast(found, &DataType::Int64)?)).unwrap_or_default()
}

/// The column of a row as JSON can hold it: a time that is too far away for a text is its number.
pub fn writable(column: &ArrayRef) -> ArrayRef {
    let is_far = column.data_type().is_temporal()
        && ArrayFormatter::try_new(column, &NULL_IF_BAD.format_options)
            .is_ok_and(|it| it.value(0).try_to_string().is_err());
    match is_far {
        true => cast(column, &DataType::Int64).unwrap_or_else(|_| column.clone()),
        false => column.clone(),
    }
}

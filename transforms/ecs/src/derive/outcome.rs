//! `event.outcome`.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};

/// Failure from 400 on. CloudFront logs 000 where the viewer left before the answer.
pub(crate) fn of_status(fields: &[ArrayRef]) -> ArrayRef {
    outcomes(&fields[0], |_, status| status)
}

/// The same, and every request to which S3 gave an error code failed.
pub(crate) fn of_status_and_code(fields: &[ArrayRef]) -> ArrayRef {
    let codes = &fields[1];
    outcomes(&fields[0], |row, success| success && codes.is_null(row))
}

fn outcomes(statuses: &ArrayRef, succeeds: impl Fn(usize, bool) -> bool) -> ArrayRef {
    let statuses = statuses.as_primitive::<Int64Type>();
    let mut outcomes = StringBuilder::with_capacity(statuses.len(), "success".len() * statuses.len());
    for (row, status) in statuses.iter().enumerate() {
        match status {
            Some(status) if succeeds(row, (1..400).contains(&status)) => outcomes.append_value("success"),
            Some(_) => outcomes.append_value("failure"),
            None => outcomes.append_null(),
        }
    }
    Arc::new(outcomes.finish())
}

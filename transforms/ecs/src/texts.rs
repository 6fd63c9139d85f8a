//! Text columns to text columns. What does not change is not copied: a column in which nothing changes is shared.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, StringArray};

/// What becomes of a text.
pub(crate) enum Change<'a> {
    /// It stays as it is.
    Keep,
    /// A part of it, or a text that is known beforehand, takes its place.
    To(&'a str),
    /// What was written into the buffer takes its place.
    Written,
    /// There is no value.
    Null,
}

impl<'a> Change<'a> {
    /// The text if there is one.
    pub(crate) fn to_option(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::To)
    }
}

/// Applies a change to each text, given with its row. Nulls stay null.
pub(crate) fn changed<'a>(texts: &'a StringArray, mut change: impl FnMut(usize, &'a str) -> Change<'a>) -> ArrayRef {
    rewritten(texts, |row, text, _| change(row, text))
}

/// The same, with an empty buffer for changes that must be written.
pub(crate) fn rewritten<'a>(
    texts: &'a StringArray,
    mut change: impl FnMut(usize, &'a str, &mut String) -> Change<'a>,
) -> ArrayRef {
    let mut buffer = String::new();
    let mut rows = texts.iter().enumerate();
    // Up to the first change there is nothing to build.
    let (same, mut first) = loop {
        match rows.next() {
            None => return Arc::new(texts.clone()),
            Some((_, None)) => {}
            Some((row, Some(text))) => match change(row, text, &mut buffer) {
                Change::Keep => {}
                other => break (row, Some(other)),
            },
        }
    };
    let mut values = StringBuilder::with_capacity(texts.len(), bytes(texts).len());
    values.append_array(&texts.slice(0, same)).expect("a part of an array fits where the array fits");
    for (row, text) in texts.iter().enumerate().skip(same) {
        let Some(text) = text else {
            values.append_null();
            continue;
        };
        let change = first.take().unwrap_or_else(|| {
            buffer.clear();
            change(row, text, &mut buffer)
        });
        match change {
            Change::Keep => values.append_value(text),
            Change::To(other) => values.append_value(other),
            Change::Written => values.append_value(&buffer),
            Change::Null => values.append_null(),
        }
    }
    Arc::new(values.finish())
}

/// The texts of a column that are not null, one behind the other, and perhaps bytes of null ones.
pub(crate) fn bytes(texts: &StringArray) -> &[u8] {
    let ends = texts.value_offsets();
    &texts.value_data()[ends[0] as usize..ends[texts.len()] as usize]
}

/// Whether a byte occurs in a column at all. Many times faster than a look at each text.
pub(crate) fn holds(texts: &StringArray, byte: u8) -> bool {
    memchr::memchr(byte, bytes(texts)).is_some()
}

/// Whether a byte of this kind occurs in a column. Meant for kinds that a processor can test in many bytes at once.
pub(crate) fn holds_any(texts: &StringArray, kind: impl Fn(u8) -> bool) -> bool {
    const AT_ONCE: usize = 256;
    bytes(texts).chunks(AT_ONCE).any(|chunk| chunk.iter().fold(false, |any, byte| any | kind(*byte)))
}

/// What became of texts that were seen before in this column: most columns hold few different ones.
pub(crate) struct Memo<'a> {
    /// A text stands in the slot that its hash says, and gives way to the next one of that slot.
    slots: Vec<Option<(&'a str, Result<String, Unchanged>)>>,
}

/// A text that does not change.
#[derive(Clone, Copy)]
struct Unchanged;

impl<'a> Memo<'a> {
    const SLOTS: usize = 256;

    pub(crate) fn new() -> Self {
        Self { slots: (0..Self::SLOTS).map(|_| None).collect() }
    }

    /// Writes what `make` makes of the text, which it is asked for once for most of those that repeat. `None`: nothing.
    pub(crate) fn write(
        &mut self,
        text: &'a str,
        buffer: &mut String,
        make: impl FnOnce(&'a str) -> Option<String>,
    ) -> Change<'a> {
        let slot = &mut self.slots[Self::slot(text.as_bytes())];
        let made = match slot {
            Some((seen, made)) if *seen == text => made,
            _ => &mut slot.insert((text, make(text).ok_or(Unchanged))).1,
        };
        match made {
            Ok(made) => {
                buffer.push_str(made);
                Change::Written
            }
            Err(Unchanged) => Change::Keep,
        }
    }

    /// Mixes the length and some of the bytes: a wrong guess costs no more than doing the work again.
    fn slot(text: &[u8]) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut hash = text.len() as u64;
        for part in [text.first_chunk(), middle(text), text.last_chunk()].into_iter().flatten() {
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*part)).wrapping_mul(MIX);
        }
        (hash >> 56) as usize % Self::SLOTS
    }
}

fn middle(text: &[u8]) -> Option<&[u8; 8]> {
    text[text.len() / 2..].first_chunk()
}

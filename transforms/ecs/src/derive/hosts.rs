//! Who took part: `related`, and what an address says of the network.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StringArray};
use arrow_buffer::{NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use memchr::memchr;

use crate::texts::{Change, bytes, changed};

/// The field that it follows from, under another name.
pub(crate) fn same(fields: &[ArrayRef]) -> ArrayRef {
    fields[0].clone()
}

pub(crate) fn network_type(addresses: &[ArrayRef]) -> ArrayRef {
    let is_v6 = |it: &str| memchr(b':', it.as_bytes()).is_some();
    changed(addresses[0].as_string(), |_, it| Change::To(if is_v6(it) { "ipv6" } else { "ipv4" }))
}

/// All values of a row, each once, in order. A row without values is null.
pub(crate) fn distinct(fields: &[ArrayRef]) -> ArrayRef {
    let filled: Vec<Texts> = fields.iter().filter(|it| it.null_count() < it.len()).map(Texts::of).collect();
    let rows = fields[0].len();
    if let [Texts::One(texts)] = filled[..]
        && texts.null_count() == 0
    {
        // One text in each row: the column itself holds the items.
        return lists(OffsetBuffer::from_repeated_length(1, rows), Arc::new(texts.clone()), None);
    }
    let length = filled.iter().map(|it| bytes(it.texts()).len()).sum();
    let mut items = StringBuilder::with_capacity(rows * filled.len(), length);
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    let mut valid = NullBufferBuilder::new(rows);
    let mut seen = Seen::default();
    for row in 0..rows {
        let before = items.len();
        seen.clear();
        for column in &filled {
            column.row(row).filter(|it| seen.is_new(it)).for_each(|it| items.append_value(it));
        }
        valid.append(items.len() > before);
        ends.push(items.len() as i32);
    }
    lists(OffsetBuffer::new(ScalarBuffer::from(ends)), Arc::new(items.finish()), valid.finish())
}

fn lists(ends: OffsetBuffer<i32>, items: ArrayRef, valid: Option<NullBuffer>) -> ArrayRef {
    // The name and nullability that Arrow's list builder gives to the items.
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    Arc::new(ListArray::new(item, ends, items, valid))
}

/// A column of text, or of lists of text.
enum Texts<'a> {
    One(&'a StringArray),
    Many(&'a ListArray, &'a StringArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.as_list_opt::<i32>() {
            Some(lists) => Self::Many(lists, lists.values().as_string()),
            None => Self::One(column.as_string()),
        }
    }

    fn texts(&self) -> &'a StringArray {
        match self {
            Self::One(texts) | Self::Many(_, texts) => texts,
        }
    }

    fn row(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let (texts, range) = match self {
            Self::One(texts) => (*texts, row..row + 1),
            Self::Many(lists, texts) => {
                let ends = lists.value_offsets();
                (*texts, ends[row] as usize..ends[row + 1] as usize)
            }
        };
        range.filter(|it| texts.is_valid(*it)).map(|it| texts.value(it))
    }
}

/// The texts of one row. Mostly there are two or three, but a client may send a list of hundreds.
#[derive(Default)]
struct Seen<'a> {
    few: Vec<&'a str>,
    many: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    const FEW: usize = 16;

    fn is_new(&mut self, text: &'a str) -> bool {
        if self.few.len() < Self::FEW {
            let new = !self.few.contains(&text);
            if new {
                self.few.push(text);
            }
            return new;
        }
        !self.few.contains(&text) && self.many.insert(text)
    }

    fn clear(&mut self) {
        self.few.clear();
        if !self.many.is_empty() {
            self.many.clear();
        }
    }
}

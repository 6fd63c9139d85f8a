//! `LowCardinality(String)`: different texts once, and for each row which of them it has.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{ArrowError, DataType};
use xxhash_rust::xxh3::xxh3_64;

/// With more different texts than this in a block, each row's own text is sent: the server starts another dictionary
/// after 8192 (`low_cardinality_max_dictionary_size`), and then there is little left to gain.
const TEXTS_MAX: usize = 1 << 16;

/// Version of the keys: dictionaries may be shared, and keys come with the block.
const KEYS_VERSION: u64 = 1;
/// The block brings its own keys.
const HAS_KEYS: u64 = 1 << 9;
/// The server takes them over into its dictionary.
const UPDATES_DICTIONARY: u64 = 1 << 10;

/// The texts of a column.
pub(super) struct Dictionary<'a> {
    texts: Vec<&'a [u8]>,
    rows: Vec<u32>,
}

impl<'a> Dictionary<'a> {
    /// Collects the texts of all arrays; `None` if there are too many. Where null is a value it is the first text.
    pub(super) fn of(arrays: &'a [ArrayRef], is_nullable: bool) -> Result<Option<Self>, ArrowError> {
        let mut found = Texts::new(is_nullable);
        let mut rows = Vec::with_capacity(arrays.iter().map(Array::len).sum());
        for array in arrays {
            let done = match array.data_type() {
                DataType::Dictionary(_, _) => keys(array, &mut found, &mut rows)?,
                DataType::Binary => each(array.as_binary::<i32>().iter(), &mut found, &mut rows),
                _ => each(array.as_string::<i32>().iter().map(|it| it.map(str::as_bytes)), &mut found, &mut rows),
            };
            if !done {
                return Ok(None);
            }
        }
        Ok(Some(Self { texts: found.texts, rows }))
    }

    /// The same text in each row.
    pub(super) fn constant(text: &'a [u8], rows: usize) -> Self {
        Self { texts: vec![text], rows: vec![0; rows] }
    }

    /// Writes the column's data.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let width = match self.texts.len() {
            0..=0x100 => 0,
            0x101..=0x1_0000 => 1,
            _ => 2_u64,
        };
        out.extend(KEYS_VERSION.to_le_bytes());
        out.extend((width | HAS_KEYS | UPDATES_DICTIONARY).to_le_bytes());
        out.extend((self.texts.len() as u64).to_le_bytes());
        self.texts.iter().for_each(|it| super::bytes(out, it));
        out.extend((self.rows.len() as u64).to_le_bytes());
        match width {
            0 => out.extend(self.rows.iter().map(|it| *it as u8)),
            1 => numbers(out, &self.rows, |it| (it as u16).to_le_bytes()),
            _ => numbers(out, &self.rows, u32::to_le_bytes),
        }
    }
}

/// Each number in so many bytes.
fn numbers<const WIDTH: usize>(out: &mut Vec<u8>, rows: &[u32], bytes: impl Fn(u32) -> [u8; WIDTH]) {
    let start = out.len();
    out.resize(start + rows.len() * WIDTH, 0);
    for (place, row) in out[start..].chunks_exact_mut(WIDTH).zip(rows) {
        place.copy_from_slice(&bytes(*row));
    }
}

/// One by one. `false`: too many.
fn each<'a>(texts: impl Iterator<Item = Option<&'a [u8]>>, found: &mut Texts<'a>, rows: &mut Vec<u32>) -> bool {
    for text in texts {
        rows.push(found.number(text));
        if found.texts.len() > TEXTS_MAX {
            return false;
        }
    }
    true
}

/// From what is a dictionary already: each of its texts is looked at once.
fn keys<'a>(array: &'a ArrayRef, found: &mut Texts<'a>, rows: &mut Vec<u32>) -> Result<bool, ArrowError> {
    let dictionary = array.as_any_dictionary();
    let texts = dictionary.values().as_string::<i32>();
    if texts.is_empty() {
        rows.extend((0..array.len()).map(|_| found.number(None)));
        return Ok(true);
    }
    // A text that no row has is not sent.
    let mut numbers = vec![None; texts.len()];
    let keys = dictionary.normalized_keys();
    let has_nulls = array.logical_null_count() > 0;
    for (row, key) in keys.into_iter().enumerate() {
        if has_nulls && (dictionary.keys().is_null(row) || texts.is_null(key)) {
            rows.push(found.number(None));
            continue;
        }
        let number = *numbers[key].get_or_insert_with(|| found.number(Some(texts.value(key).as_bytes())));
        rows.push(number);
    }
    Ok(found.texts.len() <= TEXTS_MAX)
}

/// Texts by their number, and a table to find them by: open addressing, at most half full.
struct Texts<'a> {
    texts: Vec<&'a [u8]>,
    /// Numbers from 1; 0 is a free place. As many as a power of two.
    places: Vec<u32>,
    hashes: Vec<u64>,
    is_nullable: bool,
    /// The number of the empty text, which has no place: an empty slice points nowhere, and to compare what is there costs a
    /// processor with AVX-512 a fault that it keeps to itself, hundreds of cycles for each row.
    empty: Option<u32>,
}

impl<'a> Texts<'a> {
    fn new(is_nullable: bool) -> Self {
        let mut new = Self { texts: Vec::new(), places: vec![0; 64], hashes: Vec::new(), is_nullable, empty: None };
        if is_nullable {
            // The empty text is another one.
            new.push(b"", 0);
        }
        new
    }

    fn push(&mut self, text: &'a [u8], hash: u64) -> u32 {
        self.texts.push(text);
        self.hashes.push(hash);
        self.texts.len() as u32 - 1
    }

    fn number(&mut self, text: Option<&'a [u8]>) -> u32 {
        let text = match text {
            Some(text) => text,
            None if self.is_nullable => return 0,
            None => b"",
        };
        if text.is_empty() {
            let number = self.empty.unwrap_or_else(|| self.push(text, 0));
            self.empty = Some(number);
            return number;
        }
        let hash = xxh3_64(text);
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != 0 {
            let number = self.places[place] - 1;
            if self.hashes[number as usize] == hash && self.texts[number as usize] == text {
                return number;
            }
            place = (place + 1) & mask;
        }
        let number = self.push(text, hash);
        self.places[place] = number + 1;
        if self.texts.len() * 2 > self.places.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let mask = self.places.len() * 2 - 1;
        self.places = vec![0; mask + 1];
        for number in (0..self.texts.len()).filter(|it| !self.texts[*it].is_empty()) {
            let mut place = self.hashes[number] as usize & mask;
            while self.places[place] != 0 {
                place = (place + 1) & mask;
            }
            self.places[place] = number as u32 + 1;
        }
    }
}

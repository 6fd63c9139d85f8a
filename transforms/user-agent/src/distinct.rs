//! The different texts of a column.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowDictionaryKeyType;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, PrimitiveArray, StringArray, UInt32Array, downcast_integer,
};
use arrow_buffer::ArrowNativeType;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;

/// Whether a column of this type holds text.
pub(crate) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The type of texts that are made of the texts of a column of this type, row by row.
pub(crate) fn like(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(keys, _) => DataType::Dictionary(keys.clone(), Box::new(DataType::Utf8)),
        _ => DataType::Utf8,
    }
}

/// The different texts of a column, each where it first stands in `texts`, and which of them each row has.
pub(crate) struct Distinct {
    texts: StringArray,
    firsts: Vec<usize>,
    rows: UInt32Array,
}

impl Distinct {
    /// Of a column that [`is_text`].
    pub(crate) fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        match column.as_any_dictionary_opt() {
            Some(dictionary) => {
                let texts = cast(dictionary.values(), &DataType::Utf8)?.as_string::<i32>().clone();
                // Without values there are no keys to speak of.
                let keys = if texts.is_empty() { vec![0; column.len()] } else { dictionary.normalized_keys() };
                Ok(Self::by_key(texts, column.as_ref(), &keys))
            }
            None => Ok(Self::by_text(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())),
        }
    }

    /// The values of a dictionary that rows point at. A slice of many rows has all the values of the many.
    fn by_key(texts: StringArray, column: &dyn Array, keys: &[usize]) -> Self {
        let mut numbers: Vec<Option<u32>> = vec![None; texts.len()];
        let mut firsts = Vec::new();
        let rows = keys.iter().enumerate().map(|(row, key)| {
            if column.is_null(row) || texts.is_null(*key) {
                return None;
            }
            let number = *numbers[*key].get_or_insert(firsts.len() as u32);
            if number as usize == firsts.len() {
                firsts.push(*key);
            }
            Some(number)
        });
        let rows = rows.collect();
        Self { texts, firsts, rows }
    }

    fn by_text(texts: StringArray) -> Self {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut firsts = Vec::new();
        let rows = texts.iter().enumerate().map(|(row, text)| {
            let number = *numbers.entry(text?).or_insert(firsts.len() as u32);
            if number as usize == firsts.len() {
                firsts.push(row);
            }
            Some(number)
        });
        let rows = rows.collect();
        Self { texts, firsts, rows }
    }

    /// Each text once.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.firsts.iter().map(|it| self.texts.value(*it))
    }

    /// A column of what belongs to the texts, one value for each of [`Distinct::texts`]; null where there is none.
    pub(crate) fn spread(&self, values: &dyn Array) -> Result<ArrayRef, ArrowError> {
        take(values, &self.rows, None)
    }

    /// The same for texts, as a column of this type: Utf8, or a dictionary of that.
    pub(crate) fn spread_texts<'a>(
        &self,
        values: impl Iterator<Item = Option<&'a str>>,
        kind: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        macro_rules! dictionary {
            ($key:ty) => {
                self.dictionary::<$key>(values)
            };
        }
        match kind {
            DataType::Dictionary(key, _) => downcast_integer! {
                key.as_ref() => (dictionary),
                _ => Err(ArrowError::DictionaryKeyOverflowError),
            },
            _ => self.spread(&values.collect::<StringArray>()),
        }
    }

    /// There are no more different values than there were texts, so their numbers fit into the keys.
    fn dictionary<'a, K: ArrowDictionaryKeyType>(
        &self,
        values: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut keys: HashMap<&str, usize> = HashMap::new();
        let mut texts = Vec::new();
        let key_of_each = values.map(|text| {
            let key = *keys.entry(text?).or_insert(texts.len());
            if key == texts.len() {
                texts.push(text);
            }
            <K as ArrowPrimitiveType>::Native::from_usize(key)
        });
        let key_of_each: PrimitiveArray<K> = key_of_each.collect();
        let keys = self.spread(&key_of_each)?.as_primitive::<K>().clone();
        let texts = texts.into_iter().collect::<StringArray>();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(texts))?))
    }
}

//! Texts become a typed column.
//!
//! [`Builder`] is for texts that are pieces of one larger text, such as the fields of lines: they are read where they
//! stand. [`column()`] is for texts from anywhere.

mod address;
mod nulls;
#[cfg(test)]
mod tests;
mod texts;
mod times;

use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use memchr::memchr;
use percent_encoding::percent_decode;

use self::nulls::Bits;
use self::texts::Texts;
use self::times::Layout;
use crate::number::{fixed_point_bytes, whole};
use crate::types::{DECIMAL_DIGITS, Type};

/// Where the text of a cell stands in a larger text: a range of bytes, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    start: u32,
    end: u32,
}

impl Cell {
    /// There is no text.
    pub const NOWHERE: Self = Self { start: u32::MAX, end: u32::MAX };

    /// The bytes from `start` to before `end`. The larger text has less than 2 GiB, as all texts of an Arrow array have
    /// together.
    #[inline]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The same text in a text before which there are so many more bytes.
    #[inline]
    #[must_use]
    pub fn moved(self, by: usize) -> Self {
        match self {
            Self::NOWHERE => self,
            Self { start, end } => Self { start: start + by as u32, end: end + by as u32 },
        }
    }

    /// How many bytes these are; of none 0.
    #[inline]
    pub fn bytes(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes themselves.
    #[inline]
    pub fn of(self, text: &[u8]) -> Option<&[u8]> {
        text.get(self.start as usize..self.end as usize)
    }
}

/// Builds the column. A text that is not of the type becomes null and is told to `refuse`, with its number.
pub fn column<'a>(
    kind: &Type,
    texts: impl Iterator<Item = Option<&'a str>>,
    mut refuse: impl FnMut(usize, &str),
) -> ArrayRef {
    let mut all = String::new();
    let cells: Vec<Cell> = texts
        .map(|text| {
            let start = all.len();
            all.push_str(text?);
            Some(Cell::new(start, all.len()))
        })
        .map(|it| it.unwrap_or(Cell::NOWHERE))
        .collect();
    let mut builder = Builder::new(kind, None, cells.len(), all.len());
    builder.extend(all.as_bytes(), &cells, |nth| {
        let cell = cells[nth];
        refuse(nth, &all[cell.start as usize..cell.end as usize]);
    });
    builder.finish()
}

/// Builds a column of a type, piece by piece.
pub struct Builder {
    kind: Type,
    null: Option<Box<[u8]>>,
    /// Which rows hold a value.
    valid: Bits,
    values: Values,
}

enum Values {
    Text(Texts),
    Bool(Bits),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Decimal(Vec<i128>),
    Millis(Vec<i64>, Option<Layout>),
}

impl Builder {
    /// For about so many rows, with so many bytes of text together. A cell that holds `null` is null.
    pub fn new(kind: &Type, null: Option<&str>, rows: usize, bytes: usize) -> Self {
        let values = match kind {
            Type::Text | Type::PercentDecoded | Type::Ip => Values::Text(Texts::with_capacity(rows, bytes)),
            Type::Bool => Values::Bool(Bits::with_capacity(rows)),
            Type::I8 => Values::I8(Vec::with_capacity(rows)),
            Type::I16 => Values::I16(Vec::with_capacity(rows)),
            Type::I32 => Values::I32(Vec::with_capacity(rows)),
            Type::I64 => Values::I64(Vec::with_capacity(rows)),
            Type::U8 => Values::U8(Vec::with_capacity(rows)),
            Type::U16 => Values::U16(Vec::with_capacity(rows)),
            Type::U32 => Values::U32(Vec::with_capacity(rows)),
            Type::U64 => Values::U64(Vec::with_capacity(rows)),
            Type::F32 => Values::F32(Vec::with_capacity(rows)),
            Type::F64 => Values::F64(Vec::with_capacity(rows)),
            Type::Decimal(_) => Values::Decimal(Vec::with_capacity(rows)),
            Type::EpochSeconds | Type::EpochMillis | Type::Rfc3339 => Values::Millis(Vec::with_capacity(rows), None),
            Type::Strftime(format) => Values::Millis(Vec::with_capacity(rows), Layout::new(format)),
        };
        let null = null.map(|it| it.as_bytes().into());
        Self { kind: kind.clone(), null, valid: Bits::with_capacity(rows), values }
    }

    /// Adds a row for each cell, which is a piece of `text`. A cell that is not of the type becomes null, and its
    /// number among these cells is told to `refuse`.
    ///
    /// # Panics
    ///
    /// [`Builder::finish`] does, if a cell of text is not UTF-8, for example half a character.
    pub fn extend(&mut self, text: &[u8], cells: &[Cell], mut refuse: impl FnMut(usize)) {
        let mut rows = Rows { text, null: self.null.as_deref(), cells, valid: &mut self.valid, refuse: &mut refuse };
        match (&mut self.values, &self.kind) {
            (Values::Text(to), Type::PercentDecoded) => rows.texts(to, percent_decoded),
            (Values::Text(to), Type::Ip) => rows.texts(to, ip),
            (Values::Text(to), _) => rows.texts(to, |_| Some(Text::Same)),
            (Values::Bool(to), _) => rows.bools(to),
            (Values::I8(to), _) => rows.read(to, whole),
            (Values::I16(to), _) => rows.read(to, whole),
            (Values::I32(to), _) => rows.read(to, whole),
            (Values::I64(to), _) => rows.read(to, whole),
            (Values::U8(to), _) => rows.read(to, whole),
            (Values::U16(to), _) => rows.read(to, whole),
            (Values::U32(to), _) => rows.read(to, whole),
            (Values::U64(to), _) => rows.read(to, whole),
            (Values::F32(to), _) => rows.read(to, |it| plain(it)?.parse().ok().filter(|it: &f32| it.is_finite())),
            (Values::F64(to), _) => rows.read(to, |it| plain(it)?.parse().ok().filter(|it: &f64| it.is_finite())),
            (Values::Decimal(to), Type::Decimal(digits)) => {
                rows.read(to, |it| decimal(it, *digits).map(i128::from));
            }
            (Values::Millis(to, _), Type::EpochSeconds) => rows.read(to, epoch_seconds),
            (Values::Millis(to, _), Type::EpochMillis) => rows.read(to, |it| in_range(whole(it)?)),
            (Values::Millis(to, layout), Type::Strftime(format)) => rows.read(to, |it| {
                let usual = layout.as_ref().and_then(|layout| layout.millis(it));
                usual.or_else(|| strftime(format, plain(it)?))
            }),
            (Values::Millis(to, _), _) => rows.read(to, |it| times::rfc3339(it).or_else(|| rfc3339(plain(it)?))),
            (Values::Decimal(_), _) => unreachable!("decimals are built for decimal types only"),
        }
    }

    /// The bytes of text so far; for other types 0. What the next builder of the same column may well need, too.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Text(texts) => texts.bytes(),
            _ => 0,
        }
    }

    /// Gives the column.
    pub fn finish(self) -> ArrayRef {
        let nulls = self.valid.finish_as_nulls();
        let kind = self.kind.data_type();
        match self.values {
            Values::Text(texts) => texts.finish(nulls),
            Values::Bool(bits) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            Values::I8(values) => primitive::<Int8Type>(values, nulls, kind),
            Values::I16(values) => primitive::<Int16Type>(values, nulls, kind),
            Values::I32(values) => primitive::<Int32Type>(values, nulls, kind),
            Values::I64(values) => primitive::<Int64Type>(values, nulls, kind),
            Values::U8(values) => primitive::<UInt8Type>(values, nulls, kind),
            Values::U16(values) => primitive::<UInt16Type>(values, nulls, kind),
            Values::U32(values) => primitive::<UInt32Type>(values, nulls, kind),
            Values::U64(values) => primitive::<UInt64Type>(values, nulls, kind),
            Values::F32(values) => primitive::<Float32Type>(values, nulls, kind),
            Values::F64(values) => primitive::<Float64Type>(values, nulls, kind),
            Values::Decimal(values) => primitive::<Decimal128Type>(values, nulls, kind),
            Values::Millis(values, _) => primitive::<TimestampMillisecondType>(values, nulls, kind),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>, kind: DataType) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(kind))
}

/// The rows that are being added.
struct Rows<'a> {
    text: &'a [u8],
    null: Option<&'a [u8]>,
    cells: &'a [Cell],
    valid: &'a mut Bits,
    refuse: &'a mut dyn FnMut(usize),
}

/// What a text becomes.
enum Text {
    /// It stays as it is.
    Same,
    /// Another text.
    Other(String),
}

impl Rows<'_> {
    /// Reads one value after the other. For a null there is a value too, of which nothing will be seen. One cell in many
    /// rows is read once.
    fn read<T: Copy + Default>(&mut self, to: &mut Vec<T>, read: impl Fn(&[u8]) -> Option<T>) {
        let mut last = (Cell::NOWHERE, T::default());
        for (nth, cells) in self.cells.chunks(64).enumerate() {
            let mut valid = 0;
            to.extend(cells.iter().enumerate().map(|(row, cell)| {
                let Some(text) = value(self.text, self.null, *cell) else { return T::default() };
                if *cell != last.0 {
                    let Some(value) = read(text) else {
                        (self.refuse)(nth * 64 + row);
                        return T::default();
                    };
                    last = (*cell, value);
                }
                valid |= 1 << row;
                last.1
            }));
            self.valid.append(valid, cells.len());
        }
    }

    fn bools(&mut self, to: &mut Bits) {
        let mut values = Vec::with_capacity(self.cells.len());
        self.read(&mut values, |it| plain(it)?.parse::<bool>().ok());
        for values in values.chunks(64) {
            let bits = values.iter().rev().fold(0, |bits, it| bits << 1 | u64::from(*it));
            to.append(bits, values.len());
        }
    }

    fn texts(&mut self, to: &mut Texts, read: impl Fn(&[u8]) -> Option<Text>) {
        let mut same = Cell::NOWHERE;
        for (nth, cells) in self.cells.chunks(64).enumerate() {
            let mut valid = 0;
            for (row, cell) in cells.iter().enumerate() {
                let Some(text) = value(self.text, self.null, *cell) else {
                    to.append_null();
                    continue;
                };
                let read = if *cell == same { Some(Text::Same) } else { read(text) };
                match read {
                    Some(Text::Same) => {
                        same = *cell;
                        to.append_piece(self.text, cell.start as usize, cell.end as usize);
                    }
                    Some(Text::Other(text)) => to.append(text.as_bytes()),
                    None => {
                        to.append_null();
                        (self.refuse)(nth * 64 + row);
                        continue;
                    }
                }
                valid |= 1 << row;
            }
            self.valid.append(valid, cells.len());
        }
    }
}

/// The text of a cell that is not null.
#[inline]
fn value<'a>(text: &'a [u8], null: Option<&[u8]>, cell: Cell) -> Option<&'a [u8]> {
    let value = cell.of(text)?;
    let is_null = match (value, null) {
        (_, None) => false,
        ([value], Some([null])) => value == null,
        (_, Some(null)) => value == null,
    };
    (!is_null).then_some(value)
}

/// Of text that is no number: `None`. A piece that is cut at a character is told when the column is finished.
fn plain(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

fn percent_decoded(text: &[u8]) -> Option<Text> {
    match memchr(b'%', text) {
        None => Some(Text::Same),
        Some(_) => percent_decode(text).decode_utf8().ok().map(|it| Text::Other(it.into_owned())),
    }
}

fn ip(text: &[u8]) -> Option<Text> {
    if address::is_canonical(text) {
        return Some(Text::Same);
    }
    plain(text)?.parse::<IpAddr>().ok().map(|it| Text::Other(it.to_string()))
}

/// The number in units of its last digit: `-12.5` with 3 digits is -12,500. `None` if that would lose a digit.
fn decimal(text: &[u8], digits: u8) -> Option<i64> {
    const LIMIT: u64 = 10_u64.pow(DECIMAL_DIGITS as u32);
    let (value, rest) = fixed_point_bytes(text, digits)?;
    (value.unsigned_abs() < LIMIT && rest.iter().all(|it| *it == b'0')).then_some(value)
}

/// Seconds with an optional fraction as milliseconds.
fn epoch_seconds(text: &[u8]) -> Option<i64> {
    let (millis, _finer) = fixed_point_bytes(text, 3)?;
    in_range(millis)
}

/// Milliseconds since 1970, if that is a time of the years -9999 to 9999. Finds seconds and milliseconds mixed up.
pub(crate) fn in_range(millis: i64) -> Option<i64> {
    Timestamp::from_millisecond(millis).ok().map(|_| millis)
}

fn rfc3339(text: &str) -> Option<i64> {
    Some(text.parse::<Timestamp>().ok()?.as_millisecond())
}

/// A time in a format of strftime, in UTC unless the text says otherwise, in milliseconds since 1970.
pub fn strftime(format: &str, text: &str) -> Option<i64> {
    let parts = strtime::parse(format, text).ok()?;
    let time = match (parts.timestamp(), parts.offset()) {
        (None, None) => TimeZone::UTC.to_timestamp(parts.to_datetime().ok()?),
        _ => parts.to_timestamp(),
    };
    time.ok().map(|it| it.as_millisecond())
}

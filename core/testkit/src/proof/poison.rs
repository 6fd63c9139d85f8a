//! Rows that are wrong, each in its own way, and by whom they are to be refused.

use std::fmt::Write as _;

use crate::oracle::Oracle;

/// Of so many rows one is wrong in each of the ways of [`KINDS`].
pub const RARITY: u64 = 10_000;

/// How far two rows that are wrong are from each other, at least.
const DISTANCE: u64 = 1_000;

/// Every way in which a row can be wrong.
pub const KINDS: [Poison; 7] = [
    Poison::NoText,
    Poison::LongText,
    Poison::NumberTooLarge,
    Poison::TooLargeForColumn,
    Poison::OneColumnMore,
    Poison::AgainstConstraint,
    Poison::OverlongText,
];

/// What [`Poison::LongText`] has at its end, in bytes.
const LONG: usize = 10_000;

/// The columns of a line by their numbers, so far as something is done to them.
const STATUS: usize = 4;
const BYTES: usize = 5;

/// How a row is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Poison {
    /// It has a byte that is in no UTF-8: refused by the source.
    NoText,
    /// It has a character in more bytes than that takes, which is no UTF-8 either: refused by the source.
    OverlongText,
    /// It goes on for ten thousand bytes more: refused by the transform.
    LongText,
    /// It has a column too many: refused by the transform.
    OneColumnMore,
    /// A number is larger than the type that the transform gives it.
    NumberTooLarge,
    /// A number is larger than the column of the table: refused by the sink, and well in Parquet.
    TooLargeForColumn,
    /// A number is against a `CONSTRAINT` of the table: refused by the server, and well in Parquet.
    AgainstConstraint,
}

impl Poison {
    /// How the row of this id is wrong, if it is.
    pub fn of(id: u64) -> Option<Self> {
        let nth = id % RARITY / DISTANCE;
        KINDS.get(nth as usize).copied().filter(|_| id % DISTANCE == DISTANCE - 1)
    }

    /// Whether it is the table that does not take it, and nothing before.
    pub fn is_of_table(self) -> bool {
        matches!(self, Self::TooLargeForColumn | Self::AgainstConstraint)
    }

    /// The line with what is wrong about it.
    pub fn spoil(self, line: &str) -> Vec<u8> {
        match self {
            Self::NoText => [line.as_bytes(), b"\xff"].concat(),
            Self::OverlongText => [line.as_bytes(), b"\xc0\xaf"].concat(),
            Self::LongText => [line.as_bytes(), b"\t", "long ".repeat(LONG / 5).as_bytes()].concat(),
            Self::OneColumnMore => [line.as_bytes(), b"\tone column too many"].concat(),
            Self::NumberTooLarge => larger(line, STATUS, 70_000).into_bytes(),
            Self::TooLargeForColumn => larger(line, BYTES, 5_000_000_000).into_bytes(),
            Self::AgainstConstraint => larger(line, STATUS, 1_000).into_bytes(),
        }
    }

    /// The component that is to refuse it, how its letter holds the row, and words that the reason has.
    pub(super) fn letter(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NoText => ("logs", "base64", "it is not UTF-8: byte "),
            Self::OverlongText => ("logs", "base64", "is 0xc0"),
            Self::LongText | Self::OneColumnMore => ("parse", "text", "does not match the pattern"),
            Self::NumberTooLarge => ("parse", "text", "status"),
            Self::TooLargeForColumn => ("warehouse", "json", "bytes"),
            Self::AgainstConstraint => ("warehouse", "json", "status_is_one"),
        }
    }
}

/// The row of an id, as it is put.
pub fn row(oracle: &Oracle, id: u64) -> Vec<u8> {
    let line = oracle.line(id);
    match Poison::of(id) {
        Some(poison) => poison.spoil(&line),
        None => line.into_bytes(),
    }
}

/// The line with a larger number in one of its columns.
fn larger(line: &str, column: usize, by: u64) -> String {
    let mut larger = String::with_capacity(line.len() + 10);
    for (nth, field) in line.split('\t').enumerate() {
        larger.push_str(if nth == 0 { "" } else { "\t" });
        match field.parse::<u64>() {
            Ok(number) if nth == column => write!(larger, "{}", number + by).expect("a string takes everything"),
            _ => larger.push_str(field),
        }
    }
    larger
}

/// How many rows are due in each place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// In the table.
    pub table: u64,
    /// In Parquet.
    pub lake: u64,
    /// In the dead letters.
    pub letters: u64,
}

impl Due {
    /// How many of the ids that were handed out are due in each place.
    pub fn of(oracle: &Oracle) -> Self {
        let mut due = Self::default();
        for id in 0..oracle.claimed() {
            let poison = Poison::of(id);
            due.table += u64::from(poison.is_none());
            due.lake += u64::from(poison.is_none_or(Poison::is_of_table));
            due.letters += u64::from(poison.is_some());
        }
        due
    }
}

//! Which rows go into one INSERT, what it is called, and what to do about one that may have been made before. Pure.
//!
//! ClickHouse deduplicates by block: an INSERT under a token that it has seen leaves the table as it is, whatever rows
//! come with it. So the same token must always mean the same rows, and the same rows must always come under the same
//! token. Here a token names a table, a delivery and a range of its rows for that table, and ranges are cut by row numbers
//! alone: a delivery is a sequence of [`CHUNK_ROWS`] rows each, and a range of which the server will not take some row is
//! halved until that row is alone. However the rows were cut into batches, and whatever was done before, the same ranges
//! come out.
//!
//! The server forgets tokens: after so many blocks, after an hour. The name of the INSERT therefore stands in each row,
//! in a column of its own, and what may have been forgotten is looked up there before it is sent again.

use std::fmt;

use forebay_api::DeliveryId;
use xxhash_rust::xxh3::Xxh3;

/// The rows of one INSERT: fewer than `max_insert_block_size` (1,048,449 by default), above which the server would cut
/// by itself. This number is part of what tokens mean: with another one, a delivery that was begun by an older program
/// would be cut otherwise.
pub(crate) const CHUNK_ROWS: u64 = 1_000_000;

/// Rows of a delivery by their number, the last one excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Range {
    /// The chunks of so many rows.
    pub(crate) fn chunks(rows: u64) -> impl DoubleEndedIterator<Item = Self> {
        (0..rows.div_ceil(CHUNK_ROWS))
            .map(move |nth| Self { from: nth * CHUNK_ROWS, to: ((nth + 1) * CHUNK_ROWS).min(rows) })
    }

    pub(crate) fn rows(self) -> u64 {
        self.to - self.from
    }

    /// The two halves, or nothing if it is a single row.
    pub(crate) fn halves(self) -> Option<[Self; 2]> {
        let middle = self.from + self.rows() / 2;
        (self.rows() > 1).then_some([Self { to: middle, ..self }, Self { from: middle, ..self }])
    }

    pub(crate) fn holds(self, row: u64) -> bool {
        self.from <= row && row < self.to
    }

    /// The row, from 0, of those that are left if these are taken out, in their order.
    pub(crate) fn nth(self, nth: u64, without: impl Iterator<Item = u64>) -> u64 {
        without.fold(self.from + nth, |row, out| row + u64::from(out <= row))
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

/// What an INSERT into a table is called: what stands in its rows, and, with the table's name, its deduplication token and
/// its query id.
///
/// Rows that do not fit the table's columns are left out, which is part of the name: if the columns change, so that
/// other rows fit, the same range holds other rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Names a range of a delivery without these of its rows.
    pub(crate) fn new(id: &DeliveryId, range: Range, without: &[u64]) -> Self {
        if without.is_empty() {
            return Self(format!("{id}-{range}"));
        }
        let mut hasher = Xxh3::new();
        without.iter().for_each(|it| hasher.update(&it.to_le_bytes()));
        Self(format!("{id}-{range}-{:016x}", hasher.digest()))
    }

    /// How the names of all INSERTs of a delivery begin.
    pub(crate) fn beginning(id: &DeliveryId) -> String {
        format!("{id}-")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The range that a name from the table is about; `None` if it is no such name.
    fn range_of(text: &str) -> Option<Range> {
        let mut parts = text.split('-').skip(1);
        let (from, to) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Range { from, to })
    }
}

/// An INSERT of a delivery that has left rows in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is called.
    pub(crate) name: String,
    /// How many of its rows are there.
    pub(crate) rows: u64,
    /// In so many partitions.
    pub(crate) partitions: u64,
}

/// What to do about a range that may be in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing of it is there: send it.
    Send,
    /// It is there.
    Done,
    /// Some of it is: each partition is inserted whole or not at all, so those are to be sent that have nothing.
    Complete,
    /// It was halved before, and parts of it are there.
    Halve,
    /// What is there under this name does not go together with it.
    Unclear(String),
}

/// Decides about a range of which so many rows are to be sent, by what the table has of the delivery.
pub(crate) fn next(range: Range, name: &Name, rows: u64, found: &[Found]) -> Next {
    let mut next = Next::Send;
    for it in found {
        let Some(other) = Name::range_of(&it.name) else { continue };
        if it.name == name.0 {
            return if it.rows >= rows { Next::Done } else { Next::Complete };
        }
        if other == range || range.overlaps(other) && !range.contains(other) {
            return Next::Unclear(it.name.clone());
        }
        if range.contains(other) {
            next = Next::Halve;
        }
    }
    next
}

/// Whether [`next`] says [`Next::Halve`] of a range, whatever its INSERT is called.
pub(crate) fn was_halved(range: Range, found: &[Found]) -> bool {
    let others = || found.iter().filter_map(|it| Name::range_of(&it.name)).filter(|it| it.overlaps(range));
    others().all(|it| range.contains(it) && it != range) && others().next().is_some()
}

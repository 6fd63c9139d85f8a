//! Lines whose fields are separated by single bytes, as those of CloudFront are by tabs: the shortest way through them.
//!
//! A scanner looks for the end of each field in turn. Where all fields end at one of the same few bytes, all their
//! places in a line can be found at once, 64 bytes at a time, with a few instructions that compare 16 bytes each.

use forebay_codec::convert::Cell;

use crate::lower::{Program, Step};
use crate::matcher::ROWS;
use crate::set::ByteSet;

/// Finds the fields of lines that are as simple as nearly all are. What it does not find may still match.
pub(crate) struct Separated {
    stops: Stops,
    /// All fields but the last one.
    fields: Box<[Field]>,
    last: Field,
    /// For each field its group, if it is one.
    groups: Box<[Option<usize>]>,
}

#[derive(Clone, Copy)]
struct Field {
    /// So many bytes at least.
    min: u32,
    /// Where its cells begin among those of a block.
    to: u32,
    /// The byte behind it. Behind the last field the line ends.
    delimiter: u8,
}

/// The bytes that end a field: exactly those outside of all classes, or some more.
#[derive(Clone, Copy)]
enum Stops {
    One(u8),
    Two(u8, u8),
    /// All control characters up to this one.
    UpTo(u8),
}

impl Separated {
    /// For a program that is fields with a byte between each two. `None` if it is anything else.
    ///
    /// Every byte that is not in the class of some field must be a stop. If a line has no other stops than those
    /// delimiters, in their order, then each field is bytes of its class up to its delimiter, which is not in the class:
    /// so the program matches, with these fields.
    pub fn new(program: &Program) -> Option<Self> {
        let mut fields: Vec<Field> = Vec::new();
        let mut groups = Vec::new();
        let mut stops = ByteSet::EMPTY;
        let mut steps = program.steps.iter().peekable();
        loop {
            let (group, set, min) = match steps.next()? {
                Step::Bytes { set, min, max: None } => (None, set, *min),
                Step::Group { index, steps } => match &steps[..] {
                    [Step::Bytes { set, min, max: None }] => (Some(*index), set, *min),
                    _ => return None,
                },
                _ => return None,
            };
            if set.mixed {
                return None;
            }
            set.outside().for_each(|it| stops.add(it));
            groups.push(group);
            let mut field = Field { min, to: 0, delimiter: 0 };
            match steps.peek() {
                Some(Step::Literal(literal)) => match &literal[..] {
                    [delimiter] if !set.contains(*delimiter) => {
                        field.delimiter = *delimiter;
                        fields.push(field);
                        steps.next();
                    }
                    _ => return None,
                },
                _ => {
                    let is_complete = !fields.is_empty() && steps.all(can_be_empty_at_end);
                    let stops = Stops::new(&stops)?;
                    return is_complete.then(|| Self {
                        stops,
                        fields: fields.into(),
                        last: field,
                        groups: groups.into(),
                    });
                }
            }
        }
    }

    /// Says where the cells of each group begin among those of a block.
    pub fn direct(&mut self, to: impl Fn(Option<usize>) -> usize) {
        for (field, group) in self.fields.iter_mut().chain([&mut self.last]).zip(&self.groups) {
            field.to = to(*group) as u32;
        }
    }

    /// Whether the group is one of the fields.
    pub fn places(&self, group: usize) -> bool {
        self.groups.contains(&Some(group))
    }

    /// Finds the fields of the line from `start` to before `end`, and writes the cells of row `row` of the block.
    /// If it gives `false`, they are not all written, and the line may match or not.
    pub fn find(&self, text: &[u8], start: usize, end: usize, row: usize, cells: &mut [Cell]) -> bool {
        assert!(row < ROWS, "a block has {ROWS} rows");
        match self.stops {
            Stops::One(one) => self.find_with(text, start, end, row, cells, |it| it == one),
            Stops::Two(one, two) => self.find_with(text, start, end, row, cells, |it| it == one || it == two),
            Stops::UpTo(last) => self.find_with(text, start, end, row, cells, |it| it <= last),
        }
    }

    #[inline(always)]
    fn find_with(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        row: usize,
        cells: &mut [Cell],
        stops: impl Fn(u8) -> bool,
    ) -> bool {
        let mut fields = self.fields.iter();
        let mut field_start = start;
        // Takes the stops of a chunk that begins at `at`. Whether each is the delimiter of the field whose turn it is.
        let mut take = |chunk: &[u8; 64], mut found: u64, at: usize| {
            while found != 0 {
                let nth = found.trailing_zeros() as usize;
                found &= found - 1;
                let Some(field) = fields.next() else { return false };
                let stop = at + nth;
                if chunk[nth % 64] != field.delimiter || stop - field_start < field.min as usize {
                    return false;
                }
                cells[field.to as usize + row] = Cell::new(field_start, stop);
                field_start = stop + 1;
            }
            true
        };
        let (chunks, rest) = text[start..end].as_chunks();
        let mut at = start;
        for chunk in chunks {
            if !take(chunk, positions(chunk, &stops), at) {
                return false;
            }
            at += chunk.len();
        }
        let mut chunk = [0; 64];
        chunk[..rest.len()].copy_from_slice(rest);
        // The zeros behind the line are none of its stops.
        let is_rest = (1 << rest.len()) - 1;
        if !take(&chunk, positions(&chunk, &stops) & is_rest, at)
            || !fields.as_slice().is_empty()
            || end - field_start < self.last.min as usize
        {
            return false;
        }
        cells[self.last.to as usize + row] = Cell::new(field_start, end);
        true
    }
}

/// Whether a step matches at the end of a line, and finds no group there.
fn can_be_empty_at_end(step: &Step) -> bool {
    match step {
        Step::Literal(literal) => literal.is_empty(),
        Step::Bytes { min, .. } => *min == 0,
        Step::Choice { otherwise: Some(steps), .. } => steps.iter().all(can_be_empty_at_end),
        Step::Choice { otherwise: None, .. } | Step::Group { .. } | Step::Piece(_) => false,
        Step::End => true,
    }
}

impl Stops {
    fn new(set: &ByteSet) -> Option<Self> {
        let bytes: Vec<u8> = set.inside().collect();
        match bytes[..] {
            [one] => Some(Self::One(one)),
            [one, two] => Some(Self::Two(one, two)),
            // Other control characters than the delimiter are rare, and only cost a second look.
            [.., last] if last < b' ' => Some(Self::UpTo(last)),
            _ => None,
        }
    }
}

/// The bytes that are stops, the first one in the lowest bit.
#[inline(always)]
fn positions(chunk: &[u8; 64], stops: impl Fn(u8) -> bool) -> u64 {
    /// For each byte the bit that it will be, before the square of 8 by 8 bits is turned.
    const BITS: [u8; 64] = {
        let mut bits = [0; 64];
        let mut nth = 0;
        while nth < 64 {
            bits[nth] = 1 << (nth / 8);
            nth += 1;
        }
        bits
    };
    // The compiler makes this loop compare 16 bytes at a time. It does not know of the instruction that gathers one bit
    // of each byte; so eight words of eight bytes, of which each uses another bit, are laid on each other.
    let mut flags = [0; 64];
    for nth in 0..64 {
        flags[nth] = if stops(chunk[nth]) { BITS[nth] } else { 0 };
    }
    let (words, _) = flags.as_chunks();
    let square = words.iter().fold(0, |square, word| square | u64::from_le_bytes(*word));
    turned(square)
}

/// Swaps rows and columns of a square of 8 by 8 bits: of single bits, then of squares of 2 by 2, then of 4 by 4.
#[inline(always)]
fn turned(square: u64) -> u64 {
    let swap = |square: u64, by: u32, which: u64| {
        let differ = (square ^ (square >> by)) & which;
        square ^ differ ^ (differ << by)
    };
    let square = swap(square, 7, 0x00aa_00aa_00aa_00aa);
    let square = swap(square, 14, 0x0000_cccc_0000_cccc);
    swap(square, 28, 0x0000_0000_f0f0_f0f0)
}

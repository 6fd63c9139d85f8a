//! Walks a line once, as a lowered pattern says.

use crate::lower::{Program, Step};
use crate::matcher::Place;
use crate::piece::Runner;
use crate::search::{find, find2, find3};
use crate::set::ByteSet;

/// A program made ready: each class knows the fastest way to its end.
pub(crate) struct Scanner {
    steps: Vec<Ready>,
    anchored: bool,
}

/// What came of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    Match,
    NoMatch,
    /// Only the regex engine can tell.
    Unsure,
}

enum Ready {
    Byte(u8),
    Literal(Box<[u8]>),
    Bytes(Run),
    /// A group that is a run and nothing else, as most are.
    GroupOfBytes {
        index: usize,
        run: Run,
    },
    Group {
        index: usize,
        steps: Vec<Ready>,
    },
    Choice {
        branches: Vec<(ByteSet, Vec<Ready>)>,
        otherwise: Option<Vec<Ready>>,
    },
    Piece(Box<Runner>),
    End,
}

/// Between so many bytes of a class, and all that come.
struct Run {
    until: Until,
    min: usize,
    max: usize,
}

/// How to find the first byte that is not in a class.
enum Until {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Table(Box<[After; 256]>),
}

/// What a byte does to a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoesOn,
    Stops,
    /// It begins a character that only the engine can judge.
    Unsure,
}

impl Scanner {
    pub fn new(program: Program) -> Self {
        Self { anchored: program.anchored, steps: ready(program.steps) }
    }

    /// Finds the groups of a line; `places` has one place for each group of the pattern, all nowhere.
    pub fn scan(&mut self, line: &[u8], places: &mut [Place]) -> Scanned {
        match walk(&mut self.steps, line, 0, places) {
            Ok(end) => {
                places[0] = Place::new(0, end);
                Scanned::Match
            }
            Err(Stop::NoMatch) if self.anchored => Scanned::NoMatch,
            Err(_) => Scanned::Unsure,
        }
    }
}

fn ready(steps: Vec<Step>) -> Vec<Ready> {
    let one = |step: Step| match step {
        Step::Literal(bytes) => match bytes[..] {
            [byte] => Ready::Byte(byte),
            _ => Ready::Literal(bytes),
        },
        Step::Bytes { set, min, max } => Ready::Bytes(Run::new(&set, min, max)),
        Step::Group { index, steps } => match &steps[..] {
            [Step::Bytes { set, min, max }] => Ready::GroupOfBytes { index, run: Run::new(set, *min, *max) },
            _ => Ready::Group { index, steps: ready(steps) },
        },
        Step::Choice { branches, otherwise } => Ready::Choice {
            branches: branches.into_iter().map(|(set, steps)| (set, ready(steps))).collect(),
            otherwise: otherwise.map(ready),
        },
        Step::Piece(piece) => Ready::Piece(Box::new(piece.runner())),
        Step::End => Ready::End,
    };
    steps.into_iter().map(one).collect()
}

impl Run {
    fn new(set: &ByteSet, min: u32, max: Option<u32>) -> Self {
        Self { until: Until::new(set), min: min as usize, max: max.map_or(usize::MAX, |it| it as usize) }
    }

    /// The place behind the run that begins at `at`.
    #[inline]
    fn end(&self, line: &[u8], at: usize) -> Result<usize, Stop> {
        let rest = &line[at..];
        let count = match self.max {
            usize::MAX => self.until.count(rest)?,
            max => self.until.count(&rest[..rest.len().min(max)])?,
        };
        if count < self.min { Err(Stop::NoMatch) } else { Ok(at + count) }
    }
}

impl Until {
    fn new(set: &ByteSet) -> Self {
        let outside: Vec<u8> = set.outside().take(4).collect();
        match outside[..] {
            [one] if !set.mixed => Self::One(one),
            [one, two] if !set.mixed => Self::Two(one, two),
            [one, two, three] if !set.mixed => Self::Three(one, two, three),
            _ => {
                let after = |byte: u8| match byte {
                    _ if set.mixed && !byte.is_ascii() => After::Unsure,
                    _ if set.contains(byte) => After::GoesOn,
                    _ => After::Stops,
                };
                Self::Table(Box::new(std::array::from_fn(|it| after(it as u8))))
            }
        }
    }

    /// How many of the first bytes are in the class.
    #[inline]
    fn count(&self, rest: &[u8]) -> Result<usize, Stop> {
        let found = match self {
            Self::One(one) => find(*one, rest),
            Self::Two(one, two) => find2(*one, *two, rest),
            Self::Three(one, two, three) => find3(*one, *two, *three, rest),
            Self::Table(table) => {
                let found = rest.iter().position(|it| table[usize::from(*it)] != After::GoesOn);
                if found.is_some_and(|it| table[usize::from(rest[it])] == After::Unsure) {
                    return Err(Stop::Unsure);
                }
                found
            }
        };
        Ok(found.unwrap_or(rest.len()))
    }
}

enum Stop {
    NoMatch,
    Unsure,
}

/// Literals are a few bytes: comparing them here is quicker than a call.
#[inline]
fn starts_with(text: &[u8], literal: &[u8]) -> bool {
    text.len() >= literal.len() && text.iter().zip(literal).all(|(one, other)| one == other)
}

/// Takes the steps from `at` on. Gives the place behind them.
fn walk(steps: &mut [Ready], line: &[u8], mut at: usize, places: &mut [Place]) -> Result<usize, Stop> {
    for step in steps {
        at = match step {
            Ready::Byte(byte) if line.get(at) == Some(byte) => at + 1,
            Ready::Literal(bytes) if starts_with(&line[at..], bytes) => at + bytes.len(),
            Ready::Byte(_) | Ready::Literal(_) => return Err(Stop::NoMatch),
            Ready::Bytes(run) => run.end(line, at)?,
            Ready::GroupOfBytes { index, run } => {
                let end = run.end(line, at)?;
                places[*index] = Place::new(at, end);
                end
            }
            Ready::Group { index, steps } => {
                let end = walk(steps, line, at, places)?;
                places[*index] = Place::new(at, end);
                end
            }
            Ready::Choice { branches, otherwise } => {
                let next = line.get(at);
                if next.is_some_and(|it| !it.is_ascii() && branches.iter().any(|(set, _)| set.mixed)) {
                    return Err(Stop::Unsure);
                }
                let chosen = next.and_then(|next| branches.iter_mut().find(|(set, _)| set.contains(*next)));
                match (chosen, otherwise) {
                    (Some((_, steps)), _) | (None, Some(steps)) => walk(steps, line, at, places)?,
                    (None, None) => return Err(Stop::NoMatch),
                }
            }
            Ready::Piece(piece) => piece.run(line, at, places).ok_or(Stop::NoMatch)?,
            Ready::End if at == line.len() => at,
            Ready::End => return Err(Stop::NoMatch),
        };
    }
    Ok(at)
}

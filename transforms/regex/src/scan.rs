//! Walks a line once, as a lowered pattern says.

use memchr::{memchr, memchr2, memchr3};

use crate::lower::{ByteSet, Program, Step};
use crate::matcher::Place;

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
    Literal(Box<[u8]>),
    Bytes { until: Until, min: usize, max: usize },
    Group { index: usize, steps: Vec<Ready> },
    Choice { branches: Vec<(ByteSet, Vec<Ready>)>, otherwise: Option<Vec<Ready>> },
    End,
}

/// How to find the first byte that is not in a class.
enum Until {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Outside(Box<ByteSet>),
}

impl Scanner {
    pub fn new(program: &Program) -> Self {
        Self { steps: ready(&program.steps), anchored: program.anchored }
    }

    /// Finds the groups of a line; `places` has one place for each group of the pattern, all nowhere.
    pub fn scan(&self, line: &[u8], places: &mut [Place]) -> Scanned {
        match walk(&self.steps, line, 0, places) {
            Ok(end) => {
                places[0] = Place::new(0, end);
                Scanned::Match
            }
            Err(Stop::NoMatch) if self.anchored => Scanned::NoMatch,
            Err(_) => Scanned::Unsure,
        }
    }
}

fn ready(steps: &[Step]) -> Vec<Ready> {
    let one = |step: &Step| match step {
        Step::Literal(bytes) => Ready::Literal(bytes.clone()),
        Step::Bytes { set, min, max } => {
            Ready::Bytes { until: Until::new(set), min: *min as usize, max: max.map_or(usize::MAX, |it| it as usize) }
        }
        Step::Group { index, steps } => Ready::Group { index: *index, steps: ready(steps) },
        Step::Choice { branches, otherwise } => Ready::Choice {
            branches: branches.iter().map(|(set, steps)| (*set, ready(steps))).collect(),
            otherwise: otherwise.as_ref().map(|it| ready(it)),
        },
        Step::End => Ready::End,
    };
    steps.iter().map(one).collect()
}

impl Until {
    fn new(set: &ByteSet) -> Self {
        let outside: Vec<u8> = set.outside().take(4).collect();
        match outside[..] {
            _ if set.mixed => Self::Outside(Box::new(*set)),
            [one] => Self::One(one),
            [one, two] => Self::Two(one, two),
            [one, two, three] => Self::Three(one, two, three),
            _ => Self::Outside(Box::new(*set)),
        }
    }

    /// How many of the first bytes are in the class.
    fn count(&self, rest: &[u8]) -> Result<usize, Stop> {
        let found = match self {
            Self::One(one) => memchr(*one, rest),
            Self::Two(one, two) => memchr2(*one, *two, rest),
            Self::Three(one, two, three) => memchr3(*one, *two, *three, rest),
            Self::Outside(set) => {
                let stops = |it: &u8| !set.contains(*it) || (set.mixed && !it.is_ascii());
                let found = rest.iter().position(stops);
                if found.is_some_and(|it| set.mixed && !rest[it].is_ascii()) {
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

/// Takes the steps from `at` on. Gives the place behind them.
fn walk(steps: &[Ready], line: &[u8], mut at: usize, places: &mut [Place]) -> Result<usize, Stop> {
    for step in steps {
        at = match step {
            Ready::Literal(bytes) if line[at..].starts_with(bytes) => at + bytes.len(),
            Ready::Literal(_) => return Err(Stop::NoMatch),
            Ready::Bytes { until, min, max } => {
                let rest = &line[at..];
                let count = until.count(&rest[..rest.len().min(*max)])?;
                if count < *min {
                    return Err(Stop::NoMatch);
                }
                at + count
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
                let chosen = next.and_then(|it| branches.iter().find(|(set, _)| set.contains(*it)));
                match (chosen, otherwise) {
                    (Some((_, steps)), _) | (None, Some(steps)) => walk(steps, line, at, places)?,
                    (None, None) => return Err(Stop::NoMatch),
                }
            }
            Ready::End if at == line.len() => at,
            Ready::End => return Err(Stop::NoMatch),
        };
    }
    Ok(at)
}

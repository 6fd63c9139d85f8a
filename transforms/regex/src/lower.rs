//! From a pattern to a scanner, where that is sound.
//!
//! Most log patterns say no more than "text up to the next delimiter, and so on": `^(?<a>[^\t]*)\t(?<b>[^\t]*)$`. The
//! regex engine tracks every way in which such a pattern could match; there is only ever one. A pattern is lowered if
//! that can be seen from its syntax: at each place the next byte alone decides how to go on, as in an LL(1) grammar.
//! Then greed and the order of alternatives make no difference, nothing is ever tried twice, and a scanner that
//! walks the line once finds the same groups as the engine.
//!
//! Classes are sets of bytes. A Unicode class is one if it holds all characters beyond ASCII or none of them; one that
//! holds some (`\d`, `\S` and `\w` do) stops the scanner at the first such character, and the engine takes the line.
//!
//! Parts of which that cannot be seen may still be one-pass: see [`Piece`].

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::piece::Piece;
use crate::set::ByteSet;

/// What a scanner does, step by step. Each step either goes on behind what it took, or there is no match.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// These bytes.
    Literal(Box<[u8]>),
    /// Between so many bytes of the set, and all that come.
    Bytes { set: ByteSet, min: u32, max: Option<u32> },
    /// A capture group.
    Group { index: usize, steps: Vec<Step> },
    /// The steps whose first byte comes next; if none does, `otherwise`, or no match.
    Choice { branches: Vec<(ByteSet, Vec<Step>)>, otherwise: Option<Vec<Step>> },
    /// What a one-pass automaton finds.
    Piece(Box<Piece>),
    /// The end of the line.
    End,
}

/// A lowered pattern.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub steps: Vec<Step>,
    /// It matches at the start of a line or not at all. If not, what does not match at the start is for the engine.
    pub anchored: bool,
}

impl Program {
    /// How many of its parts are left to one-pass automata.
    pub fn pieces(&self) -> usize {
        pieces(&self.steps)
    }
}

fn pieces(steps: &[Step]) -> usize {
    let of_step = |step: &Step| match step {
        Step::Piece(_) => 1,
        Step::Group { steps, .. } => pieces(steps),
        Step::Choice { branches, otherwise } => {
            let branches: usize = branches.iter().map(|(_, steps)| pieces(steps)).sum();
            branches + otherwise.as_deref().map_or(0, pieces)
        }
        Step::Literal(_) | Step::Bytes { .. } | Step::End => 0,
    };
    steps.iter().map(of_step).sum()
}

/// What can come first where a stretch of the pattern begins.
#[derive(Clone, Copy)]
pub(crate) struct First {
    pub bytes: ByteSet,
    /// The stretch can be empty. Of what follows a part: the pattern may end there, and anything may come.
    pub nullable: bool,
    /// Whether the stretch can be empty depends on what is around it.
    looks: bool,
}

impl First {
    const NOTHING: Self = Self { bytes: ByteSet::EMPTY, nullable: true, looks: false };

    fn of(bytes: ByteSet) -> Self {
        Self { bytes, nullable: false, looks: false }
    }

    /// The stretch is empty, always.
    pub fn is_nothing(&self) -> bool {
        self.nullable && !self.looks && self.bytes == ByteSet::EMPTY
    }
}

/// Lowers a pattern, or says in words why that is not sound.
pub(crate) fn lower(pattern: &Hir) -> Result<Program, String> {
    let parts: &[Hir] = match pattern.kind() {
        HirKind::Concat(parts) => parts,
        _ => std::slice::from_ref(pattern),
    };
    let (anchored, parts) = match parts.split_first() {
        Some((first, rest)) if matches!(first.kind(), HirKind::Look(Look::Start)) => (true, rest),
        _ => (false, parts),
    };
    // Behind the pattern anything may come.
    Ok(Program { steps: sequence(parts, First::NOTHING)?, anchored })
}

/// Neighbouring parts that became one step.
struct Stretch {
    step: Step,
    /// The part behind the last one of these.
    end: usize,
    /// What can come first behind them.
    follow: First,
}

/// Lowers parts that follow each other; `behind` is what can come after the last one.
fn sequence(parts: &[Hir], behind: First) -> Result<Vec<Step>, String> {
    // From the last part to the first one.
    let mut lowered: Vec<Stretch> = Vec::with_capacity(parts.len());
    let mut follow = behind;
    for (nth, part) in parts.iter().enumerate().rev() {
        let stretch = match step(part, follow) {
            Ok(step) => Stretch { step, end: nth + 1, follow },
            Err(why) => one_pass(parts, nth, follow, &mut lowered).ok_or(why)?,
        };
        lowered.push(stretch);
        follow = before(&first(part), &follow);
    }
    Ok(lowered.into_iter().rev().map(|it| it.step).collect())
}

/// Makes a piece of a part, joined with as few of the stretches behind it as make it one-pass.
fn one_pass(parts: &[Hir], nth: usize, follow: First, lowered: &mut Vec<Stretch>) -> Option<Stretch> {
    /// Each is tried, and what is not one-pass without the next few parts hardly ever is with more.
    const JOINED_MAX: usize = 4;
    for joined in 0..=lowered.len().min(JOINED_MAX) {
        let left = lowered.len() - joined;
        let (end, follow) = match joined {
            0 => (nth + 1, follow),
            _ => (lowered[left].end, lowered[left].follow),
        };
        if let Some(piece) = Piece::new(&parts[nth..end], &follow) {
            lowered.truncate(left);
            return Some(Stretch { step: Step::Piece(Box::new(piece)), end, follow });
        }
    }
    None
}

fn step(part: &Hir, follow: First) -> Result<Step, String> {
    match part.kind() {
        HirKind::Empty => Ok(Step::Literal(Box::default())),
        HirKind::Literal(literal) => Ok(Step::Literal(literal.0.clone())),
        HirKind::Look(Look::End) => Ok(Step::End),
        HirKind::Look(look) => Err(format!("it looks around itself ({look:?})")),
        HirKind::Class(class) => {
            let set = ByteSet::of_class(class);
            one_byte_each(class)?;
            Ok(Step::Bytes { set, min: 1, max: Some(1) })
        }
        HirKind::Capture(capture) => {
            let parts = match capture.sub.kind() {
                HirKind::Concat(parts) => parts,
                _ => std::slice::from_ref(&*capture.sub),
            };
            Ok(Step::Group { index: capture.index as usize, steps: sequence(parts, follow)? })
        }
        HirKind::Repetition(it) => repetition(it, part, follow),
        HirKind::Alternation(branches) => choice(branches.iter(), follow),
        HirKind::Concat(parts) => Ok(Step::Choice { branches: Vec::new(), otherwise: Some(sequence(parts, follow)?) }),
    }
}

fn repetition(it: &regex_syntax::hir::Repetition, whole: &Hir, follow: First) -> Result<Step, String> {
    if follow.nullable && follow.looks {
        return Err("what follows it looks around itself".into());
    }
    if !it.greedy && follow.nullable {
        return Err("a lazy repetition stands at its end".into());
    }
    if let HirKind::Class(class) = it.sub.kind() {
        let inner = first(&it.sub);
        if (it.min, it.max) != (1, Some(1)) && it.max != Some(it.min) && inner.bytes.meets(&follow.bytes) {
            return Err("what may be repeated and what may follow begin alike".into());
        }
        if it.max.is_some() || it.min > 1 {
            one_byte_each(class)?;
        }
        return Ok(Step::Bytes { set: inner.bytes, min: it.min, max: it.max });
    }
    match (it.min, it.max) {
        (0, Some(1)) => choice([&*it.sub, &Hir::empty()].into_iter(), follow),
        _ => Err(format!("it repeats more than a class (`{whole}`)")),
    }
}

/// Lowers alternatives, of which the next byte must choose one.
fn choice<'a>(alternatives: impl Iterator<Item = &'a Hir>, follow: First) -> Result<Step, String> {
    let mut branches: Vec<(ByteSet, Vec<Step>)> = Vec::new();
    let mut otherwise = None;
    let mut seen = ByteSet::EMPTY;
    for alternative in alternatives {
        if !alternative.properties().look_set().is_empty() {
            return Err("an alternative looks around itself".into());
        }
        let starts = first(alternative);
        let steps = sequence(std::slice::from_ref(alternative), follow)?;
        let reach = before(&starts, &follow);
        // Where anything may follow, an alternative that begins well and ends badly could still give way to another.
        if seen.meets(&reach.bytes) || (starts.nullable && (otherwise.is_some() || follow.nullable)) {
            return Err("the next character does not decide between alternatives".into());
        }
        seen.join(&reach.bytes);
        if starts.nullable {
            otherwise = Some(steps);
        } else {
            branches.push((starts.bytes, steps));
        }
    }
    Ok(Step::Choice { branches, otherwise })
}

/// What can come first in a part.
fn first(part: &Hir) -> First {
    match part.kind() {
        HirKind::Empty => First::NOTHING,
        // Behind the end of the line nothing comes.
        HirKind::Look(Look::End) => First::of(ByteSet::EMPTY),
        HirKind::Look(_) => First { looks: true, ..First::NOTHING },
        HirKind::Literal(literal) => First::of(ByteSet::of_byte(literal.0[0])),
        HirKind::Class(class) => First::of(ByteSet::of_class(class)),
        HirKind::Capture(capture) => first(&capture.sub),
        HirKind::Repetition(it) => {
            let inner = first(&it.sub);
            First { nullable: inner.nullable || it.min == 0, ..inner }
        }
        HirKind::Concat(parts) => parts.iter().rev().fold(First::NOTHING, |follow, it| before(&first(it), &follow)),
        HirKind::Alternation(branches) => {
            let mut all = First::of(ByteSet::EMPTY);
            for branch in branches {
                let branch = first(branch);
                all.bytes.join(&branch.bytes);
                all.nullable |= branch.nullable;
                all.looks |= branch.looks;
            }
            all
        }
    }
}

/// What can come first where `part` stands before `follow`.
fn before(part: &First, follow: &First) -> First {
    let looks = part.looks || follow.looks;
    if !part.nullable {
        return First { looks, ..*part };
    }
    let mut bytes = part.bytes;
    bytes.join(&follow.bytes);
    First { bytes, nullable: follow.nullable, looks }
}

/// Where characters are counted, each must be one byte (or stop the scanner).
fn one_byte_each(class: &Class) -> Result<(), String> {
    let set = ByteSet::of_class(class);
    if set.contains(0x80) && !set.mixed && matches!(class, Class::Unicode(_)) {
        return Err("it counts characters that may be several bytes long".into());
    }
    Ok(())
}

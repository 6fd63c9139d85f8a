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

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What a scanner does, step by step. Each step either goes on behind what it took, or there is no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These bytes.
    Literal(Box<[u8]>),
    /// Between so many bytes of the set, and all that come.
    Bytes { set: ByteSet, min: u32, max: Option<u32> },
    /// A capture group.
    Group { index: usize, steps: Vec<Step> },
    /// The steps whose first byte comes next; if none does, `otherwise`, or no match.
    Choice { branches: Vec<(ByteSet, Vec<Step>)>, otherwise: Option<Vec<Step>> },
    /// The end of the line.
    End,
}

/// A lowered pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub steps: Vec<Step>,
    /// It matches at the start of a line or not at all. If not, what does not match at the start is for the engine.
    pub anchored: bool,
}

/// A set of bytes, and whether only the engine can judge those beyond ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSet {
    /// One bit for each byte.
    members: [u64; 4],
    /// Some characters beyond ASCII are in the class and some are not.
    pub mixed: bool,
}

impl std::fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ascii = |it: &u8| self.contains(*it);
        let (some, rest) = if (0..128).filter(ascii).count() > 64 { ("^", false) } else { ("", true) };
        let shown: Vec<u8> = (0..128).filter(|it| self.contains(*it) == rest).collect();
        write!(f, "[{some}{}]", shown.escape_ascii())?;
        f.write_str(if self.mixed {
            "+some"
        } else if self.contains(0x80) {
            "+all"
        } else {
            ""
        })
    }
}

impl ByteSet {
    const EMPTY: Self = Self { members: [0; 4], mixed: false };

    /// Whether the byte is in the set.
    pub fn contains(&self, byte: u8) -> bool {
        self.members[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    fn add(&mut self, byte: u8) {
        self.members[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// The bytes that are not in the set.
    pub fn outside(&self) -> impl Iterator<Item = u8> {
        (0..=255).filter(|it| !self.contains(*it))
    }

    fn of_byte(byte: u8) -> Self {
        let mut set = Self::EMPTY;
        set.add(byte);
        set
    }

    fn of_class(class: &Class) -> Self {
        let mut set = Self::EMPTY;
        match class {
            Class::Bytes(class) => {
                for range in class.ranges() {
                    (range.start()..=range.end()).for_each(|it| set.add(it));
                }
            }
            Class::Unicode(class) => {
                let mut beyond = 0_u32;
                for range in class.ranges() {
                    let (start, end) = (range.start() as u32, range.end() as u32);
                    (start..=end.min(0x7f)).for_each(|it| set.add(it as u8));
                    beyond += (end + 1).saturating_sub(start.max(0x80));
                    // Surrogates are no characters: a range over them counts them, and lines never hold them.
                    if start < 0xd800 && end > 0xdfff {
                        beyond -= 0x800;
                    }
                }
                const ALL_BEYOND_ASCII: u32 = 0x11_0000 - 0x800 - 0x80;
                set.mixed = beyond > 0 && beyond < ALL_BEYOND_ASCII;
                if beyond > 0 {
                    (0x80..=0xff).for_each(|it| set.add(it));
                }
            }
        }
        set
    }

    fn join(&mut self, other: &Self) {
        self.members.iter_mut().zip(&other.members).for_each(|(mine, its)| *mine |= its);
        self.mixed |= other.mixed;
    }

    fn meets(&self, other: &Self) -> bool {
        self.members.iter().zip(&other.members).any(|(mine, its)| mine & its != 0)
    }
}

/// What can come first where a stretch of the pattern begins.
#[derive(Clone, Copy)]
struct First {
    bytes: ByteSet,
    /// The stretch can be empty. Of what follows a part: the pattern may end there, and anything may come.
    nullable: bool,
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
    let behind = First { bytes: ByteSet::EMPTY, nullable: true };
    Ok(Program { steps: sequence(parts, behind)?, anchored })
}

/// Lowers parts that follow each other; `behind` is what can come after the last one.
fn sequence(parts: &[Hir], behind: First) -> Result<Vec<Step>, String> {
    let mut steps = Vec::with_capacity(parts.len());
    let mut follow = behind;
    for part in parts.iter().rev() {
        steps.push(step(part, follow)?);
        follow = before(&first(part)?, &follow);
    }
    steps.reverse();
    Ok(steps)
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
    let inner = first(&it.sub)?;
    if !it.greedy && follow.nullable {
        return Err("a lazy repetition stands at its end".into());
    }
    if let HirKind::Class(class) = it.sub.kind() {
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
        let starts = first(alternative)?;
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
fn first(part: &Hir) -> Result<First, String> {
    let nothing = First { bytes: ByteSet::EMPTY, nullable: true };
    Ok(match part.kind() {
        // Behind the end of the line nothing comes.
        HirKind::Look(Look::End) => First { bytes: ByteSet::EMPTY, nullable: false },
        HirKind::Empty | HirKind::Look(_) => nothing,
        HirKind::Literal(literal) => First { bytes: ByteSet::of_byte(literal.0[0]), nullable: false },
        HirKind::Class(class) => First { bytes: ByteSet::of_class(class), nullable: false },
        HirKind::Capture(capture) => first(&capture.sub)?,
        HirKind::Repetition(it) => {
            let inner = first(&it.sub)?;
            First { nullable: inner.nullable || it.min == 0, ..inner }
        }
        HirKind::Concat(parts) => {
            parts.iter().rev().try_fold(nothing, |follow, it| Ok::<_, String>(before(&first(it)?, &follow)))?
        }
        HirKind::Alternation(branches) => {
            let mut all = First { bytes: ByteSet::EMPTY, nullable: false };
            for branch in branches {
                let branch = first(branch)?;
                all.bytes.join(&branch.bytes);
                all.nullable |= branch.nullable;
            }
            all
        }
    })
}

/// What can come first where `part` stands before `follow`.
fn before(part: &First, follow: &First) -> First {
    if !part.nullable {
        return *part;
    }
    let mut bytes = part.bytes;
    bytes.join(&follow.bytes);
    First { bytes, nullable: follow.nullable }
}

/// Where characters are counted, each must be one byte (or stop the scanner).
fn one_byte_each(class: &Class) -> Result<(), String> {
    let set = ByteSet::of_class(class);
    if set.contains(0x80) && !set.mixed && matches!(class, Class::Unicode(_)) {
        return Err("it counts characters that may be several bytes long".into());
    }
    Ok(())
}

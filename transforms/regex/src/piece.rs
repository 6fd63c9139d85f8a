//! Pieces of a pattern that a scanner cannot walk, but a one-pass automaton can.

use regex_automata::dfa::onepass::{Cache, Config, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Capture, Hir, HirKind, Look, Repetition};

use crate::lower::First;
use crate::matcher::Place;

/// An automaton for some neighbouring parts of a pattern: it takes each byte once and keeps their groups.
///
/// # Why a pattern may be cut into pieces
///
/// Let a pattern be `A B C`, where `A` always ends at the same place of a line, and let `F` be the bytes with which `C`
/// can begin, `C` not being empty. The automaton is built for `B` followed by a byte of `F` or the end of the line, and
/// it can be built only if that is *one-pass*: wherever `B` began, the next byte alone decides how to go on, and so
/// also whether `B` is over. Suppose that `B` could end at two places, both followed by a byte of `F`. Up to the first
/// of them both ways took the same bytes, so they are at the same place of the pattern; there the next byte allows to
/// leave `B` and to stay in it, which is not one-pass. So `B` ends where the automaton says, or the pattern does not
/// match; its groups are those that the engine would find, and `C` can be matched from there, alone.
///
/// If nothing at all stands behind `B`, the automaton is built for `B` alone and prefers the ways that the engine prefers.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    automaton: DFA,
    /// The group of the pattern for each group of the automaton that is no longer the whole.
    groups: Vec<usize>,
}

/// The limit of the automaton, of which one is needed for the piece as a whole.
const GROUPS_MAX: usize = 16 - 1;

/// Pieces are small; a large one is a class of characters that is counted many times.
const SIZE_MAX: usize = 1 << 20;

impl Piece {
    /// For parts of a pattern and what can come first behind them. `None` if that is not one-pass.
    pub fn new(parts: &[Hir], behind: &First) -> Option<Self> {
        let mut groups = Vec::new();
        let parts: Vec<Hir> = parts.iter().map(|it| renumbered(it, &mut groups)).collect();
        if groups.len() > GROUPS_MAX {
            return None;
        }
        let whole = Hir::capture(Capture { index: 1, name: None, sub: Box::new(Hir::concat(parts)) });
        let pattern = if behind.is_nothing() {
            whole
        } else if behind.nullable {
            return None;
        } else {
            let next = Hir::alternation(vec![Hir::class(behind.bytes.to_class()), Hir::look(Look::End)]);
            Hir::concat(vec![whole, next])
        };
        let limits = NFA::config().nfa_size_limit(Some(SIZE_MAX));
        let nfa = NFA::compiler().configure(limits).build_from_hir(&pattern).ok()?;
        let limits = Config::new().match_kind(MatchKind::LeftmostFirst).size_limit(Some(SIZE_MAX));
        let automaton = DFA::builder().configure(limits).build_from_nfa(nfa).ok()?;
        Some(Self { automaton, groups })
    }

    /// Makes it ready to run.
    pub fn runner(self) -> Runner {
        let slots = vec![None; 2 * (2 + self.groups.len())];
        Runner { cache: self.automaton.create_cache(), slots, piece: self }
    }
}

/// A piece, and the memory that it works in.
pub(crate) struct Runner {
    piece: Piece,
    cache: Cache,
    /// Start and end of the match, of the piece and of each group.
    slots: Vec<Option<NonMaxUsize>>,
}

impl Runner {
    /// Matches the piece from `at` on, and finds its groups. Gives the place behind it.
    pub fn run(&mut self, line: &[u8], at: usize, places: &mut [Place]) -> Option<usize> {
        let Self { piece, cache, slots } = self;
        let input = Input::new(line).range(at..).anchored(Anchored::Yes);
        piece.automaton.try_search_slots(cache, &input, slots).ok()??;
        let slot = |nth: usize| slots[nth].map(NonMaxUsize::get);
        for (nth, group) in piece.groups.iter().enumerate() {
            let first = 2 * (2 + nth);
            places[*group] = match (slot(first), slot(first + 1)) {
                (Some(start), Some(end)) => Place::new(start, end),
                _ => Place::NOWHERE,
            };
        }
        slot(3)
    }
}

/// The same with its groups numbered from 2 on; which they were goes to `groups`.
fn renumbered(part: &Hir, groups: &mut Vec<usize>) -> Hir {
    match part.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => part.clone(),
        HirKind::Repetition(it) => {
            let sub = Box::new(renumbered(&it.sub, groups));
            Hir::repetition(Repetition { sub, ..it.clone() })
        }
        HirKind::Capture(it) => {
            groups.push(it.index as usize);
            let index = groups.len() as u32 + 1;
            Hir::capture(Capture { index, name: None, sub: Box::new(renumbered(&it.sub, groups)) })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|it| renumbered(it, groups)).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(|it| renumbered(it, groups)).collect()),
    }
}

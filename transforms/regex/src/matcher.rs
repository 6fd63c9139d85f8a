//! Where each column's text stands in a line. The only file that knows what finds it: a scanner, where the pattern
//! can be lowered to one, or the regex engine.

use std::ops::Range;

use arrow_array::{Array, StringArray};
pub(crate) use forebay_codec::convert::Cell as Place;
use regex::{CaptureLocations, Regex};

use crate::lower::lower;
use crate::pattern::Pattern;
use crate::scan::{Scanned, Scanner};
use crate::separated::Separated;

/// So many rows are matched before their columns are built: few enough that their text and their cells stay in the
/// first-level cache.
pub(crate) const ROWS: usize = 64;

/// Finds the texts of the columns with the first pattern that matches.
pub(crate) struct Matcher {
    alternatives: Vec<Alternative>,
    columns: Vec<String>,
    /// For each column whether anybody wants it.
    wanted: Vec<bool>,
}

/// What was found in some rows.
pub(crate) struct Block {
    /// The places of the first column in the whole text, [`ROWS`] of them, then those of the next. Behind the last
    /// column's there are as many that nobody wants.
    cells: Vec<Place>,
    /// The rows that match.
    rows: Vec<u32>,
}

struct Alternative {
    /// For the simplest lines.
    separated: Option<Separated>,
    /// Why not, if there is none.
    scanner: Result<Scanner, String>,
    /// How many parts of the pattern the scanner leaves to one-pass automata.
    pieces: usize,
    /// What was found in a line, group by group.
    found: Vec<Place>,
    regex: Regex,
    /// What the engine found. Overwritten by each match.
    locations: CaptureLocations,
    /// For each column the group of this pattern, if it has one.
    groups: Vec<Option<usize>>,
    /// For each wanted column its group, and where its cells begin in a block.
    targets: Vec<(Option<usize>, usize)>,
    /// Where the places of those columns begin that `separated` says nothing about.
    left: Vec<usize>,
}

impl Matcher {
    /// For patterns whose groups together are the columns.
    pub(crate) fn new(patterns: &[Pattern]) -> Self {
        let mut columns = Vec::<String>::new();
        for name in patterns.iter().flat_map(|it| it.regex().capture_names().flatten()) {
            if !columns.iter().any(|it| it == name) {
                columns.push(name.to_owned());
            }
        }
        let alternatives = patterns.iter().map(|it| Alternative::new(it, &columns)).collect();
        let mut matcher = Self { alternatives, wanted: vec![true; columns.len()], columns };
        matcher.want(|_| true);
        matcher
    }

    /// The names of all groups, in the order in which they first stand.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Says which columns are wanted; of the others no places are given.
    pub(crate) fn want(&mut self, wanted: impl Fn(&str) -> bool) {
        self.wanted = self.columns.iter().map(|it| wanted(it)).collect();
        let unwanted = self.columns.len();
        for Alternative { separated, groups, targets, left, .. } in &mut self.alternatives {
            let all = groups.iter().enumerate().filter(|(column, _)| self.wanted[*column]);
            *targets = all.map(|(column, group)| (*group, ROWS * column)).collect();
            let column = |group: usize| groups.iter().position(|it| *it == Some(group)).filter(|it| self.wanted[*it]);
            if let Some(separated) = separated {
                let elsewhere = |group: &Option<usize>| group.is_none_or(|it| !separated.places(it));
                *left = targets.iter().filter(|(group, _)| elsewhere(group)).map(|(_, to)| *to).collect();
                separated.direct(|group| ROWS * group.and_then(column).unwrap_or(unwanted));
            }
        }
    }

    /// Whether a column is wanted.
    pub(crate) fn is_wanted(&self, column: usize) -> bool {
        self.wanted[column]
    }

    /// Room for what is found.
    pub(crate) fn block(&self) -> Block {
        Block { cells: vec![Place::NOWHERE; ROWS * (self.columns.len() + 1)], rows: Vec::with_capacity(ROWS) }
    }

    /// For each pattern what finds its texts, in words.
    pub(crate) fn paths(&self) -> Vec<String> {
        let several = self.alternatives.len() > 1;
        let named = |(nth, it): (usize, &Alternative)| match several {
            true => format!("pattern {} {}", nth + 1, it.path()),
            false => format!("the pattern {}", it.path()),
        };
        self.alternatives.iter().enumerate().map(named).collect()
    }

    /// Matches at most [`ROWS`] rows, and tells which do not match.
    pub(crate) fn find(
        &mut self,
        lines: &StringArray,
        rows: Range<usize>,
        block: &mut Block,
        mut refuse: impl FnMut(usize),
    ) {
        let offsets = lines.value_offsets();
        block.rows.clear();
        for row in rows {
            let line = Line { lines, row, start: offsets[row] as usize, end: offsets[row + 1] as usize };
            let nth = block.rows.len();
            let matches = |it: &mut Alternative| it.find(&line, nth, &mut block.cells);
            if lines.is_valid(row) && self.alternatives.iter_mut().any(matches) {
                block.rows.push(row as u32);
            } else {
                refuse(row);
            }
        }
    }
}

impl Block {
    /// The rows that match.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Where the texts of a column stand, in the rows that match.
    pub(crate) fn column(&self, column: usize) -> &[Place] {
        &self.cells[ROWS * column..][..self.rows.len()]
    }
}

/// A line of a column of text.
struct Line<'a> {
    lines: &'a StringArray,
    row: usize,
    start: usize,
    end: usize,
}

impl Alternative {
    fn new(pattern: &Pattern, columns: &[String]) -> Self {
        let regex = pattern.regex().clone();
        let group = |column: &String| regex.capture_names().position(|it| it == Some(column));
        let groups = columns.iter().map(group).collect();
        let program = lower(&pattern.syntax());
        Self {
            separated: program.as_ref().ok().and_then(Separated::new),
            pieces: program.as_ref().map_or(0, |it| it.pieces()),
            scanner: program.map(Scanner::new),
            found: vec![Place::NOWHERE; regex.captures_len()],
            locations: regex.capture_locations(),
            groups,
            targets: Vec::new(),
            left: Vec::new(),
            regex,
        }
    }

    fn path(&self) -> String {
        match (&self.scanner, self.pieces) {
            (Ok(_), _) if self.separated.is_some() => {
                "is lowered to a scanner, which finds all separators of a line at once".to_owned()
            }
            (Ok(_), 0) => "is lowered to a scanner, which walks a line once".to_owned(),
            (Ok(_), 1) => "is lowered to a scanner, which walks a line once, with one one-pass piece".to_owned(),
            (Ok(_), n) => format!("is lowered to a scanner, which walks a line once, with {n} one-pass pieces"),
            (Err(why), _) => format!("is matched by the regex engine, since {why}"),
        }
    }

    /// Matches one line, and writes the places of the columns for row `nth` of a block.
    fn find(&mut self, line: &Line<'_>, nth: usize, cells: &mut [Place]) -> bool {
        let text = line.lines.value_data();
        if self.separated.as_ref().is_some_and(|it| it.find(text, line.start, line.end, nth, cells)) {
            // What an earlier line, or another pattern, has left there is not of this one.
            self.left.iter().for_each(|to| cells[to + nth] = Place::NOWHERE);
            return true;
        }
        if !self.find_groups(line) {
            return false;
        }
        for (group, to) in &self.targets {
            let found = group.map_or(Place::NOWHERE, |group| self.found[group]);
            cells[to + nth] = found.moved(line.start);
        }
        true
    }

    /// Matches one line; the groups are then in `self.found`, counted from the start of the line.
    fn find_groups(&mut self, line: &Line<'_>) -> bool {
        self.found.fill(Place::NOWHERE);
        if let Ok(scanner) = &mut self.scanner {
            let bytes = &line.lines.value_data()[line.start..line.end];
            match scanner.scan(bytes, &mut self.found) {
                Scanned::Match => return true,
                Scanned::NoMatch => return false,
                Scanned::Unsure => self.found.fill(Place::NOWHERE),
            }
        }
        let matches = self.regex.captures_read(&mut self.locations, line.lines.value(line.row)).is_some();
        for (group, place) in self.found.iter_mut().enumerate().filter(|_| matches) {
            let range = self.locations.get(group);
            *place = range.map_or(Place::NOWHERE, |(start, end)| Place::new(start, end));
        }
        matches
    }
}

//! Where each column's text stands in a line. The only file that knows what finds it: a scanner, where the pattern
//! can be lowered to one, or the regex engine.

use regex::{CaptureLocations, Regex};

use crate::lower::lower;
use crate::pattern::Pattern;
use crate::scan::{Scanned, Scanner};

/// Finds the texts of the columns with the first pattern that matches.
pub(crate) struct Matcher {
    alternatives: Vec<Alternative>,
    columns: Vec<String>,
}

struct Alternative {
    /// Why not, if there is none.
    scanner: Result<Scanner, String>,
    /// What the scanner found, group by group.
    scanned: Vec<Place>,
    regex: Regex,
    /// What the engine found. Overwritten by each match.
    locations: CaptureLocations,
    /// For each column the group of this pattern, if it has one.
    groups: Vec<Option<usize>>,
}

/// Where the text of a column stands in a line: a range of bytes, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    start: u32,
    end: u32,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self { start: u32::MAX, end: u32::MAX };

    /// The bytes from `start` to before `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The text itself.
    pub(crate) fn of(self, line: &str) -> Option<&str> {
        line.get(self.start as usize..self.end as usize)
    }
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
        let alternative = |pattern: &Pattern| {
            let regex = pattern.regex().clone();
            let group = |column: &String| regex.capture_names().position(|it| it == Some(column));
            let groups = columns.iter().map(group).collect();
            let scanner = lower(&pattern.syntax()).map(|it| Scanner::new(&it));
            let scanned = vec![Place::NOWHERE; regex.captures_len()];
            Alternative { scanner, scanned, locations: regex.capture_locations(), groups, regex }
        };
        Self { alternatives: patterns.iter().map(alternative).collect(), columns }
    }

    /// The names of all groups, in the order in which they first stand.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// For each pattern what finds its texts, in words.
    pub(crate) fn paths(&self) -> Vec<String> {
        let path = |it: &Alternative| match &it.scanner {
            Ok(_) => "is lowered to a scanner, which walks a line once".to_owned(),
            Err(why) => format!("is matched by the regex engine, since {why}"),
        };
        let several = self.alternatives.len() > 1;
        let named = |(nth, it): (usize, &Alternative)| match several {
            true => format!("pattern {} {}", nth + 1, path(it)),
            false => format!("the pattern {}", path(it)),
        };
        self.alternatives.iter().enumerate().map(named).collect()
    }

    /// Adds the place of each column to `places`, or nothing if no pattern matches.
    /// A line is shorter than 2 GiB, as all texts of an Arrow array together are.
    pub(crate) fn find(&mut self, line: &str, places: &mut Vec<Place>) -> bool {
        for alternative in &mut self.alternatives {
            if alternative.find(line) {
                let Alternative { scanned, groups, .. } = alternative;
                places.extend(groups.iter().map(|it| it.map_or(Place::NOWHERE, |group| scanned[group])));
                return true;
            }
        }
        false
    }
}

impl Alternative {
    /// Matches one line; the groups are then in `scanned`.
    fn find(&mut self, line: &str) -> bool {
        self.scanned.fill(Place::NOWHERE);
        match self.scanner.as_ref().map(|it| it.scan(line.as_bytes(), &mut self.scanned)) {
            Ok(Scanned::Match) => return true,
            Ok(Scanned::NoMatch) => return false,
            Ok(Scanned::Unsure) | Err(_) => {}
        }
        let found = self.regex.captures_read(&mut self.locations, line).is_some();
        for (group, place) in self.scanned.iter_mut().enumerate().filter(|_| found) {
            let range = self.locations.get(group);
            *place = range.map_or(Place::NOWHERE, |(start, end)| Place::new(start, end));
        }
        found
    }
}

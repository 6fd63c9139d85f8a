//! Where each column's text stands in a line. The only file that knows which engine finds it.

use regex::{CaptureLocations, Regex};

use crate::pattern::Pattern;

/// Finds the texts of the columns with the first pattern that matches.
pub(crate) struct Matcher {
    alternatives: Vec<Alternative>,
    columns: Vec<String>,
}

struct Alternative {
    regex: Regex,
    /// Overwritten by each match.
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
    const NOWHERE: Self = Self { start: u32::MAX, end: u32::MAX };

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
            Alternative { locations: regex.capture_locations(), groups, regex }
        };
        Self { alternatives: patterns.iter().map(alternative).collect(), columns }
    }

    /// The names of all groups, in the order in which they first stand.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Adds the place of each column to `places`, or nothing if no pattern matches.
    /// A line is shorter than 2 GiB, as all texts of an Arrow array together are.
    pub(crate) fn find(&mut self, line: &str, places: &mut Vec<Place>) -> bool {
        for Alternative { regex, locations, groups } in &mut self.alternatives {
            if regex.captures_read(locations, line).is_none() {
                continue;
            }
            let place = |group: &Option<usize>| {
                let range = group.and_then(|it| locations.get(it));
                range.map_or(Place::NOWHERE, |(start, end)| Place { start: start as u32, end: end as u32 })
            };
            places.extend(groups.iter().map(place));
            return true;
        }
        false
    }
}

//! A problem in the file, and how it is printed.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// Something in the file that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: one line, lower case, literals in backticks.
    pub title: String,
    /// Where: bytes of the text.
    pub span: Range<usize>,
    /// The short text under the mark.
    pub label: Option<String>,
    /// What would have worked.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Range<usize>, title: impl Into<String>) -> Self {
        Self { title: title.into(), span, label: None, help: None }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Offers the nearest of the known names as label, and all of them as help.
    pub(crate) fn known<'a>(mut self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        if let Some(near) = forebay_api::nearest(given, known.iter().copied()) {
            self.label = Some(format!("did you mean `{near}`?"));
        }
        if !known.is_empty() {
            self.help = Some(format!("known: {}", known.join(", ")));
        }
        self
    }
}

/// Every problem in a file, by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// `text` is the file without its secrets: problems quote it.
    pub(crate) fn new(file: &str, text: String, mut list: Vec<Problem>) -> Self {
        list.sort_by(|a, b| (a.span.start, &a.title).cmp(&(b.span.start, &b.title)));
        list.dedup();
        Self { file: file.to_owned(), text, list }
    }

    /// The problems, by place.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Leaves out what was reported before, and says whether anything is left.
    pub fn without(mut self, reported: &[Problem]) -> Option<Self> {
        self.list.retain(|it| !reported.contains(it));
        (!self.list.is_empty()).then_some(self)
    }

    /// All problems as a person reads them, in the manner of rustc.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut rendered = String::new();
        for problem in &self.list {
            let mark = AnnotationKind::Primary.span(problem.span.clone()).label(problem.label.as_deref());
            let snippet = Snippet::source(&self.text).path(&self.file).annotation(mark);
            let mut group = Level::ERROR.primary_title(&problem.title).element(snippet);
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help));
            }
            if !rendered.is_empty() {
                rendered.push('\n');
            }
            rendered.push_str(&renderer.render(&[group]));
            rendered.push('\n');
        }
        rendered
    }

    /// All problems as a program reads them: an array of objects with `file`, `line`, `column`, `title`, `label`, `help`.
    pub fn json(&self) -> Value {
        let one = |it: &Problem| {
            let (line, column) = line_and_column(&self.text, it.span.start);
            json!({
                "file": self.file,
                "line": line,
                "column": column,
                "title": it.title,
                "label": it.label,
                "help": it.help,
            })
        };
        self.list.iter().map(one).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// Something that the file leaves open: a value that is looked up and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// One line, lower case, literals in backticks.
    pub text: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Note {
    pub(crate) fn new(text: &str, at: usize, note: String) -> Self {
        let (line, column) = line_and_column(text, at);
        Self { text: note, line, column }
    }
}

/// The line and the character in it, both from 1, of a byte of the text.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::line_and_column;

    /// Scenario: places in a text with letters of several bytes.
    /// Guarantees: lines and columns count from one, columns in characters.
    #[test]
    fn places() {
        let text = "a = 1\nmü = 'x'\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('x').unwrap()), (2, 7));
        assert_eq!(line_and_column(text, text.len()), (3, 1));
    }
}

//! Patterns of times as Firehose takes them: those of Java's `DateTimeFormatter`, for UTC and in English.
//!
//! See <https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html> and
//! <https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/time/format/DateTimeFormatter.html>.

use std::fmt::Write as _;

use jiff::civil::DateTime;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A pattern such as `yyyy/MM/dd/HH` or `'year='yyyy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimePattern {
    text: String,
    elements: Vec<Element>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    Literal(String),
    /// A letter, and how often it stands.
    Field(char, usize),
}

/// The letters that are known, the most of each that Java takes, and the seconds for which the value stays the same;
/// 0: less than a second.
const LETTERS: [(char, usize, i64); 13] = [
    ('y', 4, DAY),
    ('u', 4, DAY),
    ('M', 4, DAY),
    ('L', 4, DAY),
    ('d', 2, DAY),
    ('D', 3, DAY),
    ('E', 4, DAY),
    ('H', 2, 3_600),
    ('h', 2, 3_600),
    ('a', 1, 3_600),
    ('m', 2, 60),
    ('s', 2, 1),
    ('S', 9, 0),
];

const DAY: i64 = 86_400;

impl TimePattern {
    /// Reads a pattern, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut elements: Vec<Element> = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '\'' if rest.next_if_eq(&'\'').is_some() => literal(&mut elements, '\''),
                '\'' => loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => literal(&mut elements, '\''),
                        Some('\'') => break,
                        Some(quoted) => literal(&mut elements, quoted),
                        None => return Err(format!("the quote in the time pattern `{text}` is not closed")),
                    }
                },
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while rest.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    elements.push(field(letter, count)?);
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(format!("`{next}` in the time pattern `{text}` must stand between single quotes"));
                }
                plain => literal(&mut elements, plain),
            }
        }
        Ok(Self { text: text.to_owned(), elements })
    }

    /// What stands between the slashes: a text, such as `year=` of `'year='yyyy'/month='MM`, and the pattern behind it. Of a
    /// text that is followed by a pattern `=` is the end.
    pub(crate) fn levels(&self) -> Vec<(String, Option<Self>)> {
        let mut levels = vec![Vec::new()];
        for element in &self.elements {
            let Element::Literal(text) = element else {
                levels.last_mut().into_iter().for_each(|it| it.push(element.clone()));
                continue;
            };
            for (nth, part) in text.split('/').enumerate() {
                if nth > 0 {
                    levels.push(Vec::new());
                }
                let part = Some(part).filter(|it| !it.is_empty()).map(|it| Element::Literal(it.to_owned()));
                levels.last_mut().into_iter().for_each(|it| it.extend(part.clone()));
            }
        }
        let level = |elements: Vec<Element>| match elements.as_slice() {
            [] => (String::new(), None),
            [Element::Literal(text)] => (text.clone(), None),
            [Element::Literal(text), rest @ ..] if text.ends_with('=') => (text.clone(), Some(Self::of(rest))),
            all => (String::new(), Some(Self::of(all))),
        };
        levels.into_iter().map(level).collect()
    }

    fn of(elements: &[Element]) -> Self {
        let text = |element: &Element| match element {
            Element::Field(letter, count) => String::from(*letter).repeat(*count),
            Element::Literal(text) if text.chars().all(|it| "-_.: ".contains(it)) => text.clone(),
            Element::Literal(text) => format!("'{}'", text.replace('\'', "''")),
        };
        Self { text: elements.iter().map(text).collect(), elements: elements.to_vec() }
    }

    /// Both, with a slash between them.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        self.text = format!("{}/{}", self.text, other.text);
        self.elements.push(Element::Literal("/".to_owned()));
        self.elements.extend(other.elements);
        self
    }

    /// The pattern as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// For how many seconds from a full one what is written stays the same; 0: less than one.
    pub(crate) fn unit(&self) -> i64 {
        let units = self.elements.iter().filter_map(|it| match it {
            Element::Field(letter, _) => LETTERS.iter().find(|it| it.0 == *letter).map(|it| it.2),
            Element::Literal(_) => None,
        });
        units.min().unwrap_or(DAY)
    }

    /// Writes a time, in UTC.
    pub(crate) fn write(&self, at: DateTime, out: &mut String) {
        for element in &self.elements {
            match element {
                Element::Literal(text) => out.push_str(text),
                Element::Field(letter, count) => write_field(*letter, *count, at, out),
            }
        }
    }
}

fn literal(elements: &mut Vec<Element>, character: char) {
    match elements.last_mut() {
        Some(Element::Literal(text)) => text.push(character),
        _ => elements.push(Element::Literal(character.into())),
    }
}

fn field(letter: char, count: usize) -> Result<Element, String> {
    let known = LETTERS.iter().find(|it| it.0 == letter);
    match known {
        Some((_, count_max, _)) if count <= *count_max => Ok(Element::Field(letter, count)),
        Some((_, count_max, _)) => {
            Err(format!("`{letter}` stands {count} times, but at most {count_max} mean something"))
        }
        None if letter == 'Y' => {
            Err("`Y` is the year of the week, which differs around New Year: write `y`".to_owned())
        }
        None => {
            let letters: Vec<String> = LETTERS.iter().map(|it| it.0.to_string()).collect();
            Err(format!("`{letter}` is no letter of a time that is known here: known are {}", letters.join(" ")))
        }
    }
}

fn write_field(letter: char, count: usize, at: DateTime, out: &mut String) {
    let number = match letter {
        // Two letters mean the last two digits.
        'y' | 'u' if count == 2 => i64::from(at.year()).rem_euclid(100),
        'y' | 'u' => i64::from(at.year()),
        'M' | 'L' | 'E' if count >= 3 || letter == 'E' => {
            let name = match letter {
                'E' => DAYS[at.weekday().to_monday_zero_offset() as usize],
                _ => MONTHS[at.month() as usize - 1],
            };
            return out.push_str(if count == 4 { name } else { &name[..3] });
        }
        'M' | 'L' => at.month().into(),
        'd' => at.day().into(),
        'D' => at.date().day_of_year().into(),
        'H' => at.hour().into(),
        'h' => i64::from((at.hour() + 11) % 12 + 1),
        'a' => return out.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
        'm' => at.minute().into(),
        's' => at.second().into(),
        _ => {
            let digits = format!("{:09}", at.subsec_nanosecond());
            return out.push_str(&digits[..count]);
        }
    };
    let _ = write!(out, "{number:0count$}");
}

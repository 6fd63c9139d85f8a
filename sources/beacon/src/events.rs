//! The events of a body, one after the other.
//!
//! A body of JSON is an object, an array, or objects one after the other, with or without line ends between them. What is no
//! JSON is an event too, one that will be refused: in an array all the rest of it, otherwise the rest of its line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use forebay_codec::scan::{Malformed, Scanner};
use memchr::memchr;
use percent_encoding::percent_decode;

use crate::values::{Keys, Pair, Unfit, VALUES_MAX, values};

/// A piece of a body that stands for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub range: Range<usize>,
    /// Why it has no values.
    pub fault: Option<String>,
}

/// Goes through a body. Behind each event it is known whether it was the last one.
#[derive(Debug)]
pub struct Events {
    at: usize,
    /// So many bytes behind the ends of lines that are no JSON were looked at, and are so again. When these are more than the
    /// body has, nothing reaches over the end of its line any more: otherwise a small body could take as long as many.
    again: usize,
    is_array: bool,
    passed: usize,
    passed_max: usize,
    ahead: Ahead,
}

/// What comes next in a body.
#[derive(Debug)]
enum Ahead {
    /// A value, or what should be one.
    Value,
    /// The last event, of which no more can be told than that it is there.
    Fault(Event),
    Nothing,
}

impl Events {
    /// The events of a body, at most `events_max` of them; one refusal stands for the rest.
    pub fn of(body: &str, events_max: usize) -> Self {
        let mut events =
            Self { at: 0, again: 0, is_array: false, passed: 0, passed_max: events_max, ahead: Ahead::Nothing };
        let mut scan = Scanner::new(body);
        if scan.space() == Some(b'[') {
            scan.at += 1;
            events.is_array = true;
            if scan.space() == Some(b']') {
                scan.at += 1;
                events.look_behind_array(scan);
                return events;
            }
        }
        events.look(scan);
        events
    }

    /// A body that stands for one event behind so many others, which is refused.
    pub fn fault(body: &str, passed: usize, why: String) -> Self {
        let ahead = fault(0..body.len(), why);
        Self { at: 0, again: 0, is_array: false, passed, passed_max: passed + 1, ahead }
    }

    /// How many events were passed.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Whether there are no more events.
    pub fn is_done(&self) -> bool {
        matches!(self.ahead, Ahead::Nothing)
    }

    /// Passes over the next event, and puts its values into `pairs`. `body` is always the same.
    pub fn next<'a>(&mut self, body: &'a str, keys: &mut Keys<'a, '_>, pairs: &mut Vec<Pair<'a>>) -> Option<Event> {
        self.passed += 1;
        match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Value => Some(self.value(body, keys, pairs)),
            Ahead::Fault(event) => Some(event),
            Ahead::Nothing => {
                self.passed -= 1;
                None
            }
        }
    }

    fn value<'a>(&mut self, body: &'a str, keys: &mut Keys<'a, '_>, pairs: &mut Vec<Pair<'a>>) -> Event {
        let start = self.at;
        let text = if self.again > body.len() { &body[..line_end(body, start)] } else { body };
        let mut scan = Scanner::new(text);
        scan.at = start;
        let fault = match values(&mut scan, keys, pairs) {
            Ok(()) => None,
            Err(Unfit::Malformed(malformed)) => return self.malformed(body, malformed),
            Err(unfit) => {
                // Where it ends has to be known, or that it is no JSON either.
                scan.at = start;
                match scan.kind().and_then(|kind| scan.skip(kind, 0)) {
                    Ok(()) => Some(unfit.to_string()),
                    Err(malformed) => return self.malformed(body, malformed),
                }
            }
        };
        let range = start..scan.at;
        let mut scan = Scanner::new(body);
        scan.at = range.end;
        match self.is_array.then(|| scan.next(b']')) {
            None | Some(Ok(false)) => self.look(scan),
            Some(Ok(true)) => self.look_behind_array(scan),
            Some(Err(malformed)) => {
                let rest = malformed.at.min(body.len())..body.len();
                let why = format!("it is not JSON: {} after the event before it", malformed.what);
                self.ahead = self::fault(rest, why);
            }
        }
        Event { range, fault }
    }

    /// Passes over what is no JSON.
    fn malformed(&mut self, body: &str, malformed: Malformed) -> Event {
        let start = self.at;
        let at = malformed.at - start + 1;
        let fault = Some(format!("it is not JSON: {} at byte {at}", malformed.what));
        if self.is_array {
            return Event { range: start..body.len(), fault };
        }
        let end = line_end(body, start);
        self.again += malformed.at.saturating_sub(end);
        let mut scan = Scanner::new(body);
        scan.at = end;
        self.look(scan);
        Event { range: start..end, fault }
    }

    /// Finds what comes behind a place where there may be an event.
    fn look(&mut self, mut scan: Scanner<'_>) {
        let next = scan.space();
        let rest = scan.at..scan.text().len();
        self.at = scan.at;
        self.ahead = match next {
            Some(_) if self.passed == self.passed_max => {
                let most = self.passed_max;
                fault(rest, format!("the request has more than the {most} events of `limits.events_max`"))
            }
            Some(_) => Ahead::Value,
            None if self.is_array => fault(rest, "it is not JSON: the array does not end".to_owned()),
            None => Ahead::Nothing,
        };
    }

    fn look_behind_array(&mut self, mut scan: Scanner<'_>) {
        if scan.space().is_some() {
            self.ahead = fault(scan.at..scan.text().len(), "something follows the array".to_owned());
        }
    }
}

/// Where the line ends in which a place lies.
fn line_end(body: &str, at: usize) -> usize {
    memchr(b'\n', &body.as_bytes()[at..]).map_or(body.len(), |it| at + it)
}

fn fault(range: Range<usize>, why: String) -> Ahead {
    Ahead::Fault(Event { range, fault: Some(why) })
}

/// A body of JSON without halves of surrogate pairs, which browsers write as escapes when a text was cut within a character:
/// each becomes U+FFFD, which takes as many bytes. They stand for no character, so that neither UTF-8 nor a column could hold
/// them.
pub fn without_half_pairs(body: &str) -> Cow<'_, str> {
    const UNKNOWN: &str = "\\ufffd";
    let mut body = Cow::Borrowed(body);
    let mut at = 0;
    while let Some(escape) = memchr(b'\\', &body.as_bytes()[at..]).map(|it| at + it) {
        let bytes = body.as_bytes();
        at = match (surrogate(bytes, escape), surrogate(bytes, escape + UNKNOWN.len())) {
            (Some(Half::High), Some(Half::Low)) => escape + 2 * UNKNOWN.len(),
            (Some(_), _) => {
                body.to_mut().replace_range(escape..escape + UNKNOWN.len(), UNKNOWN);
                escape + UNKNOWN.len()
            }
            // What follows a backslash is none that begins an escape.
            (None, _) => body.ceil_char_boundary(escape + 2),
        };
    }
    body
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that an escape stands for.
fn surrogate(text: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', half, rest @ ..] = text.get(at..)?.first_chunk::<6>()? else { return None };
    match half {
        _ if !rest.iter().all(u8::is_ascii_hexdigit) => None,
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
        _ => None,
    }
}

/// The fields of a form or a query as a JSON object, in which every value is a string; of a name that occurs more than
/// once an array. Or why they are none of an event.
pub fn form_as_json(form: &[u8]) -> Result<String, String> {
    let pairs = || form.split(|it| *it == b'&').filter(|it| !it.is_empty());
    if pairs().nth(VALUES_MAX).is_some() {
        return Err(Unfit::TooManyValues.to_string());
    }
    let mut fields: HashMap<String, (usize, Vec<String>)> = HashMap::new();
    for (nth, pair) in pairs().enumerate() {
        let at = pair.iter().position(|it| *it == b'=').unwrap_or(pair.len());
        let name = form_decoded(&pair[..at]);
        let value = form_decoded(pair.get(at + 1..).unwrap_or_default());
        fields.entry(name).or_insert_with(|| (nth, Vec::new())).1.push(value);
    }
    let mut fields: Vec<_> = fields.into_iter().map(|(name, (nth, values))| (nth, name, values)).collect();
    fields.sort_unstable_by_key(|it| it.0);
    let mut json = String::from("{");
    for (_, name, values) in &fields {
        if json.len() > 1 {
            json.push(',');
        }
        quote(name, &mut json);
        json.push(':');
        match values.as_slice() {
            [value] => quote(value, &mut json),
            values => {
                json.push('[');
                for (nth, value) in values.iter().enumerate() {
                    if nth > 0 {
                        json.push(',');
                    }
                    quote(value, &mut json);
                }
                json.push(']');
            }
        }
    }
    json.push('}');
    Ok(json)
}

fn form_decoded(text: &[u8]) -> String {
    let spaced: Cow<'_, [u8]> = match text.contains(&b'+') {
        true => text.iter().map(|it| if *it == b'+' { b' ' } else { *it }).collect::<Vec<u8>>().into(),
        false => text.into(),
    };
    // What browsers send is UTF-8; of anything else it is better to keep something than nothing.
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// Adds a string as JSON writes it.
pub fn quote(text: &str, to: &mut String) {
    to.push('"');
    for character in text.chars() {
        match character {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            control if control < ' ' => to.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => to.push(other),
        }
    }
    to.push('"');
}

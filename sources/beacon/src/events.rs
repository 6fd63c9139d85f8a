//! The events of a body: where each of them begins and ends.
//!
//! A body of JSON is an object, an array, or objects one after the other, with or without line ends between them. What is no
//! JSON is an event too, one that will be refused: in an array all the rest of it, otherwise the rest of its line.

use std::borrow::Cow;
use std::ops::Range;

use forebay_codec::scan::{Kind, Scanner};
use percent_encoding::percent_decode;

/// A piece of a body that stands for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub range: Range<usize>,
    /// It can be read no further than that it is there.
    pub fault: Option<String>,
}

impl Piece {
    fn good(range: Range<usize>) -> Self {
        Self { range, fault: None }
    }
}

/// Cuts a body into its events, at most `events_max` of them; one refusal stands for the rest.
pub fn pieces(body: &str, events_max: usize) -> Vec<Piece> {
    let mut scan = Scanner::new(body);
    let mut pieces = Vec::new();
    let is_array = scan.space() == Some(b'[');
    if is_array {
        scan.at += 1;
    }
    let mut is_first = true;
    while let Some(byte) = scan.space() {
        let start = scan.at;
        if pieces.len() == events_max {
            let fault = format!("the request has more than the {events_max} events of `limits.events_max`");
            pieces.push(Piece { range: start..body.len(), fault: Some(fault) });
            return pieces;
        }
        let passed = match is_array {
            true if is_first && byte == b']' => {
                scan.at += 1;
                return after_array(body, scan, pieces);
            }
            _ => scan.kind().and_then(|kind| scan.skip(kind, 0)),
        };
        is_first = false;
        if let Err(malformed) = passed {
            let end = if is_array { body.len() } else { line_end(body, start) };
            let at = malformed.at - start + 1;
            let fault = format!("it is not JSON: {} at byte {at}", malformed.what);
            pieces.push(Piece { range: start..end, fault: Some(fault) });
            if is_array {
                return pieces;
            }
            scan.at = end;
            continue;
        }
        pieces.push(Piece::good(start..scan.at));
        if is_array {
            match scan.next(b']') {
                Ok(false) => {}
                Ok(true) => return after_array(body, scan, pieces),
                Err(malformed) => {
                    let range = malformed.at.min(body.len())..body.len();
                    let fault = format!("it is not JSON: {} after the event before it", malformed.what);
                    pieces.push(Piece { range, fault: Some(fault) });
                    return pieces;
                }
            }
        }
    }
    if is_array {
        let fault = "it is not JSON: the array does not end".to_owned();
        pieces.push(Piece { range: body.len()..body.len(), fault: Some(fault) });
    }
    pieces
}

fn after_array(body: &str, mut scan: Scanner<'_>, mut pieces: Vec<Piece>) -> Vec<Piece> {
    if scan.space().is_some() {
        let fault = "something follows the array".to_owned();
        pieces.push(Piece { range: scan.at..body.len(), fault: Some(fault) });
    }
    pieces
}

fn line_end(body: &str, from: usize) -> usize {
    body[from..].find('\n').map_or(body.len(), |it| from + it)
}

/// The fields of a form or a query as a JSON object, in which every value is a string; of a name that occurs more than
/// once an array.
pub fn form_as_json(form: &[u8]) -> String {
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for pair in form.split(|it| *it == b'&').filter(|it| !it.is_empty()) {
        let at = pair.iter().position(|it| *it == b'=').unwrap_or(pair.len());
        let name = form_decoded(&pair[..at]);
        let value = form_decoded(pair.get(at + 1..).unwrap_or_default());
        match fields.iter_mut().find(|it| it.0 == name) {
            Some((_, values)) => values.push(value),
            None => fields.push((name, vec![value])),
        }
    }
    let mut json = String::from("{");
    for (nth, (name, values)) in fields.iter().enumerate() {
        if nth > 0 {
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
    json
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

/// A value of an event, by the path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The keys with dots between them, as the event has them after their escapes.
    pub path: String,
    pub kind: Kind,
    /// The value as it stands there; of a string without its quotes.
    pub raw: &'a str,
    /// A string has escapes.
    pub is_escaped: bool,
}

/// The values of an event. Objects are taken apart, arrays are not; of equal paths the last one counts. A value that
/// stands as an object in a field that is one (`labels`) is taken apart too.
pub fn pairs<'a>(event: &'a str, pairs: &mut Vec<Pair<'a>>) -> Result<(), String> {
    pairs.clear();
    let mut scan = Scanner::new(event);
    let malformed = |it: forebay_codec::scan::Malformed| format!("it is not JSON: {} at byte {}", it.what, it.at + 1);
    match scan.kind().map_err(malformed)? {
        Kind::Object => object(&mut scan, "", 0, pairs).map_err(malformed),
        other => Err(format!("it is {}, not an object", other.noun())),
    }
}

fn object<'a>(
    scan: &mut Scanner<'a>,
    under: &str,
    depth: usize,
    pairs: &mut Vec<Pair<'a>>,
) -> Result<(), forebay_codec::scan::Malformed> {
    scan.open(depth)?;
    if scan.space() == Some(b'}') {
        scan.at += 1;
        return Ok(());
    }
    loop {
        scan.expect(b'"', "there is no name")?;
        let name = scan.string()?;
        let mut path = String::with_capacity(under.len() + 1 + name.end - name.start);
        if !under.is_empty() {
            path.push_str(under);
            path.push('.');
        }
        forebay_codec::scan::unescape(&scan.text()[name.range()], &mut path);
        scan.expect(b':', "there is no `:`")?;
        match scan.kind()? {
            Kind::Object => object(scan, &path, depth + 1, pairs)?,
            Kind::Text => {
                scan.at += 1;
                let text = scan.string()?;
                pairs.push(Pair { path, kind: Kind::Text, raw: &scan.text()[text.range()], is_escaped: text.escaped });
            }
            kind => {
                let start = scan.at;
                scan.skip(kind, depth + 1)?;
                pairs.push(Pair { path, kind, raw: &scan.text()[start..scan.at], is_escaped: false });
            }
        }
        if scan.next(b'}')? {
            return Ok(());
        }
    }
}

impl Pair<'_> {
    /// A string as the characters that it stands for, anything else as it was written.
    pub fn text(&self) -> Cow<'_, str> {
        if !self.is_escaped {
            return self.raw.into();
        }
        let mut plain = String::with_capacity(self.raw.len());
        forebay_codec::scan::unescape(self.raw, &mut plain);
        plain.into()
    }

    /// The value as JSON.
    pub fn json(&self, to: &mut String) {
        match self.kind {
            Kind::Text => {
                to.push('"');
                to.push_str(self.raw);
                to.push('"');
            }
            _ => to.push_str(self.raw),
        }
    }
}

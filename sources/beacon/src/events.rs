//! The events of a body: where each of them begins and ends.
//!
//! A body of JSON is an object, an array, or objects one after the other, with or without line ends between them. What is no
//! JSON is an event too, one that will be refused: in an array all the rest of it, otherwise the rest of its line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use forebay_codec::scan::{Kind, Malformed, Scanner};
use percent_encoding::percent_decode;

/// The values of an event, and the bytes of a path that leads to one. Nobody's events have as many, and what is done for each
/// value, or with its path, is bounded by this.
pub const VALUES_MAX: usize = 1000;
pub const PATH_BYTES_MAX: usize = 1024;

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

/// A body of JSON without halves of surrogate pairs, which browsers write as escapes when a text was cut within a character:
/// each becomes U+FFFD, which takes as many bytes. They stand for no character, so that neither UTF-8 nor a column could hold
/// them.
pub fn without_half_pairs(body: &str) -> Cow<'_, str> {
    const UNKNOWN: &str = "\\ufffd";
    let mut body = Cow::Borrowed(body);
    let mut at = 0;
    while let Some(escape) = body[at..].find('\\').map(|it| at + it) {
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
        return Err(too_many_values());
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

fn too_many_values() -> String {
    format!("it has more than {VALUES_MAX} values")
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
    match scan.kind().map_err(Unfit::from).and_then(|kind| match kind {
        Kind::Object => object(&mut scan, "", 0, pairs),
        other => Err(Unfit::NoObject(other)),
    }) {
        Ok(()) => Ok(()),
        Err(Unfit::Malformed(it)) => Err(format!("it is not JSON: {} at byte {}", it.what, it.at + 1)),
        Err(Unfit::NoObject(kind)) => Err(format!("it is {}, not an object", kind.noun())),
        Err(Unfit::TooManyValues) => Err(too_many_values()),
        Err(Unfit::LongPath) => {
            Err(format!("it has a key of more than {PATH_BYTES_MAX} bytes, those around it included"))
        }
    }
}

/// Why an event has no values.
enum Unfit {
    Malformed(Malformed),
    NoObject(Kind),
    TooManyValues,
    LongPath,
}

impl From<Malformed> for Unfit {
    fn from(it: Malformed) -> Self {
        Self::Malformed(it)
    }
}

fn object<'a>(scan: &mut Scanner<'a>, under: &str, depth: usize, pairs: &mut Vec<Pair<'a>>) -> Result<(), Unfit> {
    scan.open(depth)?;
    if scan.space() == Some(b'}') {
        scan.at += 1;
        return Ok(());
    }
    loop {
        scan.expect(b'"', "there is no name")?;
        let name = scan.string()?;
        let path_bytes = under.len() + 1 + name.range().len();
        if path_bytes > PATH_BYTES_MAX {
            return Err(Unfit::LongPath);
        }
        let mut path = String::with_capacity(path_bytes);
        if !under.is_empty() {
            path.push_str(under);
            path.push('.');
        }
        forebay_codec::scan::unescape(&scan.text()[name.range()], &mut path);
        scan.expect(b':', "there is no `:`")?;
        match scan.kind()? {
            Kind::Object => object(scan, &path, depth + 1, pairs)?,
            _ if pairs.len() == VALUES_MAX => return Err(Unfit::TooManyValues),
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

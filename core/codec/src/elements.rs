//! Cuts the elements out of a JSON array while it comes in.
//!
//! It looks at brackets and quotes only; whether an element is JSON is for those who read it.

use std::io::Read;
use std::ops::Range;

use crate::decompress::Decompressor;
use crate::json;
use crate::records::{Begun, CutError, WINDOW_BYTES, Window};

/// A longer name of a member is not compared.
const NAME_BYTES_MAX: usize = 4 << 10;

/// The elements of an array, or of the array that is one member of an object: `{"Records": […]}`.
/// Several of these may follow each other.
pub struct Elements<R> {
    input: Decompressor<R>,
    element_bytes_max: usize,
    /// The name of the member; `None`: there is only the array.
    member: Option<String>,
    /// What may come next.
    state: State,
    /// The member was seen.
    found: bool,
    /// The beginning of the name at hand.
    name: Vec<u8>,
    begun: Begun,
    cuts: Vec<Range<usize>>,
    /// Bytes that were taken so far.
    taken: u64,
    /// What is wrong with the bytes that follow.
    malformed: Option<String>,
}

#[derive(Clone, Copy)]
enum State {
    /// The beginning of an array or object, or the end of everything.
    Document,
    /// An element, or the array's end.
    FirstElement,
    Element,
    InElement(Extent),
    /// A comma, or the array's end.
    AfterElement,
    /// A name, or the object's end.
    FirstMember,
    Member,
    InName {
        escaped: bool,
    },
    Colon,
    Value,
    InValue(Extent),
    /// A comma, or the object's end.
    AfterMember,
}

/// How far a look at the bytes came.
enum Look {
    /// To their end.
    Through,
    /// To the end of an element of which the beginning was kept: so many bytes.
    Kept(usize),
    /// So many bytes before something that does not belong there.
    Malformed(usize, String),
}

impl<R: Read> Elements<R> {
    /// Cuts `input` into elements, of which those are kept whole that have at most `element_bytes_max` bytes.
    pub fn new(input: Decompressor<R>, element_bytes_max: usize, member: Option<String>) -> Self {
        Self {
            input,
            element_bytes_max,
            member,
            state: State::Document,
            found: false,
            name: Vec::new(),
            begun: Begun::default(),
            cuts: Vec::new(),
            taken: 0,
            malformed: None,
        }
    }

    /// The next elements, at most `elements_max`, or `None` at the end.
    pub fn window(&mut self, elements_max: usize) -> Result<Option<Window<'_>>, CutError> {
        self.begun.forget();
        self.cuts.clear();
        loop {
            if let Some(why) = self.malformed.take() {
                return Err(CutError::Rest(why));
            }
            let bytes = self.input.fill()?;
            let bytes = &bytes[..bytes.len().min(WINDOW_BYTES)];
            if bytes.is_empty() {
                return match self.state {
                    State::Document => Ok(None),
                    _ => Err(CutError::Rest(format!("the JSON ends too early, after {} bytes", self.taken))),
                };
            }
            let mut scan = Scan {
                bytes,
                at: 0,
                element_start: 0,
                state: &mut self.state,
                member: self.member.as_deref(),
                found: &mut self.found,
                name: &mut self.name,
                continued: !self.begun.is_empty(),
                cuts: &mut self.cuts,
                elements_max,
            };
            let look = scan.run();
            let (at, start) = (scan.at, scan.element_start);
            let inside = matches!(self.state, State::InElement(_));
            let taken = match look {
                Look::Kept(n) => {
                    self.begun.push(self.input.take(n), self.element_bytes_max);
                    self.taken += n as u64;
                    return Ok(Some(self.begun.end(0)));
                }
                Look::Malformed(n, why) => {
                    if inside {
                        self.begun.push(&bytes[start..n], self.element_bytes_max);
                    }
                    self.malformed = Some(format!("{why} at byte {} of the JSON", self.taken + n as u64 + 1));
                    n
                }
                Look::Through if inside && self.cuts.is_empty() => {
                    self.begun.push(&bytes[start..], self.element_bytes_max);
                    bytes.len()
                }
                // It is looked at once more, together with its end.
                Look::Through if inside => {
                    self.state = State::Element;
                    start
                }
                Look::Through => at,
            };
            self.taken += taken as u64;
            if self.cuts.is_empty() {
                self.input.take(taken);
                continue;
            }
            let bytes = self.input.take(taken);
            return Ok(Some(Window { bytes, cuts: &self.cuts, begun_of: None }));
        }
    }

    /// What there is of an element that has not ended.
    pub fn begun(&self) -> &[u8] {
        self.begun.head()
    }

    /// The input, of which some bytes may be left to read.
    pub fn input(&mut self) -> &mut R {
        self.input.input()
    }
}

/// One look at the bytes at hand.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the element at hand begins; 0 if it began before.
    element_start: usize,
    state: &'a mut State,
    member: Option<&'a str>,
    found: &'a mut bool,
    name: &'a mut Vec<u8>,
    /// The element at hand began before these bytes.
    continued: bool,
    cuts: &'a mut Vec<Range<usize>>,
    elements_max: usize,
}

impl Scan<'_> {
    fn run(&mut self) -> Look {
        while self.at < self.bytes.len() && self.cuts.len() < self.elements_max {
            if let State::InElement(_) | State::InValue(_) | State::InName { .. } = self.state {
                if let Some(look) = self.inside() {
                    return look;
                }
                continue;
            }
            let byte = self.bytes[self.at];
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                self.at += 1;
                continue;
            }
            match self.between(byte) {
                Ok(state) => *self.state = state,
                Err(why) => return Look::Malformed(self.at, why),
            }
        }
        Look::Through
    }

    /// Goes on in something that has an end of its own.
    fn inside(&mut self) -> Option<Look> {
        let rest = &self.bytes[self.at..];
        match self.state {
            State::InElement(extent) | State::InValue(extent) => match extent.advance(rest) {
                Extending::On => self.at = self.bytes.len(),
                Extending::Mismatch(n) => {
                    return Some(Look::Malformed(self.at + n, "a bracket is closed that was not opened".into()));
                }
                Extending::Ended(n) => {
                    self.at += n;
                    if let State::InValue(_) = self.state {
                        *self.state = State::AfterMember;
                        return None;
                    }
                    *self.state = State::AfterElement;
                    if self.continued {
                        return Some(Look::Kept(self.at));
                    }
                    self.cuts.push(self.element_start..self.at);
                }
            },
            State::InName { escaped } => {
                let byte = self.bytes[self.at];
                self.at += 1;
                if byte == b'"' && !*escaped {
                    *self.state = State::Colon;
                } else {
                    *escaped = byte == b'\\' && !*escaped;
                    if self.name.len() <= NAME_BYTES_MAX {
                        self.name.push(byte);
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// What comes after a byte that is no white space, between values.
    fn between(&mut self, byte: u8) -> Result<State, String> {
        let (at, state) = match (*self.state, byte) {
            (State::Document, b'[') if self.member.is_none() => (self.at + 1, State::FirstElement),
            (State::Document, b'{') if self.member.is_some() => {
                *self.found = false;
                (self.at + 1, State::FirstMember)
            }
            (State::Document, _) => {
                let wanted = if self.member.is_some() { '{' } else { '[' };
                return Err(format!("there is no `{wanted}`"));
            }
            (State::FirstElement | State::AfterElement, b']') => {
                (self.at + 1, if self.member.is_some() { State::AfterMember } else { State::Document })
            }
            (State::AfterElement, b',') => (self.at + 1, State::Element),
            (State::AfterElement, _) => return Err("there is no `,` or `]`".into()),
            (State::FirstElement | State::Element, b',' | b']' | b'}' | b':') => {
                return Err("there is no element".into());
            }
            (State::FirstElement | State::Element, _) => {
                self.element_start = self.at;
                (self.at, State::InElement(Extent::default()))
            }
            (State::FirstMember | State::AfterMember, b'}') => {
                if let (Some(member), false) = (self.member, *self.found) {
                    return Err(format!("the object has no `{member}` before its end"));
                }
                (self.at + 1, State::Document)
            }
            (State::FirstMember | State::Member, b'"') => {
                self.name.clear();
                (self.at + 1, State::InName { escaped: false })
            }
            (State::FirstMember | State::Member, _) => return Err("there is no name".into()),
            (State::AfterMember, b',') => (self.at + 1, State::Member),
            (State::AfterMember, _) => return Err("there is no `,` or `}`".into()),
            (State::Colon, b':') => (self.at + 1, State::Value),
            (State::Colon, _) => return Err("there is no `:`".into()),
            (State::Value, _) => return self.value(byte),
            (inside @ (State::InElement(_) | State::InValue(_) | State::InName { .. }), _) => (self.at, inside),
        };
        self.at = at;
        Ok(state)
    }

    /// The value of a member: the array that is looked for, or one to pass over.
    fn value(&mut self, byte: u8) -> Result<State, String> {
        let Some(member) = self.member.filter(|it| json::same_name(self.name, it)) else {
            return match byte {
                b',' | b']' | b'}' | b':' => Err("there is no value".into()),
                _ => Ok(State::InValue(Extent::default())),
            };
        };
        if std::mem::replace(self.found, true) {
            return Err(format!("there is a second `{member}`"));
        }
        if byte != b'[' {
            return Err(format!("`{member}` is no array"));
        }
        self.at += 1;
        Ok(State::FirstElement)
    }
}

/// How far a value goes: what is known of it so far.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// How many brackets are open.
    depth: u64,
    /// Which of the first 64 of them are braces.
    braces: u64,
    in_string: bool,
    escaped: bool,
    /// It is a number or a word, or something that is no JSON.
    bare: bool,
}

enum Extending {
    /// It goes on after these bytes.
    On,
    /// It ended after so many bytes.
    Ended(usize),
    /// After so many bytes comes a bracket that does not match.
    Mismatch(usize),
}

impl Extent {
    fn advance(&mut self, bytes: &[u8]) -> Extending {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                if std::mem::take(&mut self.escaped) {
                    at += 1;
                    continue;
                }
                let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else {
                    return Extending::On;
                };
                self.escaped = bytes[at + next] == b'\\';
                self.in_string = self.escaped;
                at += next + 1;
                if !self.in_string && self.depth == 0 {
                    return Extending::Ended(at);
                }
                continue;
            }
            match bytes[at] {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' if self.bare => return Extending::Ended(at),
                b'"' if !self.bare => self.in_string = true,
                b'{' | b'[' if !self.bare => {
                    if self.depth < 64 {
                        let brace = u64::from(bytes[at] == b'{') << self.depth;
                        self.braces = self.braces & !(1 << self.depth) | brace;
                    }
                    self.depth += 1;
                }
                b'}' | b']' if self.bare => return Extending::Ended(at),
                close @ (b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth < 64 && (self.braces >> self.depth & 1 == 1) != (close == b'}') {
                        return Extending::Mismatch(at);
                    }
                    if self.depth == 0 {
                        return Extending::Ended(at + 1);
                    }
                }
                _ if self.depth == 0 => self.bare = true,
                _ => {}
            }
            at += 1;
        }
        Extending::On
    }
}

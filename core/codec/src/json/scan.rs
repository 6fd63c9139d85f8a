//! Walks over a JSON text, and finds where it is none: what a source that cuts its own texts is made of.

use std::ops::Range;

use super::DEPTH_MAX;

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// After so many bytes.
    pub at: usize,
    /// In words: "there is no value".
    pub what: &'static str,
}

/// A string, without its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Where its first byte stands.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
    /// It has escapes, so that it does not stand in the text as it is.
    pub escaped: bool,
}

impl Text {
    /// Where it stands.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// What begins at a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// A string.
    Text,
    /// A digit or a minus.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl Kind {
    /// As in "it is a number".
    pub fn noun(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Text => "a string",
            Self::Number => "a number",
            Self::True => "`true`",
            Self::False => "`false`",
            Self::Null => "`null`",
        }
    }
}

/// Goes through a text from its beginning.
pub struct Scanner<'a> {
    text: &'a str,
    /// The next byte to look at.
    pub at: usize,
}

impl<'a> Scanner<'a> {
    /// Begins at the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// All of it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What was not looked at yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Says what is wrong at the next byte.
    pub fn malformed<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, what })
    }

    /// Passes over white space, and gives the byte after it.
    #[inline]
    pub fn space(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Passes over this byte, and white space before it.
    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.peek() == Some(byte) || self.space() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.malformed(what)
    }

    /// What the next value is, by its first byte.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, Malformed> {
        Ok(match self.space() {
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'n') => Kind::Null,
            _ => return self.malformed("there is no value"),
        })
    }

    /// Passes over a value of which [`Scanner::kind`] told what it is, inside of so many objects and arrays.
    pub fn skip(&mut self, kind: Kind, depth: usize) -> Result<(), Malformed> {
        match kind {
            Kind::Text => {
                self.at += 1;
                self.string().map(|_| ())
            }
            Kind::Number => self.number(),
            Kind::True => self.word("true"),
            Kind::False => self.word("false"),
            Kind::Null => self.word("null"),
            Kind::Object => self.members(depth, |it| {
                it.expect(b'"', "there is no name")?;
                it.string()?;
                it.expect(b':', "there is no `:`")
            }),
            Kind::Array => self.members(depth, |_| Ok(())),
        }
    }

    /// Passes over an object or an array, whose members begin with something before their value.
    fn members(&mut self, depth: usize, before: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let close = if self.open(depth)? { b'}' } else { b']' };
        if self.space() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            before(self)?;
            let kind = self.kind()?;
            self.skip(kind, depth + 1)?;
            if self.next(close)? {
                return Ok(());
            }
        }
    }

    /// Passes over the bracket that begins an object (`true`) or an array, if it is not one too deep.
    pub fn open(&mut self, depth: usize) -> Result<bool, Malformed> {
        if depth >= DEPTH_MAX {
            return self.malformed("it is nested more than 64 deep");
        }
        self.at += 1;
        Ok(self.text.as_bytes()[self.at - 1] == b'{')
    }

    /// Passes over the comma before the next member (`false`), or the end of them.
    #[inline]
    pub fn next(&mut self, close: u8) -> Result<bool, Malformed> {
        match self.space() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ if close == b'}' => self.malformed("there is no `,` or `}`"),
            _ => self.malformed("there is no `,` or `]`"),
        }
    }

    /// Passes over a string, from after its first quote to after its last one.
    #[inline]
    pub fn string(&mut self) -> Result<Text, Malformed> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { start, end: self.at - 1, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.malformed("there is a control character in a string"),
                None => return self.malformed("a string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [_, b'u', rest @ ..] => match (hex(rest), rest.get(4..)) {
                (Some(0xd800..=0xdbff), Some([b'\\', b'u', low @ ..])) => match hex(low) {
                    Some(0xdc00..=0xdfff) => self.at += 12,
                    _ => return self.malformed("there is half of a surrogate pair"),
                },
                (Some(0xd800..=0xdfff), _) => return self.malformed("there is half of a surrogate pair"),
                (Some(_), _) => self.at += 6,
                (None, _) => return self.malformed("there is a bad escape"),
            },
            _ => return self.malformed("there is a bad escape"),
        }
        Ok(())
    }

    /// Passes over a number.
    #[inline]
    pub fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Malformed> {
        let digits = self.rest().iter().take_while(|it| it.is_ascii_digit()).count();
        if digits == 0 {
            return self.malformed("there is no digit");
        }
        self.at += digits;
        Ok(())
    }

    /// Passes over `true`, `false` or `null`.
    #[inline]
    pub fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.malformed("there is no value");
        }
        self.at += word.len();
        Ok(())
    }
}

/// How many bytes come before the next quote, backslash or control character. Looks at eight of them at a time.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest byte for which this has its high bit set is less than `limit`. (Those above it may be mistaken.)
    let less = |it: u64, limit: u8| it.wrapping_sub(ONES * u64::from(limit)) & !it & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (nth, eight) in words.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        // This leaves the control characters among themselves, and puts the quote (0x22) behind them.
        let control_or_quote = less(eight ^ (ONES * 0x02), 0x21);
        let backslash = less(eight ^ (ONES * u64::from(b'\\')), 1);
        let found = control_or_quote | backslash;
        if found != 0 {
            return nth * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |it: &u8| matches!(it, b'"' | b'\\' | 0..0x20);
    let before = words.len() * 8;
    rest.iter().position(special).map_or(bytes.len(), |it| before + it)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |value, it| Some(value << 4 | char::from(*it).to_digit(16)?))
}

/// Adds a string that was passed over to `plain`, each escape as the character it stands for.
pub fn unescape(raw: &str, plain: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        let escape = &rest.as_bytes()[at + 1..];
        let (character, bytes) = match escape.first() {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => match (escape.get(1..).and_then(hex), escape.get(7..).and_then(hex)) {
                (Some(high @ 0xd800..=0xdbff), Some(low)) => {
                    let point = 0x10000 + ((high & 0x3ff) << 10 | low & 0x3ff);
                    (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
                }
                (point, _) => (point.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            },
            // A quote, a slash or a backslash stands for itself.
            other => (other.map_or(char::REPLACEMENT_CHARACTER, |it| char::from(*it)), 2),
        };
        plain.push(character);
        rest = &rest[at + bytes..];
    }
    plain.push_str(rest);
}

//! Sets of bytes: what a scanner makes of character classes.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange};

/// A set of bytes, and whether only the engine can judge those beyond ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSet {
    /// One bit for each byte.
    members: [u64; 4],
    /// Some characters beyond ASCII are in the class and some are not.
    pub mixed: bool,
}

impl std::fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ascii = |it: &u8| self.contains(*it);
        let (some, rest) = if (0..128).filter(ascii).count() > 64 { ("^", false) } else { ("", true) };
        let shown: Vec<u8> = (0..128).filter(|it| self.contains(*it) == rest).collect();
        write!(f, "[{some}{}]", shown.escape_ascii())?;
        f.write_str(if self.mixed {
            "+some"
        } else if self.contains(0x80) {
            "+all"
        } else {
            ""
        })
    }
}

impl ByteSet {
    /// No bytes.
    pub const EMPTY: Self = Self { members: [0; 4], mixed: false };

    /// Whether the byte is in the set.
    pub fn contains(&self, byte: u8) -> bool {
        self.members[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    /// Puts a byte into it.
    pub fn add(&mut self, byte: u8) {
        self.members[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// The bytes of the set.
    pub fn inside(&self) -> impl Iterator<Item = u8> {
        (0..=255).filter(|it| self.contains(*it))
    }

    /// The set as a class of a pattern.
    pub fn to_class(self) -> Class {
        Class::Bytes(ClassBytes::new(self.inside().map(|it| ClassBytesRange::new(it, it))))
    }

    /// The bytes that are not in the set.
    pub fn outside(&self) -> impl Iterator<Item = u8> {
        (0..=255).filter(|it| !self.contains(*it))
    }

    /// One byte.
    pub fn of_byte(byte: u8) -> Self {
        let mut set = Self::EMPTY;
        set.add(byte);
        set
    }

    /// The bytes of a class, and those that its characters beyond ASCII may consist of.
    pub fn of_class(class: &Class) -> Self {
        let mut set = Self::EMPTY;
        match class {
            Class::Bytes(class) => {
                for range in class.ranges() {
                    (range.start()..=range.end()).for_each(|it| set.add(it));
                }
            }
            Class::Unicode(class) => {
                let mut beyond = 0_u32;
                for range in class.ranges() {
                    let (start, end) = (range.start() as u32, range.end() as u32);
                    (start..=end.min(0x7f)).for_each(|it| set.add(it as u8));
                    beyond += (end + 1).saturating_sub(start.max(0x80));
                    // Surrogates are no characters: a range over them counts them, and lines never hold them.
                    if start < 0xd800 && end > 0xdfff {
                        beyond -= 0x800;
                    }
                }
                const ALL_BEYOND_ASCII: u32 = 0x11_0000 - 0x800 - 0x80;
                set.mixed = beyond > 0 && beyond < ALL_BEYOND_ASCII;
                if beyond > 0 {
                    (0x80..=0xff).for_each(|it| set.add(it));
                }
            }
        }
        set
    }

    /// Adds the bytes of another set.
    pub fn join(&mut self, other: &Self) {
        self.members.iter_mut().zip(&other.members).for_each(|(mine, its)| *mine |= its);
        self.mixed |= other.mixed;
    }

    /// Whether they have a byte in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.members.iter().zip(&other.members).any(|(mine, its)| mine & its != 0)
    }
}

//! JSON objects to rows: one pass over the text, which goes straight into the columns.
//!
//! [`scan`] walks over a text and holds it against RFC 8259. [`paths`] knows which key leads to which column, and
//! [`names`] remembers it.
//! [`rows`] is all of them together. A tree, or a tape, would lose what the text says: a number is its digits here, so
//! that `0.10` stays `0.10` as text, and is exact as a decimal.

mod names;
mod number;
mod paths;
mod rows;
pub mod scan;

pub use names::Names;
pub use number::plain;
pub use paths::{JsonColumns, Paths, Target};
pub use rows::JsonRows;
pub use scan::unescape;

/// Objects and arrays within each other, the outermost included, before a text is refused.
pub const DEPTH_MAX: usize = 64;

/// Whether a name, as it stands between its quotes, is this one.
pub fn same_name(raw: &[u8], name: &str) -> bool {
    if !raw.contains(&b'\\') {
        return raw == name.as_bytes();
    }
    let Ok(raw) = std::str::from_utf8(raw) else {
        return false;
    };
    let quoted = format!("{raw}\"");
    let Ok(string) = scan::Scanner::new(&quoted).string() else {
        return false;
    };
    let mut plain = String::new();
    unescape(&quoted[string.range()], &mut plain);
    plain == name
}

//! Names and values as they stand in a statement. Everything that comes from a file or from rows goes through here.

/// A name: of a column, a table, a database.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", escaped(name, '`'))
}

/// A text.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", escaped(text, '\''))
}

/// The names of columns, in parentheses.
pub(crate) fn names<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let columns: Vec<String> = columns.into_iter().map(name).collect();
    format!("({})", columns.join(", "))
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => escaped.push_str("\\0"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            it if it == quote || it == '\\' => escaped.extend(['\\', it]),
            it => escaped.push(it),
        }
    }
    escaped
}

/// What the server means by a value of `TabSeparated`, or by what it puts between quotes.
pub(crate) fn unescaped(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let next = if character == '\\' { characters.next() } else { None };
        unescaped.push(match next {
            None => character,
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(other) => other,
        });
    }
    unescaped
}

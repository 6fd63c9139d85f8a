//! The text of a prefix, with `!{namespace:value}` where rows, times or deliveries decide, as Firehose has it.
//!
//! See <https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html>. Hive partitions are such a text too.

use crate::time_pattern::TimePattern;

/// The most characters of a prefix in the file.
const SETTING_MAX: usize = 1024;

/// What is put behind a prefix that says nothing of the time, as it is.
const TIME_BY_DEFAULT: &str = "yyyy/MM/dd/HH/";

/// A piece of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// The row's time.
    Time(TimePattern),
    /// The row's value in a column of this name.
    Column(String),
    /// Eleven characters that nobody else has; the number says which such piece of the prefix it is.
    Random(usize),
    /// What is the matter with rows that go to the error prefix.
    ErrorType,
}

/// Which of two prefixes it is: the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rows,
    Errors,
}

/// Reads a prefix, or says what is wrong with it, and what would have worked.
pub(crate) fn parse(text: &str, kind: Kind) -> Result<Vec<Piece>, (String, &'static str)> {
    if text.chars().count() > SETTING_MAX {
        return Err((format!("a prefix has at most {SETTING_MAX} characters"), "shorten it"));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut random = 0;
    while let Some((plain, behind)) = rest.split_once("!{") {
        push_text(&mut pieces, plain);
        // A quoted literal of a time pattern may hold a brace.
        let end = closing(behind).ok_or_else(|| {
            ("an expression begins with `!{` and is not closed".to_owned(), "write `!{timestamp:yyyy}`, for example")
        })?;
        let piece = expression(&behind[..end], kind, random)?;
        random += usize::from(matches!(piece, Piece::Random(_)));
        pieces.push(piece);
        rest = &behind[end + 1..];
    }
    push_text(&mut pieces, rest);
    let has_expressions = pieces.iter().any(|it| !matches!(it, Piece::Text(_)));
    match kind {
        Kind::Rows if !pieces.iter().any(|it| matches!(it, Piece::Time(_))) => {
            let time = TimePattern::parse(TIME_BY_DEFAULT).map_err(|why| (why, ""))?;
            pieces.push(Piece::Time(time));
        }
        Kind::Errors if has_expressions && !pieces.contains(&Piece::ErrorType) => {
            let what = "an error prefix with expressions needs `!{firehose:error-output-type}`".to_owned();
            return Err((what, "for example `errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`"));
        }
        _ => {}
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Where the brace stands that closes an expression.
fn closing(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, character)| {
        quoted ^= character == '\'';
        (character == '}' && !quoted).then_some(at)
    })
}

fn expression(text: &str, kind: Kind, random: usize) -> Result<Piece, (String, &'static str)> {
    let Some((namespace, value)) = text.split_once(':') else {
        return Err((format!("`!{{{text}}}` has no `:`"), "write `!{timestamp:yyyy}`, for example"));
    };
    match (namespace, value) {
        ("timestamp", pattern) if !pattern.is_empty() => match TimePattern::parse(pattern) {
            Ok(pattern) => Ok(Piece::Time(pattern)),
            Err(why) => Err((why, "for example `!{timestamp:yyyy/MM/dd/HH}`")),
        },
        ("firehose", "random-string") => Ok(Piece::Random(random)),
        ("firehose", "error-output-type") if kind == Kind::Errors => Ok(Piece::ErrorType),
        ("firehose", "error-output-type") => {
            let what = "`!{firehose:error-output-type}` says nothing about rows that are as they should be".to_owned();
            Err((what, "it is for `error_prefix`"))
        }
        ("partitionKeyFromQuery", _) if kind == Kind::Errors => {
            let what = format!("`!{{{text}}}` is not for an error prefix");
            Err((what, "use `!{firehose:error-output-type}` and `!{timestamp:…}` there"))
        }
        ("partitionKeyFromQuery", column) if !column.is_empty() => Ok(Piece::Column(column.to_owned())),
        ("partitionKeyFromLambda", _) => {
            let what = format!("there is no Lambda here that could answer `!{{{text}}}`");
            Err((what, "make a column of it upstream, and write `!{partitionKeyFromQuery:column}`"))
        }
        _ => Err((
            format!("`!{{{text}}}` is no expression"),
            "known are `!{timestamp:pattern}`, `!{partitionKeyFromQuery:column}`, `!{firehose:random-string}`, and in \
             `error_prefix` `!{firehose:error-output-type}`",
        )),
    }
}

/// The characters of `!{firehose:random-string}`: the same for the same delivery, since a delivery that is made again
/// must have the same names.
pub(crate) fn random_string(delivery: &str, nth: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = xxhash_rust::xxh3::xxh3_128_with_seed(delivery.as_bytes(), nth as u64);
    let mut text = String::with_capacity(11);
    for _ in 0..11 {
        text.push(char::from(ALPHABET[(left % 62) as usize]));
        left /= 62;
    }
    text
}

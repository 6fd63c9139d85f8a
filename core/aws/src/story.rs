//! The causes of an error, in one line.

use std::error::Error;

use aws_smithy_types::error::ErrorMetadata;

/// What the SDK says on the way down that tells nothing.
const EMPTY: [&str; 7] =
    ["dispatch failure", "io error", "other", "request has timed out", "service error", "timeout", "user error"];

/// Comes before the answer of a service that has no type of its own in the SDK.
const UNHANDLED: &str = "unhandled error";

/// The errors below this one, from the outermost to the first cause, without those that say nothing new.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in below(error) {
        let text = match cause.downcast_ref::<ErrorMetadata>() {
            Some(answer) => told_by(answer),
            None => one_line(&cause.to_string()),
        };
        if text.is_empty()
            || EMPTY.contains(&text.as_str())
            || text.starts_with(UNHANDLED)
            || told.iter().any(|it| it.contains(&text))
        {
            continue;
        }
        // Some repeat their causes in their own text: then that says it all.
        told.retain(|it| !text.contains(it.as_str()));
        told.push(text);
    }
    told.join(": ")
}

/// `` `AccessDenied`: User: … is not authorized ``
fn told_by(answer: &ErrorMetadata) -> String {
    let code = answer.code().map(|it| format!("`{it}`"));
    let told: Vec<String> = code.into_iter().chain(answer.message().map(one_line)).collect();
    told.join(": ")
}

/// A text of somebody else's as a part of a line: no breaks, no full stop.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty()).collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The first of the errors below this one that is an `E`.
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    below(error).find_map(|it| it.downcast_ref())
}

/// Whether TLS could not be agreed upon: another protocol, or a certificate that is not trusted. The SDK keeps the type
/// of this error to itself.
pub fn caused_by_tls(error: &(dyn Error + 'static)) -> bool {
    below(error).any(|it| it.to_string() == "TLS handshake failed")
}

fn below<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |it: &&(dyn Error + 'static)| (*it).source())
}

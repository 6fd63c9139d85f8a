//! Strings and names, as objects have them.

use crate::scan::Scanner;
use crate::{Names, Paths, Target};

/// Scenario: strings of all lengths with each byte, and one of more than ASCII, at each of their places.
/// Guarantees: a string ends at the first quote, and what may not stand in it is found where it stands.
#[test]
fn strings() {
    for length in 0..40 {
        for at in 0..length {
            for special in (0..0x80).map(char::from).chain(['\u{80}', '\u{fff}', '\u{1f600}']) {
                let plain = |nth: usize| if nth.is_multiple_of(3) { 'é' } else { '~' };
                let before: String = (0..at).map(plain).collect();
                let inside: String = [special].into_iter().chain((at..length).map(|_| 'é')).collect();
                let text = format!("{before}{inside}\"behind\"");
                let mut scan = Scanner::new(&text);
                let found = scan.string().map(|it| it.end).map_err(|it| it.at);
                let expected = match special {
                    '"' => Ok(before.len()),
                    '\\' => Err(before.len()),
                    control if control < ' ' => Err(before.len()),
                    _ => Ok(before.len() + inside.len()),
                };
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }
}

/// Scenario: objects with the same names in the same order, with some left out, in other orders, and with more names than
/// are remembered.
/// Guarantees: each name leads where the paths say, whatever came before it.
#[test]
fn found_names() {
    let paths = Paths::new(["a", "b.a", "b.c.d", "e"].into_iter()).unwrap();
    let mut names = Names::default();
    let many: Vec<String> = (0..3000).map(|it| format!("x{it}")).collect();
    let texts = [
        &["a", "b.a", "e", "x"][..],
        &["a", "b.a", "e", "x"],
        &["e", "b", "b.c", "b.a", "b.b.c.d", "a"],
        &["x", "y", "z", "b.c.d", "a", "e", "e", "a"],
        &["a", "x", "b.c"],
    ];
    let many = many.chunks(100).map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
    for text in texts.into_iter().map(<[_]>::to_vec).chain(many).cycle().take(200) {
        names.begin();
        for path in text {
            for (node, name) in [(Some(Paths::ROOT), path), (inner(&paths, "b"), path.trim_start_matches("b."))] {
                let (node, expected) = (node.unwrap(), paths.find(node.unwrap(), name));
                let quoted = format!("{name}\":1");
                let found = match names.expected(node, quoted.as_bytes()) {
                    Some((bytes, target)) => {
                        assert_eq!(bytes, name.len() + 1);
                        target
                    }
                    None => names.find(&paths, node, name),
                };
                assert_eq!(found, expected, "{node} {name}");
            }
        }
    }
}

fn inner(paths: &Paths, name: &str) -> Option<usize> {
    match paths.find(Paths::ROOT, name) {
        Target::Node(node) => Some(node),
        Target::Column(_) | Target::Unknown => None,
    }
}

//! The one way through a body against two simple ones: one that only cuts it into events, and one that only finds the values
//! of an event.

use std::ops::Range;

use forebay_codec::scan::{Kind, Malformed, Scanner, unescape};
use forebay_codec::types::Type;
use forebay_codec::{Columns, Names};
use proptest::prelude::*;

use crate::columns::{Layout, Unknown};
use crate::events::Events;
use crate::values::{Keys, PATH_BYTES_MAX, VALUES_MAX};

/// A body may have so many events here.
const EVENTS_MAX: usize = 5;

/// A value: its path, its column, what it is and how it is written, and whether it has escapes.
type Value = (String, Option<usize>, Kind, String, bool);
/// Where an event stands, and its values or why it has none.
type Found = (Range<usize>, Result<Vec<Value>, String>);

fn layout() -> Layout {
    let own = ["a.b.c", "a.b.d", "a.", ".x"].map(|it| (it.to_owned(), Type::Text));
    Layout::new(["event.id", "event.action", "message", "tags"], Some(&Columns::new(own)), Unknown::Labels).unwrap()
}

/// Scenario: thousands of lines that are arrays or objects which do not end, each of which goes on in the lines behind it.
/// Guarantees: each of them is refused, and an event between them is not.
#[test]
fn lines_that_do_not_end() {
    for line in ["[1,1,1,", r#"{"a":[1,"#] {
        let mut body = format!("0\n{}", format!("{line}\n").repeat(2000));
        body += "{\"message\":\"good\"}\n";
        body += &format!("{line}\n").repeat(2000);
        let mut events = Events::of(&body, usize::MAX);
        let (layout, mut names, mut pairs) = (layout(), Names::default(), Vec::new());
        let mut good = Vec::new();
        while let Some(event) = events.next(&body, &mut Keys { layout: &layout, names: &mut names }, &mut pairs) {
            if event.fault.is_none() {
                good.push(body[event.range].to_owned());
            }
        }
        assert_eq!((events.passed(), good), (4002, vec!["{\"message\":\"good\"}".to_owned()]));
    }
}

/// As the source does it.
fn found(body: &str, layout: &Layout, names: &mut Names) -> Vec<Found> {
    let mut events = Events::of(body, EVENTS_MAX);
    let (mut all, mut pairs) = (Vec::new(), Vec::new());
    while !events.is_done() {
        let event = events.next(body, &mut Keys { layout, names }, &mut pairs).unwrap();
        let values = pairs.iter().map(|it| {
            assert_eq!(&body[it.at..it.at + it.raw.len()], it.raw);
            (it.path.to_string(), it.column, it.kind, it.raw.to_owned(), it.is_escaped)
        });
        let values = event.fault.map_or_else(|| Ok(values.collect()), Err);
        all.push((event.range, values));
        assert_eq!(events.passed(), all.len());
    }
    assert_eq!(events.next(body, &mut Keys { layout, names }, &mut pairs), None);
    all
}

/// One pass to find where each event ends, and one over each event.
fn expected(body: &str, layout: &Layout) -> Vec<Found> {
    let pieces = pieces(body).into_iter();
    let values = pieces.map(|(range, fault)| match fault {
        Some(why) => (range, Err(why)),
        None => {
            let mut values = Vec::new();
            let mut scan = Scanner::new(&body[range.clone()]);
            let read = match scan.kind().unwrap() {
                Kind::Object => object(&mut scan, "", 0, layout, &mut values),
                other => Err(format!("it is {}, not an object", other.noun())),
            };
            (range, read.map(|()| values))
        }
    });
    values.collect()
}

fn pieces(body: &str) -> Vec<(Range<usize>, Option<String>)> {
    let mut scan = Scanner::new(body);
    let mut pieces = Vec::new();
    let is_array = scan.space() == Some(b'[');
    if is_array {
        scan.at += 1;
    }
    let malformed =
        |it: &Malformed, from: usize| Some(format!("it is not JSON: {} at byte {}", it.what, it.at - from + 1));
    while let Some(byte) = scan.space() {
        let start = scan.at;
        if pieces.len() == EVENTS_MAX {
            let fault = format!("the request has more than the {EVENTS_MAX} events of `limits.events_max`");
            pieces.push((start..body.len(), Some(fault)));
            return pieces;
        }
        let is_end = is_array && pieces.is_empty() && byte == b']';
        let passed = if is_end { Ok(()) } else { scan.kind().and_then(|kind| scan.skip(kind, 0)) };
        if let Err(error) = passed {
            let end = if is_array { body.len() } else { body[start..].find('\n').map_or(body.len(), |it| start + it) };
            pieces.push((start..end, malformed(&error, start)));
            scan.at = end;
            if is_array {
                return pieces;
            }
            continue;
        }
        if !is_end {
            pieces.push((start..scan.at, None));
        }
        if !is_array {
            continue;
        }
        match scan.next(b']') {
            Ok(false) => {}
            Ok(true) => {
                if scan.space().is_some() {
                    pieces.push((scan.at..body.len(), Some("something follows the array".to_owned())));
                }
                return pieces;
            }
            Err(error) => {
                let fault = format!("it is not JSON: {} after the event before it", error.what);
                pieces.push((error.at..body.len(), Some(fault)));
                return pieces;
            }
        }
    }
    if is_array {
        pieces.push((body.len()..body.len(), Some("it is not JSON: the array does not end".to_owned())));
    }
    pieces
}

fn object(
    scan: &mut Scanner<'_>,
    under: &str,
    depth: usize,
    layout: &Layout,
    values: &mut Vec<Value>,
) -> Result<(), String> {
    scan.open(depth).unwrap();
    if scan.space() == Some(b'}') {
        scan.at += 1;
        return Ok(());
    }
    loop {
        scan.expect(b'"', "").unwrap();
        let name = scan.string().unwrap();
        if under.len() + 1 + name.range().len() > PATH_BYTES_MAX {
            return Err(format!("it has a key of more than {PATH_BYTES_MAX} bytes, those around it included"));
        }
        let mut path = under.to_owned();
        if !under.is_empty() {
            path.push('.');
        }
        unescape(&scan.text()[name.range()], &mut path);
        scan.expect(b':', "").unwrap();
        let (kind, start) = (scan.kind().unwrap(), scan.at);
        match kind {
            Kind::Object => object(scan, &path, depth + 1, layout, values)?,
            _ if values.len() == VALUES_MAX => return Err(format!("it has more than {VALUES_MAX} values")),
            _ => {
                let (mut range, mut is_escaped) = (start..start, false);
                if kind == Kind::Text {
                    scan.at += 1;
                    let text = scan.string().unwrap();
                    (range, is_escaped) = (text.range(), text.escaped);
                } else {
                    scan.skip(kind, depth + 1).unwrap();
                    range.end = scan.at;
                }
                let column = layout.columns.iter().position(|it| it.0 == path);
                values.push((path, column, kind, scan.text()[range].to_owned(), is_escaped));
            }
        }
        if scan.next(b'}').unwrap() {
            return Ok(());
        }
    }
}

fn check(bodies: &[String]) {
    let (layout, mut names) = (layout(), Names::default());
    // What one body taught, the next one finds, and the same one again.
    for body in bodies.iter().chain(bodies) {
        assert_eq!(found(body, &layout, &mut names), expected(body, &layout), "{body:?}");
    }
}

fn key() -> impl Strategy<Value = String> {
    let usual =
        ["event", "id", "action", "event.id", "event.action", "message", "tags", "a", "b", "c", "a.b", "b.c", "a.b.c"];
    let odd = ["", ".", "x", ".x", "a.", "labels", "\\u0061", "event\\u002eid", "é", "\\ud83d\\ude00", "\\n"];
    prop_oneof![
        4 => prop::sample::select(usual.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let single = ["1", "-0.5e3", "\"\"", "\"text\"", "\"esc\\\"aped\\u0041\"", "true", "false", "null", "[]", "{}"];
    prop::sample::select(single.to_vec()).prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        let object = prop::collection::vec((key(), inner.clone(), " ?"), 0..4).prop_map(|members| {
            let members: Vec<String> =
                members.iter().map(|(key, value, space)| format!("\"{key}\"{space}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let array = prop::collection::vec(inner, 0..3).prop_map(|it| format!("[{}]", it.join(", ")));
        prop_oneof![3 => object, 1 => array]
    })
}

/// Bodies, of which some are spoiled in one place.
fn body() -> impl Strategy<Value = String> {
    let events = prop::collection::vec(value(), 0..8);
    let between = prop::sample::select(vec!["\n", "\r\n", "", " "]);
    let spoiled = prop::option::weighted(0.5, (any::<prop::sample::Index>(), "[\\[\\]{}:,\"\\\\1tn\n é\u{1}]{0,2}"));
    (events, between, any::<bool>(), spoiled).prop_map(|(events, between, is_array, spoiled)| {
        let mut body = match is_array {
            true => format!("[{}]{between}", events.join(",")),
            false => events.join(between) + between,
        };
        if let Some((at, with)) = spoiled {
            let at = body.floor_char_boundary(at.index(body.len() + 1));
            let end = body.ceil_char_boundary((at + 1).min(body.len()));
            body.replace_range(at..end, &with);
        }
        body
    })
}

proptest! {
    /// Scenario: bodies of events with nested, dotted, empty and escaped keys in any order, of which some are spoiled.
    /// Guarantees: events, their places, their values with their columns, and what is said of those that are none are what two
    /// simple passes find, whatever bodies came before.
    #[test]
    fn one_pass(bodies in prop::collection::vec(body(), 1..6)) {
        check(&bodies);
    }
}

/// Scenario: events with too many values, too long keys, and what is too deep, before and behind what is no JSON.
/// Guarantees: the first thing that is wrong with their form is told, and if there is none, what is too much; in either case the
/// next event is found.
#[test]
fn too_much() {
    let many = (0..1001).map(|it| format!("\"{it}\":1")).collect::<Vec<_>>().join(",");
    let long = format!("{}\\u0061", "k".repeat(600));
    let events = [
        format!("{{{many}}}"),
        format!("{{{many},}}"),
        format!("{{\"{long}\":{{\"{long}\":1}},\"a\":2}}"),
        format!("{{\"{long}\":{{\"{long}\":tru}},\"a\":2}}"),
        format!("{{\"{long}\":{{\"{long}\" 1}},\"a\":2}}"),
        format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64)),
        format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65)),
        format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64)),
        "{\"\":{\"\":{\"event.id\":1}},\"message\":{\"x\":1},\"a\":{\"\":2,\"b\":3,\"b.c\":4}}".to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
    ];
    let good = "{\"message\":\"good\"}";
    let bodies = events.iter().flat_map(|it| {
        [
            format!("{good}\n{it}\n{good}"),
            format!("{it}{good}"),
            format!("[{it},{good}]"),
            format!("[{good},{it}"),
            it.clone(),
        ]
    });
    check(&bodies.collect::<Vec<_>>());
}

//! The scanner against the engine.

use std::sync::LazyLock;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::lower::lower;
use crate::matcher::Place;
use crate::pattern::Pattern;
use crate::preset;
use crate::scan::{Scanned, Scanner};

const NGINX: &str = r#"^(?<addr>[^ ]*) - (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<request>[^"]*)" (?<status>[0-9]{3}) (?<bytes>[0-9]+|-) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$"#;
const APACHE: &str = r#"^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?<bytes>\d+|-)"#;

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text.to_owned()).unwrap()
}

/// Compiled once: that takes longer than many lines.
static COMMON: LazyLock<[Pattern; 3]> = LazyLock::new(|| {
    let cloudfront = preset::pattern(&preset::in_order(None).unwrap()).unwrap();
    [pattern(NGINX), pattern(APACHE), cloudfront]
});

/// Whether each pattern is lowered, and if not, why.
fn check(patterns: &[&str], expected: Expect) {
    let path = |text: &&str| match lower(&pattern(text).syntax()) {
        Ok(program) => format!("scanner{}: {text}", if program.anchored { "" } else { ", then engine" }),
        Err(why) => format!("engine, since {why}: {text}"),
    };
    expected.assert_eq(&patterns.iter().map(path).collect::<Vec<_>>().join("\n"));
}

/// Scenario: the patterns of the common log formats, and patterns that need more than one look at a character.
/// Guarantees: the common ones are lowered; where the next character does not decide, the engine keeps the pattern.
#[test]
fn what_is_lowered() {
    check(
        &[
            NGINX,
            APACHE,
            r"^(?<a>[^\t]*)\t(?<b>[^\t]*)$",
            r"(?<key>[a-z]+)=(?<value>[^;]*);",
            r"^(?<a>[^,]*)(?:,(?<b>[^,]*))?$",
            r"^(?<level>INFO|WARN|ERROR) (?<text>.*)$",
            r"^(?<a>(?i)get|post) ",
        ],
        expect![[r#"
            scanner: ^(?<addr>[^ ]*) - (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<request>[^"]*)" (?<status>[0-9]{3}) (?<bytes>[0-9]+|-) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$
            scanner: ^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?<bytes>\d+|-)
            scanner: ^(?<a>[^\t]*)\t(?<b>[^\t]*)$
            scanner, then engine: (?<key>[a-z]+)=(?<value>[^;]*);
            scanner: ^(?<a>[^,]*)(?:,(?<b>[^,]*))?$
            scanner: ^(?<level>INFO|WARN|ERROR) (?<text>.*)$
            scanner: ^(?<a>(?i)get|post) "#]],
    );
    check(
        &[
            r"^(?<a>.*) (?<b>.*)$",
            r"^(?<a>\w+)(?<b>\d*)$",
            r"^(?<a>\d+?)$",
            r"^(?<a>[a-z]+?)",
            r"^(?<a>ab|ac)$",
            r"^(?<a>x|xy)$",
            r"^(?<a>(?:ab)*)c$",
            r"^(?<a>x(?:yz)?)",
            r"^(?<a>x|$)",
            r"\b(?<a>\w+)\b",
            r"^(?<a>[^x]{3})x",
            r"(?m)^(?<a>[a-z]*)$",
        ],
        expect![[r#"
            engine, since what may be repeated and what may follow begin alike: ^(?<a>.*) (?<b>.*)$
            engine, since what may be repeated and what may follow begin alike: ^(?<a>\w+)(?<b>\d*)$
            scanner: ^(?<a>\d+?)$
            engine, since a lazy repetition stands at its end: ^(?<a>[a-z]+?)
            engine, since the next character does not decide between alternatives: ^(?<a>ab|ac)$
            engine, since the next character does not decide between alternatives: ^(?<a>x|xy)$
            engine, since it repeats more than a class (`(?:ab)*`): ^(?<a>(?:ab)*)c$
            engine, since the next character does not decide between alternatives: ^(?<a>x(?:yz)?)
            engine, since an alternative looks around itself: ^(?<a>x|$)
            engine, since it looks around itself (WordUnicode): \b(?<a>\w+)\b
            engine, since it counts characters that may be several bytes long: ^(?<a>[^x]{3})x
            engine, since it looks around itself (EndLF): (?m)^(?<a>[a-z]*)$"#]],
    );
}

/// Holds the scanner against the engine on one line. Where the scanner is unsure, the engine decides anyway.
fn agree(pattern: &Pattern, line: &str) {
    let Ok(program) = lower(&pattern.syntax()) else { return };
    let mut places = vec![Place::NOWHERE; pattern.regex().captures_len()];
    let scanned = Scanner::new(&program).scan(line.as_bytes(), &mut places);
    let captures = pattern.regex().captures(line);
    match (scanned, captures) {
        (Scanned::Unsure, _) | (Scanned::NoMatch, None) => {}
        (Scanned::Match, Some(captures)) => {
            for (group, place) in places.iter().enumerate() {
                let engine = captures.get(group).map(|it| it.as_str());
                assert_eq!(place.of(line), engine, "group {group} of {:?} in {line:?}", pattern.regex());
            }
        }
        (scanned, captures) => panic!("{scanned:?}, but {captures:?}: {:?} in {line:?}", pattern.regex()),
    }
}

/// Pieces that the patterns below care about, and some that they do not expect.
fn lines() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => "[a-c0-2]{0,3}",
        5 => r#"[ \t,;="\[\]\-x-z]"#,
        2 => prop::sample::select(vec!["\r", "\n", "\r\n", "GET", "get", "INFO", "ab", "ac", " - ", "] \"", "200"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["é", "٣", "\u{a0}", "\u{2028}", "日本", "ſ", "\u{0}"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|it| it.concat())
}

/// Patterns from the pieces that matter to lowering: classes, delimiters, options, alternatives, anchors.
fn patterns() -> impl Strategy<Value = String> {
    let class = prop::sample::select(vec![
        r"[^\t]*",
        r"[^ ]+",
        r"\S+",
        r"\d*",
        r"\d{2}",
        r"[a-c]+?",
        r"[^,;=]*",
        r".*",
        r"[0-2]{1,2}",
        r"\w+",
        r"[^x]?",
        r"(?s:.)",
    ]);
    let delimiter = prop::sample::select(vec![r"\t", " ", ",", ";", "=", "-", r"\r?\n?", "x", "", "é"]);
    let group = prop_oneof![
        4 => class.clone().prop_map(str::to_owned),
        1 => (class.clone(), class).prop_map(|(a, b)| format!("{a}|{b}")),
        1 => prop::sample::select(vec!["INFO|GET", "ab|ac", "ab|", "(?:,a)?", "(?i:get)", "-|[0-9]+"]).prop_map(str::to_owned),
    ];
    let parts = prop::collection::vec((group, delimiter), 1..5);
    (any::<bool>(), parts, any::<bool>()).prop_map(|(start, parts, end)| {
        let parts = parts.iter().enumerate().map(|(n, (group, delimiter))| format!("(?<g{n}>{group}){delimiter}"));
        let parts: String = parts.collect();
        format!("{}{parts}{}", if start { "^" } else { "" }, if end { "$" } else { "" })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Scenario: random patterns over random lines.
    /// Guarantees: wherever a scanner is made and sure of itself, it finds what the engine finds, group by group.
    #[test]
    fn a_scanner_finds_what_the_engine_finds((pattern_text, line) in (patterns(), lines())) {
        agree(&pattern(&pattern_text), &line);
    }

    /// Scenario: the ready patterns and those of the common formats over lines that nearly fit them.
    /// Guarantees: as above.
    #[test]
    fn a_scanner_knows_the_common_formats(line in lines(), values in prop::collection::vec("[^\t\r\n]{0,4}", 43..47)) {
        let spoiled = format!("1.2.3.4 - me [now] \"GET / HTTP\" 200 17 \"-\" \"{line}\"");
        let values = values.join("\t");
        for pattern in &*COMMON {
            for line in [&line, &spoiled, &values, &format!("{values}{line}")] {
                agree(pattern, line);
            }
        }
    }
}

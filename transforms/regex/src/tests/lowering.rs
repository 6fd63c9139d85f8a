//! The scanner against the engine.

use std::sync::LazyLock;

use arrow_array::StringArray;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::lower::lower;
use crate::matcher::{Matcher, ROWS};
use crate::pattern::Pattern;
use crate::preset;
use crate::separated::Separated;

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

static SEPARATED: LazyLock<[Pattern; 4]> = LazyLock::new(|| {
    [
        pattern(r"^(?<a>[^\t]*)\t(?<b>[^\t]+)\t(?:[^\t]*)\t(?<d>[^\t]+)$"),
        pattern(r"^(?<a>[^\t\n]*)\t(?<b>[^\t\n]*)\t(?<c>[^\t\r\n]*)\r?\n?$"),
        pattern(r"^(?<a>[^\t\r\n]*)\t(?<b>[^\t]*)\t(?<c>[^\t\n]*)\t(?<d>[^\t]*)"),
        pattern(r"(?<a>[^\t-]*)-(?<b>[^\t]*)\t(?<c>[^-\t]*)"),
    ]
});

/// Whether each pattern is lowered, and if not, why.
fn check(patterns: &[&str], expected: Expect) {
    let path = |text: &&str| match lower(&pattern(text).syntax()) {
        Ok(program) => {
            let separated = if Separated::new(&program).is_some() { "separators, " } else { "" };
            let pieces =
                if program.pieces() > 0 { format!(" with {} pieces", program.pieces()) } else { String::new() };
            format!("{separated}scanner{pieces}{}: {text}", if program.anchored { "" } else { ", then engine" })
        }
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
            separators, scanner: ^(?<a>[^\t]*)\t(?<b>[^\t]*)$
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
            scanner with 1 pieces: ^(?<a>[a-z]+?)
            scanner with 1 pieces: ^(?<a>ab|ac)$
            scanner with 1 pieces: ^(?<a>x|xy)$
            scanner with 1 pieces: ^(?<a>(?:ab)*)c$
            scanner with 1 pieces: ^(?<a>x(?:yz)?)
            scanner with 1 pieces: ^(?<a>x|$)
            scanner with 2 pieces, then engine: \b(?<a>\w+)\b
            scanner with 1 pieces: ^(?<a>[^x]{3})x
            scanner with 1 pieces, then engine: (?m)^(?<a>[a-z]*)$"#]],
    );
}

/// Holds what is found in some lines, by whatever the pattern became, against what the engine finds in each.
fn agree(pattern: &Pattern, lines: &[impl AsRef<str>]) {
    let mut matcher = Matcher::new(std::slice::from_ref(pattern));
    let columns = matcher.columns().to_vec();
    let column = StringArray::from_iter_values(lines);
    let mut block = matcher.block();
    for first in (0..lines.len()).step_by(ROWS) {
        let rows = first..lines.len().min(first + ROWS);
        let mut refused = Vec::new();
        matcher.find(&column, rows.clone(), &mut block, |row| refused.push(row));
        let is_match = |row: &usize| pattern.regex().is_match(lines[*row].as_ref());
        let expected: Vec<usize> = rows.filter(|it| !is_match(it)).collect();
        assert_eq!(refused, expected, "{:?} in {:?}", pattern.regex(), column);
        for (nth, row) in block.rows().iter().enumerate() {
            let line = lines[*row as usize].as_ref();
            let captures = pattern.regex().captures(line).unwrap();
            for (index, name) in columns.iter().enumerate() {
                let found = block.column(index)[nth].of(column.value_data());
                let engine = captures.name(name).map(|it| it.as_str().as_bytes());
                assert_eq!(found, engine, "group {name} of {:?} in {line:?}", pattern.regex());
            }
        }
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
        r"(?:ab)*",
        r"(?:[^;x]|x[a-c])*",
        r"[^x]{2}",
        r"\b[a-c]+\b",
        r"(?:a|ab|c)+",
        r"é*",
    ]);
    let delimiter = prop::sample::select(vec![r"\t", " ", ",", ";", "=", "-", r"\r?\n?", "x", "", "é"]);
    let group = prop_oneof![
        4 => class.clone().prop_map(str::to_owned),
        1 => (class.clone(), class).prop_map(|(a, b)| format!("{a}|{b}")),
        1 => prop::sample::select(vec!["INFO|GET", "ab|ac", "ab|", "(?:,a)?", "(?i:get)", "-|[0-9]+"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["ab|a|x", r"x|$", r"\b", r"(?<n>ab|ac)?", "a(?:bc)?|ab", "(?:0|1|01)*?"]).prop_map(str::to_owned),
    ];
    let parts = prop::collection::vec((group, delimiter), 1..5);
    (any::<bool>(), parts, any::<bool>()).prop_map(|(start, parts, end)| {
        let parts = parts.iter().enumerate().map(|(n, (group, delimiter))| {
            let group = group.replace("(?<n>", &format!("(?<n{n}>"));
            format!("(?<g{n}>{group}){delimiter}")
        });
        let parts: String = parts.collect();
        format!("{}{parts}{}", if start { "^" } else { "" }, if end { "$" } else { "" })
    })
}

/// Scenario: a run of many random patterns, the same ones each time, over many random lines each.
/// Guarantees: whatever a pattern becomes finds what the engine finds, group by group.
#[test]
fn many_patterns_find_what_the_engine_finds() {
    const PATTERNS: usize = 2_000;
    const LINES: usize = 40;
    let mut runner = TestRunner::deterministic();
    let mut became = [0; 3];
    for _ in 0..PATTERNS {
        let pattern = pattern(&patterns().new_tree(&mut runner).unwrap().current());
        let lines: Vec<String> = (0..LINES).map(|_| lines().new_tree(&mut runner).unwrap().current()).collect();
        agree(&pattern, &lines);
        became[lower(&pattern.syntax()).map_or(2, |it| usize::from(it.pieces() > 0))] += 1;
    }
    assert!(became.iter().all(|it| *it > PATTERNS / 20), "scanners, scanners with pieces, neither: {became:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Scenario: random patterns over random lines, others each time.
    /// Guarantees: as above.
    #[test]
    fn a_scanner_finds_what_the_engine_finds((pattern_text, lines) in (patterns(), prop::collection::vec(lines(), 1..8))) {
        agree(&pattern(&pattern_text), &lines);
    }

    /// Scenario: the ready patterns and those of the common formats over lines that nearly fit them.
    /// Guarantees: as above.
    #[test]
    fn a_scanner_knows_the_common_formats(line in lines(), values in prop::collection::vec("[^\t\r\n]{0,4}", 43..47)) {
        let spoiled = format!("1.2.3.4 - me [now] \"GET / HTTP\" 200 17 \"-\" \"{line}\"");
        let values = values.join("\t");
        let lines = [line.clone(), spoiled, format!("{values}{line}"), format!("{values}\r\n"), values];
        for pattern in &*COMMON {
            agree(pattern, &lines);
        }
    }

    /// Scenario: fields that end at tabs, some of them long, some empty, in lines with as many of them as there should
    /// be, fewer, more, or with another control character.
    /// Guarantees: they are found wherever they stand in the blocks of 64 bytes in which they are looked for.
    #[test]
    fn separators_are_found_all_over(lines in prop::collection::vec(prop::collection::vec("[a-zé]{0,20}|x{60,70}|[\n\u{1}-]", 2..6), 1..80)) {
        let lines: Vec<String> = lines.iter().map(|it| it.join("\t")).collect();
        for pattern in &*SEPARATED {
            assert!(Separated::new(&lower(&pattern.syntax()).unwrap()).is_some());
            agree(pattern, &lines);
        }
    }
}

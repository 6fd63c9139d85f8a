//! Pipeline files that are nearly right.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use forebay_config::{Lookup, Registry};
use forebay_testkit::oracle::Random;

use crate::{check, components};

/// So many are planned: the short form. `FOREBAY_FUZZ` sets it for the long one, `SEED` what they are.
const FILES: u64 = 1_000;

/// What a reader of TOML, or of a pipeline, may stumble over.
const PIECES: [&str; 38] = [
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r",
    "\0",
    "\\",
    "\\ud800",
    "\u{feff}",
    "ü",
    "日本",
    "\u{202e}",
    "1e999",
    "-0",
    "nan",
    "99999999999999999999",
    "2026-02-30T25:00:00Z",
    "true",
    "[]",
    "{}",
    "\"\"",
    "inputs = [\"nobody\"]",
    "type = \"s3\"",
    "[sinks.lake]",
    "path = { env = \"X\" }",
    "[environments.dev.sinks]",
    "batch = { rows_max = 0, age_max = \"-1s\" }",
];

/// An environment in which nothing is set.
struct Nothing;

impl Lookup for Nothing {
    fn variable(&self, _: &str) -> Result<String, String> {
        Err("is not set here".to_owned())
    }

    fn file(&self, _: &Path) -> Result<String, String> {
        Err("cannot be read here (not found)".to_owned())
    }
}

fn below(random: &mut Random, end: usize) -> usize {
    (random.number() % end.max(1) as u64) as usize
}

/// The text with lines or letters that are taken away, doubled or replaced.
fn changed(text: &str, random: &mut Random) -> String {
    let mut text = text.to_owned();
    for _ in 0..=below(random, 4) {
        let at = text.floor_char_boundary(below(random, text.len() + 1));
        let end = text.ceil_char_boundary((at + 1 + below(random, 20)).min(text.len()));
        let line_end = text[at..].find('\n').map_or(text.len(), |it| at + it + 1);
        let piece = PIECES[below(random, PIECES.len())];
        match below(random, 8) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..end)),
            2 => {
                let doubled = text[at..end].to_owned();
                text.insert_str(at, &doubled);
            }
            3 => text.insert_str(at, piece),
            4 => text.replace_range(at..end, piece),
            5 => drop(text.drain(at..line_end)),
            6 => {
                let doubled = text[at..line_end].to_owned();
                text.insert_str(line_end, &doubled);
            }
            _ => text.insert_str(at, &"[{\"a\" = ".repeat(below(random, 500))),
        }
    }
    text
}

/// What is wrong about how a text is planned.
fn fault(registry: &Registry, text: &str) -> Option<String> {
    let planned =
        catch_unwind(AssertUnwindSafe(|| forebay_config::plan("pipeline.toml", text, registry, None, &Nothing)));
    let checked = match planned {
        Err(_) => return Some("it panics".to_owned()),
        Ok(Ok(checked)) => checked,
        Ok(Err(problems)) => {
            let lines = text.lines().count().max(1) as u64 + 1;
            let json = problems.json();
            let all = json.as_array().map_or(&[][..], Vec::as_slice);
            let is_placed = |it: &serde_json::Value| it["line"].as_u64().is_some_and(|it| (1..=lines).contains(&it));
            let rendered = catch_unwind(AssertUnwindSafe(|| problems.render(false)));
            return match rendered {
                Err(_) => Some("its problems cannot be printed".to_owned()),
                Ok(_) if all.is_empty() => Some("there is no problem".to_owned()),
                Ok(_) if !all.iter().all(is_placed) => Some(format!("a problem has no line: {json:#}")),
                Ok(rendered) if rendered.matches("--> pipeline.toml:").count() < all.len() => Some(rendered),
                Ok(_) => None,
            };
        }
    };
    let shown = catch_unwind(AssertUnwindSafe(|| check::to_text(Path::new("pipeline.toml"), None, &checked, true)));
    shown.is_err().then(|| "it cannot be explained".to_owned())
}

/// Scenario: the files of the repository, good and wrong ones, with changes by chance.
/// Guarantees: none makes `check` panic or overflow its stack; every problem has a line, and is printed with it.
#[test]
fn any_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut texts = vec![fs::read_to_string(root.join("pipeline.toml")).unwrap()];
    for directory in ["examples", "tests/wrong"] {
        let mut paths: Vec<_> = fs::read_dir(root.join(directory)).unwrap().map(|it| it.unwrap().path()).collect();
        paths.sort();
        let files = paths.iter().filter(|it| it.extension().is_some_and(|it| it == "toml"));
        texts.extend(files.map(|it| fs::read_to_string(it).unwrap()));
    }
    assert!(texts.len() > 30, "only {} files", texts.len());
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("it is a number"));
    let (files, seed) = (number("FOREBAY_FUZZ").unwrap_or(FILES), number("SEED").unwrap_or(4711));
    let (mut random, registry) = (Random::new(seed), components());
    for nth in 0..files {
        let text = changed(&texts[below(&mut random, texts.len())], &mut random);
        if let Some(fault) = fault(&registry, &text) {
            panic!("seed {seed}, file {nth}: {fault}\n{text}");
        }
    }
}

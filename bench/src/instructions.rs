//! The hot loops in instructions, as valgrind counts them.
//!
//! Each hot crate has an example in which one function does the work and nothing else: its own `measured`, or one of the
//! crate's.
//! Counts do not depend on what else the machine does; they do on the compiler, which `rust-toolchain.toml` pins.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::Outcome;

/// By so much may a loop grow before this fails.
const GROWTH_MAX: f64 = 1.05;

/// The function of an example.
const MEASURED: &str = "*measured*";

/// Crate, its example, what that is told, and the function that is counted.
const LOOPS: &[(&str, &str, &[&str], &str)] = &[
    ("sink-firehose", "firehose_instructions", &["single", "1"], MEASURED),
    ("sink-firehose", "firehose_instructions", &["packed", "1"], MEASURED),
    ("transform-regex", "regex_instructions", &["cloudfront", "transform", "2"], MEASURED),
    ("transform-regex", "regex_instructions", &["combined", "transform", "2"], MEASURED),
    ("transform-regex", "regex_instructions", &["branches", "transform", "2"], MEASURED),
    ("transform-ecs", "ecs_instructions", &["realtime", "3"], MEASURED),
    ("transform-ecs", "ecs_instructions", &["standard", "3"], MEASURED),
    ("transform-ecs", "ecs_instructions", &["nginx", "3"], MEASURED),
    ("source-beacon", "hot", &["rows", "50"], "*reading::Reading*::next"),
    ("source-beacon", "hot", &["inflate", "50"], "*body::decompress"),
];

#[derive(Args)]
pub struct Settings {
    /// Take what is counted now as what may be.
    #[arg(long)]
    update: bool,
}

/// Counts every loop and compares with what was counted before.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(settings: &Settings) -> Outcome {
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let allowed: BTreeMap<String, u64> =
        fs::read_to_string(&known).ok().map(|it| serde_json::from_str(&it)).transpose()?.unwrap_or_default();
    let mut counted = BTreeMap::new();
    let mut grown = Vec::new();
    let mut built = BTreeMap::new();
    for (package, example, arguments, function) in LOOPS {
        let name = format!("{package} {}", arguments.join(" "));
        let program = match built.entry(example) {
            Entry::Occupied(program) => program.into_mut(),
            Entry::Vacant(none) => none.insert(build(package, example)?),
        };
        let count = count(program, arguments, function)?;
        let ratio = allowed.get(&name).map(|it| count as f64 / *it as f64);
        println!("{name:<50} {count:>14} {}", ratio.map_or("new".into(), |it| format!("{it:.3}")));
        if ratio.is_some_and(|it| it > GROWTH_MAX) {
            grown.push(name.clone());
        }
        counted.insert(name, count);
    }
    if settings.update || allowed.is_empty() {
        fs::write(known, serde_json::to_string_pretty(&counted)? + "\n")?;
        return Ok(());
    }
    match &grown[..] {
        [] => Ok(()),
        grown => Err(format!(
            "more instructions than before: {}; if that is worth it, `cargo run --release -p forebay-bench -- \
             instructions --update`",
            grown.join(", ")
        )
        .into()),
    }
}

/// The example of a crate, ready to run.
fn build(package: &str, example: &str) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = cargo.args(["build", "--quiet", "--release", "--package", package, "--example", example]);
    if !built.status()?.success() {
        return Err(format!("the example `{example}` of `{package}` cannot be built").into());
    }
    let release = std::env::current_exe()?;
    let release = release.parent().ok_or("the program is in no directory")?;
    Ok(release.join("examples").join(example))
}

fn count(example: &Path, arguments: &[&str], function: &str) -> Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &format!("--toggle-collect={function}")]);
    let output = valgrind.arg(example).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run `valgrind`: {error}: `apt-get install valgrind`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|it| it.split_once("Collected :")).map(|it| it.1.trim());
    Ok(count.ok_or_else(|| format!("valgrind counted nothing: {said}"))?.parse()?)
}

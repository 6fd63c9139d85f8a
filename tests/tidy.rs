//! The laws of the tree: who depends on whom, what is registered, what is up to date, how tests are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::harness::{files, forebay, root, succeed};

/// Folders of components, and the first part of their crates' names.
const KINDS: [(&str, &str); 3] = [("sources", "source"), ("transforms", "transform"), ("sinks", "sink")];

/// Folders with Rust code of ours.
const CODE: [&str; 6] = ["core", "sources", "transforms", "sinks", "examples", "tests"];

const LINES_MAX: usize = 600;

/// Files that may be longer than [`LINES_MAX`], each with the reason.
const LONG: [(&str, &str); 0] = [];

fn metadata() -> Metadata {
    let rustc = succeed(Command::new("rustc").arg("-vV")).out;
    let host = rustc.lines().find_map(|it| it.strip_prefix("host: ")).expect("rustc names its host");
    // Only what is built here, so that nothing must be fetched.
    let options = ["--offline", "--locked", "--filter-platform", host].map(str::to_owned);
    MetadataCommand::new().current_dir(root()).other_options(options).exec().unwrap()
}

/// The folder of a workspace crate, from the root: `sinks/parquet`.
fn folder(package: &Package) -> String {
    let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
    folder.strip_prefix(root().to_str().unwrap()).expect("a crate of ours").as_str().to_owned()
}

/// Rust files of ours, with their path from the root and their text.
fn code() -> impl Iterator<Item = (String, String)> {
    CODE.into_iter()
        .flat_map(|it| files(&root().join(it)))
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
}

/// No faults were found, or here they are.
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Scenario: the dependencies of every crate, as cargo sees them.
/// Guarantees: cli may use everything, the engine api, payload and state, config and state only api, a component api, codec and
/// aws; no component knows the engine, the config crate or another component. Tests may use the testkit besides.
#[test]
fn who_depends_on_whom() {
    let metadata = metadata();
    let ours = metadata.workspace_packages();
    let names: BTreeSet<&str> = ours.iter().map(|it| it.name.as_str()).collect();
    let mut faults = Vec::new();
    for package in &ours {
        let folder = folder(package);
        let allowed: Vec<&str> = match folder.split_once('/').unwrap_or((&folder, "")) {
            ("core", "api" | "ecs" | "payload") => vec![],
            ("core", "codec" | "state" | "spool" | "testkit" | "aws") => vec!["forebay-api"],
            ("core", "leases") => vec!["forebay-api", "forebay-aws"],
            ("core", "listen") => vec!["forebay-api"],
            ("core", "letters") => vec!["forebay-api", "forebay-aws", "forebay-payload", "forebay-state"],
            ("core", "config") => vec!["forebay-api", "forebay-aws", "forebay-letters"],
            ("core", "engine") => vec!["forebay-api", "forebay-payload", "forebay-state"],
            ("core", "cli") => names.iter().copied().filter(|it| *it != "shout").collect(),
            ("sources", _) => vec![
                "forebay-api",
                "forebay-codec",
                "forebay-aws",
                "forebay-ecs",
                "forebay-leases",
                "forebay-listen",
                "forebay-spool",
            ],
            ("transforms" | "sinks", _) => vec!["forebay-api", "forebay-codec", "forebay-aws", "forebay-ecs"],
            ("examples", "playground") => vec!["forebay-cli", "forebay-codec", "forebay-testkit", "source-demo"],
            ("examples", _) => vec!["forebay-api", "forebay-cli"],
            ("bench", _) => vec!["forebay-api", "forebay-codec", "forebay-state", "forebay-testkit", "source-demo"],
            _ => panic!("{folder}: who may this crate depend on? Say it here"),
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let for_tests = dependency.kind == DependencyKind::Development && name == "forebay-testkit";
            if names.contains(name) && !allowed.contains(&name) && !for_tests {
                faults.push(format!("{folder} may not depend on {name}"));
            }
        }
    }
    none(faults);
}

/// Scenario: the folders under sources/, transforms/ and sinks/, their crates, and the program's list of components.
/// Guarantees: a folder `sinks/parquet` is the crate `sink-parquet` and the registered `type = "parquet"`: one word in
/// every place, and nothing is built but forgotten in the list.
#[test]
fn one_word_for_a_component() {
    let metadata = metadata();
    let crates: BTreeMap<String, String> =
        metadata.workspace_packages().iter().map(|it| (folder(it), it.name.to_string())).collect();
    let components = forebay_cli::components();
    let registered: BTreeSet<(&str, &str)> = components.components().map(|it| (it.kind.section(), it.name)).collect();
    let mut found = BTreeSet::new();
    let mut faults = Vec::new();
    for (section, kind) in KINDS {
        for entry in fs::read_dir(root().join(section)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let due = format!("{kind}-{name}");
            let is = crates.get(&format!("{section}/{name}"));
            // A word of two parts is written as each place writes such.
            let name = name.replace('-', "_");
            if is != Some(&due) {
                faults.push(format!("{section}/{name}: the crate is {is:?}, not `{due}`"));
            }
            if !registered.contains(&(section, name.as_str())) {
                faults.push(format!("{section}/{name}: not in core/cli/src/components.rs, or of another TYPE"));
            }
            found.insert((section, name));
        }
    }
    for (section, name) in registered {
        if !found.contains(&(section, name.to_owned())) {
            faults.push(format!("`{name}` is registered, but {section}/{name} does not exist"));
        }
    }
    none(faults);
}

/// Compares a file of the repository with what the program generates; writes it if `UPDATE_EXPECT` is set.
fn up_to_date(path: &Path, generated: &str) -> Result<(), String> {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, generated).unwrap();
        return Ok(());
    }
    match fs::read_to_string(path) {
        Ok(text) if text == generated => Ok(()),
        Ok(_) => Err(format!("{name} is not what the program generates now: run the tests with UPDATE_EXPECT=1")),
        Err(error) => Err(format!("{name}: {error}: run the tests with UPDATE_EXPECT=1")),
    }
}

/// Scenario: the schema and the reference pages in the repository, and those that the program prints.
/// Guarantees: editors complete, and readers read, what the program does; and there is no page of a component that is
/// gone.
#[test]
fn what_is_generated_is_up_to_date() {
    let root = root();
    let schema = succeed(forebay(&root).arg("schema")).out;
    let mut faults = Vec::new();
    faults.extend(up_to_date(&root.join("pipeline.schema.json"), &schema).err());
    let components = forebay_cli::components();
    let names: BTreeSet<&str> = components.components().map(|it| it.name).chain(["pipeline"]).collect();
    let page = |name: &str| root.join(format!("docs/reference/{name}.md"));
    for name in &names {
        let text = succeed(forebay(&root).args(["components", name])).out;
        faults.extend(up_to_date(&page(name), &text).err());
    }
    let pages: Vec<PathBuf> = names.into_iter().map(page).collect();
    let stale = |it: &PathBuf| !pages.contains(it);
    faults.extend(
        files(&root.join("docs/reference"))
            .into_iter()
            .filter(stale)
            .map(|it| format!("{}: no such component", it.display())),
    );
    none(faults);
}

/// Scenario: every test in the tree.
/// Guarantees: it says above itself what happens and what that proves, and none is switched off.
#[test]
fn tests_say_what_they_prove() {
    let mut faults = Vec::new();
    let mut tests = 0;
    for (name, text) in code() {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (nth, line) in lines.iter().enumerate() {
            let place = format!("{name}:{}", nth + 1);
            let attribute = line.strip_prefix("#[").unwrap_or_default();
            if attribute.starts_with("ignore") {
                faults.push(format!("{place}: a test that is switched off"));
            }
            if !attribute.starts_with("test]") && !attribute.starts_with("tokio::test") {
                continue;
            }
            tests += 1;
            let above = lines[..nth].iter().rev().take_while(|it| it.starts_with("///") || it.starts_with("#["));
            let above: Vec<&&str> = above.collect();
            for due in ["/// Scenario: ", "/// Guarantees: "] {
                if !above.iter().any(|it| it.starts_with(due)) {
                    faults.push(format!("{place}: no `{}` above the test", due.trim_end()));
                }
            }
        }
    }
    assert!(tests > 50, "only {tests} tests were found: does this test still look at the right places?");
    none(faults);
}

/// Scenario: every file of Rust.
/// Guarantees: none is too long to be read at once, save those that are listed here with a reason.
#[test]
fn files_are_short() {
    let too_long = |(name, text): (String, String)| {
        let lines = text.lines().count();
        let listed = LONG.iter().any(|it| it.0 == name);
        (lines > LINES_MAX && !listed).then(|| format!("{name}: {lines} lines"))
    };
    none(code().filter_map(too_long).collect());
}

/// Scenario: the code and the comments of the product.
/// Guarantees: a row is delivered, filtered, refused or abandoned; the word that blurs these four does not occur.
#[test]
fn the_word_that_means_four_things() {
    let mut faults = Vec::new();
    for (name, text) in code().filter(|it| !it.0.starts_with("tests/")) {
        for (nth, line) in text.lines().enumerate() {
            if line.to_lowercase().split(|it: char| !it.is_alphanumeric()).any(|it| it == "dropped") {
                faults.push(format!("{name}:{}: {}", nth + 1, line.trim()));
            }
        }
    }
    none(faults);
}

/// Scenario: the links in every page of Markdown.
/// Guarantees: those that lead to files lead to files that exist.
#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    let mut pages: Vec<PathBuf> =
        [".github", "clients", "deploy", "docs"].iter().chain(&CODE).flat_map(|it| files(&root().join(it))).collect();
    pages.extend(fs::read_dir(root()).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_file()));
    pages.retain(|it| it.extension().is_some_and(|it| it == "md"));
    assert!(!pages.is_empty(), "no pages were found");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        // Every second part lies between fences.
        let prose: String = text.split("\n```").step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|it| it.split_once(')')).map(|it| it.0) {
            let path = link.split(['#', ' ']).next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let target = page.parent().unwrap().join(path);
            if !target.try_exists().unwrap() {
                faults.push(format!("{}: `{link}` leads nowhere", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    none(faults);
}

/// Scenario: the licence of every crate that is built into the program, and the list in deny.toml.
/// Guarantees: each may be used under a licence of that list, without a tool that must be installed first.
#[test]
fn licences_are_allowed() {
    let policy: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: BTreeSet<&str> =
        policy["licenses"]["allow"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let metadata = metadata();
    let resolved: BTreeSet<_> = metadata.resolve.as_ref().unwrap().nodes.iter().map(|it| &it.id).collect();
    let mut faults = Vec::new();
    for package in metadata.packages.iter().filter(|it| resolved.contains(&it.id)) {
        // An old way to write OR.
        let licence = package.license.clone().unwrap_or_default().replace('/', " OR ");
        if !permits(&licence, &allowed) {
            faults.push(format!("{} {}: `{licence}`", package.name, package.version));
        }
    }
    none(faults);
}

/// Whether an SPDX expression can be met with these licences.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `a AND b OR c`: OR binds less than AND.
fn any_of(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let met = any_of(words, allowed);
        let closed = words.next() == Some(")");
        return met && closed;
    }
    match words.next_if_eq(&"WITH") {
        Some(_) => words.next().is_some_and(|exception| allowed.contains(format!("{word} WITH {exception}").as_str())),
        None => allowed.contains(word),
    }
}

/// Scenario: SPDX expressions as crates write them.
/// Guarantees: OR needs one side, AND both, parentheses bind, and an unknown licence is not allowed.
#[test]
fn licence_expressions() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]);
    let good = [
        "MIT",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR X",
        "(GPL-3.0) OR MIT",
    ];
    let bad = ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "MIT WITH X", "MIT MIT"];
    for expression in good {
        assert!(permits(expression, &allowed), "{expression}");
    }
    for expression in bad {
        assert!(!permits(expression, &allowed), "{expression}");
    }
}

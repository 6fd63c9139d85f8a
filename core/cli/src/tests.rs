//! The command line, and what the commands make of a plan. Whole programs are run by the tests in `tests/`.

mod any_text;

use std::path::Path;

use clap::{CommandFactory, Parser};
use expect_test::expect;
use forebay_api::Plan;

use crate::arguments::{Arguments, Command};
use crate::{components, file, graph};

const FILE: &str = "\
dead_letters.path = './refused'
[sources.access]
type = 's3'
path = './logs'
[transforms.end]
type = 'regex'
inputs = ['access']
pattern = '^(?<name>\\S+) (?<number>\\d+)$'
types = { number = 'u16' }
[sinks.lake]
type = 'parquet'
inputs = ['end']
path = { env = 'FOREBAY_TEST_NOT_SET', default = './data' }
[sinks.bad]
type = 'console'
inputs = ['end.refused']
on_refused = 'stop'
";

fn plan() -> Plan {
    let checked = file::plan(&components(), Path::new("pipeline.toml"), FILE, None);
    checked.unwrap_or_else(|problems| panic!("{problems}")).runnable().expect("nothing is missing")
}

/// Scenario: the definition of the command line, and a few of them.
/// Guarantees: it is sound; `run` is what is done when nothing is said; the environment may stand anywhere.
#[test]
fn command_line() {
    Arguments::command().debug_assert();
    let parse = |words: &[&str]| Arguments::try_parse_from([&["forebay"], words].concat());
    let nothing = parse(&[]).unwrap();
    let Command::Run(run) = nothing.command.unwrap_or_default() else { panic!("not a run") };
    assert_eq!(run.file, Path::new("pipeline.toml"));
    for words in [["--env", "dev", "check"], ["check", "--env", "dev"], ["check", "-e", "dev"]] {
        assert_eq!(parse(&words).unwrap().env.as_deref(), Some("dev"), "{words:?}");
    }
    assert!(parse(&["chekc"]).is_err());
}

/// Scenario: a pipeline with a refused port, and a node whose name is a word of a drawing language.
/// Guarantees: both drawings show every node and edge.
#[test]
fn drawings() {
    expect![[r#"
        flowchart LR
          n0(["access<br/><i>s3</i>"])
          n1["end<br/><i>regex</i>"]
          n2[("lake<br/><i>parquet</i>")]
          n3[("bad<br/><i>console</i>")]
          n0 --> n1
          n1 --> n2
          n1 -. refused .-> n3
    "#]]
    .assert_eq(&graph::mermaid(&plan()));
    expect![[r#"
        digraph pipeline {
          rankdir=LR;
          node [fontname="sans-serif"];
          "access" [shape=ellipse, label="access\ns3"];
          "end" [shape=box, label="end\nregex"];
          "lake" [shape=cylinder, label="lake\nparquet"];
          "bad" [shape=cylinder, label="bad\nconsole"];
          "access" -> "end";
          "end" -> "lake";
          "end" -> "bad" [style=dashed, label="refused"];
        }
    "#]]
    .assert_eq(&graph::dot(&plan()));
}

/// Scenario: a good pipeline.
/// Guarantees: `check` shows what goes where, and what each sink promises.
#[test]
fn description() {
    let checked = file::plan(&components(), Path::new("pipeline.toml"), FILE, None).ok().unwrap();
    expect![[r#"
        pipeline.toml is good in environment `dev`

          source     access  s3       -> 1 column
          transform  end     regex    access -> 2 columns
          sink       lake    parquet  2 columns <- end, exactly once
          sink       bad     console  9 columns <- end.refused, at least once; stops at a refused row

          state         ./.forebay/pipeline
          dead letters  ./refused
    "#]]
    .assert_eq(&crate::check::to_text(Path::new("pipeline.toml"), Some("dev"), &checked, false));
}

/// Scenario: the page of every component, and its promise.
/// Guarantees: each has a summary that is one sentence or more, and what sinks promise can be told without a file.
#[test]
fn pages() {
    let registry = components();
    for about in registry.components() {
        assert!(about.summary().ends_with('.'), "{} {}: {}", about.kind, about.name, about.summary());
        let page = forebay_config::reference(&registry, about.kind, about.name).unwrap();
        assert!(!page.contains("stand-in"), "a key of {} {} has no example:\n{page}", about.kind, about.name);
        if about.kind == forebay_config::Kind::Sink {
            assert!(registry.promise(about.name).is_some(), "sink {}", about.name);
        }
    }
}

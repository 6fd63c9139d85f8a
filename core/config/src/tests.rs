//! Whole files against what is printed about them.

mod fakes;
mod good;
mod pages;
mod wrong_graphs;
mod wrong_tables;
mod wrong_values;

use expect_test::Expect;

use crate::plan;
use fakes::{World, registry};

/// The problems of a file, as a person reads them.
#[track_caller]
fn check(text: &str, expected: Expect) {
    check_in(None, text, expected);
}

#[track_caller]
fn check_in(environment: Option<&str>, text: &str, expected: Expect) {
    match plan("pipeline.toml", text, &registry(), environment, &World) {
        Ok(_) => expected.assert_eq("no problems\n"),
        Err(problems) => expected.assert_eq(&problems.render(false)),
    }
}

/// A good pipeline, and after it further lines of its sink, and further tables.
fn with(lines: &str) -> String {
    format!("{GOOD}{lines}")
}

const GOOD: &str = "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'access.log'
[sinks.out]
type = 'store'
inputs = ['access']
path = './data'
";

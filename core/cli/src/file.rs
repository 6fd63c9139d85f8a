//! A file into a plan, with what the program's environment knows.

use std::env::VarError;
use std::fs;
use std::path::Path;

use forebay_api::Plan;
use forebay_config::{Checked, Lookup, Metrics, Note, Problems, Registry};

use crate::terminal::{self, FILE, Failure};

/// The environment variables and the files of this process.
pub struct Process;

impl Lookup for Process {
    fn variable(&self, name: &str) -> Result<String, String> {
        std::env::var(name).map_err(|error| match error {
            VarError::NotPresent => "is not set here".to_owned(),
            VarError::NotUnicode(_) => "is not UTF-8".to_owned(),
        })
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| format!("cannot be read here ({})", in_words(&error)))
    }
}

/// What the system says about a file, without the number of the error.
fn in_words(error: &std::io::Error) -> String {
    let words = error.to_string();
    words.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The text of a pipeline file.
pub fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::world(format!("cannot read the pipeline `{}`", path.display()))
            .cause(&error)
            .hint("name another file, such as `forebay check my-pipeline.toml`")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        Failure::file(format!("the pipeline `{}` is not UTF-8 text", path.display())).cause(&error.utf8_error())
    })
}

/// Plans a text that came from `path`.
pub fn plan(registry: &Registry, path: &Path, text: &str, environment: Option<&str>) -> Result<Checked, Problems> {
    forebay_config::plan(&path.display().to_string(), text, registry, environment, &Process)
}

/// A file's plan to look at. Problems are reported.
pub fn checked(registry: &Registry, path: &Path, environment: Option<&str>) -> Result<Checked, Failure> {
    let text = read(path)?;
    plan(registry, path, &text, environment).map_err(|problems| {
        terminal::err(&problems.render(terminal::color()));
        Failure::reported(FILE)
    })
}

/// A file's plan to run, and where it can be watched. Problems are reported.
pub fn runnable(
    registry: &Registry,
    path: &Path,
    environment: Option<&str>,
) -> Result<(Plan, Option<Metrics>), Failure> {
    let checked = checked(registry, path, environment)?;
    let metrics = checked.metrics();
    Ok((checked.runnable().map_err(|notes| missing(path, &notes))?, metrics))
}

/// What the plan is cannot be said without these values.
pub fn missing(path: &Path, notes: &[Note]) -> Failure {
    let (last, others) =
        notes.split_last().map_or((String::new(), &[][..]), |(last, others)| (place(path, last), others));
    for note in others {
        terminal::err(&format!("error: {}\n", place(path, note)));
    }
    Failure::world(last).hint("set the variable or make the file, or give the value a `default`")
}

/// A note with its place: `pipeline.toml:5:12: needs ...`.
pub fn place(path: &Path, note: &Note) -> String {
    format!("{}:{}:{}: {}", path.display(), note.line, note.column, note.text)
}

//! `forebay ddl`: the statements that make tables of what the sinks deliver.

use std::error::Error;
use std::process::ExitCode;

use forebay_api::plan::PlannedSink;
use forebay_api::{Wrong, nearest};
use forebay_config::Registry;

use crate::arguments::Ddl;
use crate::file;
use crate::terminal::{self, Failure};

/// Prints the statements of one sink or of all.
pub fn ddl(registry: &Registry, environment: Option<&str>, arguments: &Ddl) -> Result<ExitCode, Failure> {
    let checked = file::checked(registry, &arguments.file, environment)?;
    let plan = checked.plan().ok_or_else(|| file::missing(&arguments.file, checked.notes()))?;
    let wanted = |it: &&PlannedSink| arguments.sink.as_ref().is_none_or(|name| *name == it.name);
    let sinks: Vec<&PlannedSink> = plan.sinks.iter().filter(wanted).collect();
    if let (Some(name), true) = (&arguments.sink, sinks.is_empty()) {
        let names: Vec<&str> = plan.sinks.iter().map(|it| it.name.as_str()).collect();
        return Err(unknown("sink", name, &names));
    }
    let mut statements = Vec::new();
    for sink in &sinks {
        let statement = sink.config.ddl(&sink.name, &sink.input, arguments.dialect.into());
        let statement = statement.map_err(|error| no_table(sink, error.as_ref()))?;
        statements.extend(statement.map(|it| it.trim_end().to_owned() + "\n"));
    }
    if statements.is_empty() {
        let names: Vec<String> = sinks.iter().map(|it| format!("`{}`", it.name)).collect();
        return Err(Failure::file(format!("no table can be made of what {} delivers", names.join(", "))));
    }
    terminal::out(&statements.join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn no_table(sink: &PlannedSink, error: &(dyn Error + Send + Sync + 'static)) -> Failure {
    let failure = Failure::file(format!("there is no table for sink `{}`", sink.name)).cause(error);
    match error.downcast_ref::<Wrong>().and_then(|it| it.hint.as_ref()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name on the command line that nothing has.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> Failure {
    let failure = Failure::file(format!("{what} `{name}` does not exist"));
    match nearest(name, known.iter().copied()) {
        Some(near) => failure.hint(format!("did you mean `{near}`? known: {}", known.join(", "))),
        None => failure.hint(format!("known: {}", known.join(", "))),
    }
}

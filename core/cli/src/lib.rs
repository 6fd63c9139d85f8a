//! The `forebay` program and the library that it is made of.
//!
//! - [`components()`]: the list of components. A program of your own adds its lines, and calls [`main`].
//! - [`arguments`]: the command line.
//! - [`file`](mod@file): a file into a plan, with what the program's environment knows.
//! - [`check`], [`run`](mod@run), [`replay`](mod@replay), [`graph`], [`ddl`],
//!   [`spool`](mod@spool), [`pages`]: the commands.
//! - [`metrics`]: what a running pipeline says about itself.
//! - [`terminal`]: the one place that writes to standard output and standard error.
//!
//! Exit codes: 0 good, 1 the world is wrong, 2 the file or the command line is wrong.

mod allocator;
mod arguments;
mod check;
mod components;
mod ddl;
mod file;
mod graph;
mod log;
mod metrics;
mod pages;
mod progress;
mod replay;
mod run;
mod spool;
mod summary;
mod terminal;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;
use forebay_config::Registry;

use crate::arguments::{Arguments, Command};
use crate::terminal::Failure;

pub use components::components;

/// The whole program, with these components.
pub fn main(registry: Registry) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return terminal::answer(&answer),
    };
    if let Err(failure) = log::start(arguments.log_format) {
        return failure.report();
    }
    // A variable that is set to nothing is how one unsets it in many places.
    let environment = arguments.env.as_deref().filter(|it| !it.is_empty());
    let done = match arguments.command.unwrap_or_default() {
        Command::Run(it) => run_file(&registry, environment, &it),
        Command::Replay(it) => replay_letters(&registry, environment, &it),
        Command::Check(it) => check::check(&registry, environment, &it),
        Command::Components(it) => pages::components(&registry, &it),
        Command::Schema => pages::schema(&registry),
        Command::Graph(it) => graph::graph(&registry, environment, &it),
        Command::Spool(it) => spool::spool(&it),
        Command::Ddl(it) => ddl::ddl(&registry, environment, &it),
    };
    done.unwrap_or_else(Failure::report)
}

fn run_file(registry: &Registry, environment: Option<&str>, arguments: &arguments::Run) -> Result<ExitCode, Failure> {
    let (plan, metrics) = file::runnable(registry, &arguments.file, environment)?;
    let arguments::Run { json, quiet, abandon_pending, .. } = *arguments;
    let options = run::RunOptions { json, quiet, abandon_pending, metrics };
    on_runtime(run::run(plan, options))
}

fn replay_letters(
    registry: &Registry,
    environment: Option<&str>,
    arguments: &arguments::Replay,
) -> Result<ExitCode, Failure> {
    let checked = file::checked(registry, &arguments.file, environment)?;
    let letters = checked.letters().cloned().ok_or_else(|| {
        Failure::file(format!("`{}` keeps no dead letters", arguments.file.display()))
            .hint("they are kept with a table `[dead_letters]` and in it `path = \"./refused\"`")
    })?;
    let plan = checked.runnable().map_err(|notes| file::missing(&arguments.file, &notes))?;
    on_runtime(replay::replay(plan, letters, arguments))
}

/// Runs to the end.
fn on_runtime(work: impl Future<Output = ExitCode>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Futures of AWS calls are deep, and deeper without optimisation.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .map_err(|error| Failure::world("cannot start the runtime").cause(&error))?;
    let code = runtime.block_on(work);
    // What was abandoned may be stuck in a write, and is not waited for: it is read again at the next start.
    runtime.shutdown_background();
    Ok(code)
}

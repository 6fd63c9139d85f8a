//! The one place that writes to standard output and standard error.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// The world is wrong.
pub const WORLD: u8 = 1;
/// The file or the command line is wrong.
pub const FILE: u8 = 2;

/// Why a command could not do it: one lower-case line, its causes, and what to do.
#[derive(Debug)]
pub struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Something about the world: a file that cannot be read, a service that does not answer.
    pub fn world(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, code: WORLD }
    }

    /// Something about the pipeline file or the command line.
    pub fn file(what: impl Into<String>) -> Self {
        Self { code: FILE, ..Self::world(what) }
    }

    /// A failure that has been reported already, in its own form.
    pub fn reported(code: u8) -> Self {
        Self { code, ..Self::world("") }
    }

    /// Adds what caused it, and what caused that.
    #[must_use]
    pub fn cause(mut self, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |it| (*it).source());
        self.causes.extend(causes.map(ToString::to_string));
        // Many errors say what their cause says.
        self.causes.dedup();
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on standard error.
    pub fn report(self) -> ExitCode {
        if !self.what.is_empty() {
            let causes: String = self.causes.iter().map(|it| format!("  caused by: {it}\n")).collect();
            let hint = self.hint.map_or_else(String::new, |it| format!("hint: {it}\n"));
            err(&format!("error: {}\n{causes}{hint}", self.what));
        }
        ExitCode::from(self.code)
    }
}

/// Writes data to standard output. That nobody reads it any more is no failure; any other failure ends the program.
pub fn out(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Failure::world("cannot write to standard output").cause(&error).report();
            std::process::exit(WORLD.into());
        }
        _ => {}
    }
}

/// Writes a message to standard error. If that fails, there is nobody left to tell.
pub fn err(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether messages may have colors.
pub fn color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// Prints what the parser of the command line has to say: help, the version, or an error.
pub fn answer(answer: &clap::Error) -> ExitCode {
    let _ = answer.print();
    if answer.use_stderr() { ExitCode::from(FILE) } else { ExitCode::SUCCESS }
}

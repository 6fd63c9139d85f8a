//! Log lines, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;
use crate::terminal::Failure;

const FILTER: &str = "FOREBAY_LOG";

/// Starts to write log lines: warnings and errors, or what `FOREBAY_LOG` says.
pub fn start(format: LogFormat) -> Result<(), Failure> {
    let filter = match std::env::var(FILTER) {
        Ok(filter) => filter,
        Err(_) => "warn".to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::file(format!("`{FILTER}` cannot be understood: `{filter}`"))
            .cause(&error)
            .hint("write a level, such as `info`, or levels by target, such as `warn,forebay_engine=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

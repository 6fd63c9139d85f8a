//! Log lines, on standard error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;
use crate::terminal::Failure;

const FILTER: &str = "FOREBAY_LOG";

/// What is said if `FOREBAY_LOG` says nothing: of our own crates what one wants to know once (who listens where, which
/// lease came and went, what was refused), of libraries what is wrong. The names are beginnings of those of crates.
const USUAL: &str = "warn,forebay=info,source=info,transform=info,sink=info";

/// Starts to write log lines: the usual ones, or what `FOREBAY_LOG` says.
pub fn start(format: LogFormat) -> Result<(), Failure> {
    let filter = match std::env::var(FILTER) {
        Ok(filter) => filter,
        Err(_) => USUAL.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::file(format!("`{FILTER}` cannot be understood: `{filter}`"))
            .cause(&error)
            .hint("write a level, such as `info`, or levels by target, such as `warn,forebay_engine=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(OverProgress::new);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// Standard error. On a terminal a log line first takes the place of the progress line, which is then shown again
/// below it.
struct OverProgress {
    on_terminal: bool,
}

impl OverProgress {
    fn new() -> Self {
        Self { on_terminal: io::stderr().is_terminal() }
    }
}

impl Write for OverProgress {
    /// A log line comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.on_terminal {
            stderr.write_all(b"\r\x1b[K")?;
        }
        stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

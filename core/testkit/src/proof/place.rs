//! Processes of the program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Pipeline;

/// How long a process may take to stop in order.
const STOP: Duration = Duration::from_secs(60);

/// A directory with a pipeline, in which the program runs.
pub struct Place {
    program: PathBuf,
    home: TempDir,
    /// Variables that its processes have.
    variables: Vec<(&'static str, String)>,
}

impl Place {
    /// A directory of its own with this pipeline in it, for this `forebay`.
    pub fn new(program: &Path, pipeline: &Pipeline) -> Self {
        let home = TempDir::new().expect("a temporary directory can be made");
        fs::write(home.path().join("pipeline.toml"), pipeline.to_string()).expect("a file can be written");
        Self { program: program.to_owned(), home, variables: Vec::new() }
    }

    /// Gives its processes a variable: what differs between those that share a stream cannot stand in the file.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: String) -> Self {
        self.variables.push((name, value));
        self
    }

    /// The directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What its processes call their host, so that they can be told from those of other places.
    pub fn host(&self) -> String {
        let name = self.home().file_name().expect("a temporary directory has a name");
        name.to_string_lossy().trim_start_matches('.').to_owned()
    }

    /// Starts the program. What it says is kept: [`Place::said`].
    pub fn start(&self) -> Process {
        let said = File::options().create(true).append(true).open(self.home().join("said"));
        let mut command = Command::new(&self.program);
        command.args(["run", "--quiet"]).current_dir(self.home());
        command.env("HOSTNAME", self.host()).env_remove("FOREBAY_ENV").env_remove("FOREBAY_LOG").env_remove("RUST_LOG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.expect("a file can be opened"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{} cannot be run: {error}", self.program.display()));
        Process { child, said: self.home().join("said") }
    }

    /// What all processes of this place have said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home().join("said")).unwrap_or_default()
    }
}

/// A process of the program; killed when it is let go.
pub struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    /// Kills it, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// If it has ended by itself.
    pub fn kill(mut self) {
        self.runs();
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|it| it.success()), "SIG{name} cannot be sent");
    }

    /// Asks it to stop, as `SIGTERM` does, and waits until it has. How long that took.
    ///
    /// # Panics
    ///
    /// If its exit code is not 0.
    pub fn stop(mut self) -> Duration {
        self.runs();
        self.signal("TERM");
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if let Some(status) = self.ended() {
                assert!(status.success(), "{status}: {}", self.said());
                return begun.elapsed();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the program has not stopped within {STOP:?}: {}", self.said());
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Makes sure that it has not ended by itself.
    ///
    /// # Panics
    ///
    /// If it has.
    pub fn runs(&mut self) {
        if let Some(status) = self.ended() {
            panic!("the program has ended by itself, with {status}: {}", self.said());
        }
    }

    /// How much of its memory is resident, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What the tests of the whole program share: places, processes, an independent reader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::SystemTime;

use forebay_testkit::oracle;

/// What the Python side needs, at exactly these versions: two readers of Parquet that share no code with ours.
const REQUIREMENTS: [&str; 3] = ["duckdb==2.0.0", "pyarrow==26.0.1", "pytz==2026.6"];

/// The root of the repository.
pub fn root() -> PathBuf {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    cli.ancestors().nth(2).expect("core/cli lies in the repository").to_path_buf()
}

/// A directory of a test's own with the files of the quick start in it.
pub fn quickstart() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(root().join("pipeline.toml"), dir.path().join("pipeline.toml")).unwrap();
    copy_all(&root().join("examples/data"), &dir.path().join("examples/data"));
    dir
}

/// Copies a directory with all that is in it.
pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files under a directory, in order; none if there is no such directory.
pub fn files(under: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut due = vec![under.to_path_buf()];
    while let Some(dir) = due.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let is_dir = entry.file_type().unwrap().is_dir();
            if is_dir { due.push(entry.path()) } else { all.push(entry.path()) }
        }
    }
    all.sort();
    all
}

/// The program as a user calls it in `dir`, with nothing in its environment that could change what it does.
pub fn forebay(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.current_dir(dir).env_remove("FOREBAY_ENV").env_remove("FOREBAY_LOG").env_remove("RUST_LOG");
    command
}

/// What a program said, and with which code it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}")).into()
}

/// Runs a command that must end with code 0.
pub fn succeed(command: &mut Command) -> Said {
    let said = run(command);
    assert_eq!(said.code, Some(0), "{command:?} failed\n{}\n{}", said.out, said.err);
    said
}

/// A Python with [`REQUIREMENTS`].
pub fn python() -> PathBuf {
    forebay_testkit::services::python(&REQUIREMENTS)
}

/// Sends a signal (`TERM`, `KILL`) to a program that a test started.
pub fn signal(child: &Child, name: &str) {
    succeed(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()));
}

/// A new seed, which is printed, or the one in `SEED`.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok().map(|it| it.parse().expect("SEED is a number"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or(now.as_nanos() as u64 % 1_000_000);
    println!("SEED={seed}");
    seed
}

/// A number that sets the length of a long form, or `short`.
pub fn asked(name: &str, short: u64) -> u64 {
    std::env::var(name).map_or(short, |it| it.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{it}`")))
}

/// Random numbers that can be had again: the seed is printed, and `SEED` sets it.
pub struct Random(oracle::Random);

impl Random {
    /// A new seed, or the one in `SEED`.
    pub fn new() -> Self {
        Self(oracle::Random::new(seed()))
    }

    /// A number from 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        self.0.fraction()
    }
}

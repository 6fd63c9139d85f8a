//! Interpreters with packages at exact versions, made on first use and kept under the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A Python with these packages, each at an exact version (`duckdb==2.0.0`): the path of the interpreter, in a virtual
/// environment of its own.
///
/// # Panics
///
/// If there is no `python3` (3.10 or newer, with `venv`), or `pip` reaches no package index.
pub fn python(requirements: &[&str]) -> PathBuf {
    for requirement in requirements {
        assert!(requirement.contains("=="), "`{requirement}` names no exact version: write `name==1.2.3`");
    }
    let services = target().join("services");
    let name = format!("python-{}", requirements.join("-").replace("==", "-"));
    let home = services.join(&name);
    fs::create_dir_all(&services).unwrap_or_else(|error| panic!("{}: {error}", services.display()));
    // Tests run at the same time, in several processes; the lock ends with the file's scope.
    let lock = File::create(services.join(format!("{name}.lock"))).expect("a lock file can be made");
    lock.lock().expect("a file can be locked");
    let python = home.join("bin/python");
    let ready = home.join("ready");
    if !ready.is_file() {
        step(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), requirements);
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        step(Command::new(&python).args(pip).args(requirements), requirements);
        fs::write(&ready, "").expect("a marker can be written");
    }
    python
}

/// A Python with Apache Spark 4.3.0, which needs Java 17 or newer. Where there is none, it is installed if this is
/// `root` on Debian or Ubuntu.
///
/// # Panics
///
/// As [`python()`] does; and if there is no such Java and it cannot be installed.
pub fn spark() -> PathBuf {
    const PACKAGE: &str = "openjdk-17-jre-headless";
    if java() < Some(17) && is_root() {
        // A failure shows below.
        let _ = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", PACKAGE]).output();
    }
    let java = java();
    assert!(
        java >= Some(17),
        "Spark needs Java 17 or newer, and the version found is {java:?}: `apt-get install {PACKAGE}`, or set JAVA_HOME"
    );
    python(&["pyspark==4.3.0"])
}

/// The major version of the Java that Spark would use.
fn java() -> Option<u32> {
    let java = match std::env::var_os("JAVA_HOME") {
        Some(home) => Path::new(&home).join("bin/java"),
        None => PathBuf::from("java"),
    };
    let said = Command::new(java).arg("-version").output().ok()?;
    // `openjdk version "17.0.15" 2025-04-15`
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let version = said.split('"').nth(1)?;
    version.split('.').next()?.parse().ok()
}

pub(super) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|it| it.stdout.trim_ascii() == b"0")
}

/// One step of making an environment. No test goes on without it: nobody but ourselves would have checked our work.
fn step(command: &mut Command, requirements: &[&str]) -> Output {
    let why = format!(
        "the tests need {}, for which there must be `python3` (3.10 or newer, with `venv`) and a package index that \
         `pip` can reach",
        requirements.join(", ")
    );
    let said = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}: {why}"));
    assert!(said.status.success(), "{command:?} failed: {why}\n{}", String::from_utf8_lossy(&said.stderr));
    said
}

/// Cargo's target directory: the one above this test's program that cargo has marked as such.
pub(super) fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its path");
    let marked = program.ancestors().find(|it| it.join("CACHEDIR.TAG").is_file());
    marked.unwrap_or_else(|| panic!("{}: not in a target directory of cargo", program.display())).to_path_buf()
}

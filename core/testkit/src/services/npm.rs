//! Packages of the npm registry at exact versions, fetched on first use and kept under the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::python::target;

/// One file of a package at an exact version: its path. What the package depends on comes along.
///
/// `sha256` is that of the file, and is checked once, when the package has come.
///
/// # Panics
///
/// If there is no `npm`, it reaches no registry, or the file is another one.
pub(super) fn npm(package: &str, version: &str, file: &str, sha256: &str) -> PathBuf {
    let home = once(package, version, |home| {
        let mut install = Command::new("npm");
        install.args(["install", "--no-save", "--save-exact", "--no-audit", "--no-fund", "--ignore-scripts"]);
        run(install.arg("--prefix").arg(home).arg(format!("{package}@{version}")), package);
        check(&home.join("node_modules").join(package).join(file), sha256);
    });
    home.join("node_modules").join(package).join(file)
}

/// A package at an exact version without what it depends on: the directory of its files.
///
/// `sha256` is that of the archive in the registry, and is checked once, when it has come.
///
/// # Panics
///
/// As [`npm`].
pub(super) fn npm_alone(package: &str, version: &str, sha256: &str) -> PathBuf {
    let home = once(package, version, |home| {
        let archive = home.join(format!("{}-{version}.tgz", package.trim_start_matches('@').replace('/', "-")));
        let mut pack = Command::new("npm");
        run(pack.args(["pack", "--pack-destination"]).arg(home).arg(format!("{package}@{version}")), package);
        check(&archive, sha256);
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(home), package);
        fs::remove_file(&archive).expect("a file can be removed");
    });
    home.join("package")
}

/// The directory of a package, which `fetch` fills once.
fn once(package: &str, version: &str, fetch: impl FnOnce(&Path)) -> PathBuf {
    let services = target().join("services");
    let name = format!("npm-{}-{version}", package.replace(['@', '/'], "-").trim_matches('-'));
    let home = services.join(&name);
    fs::create_dir_all(&home).unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    // Tests run at the same time, in several processes; the lock ends with the file's scope.
    let lock = File::create(services.join(format!("{name}.lock"))).expect("a lock file can be made");
    lock.lock().expect("a file can be locked");
    let ready = home.join("ready");
    if !ready.is_file() {
        fetch(&home);
        fs::write(&ready, "").expect("a marker can be written");
    }
    home
}

fn run(command: &mut Command, package: &str) {
    let why = format!("the tests need {package}, for which there must be `npm` and a registry it can reach");
    let said = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}: {why}"));
    assert!(said.status.success(), "{command:?} failed: {why}\n{}", String::from_utf8_lossy(&said.stderr));
}

fn check(file: &Path, sha256: &str) {
    assert_eq!(digest(file), sha256, "{} is not the file that was tried out", file.display());
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest(file: &Path) -> String {
    let mut command = Command::new("sha256sum");
    let said = command.arg(file).output().unwrap_or_else(|error| panic!("`sha256sum` cannot be run: {error}"));
    assert!(said.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).split_whitespace().next().unwrap_or_default().to_owned()
}

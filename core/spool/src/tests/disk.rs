//! The directory of a spool, and for how long there are files in it.

use std::path::Path;
use std::time::Duration;

use expect_test::expect;

use super::*;
use crate::Directory;
use crate::disk::{Step, steps};

/// Scenario: paths of which all, some or none of the directories are there.
/// Guarantees: the name of each directory that is made is durable before the next one is made in it; that of the innermost
/// one that was there too.
#[test]
fn the_way_to_a_directory() {
    let mut found = String::new();
    for (path, there) in [
        ("/var/spool/a/b", "/var/spool"),
        ("/var/spool/a/b", "/var/spool/a/b"),
        ("/a", "/"),
        ("spool", "spool"),
        ("spool", ""),
        ("./data/spool", "."),
        ("data/spool/", ""),
    ] {
        let is_there = |it: &Path| it.as_os_str().is_empty() || Path::new(there).starts_with(it);
        found += &format!("{path}, {there} is there:");
        for step in steps(Path::new(path), is_there) {
            found += &match step {
                Step::Make(path) => format!(" make {}", path.display()),
                Step::Sync(path) => format!(" sync {}", path.display()),
            };
        }
        found += "\n";
    }
    expect![[r#"
        /var/spool/a/b, /var/spool is there: sync /var make /var/spool/a sync /var/spool make /var/spool/a/b sync /var/spool/a
        /var/spool/a/b, /var/spool/a/b is there: sync /var/spool/a
        /a, / is there: make /a sync /
        spool, spool is there: sync .
        spool,  is there: make spool sync .
        ./data/spool, . is there: sync . make ./data sync . make ./data/spool sync ./data
        data/spool/,  is there: make data sync . make data/spool/ sync data
    "#]]
    .assert_eq(&found);
}

/// Scenario: a directory several levels below one that is there, opened twice; and one where a file stands in the way.
/// Guarantees: it is made, and is there the second time; the file is an error.
#[test]
fn made() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b/c");
    for _ in 0..2 {
        Directory::open(&path).unwrap();
        assert!(path.is_dir());
    }
    std::fs::write(root.path().join("file"), "").unwrap();
    assert!(Directory::open(&root.path().join("file")).is_err());
    assert!(Directory::open(&root.path().join("file/a")).is_err());
}

/// Scenario: of the frames of the last segment some are let go, when it is young and when it is old.
/// Guarantees: a young one goes on to be written to; an old one is closed, and its files are gone when its last frame is let
/// go, whatever came behind it.
#[test]
fn old_segments() {
    for (segment_age, first_left) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 4)] {
        let (_, disk) = disk(7);
        let options = Options { segment_age, ..options(1 << 20, 1 << 16) };
        let mut log = Log::open(disk.clone(), options).unwrap();
        append(&mut log, &["one", "two", "three"].map(Bytes::from));
        log.release(1, true).unwrap();
        append(&mut log, &[Bytes::from("four")]);
        log.release(3, false).unwrap();
        let mut reader = Reader::new(disk.clone(), log.spool(), log.segments.clone(), None);
        let left = rest(&mut reader);
        assert_eq!(left.first().map(Entry::last), Some(first_left), "{segment_age:?}");
        assert_eq!(left.last().map(Entry::last), Some(4));
    }
}

/// Scenario: a file in a directory of the file system.
/// Guarantees: nobody but its user may read it: it holds what strangers sent.
#[test]
fn files_are_for_their_user() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    Directory::open(directory.path()).unwrap().create("file").unwrap();
    let mode = std::fs::metadata(directory.path().join("file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

//! Files that are wrong, in `tests/wrong`, and beside each of them what the program says about it.

use std::path::Path;

use expect_test::expect_file;

use crate::harness::{files, forebay, root, run};

/// Scenario: `forebay check --all-envs` of every wrong file.
/// Guarantees: the exit code is 2, standard output is empty, and each message names file, line and column and what
/// would have worked, as it is written in the `.txt` beside the file.
#[test]
fn wrong_files_are_explained() {
    let folder = root().join("tests/wrong");
    let wrong: Vec<_> = files(&folder).into_iter().filter(|it| it.extension().is_some_and(|it| it == "toml")).collect();
    assert!(wrong.len() >= 30, "only {} wrong files were found in {}", wrong.len(), folder.display());
    for path in wrong {
        let name = path.file_name().expect("a file has a name");
        let mut command = forebay(&folder);
        command.env("FOREBAY_TEST_ROWS", "as many as there are").args(["check", "--all-envs"]).arg(name);
        let said = run(&mut command);
        assert_eq!(said.code, Some(2), "{}\n{}{}", path.display(), said.out, said.err);
        expect_file![path.with_extension("txt")].assert_eq(&said.err);
        assert!(said.err.contains(&format!("--> {}:", Path::new(name).display())), "no place in\n{}", said.err);
        assert!(!said.err.contains("as many as there are"), "a looked-up value in\n{}", said.err);
    }
}

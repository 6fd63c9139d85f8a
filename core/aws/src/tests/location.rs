//! What a path says.

use expect_test::expect;

use crate::Location;

/// Scenario: paths of directories and of buckets, and what is neither.
/// Guarantees: a prefix ends with one `/` or is empty; what nobody can write to is told, with what would have worked.
#[test]
fn what_a_path_says() {
    let mut said = String::new();
    for path in [
        "./data",
        "/var/data/",
        "a:b",
        "s3://logs",
        "s3://logs/",
        "s3://logs/cdn",
        "s3://Old_Logs/cdn/2026//",
        "",
        "a\0b",
        "s3://",
        "s3:///cdn",
        "s3://a b/cdn",
        "s3:/logs/cdn",
        "gs://logs/cdn",
        "file:///var/data",
    ] {
        said += &match Location::parse(path) {
            Ok(Location::Directory(path)) => format!("{path:?}: a directory\n"),
            Ok(Location::Bucket { name, prefix }) => format!("{path}: bucket `{name}`, prefix `{prefix}`\n"),
            Err(wrong) => {
                assert_eq!(wrong.key, "path");
                assert!(wrong.hint.is_some());
                format!("{path:?}: {wrong}\n")
            }
        };
    }
    expect![[r#"
        "./data": a directory
        "/var/data/": a directory
        "a:b": a directory
        s3://logs: bucket `logs`, prefix ``
        s3://logs/: bucket `logs`, prefix ``
        s3://logs/cdn: bucket `logs`, prefix `cdn/`
        s3://Old_Logs/cdn/2026//: bucket `Old_Logs`, prefix `cdn/2026/`
        "": `path` is empty
        "a\0b": `path` holds control characters
        "s3://": `` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . -
        "s3:///cdn": `` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . -
        "s3://a b/cdn": `a b` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . -
        "s3:/logs/cdn": `s3:/logs/cdn` has not two slashes after `s3:`
        "gs://logs/cdn": `gs://` is no place for files: directories and `s3://` are
        "file:///var/data": `file:///var/data` is a URL, and a directory is written as a path
    "#]]
    .assert_eq(&said);
}

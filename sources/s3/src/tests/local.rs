//! Directories.

use std::fs;
use std::io::Read as _;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use expect_test::expect;
use forebay_api::{Partition, Position, Resume, SourceConfig, Span};

use super::{bucket, check, config, failure, gzip, put, shown};
use crate::directory::Directory;
use crate::keys::KeyPattern;
use crate::store::{Finding, Found, Opening, Store};

/// Scenario: a source over objects of every kind: plain, compressed, damaged, empty, with refused lines.
/// Guarantees: it keeps the contract of a source, in both formats.
#[tokio::test]
async fn conformance() {
    let many: String = (0..9000).map(|it| format!("row {it}\n")).collect();
    let directory = bucket(&[
        ("2026/11/a.log", b"one\n\xff\n\nfour"),
        ("2026/11/b.gz", &[gzip("five\nsix"), gzip("\nseven\n")].concat()),
        ("2026/11/damaged.gz", &gzip(&many)[..9000]),
        ("2026/12/empty", b""),
        ("many", many.as_bytes()),
    ]);
    forebay_testkit::source(&config(directory.path(), &[])).await;

    let directory = bucket(&[
        ("a", b"#Version: 1.0\n#Fields: date time\nd1\tt1\nd2\n#Fields: time\nt3\n"),
        ("b.gz", &gzip("early\n#Fields: date secret\nd\ts\n")),
    ]);
    forebay_testkit::source(&config(directory.path(), &[("format", "w3c")])).await;
}

/// Scenario: a tree of files of which some are not meant, and a link.
/// Guarantees: the objects come sorted by key; hidden and unfinished ones and directories behind links are passed over.
#[tokio::test]
async fn keys() {
    let directory = bucket(&[
        ("b/1", b"b1\n"),
        ("b.1", b"b.1\n"),
        ("a", b"a\n"),
        ("b/2.tmp", b"unfinished"),
        ("b/.hidden", b"hidden"),
        ("_temporary/c", b"hidden"),
        ("empty", b""),
    ]);
    std::os::unix::fs::symlink("a", directory.path().join("c")).unwrap();
    std::os::unix::fs::symlink(".", directory.path().join("circle")).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).unwrap();
    check(
        &config(directory.path(), &[]),
        expect![[r#"
        a (start..end] a
        b.1 (start..end] b.1
        b/1 (start..end] b1
        c (start..end] a
        empty (start..end] 
    "#]],
    )
    .await;
    let url = format!("file://{}", directory.path().to_str().unwrap().replace('t', "%74"));
    check(
        &config(Path::new(&url), &[("include", "a")]),
        expect![[r#"
        a (start..end] a
    "#]],
    )
    .await;
    check(
        &config(directory.path(), &[("include", "b*")]),
        expect![[r#"
            b.1 (start..end] b.1
        "#]],
    )
    .await;
    check(
        &config(directory.path(), &[("include", "{a,b/**}")]),
        expect![[r#"
            a (start..end] a
            b/1 (start..end] b1
        "#]],
    )
    .await;
}

/// Scenario: damaged objects stand between good ones.
/// Guarantees: the rows before the damage are read, one refusal stands for the rest, and the others are read on.
#[tokio::test]
async fn damage() {
    let whole = gzip("one\ntwo\nthree\n");
    let bomb = gzip(&format!("first\n{}", "0".repeat(4 << 20)));
    let directory = bucket(&[
        ("1-good", b"fine\n"),
        ("2-cut.gz", &whole[..whole.len() - 12]),
        ("3-large", b"a line of text\n"),
        ("4-bomb.gz", &bomb),
        ("5-good.gz", &whole),
    ]);
    let config = config(directory.path(), &[("object_bytes_max", "2MiB"), ("line_bytes_max", "10B")]);
    let mut reads = forebay_testkit::read(&config, Resume::start()).await;
    for refusal in reads.iter_mut().flat_map(|it| &mut it.refused) {
        refusal.payload.truncate(20);
    }
    expect![[r#"
        1-good (start..end] fine
        2-cut.gz (start..end] one two
          refused 3 "thr": the rest of the object, from here on, could not be read: the gzip data ends too early, after 22 bytes
        3-large (start..end] 
          refused 1 "a line of text": it has 14 bytes, more than the 10 of `line_bytes_max`
        4-bomb.gz (start..end] first
          refused 2 "00000000000000000000": the rest of the object, from here on, could not be read: it grows more than 1000 times when decompressed, at byte 1177: this is not data, but a bomb
        5-good.gz (start..end] one two three
    "#]].assert_eq(&shown(&reads));
}

/// Scenario: rows were read, then files are touched, copied over with the same content, rewritten, and added before.
/// Guarantees: only content decides: the same is not read again, another is another object, and late keys are read.
#[tokio::test]
async fn identity() {
    let directory = bucket(&[("b", b"one\ntwo\n"), ("c", b"three\n")]);
    let config = config(directory.path(), &[]);
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    expect!["b@c796d15e493d134d5d953b5446c61440:8"].assert_eq(reads[0].span.partition.as_str());
    let after = reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())).collect();

    fs::File::open(directory.path().join("b")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    put(&directory, "c", b"three\nfour\n");
    put(&directory, "a", b"zero\n");
    let reads = forebay_testkit::read(&config, Resume::After(after)).await;
    expect![[r#"
        a (start..end] zero
        c (start..end] three four
    "#]]
    .assert_eq(&shown(&reads));
}

/// Scenario: a source polls while objects come, change and go.
/// Guarantees: new objects are read soon, those that were read are not, and it does not end.
#[tokio::test]
async fn poll() {
    let directory = bucket(&[("b", b"one\n")]);
    let config = config(directory.path(), &[("poll", "5ms")]);
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut read = async || shown(&[source.next().await.unwrap().unwrap()]);
    assert_eq!(read().await, "b (start..end] one\n");
    put(&directory, ".a", b"two\n");
    fs::rename(directory.path().join(".a"), directory.path().join("a")).unwrap();
    assert_eq!(read().await, "a (start..end] two\n");
    fs::remove_file(directory.path().join("a")).unwrap();
    put(&directory, ".b", b"one\ntwo\n");
    fs::rename(directory.path().join(".b"), directory.path().join("b")).unwrap();
    assert_eq!(read().await, "b (start..end] one two\n");
    // The same as before: known.
    put(&directory, ".a", b"two\n");
    fs::rename(directory.path().join(".a"), directory.path().join("a")).unwrap();
    let more = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// Scenario: what a delivery holds must be read again, but the object is gone, changed, or never was one.
/// Guarantees: an error that names the file, and says what to do.
#[tokio::test]
async fn replay_of_what_is_gone() {
    let directory = bucket(&[("a", b"one\ntwo\n"), ("b", b"three\n")]);
    let config = config(directory.path(), &[]);
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    put(&directory, "a", b"another\n");
    fs::remove_file(directory.path().join("b")).unwrap();
    let mut found = String::new();
    let partitions = reads.iter().map(|it| it.span.partition.clone());
    let strange = ["demo-0", "../b@00:1", "b@00:x"].map(Partition::from);
    for partition in partitions.chain(strange) {
        let span = Span::new(partition, Position::Start, Position::row(1));
        let error = failure(&config, Resume::Exactly(vec![span])).await;
        found.push_str(&error.replace(directory.path().to_str().unwrap(), "…"));
        found.push('\n');
    }
    expect![[r#"
        `…/a` was changed, but rows of it are on their way to a sink and must be read again: put the file back whose XXH3-128 hash is c796d15e493d134d5d953b5446c61440
        `…/b` is gone, but rows of it are on their way to a sink and must be read again: put the file back whose XXH3-128 hash is 0826ab323b13ef19594776f0dced5574
        `demo-0` is not an object of this source
        `../b@00:1` is not an object of this source
        `b@00:x` is not an object of this source
    "#]].assert_eq(&found);
}

/// Scenario: a file that is too large for memory is written to in its place after its first rows were read.
/// Guarantees: the source fails before it says that the object is finished.
#[tokio::test]
async fn changed_while_read() {
    let many: String = (0..20_000).map(|it| format!("row {it} {}\n", "x".repeat(500))).collect();
    let directory = bucket(&[("a", many.as_bytes())]);
    let mut source = config(directory.path(), &[]).open(Resume::start()).await.unwrap();
    source.next().await.unwrap().unwrap();
    fs::OpenOptions::new().append(true).open(directory.path().join("a")).unwrap().write_all(b"more\n").unwrap();
    let error = loop {
        match source.next().await {
            Ok(read) => assert_ne!(read.unwrap().span.to, Position::End),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("rename them when they are complete"), "{error}");
}

/// Scenario: another file takes the name of an object after it was hashed, and before it is read.
/// Guarantees: what is read is what was hashed.
#[tokio::test]
async fn replaced_before_read() {
    let directory = bucket(&[("a", b"one\ntwo\n"), (".a", b"three\n")]);
    let store = Directory::new(directory.path().to_owned(), KeyPattern::default(), false);
    let Finding::Object(object, handle) = store.find(&Found::key("a".to_owned())).await.unwrap() else {
        panic!("it is there");
    };
    fs::rename(directory.path().join(".a"), directory.path().join("a")).unwrap();
    let Opening::Open(body) = store.open(&object, handle).await.unwrap() else {
        panic!("it was held");
    };
    assert_eq!(body.whole().as_deref(), Some(b"one\ntwo\n".as_slice()));
    let mut input = body.stream();
    let mut text = String::new();
    input.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");
    input.verify().unwrap();
}

/// Scenario: a file was read; then another one of the same size and time takes its name.
/// Guarantees: the look notices, and the new content is read.
#[tokio::test]
async fn replaced_by_one_that_looks_the_same() {
    let directory = bucket(&[("a", b"one\n"), (".a", b"two\n")]);
    let at = |name: &str| fs::File::open(directory.path().join(name)).unwrap();
    for name in ["a", ".a"] {
        at(name).set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    let mut source = config(directory.path(), &[("poll", "5ms")]).open(Resume::start()).await.unwrap();
    assert_eq!(shown(&[source.next().await.unwrap().unwrap()]), "a (start..end] one\n");
    fs::rename(directory.path().join(".a"), directory.path().join("a")).unwrap();
    assert_eq!(shown(&[source.next().await.unwrap().unwrap()]), "a (start..end] two\n");
}

/// Scenario: the directory is missing, or a file.
/// Guarantees: the error names the path and a way out.
#[tokio::test]
async fn world() {
    let directory = bucket(&[("a", b"one\n")]);
    let mut found = String::new();
    for path in ["missing", "a"] {
        let error = failure(&config(&directory.path().join(path), &[]), Resume::start()).await;
        found.push_str(&error.replace(directory.path().to_str().unwrap(), "…"));
        found.push('\n');
    }
    expect![[r#"
        cannot list `…/missing`: No such file or directory (os error 2): create it, or correct `path` (a relative one starts at the working directory)
        cannot list `…/a`: Not a directory (os error 20): name its directory in `path`, and the file in `include`
    "#]].assert_eq(&found);
}

/// Scenario: the standard logs of the example data: files of several generations, and one with odd lines.
/// Guarantees: each row is read or refused with a reason; a trailing tab, a later header and an old file do no harm.
#[tokio::test]
async fn example_data() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/standard");
    let reads = forebay_testkit::read(&config(&path, &[("format", "w3c")]), Resume::start()).await;
    let mut found = String::new();
    for read in reads {
        let (key, _) = read.span.partition.as_str().rsplit_once('@').unwrap();
        found.push_str(&format!("{key} ({}..{}] {} rows\n", read.span.from, read.span.to, read.rows.num_rows()));
        for refusal in &read.refused {
            found.push_str(&format!("  refused {}: {}\n", refusal.position, refusal.why));
        }
    }
    expect![[r#"
        EXAMPLE.2026-11-01-00.2f1c7a90.gz (start..end] 1600 rows
        EXAMPLE.2026-11-01-12.b83d50e4.gz (start..end] 1400 rows
        odd.log (start..end] 7 rows
          refused 1: no `#Fields:` line comes before it
          refused 9: it has 12 of the 33 fields that `#Fields:` names
          refused 10: it has 35 fields, but `#Fields:` names 33
    "#]]
    .assert_eq(&found);
}

//! A bucket where something goes wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use expect_test::expect;
use forebay_api::{Position, Read, Resume, SourceConfig};
use forebay_testkit::services::{Fault, FaultProxy, Rule};
use serde_json::json;

use super::{PATIENCE, messages, next, put_into, remote, server, shown};
use crate::letter::Letter;
use crate::store::{Finding, Found, Store};

fn denied() -> Fault {
    Fault::Status(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>".into())
}

fn slow_down() -> Fault {
    Fault::Status(503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>".into())
}

async fn all(source: &mut dyn forebay_api::Source) -> Vec<Read> {
    let mut reads = Vec::new();
    while let Some(read) = next(source).await {
        reads.push(read);
    }
    reads
}

/// Scenario: requests are refused, answers lost or cut, connections reset, while listing and while reading in ranges.
/// Guarantees: every row comes once, in order; what was there of a range is not asked for again.
#[tokio::test]
async fn what_passes_by_itself() {
    let many: String = (0..60_000).map(|it| format!("row {it}\n")).collect();
    let server = server(&[("a", many.as_bytes()), ("b", b"one\n"), ("c", b"two\n")]);
    let at = |fault, after| Rule::new(fault).method("GET").after(after).times(1);
    let in_a = |fault, after| at(fault, after).path_contains("/logs/a");
    let rules = vec![
        at(slow_down(), 0).path_contains("list-type"),
        at(Fault::TruncateBody(200), 0).path_contains("list-type"),
        at(Fault::Reset, 0).path_contains("list-type"),
        at(Fault::AnswerLost, 0).path_contains("/logs/b"),
        in_a(slow_down(), 0),
        in_a(Fault::TruncateBody(70_000), 0),
        in_a(Fault::TruncateBody(0), 1),
        in_a(Fault::AnswerLost, 1),
        in_a(Fault::TruncateBody(99_999), 1),
        in_a(Fault::Reset, 1),
        in_a(slow_down(), 1),
    ];
    let faults = rules.len();
    let proxy = FaultProxy::start(&server.endpoint(), rules);
    let mut config = remote(&proxy.endpoint(), "s3://logs", json!({}));
    config.tuning.chunk_bytes = 100_000;
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    let rows = messages(&reads);
    assert!(rows.iter().take(60_000).enumerate().all(|(nth, row)| *row == format!("row {nth}")), "{}", rows.len());
    assert_eq!((&rows[60_000..], proxy.faults()), (&["one".to_owned(), "two".to_owned()][..], faults));
    assert!(reads.iter().all(|it| it.refused.is_empty()));
}

/// Scenario: one object of three may not be read.
/// Guarantees: after some tries it is refused with a reason, and the others are read; in another life it is known.
#[tokio::test]
async fn one_object_is_denied() {
    let server = server(&[("a", b"one\n"), ("b", b"two\n"), ("c", b"three\n")]);
    let proxy = FaultProxy::start(&server.endpoint(), vec![Rule::new(denied()).method("GET").path_contains("/logs/b")]);
    let config = remote(&proxy.endpoint(), "s3://logs", json!({ "tries_max": 3 }));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(messages(&reads), ["one", "three"]);
    let refused: Vec<&Read> = reads.iter().filter(|it| !it.refused.is_empty()).collect();
    let [read] = refused[..] else { panic!("{reads:?}") };
    let story =
        format!("{}\n{}\n{}\n", read.span, String::from_utf8_lossy(&read.refused[0].payload), read.refused[0].why);
    expect![[r#"
        {"unreadable":{"object":"s3://logs/b@c193497a1a06b2c72230e6146ff47080:4","after":"start","why":"reading `s3://logs/b`: `AccessDenied`: Access Denied (status 403) (3 tries; other objects can be read)"}}:(start..end]
        s3://logs/b@c193497a1a06b2c72230e6146ff47080:4
        the object could not be read: reading `s3://logs/b`: `AccessDenied`: Access Denied (status 403) (3 tries; other objects can be read)
    "#]].assert_eq(&story);
    let tries = proxy.seen().iter().filter(|it| it.method == "GET" && it.path.contains("/logs/b")).count();
    assert_eq!(tries, 3);
    // The rights are there now; but it was refused, and stays so.
    proxy.set_rules(Vec::new());
    let after = reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())).collect();
    let reads_later = all(&mut *config.open(Resume::After(after)).await.unwrap()).await;
    assert_eq!(shown(&reads_later), "");
    // What was refused is refused in the same words when the delivery that holds it is rebuilt.
    let again = forebay_testkit::read(&config, Resume::Exactly(vec![read.span.clone()])).await;
    assert_eq!(again[0].refused, read.refused);
}

/// Scenario: the bytes of an object are not those that were put: S3 tells the checksum that they should have.
/// Guarantees: no row of them is given; after some tries the object is refused, and the others are read.
#[tokio::test]
async fn damaged_at_rest() {
    let server = server(&[("a", b"one\n")]);
    let aws: forebay_aws::Aws = serde_json::from_value(super::aws(&server.endpoint())).unwrap();
    let s3 = aws.s3().await.unwrap();
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"two\n");
    s3.put_object().bucket("logs").key("b").body(body).send().await.unwrap();
    put_into(&server, "b", b"owt\n");
    let config = remote(&server.endpoint(), "s3://logs", json!({ "tries_max": 2 }));
    let reads = all(&mut *config.open(Resume::start()).await.unwrap()).await;
    assert_eq!(messages(&reads), ["one"]);
    let why: Vec<&str> = reads.iter().flat_map(|it| &it.refused).map(|it| it.why.as_str()).collect();
    expect!["the object could not be read: reading `s3://logs/b`: the answer broke off: body checksum mismatch. expected body checksum to be 96170874 but it was b8391370 (2 tries; other objects can be read)"].assert_eq(&why.join("\n"));
}

/// Scenario: no object may be read, then nothing may be listed, then the bucket is not there; each passes.
/// Guarantees: nothing is refused and nothing ends; the rows come when they can.
#[tokio::test]
async fn rights_and_buckets_are_waited_for() {
    let server = server(&[("a", b"one\n"), ("b", b"two\n")]);
    for path in ["/logs/", "list-type"] {
        let proxy = FaultProxy::start(&server.endpoint(), vec![Rule::new(denied()).path_contains(path)]);
        let config = remote(&proxy.endpoint(), "s3://logs", json!({ "tries_max": 1 }));
        let mut source = config.open(Resume::start()).await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(500), source.next()).await;
        assert!(nothing.is_err() && proxy.faults() > 0, "{nothing:?}");
        proxy.set_rules(Vec::new());
        assert_eq!(messages(&all(&mut *source).await), ["one", "two"]);
    }
    let config = remote(&server.endpoint(), "s3://not-yet", json!({}));
    let mut source = config.open(Resume::start()).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(500), source.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    server.create_bucket("not-yet");
    std::fs::write(server.directory().join("not-yet/a"), "one\n").unwrap();
    assert_eq!(messages(&all(&mut *source).await), ["one"]);
}

/// Scenario: objects are overwritten and deleted after their first rows were read.
/// Guarantees: rows that were given stay, one refusal stands for the rest, and what was written anew is read.
#[tokio::test]
async fn changed_while_read() {
    let many: String = (0..400_000).map(|it| format!("row {it}\n")).collect();
    let server = server(&[("a", many.as_bytes()), ("b", many.as_bytes()), ("c", b"one\n")]);
    let mut config = remote(&server.endpoint(), "s3://logs", json!({}));
    config.tuning.chunk_bytes = 100_000;
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut reads = vec![next(&mut *source).await.unwrap()];
    put_into(&server, "a", b"anew\n");
    let refused = loop {
        let read = next(&mut *source).await.unwrap();
        if !read.refused.is_empty() {
            break read;
        }
        reads.push(read);
    };
    let rows = messages(&reads);
    let rows_given = rows.len();
    assert!(rows.iter().enumerate().all(|(nth, row)| *row == format!("row {nth}")) && rows_given < 400_000);
    assert_eq!(reads.last().unwrap().span.to, Position::row(rows_given as u64));
    let why = format!("the object could not be read after row {rows_given}: it was overwritten while it was read");
    assert_eq!(refused.refused[0].why, why);
    assert_eq!(shown(&[next(&mut *source).await.unwrap()]), "s3://logs/a (start..end] anew\n");

    assert_eq!(next(&mut *source).await.unwrap().span.from, Position::Start);
    std::fs::remove_file(server.directory().join("logs/b")).unwrap();
    let rest = all(&mut *source).await;
    let refused: Vec<&str> = rest.iter().flat_map(|it| &it.refused).map(|it| it.why.as_str()).collect();
    assert!(matches!(refused[..], [why] if why.ends_with("it was deleted while it was read")), "{refused:?}");
    assert_eq!(messages(&rest).last().map(String::as_str), Some("one"));
}

/// Scenario: the first rows of an object were read in an earlier life; then it was overwritten, or deleted.
/// Guarantees: one refusal stands for the rest of it, and what was written anew is read.
#[tokio::test]
async fn changed_between_two_lives() {
    let server = server(&[("a", b"one\ntwo\n"), ("b", b"three\nfour\n"), ("c", b"five\nsix\n")]);
    let config = remote(&server.endpoint(), "s3://logs", json!({}));
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    put_into(&server, "a", b"anew\n");
    std::fs::remove_file(server.directory().join("logs/b")).unwrap();
    let after = reads.iter().map(|it| (it.span.partition.clone(), Position::row(1))).collect();
    let reads = forebay_testkit::read(&config, Resume::After(after)).await;
    let mut found = messages(&reads);
    for refusal in reads.iter().flat_map(|it| &it.refused) {
        let object = String::from_utf8_lossy(&refusal.payload);
        found.push(format!("{} {}", object.split('@').next().unwrap(), refusal.why));
    }
    expect![[r#"
        six
        anew
        s3://logs/a the object could not be read after row 1: it was overwritten while it was read
        s3://logs/b the object could not be read after row 1: it was deleted while it was read"#]]
    .assert_eq(&found.join("\n"));
}

/// Scenario: HEAD, whose answers have no body, says that a key is missing: of one that is there, of one that is not, and
/// when it is the bucket that is missing, or something before the server that answers.
/// Guarantees: only a key of which GET says the same is gone; all else is waited for.
#[tokio::test]
async fn missing_keys() {
    let server = server(&[("a", b"one\n"), ("empty", b"")]);
    let not_found = |method| Rule::new(Fault::Status(404, String::new())).method(method).path_contains("logs/");
    let proxy = FaultProxy::start(&server.endpoint(), vec![not_found("HEAD").times(2)]);
    let config = remote(&proxy.endpoint(), "s3://logs", json!({}));
    let logs = config.everything(BTreeMap::new()).await.unwrap().store.clone();
    let find = async |store: &dyn Store, key: &str| store.find(&Found::key(key.to_owned())).await.unwrap();
    assert!(matches!(find(&*logs, "a").await, Finding::Object(..)));
    proxy.set_rules(vec![not_found("HEAD").times(1)]);
    assert!(matches!(find(&*logs, "empty").await, Finding::Object(..)));
    assert!(matches!(find(&*logs, "b").await, Finding::Gone));
    for answer in ["", "<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>"] {
        let not_there = Rule::new(Fault::Status(404, answer.to_owned())).method("GET");
        proxy.set_rules(vec![not_found("HEAD"), not_there]);
        let nothing = tokio::time::timeout(Duration::from_millis(500), find(&*logs, "b")).await;
        assert!(nothing.is_err(), "{answer}");
    }
}

/// Scenario: the rest of an object was refused in an earlier life; the rows before it are safe, or are not.
/// Guarantees: it is finished only if they are; else it is read on from the last row that is safe.
#[tokio::test]
async fn rows_before_a_refusal() {
    let server = server(&[("a", b"one\ntwo\nthree\n")]);
    let config = remote(&server.endpoint(), "s3://logs", json!({}));
    let object = forebay_testkit::read(&config, Resume::start()).await[0].span.partition.clone();
    let letter = Letter::Unreadable { object: object.clone(), after: Position::row(2), why: "why".to_owned() };
    let mut found = String::new();
    for own in [None, Some(1), Some(2)] {
        let mut after = BTreeMap::from([(letter.partition(), Position::End)]);
        after.extend(own.map(|it| (object.clone(), Position::row(it))));
        let reads = forebay_testkit::read(&config, Resume::After(after)).await;
        found.push_str(&format!("{own:?}: {}\n", shown(&reads).trim_end()));
    }
    expect![[r#"
        None: s3://logs/a (start..end] one two three
        Some(1): s3://logs/a (1..end] two three
        Some(2): 
    "#]]
    .assert_eq(&found);
}

/// Scenario: the only object that was read is deleted; then one comes that may not be read.
/// Guarantees: that the server says of the first that it is gone is proof enough that it works: the second is refused.
#[tokio::test]
async fn denied_while_others_are_gone() {
    let server = server(&[("a", b"one\n")]);
    let proxy = FaultProxy::start(&server.endpoint(), vec![Rule::new(denied()).method("GET").path_contains("/logs/b")]);
    let config = remote(&proxy.endpoint(), "s3://logs", json!({ "tries_max": 1, "poll": "10ms" }));
    let mut source = config.open(Resume::start()).await.unwrap();
    assert_eq!(messages(&[next(&mut *source).await.unwrap()]), ["one"]);
    std::fs::remove_file(server.directory().join("logs/a")).unwrap();
    put_into(&server, "b", b"two\n");
    assert_eq!(next(&mut *source).await.unwrap().refused.len(), 1);
}

/// Scenario: the server is down for a while, in the middle of an object.
/// Guarantees: it is waited for, and every row comes once.
#[tokio::test]
async fn server_down() {
    let many: String = (0..200_000).map(|it| format!("row {it}\n")).collect();
    let mut server = server(&[("a", many.as_bytes())]);
    let mut config = remote(&server.endpoint(), "s3://logs", json!({}));
    config.tuning.chunk_bytes = 100_000;
    let mut source = config.open(Resume::start()).await.unwrap();
    let mut reads = vec![next(&mut *source).await.unwrap()];
    server.stop();
    let down = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        server.restart();
        server
    });
    reads.extend(all(&mut *source).await);
    down.join().unwrap();
    let rows = messages(&reads);
    assert!(rows.iter().enumerate().all(|(nth, row)| *row == format!("row {nth}")), "{}", rows.len());
    assert_eq!(rows.len(), 200_000);
}

/// Scenario: a source is let go while its server does not answer.
/// Guarantees: nothing of it goes on, and no thread is left that waits.
#[test]
fn let_go_while_it_waits() {
    let many: String = (0..100_000).map(|it| format!("row {it}\n")).collect();
    let server = server(&[("a", many.as_bytes())]);
    let hole = Rule::new(Fault::Blackhole).method("GET").path_contains("/logs/a").after(10);
    let proxy = FaultProxy::start(&server.endpoint(), vec![hole]);
    let mut config = remote(&proxy.endpoint(), "s3://logs", json!({}));
    config.tuning.chunk_bytes = 50_000;
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut source = config.open(Resume::start()).await.unwrap();
        next(&mut *source).await.unwrap();
        let nothing =
            tokio::time::timeout(Duration::from_millis(300), async { while source.next().await.unwrap().is_some() {} });
        assert!(nothing.await.is_err());
    });
    // Waits for the threads that may block.
    drop(runtime);
    assert!(begun.elapsed() < PATIENCE);
}

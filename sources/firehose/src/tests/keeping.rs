//! What is kept: requests until they are settled, and their ids for longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_api::{Position, Read, Resume, Source};
use forebay_spool::simulated::SimulatedDisk;
use forebay_spool::{Directory, Disk, Options, Reader, Spool};
use forebay_testkit::canonical;
use http_body_util::Full;
use hyper::Request;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{body, config, deliver, ending, open, post, send};
use crate::seen::{Begun, Id, KNOWN_MILLIS, Seen, encode};

/// Longer than anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn drain(source: &mut dyn Source) -> Vec<Read> {
    let mut reads = Vec::new();
    while let Some(read) = source.next().await.unwrap() {
        reads.push(read);
    }
    reads
}

fn texts(reads: &[Read]) -> Vec<String> {
    canonical(&reads.iter().map(|it| it.rows.clone()).collect::<Vec<_>>())
}

/// Scenario: the suite for sources over a spool with requests of every kind.
/// Guarantees: resumes exactly, replays exactly.
#[tokio::test]
async fn conformance() {
    let directory = TempDir::new().unwrap();
    let keys = "framing = 'lines'\ncolumns = ['request_id', 'request_time']\nattributes = ['stage']";
    let config = ending(directory.path(), keys);
    {
        let (_source, address) = open(&config, Resume::start()).await;
        deliver(address, "r-1", &[b"one\ntwo\n", b"", b"three\n\nfour"]).await;
        deliver(address, "r-2", &[]).await;
        deliver(address, "r-3", &[b"bad \xff", b"five\r\n"]).await;
        deliver(address, "r-4", &[b"\n"]).await;
        deliver(address, "r-5", &[b"six"]).await;
    }
    forebay_testkit::source(&config).await;
}

/// Scenario: a request is damaged on the disk when some of its rows were read; the source is opened again, twice.
/// Guarantees: it is said once that the rest is lost, and how much was read; what comes behind it is read.
#[tokio::test]
async fn damage_in_the_middle_of_a_request() {
    let directory = TempDir::new().unwrap();
    let config = ending(directory.path(), "framing = 'lines'");
    {
        let (_source, address) = open(&config, Resume::start()).await;
        deliver(address, "r-1", &[b"one\ntwo\nthree\nfour"]).await;
        deliver(address, "r-2", &[b"five"]).await;
    }
    let partition = drain(open(&config, Resume::start()).await.0.as_mut()).await[0].span.partition.clone();
    let files = std::fs::read_dir(directory.path().join(crate::source::REQUESTS)).unwrap().map(|it| it.unwrap().path());
    let has_it = |it: &std::path::PathBuf| std::fs::read(it).is_ok_and(|it| it.windows(5).any(|it| it == b"three"));
    let segment = files.into_iter().find(has_it).expect("a segment holds the request");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|it| it == b"three").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut text = String::new();
    let mut from = crate::rows::at(1, 2);
    for _ in 0..2 {
        let after = Resume::After(BTreeMap::from([(partition.clone(), from.clone())]));
        let reads = drain(open(&config, after).await.0.as_mut()).await;
        for read in &reads {
            text += &format!("{}\n", read.span.to);
            text.extend(read.refused.iter().map(|it| format!("  {}: {}\n", it.position, it.why)));
            text.extend(canonical(std::slice::from_ref(&read.rows)).iter().map(|it| format!("  {it}\n")));
        }
        from = reads[0].span.to.clone();
    }
    expect_test::expect![[r#"
        1:4294967295
          1:4294967295: requests 1 to 1 of the spool are damaged, 2 rows of the last one were read before
        2:1
          {"message":"five"}
        2:1
          {"message":"five"}
    "#]]
    .assert_eq(&text);
}

/// Scenario: requests come until the spool is full, and again when what it held is settled.
/// Guarantees: the answer is 503 then, and what was answered with 200 is there, once.
#[tokio::test]
async fn a_full_spool() {
    let directory = TempDir::new().unwrap();
    let mut config = ending(directory.path(), "");
    config.tuning.spool_bytes_max = Some(256 << 10);
    let (mut source, address) = open(&config, Resume::start()).await;
    let mut settler = source.settler().unwrap();
    let record = vec![b'x'; 10 << 10];
    let mut answered = 0;
    let (mut nth, mut full) = (0, String::new());
    while full.is_empty() {
        nth += 1;
        assert!(nth < 100, "the spool is never full");
        match post(address, &[], body(&format!("r-{nth}"), &[&record])).await {
            (200, _) => answered += 1,
            (503, text) => full = text,
            (status, text) => panic!("{status} {text}"),
        }
    }
    assert!(full.contains("\"errorMessage\":\"the spool is full\""), "{full}");
    let reads = drain(source.as_mut()).await;
    assert_eq!(texts(&reads).len(), answered);

    let span = &reads[reads.len() - 1].span;
    settler.settled(&span.partition, &span.to).await.unwrap();
    let again = body(&format!("r-{nth}"), &[&record]);
    // Segments are deleted soon, not at once.
    for _ in 0..1000 {
        if post(address, &[], again.clone()).await.0 == 200 {
            assert_eq!(texts(&drain(source.as_mut()).await).len(), 1);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the spool stays full");
}

/// Scenario: the disk hangs while a request is taken, which comes again meanwhile and afterwards.
/// Guarantees: each time Firehose is told to try again, and health says 503 as long as the disk hangs; in the end the request is
/// known, and there once.
#[tokio::test]
async fn a_disk_that_hangs() {
    let directory = TempDir::new().unwrap();
    let mut config = ending(directory.path(), "");
    let disk = SimulatedDisk::new(1);
    (config.tuning.disk, config.tuning.patience) = (Some(disk.clone()), Some(Duration::from_millis(300)));
    let (mut source, address) = open(&config, Resume::start()).await;
    let request = || post(address, &[], body("r-1", &[b"one"]));
    let health = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        send(stream, Request::get("/health").header("host", "b").body(Full::default()).unwrap()).await.0
    };
    assert_eq!(health().await, 200);
    disk.set_hangs(true);
    let late = async || {
        let answered = tokio::time::timeout(PATIENCE, request()).await;
        answered.expect("nobody waits for ever")
    };
    let (status, text) = late().await;
    assert_eq!(status, 503);
    assert!(text.contains(r#""errorMessage":"the disk of the spool does not answer""#), "{text}");
    let (status, text) = late().await;
    assert_eq!(status, 503);
    assert!(text.contains(r#""errorMessage":"this request is being taken already""#), "{text}");
    assert_eq!(health().await, 503);
    disk.set_hangs(false);
    let known = async {
        while request().await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("it goes on by itself");
    assert_eq!(health().await, 200);
    assert_eq!(texts(&drain(source.as_mut()).await), [r#"{"message":"one"}"#]);
}

/// Scenario: all that bodies may take is taken by a large request that is on its way; another large one and a small one come.
/// Guarantees: the other large one is told to try again, before it was sent; the small one is taken; and then the large ones
/// are, one after the other.
#[tokio::test]
async fn two_large_requests() {
    let directory = TempDir::new().unwrap();
    let (mut source, address) = open(&ending(directory.path(), ""), Resume::start()).await;
    let large = |id: &str| body(id, &vec![&vec![b'x'; 1_000_000][..]; 30]);
    let first = large("r-1");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        first.len()
    );
    let mut coming = TcpStream::connect(address).await.unwrap();
    coming.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    coming.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");

    let request = Request::post("/").header("host", "b").body(Full::from(large("r-2"))).unwrap();
    let (status, headers, text) = send(TcpStream::connect(address).await.unwrap(), request).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (503, "10"));
    assert!(text.contains(r#""errorMessage":"there is too much at once""#), "{text}");
    deliver(address, "r-3", &[b"small"]).await;

    coming.write_all(&first).await.unwrap();
    let mut answer = String::new();
    coming.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (status, text) = post(address, &[], large("r-2")).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(drain(source.as_mut()).await.iter().map(|it| it.rows.num_rows()).sum::<usize>(), 61);
}

/// Scenario: a request in the spool was kept by another version of the program.
/// Guarantees: the source does not open, names both versions, and every request is still there.
#[tokio::test]
async fn another_format() {
    let directory = TempDir::new().unwrap();
    let mut config = ending(directory.path(), "");
    let disk = SimulatedDisk::new(1);
    config.tuning.disk = Some(disk.clone());
    let (source, address) = open(&config, Resume::start()).await;
    deliver(address, "r-1", &[b"one"]).await;
    drop(source);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let opened = async {
        loop {
            match Spool::open(disk.clone(), Options::new(1 << 28)) {
                Ok(spool) => return spool,
                // The last connection may still have it.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let spool = tokio::time::timeout(PATIENCE, opened).await.expect("the spool is let go");
    spool.append(vec![2, 0, 0].into()).await.unwrap();
    drop(spool);
    for _ in 0..2 {
        let error = forebay_api::SourceConfig::open(&config, Resume::start()).await.err().unwrap().to_string();
        assert_eq!(
            error,
            "request 2 of the spool at `simulated` has format 2, and this program reads format 1: nothing is lost; start the \
             version that wrote it, or put the directory aside"
        );
    }
    let mut reader = Reader::open(disk, None).unwrap().unwrap();
    assert_eq!(std::iter::from_fn(|| reader.read().unwrap()).count(), 2);
}

/// Scenario: ids of requests that were let go were kept by another version of the program, or before there were versions, or are
/// no ids.
/// Guarantees: the source does not open, since requests could be taken twice; it names both versions and the place; and
/// everything is still there.
#[tokio::test]
async fn ids_of_another_format() {
    for (payload, found) in
        [(&b"\x02[[\"r-2\",2]]"[..], "2"), (&b"[[\"r-2\",2]]"[..], "91"), (&b"\x01{}"[..], "1, but of another source")]
    {
        let directory = TempDir::new().unwrap();
        let config = ending(directory.path(), "");
        let place = directory.path().join("ids");
        let disk: Arc<dyn Disk> = Arc::new(Directory::open(&place).unwrap());
        let spool = Spool::open(disk.clone(), Options::new(1 << 28)).unwrap();
        spool.append(encode(&[Id("r-1".to_owned(), 1)])).await.unwrap();
        spool.append(Bytes::from_static(payload)).await.unwrap();
        drop(spool);
        for _ in 0..2 {
            let error = forebay_api::SourceConfig::open(&config, Resume::start()).await.err().unwrap().to_string();
            assert_eq!(
                error,
                format!(
                    "entry 2 of the spool at `{}` has format {found}, and this program reads format 1: nothing is lost; start \
                     the version that wrote it, or put the directory aside",
                    place.display()
                )
            );
        }
        let mut reader = Reader::open(disk, None).unwrap().unwrap();
        assert_eq!(std::iter::from_fn(|| reader.read().unwrap()).count(), 2);
    }
}

/// Scenario: of some requests all are settled, and nothing comes after them; the process ends, and the next one reads nothing.
/// Guarantees: in either no request stays on the disk, though the segment is far from full, and each id is known.
#[tokio::test]
async fn nothing_stays() {
    let directory = TempDir::new().unwrap();
    let mut config = ending(directory.path(), "framing = 'lines'");
    config.tuning.keep_every = Some(Duration::from_millis(20));
    let requests = directory.path().join("requests");
    let is_empty = || {
        let disk = Arc::new(forebay_spool::Directory::existing(&requests).unwrap());
        let mut reader = forebay_spool::Reader::open(disk, None).unwrap().unwrap();
        reader.read().unwrap().is_none()
    };
    let emptied = async || {
        let emptied = async {
            while !is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("nothing stays");
    };
    let (mut source, address) = open(&config, Resume::start()).await;
    deliver(address, "r-1", &[b"one\ntwo", b""]).await;
    deliver(address, "r-2", &[]).await;
    let mut settler = source.settler().unwrap();
    let span = drain(source.as_mut()).await.pop().unwrap().span;
    settler.settled(&span.partition, &Position::sequence("1", 1).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!is_empty(), "a request stays as long as a row of it is not settled");
    settler.settled(&span.partition, &span.to).await.unwrap();
    emptied().await;
    deliver(address, "r-3", &[b"three"]).await;
    let span = drain(source.as_mut()).await.pop().unwrap().span;
    drop((source, settler));

    let after = BTreeMap::from([(span.partition, span.to)]);
    let (mut source, address) = open(&config, Resume::After(after)).await;
    assert!(drain(source.as_mut()).await.is_empty());
    emptied().await;
    for id in ["r-1", "r-2", "r-3"] {
        deliver(address, id, &[b"again"]).await;
    }
    assert!(drain(source.as_mut()).await.is_empty());
}

/// Scenario: a request cannot be read, since the disk does not open its file, and a moment later it does.
/// Guarantees: the source waits, and gives it.
#[tokio::test]
async fn a_disk_that_opens_nothing() {
    let directory = TempDir::new().unwrap();
    let config = config(directory.path(), "");
    let (mut source, address) = open(&config, Resume::start()).await;
    let segment = directory.path().join("requests/0000000000000001.spool");
    let aside = directory.path().join("aside");
    std::fs::rename(&segment, &aside).unwrap();
    // Nobody writes to a directory.
    std::fs::create_dir(&segment).unwrap();
    deliver(address, "r-1", &[b"one"]).await;
    let mut next = source.next();
    tokio::time::timeout(Duration::from_millis(200), next.as_mut()).await.expect_err("there is nothing to be read");
    std::fs::remove_dir(&segment).unwrap();
    std::fs::rename(&aside, &segment).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(60), next).await.expect("it is tried again");
    assert_eq!(texts(&[read.unwrap().unwrap()]), ["{\"message\":\"one\"}"]);
}

/// Scenario: requests are answered before they are durable; the process ends, and the next one goes on.
/// Guarantees: each is read once.
#[tokio::test]
async fn in_memory() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path(), "");
    config.spool.durability = forebay_spool::Durability::Memory;
    let (mut source, address) = open(&config, Resume::start()).await;
    deliver(address, "a", &[b"a"]).await;
    let read = source.next().await.unwrap().unwrap();
    assert_eq!(texts(std::slice::from_ref(&read)), ["{\"message\":\"a\"}"]);
    deliver(address, "b", &[b"b"]).await;
    drop(source);
    config.tuning.ends = true;
    let after = BTreeMap::from([(read.span.partition, read.span.to)]);
    let (mut source, _) = open(&config, Resume::After(after)).await;
    assert_eq!(texts(&drain(source.as_mut()).await), ["{\"message\":\"b\"}"]);
}

/// Scenario: a source that waits, and a request that comes meanwhile.
/// Guarantees: the answer means that it is safe, and then it is read.
#[tokio::test]
async fn waits_for_requests() {
    let directory = TempDir::new().unwrap();
    let config = config(directory.path(), "");
    let (mut source, address) = open(&config, Resume::start()).await;
    let (read, ()) = tokio::join!(source.next(), deliver(address, "r-1", &[b"one"]));
    assert_eq!(texts(&[read.unwrap().unwrap()]), ["{\"message\":\"one\"}"]);
}

/// Scenario: a request comes twice at the same time, again later, after a restart, and after a restart when it was
/// settled and let go; and again when the process ended between the checkpoint and the note about it.
/// Guarantees: each is answered with 200 in the end, and its rows are there once.
#[tokio::test]
async fn requests_that_come_again() {
    let directory = TempDir::new().unwrap();
    let config = ending(directory.path(), "");
    let send = async |address, id: &str| post(address, &[], body(id, &[id.as_bytes()])).await;

    let (mut source, address) = open(&config, Resume::start()).await;
    let (one, other) = tokio::join!(send(address, "a"), send(address, "a"));
    for (status, text) in [&one, &other] {
        assert!(matches!(status, 200 | 503), "{text}");
    }
    assert_eq!(send(address, "a").await.0, 200);
    deliver(address, "b", &[b"b"]).await;
    deliver(address, "c", &[b"c"]).await;
    let mut settler = source.settler().unwrap();
    let reads = drain(source.as_mut()).await;
    assert_eq!(texts(&reads), ["a", "b", "c"].map(|it| format!("{{\"message\":\"{it}\"}}")));

    // Settled up to `b`: `a` is let go.
    let span = reads[1].span.clone();
    settler.settled(&span.partition, &span.to).await.unwrap();
    drop((source, settler));
    // The checkpoint knows of `c`, and the settler was never told.
    let last = reads[2].span.clone();
    for again in ["a", "b", "c"] {
        let after = BTreeMap::from([(last.partition.clone(), last.to.clone())]);
        let (mut source, address) = open(&config, Resume::After(after)).await;
        assert_eq!(send(address, again).await.0, 200);
        assert!(drain(source.as_mut()).await.is_empty(), "`{again}` was taken twice");
    }
    let after = BTreeMap::from([(last.partition.clone(), last.to.clone())]);
    let (mut source, address) = open(&config, Resume::After(after)).await;
    deliver(address, "d", &[b"d"]).await;
    let reads = drain(source.as_mut()).await;
    assert_eq!(texts(&reads), ["{\"message\":\"d\"}"]);
    let mut settler = source.settler().unwrap();
    settler.settled(&last.partition, &reads[0].span.to).await.unwrap();
    drop((source, settler));
    let after = BTreeMap::from([(last.partition.clone(), reads[0].span.to.clone())]);
    let (mut source, address) = open(&config, Resume::After(after)).await;
    for again in ["a", "b", "c", "d"] {
        assert_eq!(send(address, again).await.0, 200);
    }
    assert!(drain(source.as_mut()).await.is_empty());
}

/// Scenario: the spool is removed between two runs, and a replay is asked for what was in it.
/// Guarantees: the new one has another partition, so that nothing is taken for read; the replay says what is missing.
#[tokio::test]
async fn another_spool() {
    let directory = TempDir::new().unwrap();
    let config = ending(directory.path(), "");
    let (mut source, address) = open(&config, Resume::start()).await;
    deliver(address, "a", &[b"a"]).await;
    let first = drain(source.as_mut()).await.remove(0).span;
    drop(source);
    std::fs::remove_dir_all(directory.path()).unwrap();

    let after = BTreeMap::from([(first.partition.clone(), first.to.clone())]);
    let (mut source, address) = open(&config, Resume::After(after)).await;
    deliver(address, "b", &[b"b"]).await;
    let second = drain(source.as_mut()).await.remove(0).span;
    assert_ne!(first.partition, second.partition);
    assert_eq!(second.from, Position::Start);
    let error = forebay_api::SourceConfig::open(&config, Resume::Exactly(vec![first.clone()])).await.err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with(&format!("{first} is not in the spool")), "{text}");
}

/// Scenario: ids over many hours, and one whose request was not taken.
/// Guarantees: an id is known for three hours; one that was not taken may come again; what is being taken is told apart.
#[test]
fn ids_for_three_hours() {
    let mut seen = Seen::default();
    let id = |text: &str, at| Id(text.to_owned(), at);
    assert_eq!(seen.begin("a"), Begun::New);
    assert_eq!(seen.begin("a"), Begun::Coming);
    seen.end(id("a", 0), false);
    assert_eq!(seen.begin("a"), Begun::New);
    seen.end(id("a", 0), true);
    assert_eq!(seen.begin("a"), Begun::Taken);
    seen.know(id("b", KNOWN_MILLIS));
    assert_eq!(seen.begin("a"), Begun::Taken);
    seen.know(id("c", KNOWN_MILLIS + 1));
    assert_eq!(seen.begin("a"), Begun::New);
    for minute in 0..10_000 {
        seen.know(id(&format!("request {minute}"), minute * 60_000));
    }
    assert!(seen.len() < 200, "{} ids are kept", seen.len());
}

//! What the engine relies on.

use std::collections::BTreeMap;

use forebay_api::{Partition, Span};

use super::*;

/// Bodies of all kinds: many events, none, copies, refusals, nonsense.
fn frames() -> Vec<Frame> {
    let many: Vec<String> = (0..50).map(|it| format!(r#"{{"event.id": "m{it}", "message": "{it}"}}"#)).collect();
    let bodies = [
        r#"{"message": "one", "event.id": "1"}"#,
        r#"[{"event.id": "1"}, {"event.id": "2"}, {"event.duration": "bad"}, {"event.id": "3"}]"#,
        "[]",
        r#"{"event.id": "1"}"#,
        "nonsense",
        &many.join("\n"),
        r#"[{"event.id": "m49"}, {"event.id": "4"}]"#,
    ];
    bodies.iter().zip(0..).map(|(body, nth)| frame(nth, body)).collect()
}

/// Scenario: the suite for sources, over several segments, with a damaged frame.
/// Guarantees: the source resumes from every position, replays any spans, and ends.
#[tokio::test]
async fn the_suite() {
    let mut beacon = beacon(json!({}));
    beacon.tuning.segment_bytes = Some(600);
    put(&beacon, frames()).await;
    forebay_testkit::source(&beacon).await;
    // The first payload, behind the headers of the segment and the frame.
    beacon.tuning.disk.as_ref().unwrap().spoil("0000000000000001.spool", |it| it[64 + 24 + 30] ^= 1);
    forebay_testkit::source(&beacon).await;
    let reads = read(&beacon).await;
    let lost = &reads[0].refused[0];
    assert_eq!((lost.position.to_string().as_str(), lost.payload.len()), ("1:4294967295", 0));
    assert!(lost.why.starts_with("the requests 1 to 1 of the spool cannot be read"), "{}", lost.why);
}

/// Scenario: a request of several events is damaged when some of them were read; the source is opened again, twice; and what
/// a crash left open is read again.
/// Guarantees: it is said once that the rest is lost, and how much was read, be it a single event.
#[tokio::test]
async fn damage_in_the_middle_of_a_request() {
    let beacon = beacon(json!({ "fields": ["message"] }));
    let body: Vec<String> = (0..5).map(|it| format!(r#"{{"message": "{it}"}}"#)).collect();
    put(&beacon, [frame(1, &body.join("\n")), frame(2, r#"{"message": "next"}"#)]).await;
    let partition = read(&beacon).await[0].span.partition.clone();
    beacon.tuning.disk.as_ref().unwrap().spoil("0000000000000001.spool", |it| it[64 + 24 + 30] ^= 1);
    let place = |row| Position::sequence("1", row).unwrap();
    let mut text = String::new();
    for row in [1, 3, forebay_spool::source::REST] {
        let after = Resume::After(BTreeMap::from([(partition.clone(), place(row))]));
        let reads = forebay_testkit::read(&beacon, after).await;
        text += &format!("{}\n{}", reads[0].span.to, shown(&reads));
    }
    let span = Span::new(partition, place(3), place(4));
    text += &shown(&forebay_testkit::read(&beacon, Resume::Exactly(vec![span])).await);
    expect_test::expect![[r#"
        2:1
        1:4294967295 REFUSED "": the requests 1 to 1 of the spool cannot be read: the disk has damaged them, or lost its power before they were answered; the last one was read before up to its event 1, which may be all
        2:1 message=next
        2:1
        1:4294967295 REFUSED "": the requests 1 to 1 of the spool cannot be read: the disk has damaged them, or lost its power before they were answered; the last one was read before up to its event 3, which may be all
        2:1 message=next
        2:1
        2:1 message=next
        1:4 REFUSED "": the requests 1 to 1 of the spool cannot be read: the disk has damaged them, or lost its power before they were answered; the last one was read before up to its event 3, which may be all
    "#]].assert_eq(&text);
}

/// Scenario: the oldest requests are old when they are read, since the sinks were away for long; for a moment all that was read
/// is settled.
/// Guarantees: what the next ones may be copies of stays until they are read.
#[test]
fn keeps_what_old_requests_reach() {
    let mut retention = crate::retention::Retention::default();
    retention.begin(0);
    retention.go_on();
    let place = |sequence: u64| Position::sequence(&sequence.to_string(), 1).unwrap();
    for sequence in 1..=3 {
        retention.read(sequence, 1, Some(1000 + sequence));
        retention.ended(1);
        retention.settle(&place(sequence));
    }
    assert_eq!(retention.done(5000, 10), 0, "the fourth may be a copy of the first");
    assert_eq!(retention.done(5000, 3), 3, "what comes next is new");
}

/// Scenario: the numbers behind the last request are left out, since a power cut has torn what stood there; the clock goes
/// back by a day.
/// Guarantees: later requests are not said to have come before it.
#[tokio::test]
async fn the_last_request_behind_a_torn_tail() {
    let beacon = beacon(json!({ "fields": ["message"] }));
    put(&beacon, [frame(1, r#"{"message": "one"}"#)]).await;
    beacon.tuning.disk.as_ref().unwrap().spoil("0000000000000001.spool", |it| it.extend([7; 100]));
    let spool = Spool::open(Arc::new(beacon.tuning.disk.clone().unwrap()), beacon.options(&BTreeMap::new())).unwrap();
    assert!(spool.standing().last > 1);
    assert_eq!(crate::open::last_tick(&spool).unwrap(), frame(1, "").tick_millis);
}

/// Scenario: rows are settled one after the other, and the source is asked to let go.
/// Guarantees: segments are deleted as soon as, and no sooner than, nothing undelivered needs them: neither for its rows nor
/// to find copies.
#[tokio::test]
async fn lets_go() {
    // So many frames before the next one are needed at least, and are kept at most.
    for (window, needed, kept) in [("0s", 0, 1), ("1h", 8, 11)] {
        let keys = json!({ "dedupe": { "window": window, "ids_max": 8 }, "fields": [] });
        let mut beacon = beacon(keys);
        // One frame fills a segment.
        beacon.tuning.segment_bytes = Some(100);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let body = |nth: u64| format!(r#"{{"event.id": "{nth}", "message": "{}"}}"#, "x".repeat(40));
        let offset = now - 1_795_334_400_000 / 1000;
        put(&beacon, (0..40).map(|nth| frame(offset.saturating_add(nth / 40), &body(nth)))).await;
        let disk = beacon.tuning.disk.clone().unwrap();
        let mut source = beacon.open(Resume::start()).await.unwrap();
        let mut settler = source.settler().unwrap();
        let mut partition = None;
        while let Some(read) = source.next().await.unwrap() {
            partition = Some(read.span.partition.clone());
        }
        let partition = partition.unwrap();
        let first = || {
            let reader = forebay_spool::Reader::open(Arc::new(disk.clone()), None).unwrap();
            reader.unwrap().due()
        };
        for settled in [10, 20, 40] {
            settler.settled(&partition, &Position::sequence(&settled.to_string(), 1).unwrap()).await.unwrap();
            let gone = async {
                while first() + kept < settled + 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{window}: {} is kept", first()));
            assert!(first() + needed <= settled + 1, "{window}: {} is the first that is left", first());
        }
    }
}

/// Scenario: the source is opened behind frames that are settled by then and out of reach, and is not read yet, while the
/// engine makes deliveries again that a crash has left open; what has grown old is let go of.
/// Guarantees: those frames stay, and can be read again, until the source itself is read.
#[tokio::test]
async fn keeps_until_it_is_read() {
    let mut beacon = beacon(json!({ "dedupe": { "window": "0s" } }));
    beacon.tuning.segment_bytes = Some(100);
    put(&beacon, (0..10).map(|nth| frame(nth, r#"{"message": "one"}"#))).await;
    let disk = beacon.tuning.disk.clone().unwrap();
    let first = || forebay_spool::Reader::open(Arc::new(disk.clone()), None).unwrap().unwrap().due();
    let partition = read(&beacon).await.first().unwrap().span.partition.clone();
    let after = BTreeMap::from([(partition.clone(), Position::sequence("10", 1).unwrap())]);
    let mut source = beacon.everything(&after).await.unwrap();
    // The thread of the spool has let go when it has come round to the second of two others.
    let spool = source.keeper.spool.clone();
    let others = async || {
        for _ in 0..2 {
            spool.append("later".into()).await.unwrap();
        }
    };
    source.keeper.let_go();
    others().await;
    assert_eq!(first(), 1);
    let span = Span::new(partition, Position::Start, Position::sequence("1", 1).unwrap());
    let mut again = beacon.open(Resume::Exactly(vec![span])).await.unwrap();
    assert_eq!(again.next().await.unwrap().unwrap().rows.num_rows(), 1);
    // A frame that is none.
    assert!(source.next().await.is_err());
    source.keeper.let_go();
    others().await;
    assert!(first() > 10, "{}", first());
}

/// Scenario: a source takes requests, its process ends, and the next one goes on from what the state says; then the spool
/// is lost, and another one takes its place.
/// Guarantees: every event is read once; the new spool is a partition of its own, so that none of its rows are taken for
/// rows of the old one; and what was to be replayed from the old one is an error, not other rows.
#[tokio::test]
async fn a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut beacon = beacon(json!({ "spool": { "directory": directory.path().join("spool") }, "fields": ["message"] }));
    beacon.tuning.disk = None;
    let mut served = serve(&mut beacon).await;
    let body = |nth: u32| format!(r#"{{"message": "{nth}", "event.id": "{nth}"}}"#);
    for nth in 0..10 {
        assert_eq!(status(&served.post("", body(nth)).await), "204 No Content");
    }
    let mut reads = Vec::new();
    while reads.iter().map(|it: &Read| it.rows.num_rows()).sum::<usize>() < 10 {
        reads.push(served.next().await);
    }
    let (partition, to) = (reads[0].span.partition.clone(), end(&reads));
    // One more, which nobody has read; and one that was sent before.
    assert_eq!(status(&served.post("", body(10)).await), "204 No Content");
    assert_eq!(status(&served.post("", body(3)).await), "204 No Content");
    drop(served);
    beacon.tuning.ends = true;
    // Connections that were open may take a moment to end.
    let after = Resume::After([(partition.clone(), to.clone())].into());
    let reopened = async {
        loop {
            match beacon.open(after.clone()).await {
                Ok(source) => break source,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    drop(tokio::time::timeout(PATIENCE, reopened).await.expect("the spool is let go"));
    let rest = forebay_testkit::read(&beacon, after).await;
    let messages: Vec<usize> = rest.iter().map(|it| it.rows.num_rows()).collect();
    assert_eq!((messages.iter().sum::<usize>(), rest[0].span.from.clone()), (1, to));

    let span = Span::new(partition.clone(), Position::Start, end(&reads));
    let again = forebay_testkit::read(&beacon, Resume::Exactly(vec![span.clone()])).await;
    assert_eq!(again.iter().map(|it| it.rows.num_rows()).sum::<usize>(), 10);

    std::fs::remove_dir_all(directory.path().join("spool")).unwrap();
    put_one(&beacon, body(11)).await;
    let fresh = forebay_testkit::read(&beacon, Resume::After([(partition.clone(), end(&reads))].into())).await;
    assert_eq!(fresh.len(), 1);
    assert!(fresh[0].span.partition != partition);
    let mut replay = beacon.open(Resume::Exactly(vec![span])).await.unwrap();
    let error = replay.next().await.unwrap_err().to_string();
    assert!(error.contains("is not the spool at"), "{error}");
}

async fn put_one(beacon: &Beacon, body: String) {
    let disk = forebay_spool::Directory::open(&beacon.spool.directory).unwrap();
    let spool = Spool::open(Arc::new(disk), beacon.options(&Default::default())).unwrap();
    spool.append(frame(1, &body).encode()).await.unwrap();
}

/// Scenario: the spool gets full while nothing is settled, and then everything is settled.
/// Guarantees: what does not fit is answered with 503 and a time to wait, health says so, what was answered is read; then the
/// source takes requests again by itself.
#[tokio::test]
async fn full() {
    let keys = json!({
        "spool": { "directory": "unused", "bytes_max": "16KiB" },
        "limits": { "decoded_bytes_max": "1KiB" },
        "dedupe": { "window": "0s" },
    });
    let mut beacon = beacon(keys);
    let mut served = serve(&mut beacon).await;
    let body = json!({ "message": "x".repeat(800) }).to_string();
    let mut accepted = 0;
    let refused = loop {
        let answer = served.post("", &body).await;
        match status(&answer) {
            "204 No Content" => accepted += 1,
            _ => break answer,
        }
    };
    assert_eq!(status(&refused), "503 Service Unavailable");
    assert!(refused.contains("retry-after: 5\n"), "{refused}");
    assert!(accepted > 10, "{accepted}");
    let health = "GET /health HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(status(&served.send(health).await), "503 Service Unavailable");
    let mut settler = served.source.settler().unwrap();
    let mut rows = 0;
    let mut to: (Option<Partition>, Position) = (None, Position::Start);
    while rows < accepted {
        let read = served.next().await;
        rows += read.rows.num_rows();
        to = (Some(read.span.partition), read.span.to);
    }
    assert_eq!(rows, accepted);
    settler.settled(&to.0.unwrap(), &to.1).await.unwrap();
    let again = async {
        while status(&served.post("", &body).await) != "204 No Content" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
    assert_eq!(status(&served.send(health).await), "200 OK");
}

/// Scenario: syncs fail for a while under load.
/// Guarantees: nothing is answered with 204 that is not read afterwards, nothing that was refused is read, and the source
/// recovers by itself.
#[tokio::test]
async fn a_disk_that_fails() {
    let mut beacon = beacon(json!({}));
    let disk = beacon.tuning.disk.clone().unwrap();
    let served = serve(&mut beacon).await;
    let mut accepted = 0;
    for nth in 0..60 {
        if nth % 20 == 5 {
            disk.fail_syncs(3);
        }
        if status(&served.post("", json!({ "event.id": nth }).to_string()).await) == "204 No Content" {
            accepted += 1;
        }
    }
    let recovered = async {
        while status(&served.post("", "{}").await) != "204 No Content" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.expect("it recovers by itself");
    disk.restart();
    let reader = forebay_spool::Reader::open(Arc::new(disk), None).unwrap();
    let mut reader = reader.unwrap();
    let mut frames = 0;
    while let Some(entry) = reader.read().unwrap() {
        assert!(matches!(entry, forebay_spool::Entry::Frame { .. }), "{entry:?}");
        frames += 1;
    }
    assert_eq!(frames, accepted + 1);
}

/// Scenario: while clients post, one sync fails; then all syncs fail for ten seconds; then nothing can be written for a second,
/// since the disk is full. Each time the disk is well again. A request that waits for the disk would wait for an hour. In the
/// end the power is cut.
/// Guarantees: the one sync refuses nobody: what it lost is written once more. As long as the disk fails everybody is refused,
/// at once, with a time to wait, and health says 503; it takes requests again by itself, within five seconds. Every event that
/// was answered with 204 is read once, and no other.
#[tokio::test]
async fn a_disk_that_fails_for_long() {
    type Change = fn(&SimulatedDisk);
    const CLIENTS: usize = 4;
    let mut beacon = beacon(json!({ "fields": [] }));
    beacon.tuning.patience = Some(Duration::from_secs(3600));
    let disk = beacon.tuning.disk.clone().unwrap();
    let served = serve(&mut beacon).await;
    let (mut sent, mut accepted) = (0, std::collections::BTreeSet::new());
    // So many of the clients' requests were taken, and so long the slowest answer took.
    let mut post = async || {
        let began = std::time::Instant::now();
        let ids: Vec<usize> = (sent..sent + CLIENTS).collect();
        sent += CLIENTS;
        let posts = ids.iter().map(|it| served.post("", json!({ "event.id": it.to_string() }).to_string()));
        let answers = futures_util::future::join_all(posts.collect::<Vec<_>>()).await;
        let before = accepted.len();
        for (id, answer) in ids.into_iter().zip(answers) {
            match status(&answer) {
                "204 No Content" => {
                    accepted.insert(id.to_string());
                }
                _ => assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5\n"), "{answer}"),
            }
        }
        (accepted.len() - before, began.elapsed())
    };
    disk.fail_syncs(1);
    assert_eq!(post().await.0, CLIENTS);
    let faults: [(&str, u64, Change, Change); 2] = [
        ("syncs fail", 10, |it| it.fail_syncs(u32::MAX), |it| it.fail_syncs(0)),
        ("it is full", 1, |it| it.set_bytes_max(Some(0)), |it| it.set_bytes_max(None)),
    ];
    for (fault, seconds, begin, end) in faults {
        begin(&disk);
        let (mut waits, began) = (Vec::new(), std::time::Instant::now());
        while began.elapsed() < Duration::from_secs(seconds) {
            let (taken, wait) = post().await;
            assert_eq!(taken, 0, "{fault}");
            waits.push(wait);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let health = served.send("GET /health HTTP/1.1\r\nHost: b\r\n\r\n").await;
        assert_eq!(status(&health), "503 Service Unavailable", "{fault}");
        end(&disk);
        let well = std::time::Instant::now();
        while post().await.0 < CLIENTS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = well.elapsed();
        waits.sort();
        let (half, most) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        println!(
            "{fault} for {seconds} s: refused within {half:?}, 99 of 100 within {most:?}; taken again after {took:?}"
        );
        assert!(took < Duration::from_secs(5), "{fault}: {took:?}");
    }
    drop(served);
    disk.restart();
    beacon.tuning.ends = true;
    let found: Vec<String> = shown(&read(&beacon).await)
        .lines()
        .filter_map(|it| Some(it.split_once("event.id=")?.1.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!((found.len(), found.into_iter().collect()), (accepted.len(), accepted));
}

/// Scenario: the disk hangs while a request with an id, and one without, are taken; both are sent again when it answers.
/// Guarantees: they are answered with 503 and a time to wait, health says 503 as long as the disk hangs, others too are
/// answered; the request with an id is there once, and the source goes on by itself.
#[tokio::test]
async fn a_disk_that_hangs() {
    let mut beacon = beacon(json!({ "fields": ["message"] }));
    beacon.tuning.patience = Some(Duration::from_millis(400));
    let disk = beacon.tuning.disk.clone().unwrap();
    let mut served = serve(&mut beacon).await;
    let body = r#"{"message": "one", "event.id": "1"}"#;
    let health = async || served.send("GET /health HTTP/1.1\r\nHost: b\r\n\r\n").await;
    disk.set_hangs(true);
    let late = served.post("", body).await;
    assert_eq!(status(&late), "503 Service Unavailable");
    assert!(late.contains("retry-after: 5\n"), "{late}");
    // Longer than is told of one request that could not be taken.
    tokio::time::sleep(Duration::from_millis(5100)).await;
    assert_eq!(status(&health().await), "503 Service Unavailable");
    disk.set_hangs(false);
    let again = async {
        while status(&health().await) != "200 OK" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it recovers by itself");
    for body in [body, r#"{"message": "last"}"#] {
        // On a busy machine this disk may be slow too.
        let taken = async { while status(&served.post("", body).await) != "204 No Content" {} };
        tokio::time::timeout(PATIENCE, taken).await.expect("it is taken");
    }
    let mut lines = String::new();
    while !lines.contains("last") {
        lines += &shown(&[served.next().await]);
    }
    assert_eq!(lines.matches("message=one").count(), 1, "{lines}");
}

/// Scenario: the last request of a spool was kept by another version of the program, or by another source; or one before it
/// was.
/// Guarantees: the source does not open, or ends when it comes to it, again and again; it names both versions; and every
/// request is still there.
#[tokio::test]
async fn another_format() {
    let version = |payload: &Bytes, version: u8| Bytes::from([&[version], &payload[1..]].concat());
    let payloads = |changed: usize, with: u8| {
        let mut payloads: Vec<Bytes> =
            (0..3).map(|nth| frame(nth, &json!({ "message": nth.to_string() }).to_string()).encode()).collect();
        payloads[changed] = version(&payloads[changed], with);
        payloads
    };
    let mut text = String::new();
    for (changed, with) in [(2, 2), (1, 2), (0, 0)] {
        let beacon = beacon(json!({ "fields": ["message"] }));
        let disk = beacon.tuning.disk.clone().unwrap();
        let spool = Spool::open(Arc::new(disk.clone()), beacon.options(&Default::default())).unwrap();
        for payload in payloads(changed, with) {
            spool.append(payload).await.unwrap();
        }
        drop(spool);
        for _ in 0..2 {
            let mut source = match beacon.open(Resume::start()).await {
                Ok(source) => source,
                Err(error) => {
                    text += &format!("at the start: {error}\n");
                    continue;
                }
            };
            for _ in 0..2 {
                text += &match source.next().await {
                    Ok(read) => shown(&[read.unwrap()]),
                    Err(error) => format!("then: {error}\n"),
                };
            }
        }
        let mut reader = forebay_spool::Reader::open(Arc::new(disk), None).unwrap().unwrap();
        let left = std::iter::from_fn(|| reader.read().unwrap()).count();
        text += &format!("{left} requests are left\n");
    }
    expect_test::expect![[r#"
        at the start: request 3 of the spool at `simulated` has format 2, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        at the start: request 3 of the spool at `simulated` has format 2, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        3 requests are left
        1:1 message=0
        then: request 2 of the spool at `simulated` has format 2, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        1:1 message=0
        then: request 2 of the spool at `simulated` has format 2, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        3 requests are left
        then: request 1 of the spool at `simulated` has format 0, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        then: request 1 of the spool at `simulated` has format 0, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        then: request 1 of the spool at `simulated` has format 0, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        then: request 1 of the spool at `simulated` has format 0, and this program reads format 1: nothing is lost; start the version that wrote it, or put the directory aside
        3 requests are left
    "#]]
    .assert_eq(&text);
}

/// Scenario: clients post events with ids, and post them again where there was no answer, while the power is cut at some
/// step; the process starts again, and so on, for some lives and many seeds.
/// Guarantees: every event that was answered with success is read exactly once, whatever was lost; and nothing is read that
/// nobody has sent.
#[tokio::test]
async fn power_cuts() {
    const LIVES: u64 = 3;
    const CLIENTS: usize = 4;
    for seed in 0..25 {
        let mut beacon = beacon(json!({ "fields": ["event.id"] }));
        let disk = SimulatedDisk::new(seed);
        beacon.tuning.disk = Some(disk.clone());
        beacon.tuning.segment_bytes = Some(2000);
        let mut answered = std::collections::BTreeSet::new();
        let mut next = [0; CLIENTS];
        for life in 0..LIVES {
            let served = serve(&mut beacon).await;
            disk.cut_power_after(10 + seed * 7 % 90 + life);
            let clients = next.iter_mut().enumerate().map(|(client, next)| {
                let served = &served;
                async move {
                    let mut answered = Vec::new();
                    for _ in 0..40 {
                        let id = format!("{client}-{next}");
                        match status(&served.post("", json!({ "event.id": id }).to_string()).await) {
                            "204 No Content" => {
                                answered.push(id);
                                *next += 1;
                            }
                            // It will be sent again in the next life.
                            _ => break,
                        }
                    }
                    answered
                }
            });
            for ids in futures_util::future::join_all(clients).await {
                answered.extend(ids);
            }
            drop(served);
            disk.restart();
        }
        beacon.tuning.ends = true;
        let mut found = std::collections::BTreeSet::new();
        for read in read(&beacon).await {
            let ids = read.rows.column_by_name("event.id").unwrap();
            let ids = ids.as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
            for id in ids.iter().flatten() {
                assert!(found.insert(id.to_owned()), "seed {seed}: {id} is read twice");
            }
        }
        let lost: Vec<&String> = answered.difference(&found).collect();
        assert!(lost.is_empty(), "seed {seed}: answered, and lost: {lost:?}");
        // What was sent last and got no answer may be there.
        assert!(found.difference(&answered).count() <= CLIENTS, "seed {seed}: {found:?}");
        assert!(!answered.is_empty(), "seed {seed}: nothing was answered");
    }
}

/// Scenario: requests are answered before they are durable; the process ends, and the next one goes on.
/// Guarantees: each is read once.
#[tokio::test]
async fn in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut beacon =
        beacon(json!({ "fields": ["message"], "spool": { "directory": directory.path(), "durability": "memory" } }));
    beacon.tuning.disk = None;
    let mut served = serve(&mut beacon).await;
    assert_eq!(status(&served.post("", r#"{"message": "a"}"#).await), "204 No Content");
    let read = served.next().await;
    assert_eq!(read.rows.num_rows(), 1);
    assert_eq!(status(&served.post("", r#"{"message": "b"}"#).await), "204 No Content");
    drop(served);
    beacon.tuning.ends = true;
    let after = [(read.span.partition, read.span.to)].into();
    // Of the server's last tasks one may still have the spool.
    let reopened = async {
        loop {
            match beacon.open(Resume::After(std::collections::BTreeMap::clone(&after))).await {
                Ok(source) => return source,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut source = tokio::time::timeout(PATIENCE, reopened).await.expect("the spool is let go");
    let rows = source.next().await.unwrap().unwrap().rows;
    assert_eq!((rows.num_rows(), source.next().await.unwrap().is_none()), (1, true));
}

/// Scenario: requests of one small event each, whose heads have long texts, so many that they do not fit into one read.
/// Guarantees: each is read once, and every read keeps what its span says, wherever its room ends.
#[tokio::test]
async fn long_heads() {
    let beacon = beacon(json!({ "fields": ["message", "user_agent.original"] }));
    let frames = (0..1000).map(|it| Frame { user_agent: Some("x".repeat(4000)), ..frame(it, r#"{"message":"m"}"#) });
    put(&beacon, frames).await;
    let reads = read(&beacon).await;
    assert!(reads.len() > 2, "{} reads", reads.len());
    assert_eq!(reads.iter().map(|it| it.rows.num_rows()).sum::<usize>(), 1000);
}

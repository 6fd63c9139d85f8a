//! Bodies that are made to cost much, and a disk that does not give what it has.

use super::*;

/// The values of all arrays of a read.
fn bytes(read: &Read) -> usize {
    read.rows.columns().iter().map(|it| it.get_array_memory_size()).sum()
}

/// Scenario: bodies with as many names as they can hold, with names as long as they can be and many under them, and with one
/// name many times.
/// Guarantees: they are read, again after a restart, in a time that does not grow with the square of them; an event with
/// too many values, or too long a name, is one refusal.
#[tokio::test]
async fn names() {
    let many =
        |count: usize, pair: fn(usize) -> String, between: &str| (0..count).map(pair).collect::<Vec<_>>().join(between);
    let form = Frame { kind: Kind::Form, ..frame(1, &many(52_000, |it| format!("{it:x}"), "&")) };
    let object = frame(2, &format!("{{{}}}", many(400_000, |it| format!("\"{it:x}\":1"), ",")));
    let same = frame(3, &format!("{{{}}}", many(1000, |_| "\"same\":1".to_owned(), ",")));
    let long = frame(4, &format!("{{\"{}\":{{{}}}}}", "x".repeat(2000), many(1000, |it| format!("\"{it}\":1"), ",")));
    let most = frame(5, &format!("{{{}}}", many(1000, |it| format!("\"{it}\":1"), ",")));
    let good = frame(6, r#"{"message": "good"}"#);
    let beacon = beacon(json!({}));
    put(&beacon, [form, object, same, long, most, good]).await;
    let reading = async {
        let reads = read(&beacon).await;
        let after = [(reads[0].span.partition.clone(), Position::sequence("5", 1).unwrap())].into();
        (reads, forebay_testkit::read(&beacon, Resume::After(after)).await)
    };
    let (reads, again) = tokio::time::timeout(PATIENCE, reading).await.expect("it does not take for ever");
    let refused: Vec<String> =
        reads.iter().flat_map(|it| &it.refused).map(|it| format!("{} {}", it.position, it.why)).collect();
    assert_eq!(
        refused,
        [
            "1:1 it has more than 1000 values",
            "2:1 it has more than 1000 values",
            "4:1 it has a key of more than 1024 bytes, those around it included",
        ]
    );
    assert_eq!(reads.iter().map(|it| it.rows.num_rows()).sum::<usize>(), 3);
    assert_eq!(shown(&again), "6:1 message=good\n");
}

/// Scenario: requests with long heads and as many events as they can hold; events with many labels under a long name.
/// Guarantees: however much becomes of an event, no read is large.
#[tokio::test]
async fn reads() {
    let empty = "{}\n".repeat(20_000);
    let labels: String = (0..900).map(|it| format!(",\"{it}\":1")).collect();
    let labels = format!("{{\"{}\":{{\"x\":1{labels}}}}}\n", "x".repeat(1000)).repeat(50);
    let head = Some("x".repeat(2000));
    for body in [empty, labels] {
        let beacon = beacon(json!({ "limits": { "events_max": 1_000_000 } }));
        put(&beacon, [Frame { user_agent: head.clone(), referrer: head.clone(), ..frame(1, &body) }]).await;
        let reads = read(&beacon).await;
        assert_eq!(reads.iter().map(|it| it.rows.num_rows()).sum::<usize>(), body.lines().count());
        for read in reads {
            assert!(bytes(&read) < 5 << 20, "{} of {} rows", bytes(&read), read.rows.num_rows());
        }
    }
}

/// Scenario: requests become durable one after the other, right behind one that was read.
/// Guarantees: they are one read: a batch for each of them would take most of a processor.
#[tokio::test(start_paused = true)]
async fn lone_requests() {
    let mut beacon = beacon(json!({ "fields": ["message"] }));
    beacon.tuning.ends = false;
    let mut source = beacon.everything(&Default::default()).await.unwrap();
    let spool = source.keeper.spool.clone();
    let append = async |from: u64, to: u64| {
        let (spool, handle) = (spool.clone(), tokio::runtime::Handle::current());
        // The clock stands still while such a thread has something to do.
        let all = move || {
            for nth in from..=to {
                handle.block_on(spool.append(frame(nth, r#"{"message": "one"}"#).encode())).unwrap();
            }
        };
        tokio::task::spawn_blocking(all).await.unwrap();
    };
    append(1, 1).await;
    assert_eq!(source.next().await.unwrap().unwrap().rows.num_rows(), 1);
    let (read, ()) = tokio::join!(source.next(), append(2, 6));
    assert_eq!(read.unwrap().unwrap().rows.num_rows(), 5);
}

/// Scenario: behind a frame that was read, the disk gives no file to read the next one from, once.
/// Guarantees: what was read is given, and then the rest: nothing is passed over.
#[tokio::test]
async fn a_disk_that_opens_nothing() {
    let mut beacon = beacon(json!({ "fields": ["message"] }));
    // One frame fills a segment.
    beacon.tuning.segment_bytes = Some(100);
    let body = |nth: u64| format!(r#"{{"message": "{nth}{}"}}"#, "x".repeat(80));
    put(&beacon, (1..=3).map(|nth| frame(nth, &body(nth)))).await;
    let disk = beacon.tuning.disk.clone().unwrap();
    let mut source = beacon.open(Resume::start()).await.unwrap();
    disk.fail_open_after(1);
    let mut reads = Vec::new();
    while let Some(read) = source.next().await.unwrap() {
        reads.push(read);
    }
    let rows: usize = reads.iter().map(|it| it.rows.num_rows()).sum();
    assert_eq!((rows, end(&reads).to_string().as_str()), (3, "3:1"));
}

//! Letters are kept where the file says, and come back as what they were.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use expect_test::expect;
use forebay_api::plan::{DeadLetters, letter_schema};
use forebay_api::{Deliver, DeliveryId, Position, Secret, Span};
use forebay_aws::Aws;
use forebay_testkit::services::{ACCESS_KEY, Ministack, SECRET_KEY};

use crate::kept::FORGET_AFTER;
use crate::{Copies, CopyWriter, Emptied, Letter, LetterSource, Letters, OldPlaces, Place};

fn letter(nth: usize, payload: &str) -> Letter {
    Letter {
        payload: payload.to_owned(),
        encoding: "text".to_owned(),
        reason: "odd".to_owned(),
        component: "parse".to_owned(),
        source: "cdn".to_owned(),
        partition: "a.gz".to_owned(),
        position: nth.to_string(),
        pipeline: "p".to_owned(),
        version: "v".to_owned(),
    }
}

fn batch(letters: &[Letter]) -> RecordBatch {
    let columns = letter_schema();
    let of = |name: &str| -> ArrayRef {
        let value = |it: &Letter| serde_json::to_value(it).unwrap()[name].as_str().unwrap().to_owned();
        Arc::new(StringArray::from_iter_values(letters.iter().map(value)))
    };
    let arrays = columns.fields().iter().map(|it| of(it.name())).collect();
    RecordBatch::try_new(columns, arrays).unwrap()
}

fn id(nth: u64) -> DeliveryId {
    DeliveryId::derive("p", "s", "f", "cdn", &Span::new("a", Position::row(nth), Position::End))
}

/// Everything at a place that counts.
async fn all(place: &Place) -> Vec<Letter> {
    let listing = place.listing().await.unwrap();
    let mut letters = Vec::new();
    for file in &listing.files {
        letters.extend(place.letters(file, &listing).await.unwrap());
    }
    letters.sort_by_key(|it| it.position.parse::<u64>().unwrap());
    letters
}

/// What a replay does in the end with the letters that `taken` is true of.
async fn take(place: &Place, taken: impl Fn(&Letter) -> bool) {
    let listing = place.listing().await.unwrap();
    for file in &listing.files {
        let letters = place.letters(file, &listing).await.unwrap();
        let ids = letters.iter().filter(|it| taken(it)).map(Letter::id).collect();
        place.take_out(file, &ids).await.unwrap();
        place.take_out(file, &ids).await.unwrap();
    }
}

/// Servers with a bucket and a queue, and the three kinds of places.
struct Places {
    _server: Ministack,
    directory: tempfile::TempDir,
    aws: Aws,
    queue: String,
}

impl Places {
    async fn new() -> Self {
        let server = Ministack::start();
        let aws = Aws {
            region: Some("us-east-1".into()),
            endpoint: Some(server.endpoint()),
            access_key_id: Some(Secret::new(ACCESS_KEY)),
            secret_access_key: Some(Secret::new(SECRET_KEY)),
            ..Aws::default()
        };
        aws.s3().await.unwrap().create_bucket().bucket("letters").send().await.unwrap();
        let queue = aws.sqs().await.unwrap().create_queue().queue_name("refused").send().await.unwrap();
        let queue = queue.queue_url().unwrap().to_owned();
        Self { _server: server, directory: tempfile::tempdir().unwrap(), aws, queue }
    }

    fn each(&self) -> [Letters; 3] {
        let local = self.directory.path().join("refused").display().to_string();
        let places =
            [(local.as_str(), None), ("s3://letters/a/b", None), ("s3://letters/large", Some(self.queue.clone()))];
        places.map(|(path, queue)| Letters::new(path, queue, Some(self.aws.clone())).unwrap())
    }
}

/// Delivers letters, and makes files of them if they are in a queue.
async fn keep(kept: &Letters, letters: &[RecordBatch]) -> Place {
    kept.open().await.unwrap().deliver(&id(0), letters).await.unwrap();
    let place = kept.place().await.unwrap();
    if let Some(queue) = kept.queue().await.unwrap() {
        assert!(queue.waiting().await.unwrap() > 0);
        queue.empty_into(&place).await.unwrap();
        assert_eq!(queue.waiting().await.unwrap(), 0);
    }
    place
}

/// Scenario: letters go to a directory, to a bucket and to a queue, each delivery twice; two hundred of one delivery, one
/// with characters that XML does not have, and one that is larger than a message. The queue is emptied into the bucket.
/// Guarantees: all are there, once in a directory or a bucket; a queue's are once in the files that are made of it,
/// though they were sent twice. A place with nothing in it has no letters.
#[tokio::test]
async fn kept_once_wherever() {
    let places = Places::new().await;
    let mut letters: Vec<Letter> = (0..200).map(|it| letter(it, &format!("line {it} \"\n"))).collect();
    letters.push(letter(200, "\u{fffe} \u{ffff} \u{fffd} \u{10ffff} \u{7f}"));
    letters.push(letter(201, &"x".repeat(300_000)));
    for kept in places.each() {
        let place = kept.place().await.unwrap();
        assert_eq!(all(&place).await, Vec::new());
        kept.open().await.unwrap().deliver(&id(0), &[batch(&letters)]).await.unwrap();
        if let Some(queue) = kept.queue().await.unwrap() {
            let client = places.aws.sqs().await.unwrap();
            let request = client.receive_message().queue_url(&places.queue).visibility_timeout(0);
            let some = request.max_number_of_messages(10).send().await.unwrap().messages.unwrap();
            assert!(some.iter().all(|it| !it.body().unwrap().contains(['\u{fffe}', '\u{ffff}'])));
            assert_eq!(queue.waiting().await.unwrap(), 202);
        }
        keep(&kept, &[batch(&letters[..100]), batch(&letters[100..])]).await;
        assert!(all(&place).await == letters, "{}", kept.at());
    }
}

/// Scenario: a replay takes half of the letters, and is ended after each step. Then the pipeline makes the delivery again,
/// since it could not note that it was done: at first with the same letters, then with one more, and another reason for
/// one of those that were taken. Or it is the queue that gives its messages again. A second replay takes the rest.
/// Guarantees: what was taken does not count again, what was left and what is new does; a file with nothing that counts
/// goes away when somebody takes of it. Marks are forgotten when they are old and their file is gone.
#[tokio::test]
async fn what_was_taken_stays_taken() {
    let places = Places::new().await;
    let letters: Vec<Letter> = (0..20).map(|it| letter(it, &format!("line {it}"))).collect();
    let more: Vec<Letter> = letters
        .iter()
        .cloned()
        .map(|it| match it.position.as_str() {
            "3" => Letter { reason: "given up after 4 tries".into(), ..it },
            _ => it,
        })
        .chain([letter(20, "line 20")])
        .collect();
    let is_odd = |it: &Letter| it.position.parse::<u64>().unwrap() % 2 == 1;
    for kept in places.each() {
        let place = keep(&kept, &[batch(&letters)]).await;
        take(&place, is_odd).await;
        let even: Vec<Letter> = letters.iter().filter(|it| !is_odd(it)).cloned().collect();
        assert!(all(&place).await == even, "{}", kept.at());
        keep(&kept, &[batch(&letters)]).await;
        assert!(all(&place).await == even, "{}", kept.at());

        take(&place, |_| true).await;
        assert_eq!(place.listing().await.unwrap().files, Vec::<String>::new());
        keep(&kept, &[batch(&more)]).await;
        assert!(all(&place).await == more[20..], "{}", kept.at());
        take(&place, |_| true).await;

        let listing = place.listing().await.unwrap();
        assert_eq!(listing.files, Vec::<String>::new());
        place.forget_taken(&listing).await.unwrap();
        keep(&kept, &[batch(&more)]).await;
        assert_eq!(all(&place).await, Vec::new(), "{}", kept.at());
    }

    let local = places.each()[0].place().await.unwrap();
    let age = |by: std::time::Duration| {
        for entry in std::fs::read_dir(places.directory.path().join("refused")).unwrap() {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            file.set_modified(std::time::SystemTime::now() - by).unwrap();
        }
    };
    age(FORGET_AFTER * 2);
    local.forget_taken(&local.listing().await.unwrap()).await.unwrap();
    assert_eq!(all(&local).await, Vec::new(), "the file is there again, so the mark stays");
    take(&local, |_| true).await;
    age(FORGET_AFTER * 2);
    local.forget_taken(&local.listing().await.unwrap()).await.unwrap();
    assert_eq!(std::fs::read_dir(places.directory.path().join("refused")).unwrap().count(), 0);
}

/// Scenario: two replays want the letters of a place; the one that has them comes back, and lets go.
/// Guarantees: only one has them at a time, and the other one hears who that is.
#[tokio::test]
async fn one_replay_at_a_time() {
    let places = Places::new().await;
    for kept in &places.each()[..2] {
        let place = kept.place().await.unwrap();
        assert_eq!(place.lock("one").await.unwrap(), None);
        assert_eq!(place.lock("two").await.unwrap().as_deref(), Some("one"));
        assert_eq!(place.lock("one").await.unwrap(), None);
        assert_eq!(place.listing().await.unwrap().files, Vec::<String>::new());
        place.unlock().await.unwrap();
        assert_eq!(place.lock("two").await.unwrap(), None);
        place.unlock().await.unwrap();
        place.unlock().await.unwrap();
    }
}

/// Scenario: a directory is locked and unlocked again and again, and somebody looks at the lock meanwhile, as does whoever
/// comes after a process that ended at any of these moments.
/// Guarantees: the lock says at every moment whose it is: otherwise it would be nobody's, and stay for ever.
#[tokio::test]
async fn a_lock_is_whole() {
    let places = Places::new().await;
    let place = places.each()[0].place().await.unwrap();
    let lock = std::path::PathBuf::from(place.lock_at());
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looker = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            let mut seen = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok(owner) = std::fs::read_to_string(&lock) {
                    assert_eq!(owner, "one");
                    seen += 1;
                }
            }
            seen
        }
    });
    for _ in 0..300 {
        assert_eq!(place.lock("one").await.unwrap(), None);
        place.unlock().await.unwrap();
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(looker.join().unwrap() > 0);
}

/// Copies in a directory of their own.
fn copies(directory: &Path, letters: impl IntoIterator<Item = Letter>) -> Copies {
    let mut writer = CopyWriter::new(directory).unwrap();
    letters.into_iter().for_each(|it| writer.push("file", it).unwrap());
    writer.flush().unwrap();
    Copies::new(directory)
}

fn lines() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("message", DataType::Utf8, false)]))
}

/// Scenario: three thousand letters as a source, some of them of long texts, some of them no text.
/// Guarantees: what every source guarantees, wherever it is cut and resumed; they are in several files, so that not all
/// are in memory.
#[tokio::test]
async fn a_source_like_any_other() {
    let each = |nth: usize| match nth % 500 {
        7 => Letter { encoding: "json".to_owned(), ..letter(nth, "[]") },
        8 => letter(nth, &"x".repeat(1 << 20)),
        _ => letter(nth, &format!("line {nth}")),
    };
    let directory = tempfile::tempdir().unwrap();
    let copies = copies(directory.path(), (0..3_000).map(each));
    assert_eq!(copies.names().unwrap().len(), 2);
    forebay_testkit::source(&LetterSource::new(lines(), copies)).await;
}

/// Scenario: letters about rows with a dictionary of few keys, all with other values, and some that are no such row.
/// Guarantees: what every source guarantees; where there are more values than keys, they come in smaller reads.
#[tokio::test]
async fn dictionaries_come_back() {
    let texts = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let fields = vec![Field::new("shard", texts, false), Field::new("status", DataType::UInt16, true)];
    let each = |nth: usize| {
        let payload = match nth % 100 {
            7 => r#"{"shard":"shard","status":70000}"#.to_owned(),
            _ => format!(r#"{{"shard":"shard {nth}","status":{nth}}}"#),
        };
        Letter { encoding: "json".to_owned(), ..letter(nth, &payload) }
    };
    let directory = tempfile::tempdir().unwrap();
    let copies = copies(directory.path(), (0..600).map(each));
    forebay_testkit::source(&LetterSource::new(Arc::new(Schema::new(fields)), copies)).await;
}

/// Scenario: somebody keeps sending letters to a queue while it is emptied, and there are messages in it that are no
/// letters; then nobody sends any more, and it is emptied again.
/// Guarantees: it comes to an end, with all letters that were there before as files; what was sent since and what is no
/// letter stays, and is counted; no file is in the way of a replay.
#[tokio::test]
async fn a_queue_that_is_never_empty() {
    const BEFORE: usize = 120;
    let places = Places::new().await;
    let kept = places.each().into_iter().find(|it| it.at().contains("http")).unwrap();
    let (queue, place) = (kept.queue().await.unwrap().unwrap(), kept.place().await.unwrap());
    let letters: Vec<Letter> = (0..BEFORE).map(|it| letter(it, &format!("line {it}"))).collect();
    queue.deliver(&id(0), &[batch(&letters)]).await.unwrap();
    let client = places.aws.sqs().await.unwrap();
    for body in ["hello", "{}", "{\"at\":1}"] {
        client.send_message().queue_url(&places.queue).message_body(body).send().await.unwrap();
    }

    let sender = queue.clone();
    let sending = tokio::spawn(async move {
        for nth in 1.. {
            let letters: Vec<Letter> = (0..10).map(|it| letter(1_000 * nth + it, "newer")).collect();
            sender.deliver(&id(nth as u64), &[batch(&letters)]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // It takes a second; without an end, it takes for ever.
    let emptied = tokio::time::timeout(Duration::from_secs(120), queue.empty_into(&place)).await.unwrap().unwrap();
    sending.abort();
    assert_eq!(emptied.no_letters, 3, "{emptied:?}");
    assert!(emptied.newer > 0, "{emptied:?}");
    let there = all(&place).await;
    assert_eq!(there.len() as u64, emptied.taken);
    assert!(there[..BEFORE] == letters, "{there:?}");

    let rest = queue.waiting().await.unwrap() - 3;
    assert!(rest >= emptied.newer, "{rest} {emptied:?}");
    let again = queue.empty_into(&place).await.unwrap();
    assert_eq!(again, Emptied { taken: rest, newer: 0, no_letters: 3 });
    assert_eq!(queue.waiting().await.unwrap(), 3);
    assert_eq!(all(&place).await.len() as u64, emptied.taken + rest);
}

/// Scenario: letters about rows that came from letters: one was refused again, one could not even be a row.
/// Guarantees: the one names the place in the source where the row first came from, and the new reason; the other is the
/// letter that it was, with the reason that it had.
#[tokio::test]
async fn the_first_place_stays() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().join("place"));
    let json = Letter { encoding: "json".into(), ..letter(43, "[]") };
    let copies = copies(&directory.path().join("copies"), [letter(41, "x"), letter(42, "y"), json.clone()]);
    let partition = copies.names().unwrap().remove(0);
    let again = Letter { partition: partition.clone(), reason: "still odd".into(), ..letter(2, "y") };
    let now = (String::from("no row"), String::from("another version"));
    let no_row = Letter { partition, reason: now.0, version: now.1, component: "cdn".into(), ..letter(3, "[]") };
    let letters = OldPlaces::new(place.clone(), "cdn", copies);
    letters.deliver(&id(0), &[batch(&[again, no_row])]).await.unwrap();
    let expected = [Letter { reason: "still odd".into(), ..letter(42, "y") }, json];
    assert_eq!(all(&place).await, expected);
}

/// Scenario: places that cannot be.
/// Guarantees: each is told by its key, with what would have worked.
#[test]
fn wrong() {
    let mut said = String::new();
    for (path, queue) in [("", None), ("s3:///x", None), ("gs://logs", None), ("x", Some("refused".to_owned()))] {
        let wrong = Letters::new(path, queue, None).unwrap_err();
        said += &format!("{}: {} ({})\n", wrong.key, wrong.what, wrong.hint.unwrap_or_default());
    }
    expect![[r#"
        path: `path` is empty (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        path: `` cannot be the name of a bucket: it has 3 to 63 of the characters a-z 0-9 . - (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        path: `gs://` is no place for files: directories and `s3://` are (write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix")
        queue: `refused` is no URL of a queue (`aws sqs get-queue-url --queue-name …` tells it)
    "#]]
    .assert_eq(&said);
}

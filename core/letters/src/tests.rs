//! Letters are kept where the file says, and come back as what they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use expect_test::expect;
use forebay_api::plan::{DeadLetters, letter_schema};
use forebay_api::{Deliver, DeliveryId, Partition, Position, Secret, Span};
use forebay_aws::Aws;
use forebay_testkit::services::{ACCESS_KEY, Ministack, SECRET_KEY};

use crate::{Letter, LetterSource, Letters, OldPlaces, Place};

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

/// Everything that lies at a place.
async fn all(place: &Place) -> Vec<Letter> {
    let mut letters = Vec::new();
    for name in place.list().await.unwrap() {
        letters.extend(Letter::parse_all(&place.read(&name).await.unwrap().unwrap()).unwrap());
    }
    letters.sort_by_key(|it| it.position.parse::<u64>().unwrap());
    letters
}

/// Scenario: letters go to a directory, to a bucket and to a queue, each delivery twice; two hundred of one delivery, and
/// one that is larger than a message. The queue is emptied into the bucket.
/// Guarantees: all are there, once in a directory or a bucket; a queue's are once in the files that are made of it,
/// though they were sent twice. A file that was removed is gone, and one that is not there is none.
#[tokio::test]
async fn kept_once_wherever() {
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
    let directory = tempfile::tempdir().unwrap();
    let local = directory.path().join("refused").display().to_string();

    let mut letters: Vec<Letter> = (0..200).map(|it| letter(it, &format!("line {it} \"\n"))).collect();
    letters.push(letter(200, &"x".repeat(300_000)));
    for (path, queue) in [(local.as_str(), None), ("s3://letters/a/b", None), ("s3://letters/large", Some(queue))] {
        let kept = Letters::new(path, queue, Some(aws.clone())).unwrap();
        let writer = kept.open().await.unwrap();
        for _ in 0..2 {
            writer.deliver(&id(0), &[batch(&letters[..100]), batch(&letters[100..])]).await.unwrap();
        }
        let place = kept.place().await.unwrap();
        if let Some(queue) = kept.queue().await.unwrap() {
            assert_eq!(queue.empty_into(&place).await.unwrap(), 402);
            assert_eq!(queue.empty_into(&place).await.unwrap(), 0);
        }
        assert!(all(&place).await == letters, "{}", kept.at());
        for name in place.list().await.unwrap() {
            place.remove(&name).await.unwrap();
            place.remove(&name).await.unwrap();
            assert_eq!(place.read(&name).await.unwrap(), None);
        }
        assert_eq!(place.list().await.unwrap(), Vec::<String>::new());
    }
}

fn files(letters: Vec<Letter>) -> Arc<BTreeMap<Partition, Vec<Letter>>> {
    Arc::new(BTreeMap::from([("file".into(), letters)]))
}

fn lines() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("message", DataType::Utf8, false)]))
}

/// Scenario: three thousand letters of texts as a source, some of them no text.
/// Guarantees: what every source guarantees, wherever it is cut and resumed.
#[tokio::test]
async fn a_source_like_any_other() {
    let each = |nth: usize| match nth % 500 {
        7 => Letter { payload: "/w==".to_owned(), encoding: "base64".to_owned(), ..letter(nth, "") },
        _ => letter(nth, &format!("line {nth}")),
    };
    let source = LetterSource::new(lines(), files((0..3_000).map(each).collect()));
    forebay_testkit::source(&source).await;
}

/// Scenario: payloads of each encoding for a row of one text and for one of several columns.
/// Guarantees: what fits becomes the row; what does not is told with the reason.
#[test]
fn payloads() {
    let several: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("status", DataType::UInt16, true),
        Field::new("at", DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, Some("UTC".into())), true),
    ]));
    let mut said = String::new();
    for (schema, encoding, payload) in [
        (&lines(), "text", "a b"),
        (&lines(), "base64", "YSBi"),
        (&lines(), "base64", "/w=="),
        (&lines(), "json", r#"{"message":"a b"}"#),
        (&several, "json", r#"{"status":200,"at":"2020-12-07T20:52:01.541Z"}"#),
        (&several, "json", r#"{"at":null}"#),
        (&several, "json", r#"{"status":70000}"#),
        (&several, "text", "a b"),
        (&lines(), "morse", "a b"),
    ] {
        let letter = Letter { encoding: encoding.to_owned(), ..letter(0, payload) };
        let row = letter.row(schema).map(|it| forebay_testkit::canonical(&[it]).join("|"));
        said += &match row {
            Ok(row) => format!("{payload} -> {row}\n"),
            Err(error) => format!("{payload}: {error}\n"),
        };
    }
    expect![[r#"
        a b -> {"message":"a b"}
        YSBi -> {"message":"a b"}
        /w==: it is not UTF-8
        {"message":"a b"} -> {"message":"a b"}
        {"status":200,"at":"2020-12-07T20:52:01.541Z"} -> {"status":200,"at":"2020-12-07T20:52:01.541Z"}
        {"at":null} -> {"status":null,"at":null}
        {"status":70000}: Json error: whilst decoding field 'status': failed to parse 70000 as UInt16
        a b: a text cannot be a row of several columns
        a b: `morse` is no encoding of a row
    "#]]
    .assert_eq(&said);
}

/// Scenario: a letter about a row that came from a letter.
/// Guarantees: it names the place in the source where the row first came from, and the new reason.
#[tokio::test]
async fn the_first_place_stays() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().to_owned());
    let old = files(vec![letter(41, "x"), letter(42, "y")]);
    let again = Letter { partition: "file".into(), reason: "still odd".into(), ..letter(2, "y") };
    OldPlaces::new(place.clone(), old).deliver(&id(0), &[batch(&[again])]).await.unwrap();
    let kept = all(&place).await;
    assert_eq!(kept, vec![Letter { reason: "still odd".into(), ..letter(42, "y") }]);
}

/// Scenario: places that cannot be.
/// Guarantees: each is told by its key, with what would have worked.
#[test]
fn wrong() {
    let mut said = String::new();
    for (path, queue) in [("", None), ("s3://", None), ("s3:///x", None), ("x", Some("refused".to_owned()))] {
        let wrong = Letters::new(path, queue, None).unwrap_err();
        said += &format!("{}: {} ({})\n", wrong.key, wrong.what, wrong.hint.unwrap_or_default());
    }
    expect![[r#"
        path: `path` is empty (write a directory, or `s3://bucket/prefix`)
        path: `s3://` names no bucket (write `s3://bucket/prefix`)
        path: `s3:///x` names no bucket (write `s3://bucket/prefix`)
        queue: `refused` is no URL of a queue (`aws sqs get-queue-url --queue-name …` tells it)
    "#]]
    .assert_eq(&said);
}

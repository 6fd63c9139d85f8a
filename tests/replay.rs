//! Dead letters that go through the pipeline again.

mod servers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use forebay_api::Secret;
use forebay_aws::Aws;
use forebay_testkit::services::{ACCESS_KEY, Ministack, SECRET_KEY};
use serde_json::Value;

use crate::harness::{files, forebay, run, succeed};

/// Two ways from one source: one of them understands only numbers.
const PIPELINE: &str = r#"
name = "orders"
dead_letters.path = "./refused"

[sources.lines]
type = "s3"
path = "./in"

[transforms.parse]
type = "regex"
inputs = ["lines"]
pattern = '^(?P<id>\d+) (?P<amount>\S+)$'
types = { id = "i64", amount = "i32" }

[sinks.all]
type = "parquet"
inputs = ["lines"]
path = "./all"

[sinks.parsed]
type = "parquet"
inputs = ["parse"]
path = "./parsed"
"#;

/// Rows of a directory of Parquet files, by a reader of another make.
fn count(dir: &Path, of: &str, what: &str) -> Value {
    let script = format!(
        "import duckdb; print(duckdb.execute(\"SELECT {what} FROM read_parquet('{}/{of}/**/*.parquet')\").fetchone()[0])",
        dir.display()
    );
    let said = succeed(std::process::Command::new(crate::harness::python()).args(["-c", &script]));
    said.out.trim().parse().unwrap()
}

fn letters(dir: &Path) -> Vec<Value> {
    let kept = files(&dir.join("refused")).into_iter().filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
    let texts = kept.map(|it| fs::read_to_string(it).unwrap());
    texts.flat_map(|it| it.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

/// Scenario: a transform refuses some of a thousand rows; another sink has them all. A dry run; a replay that changes
/// nothing, since all are refused again; the file is mended so that most fit, and the replay is killed again and again
/// until one of them comes to its end; then once more.
/// Guarantees: the mended rows are in the sink behind the transform once, the other sink gets none of them again, what is
/// refused for good is kept with its first place and the new reason, and in the end only that is left.
#[test]
fn refused_rows_come_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    let line = |n: u32| match n % 10 {
        3 => format!("{n} {n}.5\n"),
        7 => format!("{n} no number\n"),
        _ => format!("{n} {n}\n"),
    };
    fs::write(dir.join("in/orders.log"), (0..1_000).map(line).collect::<String>()).unwrap();
    fs::write(dir.join("pipeline.toml"), PIPELINE).unwrap();

    let ran = succeed(forebay(dir).args(["run", "--json"]));
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["sinks"]["parsed"]["delivered"], 800, "{summary}");
    assert_eq!(letters(dir).len(), 200);
    let first = letters(dir);

    let dry = succeed(forebay(dir).args(["replay", "--dry-run", "--component", "parse"]));
    expect![[r#"
        200 dead letters would be replayed
    "#]]
    .assert_eq(&dry.out);
    let same = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        200 dead letters replayed: 0 rows delivered, 200 refused again and kept
    "#]]
    .assert_eq(&same.out);
    let again = letters(dir);
    let by_place = |mut letters: Vec<Value>| {
        letters.sort_by_key(|it| it["position"].as_str().unwrap().parse::<u64>().unwrap());
        letters
    };
    assert_eq!(by_place(again), by_place(first));

    // Amounts may have a fraction now.
    fs::write(dir.join("pipeline.toml"), PIPELINE.replace("\"i32\"", "\"f64\"")).unwrap();
    let mut killed = 0;
    for millis in (5..3_000).step_by(7) {
        let mut child = forebay(dir).args(["replay", "--reason", "", "--json"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
    }
    println!("killed {killed} times");
    let last = succeed(forebay(dir).args(["replay", "--reason", ""]));
    expect![[r#"
        100 dead letters replayed: 0 rows delivered, 100 refused again and kept
    "#]]
    .assert_eq(&last.out);

    assert_eq!(count(dir, "all", "count(*)"), 1_000);
    assert_eq!(count(dir, "parsed", "count(*)"), 900);
    assert_eq!(count(dir, "parsed", "count(DISTINCT id)"), 900);
    let left = letters(dir);
    assert_eq!(left.len(), 100);
    let one = left.iter().find(|it| it["payload"] == "7 no number").unwrap();
    expect![[r#"
        {
          "payload": "7 no number",
          "encoding": "text",
          "reason": "does not match the pattern",
          "component": "parse",
          "source": "lines",
          "partition": "orders.log@7181b2fcdf07fd1e3f0f2f2402d6da83:8591",
          "position": "8",
          "pipeline": "orders",
          "version": "c899bacb12197f04"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(one).unwrap());
    assert!(!dir.join(".forebay/orders/replay").try_exists().unwrap(), "{:?}", files(&dir.join(".forebay")));
}

/// Scenario: a source refuses an object that is cut short and a line that is too long. A replay; a replay of these alone.
/// Guarantees: no row comes of them, they are where they were, and it is said why.
#[test]
fn what_a_source_has_refused_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"1 1\n2 2\n").unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(dir.join("in/cut.gz"), &whole[..whole.len() - 9]).unwrap();
    fs::write(dir.join("in/long.log"), format!("3 3\n4 {}\n", "4".repeat(300))).unwrap();
    let short = PIPELINE.replace("path = \"./in\"", "path = \"./in\"\nline_bytes_max = \"100B\"");
    fs::write(dir.join("pipeline.toml"), short).unwrap();
    succeed(forebay(dir).arg("run"));
    let (rows, kept) = (count(dir, "all", "count(*)"), letters(dir));
    assert_eq!(kept.iter().filter(|it| it["component"] == "lines").count(), kept.len());

    let replayed = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        no dead letters to replay
        left where they are: 2 letters, refused by its source: nothing of the graph has seen it
    "#]]
    .assert_eq(&replayed.out);
    let again = succeed(forebay(dir).args(["replay", "--component", "lines", "--json"]));
    expect![[r#"
        {"letters":0,"delivered":0,"refused_again":0,"left":{"refused by its source: nothing of the graph has seen it":2},"resumed":false}
    "#]].assert_eq(&again.out);
    assert_eq!(count(dir, "all", "count(*)"), rows);
    assert_eq!(letters(dir), kept);
}

/// A pipeline that has run: two of its three rows were refused, and one of them fits a file in which amounts are `f64`.
fn refused_two(dir: &Path) -> String {
    fs::create_dir(dir.join("in")).unwrap();
    fs::write(dir.join("in/orders.log"), "1 1\n2 2.5\n3 three\n").unwrap();
    fs::write(dir.join("pipeline.toml"), PIPELINE).unwrap();
    succeed(forebay(dir).arg("run"));
    assert_eq!(letters(dir).len(), 2);
    PIPELINE.replace("\"i32\"", "\"f64\"")
}

/// Lets a replay begin, and fail before it has delivered anything.
fn interrupt(dir: &Path, mended: &str) {
    fs::write(dir.join("pipeline.toml"), mended.replace("./parsed", "./in/orders.log")).unwrap();
    let stopped = run(forebay(dir).arg("replay"));
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(dir.join(".forebay/orders/replay/journal.json").try_exists().unwrap(), "{stopped:?}");
    fs::write(dir.join("pipeline.toml"), mended).unwrap();
}

/// Scenario: a replay is interrupted, another pipeline wants the same letters, and meanwhile the file of letters is written
/// again with one more, as a pipeline does that makes a delivery again. The replay goes on; then another one; then the
/// file is written once more as it was.
/// Guarantees: the other one hears who has the letters; every letter is replayed once, whenever its file was written.
#[test]
fn written_again_during_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mended = refused_two(dir);
    let file = files(&dir.join("refused")).remove(0);
    let first = fs::read_to_string(&file).unwrap();
    let more = first.lines().next().unwrap().replace("2 2.5", "4 4").replace(r#""position":"2""#, r#""position":"4""#);
    interrupt(dir, &mended);

    fs::write(dir.join("other.toml"), format!("state.path = './other'\n{mended}")).unwrap();
    let other = run(forebay(dir).args(["replay", "other.toml"]));
    let here = dir.display().to_string();
    let owner = other.err.split("letters: ").nth(1).unwrap().split(' ').next().unwrap();
    expect![[r#"
        Some(1) error: another replay has these letters: ID in `DIR/.forebay/orders/replay`
        hint: wait for it, or finish it where it was begun; if that is gone for good, remove `./refused/replay.lock`
    "#]]
    .assert_eq(&format!("{:?} {}", other.code, other.err.replace(&here, "DIR").replace(owner, "ID")));

    fs::write(&file, format!("{first}{more}\n")).unwrap();
    let resumed = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        2 dead letters replayed: 1 row delivered, 1 refused again and kept
        this replay was interrupted before: what was delivered until then is not among these rows
    "#]]
    .assert_eq(&resumed.out);
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), more);
    let next = succeed(forebay(dir).args(["replay", "other.toml"]));
    expect![[r#"
        2 dead letters replayed: 1 row delivered, 1 refused again and kept
    "#]]
    .assert_eq(&next.out);
    fs::write(&file, format!("{first}{more}\n")).unwrap();
    let last = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        1 dead letter replayed: 0 rows delivered, 1 refused again and kept
    "#]]
    .assert_eq(&last.out);
    assert!(!file.try_exists().unwrap());
    assert_eq!(count(dir, "parsed", "count(*)"), 3);
    assert_eq!(count(dir, "parsed", "sum(id)"), 7);
    assert_eq!(letters(dir).len(), 1);
}

/// Scenario: a replay is interrupted, and the node is renamed that had refused the letters; the next one is told so, and
/// then to give them up; in the end the node has its name again. What an old replay left of its state lies about.
/// Guarantees: it does not go on with less than it has begun with, unless it is told to; nothing is lost or there twice.
#[test]
fn renamed_during_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mended = refused_two(dir);
    fs::create_dir_all(dir.join(".forebay/orders/replay/0/state")).unwrap();
    fs::write(dir.join(".forebay/orders/replay/0/state/state.redb"), "old").unwrap();
    interrupt(dir, &mended);

    let renamed = mended.replace("transforms.parse]", "transforms.split]").replace("[\"parse\"]", "[\"split\"]");
    fs::write(dir.join("pipeline.toml"), renamed).unwrap();
    let told = run(forebay(dir).arg("replay"));
    expect![[r#"
        Some(1) error: the replay that was begun cannot go on: 2 letters that `parse` had refused: the file has no node `parse`
        hint: make the file as it was then; or give these letters up with `--abandon-pending`: they stay where they are, and what was delivered of them may be there twice when they are replayed
    "#]].assert_eq(&format!("{:?} {}", told.code, told.err));
    let given_up = succeed(forebay(dir).args(["replay", "--abandon-pending"]));
    expect![[r#"
        no dead letters to replay
        this replay was interrupted before: what was delivered until then is not among these rows
        left where they are: 2 letters, the file has no node `parse`
    "#]]
    .assert_eq(&given_up.out);
    assert_eq!(letters(dir).len(), 2);

    fs::write(dir.join("pipeline.toml"), mended).unwrap();
    let replayed = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        2 dead letters replayed: 1 row delivered, 1 refused again and kept
    "#]]
    .assert_eq(&replayed.out);
    assert_eq!(count(dir, "parsed", "count(*)"), 2);
}

/// Scenario: a replay is killed when a delivery is on its way, and the transform is corrected, which is what one does.
/// Guarantees: it says what it cannot do, and does what it says.
#[test]
fn mended_during_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mended = refused_two(dir);
    let nowhere = "dead_letters = { path = \"s3://nowhere\", aws = { endpoint = \"http://127.0.0.1:1\", \
        access_key_id = \"a\", secret_access_key = \"b\" } }";
    let unkept = PIPELINE.replace("dead_letters.path = \"./refused\"", nowhere);
    fs::write(dir.join("pipeline.toml"), unkept).unwrap();
    let mut replay = forebay(dir);
    replay.args(["replay", "--from", "./refused"]).stderr(Stdio::piped());
    let mut child = replay.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = lines.find(|it| it.as_ref().unwrap().contains("could not deliver"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(waits.is_some(), "it ended without a word");

    fs::write(dir.join("pipeline.toml"), mended).unwrap();
    let told = run(forebay(dir).args(["replay", "--from", "./refused"]));
    expect![[r#"
        Some(1) error: the replay that was begun cannot go on with 2 letters: `parse`, or what is before or behind it, was changed since
        hint: make the file as it was then; or begin anew with `--abandon-pending`: what was delivered of these letters may be there twice
    "#]].assert_eq(&format!("{:?} {}", told.code, told.err));
    succeed(forebay(dir).args(["replay", "--from", "./refused", "--abandon-pending"]));
    assert_eq!(count(dir, "parsed", "count(*)"), 2);
    assert_eq!(letters(dir).len(), 1);
}

/// Scenario: dead letters in a queue, and a message that is none; somebody only wants to know; a replay; the queue gives its
/// messages once more, as it does when a replay was ended before it could delete them.
/// Guarantees: they are counted where they are, and replayed once; what is no letter stays, and is in nobody's way.
#[test]
fn out_of_a_queue_once() {
    let server = Ministack::start();
    let aws = Aws {
        endpoint: Some(server.endpoint()),
        access_key_id: Some(Secret::new(ACCESS_KEY)),
        secret_access_key: Some(Secret::new(SECRET_KEY)),
        ..Aws::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(aws.sqs()).unwrap();
    let queue = runtime.block_on(client.create_queue().queue_name("refused").send()).unwrap();
    let queue = queue.queue_url().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    fs::write(dir.join("in/orders.log"), "1 1\n2 2.5\n3 three\n").unwrap();
    let keys = format!(
        "dead_letters = {{ path = './refused', queue = '{queue}', aws = {{ endpoint = '{}', \
         access_key_id = '{ACCESS_KEY}', secret_access_key = '{SECRET_KEY}' }} }}",
        server.endpoint()
    );
    let pipeline = PIPELINE.replace("dead_letters.path = \"./refused\"", &keys);
    fs::write(dir.join("pipeline.toml"), &pipeline).unwrap();
    succeed(forebay(dir).arg("run"));
    fs::write(dir.join("pipeline.toml"), pipeline.replace("\"i32\"", "\"f64\"")).unwrap();
    let dry = succeed(forebay(dir).args(["replay", "--dry-run"]));
    expect![[r#"
        in the queue, and not looked at: about 2 dead letters
    "#]]
    .assert_eq(&dry.out);
    let request = client.receive_message().queue_url(queue).message_attribute_names("id").max_number_of_messages(10);
    let messages = runtime.block_on(request.visibility_timeout(0).send()).unwrap().messages.unwrap();
    runtime.block_on(client.send_message().queue_url(queue).message_body("hello").send()).unwrap();
    let replayed = succeed(forebay(dir).args(["replay", "--reason", "amount"]));
    expect![[r#"
        2 dead letters replayed: 1 row delivered, 1 refused again and kept
        left in the queue: 1 message, no dead letters
    "#]]
    .assert_eq(&replayed.out);

    for message in messages {
        let again = client.send_message().queue_url(queue).message_body(message.body.unwrap());
        let again = again.message_attributes("id", message.message_attributes.unwrap().remove("id").unwrap());
        runtime.block_on(again.send()).unwrap();
    }
    let again = succeed(forebay(dir).args(["replay", "--reason", "amount"]));
    expect![[r#"
        1 dead letter replayed: 0 rows delivered, 1 refused again and kept
        left in the queue: 1 message, no dead letters
    "#]]
    .assert_eq(&again.out);
    assert_eq!(count(dir, "parsed", "count(*)"), 2);
}

/// Scenario: letters of a sink, of which one is a row of other columns than the file has now, and one is as no row is
/// written. Somebody only wants to know; a replay; the file gets the columns that it had.
/// Guarantees: what is no row is not taken up, and stays the letter that it was, with the reason that it had; it is said
/// why, with the exit code 1. The others are replayed, once.
#[test]
fn what_is_no_row_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("refused")).unwrap();
    fs::create_dir(dir.join("in")).unwrap();
    let letter = |position: u32, encoding: &str, payload: &str| {
        let payload = serde_json::to_string(payload).unwrap();
        format!(
            r#"{{"payload":{payload},"encoding":"{encoding}","reason":"full","component":"parsed","source":"lines","partition":"a","position":"{position}","pipeline":"orders","version":"1"}}"#
        )
    };
    let kept = [
        letter(1, "json", r#"{"id":1,"amount":1}"#),
        letter(2, "json", r#"{"id":2,"amount":70000000000}"#),
        letter(3, "debug", "RecordBatch"),
        letter(4, "json", r#"{"id":4}"#),
    ];
    fs::write(dir.join("refused/a.jsonl"), kept.join("\n")).unwrap();
    fs::write(dir.join("pipeline.toml"), PIPELINE).unwrap();
    let dry = run(forebay(dir).args(["replay", "--dry-run"]));
    let replayed = run(forebay(dir).arg("replay"));
    let json = run(forebay(dir).args(["replay", "--json"]));
    expect![[r#"
        Some(1) 2 dead letters would be replayed
        left where they are: 2 letters of `parsed`, no rows of this file: Json error: whilst decoding field 'amount': failed to parse 70000000000 as Int32
        error: 2 letters: no rows of this file
        hint: they are as they were: replay them with the file of the `version` that they name, or one with the same columns

        Some(1) 2 dead letters replayed: 2 rows delivered, 0 refused again and kept
        left where they are: 2 letters of `parsed`, no rows of this file: Json error: whilst decoding field 'amount': failed to parse 70000000000 as Int32
        error: 2 letters: no rows of this file
        hint: they are as they were: replay them with the file of the `version` that they name, or one with the same columns

        Some(1) {"letters":0,"delivered":0,"refused_again":0,"left":{},"no_rows":{"parsed":{"letters":2,"why":"Json error: whilst decoding field 'amount': failed to parse 70000000000 as Int32"}},"resumed":false}
        error: 2 letters: no rows of this file
        hint: they are as they were: replay them with the file of the `version` that they name, or one with the same columns
    "#]]
        .assert_eq(&[&dry, &replayed, &json].map(|it| format!("{:?} {}{}", it.code, it.out, it.err)).join("\n"));
    assert_eq!(fs::read_to_string(dir.join("refused/a.jsonl")).unwrap().trim(), kept[1..3].join("\n"));

    fs::write(dir.join("pipeline.toml"), PIPELINE.replace("\"i32\"", "\"i64\"")).unwrap();
    let mended = run(forebay(dir).arg("replay"));
    expect![[r#"
        Some(1) 1 dead letter replayed: 1 row delivered, 0 refused again and kept
        left where they are: 1 letter of `parsed`, no rows of this file: Json error: `debug` is no encoding of a row
        error: 1 letter: no rows of this file
        hint: they are as they were: replay them with the file of the `version` that they name, or one with the same columns
    "#]].assert_eq(&format!("{:?} {}{}", mended.code, mended.out, mended.err));
    assert_eq!(fs::read_to_string(dir.join("refused/a.jsonl")).unwrap().trim(), kept[2]);
    assert_eq!(count(dir, "parsed", "count(*)"), 3);
    assert_eq!(count(dir, "parsed", "sum(id)"), 7);
}

/// What [`PIPELINE`] may have besides: a source that not all nodes read, and a transform of what others refuse.
const MORE: &str = r#"
[sources.others]
type = "s3"
path = "./others"

[transforms.reread]
type = "regex"
inputs = ["parse.refused"]
column = "payload"
pattern = '^(?P<message>.*)$'

[sinks.rest]
type = "parquet"
inputs = ["others"]
path = "./rest"

[sinks.again]
type = "parquet"
inputs = ["reread"]
path = "./again"
"#;

/// Scenario: letters of another pipeline, of nodes that are not in the file, of a node that rows of their source do not
/// reach any more, and of one that they reach only when another node refuses them; a file of something else; a pipeline
/// without dead letters; a replay of other letters than that which was interrupted.
/// Guarantees: what cannot be replayed is left, with the reason; the rest says what to do.
#[test]
fn what_cannot_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("refused")).unwrap();
    let letter = |pipeline: &str, source: &str, component: &str| {
        format!(
            r#"{{"payload":"1 2","encoding":"text","reason":"odd","component":"{component}","source":"{source}","partition":"a","position":"1","pipeline":"{pipeline}"}}"#
        )
    };
    let kept = [
        letter("invoices", "lines", "parse"),
        letter("orders", "lines", "enrich"),
        letter("orders", "gone", "parse"),
        letter("orders", "others", "parse"),
        letter("orders", "lines", "reread"),
        letter("orders", "lines", "parse"),
    ];
    fs::write(dir.join("refused/a.jsonl"), kept.join("\n")).unwrap();
    fs::write(dir.join("pipeline.toml"), format!("{PIPELINE}{MORE}")).unwrap();
    let replayed = succeed(forebay(dir).arg("replay"));
    expect![[r#"
        1 dead letter replayed: 1 row delivered, 0 refused again and kept
        left where they are: 1 letter, of the pipeline `invoices`
        left where they are: 1 letter, rows come to `reread` by way of `parse.refused`
        left where they are: 1 letter, rows of its source do not reach `parse` any more
        left where they are: 1 letter, the file does not have its source any more
        left where they are: 1 letter, the file has no node `enrich`
    "#]]
    .assert_eq(&replayed.out);
    assert_eq!(letters(dir).len(), 5);

    let no_letter = dir.join("refused/b.jsonl");
    fs::write(&no_letter, "no letter\n").unwrap();
    let unread = run(forebay(dir).arg("replay"));
    fs::remove_file(no_letter).unwrap();
    let after_that = succeed(forebay(dir).args(["replay", "--component", "enrich"]));
    expect![[r#"
        Some(1) error: `./refused/b.jsonl`, line 1: expected ident at line 1 column 2

        no dead letters to replay
        left where they are: 1 letter, the file has no node `enrich`
    "#]]
    .assert_eq(&format!("{:?} {}\n{}", unread.code, unread.err, after_that.out));

    fs::create_dir_all(dir.join(".forebay/orders/replay")).unwrap();
    let journal = r#"{"owner":"me","choice":{"component":"parse","reason":null},"from":"./refused","step":"Collect"}"#;
    fs::write(dir.join(".forebay/orders/replay/journal.json"), journal).unwrap();
    let other = run(forebay(dir).arg("replay"));
    fs::write(dir.join("pipeline.toml"), PIPELINE.replace("dead_letters.path = \"./refused\"", "")).unwrap();
    let without = run(forebay(dir).arg("replay"));
    expect![[r#"
        Some(1) error: a replay of other letters was begun and is not finished
        hint: finish it first: `forebay replay --from ./refused --component 'parse'`

        Some(2) error: rows that `lines` refuses go nowhere
         --> pipeline.toml:5:10
          |
        5 | [sources.lines]
          |          ^^^^^
          |
          = help: keep them with a table `[dead_letters]` and in it `path = "./refused"`, or write `on_refused = "stop"` for each node
    "#]].assert_eq(&format!("{:?} {}\n{:?} {}", other.code, other.err, without.code, without.err));
}

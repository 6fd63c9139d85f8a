//! What fails, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expect_test::{Expect, expect};
use forebay_api::{SinkConfig, SinkError};
use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};

use super::front::{front, passed_on};
use super::once::{again, commit};
use super::{NUMBERS, Place, deliver, numbers, open, said, staged};
use crate::failure::{Failure, Kind, kind};

/// What the sink says of ten rows, with what differs from run to run left out.
async fn first_words(place: &Place<'_>, keys: &str) -> String {
    let rows = numbers(0..10);
    let config = place.config(keys);
    config.plan(&rows.schema()).unwrap();
    let answer = match config.open(rows.schema()).await {
        Ok(sink) => said(staged(sink.as_ref(), 1, &[rows]).await.commit().await),
        Err(error) => format!("not opened: {error}"),
    };
    plain(&answer, place)
}

fn plain(text: &str, place: &Place<'_>) -> String {
    let text = text.replace(&place.database, "database").replace(&place.server.endpoint(), "http://server");
    // The server's own story is longer than what matters here.
    match (text.find("DB::Exception: "), text.find("(hint: ")) {
        (Some(start), hint) => {
            let end = text[start..].find([',', '.', ';', '(']).map_or(text.len(), |it| start + it);
            let end = text[end..].find(|it| it != '.').map_or(text.len(), |it| end + it);
            format!("{} … {}", text[..end].trim_end(), hint.map_or("", |it| &text[it..]))
        }
        _ => text,
    }
}

/// Scenario: the server says no, for each of the reasons that can be had.
/// Guarantees: wrong passwords and missing rights stop the pipeline with a hint; all others are waited for; the cause
/// stands in the message, the password never.
#[tokio::test]
async fn the_server_says_no() {
    let mut printed = String::new();
    let mut say = |name: &str, text: String| {
        assert!(!text.contains(Server::PASSWORD), "{text}");
        printed.push_str(&format!("{name}: {}\n", text.trim_end()));
    };
    let place = Place::new();
    say("no table", first_words(&place, "").await);
    place.table(NUMBERS);
    say("no database", first_words(&Place { server: place.server, database: "nowhere".to_owned() }, "").await);
    say("wrong password", first_words(&place, "user = 'writer'\npassword = 'no'").await);
    say("unknown user", first_words(&place, "user = 'nobody'").await);
    let reader = format!("user = '{}'\npassword = '{}'", Server::READER, Server::PASSWORD);
    say("a user who only reads", first_words(&place, &format!("{reader}\nexactly_once = false")).await);
    say("the same, exactly once", first_words(&place, &reader).await);
    let rationed = format!("user = '{}'\npassword = '{}'", Server::RATIONED, Server::PASSWORD);
    say("one INSERT an hour", first_words(&place, &rationed).await);
    say("the next one", first_words(&place, &rationed).await);
    let bound = format!("user = '{}'\npassword = '{}'", Server::BOUND, Server::PASSWORD);
    say("a profile that does not deduplicate", first_words(&place, &bound).await);
    say(
        "little memory",
        first_words(&place, "settings = { max_memory_usage = '1', max_untracked_memory = '1' }").await,
    );
    say("an unknown setting", first_words(&place, "settings = { no_such_setting = '1' }").await);
    let inserter = format!("user = '{}'\npassword = '{}'", Server::INSERTER, Server::PASSWORD);
    say("a user who only inserts", first_words(&place, &inserter).await);
    say("the same, at least once", first_words(&place, &format!("{inserter}\nexactly_once = false")).await);
    let granted = format!("user = '{}'\npassword = '{}'", Server::GRANTED, Server::PASSWORD);
    say("a user who inserts and reads", first_words(&place, &granted).await);
    let silent = Place::new();
    silent.query(&format!("CREATE TABLE rows ({NUMBERS}, _delivery String) ENGINE = MergeTree ORDER BY n"));
    say("the same, a table that leaves it to the server", first_words(&silent, &granted).await);
    let full = Place::new();
    full.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 100, parts_to_throw_insert = 1, parts_to_delay_insert = 1"
    ));
    full.query(&format!("SYSTEM STOP MERGES {}.rows", full.database));
    full.query("INSERT INTO rows SELECT 1, '', ''");
    say("too many parts", first_words(&full, "").await);
    expect![[r#"
        no table: retry: there is no table `database`.`rows` (hint: make it, or let the sink make it: `create = true`)
        no database: retry: there is no table `database`.`rows` (hint: make it, or let the sink make it: `create = true`)
        wrong password: not opened: looking at table `database`.`rows`: Code: 516. DB::Exception: writer: Authentication failed: password is incorrect … (hint: see `user` and `password`)
        unknown user: not opened: looking at table `database`.`rows`: Code: 516. DB::Exception: nobody: Authentication failed: password is incorrect … (hint: see `user` and `password`)
        a user who only reads: retry: inserting 10 rows into `database`.`rows`: Code: 164. DB::Exception: reader: Cannot execute query in readonly mode. … (hint: this user may only read (`readonly`))
        the same, exactly once: not opened: the user's profile fixes `async_insert` at 1, and it must be 0 (hint: or write `exactly_once = false`, which may double rows)
        one INSERT an hour: done
        the next one: retry: inserting 10 rows into `database`.`rows`: Code: 201. DB::Exception: Quota for user `rationed` for 3600s has been exceeded: query_inserts = 2/1. … (hint: the user's quota is used up until its interval is over)
        a profile that does not deduplicate: not opened: the user's profile fixes `insert_deduplicate` at 0, and it must be 1 (hint: or write `exactly_once = false`, which may double rows)
        little memory: retry: inserting 10 rows into `database`.`rows`: Code: 241. DB::Exception: Query memory limit exceeded: would use 2. … (hint: the server's memory is short, or smaller inserts are wanted: `batch = { bytes_max = … }`)
        an unknown setting: retry: inserting 10 rows into `database`.`rows`: Code: 115. DB::Exception: Unknown setting 'no_such_setting'. …
        a user who only inserts: not opened: looking into table `database`.`rows`, as after a crash: Code: 497. DB::Exception: inserter: Not enough privileges. … (hint: the user needs the right `SELECT ON `database`.`rows``; or write `exactly_once = false`, which may double rows)
        the same, at least once: done
        a user who inserts and reads: done
        the same, a table that leaves it to the server: not opened: looking at table `database`.`rows`: Code: 497. DB::Exception: granted: Not enough privileges. … (hint: the user needs `SELECT ON system.merge_tree_settings`, or table `database`.`rows` its own `non_replicated_deduplication_window`, and one that is large enough)
        too many parts: retry: inserting 10 rows into `database`.`rows`: Code: 252. DB::Exception: Too many parts … (hint: the server does not keep up with merging: fewer and larger inserts help, by `batch = { age_max = … }`)
    "#]].assert_eq(&printed);
}

/// Opens the sink on a table, and says what was said.
async fn check_table(cases: &[(&str, &str)], keys: &str, expected: Expect) {
    let mut printed = String::new();
    for (statement, name) in cases {
        let place = Place::new();
        place.query(statement);
        let rows = numbers(0..10);
        let opened = place.config(keys).open(rows.schema()).await;
        let answer = opened.map_or_else(|error| error.to_string(), |_| "opened".to_owned());
        printed.push_str(&format!("{name}: {}\n", plain(&answer, &place)));
    }
    expected.assert_eq(&printed);
}

/// Scenario: tables on which the promise cannot be kept, or into which the rows do not go.
/// Guarantees: the pipeline does not start, and is told what to do; it starts where everything is in order.
#[tokio::test]
async fn tables_that_do_not_fit() {
    const REST: &str = "_delivery String";
    let merge_tree = |columns: &str| {
        format!(
            "CREATE TABLE rows ({columns}) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
        )
    };
    let engine = |engine: &str| format!("CREATE TABLE rows ({NUMBERS}, {REST}) ENGINE = {engine}");
    let cases = [
        (merge_tree(&format!("{NUMBERS}, {REST}")), "good"),
        (merge_tree(&format!("{NUMBERS}, extra UInt8, {REST}")), "a column that the rows do not have"),
        (merge_tree(NUMBERS), "nothing to find deliveries by"),
        (merge_tree(&format!("n Int64, texts String, {REST}")), "no such column"),
        (merge_tree(&format!("n Int64, text Map(String, String), {REST}")), "another type"),
        (engine("MergeTree ORDER BY n"), "nothing is remembered"),
        (
            engine("MergeTree ORDER BY n SETTINGS index_granularity = 100, non_replicated_deduplication_window = 99"),
            "little is remembered",
        ),
        (
            engine("ReplacingMergeTree ORDER BY n SETTINGS non_replicated_deduplication_window=100"),
            "rows that replace others",
        ),
        (engine("SummingMergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"), "sums"),
        (engine("Memory"), "memory"),
        (engine("Log"), "log"),
        (engine("Null"), "nothing"),
        (engine("Buffer('', '', 1, 1, 1, 1, 1, 1, 1)"), "buffer"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(statement, name)| (statement.as_str(), *name)).collect();
    check_table(&cases, "", expect![[r#"
        good: opened
        a column that the rows do not have: opened
        nothing to find deliveries by: table `database`.`rows` has no column `_delivery` of text, by which deliveries are found again: `ALTER TABLE `database`.`rows` ADD COLUMN `_delivery` LowCardinality(String)` (hint: or write `exactly_once = false`, which may double rows)
        no such column: table `database`.`rows` has no columns `text` (did you mean `texts`?) (hint: add them, by hand or with `evolve = "add_columns"`, or leave them out with `omit`)
        another type: table `database`.`rows` cannot take `text`, which holds Utf8, into Map(String, String) (hint: give the table's columns other types, make others upstream, or leave them out with `omit`)
        nothing is remembered: table `database`.`rows` remembers 0 blocks, and must remember 100 at least: `ALTER TABLE `database`.`rows` MODIFY SETTING non_replicated_deduplication_window = 10000` (hint: or write `exactly_once = false`, which may double rows)
        little is remembered: table `database`.`rows` remembers 99 blocks, and must remember 100 at least: `ALTER TABLE `database`.`rows` MODIFY SETTING non_replicated_deduplication_window = 10000` (hint: or write `exactly_once = false`, which may double rows)
        rows that replace others: opened
        sums: table `database`.`rows` has the engine SummingMergeTree, which joins rows, so that a delivery cannot be found in it again: write into a `MergeTree`, and feed this table by a materialized view (hint: or write `exactly_once = false`, which may double rows)
        memory: table `database`.`rows` has the engine Memory, which does not deduplicate (hint: or write `exactly_once = false`, which may double rows)
        log: table `database`.`rows` has the engine Log, which does not deduplicate (hint: or write `exactly_once = false`, which may double rows)
        nothing: table `database`.`rows` has the engine Null, which keeps no rows of its own (hint: or write `exactly_once = false`, which may double rows)
        buffer: table `database`.`rows` has the engine Buffer, which keeps rows in memory (hint: or write `exactly_once = false`, which may double rows)
    "#]]).await;
    let cases: Vec<(&str, &str)> = cases.iter().filter(|it| !it.1.contains("type")).copied().collect();
    check_table(
        &cases,
        "exactly_once = false\nomit = ['text']",
        expect![[r#"
        good: opened
        a column that the rows do not have: opened
        nothing to find deliveries by: opened
        no such column: opened
        nothing is remembered: opened
        little is remembered: opened
        rows that replace others: opened
        sums: opened
        memory: opened
        log: opened
        nothing: opened
        buffer: opened
    "#]],
    )
    .await;
}

/// Scenario: the server is not there when the pipeline starts, then it is, but not the table, then all is there; later
/// the server is stopped in the middle, and stands still.
/// Guarantees: the sink opens, waits, and goes on by itself.
#[tokio::test]
async fn a_server_that_comes_and_goes() {
    let mut server = Server::start();
    let database = server.database();
    let config = {
        let place = Place { server: &server, database: database.clone() };
        place.config("timeout = '3s'")
    };
    server.kill();
    let rows = numbers(0..10);
    let sink = config.open(rows.schema()).await.unwrap();
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let no_server = said(draft.commit().await);
    assert!(no_server.contains("retry: looking at table") && no_server.contains("refused"), "{no_server}");
    server.restart();
    let no_table = said(draft.commit().await);
    assert!(no_table.starts_with("retry: there is no table"), "{no_table}");
    Place { server: &server, database: database.clone() }.table(NUMBERS);
    assert_eq!(said(draft.commit().await), "done");
    let mut draft = staged(sink.as_ref(), 2, &[numbers(10..20)]).await;
    server.stop();
    for _ in 0..3 {
        let gone = said(draft.commit().await);
        assert!(gone.starts_with("retry: "), "{gone}");
    }
    server.restart();
    assert_eq!(said(draft.commit().await), "done");
    let mut draft = staged(sink.as_ref(), 3, &[numbers(20..30)]).await;
    server.pause();
    let silent = said(draft.commit().await);
    assert!(silent.starts_with("retry: ") && silent.ends_with("no answer in time"), "{silent}");
    server.resume();
    for _ in 0..100 {
        match draft.commit().await {
            Ok(_) => break,
            Err(SinkError::Stop(error)) => panic!("{error}"),
            // The first try may be under way still.
            Err(SinkError::Retry(_)) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
    assert_eq!(server.query(&format!("SELECT count(), uniqExact(n) FROM {database}.rows")), "30\t30");
}

/// Scenario: a server takes the request and does not answer; it answers late.
/// Guarantees: after `timeout` the sink says so and tries again; as long as the first try runs, the server does not begin
/// the second; the rows are there once.
#[tokio::test]
async fn answers_that_come_late() {
    let place = Place::new();
    place.table_with("n Int64, text String, late UInt8 MATERIALIZED sleepEachRow(0.3)", "ORDER BY n");
    let rows = numbers(0..10);
    let sink =
        place.open("timeout = '1s'\nsettings = { function_sleep_max_microseconds_per_block = '9000000' }", &rows).await;
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let first = said(draft.commit().await);
    assert!(first.ends_with("no answer in time"), "{first}");
    let second = said(draft.commit().await);
    assert!(second.contains("Code: 216"), "{second}");
    for _ in 0..100 {
        match draft.commit().await {
            Ok(_) => break,
            Err(SinkError::Stop(error)) => panic!("{error}"),
            Err(SinkError::Retry(_)) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
    assert_eq!(place.query("SELECT count() FROM rows"), "10");
}

/// Scenario: of three servers the first is not there, and the second answers with what is no ClickHouse's.
/// Guarantees: the third gets the rows, and keeps getting them.
#[tokio::test]
async fn several_servers() {
    let place = Place::new();
    place.table(NUMBERS);
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![Rule::new(Fault::Status(503, "<html>".into()))]);
    let mut config = place.config("exactly_once = false");
    config.endpoints = vec!["http://127.0.0.1:9".to_owned(), proxy.endpoint(), place.server.endpoint()];
    config.endpoint = None;
    let rows = numbers(0..10);
    let sink = config.open(rows.schema()).await.unwrap();
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert!(said(draft.commit().await).starts_with("retry: looking at table"));
    assert_eq!(said(draft.commit().await), "done");
    deliver(sink.as_ref(), 2, std::slice::from_ref(&rows)).await;
    assert_eq!(place.query("SELECT count() FROM rows"), "20");
    assert_eq!(proxy.seen().len(), 1);
    config.exactly_once = true;
    let error = said(staged(config.open(rows.schema()).await.unwrap().as_ref(), 3, &[rows]).await.commit().await);
    assert!(error.starts_with("retry: "), "{error}");
}

/// Scenario: while the pipeline runs a column is taken away, and comes back with another type.
/// Guarantees: the sink waits and says what is missing, fetches the columns again, and goes on.
#[tokio::test]
async fn columns_change() {
    let place = Place::new();
    place.table(NUMBERS);
    let sink = open(&place.config(""), &numbers(0..1)).await;
    deliver(sink.as_ref(), 1, &[numbers(0..10)]).await;
    place.query("ALTER TABLE rows DROP COLUMN text");
    let mut draft = staged(sink.as_ref(), 2, &[numbers(10..20)]).await;
    let first = said(draft.commit().await);
    assert!(first.starts_with("retry: ") && first.contains("Code: 16."), "{first}");
    let second = said(draft.commit().await);
    assert!(second.starts_with("retry: table") && second.contains("has no columns `text`"), "{second}");
    place.query("ALTER TABLE rows ADD COLUMN text LowCardinality(String)");
    assert_eq!(said(draft.commit().await), "done");
    place.query("ALTER TABLE rows MODIFY COLUMN n Int32");
    deliver(sink.as_ref(), 3, &[numbers(20..30)]).await;
    assert_eq!(place.query("SELECT count(), countIf(text = concat('text ', toString(n))) FROM rows"), "30\t20");
}

/// Scenario: rows are refused since their column is too small; somebody makes it larger.
/// Guarantees: the sink notices that after a while, without an error and without a restart.
#[tokio::test]
async fn a_column_that_takes_more() {
    let place = Place::new();
    place.table("n UInt8, text String");
    let rows = numbers(250..260);
    let sink = crate::write::open(&place.config(""), rows.schema(), Duration::ZERO).await.unwrap();
    assert_eq!(deliver(&sink, 1, &[rows]).await.len(), 4);
    place.query("ALTER TABLE rows MODIFY COLUMN n UInt16");
    assert_eq!(deliver(&sink, 2, &[numbers(260..270)]).await.len(), 0);
    assert_eq!(place.count(), "16\t16");
}

/// Scenario: numbers of errors, in the words of a server, of one before it, and of none; and of one whose words were cut off.
/// Guarantees: each is waited for unless waiting cannot help; a number is found where the server puts it, and nowhere
/// else; no row is refused before the reason is known.
#[test]
fn numbers_of_errors() {
    let mut kinds: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for code in 0..1100 {
        kinds.entry(format!("{:?}", kind(code))).or_default().push(code);
    }
    let printed: String =
        kinds.iter().filter(|it| it.0 != "Wait").map(|(kind, codes)| format!("{kind}: {codes:?}\n")).collect();
    expect![[r#"
        Columns: [8, 10, 16, 20, 43, 44, 47, 53, 70]
        Elsewhere: [209, 210, 236, 242, 243, 279, 745, 999]
        Rights: [192, 193, 194, 195, 497, 516]
        Rows: [6, 25, 26, 27, 38, 41, 69, 72, 117, 128, 130, 131, 153, 190, 248, 321, 349, 376, 395, 407, 441, 467, 469, 563, 632, 675, 676, 691]
    "#]].assert_eq(&printed);
    for (text, expected) in [
        ("Code: 60. DB::Exception: Table does not exist", Kind::Wait),
        ("Code: 241. DB::Exception: Memory limit", Kind::Wait),
        ("Code: 469. DB::Exception: Constraint `a` is violated", Kind::Rows),
        ("Code: 469", Kind::Elsewhere),
        ("502 Bad Gateway", Kind::Elsewhere),
        ("the row said Code: 469. DB::Exception", Kind::Elsewhere),
        ("Code: many", Kind::Elsewhere),
    ] {
        let failure = Failure::new("inserting", &clickhouse::error::Error::BadResponse(text.to_owned()));
        assert_eq!(failure.kind(), expected, "{text}");
    }
}

/// Scenario: a table is so large that it takes longer to look for a delivery than `timeout` allows.
/// Guarantees: each time it is waited for longer, so that the delivery is found in the end, and made once.
#[tokio::test]
async fn a_search_that_takes_long() {
    let place = Place::new();
    place.table(NUMBERS);
    let rows = numbers(0..10);
    deliver(place.open("", &rows).await.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let port: u16 = place.server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let searches = Arc::new(AtomicUsize::new(0));
    let (seen, long) = (searches.clone(), Duration::from_secs(5));
    let slow = front(None, move |head, body| {
        if head.contains("startsWith") || String::from_utf8_lossy(body).contains("startsWith") {
            seen.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(long);
        }
        passed_on(port, head, body)
    });
    let sink = open(&place.config_at(&format!("http://127.0.0.1:{slow}"), "timeout = '1s'"), &rows).await;
    let mut draft = again(sink.as_ref(), 1, &[rows]).await;
    for _ in 0..3 {
        let late = said(draft.commit().await);
        assert!(late.starts_with("retry: looking for delivery") && late.ends_with("no answer in time"), "{late}");
    }
    commit(&mut draft).await;
    assert!(searches.load(Ordering::Relaxed) >= 4);
    assert_eq!(place.count(), "10\t10");
}

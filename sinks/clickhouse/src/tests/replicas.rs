//! Tables that several servers have.
//!
//! Two of what stands in for a server here have one table of a real one, and say that it is replicated. Each of them knows
//! rows only from when it was told to fetch what the other one has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_api::SinkConfig;
use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};

use super::front::{answer, front, passed_on};
use super::once::{again, commit};
use super::{NUMBERS, Place, deliver, numbers, open, said, staged};
use crate::ClickHouse;

/// What the two have in common.
#[derive(Default)]
struct Pair {
    /// Whether the first one takes no INSERTs, and does not fetch before the second one has got one.
    first_is_ill: AtomicBool,
    second_was_asked: AtomicBool,
}

/// Starts one of the two, and gives its endpoint.
fn replica(server: &'static Server, pair: Arc<Pair>, is_first: bool) -> String {
    let port: u16 = server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let has_all = AtomicBool::new(false);
    let port = front(None, move |head, body| {
        let said = format!("{}\n{}", head.lines().next().unwrap_or_default(), String::from_utf8_lossy(body));
        let is_ill = is_first && pair.first_is_ill.load(Ordering::Relaxed);
        if said.contains("FROM system.tables") {
            let settings = "replicated_deduplication_window = 100, replicated_deduplication_window_seconds = 3600";
            return answer(200, &format!("ReplicatedMergeTree\tReplicatedMergeTree SETTINGS {settings}\t\t\n"));
        }
        if said.contains("SYSTEM SYNC REPLICA") {
            let begun = Instant::now();
            while is_ill && !pair.second_was_asked.load(Ordering::Relaxed) && begun.elapsed().as_secs() < 60 {
                std::thread::sleep(Duration::from_millis(10));
            }
            has_all.store(true, Ordering::Relaxed);
            return answer(200, "");
        }
        if said.contains("startsWith") && !has_all.load(Ordering::Relaxed) {
            return answer(200, "");
        }
        if said.contains("INSERT") {
            if is_ill {
                return answer(503, "ill");
            }
            pair.second_was_asked.fetch_or(!is_first, Ordering::Relaxed);
        }
        passed_on(port, head, body)
    });
    format!("http://127.0.0.1:{port}")
}

fn table() -> Place<'static> {
    let place = Place::new();
    place.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 100"
    ));
    place
}

fn config(place: &Place<'_>, endpoints: [String; 2]) -> ClickHouse {
    let mut config = place.config("");
    config.endpoint = None;
    config.endpoints = endpoints.into();
    config
}

/// Scenario: a delivery that the table has forgotten is made again. While the first server fetches what it lacks, it
/// fails for another delivery, and the second one is asked from then on, which lags behind.
/// Guarantees: the delivery is looked for on the server that has fetched; each row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags() {
    let place = table();
    let pair = Arc::new(Pair::default());
    let [first, second] = [true, false].map(|it| replica(place.server, pair.clone(), it));
    let rows = numbers(0..10);
    let sink = open(&config(&place, [first, second]), &rows).await;
    for n in 1..112 {
        deliver(sink.as_ref(), n, &[numbers(n as i64 * 10 - 10..n as i64 * 10)]).await;
    }
    pair.first_is_ill.store(true, Ordering::Relaxed);
    let mut old = again(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    let mut new = staged(sink.as_ref(), 112, &[numbers(1110..1120)]).await;
    tokio::join!(commit(&mut old), commit(&mut new));
    assert_eq!(place.count(), "1120\t1120");
}

/// Scenario: deliveries go to two servers with the same table, through proxies that lose answers and cut requests; every
/// third one is made again by another process.
/// Guarantees: each row is there once, and both servers were asked.
#[tokio::test]
async fn answers_of_several_servers_are_lost() {
    let place = table();
    let pair = Arc::new(Pair::default());
    let proxy = |is_first| FaultProxy::start(&replica(place.server, pair.clone(), is_first), vec![]);
    let proxies = [proxy(true), proxy(false)];
    let config = config(&place, [proxies[0].endpoint(), proxies[1].endpoint()]);
    let sink = open(&config, &numbers(0..1)).await;
    for proxy in &proxies {
        proxy.set_rules(vec![
            Rule::new(Fault::AnswerLost).path_contains("INSERT").after(1).times(10),
            Rule::new(Fault::TruncateRequest(2000)).path_contains("INSERT").times(10),
            Rule::new(Fault::Reset).times(10),
        ]);
    }
    for n in 0..60 {
        let rows = numbers(n as i64 * 100..n as i64 * 100 + 100);
        let mut draft = staged(sink.as_ref(), n, std::slice::from_ref(&rows)).await;
        if n % 3 == 0 {
            let _ = draft.commit().await;
            let next = open(&config, &rows).await;
            draft = again(next.as_ref(), n, std::slice::from_ref(&rows)).await;
        }
        assert!(commit(&mut draft).await.is_empty());
    }
    assert_eq!(place.count(), "6000\t6000");
    assert!(proxies.iter().all(|it| it.faults() > 5));
}

/// Scenario: a table that is really replicated, whose server cannot write to it at the moment; users with and without the
/// right to fetch what others have.
/// Guarantees: the sink opens, waits and says so; it does not open where it could not look for deliveries.
#[tokio::test]
async fn a_replica_that_is_read_only() {
    let place = Place::new();
    place.query(&format!(
        "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) \
         ENGINE = ReplicatedMergeTree('/{}/rows', 'one') ORDER BY n SETTINGS replicated_deduplication_window = 1000, \
         replicated_deduplication_window_seconds = 3600",
        place.database
    ));
    let rows = numbers(0..10);
    // Otherwise the server itself tries for minutes.
    let sink = place.open("settings = { insert_keeper_max_retries = '0' }", &rows).await;
    let waiting = said(staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.commit().await);
    assert!(waiting.starts_with("retry: inserting") && waiting.contains("TABLE_IS_READ_ONLY"), "{waiting}");
    let granted = format!("user = '{}'\npassword = '{}'", Server::GRANTED, Server::PASSWORD);
    let error = place.config(&granted).open(rows.schema()).await.map(|_| ()).unwrap_err().to_string();
    let error = error.replace(&place.database, "database");
    assert!(error.ends_with("(hint: the user needs the right `SYSTEM SYNC REPLICA ON `database`.`rows``; or write `exactly_once = false`, which may double rows)"), "{error}");
}

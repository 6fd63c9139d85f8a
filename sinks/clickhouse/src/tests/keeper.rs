//! A table that two servers have, with a Keeper of their own: what one of them has taken, the other one does not take.
//!
//! The two are tables of one server in databases of their own, with the same path in its Keeper. Neither ever fetches
//! what the other one has, as a replica that lags for ever; that it is told to is answered in its place.

use std::sync::OnceLock;

use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};

use super::front::{answer, front, passed_on};
use super::once::{again, commit};
use super::{NUMBERS, Place, numbers, open, staged};
use crate::ClickHouse;
use crate::table::TOKEN;

/// Both replicas of a table `rows`.
struct Twins([Place<'static>; 2]);

impl Twins {
    fn new() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = SERVER.get_or_init(Server::with_replicas);
        let path = server.database();
        Self(["one", "two"].map(|name| {
            let place = Place { server, database: format!("{path}_{name}") };
            server.query(&format!("CREATE DATABASE {}", place.database));
            place.query(&format!(
                "CREATE TABLE rows ({NUMBERS}, _delivery LowCardinality(String)) \
                 ENGINE = ReplicatedMergeTree('/{path}/rows', '{name}') ORDER BY n PARTITION BY n % 3 \
                 SETTINGS replicated_deduplication_window = 1000"
            ));
            place.query(&format!("SYSTEM STOP REPLICATION QUEUES {}.rows", place.database));
            place
        }))
    }

    /// A sink that asks the first one until it fails, and what loses answers of each.
    fn config(&self) -> (ClickHouse, [FaultProxy; 2]) {
        let proxies = [0, 1].map(|number| FaultProxy::start(&self.endpoint(number), vec![]));
        let mut config = self.0[0].config("");
        config.endpoint = None;
        config.endpoints = proxies.each_ref().map(FaultProxy::endpoint).into();
        (config, proxies)
    }

    /// One of them as a server of its own: requests name the database of the first.
    fn endpoint(&self, number: usize) -> String {
        let port: u16 = self.0[number].server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        let [first, this] = [0, number].map(|it| self.0[it].database.clone());
        let port = front(None, move |head, body| {
            let (line, headers) = head.split_once("\r\n").unwrap();
            // On two servers, tokens would name the same database.
            let own = |it: &str| if it.contains(TOKEN) { it.to_owned() } else { it.replace(&first, &this) };
            let line: Vec<String> = line.split('&').map(own).collect();
            let line = line.join("&");
            let body = if line.contains("INSERT") { body.to_vec() } else { own(&String::from_utf8_lossy(body)).into() };
            if String::from_utf8_lossy(&body).contains("SYSTEM SYNC REPLICA") {
                return answer(200, "");
            }
            passed_on(port, &format!("{line}\r\n{headers}"), &body)
        });
        format!("http://127.0.0.1:{port}")
    }

    /// How many rows each of them took, and how many rows there are, and how many of them are different.
    fn counts(&self) -> [String; 3] {
        let [first, second] = self.0.each_ref().map(|it| format!("SELECT n, text FROM {}.rows", it.database));
        let all = format!("SELECT count(), uniqExact(*) FROM ({first} UNION ALL {second})");
        [
            self.0[0].query("SELECT count() FROM rows"),
            self.0[1].query("SELECT count() FROM rows"),
            self.0[0].server.query(&all),
        ]
    }
}

/// Scenario: INSERTs into several partitions go to one of two servers with the same table, and their answers are lost; then
/// they go to the other one, which has not heard of them. Then another process makes all deliveries again, on the other.
/// Guarantees: each row is there once: what is remembered of a block is what both of them know.
#[tokio::test]
async fn answers_are_lost_and_the_other_replica_is_asked() {
    let twins = Twins::new();
    let (config, proxies) = twins.config();
    let rows = |n: u64| numbers(n as i64 * 10..n as i64 * 10 + 10);
    let sink = open(&config, &rows(0)).await;
    for n in 0..12 {
        // Where the one before was taken at last.
        let asked = &proxies[n as usize % 2];
        asked.set_rules(vec![Rule::new(Fault::AnswerLost).path_contains("INSERT").times(1)]);
        assert!(commit(&mut staged(sink.as_ref(), n, &[rows(n)]).await).await.is_empty());
    }
    assert!(proxies.iter().all(|it| it.faults() == 6));
    let each_once = ["60", "60", "120\t120"].map(str::to_owned);
    assert_eq!(twins.counts(), each_once);
    let (mut config, _proxies) = twins.config();
    config.endpoints.reverse();
    let next = open(&config, &rows(0)).await;
    for n in 0..12 {
        assert!(commit(&mut again(next.as_ref(), n, &[rows(n)]).await).await.is_empty());
    }
    assert_eq!(twins.counts(), each_once);
}

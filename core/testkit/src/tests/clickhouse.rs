//! The ClickHouse that tests stand on.

use crate::services::ClickHouse;

/// Scenario: a server is filled, killed in the middle, started again, stopped in order, and started again.
/// Guarantees: it is gone while it is stopped, and comes back at the same place with what was inserted.
#[test]
fn data_outlive_a_crash() {
    let mut server = ClickHouse::start();
    let (endpoint, database) = (server.endpoint(), server.database());
    server.query(&format!("CREATE TABLE {database}.rows (n UInt64) ENGINE = MergeTree ORDER BY n"));
    server.query(&format!("INSERT INTO {database}.rows SELECT number FROM numbers(1000)"));
    server.kill();
    assert!(server.ask("SELECT 1").is_err());
    server.restart();
    assert_eq!(server.query(&format!("SELECT count(), sum(n) FROM {database}.rows")), "1000\t499500");
    server.stop();
    assert!(server.ask("SELECT 1").is_err());
    server.restart();
    assert_eq!(server.query(&format!("SELECT count(), sum(n) FROM {database}.rows")), "1000\t499500");
    assert_eq!(server.endpoint(), endpoint);
}

/// Scenario: the shared server is asked for twice, for a database each time, and for what is wrong.
/// Guarantees: it is one server, the databases are two; an error comes with its code.
#[test]
fn one_server_for_many_tests() {
    let (one, two) = (ClickHouse::shared(), ClickHouse::shared());
    assert_eq!(one.endpoint(), two.endpoint());
    assert_ne!(one.database(), two.database());
    let error = one.ask("SELECT * FROM nothing").unwrap_err();
    assert!(error.starts_with("Code: 60."), "{error}");
}

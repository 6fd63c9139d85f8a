//! What stands in the file.

use std::path::Path;

use expect_test::expect;
use forebay_api::{SourceConfig, Wrong};

use super::config;

/// Scenario: files with a fault each, and a good one.
/// Guarantees: the fault is found before anything runs, with its key and what would have worked.
#[test]
fn faults() {
    let listen = |address: &str, keys: &str| {
        let mut config = config(Path::new("spool"), keys);
        config.listen = address.parse().unwrap();
        config
    };
    let tls = "tls = { certificate = 'a.pem', key = 'b.pem' }";
    let bodies = |size| listen("127.0.0.1:80", &format!("limits = {{ bodies_bytes_max = '{size}' }}"));
    let mut small = listen("[::1]:80", "");
    small.spool.bytes_max = forebay_api::ByteSize::mib(255);
    let mut found = String::new();
    for config in [
        listen("0.0.0.0:443", "access_key = 'x'"),
        listen("0.0.0.0:443", tls),
        listen("0.0.0.0:443", &format!("{tls}\naccess_key = ' x'")),
        listen("127.0.0.1:80", "access_key = ''"),
        listen("127.0.0.1:80", "path = 'cdn'"),
        listen("127.0.0.1:80", "path = '/cdn?x=1'"),
        listen("127.0.0.1:80", "path = '/health'"),
        listen("127.0.0.1:80", "attributes = ['message']"),
        listen("127.0.0.1:80", "attributes = ['a', 'a']"),
        listen("127.0.0.1:80", "attributes = ['']"),
        listen("127.0.0.1:80", "columns = ['request_id', 'request_id']"),
        small,
        bodies("191MiB"),
        bodies("2TiB"),
        bodies("192MiB"),
        listen("0.0.0.0:443", &format!("{tls}\naccess_key = 'x y'\nattributes = ['stage']\ncolumns = ['source_arn']")),
    ] {
        found += &match config.schema() {
            Ok(schema) => {
                schema.fields().iter().map(|it| format!("{} {}\n", it.name(), it.data_type())).collect::<String>()
            }
            Err(error) => {
                let wrong: &Wrong = error.downcast_ref().unwrap();
                format!("{}: {wrong} ({})\n", wrong.key, wrong.hint.as_deref().unwrap_or_default())
            }
        };
    }
    expect![[r#"
        listen: `0.0.0.0:443` is an address that others reach, and there is no `tls` (write `tls = { certificate = "…", key = "…" }`, or listen on 127.0.0.1)
        listen: `0.0.0.0:443` is an address that others reach, and there is no `access_key` (choose one and give it to Firehose: `access_key = { env = "FIREHOSE_ACCESS_KEY" }`)
        access_key: this cannot be sent as a header of 1 to 4096 characters ()
        access_key: this cannot be sent as a header of 1 to 4096 characters ()
        path: `cdn` cannot be the path of the endpoint (such as "/cdn", without a query)
        path: `/cdn?x=1` cannot be the path of the endpoint (such as "/cdn", without a query)
        path: `/health` cannot be the path of the endpoint (such as "/cdn", without a query)
        attributes: there would be two columns `message` ()
        attributes: there would be two columns `a` ()
        attributes: a column has no name ()
        columns: there would be two columns `request_id` ()
        spool.bytes_max: `bytes_max` must be at least "256MiB" ()
        limits.bodies_bytes_max: `bodies_bytes_max` must be between 192MiB, what the largest request takes, and 1TiB ()
        limits.bodies_bytes_max: `bodies_bytes_max` must be between 192MiB, what the largest request takes, and 1TiB ()
        message Utf8
        message Utf8
        source_arn Dictionary(UInt16, Utf8)
        stage Dictionary(UInt16, Utf8)
    "#]].assert_eq(&found);
}

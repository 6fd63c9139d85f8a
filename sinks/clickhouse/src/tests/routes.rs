//! Rows that go into one of several tables.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use expect_test::expect;
use forebay_api::{Promise, SinkConfig};
use forebay_testkit::services::{Fault, FaultProxy, Rule};
use forebay_testkit::{columns, cut};

use super::once::{again, commit};
use super::{Place, deliver, id, open, reasons, said, staged};

const COLUMNS: &str = "n Int64, host String";

/// Two hosts have tables of their own, one of which two names.
const TWO: &str = "table = { by = 'host', tables = { shop = 'rows', store = 'rows', blog = 'other' } }";

/// The same, and all others as well.
const THREE: &str = "table = { by = 'host', tables = { shop = 'rows', store = 'rows' }, others = 'other' }";

/// Rows of a number and one of these hosts, in turn.
fn requests(numbers: std::ops::Range<i64>, hosts: &[Option<&str>]) -> RecordBatch {
    let host = |n: i64| hosts[n as usize % hosts.len()];
    let texts: StringArray = numbers.clone().map(host).collect();
    columns([("n", Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef), ("host", Arc::new(texts) as ArrayRef)])
}

/// One after the other, with no pattern that a cut could hide.
const HOSTS: [Option<&str>; 7] =
    [Some("shop"), Some("blog"), Some("blog"), Some("store"), Some("blog"), Some("shop"), Some("shop")];

/// A place with two tables.
fn two_tables() -> Place<'static> {
    let place = Place::new();
    place.table_with(COLUMNS, "ORDER BY n");
    another_table(&place);
    place
}

fn another_table(place: &Place<'_>) {
    place.query(&format!(
        "CREATE TABLE other ({COLUMNS}, _delivery LowCardinality(String)) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 1000"
    ));
}

/// How many rows there are in both tables, how many of them are different, and how many are where they ought not to be.
fn counts(place: &Place<'_>) -> String {
    let database = &place.database;
    place.server.query(&format!(
        "SELECT count(), uniqExact(n), countIf((table = 'other') != (host = 'blog')) FROM \
         (SELECT n, host, 'rows' AS table FROM {database}.rows UNION ALL SELECT n, host, 'other' FROM {database}.other)"
    ))
}

/// Scenario: the suite for sinks, with rows for two tables, some of which no table is for.
/// Guarantees: the same as for one table, whether the column that decides is text or a dictionary.
#[tokio::test]
async fn conformance() {
    let hosts = [Some("shop"), Some("blog"), None, Some("store"), Some("nobody"), Some("blog")];
    let plain = [requests(0..5, &hosts), requests(5..6, &hosts), requests(6..40, &hosts)];
    let packed = plain.each_ref().map(|rows| {
        let of = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
        let hosts = arrow_cast::cast(rows.column(1), &of).unwrap();
        columns([("n", rows.column(0).clone()), ("host", hosts)])
    });
    for input in [plain, packed] {
        for (keys, delivered) in [(TWO, 27), (THREE, 40)] {
            let place = two_tables();
            let see = async || -> Vec<String> {
                let of =
                    |table| place.query(&format!("SELECT n, nullIf(host, '') AS host FROM {table} FORMAT JSONEachRow"));
                let both = [of("rows"), of("other")].join("\n");
                both.lines().filter(|it| !it.is_empty()).map(str::to_owned).collect()
            };
            forebay_testkit::sink(Promise::OncePerId, &input, async || place.open(keys, &input[0]).await, see).await;
            let there = see().await.len();
            assert!(there > 0 && there % delivered == 0, "{there} rows");
        }
    }
}

/// Scenario: values of which no table is told, and none at all, with and without a table for others.
/// Guarantees: without it, each such row is refused by its number in the delivery, with the value and those that are
/// known; the rows beside them are there; the server's refusals have the delivery's numbers too.
#[tokio::test]
async fn rows_that_no_table_is_for() {
    let place = two_tables();
    place.query("ALTER TABLE other ADD CONSTRAINT odd CHECK n != 7");
    let hosts = [Some("shop"), None, Some("blog"), Some("Shop"), Some("blog\n")];
    let rows = [requests(0..4, &hosts), requests(4..8, &hosts)];
    let sink = place.open(TWO, &rows[0]).await;
    let mut draft = sink.begin(&id(1)).await.unwrap();
    let mut refused = draft.stage(rows[0].clone()).await.unwrap();
    refused.extend(draft.stage(rows[1].clone()).await.unwrap());
    refused.extend(draft.commit().await.unwrap());
    let printed: Vec<String> =
        reasons(&refused).lines().map(|it| it.split(". DB::").next().unwrap().to_owned()).collect();
    expect![[r#"
        1: no table is for rows without a value of column `host` (known: `blog`, `shop`, `store`)
        3: no table is for the value `Shop` of column `host` (known: `blog`, `shop`, `store`)
        4: no table is for the value `blog\n` of column `host` (known: `blog`, `shop`, `store`)
        6: no table is for rows without a value of column `host` (known: `blog`, `shop`, `store`)
        7: inserting 1 rows into `database`.`other`: Code: 469"#]]
    .assert_eq(&printed.join("\n").replace(&place.database, "database"));
    assert_eq!(forebay_testkit::canonical(&[refused[1].payload.clone()]), [r#"{"n":3,"host":"Shop"}"#]);
    assert_eq!(counts(&place), "3\t3\t0");
    let sink = place.open(&THREE.replace("others = 'other'", "others = 'rows'"), &rows[0]).await;
    let refused = deliver(sink.as_ref(), 2, &[requests(100..108, &hosts)]).await;
    assert!(refused.is_empty());
    assert_eq!(place.query("SELECT count() FROM rows"), "10");
}

/// Scenario: the process ends at each step of a delivery for two tables: before a request, with its answer lost, in the
/// middle of it, at any moment; the next one makes the delivery again, in other batches.
/// Guarantees: after it each row is there once, in its table.
#[tokio::test]
async fn the_process_is_killed() {
    let rows = requests(0..70_000, &HOSTS);
    let faults = [Fault::Reset, Fault::AnswerLost, Fault::TruncateRequest(20_000)];
    let steps = (0..2).flat_map(|requests| faults.iter().map(move |it| (requests, Some(it.clone()))));
    let moments = [1, 5, 20, 60, 150].map(|it| (it, None));
    for (step, fault) in steps.chain(moments) {
        let place = two_tables();
        let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
        let sink = open(&place.config_at(&proxy.endpoint(), TWO), &rows).await;
        let mut draft = staged(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 9_000)).await;
        match &fault {
            Some(fault) => {
                proxy.set_rules(vec![Rule::new(fault.clone()).path_contains("INSERT").after(step)]);
                assert!(said(draft.commit().await).starts_with("retry: inserting"), "{step} {fault:?}");
            }
            // It may also be done by then.
            None => drop(tokio::time::timeout(Duration::from_millis(step as u64), draft.commit()).await),
        }
        drop((draft, sink));
        let sink = place.open(TWO, &rows).await;
        for rows_max in [4_096, 70_000] {
            let batches = cut(std::slice::from_ref(&rows), rows_max);
            assert!(commit(&mut again(sink.as_ref(), 1, &batches).await).await.is_empty());
            assert_eq!(counts(&place), "70000\t70000\t0", "{step} {fault:?}");
        }
    }
}

/// Scenario: one of two tables is not there, and comes later; the same delivery is then made again.
/// Guarantees: the delivery waits and says for what; the other table has its rows meanwhile; in the end each row is there
/// once.
#[tokio::test]
async fn a_table_is_missing() {
    let place = Place::new();
    place.table_with(COLUMNS, "ORDER BY n");
    let rows = requests(0..700, &HOSTS);
    let sink = place.open(TWO, &rows).await;
    let mut draft = staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    for _ in 0..2 {
        let waiting = said(draft.commit().await).replace(&place.database, "database");
        expect![
            "retry: there is no table `database`.`other` (hint: make it, or let the sink make it: `create = true`)"
        ]
        .assert_eq(&waiting);
        assert_eq!(place.count(), "400\t400");
    }
    another_table(&place);
    assert!(commit(&mut draft).await.is_empty());
    assert_eq!(counts(&place), "700\t700\t0");
    commit(&mut again(sink.as_ref(), 1, &cut(std::slice::from_ref(&rows), 100)).await).await;
    assert_eq!(counts(&place), "700\t700\t0");
}

/// Scenario: both tables feed the same third one by views, and an answer of each is lost.
/// Guarantees: the third gets the rows of both, each once, though their INSERTs have the same rows' numbers in their names.
#[tokio::test]
async fn views_into_one_table() {
    let place = two_tables();
    let database = &place.database;
    place.query(&format!(
        "CREATE TABLE {database}.all (n Int64) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 100"
    ));
    for table in ["rows", "other"] {
        let view = format!("CREATE MATERIALIZED VIEW {database}.from_{table} TO {database}.all");
        place.query(&format!("{view} AS SELECT n FROM {database}.{table}"));
    }
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let rows = requests(0..200, &[Some("shop"), Some("blog")]);
    let sink = open(&place.config_at(&proxy.endpoint(), TWO), &rows).await;
    proxy.set_rules(vec![Rule::new(Fault::AnswerLost).path_contains("INSERT").times(2)]);
    assert!(commit(&mut staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await).await.is_empty());
    assert_eq!(proxy.faults(), 2);
    assert_eq!(place.query(&format!("SELECT count(), uniqExact(n) FROM {database}.all")), "200\t200");
    assert_eq!(counts(&place), "200\t200\t0");
}

/// Scenario: `create`, `columns`, `order_by` and `evolve` with several tables, two of which are not there.
/// Guarantees: each table is made, or gets the columns that it lacks.
#[tokio::test]
async fn tables_of_our_own() {
    let place = Place::new();
    place.query(
        "CREATE TABLE rows (n Int64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000",
    );
    let keys = "create = true\nevolve = 'add_columns'\norder_by = ['n']\npartition_by = ''\n\
                columns = { host = 'LowCardinality(String)' }\n\
                table = { by = 'host', tables = { shop = 'rows', blog = 'other' }, others = 'rest' }";
    let rows = requests(0..30, &[Some("shop"), Some("blog"), None]);
    let config = place.config(keys);
    let sink = config.open(rows.schema()).await.unwrap();
    assert!(deliver(sink.as_ref(), 1, &[rows]).await.is_empty());
    let here = format!("database = '{}' GROUP BY table ORDER BY table FORMAT TSVRaw", place.database);
    let types = place.server.query(&format!(
        "SELECT table, groupArray(concat(name, ' ', type)), groupArrayIf(name, is_in_sorting_key) FROM system.columns \
         WHERE {here}"
    ));
    expect![[r#"
        other	['n Int64','host LowCardinality(String)','_delivery LowCardinality(String)']	['n']
        rest	['n Int64','host LowCardinality(String)','_delivery LowCardinality(String)']	['n']
        rows	['n Int64','host LowCardinality(String)','_delivery LowCardinality(String)']	['n']"#]]
    .assert_eq(&types);
    let sums = ["rows", "other", "rest"].map(|it| format!("(SELECT count() FROM {}.{it})", place.database));
    assert_eq!(place.query(&format!("SELECT {}", sums.join(", "))), "10\t10\t10");
}

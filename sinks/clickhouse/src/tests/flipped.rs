//! What decides how an INSERT is carried out is changed between two tries of one delivery.

use arrow_array::RecordBatch;
use forebay_api::{Draft, SinkConfig};
use forebay_testkit::cut;
use forebay_testkit::services::{ClickHouse as Server, Fault, FaultProxy, Rule};

use super::once::{again, commit};
use super::{NUMBERS, Place, numbers, open, said, staged};

const WINDOW: &str = "ALTER TABLE rows MODIFY SETTING non_replicated_deduplication_window";

/// What was changed before the delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flip {
    /// The table remembers so many blocks, and then what it did before: what it has seen is forgotten, or not.
    Window(u32),
    /// Another setting of the table.
    Table(&'static str),
    /// Who inserts, and with him the profile.
    User(&'static str),
    /// A key of the file.
    Key(&'static str),
}

const FLIPS: [Flip; 10] = [
    Flip::Window(0),
    Flip::Window(1),
    Flip::Window(100_000),
    Flip::Table("ALTER TABLE rows MODIFY SETTING min_rows_for_wide_part = 1, parts_to_delay_insert = 100"),
    Flip::User(Server::CUTTER),
    Flip::User(Server::BOUND),
    Flip::User(Server::GRANTED),
    Flip::Key("compression = 'zstd'\ntimeout = '30s'\ncreate = true\nevolve = 'add_columns'"),
    Flip::Key("settings = { max_block_size = '100', insert_null_as_default = '0', optimize_on_insert = '0' }"),
    Flip::Key("omit = ['text']"),
];

/// How the first try ended.
fn losses() -> [Vec<Rule>; 3] {
    let insert = |fault| Rule::new(fault).path_contains("INSERT");
    [
        // All rows are there.
        vec![insert(Fault::AnswerLost).times(1)],
        vec![insert(Fault::TruncateRequest(3000)).times(1)],
        // Some of the halves are.
        vec![insert(Fault::AnswerLost).after(5)],
    ]
}

/// Scenario: a delivery, one row of which the table does not take, is tried, and its answer is lost, or that of one of the halves;
/// then the table, the profile of the user or the file says something else about INSERTs; then it is tried again in other
/// batches by the next process, or by the same one if it was the table.
/// Guarantees: where the promise cannot be kept any more, the sink does not begin, and says so; otherwise each row is there
/// once, and the one that is not taken is refused.
#[tokio::test]
async fn settings_change_between_two_tries() {
    let rows = numbers(0..3000);
    for flip in FLIPS {
        for (nth, loss) in losses().into_iter().enumerate() {
            for restarts in [true, false] {
                if restarts || matches!(flip, Flip::Window(_) | Flip::Table(_)) {
                    check(&rows, flip, loss.clone(), restarts, &format!("{flip:?}, loss {nth}, restarts: {restarts}"))
                        .await;
                }
            }
        }
    }
}

async fn check(rows: &RecordBatch, flip: Flip, loss: Vec<Rule>, restarts: bool, what: &str) {
    let place = Place::new();
    place.table_with(&format!("{NUMBERS}, CONSTRAINT odd CHECK n != 7"), "PARTITION BY n % 3 ORDER BY n");
    let proxy = FaultProxy::start(&place.server.endpoint(), vec![]);
    let sink = open(&place.config_at(&proxy.endpoint(), ""), rows).await;
    proxy.set_rules(loss);
    let mut draft = staged(sink.as_ref(), 1, &cut(std::slice::from_ref(rows), 70)).await;
    let lost = said(draft.commit().await);
    assert!(lost.starts_with("retry: inserting"), "{what}: {lost}");
    proxy.set_rules(vec![]);

    let mut keys = String::new();
    match flip {
        Flip::Window(blocks) => {
            place.query(&format!("{WINDOW} = {blocks}"));
            let opened = place.config("").open(rows.schema()).await;
            assert_eq!(opened.is_ok(), blocks >= 100, "{what}");
            if restarts {
                place.query(&format!("{WINDOW} = 1000"));
            }
        }
        Flip::Table(statement) => {
            place.query(statement);
        }
        Flip::User(user) => keys = format!("user = '{user}'\npassword = '{}'", Server::PASSWORD),
        Flip::Key(key) => keys = key.to_owned(),
    }
    if restarts {
        drop((draft, sink));
        if flip == Flip::User(Server::BOUND) {
            let error = place.config(&keys).open(rows.schema()).await.err().expect(what).to_string();
            assert!(error.starts_with("the user's profile fixes `insert_deduplicate` at 0"), "{error}");
            keys.clear();
        }
        let sink = place.open(&keys, rows).await;
        draft = again(sink.as_ref(), 1, &cut(std::slice::from_ref(rows), 900)).await;
    }
    done(draft, &place, what).await;
}

async fn done(mut draft: Box<dyn Draft>, place: &Place<'_>, what: &str) {
    let refused = commit(&mut draft).await;
    assert_eq!(refused.iter().map(|it| it.row).collect::<Vec<_>>(), [7], "{what}");
    assert_eq!(place.query("SELECT count(), uniqExact(n), min(n), max(n) FROM rows"), "2999\t2999\t0\t2999", "{what}");
}

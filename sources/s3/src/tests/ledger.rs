//! Which messages wait for what, without any server.

use std::time::Duration;

use forebay_api::Position;
use tokio::time::Instant;

use crate::object::Id;
use crate::queue::{Ledger, MessageId};

const HIDDEN: Duration = Duration::from_secs(60);

fn enter(ledger: &Ledger, message: &str, receipt: &str, open: usize) -> bool {
    ledger.enter(&message.into(), receipt.to_owned(), open, HIDDEN, Instant::now())
}

fn deleted(ledger: &Ledger) -> Vec<String> {
    ledger.take_deletes(10).into_iter().map(|(id, receipt)| format!("{id} {receipt}")).collect()
}

/// Scenario: messages about one and several objects, of which some are told of twice.
/// Guarantees: a message is deleted when the last of its objects is safe to its end, and not before.
#[test]
fn deleted_when_all_is_safe() {
    let ledger = Ledger::default();
    let ids = ["a", "b", "c"].map(Id::of);
    let [one, two, again] = ["one", "two", "again"].map(MessageId::from);
    assert!(enter(&ledger, "one", "r1", 1) && enter(&ledger, "two", "r2", 2) && enter(&ledger, "again", "r3", 1));
    for id in ids {
        ledger.begin(id, Position::Start);
    }
    ledger.attach(ids[0], &one, true);
    ledger.attach(ids[1], &two, true);
    ledger.attach(ids[2], &two, true);
    // Read to its end meanwhile, but not safe yet.
    ledger.attach(ids[1], &again, false);
    ledger.settled(ids[0], &Position::row(7));
    assert_eq!(deleted(&ledger), [""; 0]);
    ledger.settled(ids[1], &Position::End);
    assert_eq!(deleted(&ledger), ["again r3"]);
    ledger.settled(ids[0], &Position::End);
    ledger.settled(ids[2], &Position::End);
    assert_eq!(deleted(&ledger), ["one r1", "two r2"]);
    // They come again: nothing is open any more.
    assert!(enter(&ledger, "one", "r4", 1));
    ledger.attach(ids[0], &one, false);
    assert_eq!(deleted(&ledger), ["one r4"]);
    // About nothing.
    assert!(enter(&ledger, "test", "r5", 0));
    assert_eq!(deleted(&ledger), ["test r5"]);
    assert_eq!(ledger.held(), 0);
}

/// Scenario: an object can be read only in part; its rest is refused.
/// Guarantees: its message is deleted when both the rows and the refusal are safe, whichever comes first.
#[test]
fn deleted_when_rows_and_refusal_are_safe() {
    for refusal_first in [false, true] {
        let ledger = Ledger::default();
        let (object, refusal) = (Id::of("a"), Id::of("refusal"));
        enter(&ledger, "one", "r1", 1);
        ledger.begin(object, Position::row(3));
        ledger.attach(object, &"one".into(), true);
        ledger.end_early(object, Position::row(9), refusal);
        let settle = [(object, Position::row(9)), (refusal, Position::End)];
        let order = if refusal_first { [1, 0] } else { [0, 1] };
        for (nth, at) in order.into_iter().enumerate() {
            assert_eq!(deleted(&ledger), [""; 0]);
            ledger.settled(settle[at].0, &settle[at].1);
            assert_eq!(ledger.held(), 1, "{nth}");
        }
        assert_eq!(deleted(&ledger), ["one r1"]);
    }
    // All rows before the refusal were safe in an earlier life.
    let ledger = Ledger::default();
    enter(&ledger, "one", "r1", 1);
    ledger.begin(Id::of("a"), Position::row(9));
    ledger.attach(Id::of("a"), &"one".into(), true);
    ledger.end_early(Id::of("a"), Position::row(9), Id::of("refusal"));
    ledger.settled(Id::of("refusal"), &Position::End);
    assert_eq!(deleted(&ledger), ["one r1"]);
}

/// Scenario: time passes while messages are held; one is given out again, one reaches what SQS allows.
/// Guarantees: they are due at half of the time; a new receipt takes the place of the old one; nobody asks for more
/// than 12 hours.
#[test]
fn hidden_for_longer() {
    let ledger = Ledger::default();
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    ledger.enter(&"one".into(), "r1".to_owned(), 1, HIDDEN, start);
    let due = |seconds: u64| ledger.extensions(HIDDEN, at(seconds));
    assert_eq!(due(29), []);
    let extension = due(31).remove(0);
    assert_eq!((extension.receipt.as_str(), extension.hidden), ("r1", HIDDEN));
    ledger.extended(&extension, at(91));
    assert_eq!((due(60).len(), due(62).len()), (0, 1));
    // It comes again, and what is heard of the old receipt means nothing any more.
    assert!(!ledger.enter(&"one".into(), "r2".to_owned(), 1, HIDDEN, at(70)));
    ledger.lost(&extension);
    ledger.extended(&extension, at(9999));
    assert_eq!(due(101)[0].receipt, "r2");
    let last = 70 + 12 * 3600 - 60;
    ledger.extended(&due(101)[0], at(last - 10));
    assert_eq!(due(last - 20)[0].hidden, Duration::from_secs(20));
    ledger.extended(&due(last - 20)[0], at(last));
    assert_eq!((due(last - 10), due(last + 100)), (vec![], vec![]));
    assert_eq!(ledger.held(), 1);
}

/// Scenario: two messages tell of an object that is gone when its turn comes; a third one comes later.
/// Guarantees: none of them waits for it.
#[test]
fn nothing_waits_for_what_is_gone() {
    let ledger = Ledger::default();
    for message in ["one", "two", "three"] {
        enter(&ledger, message, "r", 1);
    }
    // The second one finds the object in line.
    ledger.attach(Id::of("a"), &"two".into(), true);
    ledger.let_go(Id::of("a"));
    ledger.resolve(&"one".into());
    ledger.attach(Id::of("a"), &"three".into(), false);
    assert_eq!(deleted(&ledger), ["two r", "one r", "three r"]);
}

/// Scenario: a source ends while it holds messages, of which one is in work.
/// Guarantees: the others are let go, and not kept hidden any longer.
#[test]
fn released_at_the_end() {
    let ledger = Ledger::default();
    for message in ["one", "two"] {
        enter(&ledger, message, message, 1);
    }
    ledger.attach(Id::of("a"), &"one".into(), true);
    ledger.release();
    assert_eq!(ledger.take_releases(10), ["two"]);
    let due = ledger.extensions(HIDDEN, Instant::now() + HIDDEN);
    assert_eq!(due.iter().map(|it| it.receipt.as_str()).collect::<Vec<_>>(), ["one"]);
}

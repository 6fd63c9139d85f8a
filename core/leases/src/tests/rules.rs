//! Situations, and what is done about them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use forebay_aws::Aws;

use super::{lease, set, shards};
use crate::checkpoint::{Begin, Checkpoint, RowsAre};
use crate::decide::{Action, Worker, decide};
use crate::lease::Lease;
use crate::lease_state::{LeaseState, known};
use crate::lineage::{Change, changes, is_new};
use crate::seen::Seen;
use crate::{Leases, worker_id};

/// What `me` does at 1000 seconds about leases that last 10. A line of `leases`: `bob/3 5 | 12`, with the shards and the
/// seconds for which its counter has stood still; those that `me` holds have a star before them.
fn decided(leases: &str, leases_max: usize, steal_max: usize) -> String {
    let now = Duration::from_secs(1000);
    let mut held = BTreeSet::new();
    let mut rows: Vec<(Duration, Lease)> = Vec::new();
    for line in leases.split("; ") {
        let (text, still) = line.split_once(" | ").unwrap_or((line, "1"));
        let row = lease(text.trim_start_matches('*'));
        if text.starts_with('*') {
            held.insert(row.key.clone());
        }
        rows.push((now - Duration::from_secs_f64(still.parse().unwrap()), row));
    }
    rows.sort_by_key(|it| it.0);
    let mut seen = Seen::new(now, Duration::ZERO);
    for (nth, (since, _)) in rows.iter().enumerate() {
        seen.note(rows[..=nth].iter().map(|it| it.1.clone()).collect(), *since);
    }
    seen.note(rows.into_iter().map(|it| it.1).collect(), now);
    let me = Worker { id: "me".into(), duration: Duration::from_secs(10), leases_max, steal_max };
    let told = |action| match action {
        Action::Take(key) => format!("take {key}"),
        Action::Request(key) => format!("ask for {key}"),
    };
    let mut told: Vec<String> = decide(&me, &seen, &held).into_iter().map(told).collect();
    told.sort();
    if told.is_empty() { "-".into() } else { told.join(", ") }
}

/// Scenario: what a worker may see in the table when it looks.
/// Guarantees: free leases and those of silent holders are taken, up to a fair share, and beyond it when nobody takes them;
/// who has too many is asked, each time by one; those that are handed over are taken; finished and early shards are let be.
#[test]
fn decisions() {
    const ALL: usize = usize::MAX;
    let situations: [(&str, &str, usize, usize); 29] = [
        ("alone", "a: -/0 5; b: -/0 5; c: -/0 5", ALL, 2),
        ("alone, with a limit", "a: -/0 5; b: -/0 5; c: -/0 5", 2, 2),
        ("what is held is not taken again", "*a: me/1 5; b: -/0 5", ALL, 2),
        ("what is not yet let go of is not taken", "*a: -/2 5", ALL, 2),
        ("half is there for the taking", "a: bob/1 5; b: bob/1 5; c: -/0 5; d: -/0 5", ALL, 2),
        ("the holder may be at work still", "a: bob/1 5 | 9.9", ALL, 2),
        ("the holder is silent", "a: bob/1 5 | 10; b: bob/1 5 | 10", ALL, 2),
        ("one of two holders is silent", "a: bob/1 5 | 10; b: bob/1 5 | 10; c: eve/1 5; d: eve/1 5", ALL, 2),
        ("one has all", "a: bob/1 5; b: bob/1 5; c: bob/1 5; d: bob/1 5; e: bob/1 5; f: bob/1 5", ALL, 2),
        ("one at a time", "a: bob/1 5; b: bob/1 5; c: bob/1 5; d: bob/1 5; e: bob/1 5; f: bob/1 5", ALL, 1),
        ("no room for more", "a: bob/1 5; b: bob/1 5; c: bob/1 5; *d: me/1 5", 1, 2),
        (
            "two are asked for already",
            "a: bob>me/1 5; b: bob>me/1 5; c: bob/1 5; d: bob/1 5; e: bob/1 5; f: bob/1 5",
            ALL,
            2,
        ),
        ("even", "a: bob/1 5; b: bob/1 5; *c: me/1 5; *d: me/1 5", ALL, 2),
        ("as even as can be", "a: bob/1 5; b: bob/1 5; *c: me/1 5", ALL, 2),
        ("as even as can be, the other way round", "a: bob/1 5; *b: me/1 5; *c: me/1 5", ALL, 2),
        ("another one asks too", "a: bob>eve/1 5; b: bob/1 5; c: bob/1 5; d: bob/1 5; e: bob/1 5; f: bob/1 5", ALL, 2),
        ("nobody is asked while some are free", "a: bob/1 5; b: bob/1 5; c: bob/1 5; d: bob/1 5; e: -/0 5", ALL, 2),
        ("asked for and not handed over", "a: bob>me/1 5; b: bob/1 5", ALL, 2),
        ("handed over", "a: me/2 5; b: bob/1 5", ALL, 2),
        ("asked for, and the holder is silent", "a: bob>me/1 5 | 10; b: bob/1 5", ALL, 2),
        ("asked for by another, and all are silent", "a: bob>eve/1 5 | 10", ALL, 2),
        ("handed to one who does not take it", "a: eve/2 5 | 10", ALL, 2),
        ("finished", "a: bob/1 SHARD_END | 99; b: -/1 SHARD_END", ALL, 2),
        ("parents first", "a: bob/1 5; b <- a: -/0 TRIM_HORIZON; c <- b: -/0 TRIM_HORIZON", ALL, 2),
        ("after its parents", "a: bob/1 SHARD_END; c <- a b: -/0 TRIM_HORIZON; d <- gone: -/0 TRIM_HORIZON", ALL, 2),
        ("free, but others have fewer", "a: bob/1 5; *b: me/1 5; *c: me/1 5; d: -/0 5 | 9.9", ALL, 2),
        ("free for long: others have no room", "a: bob/1 5; *b: me/1 5; *c: me/1 5; d: -/0 5 | 10", ALL, 2),
        ("free, but who died has asked for one", "a: bob>eve/1 5; *b: me/1 5; c: eve/1 5 | 19.9", ALL, 2),
        ("free for long, and who died has asked for one", "a: bob>eve/1 5; *b: me/1 5; c: eve/1 5 | 20", ALL, 2),
    ];
    let mut told = String::new();
    for (what, leases, leases_max, steal_max) in situations {
        writeln!(told, "{what}: {}", decided(leases, leases_max, steal_max)).unwrap();
    }
    expect![[r#"
        alone: take a, take b, take c
        alone, with a limit: take b, take c
        what is held is not taken again: take b
        what is not yet let go of is not taken: -
        half is there for the taking: take c, take d
        the holder may be at work still: -
        the holder is silent: take a, take b
        one of two holders is silent: take a, take b
        one has all: ask for a, ask for b
        one at a time: ask for a
        no room for more: -
        two are asked for already: -
        even: -
        as even as can be: -
        as even as can be, the other way round: -
        another one asks too: ask for c, ask for d
        nobody is asked while some are free: take e
        asked for and not handed over: -
        handed over: take a
        asked for, and the holder is silent: take a
        asked for by another, and all are silent: take a
        handed to one who does not take it: take a
        finished: -
        parents first: -
        after its parents: take c, take d
        free, but others have fewer: -
        free for long: others have no room: take d
        free, but who died has asked for one: -
        free for long, and who died has asked for one: take c
    "#]]
    .assert_eq(&told);
}

/// Scenario: a lease whose counter stands still, before eyes that look every second; that are closed for an hour; whose clock
/// goes back by an hour; and one whose counter moves meanwhile.
/// Guarantees: only the time that was spent looking counts, and it never falls.
#[test]
fn time_counts_where_somebody_looks() {
    let second = Duration::from_secs(1);
    let mut seen = Seen::new(second * 2, second * 5000);
    let mut still_for = |row: &str, clock: u32| {
        seen.note(vec![lease(row)], second * clock);
        seen.still_for("a").as_secs()
    };
    assert_eq!([5000, 5001, 5002].map(|it| still_for("a: bob/1 5", it)), [0, 1, 2]);
    assert_eq!([8602, 8603].map(|it| still_for("a: bob/1 5", it)), [4, 5]);
    assert_eq!([5003, 5004].map(|it| still_for("a: bob/1 5", it)), [5, 6]);
    assert_eq!([8604, 8605].map(|it| still_for("a: bob/2 5", it)), [0, 1]);
}

/// The shards to begin with, and how.
type First<'a> = Option<(&'a str, Begin)>;

fn changed(listed: &str, leases: &str, first: First<'_>) -> String {
    let leases: Vec<Lease> = leases.split("; ").filter(|it| !it.is_empty()).map(lease).collect();
    let first = first.map(|(ids, begin)| (set(ids), begin));
    assert_eq!(is_new(None, &leases), first.is_some());
    let first = first.as_ref().map(|(ids, begin)| (ids, *begin));
    let told = changes(None, &shards(listed), &leases, first).into_iter().map(|change| match change {
        Change::Create(it) => format!("add {} at {}", it.key, it.checkpoint),
        Change::Children { key, children } => {
            format!("{key} became {}", children.into_iter().collect::<Vec<_>>().join(" "))
        }
        Change::Delete { key } => format!("remove {key}"),
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "-".into() } else { told.join(", ") }
}

/// Scenario: shards that are listed, and the leases that there are.
/// Guarantees: a new stream gets the leases to begin with; children get theirs when their parents are done with, and begin
/// at their first record; leases go, the oldest first, when all of their children are begun.
#[test]
fn families() {
    use Begin::{Latest, TrimHorizon};
    let begun = "x: bob/1 5";
    let situations: [(&str, &str, &str, First<'_>); 20] = [
        ("a new stream", "a; b", "", Some(("a b", TrimHorizon))),
        ("a new stream, after a split, from now on", "a; b <- a; c <- a", "", Some(("b c", Latest))),
        ("a new stream, after a split, from its first record on", "a; b <- a; c <- a", "", Some(("a", TrimHorizon))),
        ("a new stream, half of it there", "a; b", "a: -/0 LATEST", Some(("a b", Latest))),
        ("all is there", "a; b", "a: bob/1 5; b: -/0 TRIM_HORIZON", None),
        ("an unknown shard without parents", "x; a", begun, None),
        ("parents that nobody can read any more", "x; b <- a", begun, None),
        ("the parent is being read", "a; b <- a; c <- a", "a: bob/1 5", None),
        ("the parent is done with", "a; b <- a; c <- a", "a: bob/1 SHARD_END", None),
        ("one of two parents is done with", "a; b; c <- a b", "a: bob/1 SHARD_END; b: bob/1 5", None),
        ("both parents are done with", "a; b; c <- a b", "a: bob/1 SHARD_END; b: eve/1 SHARD_END", None),
        ("one parent is done with, the other is to come", "a; b; c <- a b; x", "a: bob/1 SHARD_END; x: bob/1 5", None),
        ("two generations at once", "a; b <- a; c <- b", "a: bob/1 SHARD_END", None),
        ("the children are there", "a; b <- a", "a: bob/1 SHARD_END; b <- a: -/0 TRIM_HORIZON", None),
        (
            "a child is begun",
            "a; b <- a; c <- a",
            "a: bob/1 SHARD_END; b <- a: bob/1 5; c <- a: -/0 TRIM_HORIZON",
            None,
        ),
        ("all children are begun", "a; b <- a", "a: bob/1 SHARD_END; b <- a: bob/1 5", None),
        (
            "the grandparent goes first",
            "b <- a; c <- b",
            "a: -/1 SHARD_END; b <- a: -/1 SHARD_END; c <- b: bob/1 5",
            None,
        ),
        ("the parent was removed", "a; b <- a; c <- b", "b <- a: -/1 SHARD_END; c <- b: bob/1 5", None),
        ("done with, and its children are not known yet", "a; x", "a: -/1 SHARD_END; x: bob/1 5", None),
        ("done with, and not listed any more", "x", "a: -/1 SHARD_END; x: bob/1 5", None),
    ];
    let mut told = String::new();
    for (what, listed, leases, first) in situations {
        writeln!(told, "{what}: {}", changed(listed, leases, first)).unwrap();
    }
    expect![[r#"
        a new stream: add a at TRIM_HORIZON, add b at TRIM_HORIZON
        a new stream, after a split, from now on: add b at LATEST, add c at LATEST
        a new stream, after a split, from its first record on: add a at TRIM_HORIZON
        a new stream, half of it there: add b at LATEST
        all is there: -
        an unknown shard without parents: add a at TRIM_HORIZON
        parents that nobody can read any more: add b at TRIM_HORIZON
        the parent is being read: -
        the parent is done with: add b at TRIM_HORIZON, add c at TRIM_HORIZON, a became b c
        one of two parents is done with: a became c
        both parents are done with: add c at TRIM_HORIZON, a became c, b became c
        one parent is done with, the other is to come: add b at TRIM_HORIZON, a became c
        two generations at once: add b at TRIM_HORIZON, a became b
        the children are there: a became b
        a child is begun: a became b c
        all children are begun: remove a
        the grandparent goes first: remove a, b became c
        the parent was removed: remove b
        done with, and its children are not known yet: -
        done with, and not listed any more: remove a
    "#]]
    .assert_eq(&told);
}

/// Scenario: checkpoints as the Kinesis Client Library writes them, and positions that follow.
/// Guarantees: what is done by its words is done by ours; what is not, is not done by its words either.
#[test]
fn checkpoints() {
    let mut told = String::new();
    writeln!(told, "checkpoint -> position, where rows are user records | where they are parts of them").unwrap();
    for (text, sub) in [
        ("TRIM_HORIZON", 0),
        ("LATEST", 0),
        ("AT_TIMESTAMP", 0),
        ("SHARD_END", 0),
        ("495903338120", 0),
        ("495903338120", 7),
        ("495903338120", i64::MAX as u64),
    ] {
        let checkpoint = Checkpoint::parse(text, Some(sub)).unwrap();
        assert_eq!((checkpoint.to_string().as_str(), checkpoint.sub()), (text, sub));
        let position = |rows| checkpoint.position(rows).map_or("-".to_owned(), |it| it.to_string());
        let (records, parts) = (position(RowsAre::UserRecords), position(RowsAre::PartsOfThem));
        writeln!(told, "{text} {sub} -> {records} | {parts}").unwrap();
    }
    assert_eq!([Checkpoint::parse("", None), Checkpoint::parse("trim_horizon", None)], [None, None]);

    writeln!(told, "checkpoint, before, committed -> checkpoint after, as above").unwrap();
    for (text, before, committed) in [
        ("TRIM_HORIZON", None, "9:0"),
        ("LATEST", None, "0:1795300000000"),
        ("TRIM_HORIZON", None, "9:1"),
        ("TRIM_HORIZON", Some("8:3"), "9:2"),
        ("TRIM_HORIZON", Some("8:0"), "9:2"),
        ("9", Some("9:1"), "9:4"),
        ("9", Some("8:3"), "8:5"),
        ("9", Some("9:1"), "end"),
        ("9", Some("9:1"), "start"),
    ] {
        let checkpoint = Checkpoint::parse(text, None).unwrap();
        let (before_at, at) = (before.map(|it| it.parse().unwrap()), committed.parse().unwrap());
        let after = |rows| {
            let after = checkpoint.after(before_at.as_ref(), &at, rows);
            let sub = if after.sub() == i64::MAX as u64 { "all".into() } else { after.sub().to_string() };
            format!("{after} {sub}")
        };
        let (records, parts) = (after(RowsAre::UserRecords), after(RowsAre::PartsOfThem));
        writeln!(told, "{text}, {}, {committed} -> {records} | {parts}", before.unwrap_or("-")).unwrap();
    }
    expect![[r#"
        checkpoint -> position, where rows are user records | where they are parts of them
        TRIM_HORIZON 0 -> - | -
        LATEST 0 -> - | -
        AT_TIMESTAMP 0 -> - | -
        SHARD_END 0 -> end | end
        495903338120 0 -> 495903338120:1 | 495903338120:0
        495903338120 7 -> 495903338120:8 | 495903338120:0
        495903338120 9223372036854775807 -> 495903338120:18446744073709551615 | 495903338120:18446744073709551615
        checkpoint, before, committed -> checkpoint after, as above
        TRIM_HORIZON, -, 9:0 -> TRIM_HORIZON 0 | TRIM_HORIZON 0
        LATEST, -, 0:1795300000000 -> LATEST 0 | LATEST 0
        TRIM_HORIZON, -, 9:1 -> 9 0 | TRIM_HORIZON 0
        TRIM_HORIZON, 8:3, 9:2 -> 9 1 | 8 all
        TRIM_HORIZON, 8:0, 9:2 -> 9 1 | TRIM_HORIZON 0
        9, 9:1, 9:4 -> 9 3 | 9 0
        9, 8:3, 8:5 -> 9 0 | 9 0
        9, 9:1, end -> SHARD_END 0 | SHARD_END 0
        9, 9:1, start -> 9 0 | 9 0
    "#]]
    .assert_eq(&told);
}

/// Scenario: our attribute is written and read, with a checkpoint that was or was not moved by another program since; bytes
/// that are not ours.
/// Guarantees: it comes back whole; it counts only if the checkpoint is the one that was written with it.
#[test]
fn our_attribute() {
    let at = |text: &str, sub| Checkpoint::parse(text, Some(sub)).unwrap();
    let state = b"any\nbytes\0\xff\n".to_vec();
    let ours = LeaseState {
        partition: "cdn/a".into(),
        checkpoint: at("9", 2),
        committed: "9:3".parse().unwrap(),
        state: state.clone(),
    };
    let bytes = ours.encode();
    assert_eq!(LeaseState::decode(&bytes), Some(ours.clone()));
    for odd in
        [&b"forebay 2\na\n9\n0\n9:1\n"[..], b"forebay 1\na\n9\n", b"forebay 1\na\nnine\n0\n9:1\n", b"", b"\xff\n"]
    {
        assert_eq!(LeaseState::decode(odd), None);
    }
    let found = |checkpoint: &Checkpoint, ours| {
        let kept = known(checkpoint, ours, RowsAre::UserRecords);
        (kept.state, kept.committed.map(|it| it.to_string()))
    };
    assert_eq!(found(&at("9", 2), Some(&ours)), (Some(state), Some("9:3".into())));
    assert_eq!(found(&at("9", 3), Some(&ours)), (None, Some("9:4".into())));
    assert_eq!(found(&at("12", 0), Some(&ours)), (None, Some("12:1".into())));
    assert_eq!(found(&at("LATEST", 0), None), (None, None));
}

fn checked(text: &str, expect: Expect) {
    let told = match toml::from_str::<Leases>(text) {
        Ok(leases) => match leases.check() {
            Ok(()) => format!("{leases:?}"),
            Err(wrong) => format!("{}: {}; {}", wrong.key, wrong.what, wrong.hint.unwrap_or_default()),
        },
        Err(error) => error.message().to_owned(),
    };
    expect.assert_eq(&told);
}

/// Scenario: the table of a source's `leases`, right and wrong; names of processes.
/// Guarantees: defaults are those that are documented; what cannot be is named with its key; no two names are the same.
#[test]
fn configuration() {
    checked(
        "table = 'cdn'",
        expect![[
            r#"Leases { table: "cdn", duration: 10s, leases_max: None, steal_max: 2, hand_over_max: 30s, aws: None }"#
        ]],
    );
    checked(
        "table = 'cdn'\nduration = '1s'",
        expect!["leases.duration: a lease cannot last `1s`; write a time from `2s` to `10m`"],
    );
    checked(
        "table = 'cdn/live'",
        expect![
            "leases.table: `cdn/live` cannot be the name of a table; write 3 to 255 of the characters A-Z a-z 0-9 _ . -"
        ],
    );
    checked(
        "table = 'ab'",
        expect!["leases.table: `ab` cannot be the name of a table; write 3 to 255 of the characters A-Z a-z 0-9 _ . -"],
    );
    checked("table = 'cdn'\nsteal_max = 0", expect!["invalid value: integer `0`, expected a nonzero usize"]);
    checked(
        "table = 'cdn'\naws = { endpoint = 'here' }",
        expect![[
            r#"leases.aws.endpoint: `endpoint` is not the URL of a server: it has no `http://` or `https://`; write scheme, host and port, such as "http://127.0.0.1:9000""#
        ]],
    );
    let told: Leases = toml::from_str("table = 'cdn'").unwrap();
    assert_eq!(told, Leases::new("cdn"));
    assert_eq!(Leases::new("cdn").aws, None::<Aws>);
    let (one, other) = (worker_id(), worker_id());
    assert_ne!(one, other);
    assert!(one.split_once(':').is_some_and(|(host, random)| !host.is_empty() && random.len() == 16), "{one}");
}

//! What is decided without asking anybody: the pace, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::{Expect, expect};
use forebay_api::{Position, Stats};
use tokio::time::Instant;

use crate::clock::{Answered, Moment};
use crate::family::Family;
use crate::lag::Lag;
use crate::pace::{INTERVAL, Pace};
use crate::record::{ALL_HASH_KEYS, Found};
use crate::start::{Place, Start};
use crate::turns::Turns;

/// Each line is an answer, as records and bytes, or `refused`.
fn check_pace(answers: &str, expected: Expect) {
    let mut pace = Pace::new(10_000, INTERVAL);
    let mut text = String::new();
    for line in answers.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let wait = match line.split_once(' ') {
            Some((records, bytes)) => pace.answered(records.parse().unwrap(), bytes.parse().unwrap()),
            None => pace.throttled(0.5),
        };
        text += &format!("{line:<15} -> {:>4} ms, then up to {} records\n", wait.as_millis(), pace.records());
    }
    expected.assert_eq(&text);
}

/// Scenario: a shard that is quiet, busy, far behind, with small and with large records, and one that others read too.
/// Guarantees: never more than five calls a second; after much data a pause for as long as the shard takes to give it;
/// answers of about 2 MiB; after being refused fewer calls, and slowly as many as before.
#[test]
fn pace() {
    check_pace(
        "
        0 0
        10 7000
        10000 7000000
        3000 2097152
        10 10485760
        3 3145728
        0 0
        ",
        expect![[r#"
            0 0             ->  205 ms, then up to 100 records
            10 7000         ->  205 ms, then up to 2995 records
            10000 7000000   -> 3337 ms, then up to 2995 records
            3000 2097152    -> 1000 ms, then up to 3000 records
            10 10485760     -> 5000 ms, then up to 7 records
            3 3145728       -> 1500 ms, then up to 4 records
            0 0             ->  205 ms, then up to 4 records
        "#]],
    );
    check_pace(
        "refused\n refused\n refused\n refused\n refused\n refused\n refused\n 0 0\n 0 0\n 0 0\n 0 0\n",
        expect![[r#"
            refused         ->  461 ms, then up to 100 records
            refused         ->  691 ms, then up to 100 records
            refused         -> 1037 ms, then up to 100 records
            refused         -> 1556 ms, then up to 100 records
            refused         -> 2335 ms, then up to 100 records
            refused         -> 3000 ms, then up to 100 records
            refused         -> 3000 ms, then up to 100 records
            0 0             -> 2000 ms, then up to 100 records
            0 0             -> 1750 ms, then up to 100 records
            0 0             -> 1531 ms, then up to 100 records
            0 0             -> 1339 ms, then up to 100 records
        "#]],
    );
}

/// Scenario: four shards that are begun together and asked again and again; then the process stands still for half a second,
/// and all of them are late; then one has ended.
/// Guarantees: they are asked one after the other, spread over the interval, and after the pause soon are again; nobody waits
/// who is apart from the others.
#[test]
fn turns() {
    let (turns, begun) = (Turns::default(), Instant::now());
    let mut askers: Vec<_> = (0..4).map(|_| (turns.join(), begun)).collect();
    let mut text = String::new();
    for round in 0..6 {
        match round {
            2 => askers.iter_mut().for_each(|it| it.1 = begun + Duration::from_secs(1)),
            4 => drop(askers.remove(1)),
            _ => {}
        }
        askers.sort_by_key(|it| it.1);
        text += &format!("round {round}:");
        for (asker, due) in &mut askers {
            let asked = asker.turn(*due, INTERVAL);
            text += &format!(" {:>4}", (asked - begun).as_millis());
            *due = asked + INTERVAL;
        }
        text.push('\n');
    }
    expect![[r#"
        round 0:    0   38   76  115
        round 1:  205  243  281  320
        round 2: 1000 1038 1076 1115
        round 3: 1205 1243 1281 1320
        round 4: 1410 1486 1538
        round 5: 1615 1691 1743
    "#]]
    .assert_eq(&text);
}

/// `child<parent+parent`, perhaps with a `.` behind it: it is closed.
fn found(text: &str) -> Found {
    let (text, is_open) = text.strip_suffix('.').map_or((text, true), |it| (it, false));
    let (id, parents) = text.split_once('<').unwrap_or((text, ""));
    let parents = parents.split('+').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Found { id: id.to_owned(), parents, hash_keys: ALL_HASH_KEYS, is_open }
}

/// Each line is something that happens: `page`, `all` (which is a page and then the end of the listing), `end` with
/// children, `caught-up`. Then it is written who begins.
fn check_family(after: &[(&str, &str)], first: Option<&str>, events: &str, expected: Expect) {
    let after: BTreeMap<String, Position> =
        after.iter().map(|(shard, position)| ((*shard).to_owned(), position.parse().unwrap())).collect();
    let mut family = Family::new(after, first.map(|it| it.parse().unwrap()));
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for line in events.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let (what, shards) = line.split_once(' ').unwrap_or((line, ""));
        let mut shards: Vec<Found> = shards.split_whitespace().map(found).collect();
        let mut said = Vec::new();
        match what {
            "page" | "all" => {
                seen.extend(shards.iter().map(|it| it.id.clone()));
                said.extend(family.learn(shards).iter().map(|it| format!("{it} is odd")));
                if what == "all" {
                    let places = family.listed(&std::mem::take(&mut seen));
                    said.extend(places.iter().map(|(shard, place)| format!("{shard} at {place}")));
                }
            }
            "end" => {
                let shard = shards.remove(0);
                family.ended(&shard.id, shards);
            }
            _ => family.caught_up(&shards[0].id),
        }
        said.extend(family.begin().iter().map(|it| format!("begin {} after {}", it.shard.id, it.from)));
        if family.lacks_shards() {
            said.push("lacks shards".into());
        }
        if family.is_through() {
            said.push("through".into());
        }
        text += &format!("{line:<20} -> {}\n", said.join(", "));
    }
    expected.assert_eq(&text);
}

/// Scenario: shards that split and merge while they are read, found by listing or told by their parents, in every order;
/// pages that come one by one; one that is told by one of its parents before the other one is known.
/// Guarantees: a shard is begun once, when all its parents were read or have expired; an unknown parent counts as one that is
/// still to come, until all are listed.
#[test]
fn parents_before_children() {
    check_family(
        &[],
        None,
        "all a b\n end a c<a d<a\n end c e<c+b\n end b\n all a b c<a d<a e<c+b\n end d\n",
        expect![[r#"
            all a b              -> begin a after start, begin b after start
            end a c<a d<a        -> begin c after start, begin d after start
            end c e<c+b          -> 
            end b                -> begin e after start, lacks shards
            all a b c<a d<a e<c+b -> 
            end d                -> lacks shards
        "#]],
    );
    check_family(
        &[],
        None,
        "page b<a c\n page a\n all\n end a\n all b<a a. c\n end b\n end c",
        expect![[r#"
            page b<a c           -> begin c after start, lacks shards
            page a               -> begin a after start
            all                  -> 
            end a                -> begin b after start, lacks shards
            all b<a a. c         -> 
            end b                -> lacks shards
            end c                -> lacks shards
        "#]],
    );
    check_family(
        &[],
        None,
        "page b<x\n all a\n end b\n all\n all c<b\n",
        expect![[r#"
            page b<x             -> lacks shards
            all a                -> begin a after start, begin b after start
            end b                -> lacks shards
            all                  -> lacks shards
            all c<b              -> begin c after start
        "#]],
    );
    check_family(
        &[],
        None,
        "all a b\n end a m<a\n end m e<m+n\n all a b m<a n<b e<m+n\n end b n<b\n end n e<m+n\n",
        expect![[r#"
            all a b              -> begin a after start, begin b after start
            end a m<a            -> begin m after start
            end m e<m+n          -> lacks shards
            all a b m<a n<b e<m+n -> 
            end b n<b            -> begin n after start
            end n e<m+n          -> begin e after start
        "#]],
    );
    check_family(
        &[],
        None,
        "all a\n caught-up a\n all a b<a c<a\n",
        expect![[r#"
        all a                -> begin a after start
        caught-up a          -> through
        all a b<a c<a        -> through
    "#]],
    );
}

/// Scenario: the same after a restart, with shards that had ended, that had been begun, that have expired, that are new;
/// and one that had ended but is open, because the stream was made anew.
/// Guarantees: each goes on where it was; what is new begins at its start; what has expired is looked at once more.
#[test]
fn another_life() {
    check_family(
        &[("a", "end"), ("b", "7:1"), ("x", "5:2"), ("y", "end")],
        Some("0:1700000000000"),
        "all a. b<a c<a d<b\n end b\n end x\n all a. b<a. c<a d<b\n",
        expect![[r#"
            all a. b<a c<a d<b   -> begin b after 7:1, begin c after start, begin x after 5:2
            end b                -> begin d after start, lacks shards
            end x                -> lacks shards
            all a. b<a. c<a d<b  -> lacks shards
        "#]],
    );
    check_family(
        &[("a", "end")],
        None,
        "all a\n",
        expect![[r#"
        all a                -> a is odd, through
    "#]],
    );
    check_family(
        &[("a", "start")],
        Some("0:1700000000000"),
        "all a b\n",
        expect![[r#"
        all a b              -> begin a after start, begin b after start
    "#]],
    );
}

/// Scenario: the first start ever, at a point in time; the same once more when it was cut short, with one of three shards at
/// its place.
/// Guarantees: nothing is begun before all shards are known; then all of them begin there, those that wait for their
/// parents too; shards that are made later begin at their start. What was cut short is brought to its end.
#[test]
fn the_first_start() {
    check_family(
        &[],
        Some("0:1700000000000"),
        "page a b<a\n all c\n end a\n end c d<c\n",
        expect![[r#"
        page a b<a           -> 
        all c                -> a at 0:1700000000000, b at 0:1700000000000, c at 0:1700000000000, begin a after 0:1700000000000, begin c after 0:1700000000000
        end a                -> begin b after 0:1700000000000, lacks shards
        end c d<c            -> begin d after start, lacks shards
    "#]],
    );
    check_family(
        &[("a", "0:1600000000000")],
        Some("0:1700000000000"),
        "page a b<a\n all c\n end a\n end c d<c\n",
        expect![[r#"
            page a b<a           -> 
            all c                -> b at 0:1600000000000, c at 0:1600000000000, begin a after 0:1600000000000, begin c after 0:1600000000000
            end a                -> begin b after 0:1600000000000, lacks shards
            end c d<c            -> begin d after start, lacks shards
        "#]],
    );
    check_family(
        &[("a", "0:1600000000000"), ("c", "7:1")],
        Some("0:1700000000000"),
        "all a b<a c\n",
        expect![[r#"
        all a b<a c          -> begin a after 0:1600000000000, begin c after 7:1
    "#]],
    );
}

/// Scenario: positions of every kind, and starts.
/// Guarantees: what is asked for after each.
#[test]
fn positions() {
    let place = |it: &str| format!("{:?}", Place::after(&it.parse().unwrap(), Start::Latest));
    let places = ["start", "0:1700000000000", "4959:0", "4959:3", "end"].map(place).join("\n");
    expect![[r#"
        Some(TrimHorizon)
        Some(Time(1700000000000))
        Some(Record(Sequence("4959")))
        Some(Record(Sequence("4959")))
        None"#]]
    .assert_eq(&places);
    let starts = ["trim_horizon", "latest", "2026-11-21T22:04:00.5Z", "1969-01-01T00:00:00Z"].map(|it| {
        let now = std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        match Start::try_from(it.to_owned()) {
            Ok(start) => format!("{it}: {:?} {:?}", start.place(), start.position(now)),
            Err(why) => why,
        }
    });
    expect![[r#"
        trim_horizon: TrimHorizon None
        latest: TrimHorizon Some(0:1700000000123)
        2026-11-21T22:04:00.5Z: Time(1795298640500) None
        `1969-01-01T00:00:00Z` is no start: write "trim_horizon", "latest", or a time, such as "2026-11-21T22:04:00Z""#]].assert_eq(&starts.join("\n"));
}

/// Scenario: a source is opened, and the service is asked two seconds later what time it is, which takes half a second; the
/// clock of this machine is right, or wrong by a little or by much.
/// Guarantees: a clock that may be right is believed. Otherwise the stream is begun at most a second and the time of the call
/// earlier than it was at the service, and never later.
#[test]
fn clocks() {
    let opened = Instant::now();
    let asked = opened + Duration::from_secs(2);
    let came = asked + Duration::from_millis(500);
    let noon = std::time::UNIX_EPOCH + Duration::from_secs(1_795_262_400);
    let mut text = String::new();
    for off_millis in [-86_400_000_i64, -1000, -300, 0, 300, 700, 1000, 86_400_000] {
        // It was answered in the middle of the call, in the middle of a second.
        let at_service = noon + Duration::from_millis(500) - Duration::from_millis(2250);
        let wall = match off_millis {
            0.. => at_service + Duration::from_millis(off_millis as u64),
            _ => at_service - Duration::from_millis(off_millis.unsigned_abs()),
        };
        let begun = Moment { wall, instant: opened }.by(Answered { date: noon, asked, came });
        let what = if begun == wall { "believed" } else { "not believed" };
        let apart = match begun.duration_since(at_service) {
            Ok(later) => format!("{later:?} later"),
            Err(earlier) => format!("{:?} earlier", earlier.duration()),
        };
        text += &format!("{off_millis} ms off: {what}, begins {apart}\n");
    }
    expect![[r#"
        -86400000 ms off: not believed, begins 750ms earlier
        -1000 ms off: not believed, begins 750ms earlier
        -300 ms off: believed, begins 300ms earlier
        0 ms off: believed, begins 0ns later
        300 ms off: believed, begins 300ms later
        700 ms off: believed, begins 700ms later
        1000 ms off: not believed, begins 750ms earlier
        86400000 ms off: not believed, begins 750ms earlier
    "#]]
    .assert_eq(&text);
}

/// Scenario: the service says of three shards how far they are behind, then nothing any more; they are given up one by one.
/// Guarantees: what is not read gets older; silence counts only when it is longer than any pause may be; nothing is said of no
/// shard.
#[tokio::test(start_paused = true)]
async fn lag() {
    let lag = Lag::default();
    let seconds = || lag.behind().map(|it| it.as_secs());
    assert_eq!(seconds(), None);
    let shards = ["a", "b", "c"].map(|it| lag.begin(&it.into()));
    assert_eq!(seconds(), Some(0));
    shards[0].note(Some(100_000));
    shards[1].note(Some(7000));
    shards[1].note(None);
    assert_eq!(seconds(), Some(100));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(seconds(), Some(130));
    let [a, b, c] = shards;
    drop(a);
    assert_eq!(seconds(), Some(37));
    drop(b);
    assert_eq!(seconds(), Some(0));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(seconds(), Some(60));
    c.note(Some(0));
    assert_eq!(seconds(), Some(0));
    drop(c);
    assert_eq!(seconds(), None);
}

//! What the engine sees of leases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use forebay_api::{ClaimError, Claims, Kept, Position, Resume};
use forebay_testkit::services::{Fault, FaultProxy, Rule};
use tokio::time::Instant;

use super::{PATIENCE, SERVER, Streams, aws, found, join, keep, lease, next, rows, shards, soon, stream, table, until};
use crate::Leases;
use crate::checkpoint::{Begin, RowsAre};
use crate::held::{Held, LeaseContext, Times};

/// Long enough that no lease is lost on a busy machine.
const LONG: [u64; 2] = [12, 600];

/// Scenario: one process has two shards, another one joins and asks for one; then the first one leaves.
/// Guarantees: who is asked hears of it and goes on until he is done; the other one finds what was kept last; who leaves
/// leaves nothing behind, and what was taken and never fetched neither.
#[tokio::test]
async fn hand_over() {
    let (endpoint, streams) = (SERVER.endpoint(), stream("a; b"));
    let mut one = join(&endpoint, "hand-over", "one", &streams, LONG).await;
    let held = next(&mut one, 2).await;
    for claim in &held {
        keep(claim.as_ref(), "first", "5").await.unwrap();
    }
    let mut other = join(&endpoint, "hand-over", "other", &streams, LONG).await;
    let (wanted, kept) = soon("a wish", async {
        tokio::select! {
            () = held[0].wanted() => (0, 1),
            () = held[1].wanted() => (1, 0),
        }
    })
    .await;
    keep(held[wanted].as_ref(), "last", "7").await.unwrap();
    held[wanted].release().await.unwrap();
    assert!(matches!(keep(held[wanted].as_ref(), "too late", "9").await, Err(ClaimError::Lost)));
    let taken = next(&mut other, 1).await;
    assert_eq!(found(taken[0].as_ref()), format!("{}: last @ 7:1", held[wanted].partition()));

    keep(held[kept].as_ref(), "last", "8").await.unwrap();
    drop(held);
    one.leave().await.unwrap();
    let taken = next(&mut other, 1).await;
    assert!(found(taken[0].as_ref()).ends_with(": last @ 8:1"), "{}", found(taken[0].as_ref()));
    other.leave().await.unwrap();

    let unfetched = join(&endpoint, "hand-over", "third", &streams, LONG).await;
    let table = table(&endpoint, "hand-over").await;
    until("third has both", async || match table.scan().await.unwrap() {
        rows if rows.iter().all(|it| it.owner.as_deref() == Some("third")) => Ok(()),
        rows => Err(format!("{rows:?}")),
    })
    .await;
    let mut unfetched = unfetched;
    unfetched.leave().await.unwrap();
    let rows = table.scan().await.unwrap();
    assert!(rows.iter().all(|it| it.owner.is_none() && it.checkpoint_owner.is_none()), "{rows:?}");
}

/// Scenario: a process that is about to stop wants no more shards, while some wait to be fetched; what it has it releases
/// when it is done with it.
/// Guarantees: another one gets all of them before the first one leaves.
#[tokio::test]
async fn enough() {
    let (endpoint, streams) = (SERVER.endpoint(), stream("a; b; c"));
    let mut one = join(&endpoint, "enough", "one", &streams, LONG).await;
    let held = next(&mut one, 1).await.remove(0);
    one.enough();
    keep(held.as_ref(), "last", "5").await.unwrap();
    held.release().await.unwrap();
    let mut other = join(&endpoint, "enough", "other", &streams, LONG).await;
    next(&mut other, 3).await;
    one.leave().await.unwrap();
}

/// Scenario: a process does not finish what is under way of a shard that another one asks for.
/// Guarantees: after a while it has lost it, and what it keeps later has no effect.
#[tokio::test]
async fn a_hand_over_that_takes_too_long() {
    let (endpoint, streams) = (SERVER.endpoint(), stream("a; b"));
    let mut one = join(&endpoint, "too-long", "one", &streams, [12, 0]).await;
    let held = next(&mut one, 2).await;
    for claim in &held {
        keep(claim.as_ref(), "last", "5").await.unwrap();
    }
    let mut other = join(&endpoint, "too-long", "other", &streams, LONG).await;
    let taken = next(&mut other, 1).await;
    let lost = held.iter().find(|it| it.partition() == taken[0].partition()).unwrap();
    soon("the loss", lost.lost()).await;
    assert!(matches!(keep(lost.as_ref(), "too late", "9").await, Err(ClaimError::Lost)));
    assert_eq!(found(taken[0].as_ref()), format!("{}: last @ 5:1", lost.partition()));
    keep(taken[0].as_ref(), "next", "6").await.unwrap();
}

/// Scenario: a shard is split, and the first part of it ends, is kept as ended, and released. A claim is forgotten instead of
/// released.
/// Guarantees: its row says so in the library's words; only then its children are given out, to be read from their first
/// record on, and it is never given out again; what is forgotten is given out again.
#[tokio::test]
async fn families() {
    let streams = Arc::new(Streams { begin: Begin::Latest, ..Arc::into_inner(stream("a")).unwrap() });
    let mut claims = join(&SERVER.endpoint(), "families", "one", &streams, LONG).await;
    let held = next(&mut claims, 1).await.remove(0);
    let asked = held.open(Resume::start()).await.err().unwrap();
    assert_eq!(asked.to_string(), "cdn/a begun at Latest, After({})");
    *streams.shards.lock().unwrap() = shards("a; b <- a; c <- a");
    keep(held.as_ref(), "some", "5").await.unwrap();
    assert!(rows(&SERVER.endpoint(), "families").await.starts_with("a: "));
    held.keep(b"all", &Position::End).await.unwrap();
    held.release().await.unwrap();

    let held = next(&mut claims, 2).await;
    let asked = held[0].open(Resume::start()).await.err().unwrap();
    assert_eq!(asked.to_string(), "cdn/b begun at TrimHorizon, After({})");
    until("the row of `a` names its children", async || {
        let told = rows(&SERVER.endpoint(), "families").await;
        let row = told.lines().next().unwrap();
        let ended = "a: checkpoint=SHARD_END checkpointSubSequenceNumber=#0 childShardIds={\"b\", \"c\"} ";
        if row.starts_with(ended) && !row.contains("leaseOwner") { Ok(()) } else { Err(told) }
    })
    .await;
    keep(held[0].as_ref(), "once", "6").await.unwrap();
    drop(held);
    let again: Vec<String> = next(&mut claims, 2).await.iter().map(|it| found(it.as_ref())).collect();
    assert_eq!(again, ["cdn/b: once @ 6:1", "cdn/c: - @ -"]);
}

/// Scenario: answers to writes get lost; then the table cannot be reached for longer than a lease lasts; then it can.
/// Guarantees: what was written is kept once, and nobody has lost anything; who cannot reach the table knows in time that he
/// has lost the lease; it is given out again when the table is back, as it was.
#[tokio::test]
async fn a_bad_network() {
    let proxy = FaultProxy::start(&SERVER.endpoint(), vec![]);
    let streams = stream("a");
    let mut claims = join(&proxy.endpoint(), "network", "one", &streams, LONG).await;
    let held = next(&mut claims, 1).await.remove(0);
    let updates = |fault| Rule::new(fault).header("x-amz-target", "UpdateItem");
    proxy.set_rules(vec![updates(Fault::AnswerLost).times(2), updates(Fault::Reset).times(1)]);
    keep(held.as_ref(), "once", "5").await.unwrap();
    assert_eq!(proxy.faults(), 3);
    assert!(rows(&SERVER.endpoint(), "network").await.contains("checkpoint=5 "));

    proxy.set_rules(vec![Rule::new(Fault::Reset)]);
    soon("the loss", held.lost()).await;
    assert!(matches!(keep(held.as_ref(), "too late", "6").await, Err(ClaimError::Lost)));
    held.release().await.unwrap();
    proxy.set_rules(vec![]);
    let again = next(&mut claims, 1).await.remove(0);
    assert_eq!(found(again.as_ref()), "cdn/a: once @ 5:1");
    claims.leave().await.unwrap();
}

/// Scenario: one of two streams never answers when its shards are listed. A process takes the other one's lease and dies;
/// another process is there.
/// Guarantees: the other stream's lease is given out, and taken over: one stream's silence is not that of the others.
#[tokio::test]
async fn a_stream_that_does_not_answer() {
    let names = ["1:live:2", "1:silent:2"].map(|it| Some(it.to_owned())).to_vec();
    let silent = Some("1:silent:2".to_owned());
    let streams = Arc::new(Streams { names, silent, ..Arc::into_inner(stream("a")).unwrap() });
    let mut one = join(&SERVER.endpoint(), "silence", "one", &streams, [3, 600]).await;
    let held = next(&mut one, 1).await.remove(0);
    keep(held.as_ref(), "first", "5").await.unwrap();
    drop(one);
    let mut other = join(&SERVER.endpoint(), "silence", "other", &streams, [3, 600]).await;
    let taken = next(&mut other, 1).await.remove(0);
    assert_eq!(found(taken.as_ref()), "1:live:2/a: first @ 5:1");
    other.leave().await.unwrap();
}

/// Scenario: a lease runs out since the table cannot be reached; as soon as it can be, the process leaves.
/// Guarantees: by the table nothing is this process's any more, so that nobody waits for the lease to run out before his eyes.
#[tokio::test]
async fn what_ran_out_is_left_too() {
    let proxy = FaultProxy::start(&SERVER.endpoint(), vec![]);
    let mut claims = join(&proxy.endpoint(), "left", "one", &stream("a"), LONG).await;
    let held = next(&mut claims, 1).await.remove(0);
    keep(held.as_ref(), "first", "5").await.unwrap();
    proxy.set_rules(vec![Rule::new(Fault::Reset)]);
    soon("the loss", held.lost()).await;
    proxy.set_rules(vec![]);
    claims.leave().await.unwrap();
    let rows = rows(&SERVER.endpoint(), "left").await;
    assert!(rows.contains("checkpoint=5 ") && !rows.contains("leaseOwner"), "{rows}");
}

/// Scenario: a stream that nobody has begun is to be read from now on; while leases are added for its shards, the answer to
/// one of the writes is an error; those that are there are begun at once.
/// Guarantees: every shard is begun where the first one was: what lay in the stream before is not read.
#[tokio::test]
async fn a_stream_that_is_begun_by_halves() {
    let rules = vec![Rule::new(Fault::Reset).header("x-amz-target", "PutItem").after(2).times(1)];
    let proxy = FaultProxy::start(&SERVER.endpoint(), rules);
    let streams = Arc::new(Streams { begin: Begin::Latest, ..Arc::into_inner(stream("a; b; c; d")).unwrap() });
    let mut claims = join(&proxy.endpoint(), "halves", "one", &streams, LONG).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let claim = next(&mut claims, 1).await.remove(0);
        claim.keep(b"begun", &Position::sequence("0", 1_700_000_000_000).unwrap()).await.unwrap();
        held.push(claim);
    }
    assert_eq!(proxy.faults(), 1);
    let rows = rows(&SERVER.endpoint(), "halves").await;
    assert_eq!(rows.lines().count(), 4);
    assert!(rows.lines().all(|it| it.contains("checkpoint=LATEST ")), "{rows}");
}

/// Scenario: a process writes, and has the answer only when the lease has run out.
/// Guarantees: it has lost the lease, whatever the answer: it must not go on with what it wrote.
#[tokio::test]
async fn a_late_answer() {
    let late = Fault::Delay(Duration::from_secs(3));
    let proxy = FaultProxy::start(&SERVER.endpoint(), vec![Rule::new(late).header("x-amz-target", "UpdateItem")]);
    let table = table(&proxy.endpoint(), "late").await;
    table.prepare().await.unwrap();
    let row = lease("a: one/1 5");
    assert!(table.create(&row).await.unwrap());
    let times = Times { valid: Duration::from_secs(1), ..Times::new(PATIENCE, PATIENCE) };
    let context = LeaseContext { table, me: "one".into(), rows: RowsAre::UserRecords, times, wakeup: Arc::default() };
    let held = Held::new(context, row, "cdn/a".into(), Kept::default(), Instant::now());
    let kept = held.keep(b"state", &Position::sequence("6", 1).unwrap()).await;
    assert!(matches!(kept, Err(ClaimError::Lost)), "{kept:?}");
}

/// Scenario: a state that no row can hold; a table that belongs to another source, or to several streams.
/// Guarantees: an error says so, and nothing is written.
#[tokio::test]
async fn mistakes() {
    let (endpoint, streams) = (SERVER.endpoint(), stream("a"));
    let mut claims = join(&endpoint, "mistakes", "one", &streams, LONG).await;
    let held = next(&mut claims, 1).await.remove(0);
    let Err(ClaimError::Failed(error)) = held.keep(&vec![b' '; 1 << 20], &Position::Start).await else { panic!() };
    expect!["what is under way of `cdn/a` is 1048576 bytes long, more than a row of the table `mistakes` can hold"]
        .assert_eq(&error.to_string());
    keep(held.as_ref(), "some", "5").await.unwrap();
    drop(held);
    claims.leave().await.unwrap();

    let named = |name: &str| {
        let streams = stream("a");
        Arc::new(Streams { names: vec![Some(name.into())], ..Arc::into_inner(streams).unwrap() })
    };
    let leases = Leases::new("mistakes");
    let mut claims = leases.claims(&aws(&endpoint), named("1:cdn:2")).await.unwrap();
    let error = soon("an error", claims.next()).await.err().unwrap();
    expect!["the table `mistakes` has a lease `a`; it is for one stream: name only that"].assert_eq(&error.to_string());

    let table = table(&endpoint, "mistakes").await;
    let row = table.read("a").await.unwrap().unwrap();
    assert!(table.delete(&row).await.unwrap());
    let partition = "1:cdn:2/a";
    let mut claims = leases.claims(&aws(&endpoint), named("1:cdn:2")).await.unwrap();
    assert_eq!(soon("a claim", claims.next()).await.unwrap().unwrap().partition().as_str(), partition);
    claims.leave().await.unwrap();
    let told = rows(&endpoint, "mistakes").await;
    assert!(
        told.starts_with("1:cdn:2:a: ") && told.ends_with("shardId=a startingHashKey=0 streamName=1:cdn:2"),
        "{told}"
    );
    let mut claims = leases.claims(&aws(&endpoint), streams).await.unwrap();
    let error = soon("an error", claims.next()).await.err().unwrap();
    expect!["the table `mistakes` has a lease `1:cdn:2:a`; it is for several streams, such as `1:cdn:2`: name them as a list"]
        .assert_eq(&error.to_string());
}

/// Scenario: the table cannot be reached at first. Nobody waits for a claim any more in the middle of its taking.
/// Guarantees: it is tried until it can be; what is waited for again comes then.
#[tokio::test]
async fn patience() {
    let proxy = FaultProxy::start(&SERVER.endpoint(), vec![Rule::new(Fault::Reset).times(5)]);
    let mut claims = join(&proxy.endpoint(), "patience", "one", &stream("a; b; c"), LONG).await;
    let mut taken = BTreeSet::new();
    let mut held = Vec::new();
    let begun = Instant::now();
    while taken.len() < 3 {
        assert!(begun.elapsed() < PATIENCE, "{taken:?}");
        if let Ok(claim) = tokio::time::timeout(Duration::from_millis(5), claims.next()).await {
            let claim = claim.unwrap().unwrap();
            assert!(taken.insert(claim.partition().to_string()));
            held.push(claim);
        }
    }
    assert_eq!(proxy.faults(), 5);
}

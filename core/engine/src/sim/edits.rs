//! Files that change between runs: what was lost there once.

use std::sync::Arc;

use expect_test::expect;
use forebay_api::{Deliver, Partition, Position};
use forebay_state::{Advance, Change, LogKey, Pending, SourceSpan, Store, Way};
use tokio_util::sync::CancellationToken;

use super::chaos::{Chaos, Faults};
use super::fakes::{FakeLetters, SimStore};
use super::scenario::{Scenario, SinkShape, sink_name};
use super::world::World;
use super::{Life, live};
use crate::handover::SHARED;
use crate::pipeline::letters_name;
use crate::rules::Rules;
use crate::{Counters, Ending, Options, RunError, pipeline};

/// Runs the scenario in a world that an earlier scenario may have left.
async fn run_on(world: &Arc<World>, abandon_pending: bool) -> Result<Ending, RunError> {
    let chaos = Arc::new(Chaos::new(7, None, Faults::none()));
    let plan = world.scenario.plan(world, &chaos);
    let letters: Arc<dyn Deliver> = Arc::new(FakeLetters { world: world.clone(), chaos: chaos.clone() });
    let options = Options {
        store: Arc::new(SimStore { world: world.clone(), chaos: chaos.clone() }),
        letters: Some(letters),
        stop: CancellationToken::new(),
        counters: Arc::new(Counters::new(&plan)),
        workers: 2,
        jitter_seed: 0,
        abandon_pending,
    };
    pipeline::run(&plan, options, Rules::default()).await
}

/// Scenario: a pipeline without transforms ran to its end; then a transform and a sink behind it are added.
/// Guarantees: the new sink gets everything from the start, and what the new transform refuses on the way is in the
/// dead letters, though those of the source had long passed it.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_added_keeps_its_letters() {
    let small = Scenario::small();
    let direct = SinkShape { reads: None, ..small.sinks[0].clone() };
    let before = Scenario { transforms: 0, sinks: vec![direct.clone()], ..small.clone() };
    let behind = SinkShape { reads: Some(0), ..direct.clone() };
    let after = Scenario { sinks: vec![direct, behind], ..small };

    let world = Arc::new(World::new(before));
    assert_eq!(run_on(&world, false).await.unwrap(), Ending::InputEnded);
    world.complete().unwrap();
    let world = Arc::new(world.under(after));
    assert_eq!(run_on(&world, false).await.unwrap(), Ending::InputEnded);
    world.complete().unwrap();
}

/// Scenario: a delivery is pending that was begun by another version of the pipeline.
/// Guarantees: it is neither rebuilt otherwise than it was nor forgotten, but said, with what to do; and given up when
/// that is asked for.
#[tokio::test(start_paused = true)]
async fn a_changed_pipeline_does_not_rebuild_another_ones_delivery() {
    let world = Arc::new(World::new(Scenario::small()));
    let chaos = Arc::new(Chaos::new(7, None, Faults::none()));
    let store = SimStore { world: world.clone(), chaos };
    let span = forebay_api::Span::new("partition_0", Position::Start, world.scenario.sources[0].position(5));
    let pending = Pending {
        sink: sink_name(0),
        number: 0,
        id: forebay_api::DeliveryId::derive("sim", "sink_0", "older", "source_0", &span),
        fingerprint: "older".into(),
        spans: vec![SourceSpan { source: "source_0".into(), span }],
        rows: 3,
        intended: None,
        settled: false,
    };
    store.apply(Change { intend: Some(pending), ..Change::default() }).await.unwrap();
    let error = run_on(&world, false).await.unwrap_err();
    assert!(forebay_api::causes(&error).contains("begun by another version of the pipeline"), "{error:?}");
    assert!(error.hint.as_deref().is_some_and(|it| it.contains("--abandon-pending")), "{error:?}");
    assert_eq!(world.load().pending.len(), 1);
    let key = LogKey { sink: sink_name(0), source: "source_0".into(), partition: "partition_0".into() };
    assert!(!world.load().committed.contains_key(&key));

    assert_eq!(run_on(&world, true).await.unwrap(), Ending::InputEnded);
    world.complete().unwrap();
}

/// Scenario: a source that this process has shared before, as the state says, is to be read alone.
/// Guarantees: that is refused, with what to do, and nothing is read.
#[tokio::test(start_paused = true)]
async fn a_source_that_was_shared_is_not_read_alone() {
    let world = Arc::new(World::new(Scenario::small()));
    let store = SimStore { world: world.clone(), chaos: Arc::new(Chaos::new(7, None, Faults::none())) };
    let key = LogKey { sink: SHARED.into(), source: "source_0".into(), partition: "partition_1".into() };
    let claimed = Advance { key, from: Position::Start, to: Position::End };
    store.apply(Change { advance: vec![claimed], ..Change::default() }).await.unwrap();
    let error = run_on(&world, false).await.unwrap_err();
    expect![[r#"
        `source_0` was shared with other processes, and cannot be read alone: how far `partition_1` was read is kept with the claims to it, and not here
        share it again, with the `leases` that it had; or give it another name, under which it begins anew"#]]
    .assert_eq(&format!("{}\n{}", forebay_api::causes(&error), error.hint.unwrap()));
    assert_eq!(world.load().committed.len(), 1);
}

/// How a life ends in which a former one has left sinks apart, or deliveries open.
const OTHER_WAY: [&str; 2] = ["was changed while the sinks behind it", "was begun by another version"];

/// Scenario: one pipeline, crashed at many places while its sinks are slow and fail; then its file is changed so that the
/// transform refuses other rows.
/// Guarantees: it goes on only if every row goes one way, to each of its sinks or to the letters, once; where it does
/// not, the former file ends what it has begun, and then the new one goes on.
#[test]
fn sim_what_is_refused_changes_after_a_crash() {
    let before = Scenario::small();
    let after = Scenario { edition: 1, ..before.clone() };
    let ended = Ok(Life::Ended(Ending::InputEnded));
    let calm = |seed| Arc::new(Chaos::new(seed, None, Faults::none()));
    let (mut stopped, mut apart, mut went_on) = (0, 0, 0);
    for seed in 0..600 {
        let world = Arc::new(World::new(before.clone()));
        let faults = Faults { slow: 10, retry: 20, ..Faults::none() };
        let crash = Arc::new(Chaos::new(seed, Some(seed), faults));
        live(&world, &crash, Rules::default(), 2, None).unwrap();
        let world = Arc::new(world.edited(after.clone()));
        match live(&world, &calm(seed + 1), Rules::default(), 2, None).unwrap() {
            Life::Ended(Ending::InputEnded) => went_on += 1,
            Life::Failed(why) if OTHER_WAY.iter().any(|it| why.contains(it)) => {
                stopped += 1;
                apart += u32::from(why.contains(OTHER_WAY[0]));
                let former = Arc::new(world.under(before.clone()));
                assert_eq!(live(&former, &calm(seed + 2), Rules::default(), 2, None), ended, "seed {seed}");
                former.complete().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
                let world = Arc::new(former.edited(after.clone()));
                assert_eq!(live(&world, &calm(seed + 3), Rules::default(), 2, None), ended, "seed {seed}");
                world.complete().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
                continue;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        world.complete().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    assert!(apart > 20 && went_on > 20, "{stopped} stopped, {apart} of them for sinks apart; {went_on} went on");
}

/// Scenario: a pipeline is stopped in the middle, and drains; then its file is changed so that the transform refuses other
/// rows, and a sink is added, or taken out.
/// Guarantees: it goes on without a word.
#[test]
fn a_pipeline_that_was_drained_may_be_changed() {
    let before = Scenario::small();
    let [first, second] = [before.sinks[0].clone(), before.sinks[1].clone()];
    let wait = std::time::Duration::from_millis(60_000);
    let slow = Faults { slow: 8, ..Faults::none() };
    let mut drained = 0;
    for seed in 0..200 {
        let sinks = match seed % 3 {
            0 => vec![first.clone(), second.clone()],
            1 => vec![first.clone(), second.clone(), first.clone()],
            _ => vec![first.clone()],
        };
        let after = Scenario { edition: 1, sinks, ..before.clone() };
        let world = Arc::new(World::new(Scenario { drain_max: forebay_api::Age::seconds(3_600), ..before.clone() }));
        let chaos = Arc::new(Chaos::new(seed, None, slow));
        let first = live(&world, &chaos, Rules::default(), 2, Some(wait)).unwrap();
        drained += u32::from(first == Life::Ended(Ending::Drained));
        let world = Arc::new(world.edited(after));
        let calm = Arc::new(Chaos::new(seed + 1, None, Faults::none()));
        let second = live(&world, &calm, Rules::default(), 2, None);
        assert_eq!(second, Ok(Life::Ended(Ending::InputEnded)), "seed {seed}");
    }
    assert!(drained > 20, "only {drained} were stopped in the middle");
}

/// Scenario: the state says that a sink is ahead of the letters of the transform, whose way was another.
/// Guarantees: that is said, with what to do, and nothing is read; it goes on when that is asked for, once and for all.
/// A way that has changed while nothing was apart is no matter.
#[tokio::test(start_paused = true)]
async fn a_changed_way_is_not_taken_up_in_the_middle() {
    let world = Arc::new(World::new(Scenario::small()));
    let store = SimStore { world: world.clone(), chaos: Arc::new(Chaos::new(7, None, Faults::none())) };
    let letters = letters_name("transform_0");
    let way = |sinks: &[&str]| {
        let way = Way { fingerprint: "former".into(), sinks: sinks.iter().map(ToString::to_string).collect() };
        vec![(("source_0".to_owned(), "transform_0".to_owned()), way)]
    };
    let partition = Partition::from("partition_1");
    let advance = [sink_name(0), sink_name(1)].map(|sink| Advance {
        key: LogKey { sink, source: "source_0".into(), partition: partition.clone() },
        from: Position::Start,
        to: Position::End,
    });
    store
        .apply(Change { ways: way(&["sink_0", &letters]), advance: advance.into(), ..Change::default() })
        .await
        .unwrap();
    let error = run_on(&world, false).await.unwrap_err();
    expect![[r#"
        `transform_0` cannot go on from where it was: it, or what is before it, was changed while the sinks behind it were at different places of `source_0/partition_1`: rows between them might go to none of them, or be refused and delivered
        a crash left some sinks behind others: run the former file once to its end; or give up with `--abandon-pending`, which goes on by the new way, and may lose or double rows between them"#]].assert_eq(&format!("{}\n{}", forebay_api::causes(&error), error.hint.unwrap()));
    let key = LogKey { sink: letters, source: "source_0".into(), partition };
    assert!(!world.load().committed.contains_key(&key));

    let changed = Arc::new(World::new(Scenario::small()));
    let store = SimStore { world: changed.clone(), chaos: Arc::new(Chaos::new(7, None, Faults::none())) };
    store.apply(Change { ways: way(&["sink_0", "sink_1"]), ..Change::default() }).await.unwrap();
    assert_eq!(run_on(&changed, false).await.unwrap(), Ending::InputEnded);
    changed.complete().unwrap();
    assert_eq!(run_on(&world, true).await.unwrap(), Ending::InputEnded);
    assert_eq!(run_on(&world, false).await.unwrap(), Ending::InputEnded);
}

/// Scenario: one pipeline, crashed at many places; what was left open is given up, and read again cut otherwise.
/// Guarantees: no sink takes new rows for those that it has: no row is lost, though some may be doubled.
#[test]
fn sim_what_is_given_up_has_other_ids() {
    let mut given_up = 0;
    for seed in 0..300 {
        let world = Arc::new(World::new(Scenario::small()));
        let crash = Arc::new(Chaos::new(seed, Some(2 * seed), Faults { slow: 10, retry: 20, ..Faults::none() }));
        live(&world, &crash, Rules::default(), 2, None).unwrap();
        let before = world.load();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        assert_eq!(runtime.block_on(run_on(&world, true)).unwrap(), Ending::InputEnded, "seed {seed}");
        world.verdict().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        let is_other = world.load().epoch != before.epoch;
        assert_eq!(is_other, !before.pending.is_empty(), "seed {seed}");
        given_up += u32::from(is_other);
    }
    assert!(given_up > 20, "only {given_up} had left something open");
}

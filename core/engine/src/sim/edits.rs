//! Files that change between runs: what was lost there once.

use std::sync::Arc;

use forebay_api::Deliver;
use forebay_state::{Change, LogKey, Pending, SourceSpan, Store};
use tokio_util::sync::CancellationToken;

use super::chaos::{Chaos, Faults};
use super::fakes::{FakeLetters, SimStore};
use super::scenario::{Scenario, SinkShape, sink_name};
use super::world::World;
use crate::rules::Rules;
use crate::{Counters, Ending, Options, RunError, run_by};

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
    run_by(&plan, options, Rules::default()).await
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
    let span =
        forebay_api::Span::new("partition_0", forebay_api::Position::Start, world.scenario.sources[0].position(5));
    let pending = Pending {
        sink: sink_name(0),
        number: 0,
        id: forebay_api::DeliveryId::derive("sim", "sink_0", "older", "source_0", &span),
        fingerprint: "older".into(),
        spans: vec![SourceSpan { source: "source_0".into(), span }],
        rows: 3,
        settled: false,
    };
    store.apply(Change { intend: Some(pending), ..Change::default() }).await.unwrap();
    let error = run_on(&world, false).await.unwrap_err();
    assert!(crate::causes(&error).contains("begun by another version of the pipeline"), "{error:?}");
    assert!(error.hint.as_deref().is_some_and(|it| it.contains("--abandon-pending")), "{error:?}");
    assert_eq!(world.load().pending.len(), 1);
    let key = LogKey { sink: sink_name(0), source: "source_0".into(), partition: "partition_0".into() };
    assert!(!world.load().committed.contains_key(&key));

    assert_eq!(run_on(&world, true).await.unwrap(), Ending::InputEnded);
    world.complete().unwrap();
}

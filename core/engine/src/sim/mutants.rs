//! The rules, broken one at a time: each must be noticed. What these tests prove is that the simulation looks.

use forebay_api::{DeliveryId, Position, Span};
use forebay_state::{Pending, SourceSpan};

use super::first_broken;
use crate::ledger::{Log, Passed};
use crate::rules::{Answer, Naming, Rules, Verdict, judge};

/// A mutant must be found among the first so many seeds.
const SEEDS: u64 = 500;

/// What the oracle says of rows. Anything else, a panic or a standstill, would be noticed for the wrong reason.
const ABOUT_ROWS: [&str; 3] = ["past row", "is lost", "times"];

fn is_noticed(rules: Rules) {
    let (seed, what) = first_broken(0..SEEDS, rules).expect("no seed noticed the mutant");
    println!("noticed at seed {seed}: {what}");
    assert!(ABOUT_ROWS.iter().any(|it| what.contains(it)), "seed {seed} noticed something else: {what}");
}

/// Scenario: a delivery whose task is gone without an answer counts as delivered.
/// Guarantees: a forgotten receipt is noticed.
#[test]
fn mutant_a_forgotten_receipt_counts_as_delivered() {
    let lenient = |answer| if answer == Answer::Silence { Verdict::Delivered } else { judge(answer) };
    is_noticed(Rules { judge: lenient, ..Rules::default() });
}

/// Scenario: a committed position moves to the latest settled span, whatever came before it.
/// Guarantees: a commit that does not wait for earlier spans is noticed.
#[test]
fn mutant_a_commit_does_not_wait_for_earlier_spans() {
    fn hasty(log: &mut Log) -> Passed {
        let last_settled = log.entries.iter().rposition(|it| it.settled)?;
        let passed: Vec<_> = log.entries.drain(..=last_settled).collect();
        log.committed = passed.last()?.to.clone();
        Some((log.committed.clone(), passed.into_iter().map(|it| it.delivery).collect()))
    }
    is_noticed(Rules { pass: hasty, ..Rules::default() });
}

/// Scenario: deliveries are named by a counter that begins anew in each process.
/// Guarantees: an id that is not derived from the span is noticed.
#[test]
fn mutant_an_id_is_not_derived_from_the_span() {
    fn counted(naming: &Naming<'_>) -> DeliveryId {
        let same = Span::new("any", Position::Start, Position::End);
        DeliveryId::derive(naming.pipeline, naming.sink, &naming.named_before.to_string(), "any", &same)
    }
    is_noticed(Rules { name: counted, ..Rules::default() });
}

/// Scenario: nothing is written down before a delivery is made visible.
/// Guarantees: a skipped intent is noticed.
#[test]
fn mutant_the_intent_is_skipped() {
    is_noticed(Rules { intend: |_| None, ..Rules::default() });
}

/// Scenario: the intent holds which spans were joined, but in the order of their names.
/// Guarantees: a delivery that is rebuilt in another order is noticed, since sinks write in chunks.
#[test]
fn mutant_the_intent_forgets_the_order() {
    fn sorted(mut pending: Pending) -> Option<Pending> {
        let name = |it: &SourceSpan| (it.source.clone(), it.span.partition.clone());
        pending.spans.sort_by_key(name);
        Some(pending)
    }
    is_noticed(Rules { intend: sorted, ..Rules::default() });
}
